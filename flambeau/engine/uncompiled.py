"""Where there is no compiler: NumPy computes everything, and the user is told once when that begins to cost time.

flambeau can be installed without llvmlite, which is two thirds of what it brings along. Programs then give the same numbers up to
rounding. Nobody who runs a few small operations needs to hear of it; who trains does.
"""

from __future__ import annotations

from contextlib import suppress
from math import prod

from flambeau.core import config
from flambeau.core.errors import warn

NOTICED = 1.0
"""Seconds of NumPy's work from which on the user is told."""

_spent = 0.0


def note(nodes: list) -> None:
    """Counts the work of a trace, as an estimate of what there is to do, and warns when it comes to :data:`NOTICED`."""
    global _spent
    from flambeau.engine.plans import CALL, ELEMENT, PRODUCT, multiplications

    made = sum([prod(node.shape) if node.dtype.__class__ is not tuple else sum(map(prod, node.shape)) for node in nodes])
    _spent += CALL * len(nodes) + ELEMENT * made + PRODUCT * multiplications(nodes)
    if _spent < NOTICED:
        return
    config.lacks_compiler = False
    with suppress(Warning):  # an error must not come from within the engine
        warn(
            "flambeau runs without its compiler, because llvmlite is not installed: NumPy computes every operation, which is right but often "
            "several times slower. Fix: pip install 'flambeau[compile]', or set FLAMBEAU_COMPILE=0 if this is what you want.",
            RuntimeWarning,
        )
