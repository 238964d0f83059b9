"""Draws by native code: the bits of NumPy's, sooner. The engine has the kernels; here stands when they are used.

Loading LLVM takes a tenth of a second, which a program that draws a few numbers shall not wait for. So kernels are used
where LLVM is there already, or as soon as what NumPy has taken longer amounts to what loading takes: no program loses more
than twice what would have been best.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

LOADING = 0.15
"""Seconds that it takes to load LLVM."""

LONGER = {
    "words": (1e-6, 3e-9),
    "longs": (1e-6, 8e-9),
    "doubles": (2e-6, 8e-9),
    "floats": (2e-6, 4e-9),
    "integers": (2e-6, 5e-9),
    "chances": (2e-6, 12e-9),
    "permutation": (20e-6, 80e-9),
    "normals": (100e-6, 40e-9),
}
"""By the names of the kernels, how many seconds NumPy takes longer: for a draw, and for each number."""

provide: Callable[[str, bool], Callable | None] | None = None
"""The kernel of a name, ``kernel(state, array, n, a, b)``, if LLVM is there or shall be loaded; filled by the floors above."""

kernels: dict[str, Callable] = {}
"""Those that are in use."""

_lost = 0.0  # seconds, so far


def find(name: str, n: int) -> Callable | None:
    """The kernel for a draw of ``n`` numbers, if it is to be used."""
    global _lost
    draw, each = LONGER[name]
    _lost += draw + n * each
    found = provide and provide(name, _lost > LOADING)
    if found is None or not _state_is_known():
        return None
    kernels[name] = found
    return found


def _state_is_known() -> bool:
    """Whether NumPy keeps its twister as the kernels expect: 624 words of 32 bits, then the place of the next."""
    twister = np.random.MT19937(1)
    twister.random_raw(5, output=False)
    state = twister.state["state"]
    words = (ctypes.c_uint32 * 625).from_address(twister.ctypes.state_address)
    return words[:624] == state["key"].tolist() and words[624] == state["pos"]
