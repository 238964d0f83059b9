"""The overlaps of rotated boxes.

Source: https://docs.pytorch.org/vision/stable/generated/torchvision.ops.box_iou.html
"""

from __future__ import annotations

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.tensor import Tensor

__all__ = ["box_iou_rotated"]

_SLACK = 1e-5  # by which lines may miss each other and still meet


def _corners(boxes: np.ndarray) -> np.ndarray:
    """(..., 4, 2): the corners of boxes ``(x, y, width, height, degrees)``, in turn."""
    x, y, w, h, angle = np.moveaxis(boxes, -1, 0)
    cos, sin = np.cos(np.radians(angle)) / 2, np.sin(np.radians(angle)) / 2
    first = np.stack([x + sin * h + cos * w, y + cos * h - sin * w], -1)
    second = np.stack([x - sin * h + cos * w, y - cos * h - sin * w], -1)
    centre = 2 * np.stack([x, y], -1)
    return np.stack([first, second, centre - first, centre - second], -2)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - b[..., 0] * a[..., 1]


def _inside(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Whether each of (..., 4, 2) points is in a box of the given corners."""
    from_corner = points - box[..., :1, :]
    found = np.ones(points.shape[:-1], bool)
    for side in (box[..., 1:2, :] - box[..., :1, :], box[..., 3:4, :] - box[..., :1, :]):
        along, most = (from_corner * side).sum(-1), (side * side).sum(-1)
        found &= (along > -_SLACK) & (along < most + _SLACK)
    return found


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The areas that pairs of boxes, given by corners (n, 4, 2), share: that of the convex polygon of all points where they meet."""
    side_a, side_b = np.roll(a, -1, -2) - a, np.roll(b, -1, -2) - b
    across = _cross(side_b[:, None, :], side_a[:, :, None])
    between = b[:, None, :] - a[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = _cross(side_b[:, None, :], between) / across
        u = _cross(side_a[:, :, None], between) / across
    meet = (np.abs(across) > 1e-14) & (t > -_SLACK) & (t < 1 + _SLACK) & (u > -_SLACK) & (u < 1 + _SLACK)
    met = a[:, :, None] + side_a[:, :, None] * np.where(meet, t, 0)[..., None]
    points = np.concatenate([met.reshape(len(a), 16, 2), a, b], 1)
    valid = np.concatenate([meet.reshape(len(a), 16), _inside(a, b), _inside(b, a)], 1)
    count = valid.sum(1)
    centre = (points * valid[..., None]).sum(1) / np.maximum(count, 1)[:, None]
    # In the order of their angles about a point within, points of a convex polygon go around it; the others are put on the first.
    spokes = points - centre[:, None]
    angles = np.where(valid, np.arctan2(spokes[..., 1], spokes[..., 0]), np.inf)
    order = np.argsort(angles, 1, kind="stable")
    ring = np.take_along_axis(spokes, order[..., None], 1)
    ring = np.where(np.take_along_axis(valid, order, 1)[..., None], ring, ring[:, :1])
    area = np.abs(_cross(ring, np.roll(ring, -1, 1)).sum(1)) / 2
    return np.where(count > 2, area, 0)


def box_iou_rotated(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """For each pair of rotated boxes the area that they share, as a part of what they cover: (N, M), float32.

    Boxes are ``(x, y, width, height, degrees)`` about their centres, turned counter-clockwise.
    """
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        if boxes.dim() != 2 or boxes.shape[1] != 5:
            raise RuntimeError(f"{name} should have shape (N, 5), got {list(boxes.shape)}")
    if boxes1.dtype is not boxes2.dtype:
        raise RuntimeError("boxes1 and boxes2 must have the same dtype")
    n, m = boxes1.shape[0], boxes2.shape[0]
    if not n or not m:
        return dispatch.wrap(np.zeros((n, m), np.float32), dtypes.float32)
    a, b = [t.detach().double().numpy() for t in (boxes1, boxes2)]
    pairs = np.repeat(a, m, 0), np.tile(b, (n, 1))
    middle = (pairs[0][:, :2] + pairs[1][:, :2]) / 2  # numbers are small about it
    shifted = [np.concatenate([p[:, :2] - middle, p[:, 2:]], 1) for p in pairs]
    areas = [p[:, 2] * p[:, 3] for p in pairs]
    shared = _shared(*[_corners(p) for p in shifted])
    real = (areas[0] >= 1e-14) & (areas[1] >= 1e-14)
    with np.errstate(divide="ignore", invalid="ignore"):
        overlap = np.where(real, shared / (areas[0] + areas[1] - shared), 0)
    return dispatch.wrap(overlap.reshape(n, m).astype(np.float32), dtypes.float32)
