"""Windows: weights that fade a stretch of a signal out towards its ends.

Each is computed in float64 and rounded once. ``sym`` (for filters) or not ``sym`` / ``periodic`` (for spectra: one sample
longer, without the last) say where the window ends. Source: Harris (1978), "On the use of windows for harmonic analysis
with the discrete Fourier transform"; https://docs.pytorch.org/docs/stable/signal.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core import dtypes
from flambeau.ops.creation import finish
from flambeau.ops.documentation import docstring
from flambeau.ops.record import Op

if TYPE_CHECKING:
    from flambeau.core.dtypes import dtype
    from flambeau.core.memory_format import layout
    from flambeau.tensor.types import Device

_PI = np.pi


def _cosines(x: np.ndarray, *weights: float) -> np.ndarray:
    """The sum of (-1)^i w_i cos(i x)."""
    return sum((-1) ** i * w * np.cos(i * x) for i, w in enumerate(weights)) + np.zeros_like(x)


def _circle(n: int) -> np.ndarray:
    """Angles from 0 to 2 pi, both included."""
    return 2 * _PI * np.arange(n) / max(n - 1, 1)


def _bartlett(n: int) -> np.ndarray:
    return 1 - np.abs(2 * np.arange(n) / (n - 1) - 1)


def _kaiser(n: int, beta: float) -> np.ndarray:
    return np.i0(beta * np.sqrt(np.clip(1 - (2 * np.arange(n) / (n - 1) - 1) ** 2, 0, None))) / np.i0(beta)


def _gaussian(n: int, std: float) -> np.ndarray:
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return np.exp(-(((np.arange(n) - (n - 1) / 2) / std) ** 2) / 2)


def _exponential(n: int, center: float | None, tau: float, asked: int, sym: bool) -> np.ndarray:
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    middle = (asked if not sym and asked > 1 else asked - 1) / 2 if center is None else center
    return np.exp(-np.abs(np.arange(n) - middle) / tau)


def _made(name: str, count: int, sym: bool, dtype, device, requires_grad, compute):
    """``compute(n)`` for as many samples as are asked for; PyTorch's messages for what cannot be."""
    if count < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={count}")
    dtype = dtype or dtypes.get_default_dtype()
    if not dtype.is_floating_point:
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    if count <= 1:
        values = np.ones(count)
    else:
        values = compute(count if sym else count + 1)[:count]
    return finish(values.astype(dtype.np), dtype, device, requires_grad)


_OF_COSINES = ("blackman", "general_hamming", "hamming", "hann", "nuttall")
"""Windows whose errors speak of the general one that they are cases of."""


def _signal(name: str, text: str, shown: str, compute, **defaults) -> None:
    """The record of ``torch.signal.windows.<name>(M, *, <settings>, sym=True)``; ``shown``: its values in the middle of 5."""

    def window(
        M: int,
        *,
        sym: bool = True,
        dtype: dtype | None = None,
        layout: layout | None = None,
        device: Device = None,
        requires_grad: bool = False,
        **settings: Any,
    ):
        unknown = settings.keys() - defaults.keys()
        if unknown:
            raise TypeError(f"{name}() got an unexpected keyword argument '{unknown.pop()}'")
        given = {**defaults, **settings}
        told = "general_cosine" if name in _OF_COSINES else name
        return _made(told, M, sym, dtype, device, requires_grad, lambda n: compute(n, M, sym, **given))

    window.__name__ = window.__qualname__ = name
    text += "\n\nRaises ``ValueError`` for a negative ``M`` and for dtypes that are not floating."
    example = f">>> torch.signal.windows.{name}(5{', a=[0.5, 0.5]' if name == 'general_cosine' else ''})[1:4]"
    window.__doc__ = docstring(text, f"signal.windows.{name}", example, f"tensor([{shown}])")
    Op(window, "composite", name=f"signal.windows.{name}", tensors="", method=False)


