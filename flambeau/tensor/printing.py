"""How tensors are written: ``repr``, ``format`` and the print options, as PyTorch writes them.

A tensor's elements share one notation and one width, chosen from the elements that are shown. Source:
https://docs.pytorch.org/docs/stable/generated/torch.set_printoptions.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core import dtypes

if TYPE_CHECKING:
    from flambeau.tensor import Tensor

_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}
_options: dict[str, Any] = {**_PROFILES["default"], "sci_mode": None}


class _PrintOptions:
    """The print options as attributes: ``PRINT_OPTS.precision``; they can be set."""

    def __getattr__(self, name: str) -> Any:
        if name not in _options:
            raise AttributeError(name)
        return _options[name]

    def __setattr__(self, name: str, value: Any) -> None:
        _options[name] = value


PRINT_OPTS = _PrintOptions()


def _tensor_str(self: Tensor, indent: int) -> str:
    """The bracketed values of a tensor, for a text whose first bracket stands in column ``indent``."""
    return format_values(self.detach()._array(), indent) if self.numel() else "[]"


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors are printed; an argument left out keeps its value, but for ``sci_mode``.

    ``precision``: digits after the point (4). ``threshold``: tensors of more elements are summarised (1000).
    ``edgeitems``: elements that a summary shows at either end of each dimension (3). ``linewidth``: columns of a
    line (80). ``profile``: ``"default"``, ``"short"`` or ``"full"`` (never summarise), applied before the others.
    ``sci_mode``: scientific notation always (True), never (False) or where the values call for it (None).

    >>> import flambeau as torch
    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.set_printoptions(profile="default")
    >>> torch.tensor([1.12345])
    tensor([1.1235])
    """
    _options.update(_PROFILES.get(profile, {}) if profile is not None else {})
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options.update({name: value for name, value in given.items() if value is not None})
    _options["sci_mode"] = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The print options, as a dictionary that :func:`set_printoptions` takes as keyword arguments.

    >>> import flambeau as torch
    >>> torch.get_printoptions()
    {'precision': 4, 'threshold': 1000, 'edgeitems': 3, 'linewidth': 80, 'sci_mode': None}
    """
    return dict(_options)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Print options for the length of a ``with`` block; takes what :func:`set_printoptions` takes.

    >>> import flambeau as torch
    >>> from flambeau.tensor.printing import printoptions
    >>> with printoptions(threshold=5, edgeitems=1):
    ...     print(torch.arange(10))
    tensor([0,  ..., 9])
    """
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def tensor_repr(t: Tensor, tensor_contents: str | None = None) -> str:
    """``repr(t)``, with ``tensor_contents`` in the place of the values where it is given.

    Parameters of a user's class say both.
    """
    cls = type(t)
    ours = cls.__module__.partition(".")[0] in ("flambeau", "torch")
    if not ours and getattr(t, "_is_param", False):
        return f"Parameter({_named_repr(t, cls.__name__, False, tensor_contents)})"
    return _named_repr(t, cls.__name__, ours, tensor_contents)


def _named_repr(t: Tensor, name: str, ours: bool, tensor_contents: str | None) -> str:
    grad_fn = t.grad_fn
    if t._storage.is_meta:
        suffixes = [*[f"device='{t.device}'"] * t.is_meta, f"size={tuple(t.shape)}"]
        if t.dtype is not dtypes.get_default_dtype():
            suffixes.append(f"dtype={t.dtype}")
        suffixes += [f"grad_fn=<{type(grad_fn).__name__}>"] if grad_fn is not None else ["requires_grad=True"] * t.requires_grad
        storage: Any = t._storage
        name = storage.shown if ours else name
        return append(f"{name}({tensor_contents or '...'}", suffixes, len(name) + 1) + ")"
    return format_tensor(
        t._array(),
        t.dtype,
        requires_grad=t.requires_grad,
        grad_fn_name=None if grad_fn is None else type(grad_fn).__name__,
        name="tensor" if ours else name,
        contents=tensor_contents,
        tangent=None if t._tangent is None else t._tangent.value,
    )


