"""In-place writes as the tape sees them.

A view is a way of looking at its base's memory, and the gradient of a view is that of its base looked at in the same way.
So what is known of a view here is its :class:`Place`: the rules make a row of memory that holds the base's gradient, and
look at it as the view does, also where that is as real instead of complex numbers, or as conjugates.

Source: https://docs.pytorch.org/docs/stable/notes/autograd.html#in-place-operations-with-autograd
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from flambeau import dispatch
from flambeau.autograd.entries import OpBackward
from flambeau.autograd.graph import Node, edge_of, meta_of, move, zeros_for
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.size import Size, contiguous_strides
from flambeau.ops.complexes import conj_of, conj_view, neg_view, view_as_complex, view_as_real
from flambeau.ops.conversion import row_major
from flambeau.ops.parts import strided_scatter
from flambeau.tensor.tensor import CUSTOM, INFERENCE, MANY, Tensor


class Place(NamedTuple):
    """Where a tensor's elements are in memory, and how they are read there."""

    shape: Size
    strides: tuple[int, ...]
    offset: int
    dtype: Dtype
    bits: frozenset[str]

    @classmethod
    def of(cls, t: Tensor) -> Place:
        return cls(t._shape, t.stride(), t._offset, t._dtype, t._bits)

    @property
    def end(self) -> int:
        """How many bytes of memory there are at least."""
        last = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)) if 0 not in self.shape else -1
        return (self.offset + last + 1) * self.dtype.itemsize

    def is_all_of(self, row: Tensor) -> bool:
        """Whether the elements are those of a row, in their order."""
        return not self.offset and self.shape.numel() == row.numel() and self.strides == contiguous_strides(self.shape)


def _seen(row: Tensor, place: Place) -> Tensor:
    """A row of memory, looked at as a tensor at ``place`` is, as a view."""
    row = _row_of(row, place.dtype)
    t = row.view(place.shape) if place.is_all_of(row) else row.as_strided(place.shape, place.strides, place.offset)
    if "conj" in place.bits:
        t = conj_view(t)
    return neg_view(t) if "neg" in place.bits else t


def _row_of(row: Tensor, dtype: Dtype) -> Tensor:
    """A row of real or complex numbers as one of ``dtype``, of which the other kind of number consists."""
    if row._dtype is dtype:
        return row
    return view_as_complex(row.view(-1, 2)) if dtype.is_complex else view_as_real(row).view(-1)