_signal(
    "bartlett",
    "A triangle that is 0 at both ends: :math:`1 - |2 n / (M - 1) - 1|`.",
    "0.5000, 1.0000, 0.5000",
    lambda n, *_: _bartlett(n),
)
_signal(
    "blackman", r":math:`0.42 - 0.5 \cos x + 0.08 \cos 2x` with :math:`x = 2 \pi n / (M - 1)`.", "0.3400, 1.0000, 0.3400",
    lambda n, *_: _cosines(_circle(n), 0.42, 0.5, 0.08),
)  # fmt: skip
_signal(
    "cosine", r"Half a period of the sine: :math:`\sin(\pi (n + 1/2) / M)`.", "0.8090, 1.0000, 0.8090",
    lambda n, *_: np.sin(_PI * (np.arange(n) + 0.5) / n),
)  # fmt: skip
_signal(
    "exponential", r":math:`e^{-|n - center| / tau}`; ``center`` is the middle unless given.", "0.3679, 1.0000, 0.3679",
    lambda n, asked, sym, center, tau: _exponential(n, center, tau, asked, sym), center=None, tau=1.0,
)  # fmt: skip
_signal(
    "gaussian", r":math:`e^{-(n - middle)^2 / (2\,std^2)}`.", "0.6065, 1.0000, 0.6065",
    lambda n, asked, sym, std: _gaussian(n, std), std=1.0,
)  # fmt: skip
_signal(
    "general_cosine", r"The sum :math:`\sum_i (-1)^i a_i \cos(i x)` with :math:`x = 2 \pi n / (M - 1)`.", "0.5000, 1.0000, 0.5000",
    lambda n, asked, sym, a: _cosines(_circle(n), *a), a=(),
)  # fmt: skip
_signal(
    "general_hamming", r":math:`alpha - (1 - alpha) \cos x` with :math:`x = 2 \pi n / (M - 1)`.", "0.5400, 1.0000, 0.5400",
    lambda n, asked, sym, alpha: _cosines(_circle(n), alpha, 1 - alpha), alpha=0.54,
)  # fmt: skip
_signal(
    "hamming", r":math:`0.54 - 0.46 \cos x` with :math:`x = 2 \pi n / (M - 1)`.", "0.5400, 1.0000, 0.5400",
    lambda n, *_: _cosines(_circle(n), 0.54, 0.46),
)  # fmt: skip
_signal(
    "hann", r":math:`(1 - \cos x) / 2` with :math:`x = 2 \pi n / (M - 1)`.", "0.5000, 1.0000, 0.5000",
    lambda n, *_: _cosines(_circle(n), 0.5, 0.5),
)  # fmt: skip
_signal(
    "kaiser", r"Kaiser's window :math:`I_0(beta \sqrt{1 - t^2}) / I_0(beta)`, :math:`t` from -1 to 1.", "0.2157, 1.0000, 0.2157",
    lambda n, asked, sym, beta: _kaiser(n, beta), beta=12.0,
)  # fmt: skip
_signal(
    "nuttall", "A sum of four cosines with small side lobes (Nuttall, 1981).", "0.2270, 1.0000, 0.2270",
    lambda n, *_: _cosines(_circle(n), 0.3635819, 0.4891775, 0.1365995, 0.0106411),
)  # fmt: skip


def _plain(name: str, text: str, shown: str, compute, *settings: tuple[str, float]) -> None:
    """The record of the older ``torch.<name>_window(window_length, periodic=True, <settings>)``; ``shown`` as in :func:`_signal`."""

    def window(
        window_length: int, periodic: bool = True, *values: Any, dtype: dtype | None = None, layout: layout | None = None, device: Device = None, requires_grad: bool = False, pin_memory: bool | None = False,
        **named: Any,
    ):  # fmt: skip
        given = {**dict(settings), **dict(zip([s for s, _ in settings], values, strict=False)), **named}
        if given.keys() != dict(settings).keys():
            raise TypeError(f"{name}_window() got unexpected keyword arguments: {sorted(given.keys() - dict(settings).keys())}")
        if window_length < 0:
            raise RuntimeError(f"{name}_window requires non-negative window_length, got window_length={window_length}")
        dtype_ = dtype or dtypes.get_default_dtype()
        if not dtype_.is_floating_point:
            raise RuntimeError(f"{name}_window expects floating point dtypes, got: {dtype_}")
        return _made(name, window_length, not periodic, dtype_, device, requires_grad, lambda n: compute(n, **given))

    window.__name__ = window.__qualname__ = f"{name}_window"
    text += "\n\nRaises ``RuntimeError`` for a negative ``window_length`` and for dtypes that are not floating."
    example = f">>> torch.{name}_window(5, periodic=False)[1:4]"
    window.__doc__ = docstring(text, f"{name}_window", example, f"tensor([{shown}])")
    Op(window, "composite", tensors="", method=False)


_plain("bartlett", "A triangle that is 0 at both ends.", "0.5000, 1.0000, 0.5000", _bartlett)
_plain(
    "blackman", r":math:`0.42 - 0.5 \cos x + 0.08 \cos 2x` with :math:`x = 2 \pi n / N`.", "0.3400, 1.0000, 0.3400",
    lambda n: _cosines(_circle(n), 0.42, 0.5, 0.08),
)  # fmt: skip
_plain("kaiser", "Kaiser's window of shape ``beta``.", "0.2157, 1.0000, 0.2157", _kaiser, ("beta", 12.0))
