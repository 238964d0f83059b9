"""In-place writes as the tape sees them."""

from __future__ import annotations

from flambeau import dispatch
from flambeau.autograd.graph import Node, edge_of, zeros_for
from flambeau.core.size import Size, contiguous_strides
from flambeau.tensor.tensor import Tensor


class CopyBackwards(Node):
    """A tensor overwritten by values that need no gradient: what it held before gets zeros."""

    def apply(self, grads: list) -> tuple:
        return (zeros_for(self.metas[0]),)


class CopySlices(Node):
    """A write into a view, seen from its base: the base's gradient less the slice, and the slice's for what was written."""

    def apply(self, grads: list) -> tuple:
        base = _laid_out(grads[0], *self.base_geometry)
        shape, strides, offset = self.view_geometry
        written = base.as_strided(shape, strides, offset).clone()
        if self.edges[0] is None:
            return None, written
        base.as_strided(shape, strides, offset).zero_()
        return base, written


class AsStridedBackward0(Node):
    """A view of a base that has been written to since the view was made."""

    def apply(self, grads: list) -> tuple:
        base = _laid_out(grads[0].new_zeros(self.base_geometry[0]), *self.base_geometry)
        shape, strides, offset = self.view_geometry
        base.as_strided(shape, strides, offset).add_(grads[0])
        return (base,)


def _geometry(t: Tensor) -> tuple:
    return t._shape, t.stride(), t._offset


def _laid_out(g: Tensor, shape: Size, strides: tuple, offset: int) -> Tensor:
    """A copy of ``g`` whose strides and offset are the given ones."""
    if strides == contiguous_strides(shape) and offset == 0:
        return g.clone().contiguous()
    extent = offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    out = g.new_zeros(extent).as_strided(shape, strides, offset)
    out.copy_(g)
    return out


def rebase(input: Tensor, result: Tensor) -> None:
    """Moves ``input`` to ``result``'s place on the tape, which is about to be written into it."""
    base = input._base
    if input._requires_grad and input.grad_fn is None:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation. Write to it under "
            "torch.no_grad(), or make a new tensor instead (w = w - ... instead of w -= ...)."
        )
    if base is not None and base._requires_grad:
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place operation. Write to it under "
            "torch.no_grad(), or work on a clone()."
        )
    edge = edge_of(result)
    if base is not None:
        if edge is None and not base.requires_grad:
            return
        node: Node = CopySlices((edge_of(base), edge), ((base._shape, base._dtype),))
        node.base_geometry, node.view_geometry = _geometry(base), _geometry(input)  # type: ignore[attr-defined]
        base._grad_fn, base._output_nr, base._layout = node, 0, None
    elif edge is not None:
        input._grad_fn, input._output_nr = edge
    elif input._grad_fn is not None:
        input._grad_fn, input._output_nr = CopyBackwards((edge_of(input),), ((input._shape, input._dtype),)), 0
    else:
        return
    input._layout = None
    input._storage.history += 1


def regenerate(view: Tensor) -> None:
    """Brings a view's place on the tape up to date after its base has been written to."""
    base = view._base
    view._history = view._storage.history
    view._layout = None
    edge = edge_of(base) if base is not None else None
    if edge is None:
        view._grad_fn = None
        return
    node = AsStridedBackward0((edge,), ((view._shape, view._dtype),))
    node.base_geometry, node.view_geometry = _geometry(base), _geometry(view)  # type: ignore[arg-type]
    view._grad_fn, view._output_nr = node, 0


dispatch.rebase = rebase
dispatch.regenerate = regenerate
