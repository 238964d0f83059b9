"""Contractions that are written as a formula: ``torch.einsum``."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from flambeau.ops.matmul import bmm, mm
from flambeau.ops.record import ErrorSample, Sample, composite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- einsum --------------------------------------------------------------------------------------------------


def _letter(index: int) -> str:
    if not 0 <= index < 52:
        raise ValueError(f"einsum(): not an index of a dim: {index}, expected 0 to 51")
    return chr(ord("A") + index) if index < 26 else chr(ord("a") + index - 26)


def _from_lists(args: tuple) -> tuple[str, list]:
    """The equation and operands of ``einsum(op1, [0, 1], op2, [1, 2], ..., [0, 2])``."""
    terms = ["".join("..." if i is Ellipsis else _letter(i) for i in dims) for dims in args[1::2]]
    equation = ",".join(terms)
    if len(args) % 2:
        equation += "->" + "".join("..." if i is Ellipsis else _letter(i) for i in args[-1])
        return equation, list(args[:-1:2])
    return equation, list(args[::2])


def _labels(term: str, what: str) -> list[str]:
    """A term's subscripts, one label each; the ellipsis is one label."""
    labels, i = [], 0
    while i < len(term):
        if term.startswith("...", i):
            if "..." in labels:
                raise RuntimeError(f"einsum(): found '.' for {what} that is not part of any ellipsis: {term!r}")
            labels.append("...")
            i += 3
        elif term[i].isalpha() and term[i].isascii():
            labels.append(term[i])
            i += 1
        elif term[i] == ".":
            raise RuntimeError(f"einsum(): found '.' for {what} that is not part of any ellipsis: {term!r}")
        else:
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {i} in the equation string, subscripts must be in [a-zA-Z]"
            )
    return labels


def _with_ellipsis(labels: list[str], dims: int) -> list:
    """Labels in which the ellipsis is replaced by one number for each dim that it stands for, counted from the right."""
    if "..." not in labels:
        return labels
    at = labels.index("...")
    return [*labels[:at], *range(-dims, 0), *labels[at + 1 :]]


def _diagonal(x, labels: list):
    """Takes the diagonal where a label stands twice."""
    for label in list(dict.fromkeys(labels)):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = x.diagonal(0, first, second)  # the diagonal becomes the last dim
            labels = [other for d, other in enumerate(labels) if d not in (first, second)] + [label]
    return x, labels


def _sum_out(x, labels: list, kept):
    """Sums over the dims whose label nobody needs."""
    dims = tuple(d for d, label in enumerate(labels) if label not in kept)
    return (x.sum(dims), [label for label in labels if label in kept]) if dims else (x, labels)


def _drop_broadcast(x, labels: list, sizes: dict):
    """Drops dims of size 1 whose label has another size elsewhere: these broadcast."""
    for d in reversed(range(len(labels))):
        if x.shape[d] == 1 and sizes[labels[d]] != 1:
            x = x.squeeze(d)
            labels = labels[:d] + labels[d + 1 :]
    return x, labels


def _multiply(a, a_labels: list, b, b_labels: list, place) -> tuple:
    """The product of two operands of which nothing is summed, with their dims as they stand in the result."""
    labels = sorted({*a_labels, *b_labels}, key=place)

    def spread(x, own: list):
        x = x.permute([own.index(k) for k in labels if k in own])
        for d, k in enumerate(labels):
            if k not in own:
                x = x.unsqueeze(d)
        return x

    return spread(a, a_labels) * spread(b, b_labels), labels


def _contract(a, a_labels: list, b, b_labels: list, kept, place) -> tuple:
    """The contraction of two operands over the labels that both have and nobody needs after.

    Its dims lie in memory as in PyTorch: those of ``b`` alone before those of ``a`` alone where the result has them all so.
    """
    a, a_labels = _sum_out(a, a_labels, set(b_labels) | kept)
    b, b_labels = _sum_out(b, b_labels, set(a_labels) | kept)
    both = sorted([label for label in a_labels if label in b_labels], key=place)
    batch = [label for label in both if label in kept]
    summed = [label for label in both if label not in kept]
    if not summed:
        return _multiply(a, a_labels, b, b_labels, place)
    left = sorted([label for label in a_labels if label not in both], key=place)
    right = sorted([label for label in b_labels if label not in both], key=place)
    if left and right and place(right[-1]) < place(left[0]):
        a, a_labels, left, b, b_labels, right = b, b_labels, right, a, a_labels, left
    size = dict(zip(a_labels, a.shape, strict=True)) | dict(zip(b_labels, b.shape, strict=True))

    def shape(labels) -> tuple[int, ...]:
        return tuple([size[k] for k in labels])

    a = a.permute([a_labels.index(k) for k in batch + left + summed])
    b = b.permute([b_labels.index(k) for k in batch + summed + right])
    rows, inner, columns = prod(shape(left)), prod(shape(summed)), prod(shape(right))
    if batch:
        count = prod(shape(batch))
        result = bmm(a.reshape((count, rows, inner)), b.reshape((count, inner, columns)))
    else:
        result = mm(a.reshape((rows, inner)), b.reshape((inner, columns)))
    labels = batch + left + right
    return result.reshape(shape(labels)), labels


