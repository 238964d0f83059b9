"""Resizing images: ``interpolate`` and its older names.

Resizing works dim by dim: along each, a result is a weighted sum of a few elements (one for nearest, two for linear,
four for cubic, more with antialiasing), and which ones does not depend on the values.
"""

from __future__ import annotations

import math
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.errors import warn
from flambeau.engine.sampling import taps_of
from flambeau.ops import layouts
from flambeau.ops.creation import refuse_too_many
from flambeau.ops.pooling_adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from flambeau.tensor.types import Tensor

# --- along one dim -------------------------------------------------------------------------------------------


@lru_cache(128)
def _matrix(*settings) -> np.ndarray:
    """The weights of :func:`taps_of` as a matrix (output, n)."""
    taps, weights = taps_of(*settings)
    matrix = np.zeros((len(taps), settings[1]), weights.dtype)
    np.add.at(matrix, (np.arange(len(taps))[:, None], taps), weights)
    return matrix


_DENSE = 1 << 16
"""Up to this many entries a product with the matrix is faster than picking elements."""


def _is_dense(x: np.ndarray, n: int, output: int) -> bool:
    """Whether to multiply with the matrix: its zeros must not meet infinity or NaN."""
    return n * output <= _DENSE and x.dtype.kind == "f" and bool(np.isfinite(x.sum()))


def _multiplied(matrix: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """The product of ``matrix`` with ``x`` along ``axis``."""
    matrix = matrix.astype(x.dtype, copy=False)
    shape = (*x.shape[:axis], len(matrix), *x.shape[axis + 1 :])
    if axis == x.ndim - 1:
        return (x.reshape(-1, x.shape[-1]) @ matrix.T).reshape(shape)
    return np.matmul(matrix, x.reshape(prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :]))).reshape(shape)


def _weights_at(weights: np.ndarray, k: int, x: np.ndarray, axis: int) -> np.ndarray:
    return weights[:, k].astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - axis - 1))


def _resized(x, kind, sizes, outputs, factors, align_corners, antialias):
    given, weighted = x.dtype, not kind.startswith("nearest")
    for d in reversed(range(len(sizes))):
        axis = x.ndim - len(sizes) + d
        settings = (kind, sizes[d], outputs[d], factors[d], align_corners, antialias, weighted and given == np.float64)
        taps, weights = taps_of(*settings)
        if not weighted:
            x = x.take(taps[:, 0], axis)
        elif _is_dense(x, sizes[d], outputs[d]):
            x = _multiplied(_matrix(*settings), x, axis)
        else:
            x = x.astype(np.float32) if given.kind == "u" else x
            x = sum(x.take(taps[:, k], axis) * _weights_at(weights, k, x, axis) for k in range(taps.shape[1]))
    if given.kind == "u" and weighted:
        x = np.rint(x).clip(0, np.iinfo(given).max)
    return x


def _resized_back(g, kind, sizes, outputs, factors, align_corners, antialias):
    precise = g.dtype == np.float64 and not kind.startswith("nearest")
    for d in range(len(sizes)):
        axis = g.ndim - len(sizes) + d
        settings = (kind, sizes[d], outputs[d], factors[d], align_corners, antialias, precise)
        if _is_dense(g, sizes[d], outputs[d]):
            g = _multiplied(_matrix(*settings).T, g, axis)
            continue
        taps, weights = taps_of(*settings)
        out = np.zeros((*g.shape[:axis], sizes[d], *g.shape[axis + 1 :]), g.dtype)
        for k in range(taps.shape[1]):
            # Along the results, the elements' numbers never decrease: equal ones stand together.
            start = np.flatnonzero(np.diff(taps[:, k], prepend=-1))
            part = np.add.reduceat(g * _weights_at(weights, k, g, axis), start, axis)
            out[(slice(None),) * axis + (taps[start, k],)] += part
        g = out
    return g


def _entry_name(inputs: tuple, attrs: dict) -> str:
    """What PyTorch calls the entry on the tape: ``UpsampleBilinear2DAaBackward0``."""
    dims, kind = len(attrs["outputs"]), attrs["kind"]
    prefix = {"linear": ("", "Bi", "Tri")[dims - 1], "cubic": "Bi"}.get(kind, "")
    name = f"{prefix}{kind}".capitalize() if prefix else "".join(part.capitalize() for part in kind.split("-"))
    return f"Upsample{name}{dims}D{'Aa' if attrs['antialias'] else ''}Backward0"


