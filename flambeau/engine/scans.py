"""Which nodes do line by line along a dim what cannot be done element by element: running sums and products, Fourier transforms."""

from __future__ import annotations

from functools import partial

from flambeau.core.dtypes import BOOLEAN, COMPLEX
from flambeau.engine import transforms
from flambeau.engine.cpu.specs import ScanSpec
from flambeau.engine.natives import RESULT, Native


def _scan(product: bool, node) -> Native | None:
    from flambeau.engine.cpu.scan import scan_kernel  # LLVM is loaded with the first plan

    x, dtype = node.inputs[0], node.dtype
    if not x.shape or 0 in x.shape or x.dtype is not dtype or dtype.kind in (BOOLEAN, COMPLEX):
        return None
    if dtype.itemsize == 2 or not dtype.is_signed:  # half precision and unsigned integers
        return None
    spec = ScanSpec(dtype, product, tuple(x.shape), x.strides, node.attrs["dim"])
    return Native(partial(scan_kernel, spec), (x, RESULT))


FORMS = {"cumsum": partial(_scan, False), "cumprod": partial(_scan, True), **transforms.FORMS}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""
