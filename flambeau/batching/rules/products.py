"""Products of matrices and vectors."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.batching.rules.families import Call, rule


@rule("mm")
def mm(call: Call) -> Any:
    level = call.level
    return level.wrap(ops.matmul(level.aligned(call.input, 2), level.aligned(call.mat2, 2)))


@rule("bmm")
def bmm(call: Call) -> Any:
    level = call.level
    return level.wrap(ops.matmul(level.aligned(call.input, 3), level.aligned(call.mat2, 3)))


@rule("mv")
def mv(call: Call) -> Any:
    level, matrix, vec = call.level, call.input, call.vec
    if not level.has(vec):
        return level.wrap(ops.matmul(matrix._value, vec))
    if not level.has(matrix):
        return level.wrap(ops.mm(vec._value, matrix.t()))
    return level.wrap(ops.matmul(matrix._value, vec._value.unsqueeze(-1)).squeeze(-1))


@rule("dot")
def dot(call: Call) -> Any:
    return call.level.wrap(_inner(call, call.input, call.tensor))


@rule("vdot")
def vdot(call: Call) -> Any:
    return call.level.wrap(_inner(call, call.input, call.other, conj=True))


def _inner(call: Call, a: Any, b: Any, conj: bool = False) -> Any:
    level = call.level
    if len(a._shape) != 1 or a._shape != b._shape or a._dtype is not b._dtype:
        call.function.op.check(a, b)  # raises
    x, y = level.aligned(a, 1), level.aligned(b, 1)
    x = x.conj() if conj else x
    if not level.has(a):
        return ops.mv(y, x)
    if not level.has(b):
        return ops.mv(x, y)
    return ops.matmul(x.unsqueeze(1), y.unsqueeze(2)).reshape(level.size)


@rule("addmm")
def addmm(call: Call) -> Any:
    level, bias = call.level, call.input
    if not level.has(bias) and not level.has(call.mat2) and bias.dim() < 2:
        rows = call.mat1._value
        return level.wrap(call(mat1=rows.flatten(0, 1)).unflatten(0, rows.shape[:2]))
    return _added(call, ops.matmul(level.aligned(call.mat1, 2), level.aligned(call.mat2, 2)), 2)


@rule("baddbmm")
def baddbmm(call: Call) -> Any:
    level = call.level
    return _added(call, ops.matmul(level.aligned(call.batch1, 3), level.aligned(call.batch2, 3)), 3)


@rule("addmv")
def addmv(call: Call) -> Any:
    level, mat, vec = call.level, call.mat, call.vec
    if level.has(vec):
        product = ops.matmul(level.aligned(mat, 2), vec._value.unsqueeze(-1)).squeeze(-1)
    else:
        product = ops.matmul(level.aligned(mat, 2), vec)
    return _added(call, product, 1)


def _added(call: Call, product: Any, n: int) -> Any:
    """``beta * input + alpha * product``; with ``beta`` 0 ``input`` does not count, whatever it holds."""
    product = product if call.alpha == 1 else product * call.alpha
    if call.beta != 0:
        bias = call.level.aligned(call.input, n)
        product = product + (bias if call.beta == 1 else bias * call.beta)
    elif product.dim() == n:
        product = product.expand(call.level.size, *product.shape)
    return call.level.wrap(product)