def format_tensor(
    array: np.ndarray,
    dtype: dtypes.dtype,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    name: str = "tensor",
    contents: str | None = None,
    tangent: Tensor | None = None,
) -> str:
    """The text of a tensor with these values: ``name(values, suffixes)``; ``contents`` stands in for the values."""
    indent = len(name) + 1
    if contents is None:
        contents = format_values(array, indent) if array.size else "[]"
    suffixes = []
    default = dtypes.get_default_dtype()
    if array.size == 0:
        if array.ndim != 1:
            suffixes.append(f"size={array.shape}")
        implied = dtype is default
    else:
        if not _options["edgeitems"]:
            suffixes.append(f"size={array.shape}")
        # set_default_dtype(float64) makes complex128 the default; every other default has complex64 beside it
        complex_default = dtypes.complex128 if default is dtypes.float64 else dtypes.complex64
        implied = dtype in (default, complex_default, dtypes.int64, dtypes.bool)
    if not implied:
        suffixes.append(f"dtype={dtype}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    if tangent is not None:
        suffixes.append(f"tangent={tangent}")
    return append(f"{name}({contents}", suffixes, indent) + ")"


def format_values(array: np.ndarray, indent: int = 0) -> str:
    """The bracketed values alone, for a text whose first bracket stands in column ``indent``."""
    if array.dtype == dtypes.complex32.np:
        array = dtypes.widened(array)
    summarize = array.size > _options["threshold"]
    shown = _edges(array) if summarize else array
    write: Callable[[Any], str]
    if array.dtype.kind == "c":
        real, imag = _Notation(shown.real), _Notation(shown.imag)
        width = real.width + imag.width + 1  # the j

        def write(z: complex) -> str:
            imaginary = imag(z.imag).lstrip() + "j"
            return real(z.real) + ("" if imaginary[0] in "+-" else "+") + imaginary
    else:
        write = notation = _Notation(shown)
        width = notation.width
    return _layout(array, indent, summarize, write, width + len(", "))


class _Notation:
    """Writes numbers in the notation, and to the width, that the given values ask for."""

    def __init__(self, values: np.ndarray) -> None:
        self.spec, self.whole = "", False
        if values.dtype.kind in "biu":
            self.width = max((len(str(v)) for v in values.ravel().tolist()), default=1)
            return
        # float64 holds every value of every real type, and Python formats it (bfloat16 is no float to NumPy)
        values = values.astype(np.float64)
        values = values[np.isfinite(values) & (values != 0)]
        whole = bool((values == np.ceil(values)).all())
        digits, scientific = _options["precision"], False
        if values.size:
            scientific = _options["sci_mode"]
            if scientific is None:
                low, high = float(np.abs(values).min()), float(np.abs(values).max())
                scientific = high / low > 1000 or high > 1e8 or low < 1e-4
        self.whole = whole and not scientific  # whole numbers end in a point: they are floats
        self.spec = f".{digits}e" if scientific else ".0f" if whole else f".{digits}f"
        self.width = max((len(format(v, self.spec)) + self.whole for v in values.tolist()), default=1)

    def __call__(self, value: Any) -> str:
        text = format(value, self.spec)
        if self.whole and math.isfinite(value):
            text += "."
        return text.rjust(self.width)


def _edges(array: np.ndarray) -> np.ndarray:
    """The elements that a summary of ``array`` shows."""
    edge = _options["edgeitems"]
    for axis, n in enumerate(array.shape):
        if n > 2 * edge:
            array = array.take([*range(edge), *range(n - edge, n)], axis)
    return array


def _layout(array: np.ndarray, indent: int, summarize: bool, write: Callable[[Any], str], width: int) -> str:
    if array.ndim == 0:
        return write(array.item())
    n, edge = len(array), _options["edgeitems"]
    cut = edge if summarize and n > 2 * edge else None
    head, tail = array[:cut], array[n if cut is None else n - cut :]
    inner = indent + 1
    if array.ndim > 1:
        rows = [_layout(row, inner, summarize, write, width) for row in head]
        rows += [] if cut is None else ["..."]
        rows += [_layout(row, inner, summarize, write, width) for row in tail]
        return "[" + ("," + "\n" * (array.ndim - 1) + " " * inner).join(rows) + "]"
    items = [write(v) for v in head.tolist()]
    if cut is not None:
        items.append(" ..." if edge else "...")
    items += [write(v) for v in tail.tolist()]
    per_line = max(1, math.floor((_options["linewidth"] - indent) / width))
    lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
    return "[" + (",\n" + " " * inner).join(lines) + "]"


def _str_intern(inp: Tensor, *, tensor_contents: str | None = None) -> str:
    """``repr(inp)``, by PyTorch's name for it."""
    return tensor_repr(inp, tensor_contents)


def _add_suffixes(tensor_str: str, suffixes: list[str], indent: int, force_newline: bool) -> str:
    """As :func:`append`, with the bracket that ends a ``repr``."""
    return append(tensor_str, suffixes, indent, force_newline) + ")"


def append(text: str, suffixes: list[str], indent: int, on_a_new_line: bool = False) -> str:
    """``text`` with the suffixes after it, each on a new line where it no longer fits; the first one in any case where that is
    asked for."""
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if on_a_new_line or column + len(suffix) + 2 > _options["linewidth"]:
            on_a_new_line = False
            text += ",\n" + " " * indent + suffix
            column = indent + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text
