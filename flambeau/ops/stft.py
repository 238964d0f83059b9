"""Short-time Fourier transforms: spectra of windows that slide over a signal, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.errors import warn_once
from flambeau.ops.complexes import view_as_real
from flambeau.ops.fft import fft, ifft, irfft, rfft
from flambeau.ops.padding import constant_pad_nd, pad
from flambeau.ops.record import ErrorSample, Sample, composite

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


def _centred_window(window, win_length: int, n_fft: int, like):
    """The window, with zeros around it up to ``n_fft``; ``None`` where it is all ones."""
    if window is None:
        if win_length == n_fft:
            return None
        window = like.new_ones(win_length)
    left = (n_fft - win_length) // 2
    return constant_pad_nd(window, (left, n_fft - win_length - left)) if win_length < n_fft else window


def _lengths(name: str, n_fft: int, hop_length, win_length, window) -> tuple[int, int]:
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    if hop <= 0:
        raise RuntimeError(f"{name}(n_fft={n_fft}): expected hop_length > 0, but got hop_length={hop}")
    if not 0 < length <= n_fft:
        raise RuntimeError(f"{name}(n_fft={n_fft}): expected 0 < win_length <= n_fft, but got win_length={length}")
    if window is not None and (window.dim() != 1 or window.shape[0] != length):
        raise RuntimeError(
            f"{name}(n_fft={n_fft}): expected a 1D window tensor of size equal to win_length={length}, but got window with "
            f"size {list(window.shape)}"
        )
    return hop, length


@composite(
    samples=lambda make: [
        Sample(make(12), 4, return_complex=True),
        Sample(make(2, 12), 6, 3, 4, make(4, requires_grad=False), normalized=True, return_complex=True),
        Sample(make(10), 4, center=False, onesided=False, return_complex=True),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "stft requires the return_complex parameter", make(10), 4),
        ErrorSample(RuntimeError, "expected a 1D or 2D tensor", make(2, 2, 10), 4, return_complex=True),
        ErrorSample(RuntimeError, "expected 0 < win_length <= n_fft", make(10), 4, win_length=5, return_complex=True),
    ],
)
def stft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Tensor | None = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, return_complex: bool | None = None, align_to_window: bool | None = None,
) -> Tensor:  # fmt: skip
    r"""The spectra of windows of a signal ``(*, length)``: ``(*, frequencies, frames)``.

    Windows of ``n_fft`` elements start ``hop_length`` (a quarter of it unless given) apart, around each point where
    ``center``, and are multiplied by ``window``. ``onesided`` keeps half of the spectrum, as is usual for real signals.

    Raises ``RuntimeError`` for signals of other than 1 or 2 dims, an ``n_fft`` longer than the signal, or half a
    spectrum of complex values.

    >>> import flambeau as torch
    >>> signal = torch.sin(torch.arange(64.0) * torch.pi / 4)  # one period in 8 samples
    >>> spectra = torch.stft(signal, n_fft=16, window=torch.hann_window(16), return_complex=True)
    >>> spectra.shape, spectra[:, 8].abs().argmax()  # 9 frequencies, 17 frames: the second harmonic of 16
    (torch.Size([9, 17]), tensor(2))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.stft.html
    """
    if window is None:
        warn_once(
            "A window was not provided. A rectangular window will be applied,which is known to cause spectral leakage. Other windows "
            "such as torch.hann_window or torch.hamming_window are recommended to reduce spectral leakage.To suppress this warning and "
            "use a rectangular window, explicitly set `window=torch.ones(n_fft, device=<device>)`."
        )
    is_complex = input.dtype.is_complex or (window is not None and window.dtype.is_complex)
    if return_complex is None:
        if not is_complex:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release."
            )
        return_complex = True
    if not return_complex:
        warn_once(
            "stft with return_complex=False is deprecated. In a future pytorch release, stft will return complex tensors for all "
            "inputs, and return_complex=False will raise an error.\n"
            "Note: you can still call torch.view_as_real on the complex output to recover the old return format."
        )
    if input.dtype.kind < dtypes.FLOATING:
        raise RuntimeError(f"stft: expected a tensor of floating point or complex values, got {input.dtype}")
    if input.dim() not in (1, 2):
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, got shape {list(input.shape)}")
    hop, length = _lengths("stft", n_fft, hop_length, win_length, window)
    onesided = not is_complex if onesided is None else onesided
    if onesided and is_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")

    x = input if input.dim() == 2 else input.unsqueeze(0)
    if center:
        half = n_fft // 2
        x = pad(x.unsqueeze(1), (half, half), pad_mode).squeeze(1)
    if not 0 < n_fft <= x.shape[-1]:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {x.shape[-1]}, the length of the signal, but got n_fft={n_fft}")
    frames = x.unfold(-1, n_fft, hop)
    weights = _centred_window(window, length, n_fft, x)
    if weights is not None:
        frames = frames * weights
    norm = "ortho" if normalized else None
    spectra = rfft(frames, norm=norm) if onesided else fft(frames, norm=norm)
    result = spectra.transpose(1, 2)
    result = result if input.dim() == 2 else result.squeeze(0)
    return result if return_complex else view_as_real(result)


def _overlapped(frames, hop: int):
    """The sum of frames ``(batch, frames, n)``, each ``hop`` after the one before."""
    batch, count, n = frames.shape
    place = (np.arange(count)[:, None] * hop + np.arange(n)).ravel()
    total = frames.new_zeros((batch, (count - 1) * hop + n))
    return total.index_add(1, dispatch.wrap(place), frames.reshape((batch, count * n)))


@composite(
    samples=lambda make: [
        Sample(make(3, 6, dtype=dtypes.complex128), 4),
        Sample(make(2, 4, 5, dtype=dtypes.complex128), 6, 2, 5, make(5, low=0.5, high=1.5, requires_grad=False), length=6),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "istft requires a complex-valued input tensor", make(3, 5), 4)],
)
def istft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Tensor | None = None, center: bool = True, normalized: bool = False, onesided: bool | None = None, length: int | None = None,
    return_complex: bool = False,
) -> Tensor:  # fmt: skip
    r"""The signal whose windows have the spectra ``input``, ``(*, frequencies, frames)``, in the sense of least squares.

    Frames are multiplied by the window, added where they overlap, and divided by the sum of squares of the windows.

    Raises ``RuntimeError`` for what is no spectrum of ``n_fft``, and for windows that leave a place without any weight.

    >>> import flambeau as torch
    >>> signal, window = torch.arange(32.0), torch.hann_window(8)
    >>> spectra = torch.stft(signal, 8, window=window, return_complex=True)
    >>> torch.istft(spectra, 8, window=window, length=32).allclose(signal, atol=1e-4)
    True

    Source: Griffin and Lim, Signal estimation from modified short-time Fourier transform (1984);
    https://docs.pytorch.org/docs/stable/generated/torch.istft.html
    """
    if window is None:
        warn_once(
            "A window was not provided. A rectangular window will be applied.Please provide the same window used by stft to make the "
            "inversion lossless.To suppress this warning and use a rectangular window, explicitly set "
            "`window=torch.ones(n_fft, device=<device>)`."
        )
    if not input.dtype.is_complex:
        raise RuntimeError("istft requires a complex-valued input tensor matching the output from stft with return_complex=True.")
    if input.numel() == 0:
        raise RuntimeError(f"istft: input tensor cannot be empty, its shape is {list(input.shape)}.")
    if input.dim() not in (2, 3):
        raise RuntimeError(f"istft: expected a tensor with 2 or 3 dimensions, but got {input.dim()}")
    hop, size = _lengths("istft", n_fft, hop_length, win_length, window)
    if hop > size:
        raise RuntimeError(f"istft: expected 0 < hop_length <= win_length, got {hop} and {size}")
    if return_complex and onesided:
        raise RuntimeError("istft: cannot have onesided input if window or output is complex")
    half = n_fft // 2 + 1
    onesided = input.shape[-2] != n_fft if onesided is None else onesided
    if input.shape[-2] != (half if onesided else n_fft):
        raise RuntimeError(
            f"istft: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft / 2 + 1 when "
            f"onesided=True (or n_fft when onesided=False), but got {input.shape[-2]} for n_fft={n_fft}"
        )
    spectra = (input if input.dim() == 3 else input.unsqueeze(0)).transpose(1, 2)
    norm = "ortho" if normalized else None
    if return_complex:
        frames = ifft(spectra, norm=norm)
    else:
        frames = irfft(spectra if onesided else spectra[..., :half], n_fft, norm=norm)
    weights = _centred_window(window, size, n_fft, frames)
    weights = frames.new_ones(n_fft) if weights is None else weights
    signal = _overlapped(frames * weights, hop)
    envelope = _overlapped((weights * weights).expand((1, frames.shape[1], n_fft)), hop)

    start = n_fft // 2 if center else 0
    whole = signal.shape[-1]
    end = start + length if length is not None else whole - start if center else whole
    signal, envelope = signal[:, start:end], envelope[:, start:end]
    if not envelope._opaque and bool((envelope.abs() < 1e-11).any()):
        raise RuntimeError(
            f"istft(n_fft={n_fft}, hop_length={hop}, win_length={size}) window overlap add min: 1: the windows, added up, "
            "are zero somewhere, where the signal is not determined"
        )
    signal = signal / envelope
    if length is not None and length > signal.shape[-1]:
        signal = constant_pad_nd(signal, (0, length - signal.shape[-1]))
    return signal if input.dim() == 3 else signal.squeeze(0)
