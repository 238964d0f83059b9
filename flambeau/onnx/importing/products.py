"""Rules of products of matrices, and of what is made of them."""

from __future__ import annotations

from typing import Any

import flambeau as torch
from flambeau.onnx.importing.registry import dtype_of, ints, rule

Tensor = torch.Tensor


@rule("MatMul")
def matmul(x: Tensor, y: Tensor) -> Tensor:
    return x @ y


@rule("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    broadcast: int = 1,
) -> Tensor:
    a, b = a.T if transA else a, b.T if transB else b
    if c is None or beta == 0:
        return a @ b if alpha == 1 else alpha * (a @ b)
    return torch.addmm(c, a, b, beta=beta, alpha=alpha)


@rule("Einsum")
def einsum(*xs: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *xs)


@rule("Det")
def det(x: Tensor) -> Tensor:
    return torch.linalg.det(x)


@rule("DFT", host="length axis_input")
def dft(
    x: Tensor,
    length: Any = None,
    axis_input: Any = None,
    *,
    axis: int | None = None,
    inverse: int = 0,
    onesided: int = 0,
    opset: int,
) -> Tensor:
    """The discrete Fourier transform; the last dim holds the real part, or both parts."""
    dim = int(axis_input.reshape(())) if axis_input is not None else axis if axis is not None else (1 if opset < 20 else -2)
    n = None if length is None else int(length.reshape(()))
    wide = torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else x[..., 0]
    dim = dim + 1 if dim < 0 else dim
    dim %= wide.dim()
    if inverse and onesided:
        return torch.fft.irfft(wide, n, dim).unsqueeze(-1)
    if inverse:
        return torch.view_as_real(torch.fft.ifft(wide, n, dim))
    if onesided:
        return torch.view_as_real(torch.fft.rfft(wide.real if wide.is_complex() else wide, n, dim).contiguous())
    return torch.view_as_real(torch.fft.fft(wide, n, dim).contiguous())


@rule("HannWindow", host="size")
def hann_window(size: Any, *, output_datatype: int = 1, periodic: int = 1) -> Tensor:
    return torch.hann_window(ints(size)[0], periodic=bool(periodic)).to(dtype_of(output_datatype))


@rule("BlackmanWindow", host="size")
def blackman_window(size: Any, *, output_datatype: int = 1, periodic: int = 1) -> Tensor:
    return torch.blackman_window(ints(size)[0], periodic=bool(periodic)).to(dtype_of(output_datatype))


@rule("HammingWindow", host="size")
def hamming_window(size: Any, *, output_datatype: int = 1, periodic: int = 1) -> Tensor:
    return torch.hamming_window(ints(size)[0], periodic=bool(periodic), alpha=25 / 46, beta=21 / 46).to(dtype_of(output_datatype))


@rule("STFT", host="frame_step frame_length")
def stft(x: Tensor, frame_step: Any, window: Tensor | None = None, frame_length: Any = None, *, onesided: int = 1) -> Tensor:
    """Fourier transforms of frames of the signals (batch, length, 1 or 2)."""
    step = ints(frame_step)[0]
    length = ints(frame_length)[0] if frame_length is not None else x.shape[1] if window is None else window.shape[0]
    signal = torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else x[..., 0]
    frames = signal.unfold(1, length, step)
    if window is not None:
        frames = frames * window
    made = torch.fft.rfft(frames) if onesided else torch.fft.fft(frames)
    return torch.view_as_real(made.contiguous()).to(x.dtype)
