"""Which nodes are discrete Fourier transforms."""

from __future__ import annotations

from functools import partial
from math import prod

from flambeau.core import dtypes
from flambeau.engine.cpu.specs import FourierSpec
from flambeau.engine.natives import RESULT, Native

_SCALES = {"backward": (0.0, -1.0), "forward": (-1.0, 0.0), "ortho": (-0.5, -0.5)}
"""By the norm, the power of the number of elements that results are multiplied with: on the way forth, and on the way back."""


def _transform(part: str, node) -> Native | None:
    from flambeau.engine.cpu import compiler, fourier  # LLVM is loaded with the first plan

    (x,), a = node.inputs, node.attrs
    real = node.dtype if part == "c2r" else x.dtype if part == "r2c" else x.dtype.to_real()
    given = real if part == "r2c" else real.to_complex()
    if real not in (dtypes.float32, dtypes.float64) or x.dtype is not given or 0 in x.shape or 0 in node.shape or not a["dim"]:
        return None
    forward = part == "r2c" or (part == "c2c" and a["forward"])
    last = a["dim"][-1]
    shape = tuple(node.shape) if part == "c2r" else tuple(x.shape)
    factor = float(prod([shape[d] for d in a["dim"]])) ** _SCALES[a["norm"]][0 if forward else 1]
    spec = FourierSpec(part, real, tuple(x.shape), tuple(x.strides), tuple(a["dim"]), shape[last], forward, factor)
    if fourier.stages(spec, compiler.session()) is None:
        return None
    return Native(fourier.fourier_kernel, spec, (x, RESULT))


FORMS = {f"aten.fft_{part}": partial(_transform, part) for part in ("c2c", "r2c", "c2r")}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""