@op(
    layout=layouts.channels_last,
    name="_upsample",
    overload=_entry_name,
    kernel=_resized,
    grad={"input": lambda g, kind, sizes, outputs, factors, align_corners, antialias: _upsample_grad(
        g, kind, sizes, outputs, factors, align_corners, antialias)},
    method=False,
)  # fmt: skip
def _upsample(input: Tensor, kind, sizes: int | Sequence[int], outputs, factors, align_corners, antialias):
    """:func:`interpolate` after the checks."""
    attrs = {
        "kind": kind, "sizes": sizes, "outputs": outputs, "factors": factors, "align_corners": align_corners,
        "antialias": antialias,
    }  # fmt: skip
    return (*input._shape[:2], *outputs), input._dtype, (input,), attrs


@op(
    name="_upsample_grad",
    kernel=_resized_back,
    grad={"grad": lambda g, kind, sizes, outputs, factors, align_corners, antialias: _upsample(
        g, kind, sizes, outputs, factors, align_corners, antialias)},
    method=False,
)  # fmt: skip
def _upsample_grad(grad: Tensor, kind, sizes: Sequence[int], outputs, factors, align_corners, antialias):
    """The gradient of :func:`_upsample`, its transpose."""
    attrs = {
        "kind": kind, "sizes": sizes, "outputs": outputs, "factors": factors, "align_corners": align_corners,
        "antialias": antialias,
    }  # fmt: skip
    return (*grad._shape[:2], *sizes), grad._dtype, (grad,), attrs


# --- interpolate ---------------------------------------------------------------------------------------------

_LINEAR = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5, "lanczos": 4}
"""The modes that weigh neighbours, and how many dims their input has."""

_KINDS = {"linear": "linear", "bilinear": "linear", "trilinear": "linear", "bicubic": "cubic", "lanczos": "lanczos"}


def _output_size(input, size, scale_factor, recompute_scale_factor: bool):
    """The result's sizes, and the factors that sampling follows: ``None`` for those of the sizes."""
    spatial = list(input._shape[2:])
    dims = len(spatial)
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if isinstance(size, (tuple, list)):
            if len(size) != dims:
                raise ValueError(
                    f"Input and output must have the same number of spatial dimensions, but got input with spatial "
                    f"dimensions of {spatial} and output size of {tuple(size)}. Please provide input tensor in (N, C, "
                    "d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format."
                )
        else:
            size = [size] * dims
        if not all([hasattr(n, "__index__") and not (isinstance(n, dispatch.Tensor) and n.is_floating_point()) for n in size]):
            raise TypeError(
                "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int], but got size with types "
                f"{[type(n) for n in size]}"
            )
        if recompute_scale_factor:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        return tuple([int(n) for n in size]), (None,) * dims
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (tuple, list)):
        if len(scale_factor) != dims:
            raise ValueError(
                f"Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {spatial} and scale_factor of shape {tuple(scale_factor)}. Please provide input tensor "
                "in (N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
            )
    else:
        scale_factor = [scale_factor] * dims
    factors = tuple([float(f) for f in scale_factor])
    sizes = [n * f for n, f in zip(spatial, factors, strict=True)]
    if not all([abs(n) < 2**63 for n in sizes]):  # NaN neither
        raise RuntimeError("value cannot be converted to type int64_t without overflow")
    outputs = tuple([math.floor(n) for n in sizes])
    return outputs, (None,) * dims if recompute_scale_factor else factors


def _check_sizes(input, outputs) -> None:
    refuse_too_many((*input._shape[:2], *outputs))
    names = "DHW"[-len(outputs) :] if len(outputs) > 1 else "W"
    if min(*outputs, *input._shape[2:]) < 1:
        came = ", ".join(f"{name}: {n}" for name, n in zip(names, input._shape[2:], strict=True))
        made = ", ".join(f"{name}: {n}" for name, n in zip(names, outputs, strict=True))
        raise RuntimeError(f"Input and output sizes should be greater than 0, but got input ({came}) output ({made})")
    if input._shape[1] == 0:
        raise RuntimeError(f"Non-empty {input.dim()}D data tensor expected but got a tensor with sizes {list(input._shape)}")


