"""Sums of products over chosen dims: tensordot, chains of matrices, cross products, distances."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core.size import broadcast_shapes, wrap_dim
from flambeau.ops import layouts
from flambeau.ops.matmul import _broadcast_matmul, mm
from flambeau.ops.norms import vector_norm
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.vector_products import dot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- sums over chosen dims -----------------------------------------------------------------------------------


@composite(
    out="same",
    samples=lambda make: [
        Sample(make(2, 3), make(3, 2), dims=1),
        Sample(make(2, 3, 4), make(4, 2, 3), dims=([2, 0], [0, 1])),
        Sample(make(2), make(3), dims=0),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "contracted dimensions need to match", make(2, 3), make(4, 5), 1)],
)
def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[int] = 2) -> Tensor:
    """The sum of products over chosen dims: the last ``dims`` of ``a`` with the first of ``b``, or lists of dims of each.

    Raises ``RuntimeError`` for dims of different sizes and for more dims than there are.

    >>> import flambeau as torch
    >>> torch.tensordot(torch.ones(2, 3), torch.ones(3, 4), dims=1).shape
    torch.Size([2, 4])
    >>> torch.tensordot(torch.ones(2, 3, 4), torch.ones(4, 3), dims=([1, 2], [1, 0]))
    tensor([12., 12.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.tensordot.html
    """
    if isinstance(dims, dispatch.Tensor):
        dims = dims.tolist()
    if isinstance(dims, (tuple, list)):
        dims_a, dims_b = [[d] if isinstance(d, int) else list(d) for d in (dims if len(dims) == 2 else (dims, dims))]
    else:
        count: Any = dims
        if count < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={count}")
        if count > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={count}")
        dims_a, dims_b = list(range(-count, 0)), list(range(count))
    if len(dims_a) != len(dims_b):
        raise RuntimeError(f"both dimension lists should have same length, got {dims_a} and {dims_b}")
    first, second = [wrap_dim(d, a.dim()) for d in dims_a], [wrap_dim(d, b.dim()) for d in dims_b]
    for d1, d2, w1, w2 in zip(dims_a, dims_b, first, second, strict=True):
        n1, n2 = a.shape[w1], b.shape[w2]
        if n1 != n2 and n2 == 1:
            a = a.sum(w1, keepdim=True)
        elif n1 != n2 and n1 == 1:
            b = b.sum(w2, keepdim=True)
        elif n1 != n2:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {n1} in dim {d1} and second has size {n2} in dim "
                f"{d2}: the shapes are {list(a.shape)} and {list(b.shape)}"
            )
    left = [d for d in range(a.dim()) if d not in first]
    right = [d for d in range(b.dim()) if d not in second]
    summed = prod(a.shape[d] for d in first)
    shape = [a.shape[d] for d in left] + [b.shape[d] for d in right]
    a = a.permute(left + first).reshape((prod(a.shape[d] for d in left), summed))
    b = b.permute(second + right).reshape((summed, prod(b.shape[d] for d in right)))
    return mm(a, b).reshape(shape)


@composite(
    out="same",
    samples=lambda make: [Sample(make(3), make(3)), Sample(make(2, 3), make(4, 3)), Sample(make(2, 3), make())],
    errors=lambda make: [ErrorSample(RuntimeError, "the last dimension must match", make(2, 3), make(4))],
)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The dot products over the last dim of each: shapes ``(*a, n)`` and ``(*b, n)`` give ``(*a, *b)``.

    Raises ``RuntimeError`` where the last dims differ.

    >>> import flambeau as torch
    >>> torch.inner(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor(11)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.inner.html
    """
    if input.dim() == 0 or other.dim() == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    if input.dim() == other.dim() == 1:
        return dot(input, other)
    return tensordot(input, other, ([-1], [-1]))


@composite(
    out=True,
    samples=lambda make: [Sample(make(2, 3), make(3, 2)), Sample(make(2), make(2, 2)), Sample(make(), make(3))],
)
def kron(input: Tensor, other: Tensor) -> Tensor:
    r"""The Kronecker product: every element of ``input`` times the whole of ``other``.

    >>> import flambeau as torch
    >>> torch.kron(torch.tensor([[1, 10]]), torch.tensor([[1, 2]]))
    tensor([[ 1,  2, 10, 20]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.kron.html
    """
    n = max(input.dim(), other.dim())
    a, b = [(1,) * (n - x.dim()) + tuple(x.shape) for x in (input, other)]
    left = [size for d in range(n) for size in (a[d], 1)]
    right = [size for d in range(n) for size in (1, b[d])]
    return (input.reshape(left) * other.reshape(right)).reshape([a[d] * b[d] for d in range(n)])


@composite(
    samples=lambda make: [Sample(make(3, 3)), Sample(make(2, 3))],
    errors=lambda make: [ErrorSample(RuntimeError, "trace: expected a matrix", make(2))],
)
def trace(input: Tensor) -> Tensor:
    r"""The sum of a matrix's diagonal: :math:`\sum_i A_{ii}`.

    Raises ``RuntimeError`` for what is no matrix.

    >>> import flambeau as torch
    >>> torch.trace(torch.tensor([[1, 2], [3, 4]]))
    tensor(5)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.trace.html
    """
    if input.dim() != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.dim()}")
    return input.diagonal().sum()


# --- chains --------------------------------------------------------------------------------------------------


def _best_order(sizes: list[int]) -> list[list[int]]:
    """Where to split each part of a chain of matrices, for the fewest multiplications.

    Source: Cormen, Leiserson, Rivest, Stein: Introduction to Algorithms, section 15.2.
    """
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return split


@composite(
    name="linalg.multi_dot",
    out="same",
    samples=lambda make: [Sample([make(2, 3), make(3, 4), make(4, 2)]), Sample([make(3), make(3, 4), make(4)])],
    errors=lambda make: [ErrorSample(RuntimeError, "expected at least 2 tensors but got 1", [make(2, 3)])],
)
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two or more matrices, in the order that needs the fewest multiplications.

    The first may be a vector (a row) and the last too (a column).

    Raises ``RuntimeError`` for fewer than two tensors and for shapes that do not fit.

    >>> import flambeau as torch
    >>> torch.linalg.multi_dot([torch.ones(2, 100), torch.ones(100, 3), torch.ones(3)])
    tensor([300., 300.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.multi_dot.html
    """
    n = len(tensors)
    if n < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {n}")
    chain = list(tensors)
    first, last = chain[0], chain[-1]
    for i, x in enumerate(chain):
        if x.dim() != 2 and not (x.dim() == 1 and i in (0, n - 1)):
            allowed = "1D or 2D" if i in (0, n - 1) else "2D"
            raise RuntimeError(f"multi_dot(): tensor {i} must be {allowed} but got {x.dim()}D")
    if first.dim() == 1:
        chain[0] = first.unsqueeze(0)
    if last.dim() == 1:
        chain[-1] = last.unsqueeze(1)
    for i in range(n - 1):
        if chain[i].shape[1] != chain[i + 1].shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(chain[i].shape)} and {list(chain[i + 1].shape)} "
                "cannot be multiplied"
            )
    split = _best_order([x.shape[0] for x in chain] + [chain[-1].shape[1]])

    result = _product(chain, split, 0, n - 1)
    if last.dim() == 1:
        result = result.squeeze(1)
    return result.squeeze(0) if first.dim() == 1 else result


def _product(chain, split, i: int, j: int):
    if i == j:
        return chain[i]
    return mm(_product(chain, split, i, split[i][j]), _product(chain, split, split[i][j] + 1, j))


@composite(method=False, samples=lambda make: [Sample(make(2, 3), make(3, 4), make(4, 2))])
def chain_matmul(*matrices: Any) -> Tensor:
    """The product of matrices in the cheapest order: :func:`torch.linalg.multi_dot`, with the matrices as arguments.

    Deprecated in PyTorch, where it warns.

    >>> import flambeau as torch
    >>> torch.linalg.multi_dot([torch.ones(1, 2), torch.ones(2, 3)])  # what chain_matmul(a, b) is
    tensor([[2., 2., 2.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.chain_matmul.html
    """
    if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)):
        matrices = tuple(matrices[0])
    return matrices[0] if len(matrices) == 1 else multi_dot(matrices)


# --- cross product and distances -----------------------------------------------------------------------------


@composite(
    layout=layouts.row_major,
    name="linalg.cross",
    out="same",
    samples=lambda make: [Sample(make(2, 3), make(2, 3)), Sample(make(3, 2), make(3, 1), dim=0)],
    errors=lambda make: [ErrorSample(RuntimeError, "must have length 3", make(2, 2), make(2, 2))],
)
def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    r"""The cross product of vectors of 3 elements along ``dim``; other dims broadcast.

    Raises ``RuntimeError`` unless ``dim`` has size 3 in both.

    >>> import flambeau as torch
    >>> torch.linalg.cross(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.cross.html
    """
    if input.dim() != other.dim():
        raise RuntimeError(f"linalg.cross: inputs must have the same number of dimensions, got {input.dim()} and {other.dim()}")
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}"
        )
    d = wrap_dim(dim, input.dim())
    return input.roll(-1, d) * other.roll(-2, d) - input.roll(-2, d) * other.roll(-1, d)


@composite(
    out="same",
    layout=layouts.row_major,
    samples=lambda make: [Sample(make(2, 3), make(2, 3)), Sample(make(3, 2), make(3, 2), dim=0)],
    errors=lambda make: [ErrorSample(RuntimeError, "no dimension of size 3 in input", make(2, 2), make(2, 2))],
)
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product along ``dim``; without it, along the first dim of size 3.

    Raises ``RuntimeError`` where no dim has size 3.

    >>> import flambeau as torch
    >>> torch.cross(torch.tensor([[1, 0, 0]]), torch.tensor([[0, 1, 0]]), dim=1)
    tensor([[0, 0, 1]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cross.html
    """
    if dim is None:
        shape = broadcast_shapes(input.shape, other.shape)
        if 3 not in shape:
            raise RuntimeError(f"no dimension of size 3 in input: the shape is {list(shape)}")
        dim = shape.index(3)
    return linalg_cross(input, other, dim=dim)


def _euclidean(x1: np.ndarray, x2: np.ndarray, by_product: bool) -> np.ndarray:
    if by_product:
        squares = [np.einsum("...i,...i->...", x, x)[..., None] for x in (x1, x2)]
        square = squares[0] - 2 * np.matmul(x1, x2.swapaxes(-2, -1)) + squares[1].swapaxes(-2, -1)
        return np.sqrt(np.maximum(square, 0))
    shape = (*np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2]), x1.shape[-2], x2.shape[-2])
    square = np.zeros(shape, x1.dtype)
    for i in range(x1.shape[-1]):
        step = x1[..., :, None, i] - x2[..., None, :, i]
        square += step * step
    return np.sqrt(square)


def _expand_euclidean(e, x1, x2, by_product):
    """The square of each distance, which is not rounded to half precision, and its root in the loop that makes it."""
    x1, x2 = e.cast(x1, e.computing(x1)), e.cast(x2, e.computing(x2))
    batch, n, r = broadcast_shapes(x1.shape[:-2], x2.shape[:-2]), x1.shape[-2], x2.shape[-2]
    if not by_product:
        x1, x2 = e.view(x1, (*x1.shape[:-1], 1, x1.shape[-1])), e.view(x2, (*x2.shape[:-2], 1, *x2.shape[-2:]))
        square = e.fold_of("sum", _lower_squared_difference, (len(batch) + 2,), x1, x2, keepdim=False)
        return e.map(lambda b, square: b.sqrt(square), square)
    squares = [e.fold_of("sum", lambda b, x: b.mul(x, x), (len(x.shape) - 1,), x) for x in (x1, x2)]
    turned = e.seen(x2, (*x2.shape[:-2], x2.shape[-1], r), (*x2.strides[:-2], x2.strides[-1], x2.strides[-2]), x2.offset)
    products = e.node_of(_broadcast_matmul.op, (*batch, n, r), (x1, turned), {})
    rows, columns = squares[0], e.view(squares[1], (*x2.shape[:-2], 1, r))
    return e.map(lambda b, p, x, y: b.sqrt(b.max(0, b.add(b.sub(x, b.mul(p, 2)), y))), products, rows, columns)


def _lower_squared_difference(b, x, y):
    apart = b.sub(x, y)
    return b.mul(apart, apart)


def _distance_weights(g, out):
    return (g / out).masked_fill(out == 0, 0)


def _toward(weights, a, b):
    """The sum over ``j`` of ``weights[i, j] * (a[i] - b[j])``."""
    return a * weights.sum(-1, keepdim=True) - weights.matmul(b)


@op(
    kernel=_euclidean,
    expand=_expand_euclidean,
    tensors="x1 x2",
    name="aten.cdist",
    grad={
        "x1": lambda g, out, x1, x2: _toward(_distance_weights(g, out), x1, x2),
        "x2": lambda g, out, x1, x2: _toward(_distance_weights(g, out).mT, x2, x1),
    },
)
def _cdist_euclidean(x1: Tensor, x2: Tensor, by_product):
    """Euclidean distances between rows: what ``cdist`` with ``p=2`` records."""
    batch = broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    return (*batch, x1.shape[-2], x2.shape[-2]), x1.dtype, (x1, x2), {"by_product": by_product}


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(2, 3), make(4, 3)),
        Sample(make(2, 2, 3), make(3, 3), p=1.5),
        Sample(make(2, 3), make(2, 3), p=float("inf")),
        Sample(make(2, 1, 3, 2), make(2, 4, 2)),
        Sample(make(2, 1, 3, 2), make(2, 2, 4).mT, compute_mode="use_mm_for_euclid_dist"),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "must have the same number of columns", make(2, 3), make(2, 4))],
)
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: int | str | None = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    r"""The ``p``-norm distance between each row of ``x1``, ``(*, n, m)``, and of ``x2``, ``(*, r, m)``: ``(*, n, r)``.

    Where either has more than 25 rows, Euclidean distances are computed with a matrix product, as in PyTorch
    (``compute_mode`` can ask for this, or against it).

    Raises ``RuntimeError`` for fewer than 2 dims, different numbers of columns, a negative ``p``, other dtypes than
    floating ones.

    >>> import flambeau as torch
    >>> torch.cdist(torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
    tensor([[4.],
            [5.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cdist.html
    """
    if x1.dim() < 2 or x2.dim() < 2:
        raise RuntimeError(f"cdist only supports at least 2D tensors, X1 got: {x1.dim()}D, X2 got: {x2.dim()}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if p < 0:
        raise RuntimeError(f"cdist only supports non-negative p values, got {p}")
    for name, x in (("X1", x1), ("X2", x2)):
        if not x.dtype.is_floating_point:
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {x.dtype}")
    modes = {
        "use_mm_for_euclid_dist_if_necessary": max(x1.shape[-2], x2.shape[-2]) > 25,
        "use_mm_for_euclid_dist": True,
        "donot_use_mm_for_euclid_dist": False,
    }
    if compute_mode not in modes:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode: expected one of {', '.join(modes)}")
    if p == 2:
        return _cdist_euclidean(x1, x2, modes[compute_mode])
    differences = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    return vector_norm(differences, p if x1.shape[-1] else 1, -1)  # without elements all norms are 0
