"""Rules of operators that move elements, or make them of shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.onnx.importing.registry import dtype_of, ints, rule

Tensor = torch.Tensor


@rule("Shape")
def shape(x: Any, *, start: int = 0, end: int | None = None) -> np.ndarray:
    return np.array(x.shape, np.int64)[start:end]


@rule("Size")
def size(x: Any) -> np.ndarray:
    return np.array(x.numel(), np.int64)


@rule("Reshape", host="shape")
def reshape(x: Tensor, shape: Any, *, allowzero: int = 0) -> Tensor:
    sizes = ints(shape)
    return x.reshape(sizes if allowzero else [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)])


@rule("Squeeze", host="axes")
def squeeze(x: Tensor, axes: Any = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(ints(axes)))


@rule("Unsqueeze", host="axes")
def unsqueeze(x: Tensor, axes: Any) -> Tensor:
    given = ints(axes)
    for axis in sorted(a % (x.dim() + len(given)) for a in given):
        x = x.unsqueeze(axis)
    return x


@rule("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    axis = axis if axis >= 0 else axis + x.dim()
    return x.reshape(x.shape[:axis].numel(), x.shape[axis:].numel())


@rule("Transpose")
def transpose(x: Tensor, *, perm: list[int] | None = None) -> Tensor:
    return x.permute(*(perm if perm is not None else range(x.dim())[::-1]))


@rule("Concat")
def concat(*xs: Tensor, axis: int = 1) -> Tensor:
    return torch.cat(xs, axis)


@rule("Split", host="split")
def split(x: Tensor, split: Any = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int) -> tuple[Tensor, ...]:
    if split is not None:
        return tuple(x.split(ints(split), axis))
    each = -(-x.shape[axis] // (num_outputs or outputs))
    return tuple(x.narrow(axis, min(i * each, x.shape[axis]), max(0, min(each, x.shape[axis] - i * each))) for i in range(outputs))


@rule("Slice", host="starts ends axes steps")
def slice_(x: Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Tensor:
    starts, ends = ints(starts), ints(ends)
    axes = range(len(starts)) if axes is None else ints(axes)
    steps = [1] * len(starts) if steps is None else ints(steps)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen = range(*slice(start, end, step).indices(x.shape[axis]))
        if step > 0:
            x = x[(slice(None),) * (axis % x.dim()) + (slice(chosen.start, max(chosen.start, chosen.stop), step),)]
        else:
            x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64))
    return x


@rule("Expand", host="shape")
def expand(x: Tensor, shape: Any) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(ints(shape))))


@rule("Tile", host="repeats")
def tile(x: Tensor, repeats: Any) -> Tensor:
    return x.repeat(*ints(repeats))


@rule("Pad", host="pads axes")
def pad(
    x: Tensor, pads: Any, constant_value: Tensor | None = None, axes: Any = None, *, mode: str = "constant", value: float = 0.0
) -> Tensor:
    amounts = ints(pads)
    given = range(x.dim()) if axes is None else [a % x.dim() for a in ints(axes)]
    before, after = amounts[: len(amounts) // 2], amounts[len(amounts) // 2 :]
    if mode == "constant":
        around = {axis: (a, b) for axis, a, b in zip(given, before, after, strict=True)}
        flat = [n for axis in reversed(range(x.dim())) for n in around.get(axis, (0, 0))]
        return F.pad(x, flat, value=value if constant_value is None else constant_value.item())
    for axis, a, b in zip(given, before, after, strict=True):
        places = np.arange(x.shape[axis])[max(0, -a) : x.shape[axis] - max(0, -b)]
        places = np.pad(places, (max(0, a), max(0, b)), mode=mode)  # type: ignore[call-overload]
        x = x.index_select(axis, torch.tensor(places))
    return x


@rule("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    b = blocksize
    if mode == "DCR":
        parts = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // (b * b), h * b, w * b)


@rule("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    b = blocksize
    parts = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return parts.permute(*order).reshape(n, c * b * b, h // b, w // b)


@rule("EyeLike")
def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    n, m = x.shape
    return (torch.arange(m) - torch.arange(n).unsqueeze(1) == k).to(x.dtype if dtype is None else dtype_of(dtype))


@rule("Trilu", host="k")
def trilu(x: Tensor, k: Any = None, *, upper: int = 1) -> Tensor:
    diagonal = 0 if k is None else int(k)
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)


@rule("CenterCropPad", host="shape")
def center_crop_pad(x: Tensor, shape: Any, *, axes: list[int] | None = None) -> Tensor:
    for axis, want in zip(range(x.dim()) if axes is None else axes, ints(shape), strict=True):
        have = x.shape[axis]
        if want <= have:
            x = x.narrow(axis, (have - want) // 2, want)
        else:
            left = (want - have) // 2
            around = [0, 0] * (x.dim() - 1 - axis % x.dim()) + [left, want - have - left]
            x = F.pad(x, around)
    return x


@rule("Range", host="start limit delta")
def range_(start: Any, limit: Any, delta: Any) -> Any:
    made = np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)
    return made if made.dtype == np.int64 else torch.tensor(made)


@rule("ConstantOfShape", host="shape")
def constant_of_shape(shape: Any, *, value: np.ndarray | None = None) -> Tensor:
    one = np.zeros(1, np.float32) if value is None else value
    return torch.tensor(one).reshape(()).expand(ints(shape)).clone()


@rule("OneHot", host="depth")
def one_hot(indices: Tensor, depth: Any, values: Tensor, *, axis: int = -1) -> Tensor:
    n = int(depth.reshape(()))
    wrapped = torch.remainder(indices.to(torch.int64), n).unsqueeze(axis)
    valid = ((indices >= -n) & (indices < n)).unsqueeze(axis)
    places = torch.arange(n).reshape(-1, *[1] * (-axis - 1 if axis < 0 else indices.dim() - axis))
    return torch.where((wrapped == places) & valid, values[1], values[0])


@rule("ReverseSequence")
def reverse_sequence(x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    steps = x.shape[time_axis]
    time = torch.arange(steps).unsqueeze(1)
    places = torch.where(time < lengths, lengths - 1 - time, time)  # (time, batch)
    if batch_axis < time_axis:
        places = places.T
    places = places.reshape(*places.shape, *[1] * (x.dim() - 2)).expand(x.shape)
    return x.gather(time_axis, places)
