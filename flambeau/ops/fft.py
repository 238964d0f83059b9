"""Discrete Fourier transforms (``torch.fft``).

Three primitives, of the kernels of ``numpy.fft``: complex to complex, real to half of a complex spectrum, and back. All
transforms are made of these. Each one's gradient is its adjoint: the transform in the other direction, with the scale
at the other end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.size import wrap_dim
from flambeau.ops import layouts
from flambeau.ops.creation import finish
from flambeau.ops.padding import constant_pad_nd
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

_ADJOINT_NORM = {"backward": "forward", "forward": "backward", "ortho": "ortho"}

# --- the three transforms ------------------------------------------------------------------------------------


def _c2c_kernel(x, dim, norm, forward):
    return (np.fft.fftn if forward else np.fft.ifftn)(x, axes=dim, norm=norm)


@op(
    layout=layouts.transformed,
    kernel=_c2c_kernel,
    name="aten.fft_c2c",
    backward_name="FftC2CBackward0",
    grad={"input": lambda g, dim, norm, forward: _c2c(g, dim, _ADJOINT_NORM[norm], not forward)},
)
def _c2c(input: Tensor, dim: int, norm, forward):
    """Complex to complex over ``dim``."""
    return input.shape, input.dtype, (input,), {"dim": dim, "norm": norm, "forward": forward}


def half_of(n: int) -> int:
    return n // 2 + 1


def _r2c_kernel(x, dim, norm):
    return np.fft.rfftn(x, axes=dim, norm=norm)


def _r2c_gradient(g, input_shape, dim, norm):
    last = dim[-1]
    missing = input_shape[last] - g.shape[last]
    whole = constant_pad_nd(g, (0, 0) * (g.dim() - 1 - last) + (0, missing))
    return _c2c(whole, dim, _ADJOINT_NORM[norm], False).real


@op(
    layout=layouts.transformed,
    kernel=_r2c_kernel,
    name="aten.fft_r2c",
    backward_name="FftR2CBackward0",
    grad={"input": _r2c_gradient},
)
def _r2c(input: Tensor, dim: tuple[int, ...], norm):
    """Real to the half of the spectrum, along the last of ``dim``, that determines the rest."""
    shape = list(input.shape)
    shape[dim[-1]] = half_of(shape[dim[-1]])
    return tuple(shape), input.dtype.to_complex(), (input,), {"dim": dim, "norm": norm}


def _c2r_kernel(x, dim, norm, n):
    return np.fft.irfftn(x, [x.shape[d] for d in dim[:-1]] + [n], axes=dim, norm=norm)


def _c2r_gradient(g, input_shape, dim, norm, n):
    half = _r2c(g, dim, _ADJOINT_NORM[norm])
    # What stands for two conjugate frequencies counts twice.
    last = dim[-1]
    twice = np.ones(input_shape[last])
    twice[1 : 1 + n - input_shape[last]] = 2
    return half * finish(twice, g.dtype, None, False).reshape((-1,) + (1,) * (half.dim() - last - 1))


@op(
    layout=layouts.transformed,
    kernel=_c2r_kernel,
    name="aten.fft_c2r",
    backward_name="FftC2RBackward0",
    grad={"input": _c2r_gradient},
)
def _c2r(input: Tensor, dim: tuple[int, ...], norm, n):
    """Half of a spectrum along the last of ``dim`` to ``n`` real values there."""
    shape = list(input.shape)
    shape[dim[-1]] = n
    return tuple(shape), input.dtype.to_real(), (input,), {"dim": dim, "norm": norm, "n": n}


# --- arguments -----------------------------------------------------------------------------------------------


def _norm(norm) -> str:
    norm = "backward" if norm is None else norm
    if norm not in _ADJOINT_NORM:
        raise RuntimeError(f'Invalid normalization mode: "{norm}": expected "backward", "ortho" or "forward"')
    return norm


def _floating(input):
    if input.dtype in (dtypes.float16, dtypes.bfloat16):
        raise RuntimeError(f"Unsupported dtype {scalar_name(input.dtype)}: transforms on the CPU take float32 and float64")
    return input if input.dtype.kind >= dtypes.FLOATING else input.to(dtypes.get_default_dtype())


def _complex(input):
    input = _floating(input)
    return input if input.dtype.is_complex else input.to(input.dtype.to_complex())


def _real(name: str, input):
    if input.dtype.is_complex:
        raise RuntimeError(
            f"{name} expects a real input tensor, but got {scalar_name(input.dtype)}. Use {name.replace('r', '', 1)} for a "
            "complex one, or take its .real."
        )
    return _floating(input)


def _geometry(input, s, dim) -> tuple[tuple[int, ...], list[int]]:
    """The dims to transform, counted from the front, and their sizes (-1: as they are)."""
    s = (s,) if isinstance(s, int) else s
    if dim is None:
        if s is not None and len(s) > input.dim():
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {input.dim()} dimensions.")
        dims = tuple(range(0 if s is None else input.dim() - len(s), input.dim()))
    else:
        dims = tuple([_dim(input, d) for d in ((dim,) if isinstance(dim, int) else dim)])
        if len(set(dims)) < len(dims):
            raise RuntimeError(f"FFT dims must be unique, got {tuple(dim)}")
    sizes = [-1] * len(dims) if s is None else list(s)
    if len(sizes) != len(dims):
        raise RuntimeError(
            f"When given, dim and shape arguments must have the same length: got {len(dims)} dims and {len(sizes)} sizes"
        )
    return dims, sizes


def _dim(input, dim: int) -> int:
    if not input.dim():
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return wrap_dim(dim, input.dim())


def _resized(input, dims, sizes):
    """``input`` with zeros added, or elements dropped, at the end of ``dims``."""
    pad = [0] * (2 * input.dim())
    for d, n in zip(dims, sizes, strict=True):
        if n == -1:
            n = input.shape[d]
        if n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
        pad[2 * (input.dim() - 1 - d) + 1] = n - input.shape[d]
    return constant_pad_nd(input, tuple(pad)) if any(pad) else input


def _transform(input, s, dim, norm, forward: bool):
    input = _complex(input)
    dims, sizes = _geometry(input, s, dim)
    norm = _norm(norm)
    input = _resized(input, dims, sizes)
    return _c2c(input, dims, norm, forward) if dims else input


def _to_half(name: str, input, s, dim, norm):
    input = _real(name, input)
    dims, sizes = _geometry(input, s, dim)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    norm = _norm(norm)
    return _r2c(_resized(input, dims, sizes), dims, norm)


def _from_half(name: str, input, s, dim, norm, conjugate: bool = False):
    input = _complex(input)
    dims, sizes = _geometry(input, s, dim)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    norm = _norm(norm)
    n = sizes[-1] if sizes[-1] != -1 else 2 * (input.shape[dims[-1]] - 1)
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    input = _resized(input, dims, [*sizes[:-1], half_of(n)])
    return _c2r(input.conj_physical() if conjugate else input, dims, norm, n)


def _sizes(n):
    return None if n is None else (n,)


def _swapped(norm) -> str:
    return _ADJOINT_NORM[_norm(norm)]


def _samples(make):
    return [Sample(make(5)), Sample(make(2, 4), n=3, norm="ortho"), Sample(make(3, 2), n=5, dim=0, norm="forward")]


def _samples_2d(make):
    return [Sample(make(3, 4)), Sample(make(2, 3, 4), s=(4, 3), norm="ortho"), Sample(make(2, 3, 3), dim=(0, 2))]


def _errors(make):
    return [
        ErrorSample(RuntimeError, "Invalid normalization mode", make(3), norm="a"),
        ErrorSample(RuntimeError, r"Invalid number of data points \(0\) specified", make(3), n=0),
        ErrorSample(IndexError, "Dimension out of range", make(3), dim=1),
    ]


def _errors_2d(make):
    return [
        ErrorSample(RuntimeError, "dim and shape arguments must have the same length", make(3, 3), s=(2,), dim=(0, 1)),
        ErrorSample(RuntimeError, "FFT dims must be unique", make(3, 3), dim=(0, 0)),
    ]


# --- one dim -------------------------------------------------------------------------------------------------


@composite(name="fft.fft", out="same", samples=_samples, errors=_errors)
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    r"""The discrete Fourier transform: :math:`X_k = \sum_j e^{-2 \pi i j k / n} x_j`.

    ``n`` points: zeros are added, or elements dropped, at the end. ``norm`` says where :math:`1/n` stands: at the
    inverse (``backward``, the default), ``forward``, or its root at both (``ortho``).

    >>> import flambeau as torch
    >>> torch.fft.fft(torch.tensor([1.0, 0.0])).real
    tensor([1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fft.html
    """
    return _transform(input, _sizes(n), (dim,), norm, True)


@composite(name="fft.ifft", out="same", samples=_samples, errors=_errors)
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of :func:`fft.fft`.

    >>> import flambeau as torch
    >>> torch.fft.ifft(torch.fft.fft(torch.tensor([1.0, 2.0, 3.0, 4.0]))).real
    tensor([1., 2., 3., 4.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ifft.html
    """
    if input.dtype.kind < dtypes.COMPLEX:  # the conjugate of the transform, as a view
        return _transform(input, _sizes(n), (dim,), _swapped(norm), True).conj()
    return _transform(input, _sizes(n), (dim,), norm, False)


@composite(name="fft.rfft", out="same", samples=_samples, errors=_errors)
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform of real values: the first ``n // 2 + 1`` elements, of which the others are the conjugates.

    >>> import flambeau as torch
    >>> torch.fft.rfft(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfft.html
    """
    return _to_half("rfft", input, _sizes(n), (dim,), norm)


@composite(name="fft.irfft", out=True, samples=_samples, errors=_errors)
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of :func:`fft.rfft`: ``n`` real values, an even number unless given.

    >>> import flambeau as torch
    >>> torch.fft.irfft(torch.tensor([4.0 + 0j, 0j, 0j]))
    tensor([1., 1., 1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.irfft.html
    """
    return _from_half("irfft", input, _sizes(n), (dim,), norm)


@composite(name="fft.hfft", out=True, samples=_samples, errors=_errors)
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real transform of a signal that is conjugate-symmetric, given by its first half.

    >>> import flambeau as torch
    >>> torch.fft.hfft(torch.tensor([1.0 + 0j, 0j, 0j]))
    tensor([1., 1., 1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.hfft.html
    """
    return _from_half("hfft", input, _sizes(n), (dim,), _swapped(norm), conjugate=True)


@composite(name="fft.ihfft", out="same", samples=_samples, errors=_errors)
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of :func:`fft.hfft`.

    >>> import flambeau as torch
    >>> torch.fft.ihfft(torch.tensor([4.0, 0.0, 0.0, 0.0]))
    tensor([1.-0.j, 1.-0.j, 1.-0.j])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ihfft.html
    """
    return _to_half("ihfft", input, _sizes(n), (dim,), _swapped(norm)).conj()


# --- several dims --------------------------------------------------------------------------------------------


@composite(name="fft.fftn", out="same", samples=_samples_2d, errors=_errors_2d)
def fftn(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None
) -> Tensor:
    """The transform over several dims (all, or the last ``len(s)``, unless given). See :func:`fft.fft`.

    >>> import flambeau as torch
    >>> torch.fft.fftn(torch.ones(2, 2)).real
    tensor([[4., 0.],
            [0., 0.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fftn.html
    """
    return _transform(input, s, dim, norm, True)


@composite(name="fft.ifftn", out="same", samples=_samples_2d, errors=_errors_2d)
def ifftn(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None
) -> Tensor:
    """The inverse of :func:`fft.fftn`.

    >>> import flambeau as torch
    >>> torch.fft.ifftn(torch.ones(2, 2)).real
    tensor([[1., 0.],
            [0., 0.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ifftn.html
    """
    return _transform(input, s, dim, norm, False)


@composite(name="fft.rfftn", out="same", samples=_samples_2d, errors=_errors_2d)
def rfftn(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None
) -> Tensor:
    """The transform of real values over several dims: half of the spectrum along the last.

    >>> import flambeau as torch
    >>> torch.fft.rfftn(torch.ones(4, 4)).shape
    torch.Size([4, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfftn.html
    """
    return _to_half("rfftn", input, s, dim, norm)


@composite(name="fft.irfftn", out=True, samples=_samples_2d, errors=_errors_2d)
def irfftn(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None
) -> Tensor:
    """The inverse of :func:`fft.rfftn`.

    >>> import flambeau as torch
    >>> torch.fft.irfftn(torch.fft.rfftn(torch.ones(2, 4)))
    tensor([[1., 1., 1., 1.],
            [1., 1., 1., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.irfftn.html
    """
    return _from_half("irfftn", input, s, dim, norm)


@composite(name="fft.hfftn", out=True, samples=_samples_2d, errors=_errors_2d)
def hfftn(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None
) -> Tensor:
    """The real transform over several dims of a conjugate-symmetric signal, given by its first half along the last.

    >>> import flambeau as torch
    >>> torch.fft.hfftn(torch.ones(4, 3, dtype=torch.complex64)).shape
    torch.Size([4, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.hfftn.html
    """
    return _from_half("hfftn", input, s, dim, _swapped(norm), conjugate=True)


@composite(name="fft.ihfftn", out="same", samples=_samples_2d, errors=_errors_2d)
def ihfftn(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None
) -> Tensor:
    """The inverse of :func:`fft.hfftn`.

    Raises ``RuntimeError`` without a dim to transform.

    >>> import flambeau as torch
    >>> torch.fft.ihfftn(torch.ones(4, 4)).shape
    torch.Size([4, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ihfftn.html
    """
    input = _real("ihfftn", input)
    dims, sizes = _geometry(input, s, dim)
    if not dims:
        raise RuntimeError("ihfftn must transform at least one axis")
    half = _r2c(_resized(input, dims, sizes), dims[-1:], _swapped(norm)).conj_physical()
    return _c2c(half, dims[:-1], _norm(norm), False) if len(dims) > 1 else half


@composite(name="fft.fft2", out="same", samples=_samples_2d, errors=_errors_2d)
def fft2(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None
) -> Tensor:
    """The transform over the last two dims. See :func:`fft.fftn`.

    >>> import flambeau as torch
    >>> torch.fft.fft2(torch.ones(2, 2)).real
    tensor([[4., 0.],
            [0., 0.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fft2.html
    """
    return fftn(input, s, dim, norm)


@composite(name="fft.ifft2", out="same", samples=_samples_2d, errors=_errors_2d)
def ifft2(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None
) -> Tensor:
    """The inverse of :func:`fft.fft2`.

    >>> import flambeau as torch
    >>> torch.fft.ifft2(torch.fft.fft2(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))).real
    tensor([[1., 2.],
            [3., 4.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ifft2.html
    """
    return ifftn(input, s, dim, norm)


@composite(name="fft.rfft2", out="same", samples=_samples_2d, errors=_errors_2d)
def rfft2(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None
) -> Tensor:
    """The transform of real values over the last two dims. See :func:`fft.rfftn`.

    >>> import flambeau as torch
    >>> torch.fft.rfft2(torch.ones(5, 4, 4)).shape
    torch.Size([5, 4, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfft2.html
    """
    return rfftn(input, s, dim, norm)


@composite(name="fft.irfft2", out=True, samples=_samples_2d, errors=_errors_2d)
def irfft2(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None
) -> Tensor:
    """The inverse of :func:`fft.rfft2`.

    >>> import flambeau as torch
    >>> torch.fft.irfft2(torch.fft.rfft2(torch.ones(2, 4)))
    tensor([[1., 1., 1., 1.],
            [1., 1., 1., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.irfft2.html
    """
    return irfftn(input, s, dim, norm)


@composite(name="fft.hfft2", out=True, samples=_samples_2d, errors=_errors_2d)
def hfft2(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None
) -> Tensor:
    """:func:`fft.hfftn` over the last two dims.

    >>> import flambeau as torch
    >>> torch.fft.hfft2(torch.ones(4, 3, dtype=torch.complex64)).shape
    torch.Size([4, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.hfft2.html
    """
    return hfftn(input, s, dim, norm)


@composite(name="fft.ihfft2", out="same", samples=_samples_2d, errors=_errors_2d)
def ihfft2(
    input: Tensor, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None
) -> Tensor:
    """The inverse of :func:`fft.hfft2`.

    >>> import flambeau as torch
    >>> torch.fft.ihfft2(torch.ones(4, 4)).shape
    torch.Size([4, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ihfft2.html
    """
    return ihfftn(input, s, dim, norm)
