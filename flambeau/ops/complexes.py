"""Complex numbers: conjugates, their parts as views, angles, and tensors made from parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.size import broadcast_shapes
from flambeau.ops import layouts
from flambeau.ops.record import ErrorSample, Sample, composite, op, pointwise, view

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


def conj_of(x):
    """The complex conjugate of a tensor or number; a real one as it is."""
    if isinstance(x, dispatch.Tensor):
        return conj_physical(x) if x._dtype.kind == dtypes.COMPLEX else x
    return x.conjugate() if x.__class__ is complex else x


def _complex_samples(make):
    return [
        Sample(make(3, 4, dtype=dtypes.complex128)),
        Sample(make(4, 3, dtype=dtypes.complex128).t()),
        Sample(make(dtype=dtypes.complex128)),
        Sample(make(3, 4)),
    ]


@pointwise(
    kernel=np.conjugate, grad={"input": lambda g: conj_of(g)}, inplace=True, out="same", samples=_complex_samples
)  # fmt: skip
def conj_physical(input: Tensor):
    """Element-wise complex conjugate, as a new tensor.

    >>> import flambeau as torch
    >>> torch.conj_physical(torch.tensor([1 + 2j]))
    tensor([1.-2.j])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.conj_physical.html
    """
    return (input,), {}


@view(
    name="_conj",
    method=False,
    grad={"input": lambda g: conj_of(g)},
    backward_name="ConjBackward0",
    samples=lambda make: _complex_samples(make)[:3],
)
def conj_view(input: Tensor):
    """A view of ``input``'s memory whose elements are conjugated when they are read, and when they are written."""
    return input.shape, input.stride(), input.storage_offset(), {}, input.dtype, "conj"


@view(name="_neg_view", method=False, grad={"input": lambda g: -g}, backward_name="NegViewBackward0", samples=_complex_samples)
def neg_view(input: Tensor):
    """A view of ``input``'s memory whose elements change their sign when they are read, and when they are written."""
    return input.shape, input.stride(), input.storage_offset(), {}, input.dtype, "neg"


@composite(samples=_complex_samples)
def conj(input: Tensor) -> Tensor:
    """Element-wise complex conjugate, as a view of ``input``'s memory; a real tensor is returned as it is.

    >>> import flambeau as torch
    >>> x = torch.tensor([1 + 2j])
    >>> torch.conj(x), x.conj().is_conj()
    (tensor([1.-2.j]), True)
    >>> x.conj()[0] = 3 + 4j
    >>> x
    tensor([3.-4.j])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.conj.html
    """
    return conj_view(input) if input.is_complex() else input


@composite(samples=_complex_samples)
def resolve_conj(input: Tensor) -> Tensor:
    """``input``, or a copy where it is a conjugate view.

    >>> import flambeau as torch
    >>> x = torch.tensor([1 + 2j]).conj()
    >>> x.is_conj(), torch.resolve_conj(x).is_conj()
    (True, False)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.resolve_conj.html
    """
    return input.clone() if input.is_conj() else input


@composite(samples=_complex_samples)
def resolve_neg(input: Tensor) -> Tensor:
    """``input``, or a copy where it is a view with the other sign.

    >>> import flambeau as torch
    >>> x = torch.tensor([1 + 2j]).conj().imag
    >>> x.is_neg(), torch.resolve_neg(x).is_neg()
    (True, False)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.resolve_neg.html
    """
    return input.clone() if input.is_neg() else input


@composite(method=False, samples=_complex_samples)
def real(input: Tensor) -> Tensor:
    """The real part, as a view of ``input``'s memory; a real tensor is returned as it is.

    >>> import flambeau as torch
    >>> torch.real(torch.tensor([1 + 2j]))
    tensor([1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.real.html
    """
    return input.real


@composite(method=False)
def imag(input: Tensor):
    """The imaginary part, as a view of ``input``'s memory. ``input`` must be complex.

    Raises ``RuntimeError`` for a real tensor.

    >>> import flambeau as torch
    >>> torch.imag(torch.tensor([1 + 2j]))
    tensor([2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.imag.html
    """
    return input.imag


# --- angles --------------------------------------------------------------------------------------------------


@view(grad={"input": lambda g: _complex_of(g)}, samples=lambda make: [Sample(make(3, dtype=dtypes.complex128))])
def view_as_real(input: Tensor):
    """A complex tensor's memory as real pairs: a last dim of size 2.

    Raises ``RuntimeError`` for real tensors, and for lazily conjugated ones.

    >>> import flambeau as torch
    >>> torch.view_as_real(torch.tensor([1 + 2j]))
    tensor([[1., 2.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.view_as_real.html
    """
    if not input.dtype.is_complex:
        raise RuntimeError("view_as_real is only supported for complex tensors")
    if input.is_conj():
        raise RuntimeError(
            "view_as_real doesn't work on unresolved conjugated tensors.  To resolve the conjugate tensor so you can view it as "
            "real, use self.resolve_conj(); however, be warned that the resulting tensor will NOT alias the original."
        )
    strides = tuple([2 * s for s in input.stride()]) + (1,)
    return input.shape + (2,), strides, 2 * input.storage_offset(), {}, input.dtype.to_real()


def _complex_of(g):
    return view_as_complex(g.contiguous().resolve_neg())


