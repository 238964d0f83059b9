"""Frequencies of discrete Fourier transforms, and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.core.size import wrap_dim
from flambeau.ops.creation import finish
from flambeau.ops.fft import half_of
from flambeau.ops.record import Sample, composite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.core.dtypes import dtype
    from flambeau.core.memory_format import layout
    from flambeau.tensor.types import Device, Tensor

# --- frequencies ---------------------------------------------------------------------------------------------


def _frequencies(counts: np.ndarray, n: int, d: float, dtype, device, requires_grad):
    dtype = dtype or dtypes.get_default_dtype()
    return finish((counts * (1.0 / (n * d))).astype(dtype.np), dtype, device, requires_grad)


@composite(name="fft.fftfreq", out=True)
def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
):
    """The frequencies of the elements of :func:`fft.fft` of ``n`` samples ``d`` apart; negative ones stand last.

    >>> import flambeau as torch
    >>> torch.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fftfreq.html
    """
    return _frequencies(np.fft.ifftshift(np.arange(n) - n // 2), n, d, dtype, device, requires_grad)


@composite(name="fft.rfftfreq", out=True)
def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
):
    """The frequencies of the elements of :func:`fft.rfft` of ``n`` samples ``d`` apart.

    >>> import flambeau as torch
    >>> torch.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfftfreq.html
    """
    return _frequencies(np.arange(half_of(n)), n, d, dtype, device, requires_grad)


def _shift_samples(make):
    return [Sample(make(5)), Sample(make(3, 4), dim=0), Sample(make(2, 3, 4), dim=(0, 2))]


def _shifted(input, dim, half):
    dims = range(input.dim()) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = [wrap_dim(d, input.dim()) for d in dims]
    return input.roll([half(input.shape[d]) for d in dims], dims) if dims else input.clone()


@composite(name="fft.fftshift", samples=_shift_samples)
def fftshift(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Moves frequency 0 to the middle.

    >>> import flambeau as torch
    >>> torch.fft.fftshift(torch.fft.fftfreq(4))
    tensor([-0.5000, -0.2500,  0.0000,  0.2500])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fftshift.html
    """
    return _shifted(input, dim, lambda n: n // 2)


@composite(name="fft.ifftshift", samples=_shift_samples)
def ifftshift(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of :func:`fft.fftshift`.

    >>> import flambeau as torch
    >>> torch.fft.ifftshift(torch.tensor([-2, -1, 0, 1]))
    tensor([ 0,  1, -2, -1])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ifftshift.html
    """
    return _shifted(input, dim, lambda n: (n + 1) // 2)
