"""Views of each kind and ways to write to memory, for the tests of views that are written through and read afterwards.

All is given as functions of a library, so that flambeau can be compared with PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

REAL, PAIRS, COMPLEX = "real", "pairs", "complex"


class View(NamedTuple):
    """A view of a base of 12 real numbers ``(3, 4)``, of 6 pairs ``(3, 2, 2)``, or of 6 complex numbers ``(3, 2)``."""

    base: str
    look: Callable[[Any, Any], Any]  # of the library and the base


BASES = {REAL: (3, 4), PAIRS: (3, 2, 2), COMPLEX: (3, 2)}

VIEWS = {
    "all": View(REAL, lambda torch, y: y[:]),
    "row": View(REAL, lambda torch, y: y[1]),
    "row by a tensor": View(REAL, lambda torch, y: y[torch.tensor(1)]),
    "column by a tensor": View(REAL, lambda torch, y: y[:, torch.tensor(2)]),
    "rows": View(REAL, lambda torch, y: y[1:]),
    "columns": View(REAL, lambda torch, y: y[:, ::2]),
    "element": View(REAL, lambda torch, y: y[1, 2]),
    "transposed": View(REAL, lambda torch, y: y.t()),
    "part of the transposed": View(REAL, lambda torch, y: y.t()[1:3]),
    "permuted": View(REAL, lambda torch, y: y.view(3, 2, 2).permute(2, 0, 1)),
    "reshaped": View(REAL, lambda torch, y: y.view(2, 6)),
    "flat": View(REAL, lambda torch, y: y.flatten()),
    "squeezed": View(REAL, lambda torch, y: y[:1].squeeze(0)),
    "unsqueezed": View(REAL, lambda torch, y: y.unsqueeze(1)),
    "unflattened": View(REAL, lambda torch, y: y.unflatten(1, (2, 2))),
    "moved": View(REAL, lambda torch, y: y.movedim(0, 1)),
    "diagonal": View(REAL, lambda torch, y: y.diagonal()),
    "narrow": View(REAL, lambda torch, y: y.narrow(1, 1, 2)),
    "as_strided": View(REAL, lambda torch, y: y.as_strided((2, 3), (5, 2), 1)),
    "windows apart": View(REAL, lambda torch, y: y.unfold(1, 2, 2)),
    "piece": View(REAL, lambda torch, y: torch.tensor_split(y, 2, 1)[1]),
    "windows": View(REAL, lambda torch, y: y.unfold(1, 3, 1)),
    "a window": View(REAL, lambda torch, y: y.unfold(1, 3, 1)[:, 1]),
    "expanded": View(REAL, lambda torch, y: y[:, :1].expand(3, 3)),
    "new dim": View(REAL, lambda torch, y: y.expand(2, 3, 4)),
    "broadcast": View(REAL, lambda torch, y: torch.broadcast_to(y[0], (3, 4))),
    "part of the expanded": View(REAL, lambda torch, y: y.expand(2, 3, 4)[:, 1:]),
    "diagonal of the expanded": View(REAL, lambda torch, y: y[0].expand(4, 4).diagonal()),
    "mesh": View(REAL, lambda torch, y: torch.meshgrid(y[0], y[1], indexing="ij")[0]),
    "as_strided over itself": View(REAL, lambda torch, y: y.as_strided((3, 4), (2, 1), 1)),
    "as_strided of the expanded": View(REAL, lambda torch, y: y[0].expand(3, 4).as_strided((2, 2), (1, 1))),
    "complex": View(PAIRS, lambda torch, y: torch.view_as_complex(y)),
    "complex row": View(PAIRS, lambda torch, y: torch.view_as_complex(y)[1]),
    "complex transposed": View(PAIRS, lambda torch, y: torch.view_as_complex(y).t()),
    "complex of a part": View(PAIRS, lambda torch, y: torch.view_as_complex(y[1:])),
    "conjugate of complex": View(PAIRS, lambda torch, y: torch.view_as_complex(y).conj()[:2]),
    "real part of complex": View(PAIRS, lambda torch, y: torch.view_as_complex(y).real),
    "complex windows": View(PAIRS, lambda torch, y: torch.view_as_complex(y).unfold(0, 2, 1)),
    "as real": View(COMPLEX, lambda torch, y: torch.view_as_real(y)),
    "second of as real": View(COMPLEX, lambda torch, y: torch.view_as_real(y)[..., 1]),
    "real": View(COMPLEX, lambda torch, y: y.real),
    "imag": View(COMPLEX, lambda torch, y: y.imag),
    "part of real": View(COMPLEX, lambda torch, y: y.real[1:]),
    "imag of a part": View(COMPLEX, lambda torch, y: y[1:].imag),
    "imag of the transposed": View(COMPLEX, lambda torch, y: y.t().imag),
    "conj": View(COMPLEX, lambda torch, y: y.conj()),
    "row of conj": View(COMPLEX, lambda torch, y: y.conj()[1]),
    "conj of a row": View(COMPLEX, lambda torch, y: y[1].conj()),
    "conj of conj": View(COMPLEX, lambda torch, y: y.conj().conj()),
    "adjoint": View(COMPLEX, lambda torch, y: y.mH),
    "imag of conj": View(COMPLEX, lambda torch, y: y.conj().imag),
    "part of imag of conj": View(COMPLEX, lambda torch, y: y.conj().imag[:, 1:]),
    "real of conj": View(COMPLEX, lambda torch, y: y.conj().real),
    "expanded real": View(COMPLEX, lambda torch, y: y.real[:1].expand(3, 2)),
    "windows of conj": View(COMPLEX, lambda torch, y: y.conj().unfold(0, 2, 1)),
}

REPEATED = {"windows", "expanded", "new dim", "broadcast", "part of the expanded", "mesh", "as_strided over itself", "complex windows",
            "as_strided of the expanded", "expanded real", "windows of conj"}  # fmt: skip
"""Views that show some memory more than once: what writing through them does depends on an order, or is refused."""


def weights(torch, t):
    """Numbers that differ from element to element, of the shape and dtype of ``t``."""
    w = torch.arange(1.0, t.numel() + 1, dtype=torch.float64).reshape(t.shape) / 4 - 1
    return (w * (1 - 0.5j)).to(t.dtype) if t.is_complex() else w


WRITES = {
    "mul_": (lambda torch, v: v.mul_(1.5j if v.is_complex() else 1.5), lambda torch, v: v * (1.5j if v.is_complex() else 1.5)),
    "add_": (lambda torch, v: v.add_(weights(torch, v)), lambda torch, v: v + weights(torch, v)),
    "sin_": (lambda torch, v: v.sin_(), lambda torch, v: v.sin()),
    "zero_": (lambda torch, v: v.zero_(), lambda torch, v: v * 0),
    "copy_": (lambda torch, v: v.copy_(weights(torch, v)), lambda torch, v: v * 0 + weights(torch, v)),
    "[...] =": (lambda torch, v: v.__setitem__(..., weights(torch, v) * 2), lambda torch, v: v * 0 + weights(torch, v) * 2),
    "square": (lambda torch, v: v.mul_(v), lambda torch, v: v * v),
}
"""By name: a write through a view, and the values that the view has then."""