@view(grad={"input": lambda g: view_as_real(g.contiguous().resolve_conj())}, samples=lambda make: [Sample(make(3, 2))])
def view_as_complex(input: Tensor):
    """A real tensor whose last dim has size 2 as complex numbers, on the same memory.

    Raises ``RuntimeError`` unless the last dim has size 2 and stride 1.

    >>> import flambeau as torch
    >>> torch.view_as_complex(torch.tensor([[1.0, 2.0]]))
    tensor([1.+2.j])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.view_as_complex.html
    """
    if input.dtype not in (dtypes.float16, dtypes.float32, dtypes.float64):
        kinds = "half, float and double tensors"
        raise RuntimeError(
            f"view_as_complex is only supported for {kinds}, but got a tensor of scalar type: {scalar_name(input.dtype)}"
        )
    if not input.dim() or input.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if input.stride()[-1] != 1 or any(s % 2 for s in input.stride()[:-1]) or input.storage_offset() % 2:
        raise RuntimeError("Tensor must have a last dimension with stride 1, and even strides and offset elsewhere")
    strides = tuple([s // 2 for s in input.stride()[:-1]])
    return input.shape[:-1], strides, input.storage_offset() // 2, {}, input.dtype.to_complex()


def _angle(x):
    if x.dtype.kind == "c":
        return np.angle(x)
    # A real number's angle is 0 or pi, and NaN's is NaN.
    return np.where(x < 0, np.pi, np.where(x == x, 0.0, np.nan))


def _grad_of_angle(g, input):
    if input._dtype.kind != dtypes.COMPLEX:
        return g * 0
    # d angle = Im(dz / z), so the gradient is i g z / |z|^2, and 0 at the origin; beside it |z|^2 may be 0 too.
    return (input * g / input.abs().square() * 1j).masked_fill(input == 0, 0)


@op(layout=layouts.of_real, kernel=_angle, grad={"input": _grad_of_angle}, out=True, samples=_complex_samples)
def angle(input: Tensor):
    r"""Element-wise angle :math:`\arg(z)` in radians, in :math:`(-\pi, \pi]`; of a real number 0 or :math:`\pi`.

    >>> import flambeau as torch
    >>> torch.angle(torch.tensor([1j, -1 + 0j]))
    tensor([1.5708, 3.1416])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.angle.html
    """
    d = input._dtype
    return input._shape, dtypes.get_default_dtype() if d.kind < dtypes.FLOATING else d.to_real(), (input,), {}


# --- complex tensors from parts ------------------------------------------------------------------------------


def _check_parts(first, second) -> None:
    allowed = (dtypes.float16, dtypes.float32, dtypes.float64)
    if first._dtype not in allowed or second._dtype not in allowed:
        raise RuntimeError(
            "Expected both inputs to be Half, Float or Double tensors but got "
            f"{scalar_name(first._dtype)} and {scalar_name(second._dtype)}"
        )
    if first._dtype is not second._dtype:
        raise RuntimeError(
            f"Expected object of scalar type {scalar_name(first._dtype)} but got scalar type "
            f"{scalar_name(second._dtype)} for second argument"
        )


def _pairs(make):
    return [
        Sample(make(3, 4), make(3, 4)),
        Sample(make(4, 3).t(), make(4)),
        Sample(make(), make(3)),
        Sample(make(0, 2), make(2)),
    ]


def _different_parts(make):
    return [ErrorSample(RuntimeError, "Expected object of scalar type", make(3), make(3, dtype=dtypes.float32))]


def _complex(real, imag):
    result = np.empty(np.broadcast_shapes(real.shape, imag.shape), np.result_type(real.dtype, np.complex64))
    result.real, result.imag = real, imag
    return result


@op(
    layout=layouts.elementwise,
    kernel=_complex,
    tensors="real imag",
    grad={"real": lambda g: g.real, "imag": lambda g: g.imag},
    out="same",
    method=False,
    samples=_pairs,
    errors=_different_parts,
)
def complex_(real: Tensor, imag: Tensor):
    """The complex tensor with real part ``real`` and imaginary part ``imag``, two tensors of the same dtype.

    Raises ``RuntimeError`` for tensors of different dtypes, or of others than floating ones.

    >>> import flambeau as torch
    >>> torch.complex(torch.tensor([1.0]), torch.tensor([2.0]))
    tensor([1.+2.j])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.complex.html
    """
    _check_parts(real, imag)
    return broadcast_shapes(real._shape, imag._shape), real._dtype.to_complex(), (real, imag), {}


def _polar(abs, angle):
    return _complex(abs * np.cos(angle), abs * np.sin(angle))


@op(
    layout=layouts.elementwise,
    kernel=_polar,
    tensors="abs angle",
    grad={
        "abs": lambda g, angle: g.real * angle.cos() + g.imag * angle.sin(),
        "angle": lambda g, abs, angle: abs * (g.imag * angle.cos() - g.real * angle.sin()),
    },
    out="same",
    method=False,
    samples=_pairs,
    errors=_different_parts,
)
def polar(abs: Tensor, angle: Tensor):
    r"""The complex tensor :math:`abs \cdot e^{i \cdot angle}`, from two tensors of the same dtype.

    Raises ``RuntimeError`` for tensors of different dtypes, ``NotImplementedError`` for half precision.

    >>> import flambeau as torch
    >>> torch.polar(torch.tensor([2.0]), torch.tensor([0.0]))
    tensor([2.+0.j])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.polar.html
    """
    _check_parts(abs, angle)
    if abs._dtype is dtypes.float16:
        raise NotImplementedError("\"polar_cpu\" not implemented for 'Half'")
    return broadcast_shapes(abs._shape, angle._shape), abs._dtype.to_complex(), (abs, angle), {}
