"""torchvision's operators against loops that say what they mean: suppression, pooled regions, deformable convolution."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau as torch

ops = torch.ops.torchvision


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def boxes_of(rng, n, size=8.0):
    corner = rng.uniform(-1, size, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(0.2, size, (n, 2))], 1)


def regions_of(rng, n, images=2):
    return np.concatenate([rng.integers(0, images, (n, 1)), boxes_of(rng, n)], 1)


def overlap(a, b):
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nms(rng, threshold, dtype):
    """The best box stays; what overlaps it goes; and so on."""
    boxes, scores = boxes_of(rng, 60), rng.uniform(0, 1, 60).round(1)  # with equal scores
    left, kept = list(np.argsort(-scores, kind="stable")), []
    while left:
        best, *rest = left
        kept.append(best)
        left = [j for j in rest if overlap(boxes[best], boxes[j]) <= threshold]
    assert ops.nms(torch.tensor(boxes, dtype=dtype), torch.tensor(scores, dtype=dtype), threshold).tolist() == kept


def test_nms_of_empty_and_infinite_boxes():
    """An overlap that is no number suppresses nothing."""
    empty = torch.zeros(3, 4)
    assert ops.nms(empty, torch.tensor([0.1, 0.9, 0.5]), 0.5).tolist() == [1, 2, 0]
    assert ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5).shape == (0,)
    nan = torch.tensor([float("nan"), 1.0, 2.0])
    assert ops.nms(empty, nan, 0.5).tolist() == torch.sort(nan, stable=True, descending=True)[1].tolist()


def interpolated(image, y, x):
    """An image (H, W) at a place: zero more than one element outside, else the nearest within."""
    height, width = image.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    down, right = min(top + 1, height - 1), min(left + 1, width - 1)
    fy, fx = y - top, x - left
    upper = image[top, left] * (1 - fx) + image[top, right] * fx
    lower = image[down, left] * (1 - fx) + image[down, right] * fx
    return upper * (1 - fy) + lower * fy


def aligned(images, regions, scale, size, sampling, shift, small, own):
    """RoIAlign sample by sample; ``own``: bins have channels of their own."""
    channels = images.shape[1] // (size[0] * size[1] if own else 1)
    out = np.zeros((len(regions), channels, *size))
    for k, (image, *corners) in enumerate(regions):
        x1, y1, x2, y2 = [c * scale - shift for c in corners]
        height, width = y2 - y1, x2 - x1
        if not small:
            height, width = max(height, 1.0), max(width, 1.0)
        bin_h, bin_w = height / size[0], width / size[1]
        n_y = sampling if sampling > 0 else math.ceil(bin_h)
        n_x = sampling if sampling > 0 else math.ceil(bin_w)
        for c in range(channels):
            for p in range(size[0]):
                for q in range(size[1]):
                    plane = images[int(image), (c * size[0] + p) * size[1] + q if own else c]
                    ys = [y1 + p * bin_h + (i + 0.5) * bin_h / n_y for i in range(n_y)]
                    xs = [x1 + q * bin_w + (i + 0.5) * bin_w / n_x for i in range(n_x)]
                    out[k, c, p, q] = np.mean([interpolated(plane, y, x) for y in ys for x in xs])
    return out


@pytest.mark.parametrize("sampling", [-1, 0, 1, 3])
@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_aligned_regions(rng, sampling, scale):
    images, regions, size = rng.normal(size=(2, 6, 7, 5)), regions_of(rng, 7), (3, 2)
    given = torch.tensor(images), torch.tensor(regions), scale, *size, sampling
    for shifted in (False, True):
        expected = aligned(images, regions, scale, size, sampling, 0.5 * shifted, shifted, False)
        np.testing.assert_allclose(ops.roi_align(*given, shifted).numpy(), expected, rtol=1e-10, atol=1e-12)
    found, mapping = ops.ps_roi_align(*given)
    np.testing.assert_allclose(
        found.numpy(), aligned(images, regions, scale, size, sampling, 0.5, True, True), rtol=1e-10, atol=1e-12
    )
    assert mapping.dtype is torch.int32 and mapping[3].reshape(-1).tolist() == list(range(6))


def test_regions_outside_the_image():
    x = torch.ones(1, 1, 4, 4)
    far = torch.tensor([[0.0, 90, 90, 99, 99], [0, -50, -50, -40, -40]])
    assert ops.roi_align(x, far, 1.0, 2, 2, 2, True).abs().sum() == 0
    assert ops.roi_pool(x, far, 1.0, 2, 2)[1].unique().tolist() == [-1]
    assert ops.roi_align(x, torch.zeros(0, 5), 1.0, 2, 2, 2, True).shape == (0, 1, 2, 2)


def round_half_away(x):
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def bins(start, extent, count, most):
    return [
        (min(max(math.floor(p * extent / count) + start, 0), most), min(max(math.ceil((p + 1) * extent / count) + start, 0), most))
        for p in range(count)
    ]


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_rounded_regions(rng, scale):
    images, regions, size = rng.normal(size=(2, 6, 7, 5)), regions_of(rng, 9), (3, 2)
    regions[:3, 1:] = [[0.5, 1.5, 2.5, 3.5], [0, 0, 0, 0], [-0.5, -1.5, 4.5, 6.5]]
    found, places = ops.roi_pool(torch.tensor(images), torch.tensor(regions), scale, *size)
    means, mapping = ops.ps_roi_pool(torch.tensor(images), torch.tensor(regions), scale, *size)
    for k, (image, *corners) in enumerate(regions):
        x1, y1, x2, y2 = [round_half_away(c * scale) for c in corners]
        plane = images[int(image)]
        rows, columns = bins(y1, max(y2 - y1 + 1, 1), size[0], 7), bins(x1, max(x2 - x1 + 1, 1), size[1], 5)
        own_rows, own_columns = bins(y1, max(y2 - y1, 1), size[0], 6), bins(x1, max(x2 - x1, 1), size[1], 4)
        for p in range(size[0]):
            for q in range(size[1]):
                part = plane[:, slice(*rows[p]), slice(*columns[q])].reshape(6, -1)
                assert found[k, :, p, q].tolist() == (part.max(1).tolist() if part.size else [0.0] * 6)
                where = places[k, :, p, q].numpy()
                assert (
                    (where == -1).all() if not part.size else np.array_equal(plane.reshape(6, -1)[np.arange(6), where], part.max(1))
                )
                channel = mapping[k, 0, p, q].item()
                own = plane[channel, slice(*own_rows[p]), slice(*own_columns[q])]
                np.testing.assert_allclose(means[k, 0, p, q].item(), own.mean() if own.size else 0.0, rtol=1e-12)


@pytest.mark.parametrize("groups, offset_groups, use_mask", [(1, 1, True), (2, 1, False), (1, 2, True)])
def test_deformable_convolution(rng, groups, offset_groups, use_mask):
    """Each tap at its own place; beyond the edge the image is zero."""
    n, c, o, h, w, kernel, stride, pad, dilation = 2, 4, 2, 5, 6, (3, 2), (2, 1), (1, 0), (1, 2)
    out_h = (h + 2 * pad[0] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    out_w = (w + 2 * pad[1] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    taps = kernel[0] * kernel[1]
    x, weight = rng.normal(size=(n, c, h, w)), rng.normal(size=(o, c // groups, *kernel))
    offset = rng.normal(size=(n, 2 * offset_groups * taps, out_h, out_w)) * 2
    mask, bias = rng.uniform(0, 1, (n, offset_groups * taps, out_h, out_w)), rng.normal(size=o)

    def at(plane, y, x_):
        total = 0.0
        for yy in (math.floor(y), math.floor(y) + 1):
            for xx in (math.floor(x_), math.floor(x_) + 1):
                if 0 <= yy < h and 0 <= xx < w:
                    total += plane[yy, xx] * (1 - abs(y - yy)) * (1 - abs(x_ - xx))
        return total

    expected = np.zeros((n, o, out_h, out_w))
    for b, k, p, q in np.ndindex(*expected.shape):
        total = bias[k]
        for j in range(c // groups):
            channel = k // (o // groups) * (c // groups) + j
            group = channel // (c // offset_groups)
            for r, s in np.ndindex(*kernel):
                tap = group * taps + r * kernel[1] + s
                y = p * stride[0] - pad[0] + r * dilation[0] + offset[b, 2 * tap, p, q]
                x_ = q * stride[1] - pad[1] + s * dilation[1] + offset[b, 2 * tap + 1, p, q]
                total += weight[k, j, r, s] * at(x[b, channel], y, x_) * (mask[b, tap, p, q] if use_mask else 1)
        expected[b, k, p, q] = total
    found = ops.deform_conv2d(
        *[torch.tensor(v) for v in (x, weight, offset, mask, bias)], *stride, *pad, *dilation, groups, offset_groups, use_mask
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_explicit_gradients_are_those_of_the_tape(rng):
    """What torchvision calls from gradients that it registers itself."""
    x = torch.tensor(rng.normal(size=(2, 4, 5, 6)), requires_grad=True)
    regions = torch.tensor(regions_of(rng, 4))
    shape = tuple(x.shape)
    for out, back in [
        (ops.roi_align(x, regions, 0.5, 2, 2, 2, True), lambda g: ops._roi_align_backward(g, regions, 0.5, 2, 2, *shape, 2, True)),
        (
            ops.ps_roi_align(x, regions, 0.5, 2, 2, 2)[0],
            lambda g: ops._ps_roi_align_backward(g, regions, regions, 0.5, 2, 2, 2, *shape),
        ),
        (ops.ps_roi_pool(x, regions, 0.5, 2, 2)[0], lambda g: ops._ps_roi_pool_backward(g, regions, regions, 0.5, 2, 2, *shape)),
    ]:
        g = torch.tensor(rng.normal(size=tuple(out.shape)))
        torch.testing.assert_close(back(g), torch.autograd.grad(out, x, g)[0])
    out, places = ops.roi_pool(x, regions, 0.5, 2, 2)
    g = torch.tensor(rng.normal(size=tuple(out.shape)))
    torch.testing.assert_close(ops._roi_pool_backward(g, regions, places, 0.5, 2, 2, *shape), torch.autograd.grad(out, x, g)[0])


def test_rotated_boxes():
    """Half of a square in its own quarter turn, an eighth of it turned about a corner, and boxes apart."""
    square = torch.tensor([[0.0, 0, 2, 2, 0]])
    others = torch.tensor([[0.0, 0, 2, 2, 90], [0, 0, 2, 2, 45], [1, 0, 2, 2, 0], [9, 9, 1, 1, 30], [0, 0, 0, 2, 0]])
    octagon = 8 * (math.sqrt(2) - 1)
    expected = [1.0, octagon / (8 - octagon), 2 / 6, 0.0, 0.0]
    torch.testing.assert_close(ops.box_iou_rotated(square, others)[0], torch.tensor(expected))
    assert ops.box_iou_rotated(square, torch.zeros(0, 5)).shape == (1, 0)