def _length(base: Place, view: Place) -> int:
    """How long the memory of both is, in elements of the base: as many as can be seen as the view's dtype."""
    ratio = max(1, view.dtype.itemsize // base.dtype.itemsize)
    size = base.dtype.itemsize * ratio
    return -(-max(base.end, view.end) // size) * ratio


def _laid_out(g: Tensor, base: Place, length: int) -> Tensor:
    """A row of ``length`` elements in which ``g`` is where the base is."""
    if base.shape.numel() == length and not base.offset and base.strides == contiguous_strides(base.shape):
        return row_major(g).view(-1)
    row = g.new_zeros(length)
    _seen(row, base).copy_(g)
    return row


class CopyBackwards(Node):
    """A tensor overwritten: what it held before gets zeros, and the values their gradient, by ``fn``, if they need one."""

    namespace = "torch::autograd::"

    def __init__(self, input: Tensor, fn: OpBackward | None = None) -> None:
        super().__init__((edge_of(input), *(fn.edges[1:] if fn else ())), (meta_of(input),))
        self.fn = fn

    def apply(self, grads: list) -> tuple:
        return zeros_for(self.metas[0]), *(self.fn.apply(grads)[1:] if self.fn else ())


class CopySlices(Node):
    """A write into a view, seen from its base: the base's gradient less the slice, and the slice's for what was written.

    Where what was written is one op on the view's own old values, the slice gets that op's gradient by them, and the view's
    place on the tape before the write is not gone through. So it is in PyTorch.
    """

    namespace = "torch::autograd::"

    def __init__(self, view: Tensor, to: tuple | None, edge: tuple | None) -> None:
        base = view._base
        assert base is not None
        fn: Any = edge[0] if edge is not None else None
        within = isinstance(fn, OpBackward) and not fn.hooked and len(fn.metas) == 1 and fn.edges[0] == edge_of(view)
        self.fn = fn if within and fn.edges[0] is not None else None
        edges = (to, edge) if self.fn is None else (to, *self.fn.edges[1:])
        super().__init__(edges, (meta_of(base),))
        self.base, self.view = Place.of(base), Place.of(view)

    @property
    def shown(self) -> Sequence[int]:
        return super().shown if self.fn is None else [0, *[i for i in self.fn.shown if i]]

    def release(self) -> None:
        if self.fn is not None:
            self.fn.release()

    def apply(self, grads: list) -> tuple:
        row = _laid_out(grads[0], self.base, _length(self.base, self.view))
        part = _seen(row, self.view)
        g = part.clone()
        results = (None, g) if self.fn is None else self.fn.apply([g])
        if self.edges[0] is None:
            return None, *results[1:]
        if results[0] is None:
            part.zero_()
        else:
            part.copy_(results[0])
        return _seen(row, self.base), *results[1:]


class AsStridedBackward0(Node):
    """A view of a base that has been written to since the view was made."""

    base: Place
    view: Place

    def apply(self, grads: list) -> tuple:
        base, view, g = self.base, self.view, grads[0]
        g = conj_of(g) if "conj" in view.bits else g
        g = -g if "neg" in view.bits else g
        size = _length(base, view) * base.dtype.itemsize // view.dtype.itemsize
        row = strided_scatter(g.expand(view.shape), Size((size,)), view.strides, view.offset)  # elements seen twice add up
        return (_seen(_row_of(row, base.dtype), base),)


_MANY = (
    "This view is the output of a function that returns multiple views. Such functions do not allow the output views to be "
    "modified inplace. You should replace the inplace operation by an out-of-place one."
)
_CUSTOM = (
    "This view was created inside a custom Function (or because an input was returned as-is) and the autograd logic to handle "
    "view+inplace would override the custom backward associated with the custom Function, leading to incorrect gradients. This "
    "behavior is forbidden. You can fix this by cloning the output of the custom Function."
)
_AMBIGUOUS = (
    "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view "
    "and the inplace either both inside the {0} block (if you don't want the inplace to be tracked) or both outside (if you want "
    "the inplace to be tracked)."
)
_REASONS = {MANY: _MANY, CUSTOM: _CUSTOM}


def _refusal(view: Tensor, modified: str) -> RuntimeError:
    """The error for a write to memory that has a view which the tape could not follow."""
    kind, fn = view._creation, view._grad_fn
    op = "" if fn is None else fn.name().rstrip("0123456789").removesuffix("Backward")
    if kind in _REASONS and fn is not None:
        return RuntimeError(f"Output {view._output_nr} of {op} is a view and {modified} modified inplace. {_REASONS[kind]}")
    inference = kind == INFERENCE
    start = "A view was created in" if fn is None else f"Output {view._output_nr} of {op} is a view of a view which was created in"
    mode = (
        "inference mode and {} modified inplace in normal mode"
        if inference
        else "no_grad mode and {} modified inplace with grad mode enabled"
    )
    more = _REASONS[kind] if kind in _REASONS else _AMBIGUOUS.format("inference_mode" if inference else "no_grad")
    return RuntimeError(f"{start} {mode.format(modified)}. {more}")


def refuse_write(input: Tensor, gains: bool = False) -> None:
    """Raises where the tape cannot follow a write; ``gains``: what is written needs a gradient."""
    base = input._base
    if base is not None and input._creation is not None and (gains or input.requires_grad):
        raise _refusal(input, "is being")
    is_leaf = input._requires_grad and input.grad_fn is None
    if base is not None and (base._requires_grad or is_leaf and base.grad_fn is None):
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place operation. Write to it under "
            "torch.no_grad(), or work on a clone()."
        )
    if is_leaf:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation. Write to it under torch.no_grad()."
        )


def rebase(input: Tensor, result: Tensor) -> None:
    """Moves ``input`` to ``result``'s place on the tape, which is about to be written into it."""
    written(input, edge_of(result))


def written(input: Tensor, edge: tuple | None) -> None:
    """Moves ``input`` to the place on the tape of what is written into it; ``None`` of a value that needs no gradient."""
    base = input._base
    refuse_write(input, edge is not None)
    if base is not None:
        if edge is None and not base.requires_grad:
            input._storage.unseen += base._from_data
            return
        node: Node = CopySlices(input, edge_of(base), edge)
        move(base, node, 0)
    elif input._grad_fn is not None and (edge is None or type(edge[0]).__name__ == "CopyBackwards"):
        move(input, CopyBackwards(input, edge[0] if edge else None), 0)
    elif edge is not None:
        move(input, *edge)
    else:
        input._storage.unseen += input._from_data
        return
    input._layout = None
    input._storage.history += 1


def regenerate(view: Tensor) -> None:
    """Brings a view's place on the tape up to date after its base has been written to."""
    base = view._base
    edge = edge_of(base) if base is not None else None
    if edge is not None and view._creation is not None:
        raise _refusal(view, "its base or another view of its base has been")
    view._history = view._storage.history
    if edge is None:
        view._grad_fn, view._layout = None, None
        return
    node = AsStridedBackward0((edge,), (meta_of(view),))
    node.base, node.view = Place.of(base), Place.of(view)  # type: ignore[arg-type]
    move(view, node, 0)


dispatch.rebase = rebase
dispatch.refuse_write = refuse_write
dispatch.regenerate = regenerate
