"""The class of nested tensors: a batch of tensors that differ in one dim, such as sequences of different lengths.

A nested tensor is made of a plain one that has its parts one after the other, and of where each begins (the jagged layout). What is
computed of it is computed of that one, by dense ops (:mod:`flambeau.nested.rules`); so gradients are its gradients.

Source: https://docs.pytorch.org/docs/stable/nested.html
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NoReturn

import flambeau
from flambeau.core.memory_format import jagged, layout, strided
from flambeau.core.size import size_of_ints
from flambeau.tensor.interception import Presence
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.wrapping import WrappingTensor

__all__ = ["NestedTensor", "RaggedSize", "nested"]


class RaggedSize:
    """The size of the dim that parts differ in, ``j1``: equal to that of tensors with the same lengths, and to nothing else."""

    _numbers = itertools.count(1)
    _unnamed = itertools.count(-1, -1)  # those of tensors that do not show it, whose making leaves the names of others alone

    def __init__(self, factor: int = 1, of: RaggedSize | None = None, shown: bool = True) -> None:
        self.number: int = of.number if of is not None else next(RaggedSize._numbers if shown else RaggedSize._unnamed)
        self.factor = factor

    def __mul__(self, n: int) -> RaggedSize:
        return RaggedSize(self.factor * n, self)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RaggedSize) and (self.number, self.factor) == (other.number, other.factor)

    def __hash__(self) -> int:
        return hash((self.number, self.factor))

    def __repr__(self) -> str:
        name = f"j{abs(self.number)}"
        return name if self.factor == 1 else f"{self.factor}*{name}"


class _Ragged:
    """Which parts there are: where they begin, how long they are, and by what size their dim is known."""

    def __init__(self, offsets: Tensor, lengths: Tensor | None, kind: layout = jagged) -> None:
        self.offsets, self.lengths, self.size, self.kind = offsets, lengths, RaggedSize(shown=kind is jagged), kind
        bounds = offsets.tolist()
        self.starts: list[int] = bounds[:-1]
        self.counts: list[int] = [b - a for a, b in itertools.pairwise(bounds)] if lengths is None else lengths.tolist()


class NestedTensor(WrappingTensor):
    """A batch of tensors of different sizes in one dim."""

    _ragged: _Ragged
    _at: int  # the dim that parts differ in, counted with the batch
    is_nested = property(lambda self: True)  # type: ignore[assignment]

    @classmethod
    def _intercept(cls, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        from flambeau.nested.rules import apply

        return apply(function, args, kwargs)

    # --- what it is -------------------------------------------------------------------------------------------

    @property
    def layout(self) -> layout:  # type: ignore[override]
        return self._ragged.kind

    def size(self, dim: int | None = None, *, axis: int | None = None) -> Any:
        dim = axis if dim is None else dim
        return self._shape if dim is None else self._shape[dim]

    def stride(self, dim: int | None = None, *, axis: int | None = None) -> Any:
        dim = axis if dim is None else dim
        found: list[Any] = [1]
        for n in self._shape[:0:-1]:
            found.append(n * found[-1])
        return tuple(found[::-1]) if dim is None else found[::-1][dim]

    def numel(self) -> int:
        return sum(self._ragged.counts) * (self._v.numel() // max(self._v.shape[self._at - 1], 1))

    nelement = numel

    def is_contiguous(self, memory_format: Any = None) -> bool:
        return self._at == 1 and self._ragged.lengths is None and self._v.is_contiguous()

    def offsets(self) -> Tensor:
        """Where the parts begin, and where the last ends."""
        return self._ragged.offsets

    def lengths(self) -> Tensor | None:
        """How long the parts are, where there is something between them; else ``None``."""
        return self._ragged.lengths

    def values(self) -> Tensor:
        """The parts one after the other, in one tensor; gradients flow through it."""
        return self._v

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """The parts."""
        if dim != 0:
            raise RuntimeError("unbind(): only supported for NestedTensor on dim=0")
        r = self._ragged
        return tuple(self._v.narrow(self._at - 1, start, count) for start, count in zip(r.starts, r.counts, strict=True))

    def with_values(self, values: Tensor, at: int | None = None) -> NestedTensor:
        """Another tensor with parts of the same lengths."""
        return nested(values, self._ragged, self._at if at is None else at)

    _with = with_values

    # --- as a tensor ------------------------------------------------------------------------------------------

    def item(self) -> Any:
        if self.numel() != 1:
            raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        return self._v.item()

    def to_padded_tensor(self, padding: float, output_size: Any = None) -> Tensor:
        """The parts in one dense tensor, with ``padding`` behind the shorter ones."""
        from flambeau.nested.rules import padded

        return padded(self, padding, output_size)

    def __len__(self) -> int:
        return len(self._ragged.counts)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.unbind())

    def __getitem__(self, key: Any) -> Tensor:
        from flambeau.nested.rules import getitem

        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise RuntimeError("NestedTensor does not support assignment: build it anew of its parts")

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        if self._ragged.kind is strided:
            needs, grad_fn = self.requires_grad, self.grad_fn
            parts = ",\n".join(f"  {part.detach().requires_grad_(needs)!r}".replace("\n", "\n  ") for part in self.unbind())
            suffix = f", grad_fn=<{type(grad_fn).__name__}>" if grad_fn is not None else ", requires_grad=True" * needs
            return f"nested_tensor([\n{parts}\n]{suffix})"
        grad_fn = self.grad_fn
        suffixes = [f"offsets={self.offsets()}"]
        if grad_fn is not None:
            suffixes.append(f"grad_fn={grad_fn!r}")
        elif self.requires_grad:
            suffixes.append("requires_grad=True")
        suffixes.append(f"contiguous={self.is_contiguous()}")
        sizes = ", ".join(map(repr, self._shape))
        return f"NestedTensor(size=({sizes}), {', '.join(suffixes)})"

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuilt, (self._v, self._ragged.offsets, self._ragged.lengths, self._ragged.kind, self._at)


NestedTensor.__module__ = "torch.nested._internal.nested_tensor"


def nested(values: Tensor, ragged: _Ragged, at: int = 1) -> NestedTensor:
    """A nested tensor of its parts in one."""
    self = object.__new__(NestedTensor)
    sizes: list[Any] = list(values.shape)
    sizes[at - 1] = ragged.size
    self._v, self._ragged, self._shape, self._dtype = values, ragged, size_of_ints((len(ragged.counts), *sizes)), values.dtype
    self._storage = values._storage
    self._presence = Presence()
    self._at = at
    return self


def _rebuilt(values: Tensor, offsets: Tensor, lengths: Tensor | None, kind: layout, at: int) -> NestedTensor:
    return nested(values, _Ragged(offsets, lengths, kind), at)


def of_parts(parts: list[Tensor], at: int = 1, kind: layout = jagged) -> NestedTensor:
    """A nested tensor of tensors that differ in the dim ``at - 1`` at most; gradients flow to them."""
    bounds = [0, *itertools.accumulate(part.shape[at - 1] for part in parts)]
    return nested(flambeau.cat(parts, at - 1), _Ragged(flambeau.tensor(bounds), None, kind), at)