def _parse(equation: str, operands: list) -> tuple[list[list], list]:
    """The labels of each operand, and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        few, verb = ("fewer", "than") if len(operands) < len(terms) else ("more", "than")
        raise RuntimeError(
            f"einsum(): {few} operands were provided {verb} specified in the equation: "
            f"{len(operands)} operands for {len(terms)} terms in {equation!r}"
        )
    parsed = [_labels(term, f"operand {i}") for i, term in enumerate(terms)]
    ellipsis = 0
    for i, (labels, x) in enumerate(zip(parsed, operands, strict=True)):
        named = len(labels) - ("..." in labels)
        if "..." in labels:
            if named > x.dim():
                raise RuntimeError(
                    f"einsum(): the number of subscripts in the equation ({named}) is more than the number of dimensions "
                    f"({x.dim()}) for operand {i}"
                )
            ellipsis = max(ellipsis, x.dim() - named)
        elif named != x.dim():
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) does not match the number of dimensions "
                f"({x.dim()}) for operand {i} and no ellipsis was given: {equation!r} with shape {list(x.shape)}"
            )
    parsed = [
        _with_ellipsis(labels, x.dim() - len(labels) + 1) if "..." in labels else labels
        for labels, x in zip(parsed, operands, strict=True)
    ]
    everywhere = [label for labels in parsed for label in labels]
    if arrow:
        result = _with_ellipsis(_labels(right, "the output"), ellipsis)
        for label in result:
            if result.count(label) > 1:
                raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
            if label not in everywhere:
                raise RuntimeError(f"einsum(): output subscript {label} does not appear in the equation for any input operand")
    else:
        once = sorted(label for label in everywhere if isinstance(label, str) and everywhere.count(label) == 1)
        result = [*range(-ellipsis, 0), *once]
    return parsed, result


@composite(
    samples=lambda make: [
        Sample("ij,jk->ik", make(2, 3), make(3, 2)),
        Sample("bij,bjk", make(2, 2, 3), make(2, 3, 2)),
        Sample("ii->i", make(3, 3)),
        Sample("ij->", make(2, 3)),
        Sample("...ij,...jk->...ik", make(2, 1, 2, 3), make(3, 3, 2)),
        Sample("i,j,k->ijk", make(2), make(3), make(2)),
        Sample("ij,ij->j", make(1, 3), make(2, 3)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "does not broadcast with previously seen size 3", "ij,jk", make(2, 3), make(4, 5)),
        ErrorSample(RuntimeError, "output subscript m does not appear", "ij->m", make(2, 3)),
        ErrorSample(RuntimeError, "does not match the number of dimensions", "ij", make(2, 3, 4)),
    ],
)
def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    r"""Sums of products, by Einstein's notation.

    ``equation`` names the dims of each operand with letters; letters that are not in the result are summed over;
    ``...`` stands for dims that broadcast. Operands are contracted from left to right by matrix products. Lists of
    dims may stand after each operand in place of letters: ``einsum(a, [0, 1], b, [1, 2], [0, 2])``.

    Raises ``RuntimeError`` for an equation that does not fit the operands.

    >>> import flambeau as torch
    >>> torch.einsum("ij,jk->ik", torch.ones(2, 3), torch.ones(3, 1))
    tensor([[3.],
            [3.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.einsum.html
    """
    listed: Any = operands
    if not isinstance(equation, str):
        equation, listed = _from_lists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        listed = operands[0]
    if not listed:
        raise RuntimeError("einsum(): must provide at least one operand")
    terms, out = _parse(equation, list(listed))

    sizes: dict = {}
    parts = []
    for i, (x, labels) in enumerate(zip(listed, terms, strict=True)):
        x, labels = _diagonal(x, labels)
        for label, n in zip(labels, x.shape, strict=True):
            known = sizes.get(label, 1)
            if 1 not in (known, n) and known != n:
                raise RuntimeError(
                    f"einsum(): subscript {label if isinstance(label, str) else '...'} has size {n} for operand {i} which "
                    f"does not broadcast with previously seen size {known}: {equation!r} with shapes "
                    f"{', '.join(str(list(o.shape)) for o in listed)}"
                )
            sizes[label] = n if known == 1 else known
        parts.append((x, labels))
    parts = [_drop_broadcast(x, labels, sizes) for x, labels in parts]

    def place(label) -> tuple[int, str]:
        """Dims of the result as they stand there, then all others."""
        return (out.index(label), "") if label in out else (len(out), str(label))

    result, labels = parts[0]
    for i in range(1, len(parts)):
        needed = {label for _, later in parts[i + 1 :] for label in later} | set(out)
        result, labels = _contract(result, labels, *parts[i], needed, place)
    result, labels = _sum_out(result, labels, set(out))
    order = [labels.index(label) for label in out]
    return result if order == sorted(order) else result.permute(order)
