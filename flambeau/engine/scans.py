"""Which nodes do line by line along a dim what cannot be done element by element: running sums, products and extremes, Fourier
transforms."""

from __future__ import annotations

from functools import partial

from flambeau.core.dtypes import BOOLEAN, COMPLEX
from flambeau.engine import transforms
from flambeau.engine.cpu.specs import ScanSpec
from flambeau.engine.natives import RESULT, Native, Result


def _scan(how: str, node) -> Native | None:
    from flambeau.engine.cpu.scan import scan_kernel  # LLVM is loaded with the first plan

    several = node.dtype.__class__ is tuple
    x, dtype = node.inputs[0], node.dtype[0] if several else node.dtype
    if not x.shape or 0 in x.shape or x.dtype is not dtype or dtype.kind in (BOOLEAN, COMPLEX):
        return None
    if dtype.itemsize == 2 or not dtype.is_signed:  # half precision and unsigned integers
        return None
    spec = ScanSpec(dtype, how, tuple(x.shape), x.strides, node.attrs["dim"])
    return Native(scan_kernel, spec, (x, Result(0), Result(1)) if several else (x, RESULT))


FORMS = {
    "cumsum": partial(_scan, "sum"),
    "cumprod": partial(_scan, "product"),
    "cummax": partial(_scan, "max"),
    "cummin": partial(_scan, "min"),
    **transforms.FORMS,
}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""
