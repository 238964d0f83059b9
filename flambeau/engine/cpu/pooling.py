"""Pooling: maxima and means of windows of planes and of volumes, and their gradients.

``pool_kernel(spec)`` gives the address of ``void kernel(i8** args)`` and the words that follow the pointers among its arguments;
these are ``{x, y, indices}`` for maxima, ``{x, y}`` for means, ``{dy, dx}`` for the gradient of means and ``{dy, indices, dx}`` for
that of maxima.
"""

from __future__ import annotations

from flambeau.engine.cpu.bins import bin_kernel, scatter_kernel
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.pool_gradient import gradient_kernel
from flambeau.engine.cpu.specs import BinSpec, PoolSpec, ScatterSpec, VolumeSpec
from flambeau.engine.cpu.volumes import volume_kernel
from flambeau.engine.cpu.windows import UNROLLED, window_kernel


def pool_kernel(spec: PoolSpec | BinSpec | ScatterSpec | VolumeSpec, session: Session | None = None) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    session = session or process_session()
    if isinstance(spec, ScatterSpec):
        return scatter_kernel(spec, session)
    if isinstance(spec, VolumeSpec):
        return volume_kernel(spec, session)
    if isinstance(spec, BinSpec):
        windows = _windows(spec)
        return bin_kernel(spec, session) if windows is None else pool_kernel(windows, session)
    if spec.part == "mean gradient":
        return gradient_kernel(spec, session)
    return window_kernel(spec, session)


def _windows(spec: BinSpec) -> PoolSpec | None:
    """These windows as ones that slide, if they do not overlap and these are faster."""
    if any(n % m for n, m in zip(spec.size, spec.outputs)):
        return None
    down, across = kernel = spec.size[0] // spec.outputs[0], spec.size[1] // spec.outputs[1]
    if spec.part == "mean gradient":
        pays = across <= 8 or spec.outputs[1] == 1
    else:
        pays = across <= 2 and down * across <= UNROLLED or spec.part == "max" and spec.outputs[1] > 2
    no, one = (0, 0), (1, 1)
    shared = spec.dtype, spec.planes, spec.size, spec.outputs
    return PoolSpec(spec.part, *shared, kernel, kernel, no, one, spec.strides) if pays else None
