"""What a plan does around nodes with kernels of their own before the others become loops."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.engine import convolutions, products
from flambeau.engine.cpu.specs import KINDS
from flambeau.engine.grouping import Ref
from flambeau.engine.natives import RECTIFIED
from flambeau.engine.shapes import is_whole
from flambeau.engine.templates import COPY, Template

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
        if (
            product.op.name in _PRODUCTS
            and product.dtype.name in KINDS
            and not product.kept
            and _transposes(ref, product)
        ):
            a, b = product.inputs
            nodes[i] = Template(product.op, product.attrs, node.shape, node.dtype, [_turned(b), _turned(a)], node.kept)
            nodes[ref.source] = None
            gone.add(ref.source)
    return [i for i in order if i not in gone]


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
    """The same value with its last two dims swapped."""

    def swapped(x: tuple[int, ...]) -> tuple[int, ...]:
        return (*x[:-2], x[-1], x[-2])

    return Ref(ref.source, swapped(ref.shape), ref.dtype, swapped(ref.strides), ref.offset, True)
