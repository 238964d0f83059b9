"""Normalisation in NumPy and as parts of loops: the forward pass and its gradients; see :mod:`flambeau.ops.normalization`."""

from __future__ import annotations

from math import prod

import numpy as np

from flambeau.ops.reduction import accurate_sum

_BLOCK = 1 << 18
"""Bytes of input that are worked on at a time, so that what is made of them on the way stays in the cache."""


def _blocks(form: tuple[int, ...], itemsize: int) -> list[slice]:
    """Runs of the first dim."""
    step = max(_BLOCK // max(prod(form[1:]) * itemsize, 1), 1)
    return [slice(i, i + step) for i in range(0, form[0], step)]


def _sum(parts, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The sum of the blocks' parts, added in double precision."""
    total = np.zeros(shape, np.promote_types(dtype, np.float64))
    for part in parts:
        total += part
    return total.astype(dtype)


def _mean(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return accurate_sum(x, axes, keepdims=True) / x.dtype.type(prod(x.shape[a] for a in axes))


def forward(x, weight, bias, form, axes, affine, eps):
    """``x`` normalised, in its own shape; mean and variance in the shape of ``form`` reduced."""
    shape, x = x.shape, x.reshape(form)
    weight = None if weight is None else weight.reshape(affine)
    bias = None if bias is None else bias.reshape(affine)
    out = np.empty(form, x.dtype)
    blocks = _blocks(form, x.itemsize)
    stats = tuple([1 if i in axes else n for i, n in enumerate(form)])
    n = x.dtype.type(prod(form[a] for a in axes))

    def finish(part, mean, var, out):
        np.subtract(part, mean, out=out)
        out *= 1 / np.sqrt(var + x.dtype.type(eps))
        if weight is not None:
            out *= weight
        if bias is not None:
            out += bias

    if 0 in axes:  # mean and variance are all blocks' together
        mean = _sum((accurate_sum(x[b], axes, keepdims=True) for b in blocks), stats, x.dtype) / n
        squares = (accurate_sum(np.square(x[b] - mean), axes, keepdims=True) for b in blocks)
        var = _sum(squares, stats, x.dtype) / n
        for b in blocks:
            finish(x[b], mean, var, out[b])
        return out.reshape(shape), mean, var
    mean, var = np.empty(stats, x.dtype), np.empty(stats, x.dtype)
    for b in blocks:
        mean[b] = _mean(x[b], axes)
        var[b] = _mean(np.square(x[b] - mean[b]), axes)
        finish(x[b], mean[b], var[b], out[b])
    return out.reshape(shape), mean, var


def backward(g, x, mean, var, weight, form, axes, affine, eps, needs):
    """The gradients for ``x``, weight and bias. What is not needed may be empty or 0."""
    shape = x.shape if needs[0] else (0,)
    g, x = g.reshape(form), x.reshape(form)
    weight = None if weight is None else weight.reshape(affine)
    rstd = 1 / np.sqrt(var + var.dtype.type(eps))
    blocks = _blocks(form, g.itemsize)
    affine_axes = tuple(i for i, n in enumerate(affine) if n == 1)
    n = g.dtype.type(prod(form[a] for a in axes))
    out = np.empty(form if needs[0] else 0, g.dtype)

    def normal(b):
        """The block of the normalised input, and its reciprocal standard deviation."""
        own = slice(None) if 0 in axes else b
        y = x[b] - mean[own]
        y *= rstd[own]
        return y, rstd[own]

    def affine_sums(b, y):
        return np.stack([accurate_sum(g[b] * y, affine_axes, keepdims=True), accurate_sum(g[b], affine_axes, keepdims=True)])

    def rows(b):
        """A block's gradient, where its mean and variance are its own; returns its sums for weight and bias."""
        y, scale = normal(b)
        if needs[0]:
            scaled = g[b] if weight is None else g[b] * weight
            _project(scaled, y, _mean(scaled * y, axes), _mean(scaled, axes), scale, out[b])
        return affine_sums(b, y) if needs[1] or needs[2] else 0

    if 0 not in axes:
        grad_weight, grad_bias = _sum(map(rows, blocks), (2, *affine), g.dtype)
        return out.reshape(shape), grad_weight, grad_bias
    # Each weight is one channel's, and so are mean and variance: the sums for one are those for the other.
    grad_weight, grad_bias = _sum((affine_sums(b, normal(b)[0]) for b in blocks), (2, *affine), g.dtype)
    if needs[0]:
        scale = rstd if weight is None else rstd * weight
        for b in blocks:
            _project(g[b], normal(b)[0], grad_weight / n, grad_bias / n, scale, out[b])
    return out.reshape(shape), grad_weight, grad_bias


def _project(g, y, along, mean, scale, out) -> None:
    """``scale * (g - mean - y * along)``: the part of ``g`` that neither shifts nor stretches ``y``."""
    np.multiply(y, along, out=out)
    np.subtract(g, out, out=out)
    out -= mean
    out *= scale


# --- as loops -------------------------------------------------------------------------------------------------


def _standard(b, x, mean, var, eps):
    """``x`` shifted and scaled to mean 0 and variance 1, and the scale."""
    scale = b.div(1, b.sqrt(b.add(var, eps)))
    return b.mul(b.sub(x, mean), scale), scale


def expand_forward(e, x, weight, bias, form, axes, affine, eps):
    x = e.view(x, form)
    weight, bias = (p if p is None else e.view(p, affine) for p in (weight, bias))

    def square(b, x, mean):
        d = b.sub(x, mean)
        return b.div(b.sum(b.mul(d, d)), prod(form[a] for a in axes))

    def normalise(b, x, mean, var, weight, bias):
        y = _standard(b, x, mean, var, eps)[0]
        y = y if weight is None else b.mul(y, weight)
        return y if bias is None else b.add(y, bias)

    mean = e.mean(x, axes)
    var = e.reduce(square, axes, x, mean)
    return e.map(normalise, x, mean, var, weight, bias), mean, var


def expand_backward(e, g, x, mean, var, weight, form, axes, affine, eps, needs):
    g, x = e.view(g, form), e.view(x, form)
    weight = None if weight is None else e.view(weight, affine)
    affine_axes = tuple([d for d, n in enumerate(affine) if n == 1])
    n = prod(form[a] for a in axes)

    def stretch(b, g, x, mean, var):
        return b.mul(g, _standard(b, x, mean, var, eps)[0])

    def weighted(b, g, x, mean, var, weight):
        return b.sum(stretch(b, g if weight is None else b.mul(g, weight), x, mean, var))

    def affine_grads():
        return e.fold_of("sum", stretch, affine_axes, g, x, mean, var), e.sum(g, affine_axes)

    if 0 in axes:  # each weight is one channel's, and so are mean and variance
        grad_weight, grad_bias = affine_grads()

        def project(b, g, x, mean, var, weight, along, shift):
            y, scale = _standard(b, x, mean, var, eps)
            scale = scale if weight is None else b.mul(scale, weight)
            return b.mul(scale, b.sub(b.sub(g, b.mul(y, b.div(along, n))), b.div(shift, n)))

        grad = e.map(project, g, x, mean, var, weight, grad_weight, grad_bias)
    else:

        def project(b, g, x, mean, var, weight, along, shift):
            y, scale = _standard(b, x, mean, var, eps)
            g = g if weight is None else b.mul(g, weight)
            return b.mul(scale, b.sub(b.sub(g, b.mul(y, b.div(along, n))), b.div(shift, n)))

        along = e.reduce(weighted, axes, g, x, mean, var, weight)
        shift = e.reduce(lambda b, g, w: b.sum(g if w is None else b.mul(g, w)), axes, g, weight)
        grad = e.map(project, g, x, mean, var, weight, along, shift)
        grad_weight, grad_bias = affine_grads()  # after the rows, which can then add them up
    return grad, grad_weight, grad_bias


def expand_inference(e, x, weight, bias, mean, var, eps):
    shape = (-1,) + (1,) * (len(x.shape) - 2)

    def scaled(b, x, weight, bias, mean, var):
        scale = b.div(1, b.sqrt(b.add(var, eps)))
        scale = scale if weight is None else b.mul(scale, weight)
        shift = b.mul(b.neg(mean), scale)
        return b.add(b.mul(x, scale), shift if bias is None else b.add(shift, bias))

    return e.map(scaled, x, *[p if p is None else e.view(p, (x.shape[1], *shape[1:])) for p in (weight, bias, mean, var)])
