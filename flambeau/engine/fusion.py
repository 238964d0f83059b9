"""What a plan does around nodes with kernels of their own before the others become loops."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.core.size import contiguous_strides
from flambeau.engine import convolutions, pooling, products
from flambeau.engine.cpu.specs import KINDS
from flambeau.engine.grouping import Ref
from flambeau.engine.natives import ORDER, RECTIFIED
from flambeau.engine.shapes import is_whole
from flambeau.engine.templates import COPY, NO_ATTRS, Template

_PRODUCTS = ("mm", "bmm", "aten.matmul")


def turn_products(nodes: list, order: list[int]) -> list[int]:
    """A product of which only the transpose is kept is made in that order: ``(a @ b).mT`` is ``b.mT @ a.mT``.

    The gradient of a linear layer's weight is such a one. Returns the order without the products that are not there any more.
    """
    readers = _readers(nodes, order)
    gone: set[int] = set()
    for i in order:
        node = nodes[i]
        if node.op is not COPY or not isinstance(node.inputs[0], Ref):
            continue
        ref = node.inputs[0]
        if ref.source < 0 or readers[ref.source] > 1:
            continue
        product = nodes[ref.source]
        if product.op.name in _PRODUCTS and product.dtype.name in KINDS and not product.kept and _transposes(ref, product):
            a, b = product.inputs
            nodes[i] = Template(product.op, product.attrs, node.shape, node.dtype, [_turned(b), _turned(a)], node.kept)
            nodes[ref.source] = None
            gone.add(ref.source)
    return [i for i in order if i not in gone]


def lay_out_convolutions(nodes: list, order: list[int]) -> list[int]:
    """A convolution of which only a copy with its dims in another order is read is made in that order (channels last).

    What kernels read only row by row, such as the weights, is copied first where it lies in another order. Returns the order
    with these copies, and without the convolutions that are not there any more.
    """
    readers = _readers(nodes, order)
    found: list[int] = []
    copies: dict[tuple, Ref] = {}
    gone: set[int] = set()
    for i in order:
        node = nodes[i]
        if node.op.name in _ROW_MAJOR:
            operand = node.inputs[_ROW_MAJOR[node.op.name]]
            if isinstance(operand, Ref) and 0 not in operand.shape and not is_whole(operand.shape, operand.strides):
                seen = (operand.source, operand.shape, operand.strides, operand.offset, operand.dtype)
                if seen not in copies:
                    copies[seen] = Ref(len(nodes), operand.shape, operand.dtype)
                    nodes.append(Template(COPY, NO_ATTRS, operand.shape, operand.dtype, [operand]))
                    found.append(len(nodes) - 1)
                node.inputs[_ROW_MAJOR[node.op.name]] = copies[seen]
        elif node.op.name == "_clone" and isinstance(node.inputs[0], Ref) and node.inputs[0].source >= 0:
            ref = node.inputs[0]
            made = nodes[ref.source]
            form = convolutions.LAID_OUT.get(made.op.name)
            dims = None if form is None or made.kept or readers[ref.source] > 1 else _dims_of(ref, made)
            if dims is not None:
                turned = Template(made.op, {**made.attrs, ORDER: dims}, node.shape, node.dtype, made.inputs, node.kept)
                if form(turned) is not None:  # type: ignore[misc]
                    nodes[i], nodes[ref.source] = turned, None
                    gone.add(ref.source)
        found.append(i)
    gone.update([i for i in order if nodes[i] is not None and nodes[i].is_view and nodes[i].inputs[0].source in gone])
    return [i for i in found if i not in gone]


_ROW_MAJOR = {**convolutions.ROW_MAJOR, **pooling.ROW_MAJOR}


def _dims_of(ref: Ref, made: Template) -> tuple[int, ...] | None:
    """Which dims of a value those of ``ref`` are, if it shows all of it in another order of dims."""
    strides = contiguous_strides(tuple(made.shape))
    if ref.offset or ref.dtype is not made.dtype or len(ref.shape) != len(strides):
        return None
    places = {(n, s): d for d, (n, s) in enumerate(zip(made.shape, strides, strict=True))}
    dims = tuple([places.get(seen, -1) for seen in zip(ref.shape, ref.strides, strict=True)])
    return dims if sorted(dims) == list(range(len(strides))) else None


def join_rectifiers(nodes: list, order: list[int]) -> list[int]:
    """A product or convolution of which only the rectifier (``relu``) is read becomes one with it.

    Returns the order without those that stood alone.
    """
    readers = _readers(nodes, order)
    gone: set[int] = set()
    for i in order:
        node = nodes[i]
        if node.op.name != "relu":
            continue
        (ref,) = node.inputs
        if ref.source < 0 or readers[ref.source] > 1:
            continue
        made = nodes[ref.source]
        form = _RECTIFIABLE.get(made.op.name)
        whole = ref.shape == tuple(made.shape) and not ref.offset and is_whole(ref.shape, ref.strides)
        if form is not None and whole and not made.kept:
            joined = Template(made.op, {**made.attrs, RECTIFIED: True}, node.shape, node.dtype, made.inputs, node.kept)
            if form(joined) is not None:
                nodes[i], nodes[ref.source] = joined, None
                gone.add(ref.source)
    return [i for i in order if i not in gone]


_RECTIFIABLE: dict[str, Callable] = {**products.RECTIFIABLE, **convolutions.RECTIFIABLE}


def _readers(nodes: list, order: list[int]) -> dict[int, int]:
    """How many inputs of nodes each value is."""
    readers: dict[int, int] = {}
    for i in order:
        if not nodes[i].is_view:
            for r in nodes[i].inputs:
                if isinstance(r, Ref):
                    readers[r.source] = readers.get(r.source, 0) + 1
    return readers


def _transposes(ref: Ref, product: Template) -> bool:
    """Whether ``ref`` is all of the product, its last two dims swapped."""
    if len(ref.shape) < 2 or ref.offset or ref.dtype is not product.dtype:
        return False
    back = _turned(ref)
    return back.shape == tuple(product.shape) and is_whole(back.shape, back.strides)


def _turned(ref: Ref) -> Ref:
    """A value with its last two dims swapped."""

    def swapped(x: tuple[int, ...]) -> tuple[int, ...]:
        return (*x[:-2], x[-1], x[-2])

    return Ref(ref.source, swapped(ref.shape), ref.dtype, swapped(ref.strides), ref.offset, True)
