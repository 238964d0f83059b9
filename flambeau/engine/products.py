"""Which nodes are matrix products, and how their operands lie in memory."""

from __future__ import annotations

from functools import partial

from flambeau.core.size import contiguous_strides
from flambeau.engine.cpu.specs import FACTORS, GemmSpec
from flambeau.engine.grouping import Ref, Static
from flambeau.engine.natives import RECTIFIED, RESULT, Native


def product(form, node) -> Native | None:
    """The product that ``node`` is; ``None`` where it is none that a native kernel takes."""
    if node.dtype.name not in FACTORS or 0 in node.shape:
        return None
    refs = [r for r in node.inputs if isinstance(r, Ref)]
    if any(0 in r.shape or r.dtype is not node.dtype for r in refs):
        return None
    return form(node)


def _native(spec: GemmSpec, *operands: Ref) -> Native | None:
    """``operands``: A, B and, where it is there, D."""
    from flambeau.engine.cpu.gemm import gemm_kernel  # LLVM is loaded with the first plan

    a, b, *d = operands
    return Native(gemm_kernel, spec, (a, b, RESULT, *d)) if spec.supported() else None


def _matrix(ref: Ref, batch: int) -> tuple[int, ...]:
    """The strides of an operand over ``batch`` leading dims, of which it may lack some or have them of size 1."""
    shape, strides = ref.shape, ref.strides
    lead = batch - (len(shape) - 2)
    return (0,) * lead + tuple(
        0 if n == 1 and d < len(shape) - 2 else s for d, (n, s) in enumerate(zip(shape, strides, strict=True))
    )


def _plain(node, a: Ref, b: Ref, d: Ref | None = None, alpha: float = 1.0, beta: float = 1.0) -> Native | None:
    batch = node.shape[:-2]
    m, n = node.shape[-2:]
    added = None
    if d is not None:
        lead = len(node.shape) - len(d.shape)
        added = (0,) * lead + tuple(0 if e == 1 else s for e, s in zip(d.shape, d.strides, strict=True))
    spec = GemmSpec(
        node.dtype, m, n, a.shape[-1], _matrix(a, len(batch)), _matrix(b, len(batch)), contiguous_strides(node.shape),
        added, tuple(batch), alpha, beta, node.attrs.get(RECTIFIED, False),
    )  # fmt: skip
    return _native(spec, a, b) if d is None else _native(spec, a, b, d)


def _with_addend(node) -> Native | None:
    d, a, b, beta, alpha = node.inputs
    if not (isinstance(beta, Static) and isinstance(alpha, Static)):
        return None
    if beta.value == 0:
        return _plain(node, a, b, None, alpha.value)
    return _plain(node, a, b, d, alpha.value, beta.value)


def _matrix_vector(node) -> Native | None:
    a, x = node.inputs
    spec = GemmSpec(node.dtype, node.shape[0], 1, x.shape[0], a.strides, (x.strides[0], 1), (1, 1))
    return _native(spec, a, x)


def _dot(node) -> Native | None:
    x, y = node.inputs
    spec = GemmSpec(node.dtype, 1, 1, x.shape[0], (1, x.strides[0]), (y.strides[0], 1), (1, 1))
    return _native(spec, x, y)


_FORMS = {
    "mm": lambda node: _plain(node, *node.inputs),
    "bmm": lambda node: _plain(node, *node.inputs),
    "aten.matmul": lambda node: _plain(node, *node.inputs),
    "addmm": _with_addend,
    "baddbmm": _with_addend,
    "mv": _matrix_vector,
    "dot": _dot,
}

FORMS = {name: partial(product, form) for name, form in _FORMS.items()}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""

RECTIFIABLE = {name: FORMS[name] for name in ("mm", "bmm", "aten.matmul", "addmm", "baddbmm")}
"""Those whose kernels can have a rectifier in them; see :mod:`flambeau.engine.fusion`."""