@composite(
    name="nn.functional.interpolate",
    samples=lambda make: [
        Sample(make(1, 2, 3), 5),
        Sample(make(1, 1, 3, 4), (2, 6), mode="nearest-exact"),
        Sample(make(1, 2, 4), scale_factor=1.7, mode="linear"),
        Sample(make(1, 2, 4), scale_factor=1.7, mode="linear", recompute_scale_factor=True),
        Sample(make(1, 1, 3, 4), (4, 2), mode="bilinear"),
        Sample(make(1, 1, 3, 4), (5, 7), mode="bilinear", align_corners=True),
        Sample(make(1, 1, 3, 3), scale_factor=(1.5, 2), mode="bicubic"),
        Sample(make(1, 1, 5, 4), (2, 3), mode="bicubic", antialias=True),
        Sample(make(1, 1, 5, 4), (2, 5), mode="bilinear", antialias=True),
        Sample(make(1, 1, 2, 2, 2), 3, mode="trilinear"),
        Sample(make(1, 1, 4, 5), (2, 3), mode="area"),
    ],
    errors=lambda make: [
        ErrorSample(ValueError, "only one of size or scale_factor", make(1, 1, 3), 4, 2),
        ErrorSample(ValueError, "either size or scale_factor", make(1, 1, 3)),
        ErrorSample(ValueError, "same number of spatial dimensions", make(1, 1, 3), (4, 4)),
        ErrorSample(ValueError, "align_corners option can only be set", make(1, 1, 3), 4, align_corners=True),
        ErrorSample(NotImplementedError, "Got 3D input, but bilinear mode needs 4D", make(1, 1, 3), 4, mode="bilinear"),
        ErrorSample(NotImplementedError, "Only 3D, 4D and 5D input", make(1, 3), 4),
        ErrorSample(RuntimeError, "sizes should be greater than 0", make(1, 1, 3), 0),
    ],
)
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """An input (N, C, ...) of one to three spatial dims resized to ``size``, or by ``scale_factor``.

    ``mode``: ``"nearest"``, ``"nearest-exact"``, ``"linear"`` (one dim), ``"bilinear"`` or ``"bicubic"`` (two),
    ``"trilinear"`` (three), ``"area"`` (adaptive means) or ``"lanczos"`` (two, antialiased). With ``align_corners`` the
    centres of the outermost elements stay where they are, else their outer edges do. With ``recompute_scale_factor`` the
    sizes' ratio, not the given factor, says where samples are taken. ``antialias`` widens the kernel when shrinking
    (bilinear, bicubic).

    Raises ``NotImplementedError`` for a mode that is not for so many dims, ``ValueError`` for options that do not go
    together.

    >>> import flambeau as torch
    >>> torch.nn.functional.interpolate(torch.tensor([[[1.0, 3.0]]]), scale_factor=2, mode="linear")
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
            )
    outputs, factors = _output_size(input, size, scale_factor, bool(recompute_scale_factor) or (mode == "area" and size is None))
    if antialias and (mode not in ("bilinear", "bicubic", "lanczos") or input.dim() != 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    dims = input.dim()
    if dims not in (3, 4, 5) or mode not in ("nearest", "nearest-exact", "area", *_LINEAR):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {dims}D) for the modes: nearest | linear | "
            f"bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
        )
    if _LINEAR.get(mode, dims) != dims:
        raise NotImplementedError(f"Got {dims}D input, but {mode} mode needs {_LINEAR[mode]}D input")
    if mode == "lanczos" and not antialias:
        raise ValueError("lanczos mode requires antialias=True")
    if mode == "area":
        pool = {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}[dims]
        return pool(input, outputs)
    if input._dtype.kind != dtypes.FLOATING and input._dtype is not dtypes.uint8:
        raise NotImplementedError(f"\"upsample_{mode}\" not implemented for '{scalar_name(input._dtype)}'")
    _check_sizes(input, outputs)
    kind = _KINDS.get(mode, mode)
    return _upsample(input, kind, tuple(input._shape[2:]), outputs, factors, bool(align_corners), bool(antialias))


def _warn_deprecated(name: str) -> None:
    warn(f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.")


@composite(name="nn.functional.upsample")
def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
):
    """:func:`interpolate`, with a warning that it is deprecated.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.interpolate(torch.tensor([[[1.0, 3.0]]]), size=4)  # what upsample(x, size=4) is
    tensor([[[1., 1., 3., 3.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.upsample.html
    """
    _warn_deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


@composite(name="nn.functional.upsample_nearest")
def upsample_nearest(input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None):
    """:func:`interpolate` with mode ``"nearest"``, with a warning that it is deprecated.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.interpolate(torch.tensor([[[1.0, 3.0]]]), size=4, mode="nearest")
    tensor([[[1., 1., 3., 3.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.upsample_nearest.html
    """
    _warn_deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor)


@composite(name="nn.functional.upsample_bilinear")
def upsample_bilinear(input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None):
    """:func:`interpolate` with mode ``"bilinear"`` and ``align_corners``, with a warning that it is deprecated.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> x = torch.tensor([[[[1.0, 3.0]]]])
    >>> F.interpolate(x, size=(1, 3), mode="bilinear", align_corners=True)
    tensor([[[[1., 2., 3.]]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.upsample_bilinear.html
    """
    _warn_deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", True)
