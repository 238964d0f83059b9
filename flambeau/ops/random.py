"""Random tensors: PyTorch's numbers, drawn in PyTorch's order.

Numbers are drawn when the op is called, not when they are needed, so that the order of the calls alone decides what each
gets. :mod:`flambeau.core.random` has the distributions; here are the functions and methods on tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core import random as streams
from flambeau.core.errors import describe
from flambeau.core.random import Generator, default_generator, native
from flambeau.core.size import broadcast_shapes, memory_order
from flambeau.engine import streams as engine_streams
from flambeau.ops.creation import empty_like, made, place_of, sizes_of
from flambeau.ops.drawn import drawn_with
from flambeau.ops.record import ErrorSample, composite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.core.dtypes import dtype
    from flambeau.core.memory_format import layout, memory_format
    from flambeau.tensor.types import Device, Tensor

Generator.present_state = staticmethod(lambda state: dispatch.wrap(state))
native.provide = engine_streams.kernel


def _source(generator: Generator | None, name: str) -> Generator:
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got (generator={describe(generator)}), but expected a "
            "torch.Generator"
        )
    return generator


def in_memory_order(like, draw: Callable[..., np.ndarray], *parameters: np.ndarray):
    """What ``draw(size, *parameters)`` gives for a tensor of ``like``'s shape, walked through in the order of its memory.

    ``parameters`` are arrays that broadcast to the shape.
    """
    if like._storage.is_meta:
        return empty_like(like)
    if like.is_contiguous():
        return dispatch.wrap(draw(like.shape, *parameters), like.dtype)
    order = memory_order(like.shape, [(like.shape, like.stride())]) or range(like.dim())
    parameters = tuple(np.broadcast_to(p, like.shape).transpose(order) for p in parameters)
    values = draw(tuple(like.shape[d] for d in order), *parameters)
    return dispatch.wrap(values).permute(sorted(range(len(order)), key=order.__getitem__))


def _fill(input, entry: str, draw: Callable[..., np.ndarray], *parameters: Any):
    if input._strides is not None and any(s == 0 and n > 1 for s, n in zip(input._strides, input.shape, strict=True)):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation."
        )
    samples = in_memory_order(input, draw, *[p._array() for p in parameters])
    return dispatch.assign(input, drawn_with(samples, entry, input, *parameters))


# --- made from nothing -------------------------------------------------------------------------------------------

_MADE: dict[str, Any] = {
    "method": False,
    "tensors": "",
    "out": "dtype",
    "errors": lambda make: [ErrorSample(RuntimeError, "negative dimension", -1)],
}


@composite(**_MADE)
def rand(
    *size: int | Sequence[int], generator: Generator | None = None, dtype: dtype | None = None, layout: layout | None = None, device: Device = None, requires_grad: bool = False, pin_memory: bool | None = False, names: Any = None
):  # fmt: skip
    """Samples of the uniform distribution on [0, 1).

    >>> import flambeau as torch
    >>> torch.rand(3, generator=torch.Generator().manual_seed(0))
    tensor([0.4963, 0.7682, 0.0885])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.rand.html
    """
    d = dtype or dtypes.get_default_dtype()
    g, shape = _source(generator, "rand"), sizes_of(size, "rand")
    return made(shape, lambda: streams.uniform(g, shape, 0.0, 1.0, d.np), d, device, requires_grad)


@composite(**_MADE)
def randn(
    *size: int | Sequence[int], generator: Generator | None = None, dtype: dtype | None = None, layout: layout | None = None, device: Device = None, requires_grad: bool = False, pin_memory: bool | None = False, names: Any = None
):  # fmt: skip
    """Samples of the normal distribution with mean 0 and variance 1 (complex ones share it between their parts).

    >>> import flambeau as torch
    >>> torch.randn(3, generator=torch.Generator().manual_seed(0))
    tensor([ 1.5410, -0.2934, -2.1788])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.randn.html
    """
    d = dtype or dtypes.get_default_dtype()
    g, shape = _source(generator, "randn"), sizes_of(size, "randn")
    return made(shape, lambda: streams.normal(g, shape, 0.0, 1.0, d.np), d, device, requires_grad)


def _whole(value, name: str, argument: str, position: int) -> int:
    if not hasattr(value, "__index__"):
        raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be int, not {describe(value)}")
    return value.__index__()


@composite(
    method=False, tensors="", out="dtype",
    errors=lambda make: [
        ErrorSample(RuntimeError, "random_ expects 'from' to be less than 'to'", 5, 5, (2,)),
        ErrorSample(TypeError, "argument 'high'", 3.5, (2,)),
        ErrorSample(TypeError, "argument 'size'", 3, 2),
    ],
)  # fmt: skip
def randint(
    *args: Any, low: int | None = None, high: int | None = None, size: Sequence[int] | None = None, generator: Generator | None = None, dtype: dtype | None = None, layout: layout | None = None, device: Device = None, requires_grad: bool = False,
    pin_memory: bool | None = False,
):  # fmt: skip
    """Integers from ``low`` (0 where not given) to ``high - 1``: ``randint(high, size)``, ``randint(low, high, size)``.

    Raises ``TypeError`` for other combinations of arguments, ``RuntimeError`` where ``high`` is not above ``low``.

    >>> import flambeau as torch
    >>> torch.randint(10, (4,), generator=torch.Generator().manual_seed(0))
    tensor([4, 9, 3, 0])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.randint.html
    """
    rest = list(args)
    if size is None and rest:
        size = rest.pop()
    place = len(rest) or 1
    if high is None and rest:
        high = rest.pop()
    if low is None:
        low = rest.pop() if rest else 0
    if rest or high is None or size is None:
        raise TypeError(
            f"randint() received an invalid combination of arguments - got ({', '.join(map(describe, args))}), "
            "but expected (int high, tuple of ints size) or (int low, int high, tuple of ints size)"
        )
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint(): argument 'size' (position {place + 1}) must be tuple of ints, not {describe(size)}")
    low, high = _whole(low, "randint", "low", 1), _whole(high, "randint", "high", place)
    d = dtype or dtypes.int64
    g, shape = _source(generator, "randint"), sizes_of((size,), "randint")
    return made(shape, lambda: streams.integers(g, shape, low, high, d.np), d, device, requires_grad)


@composite(method=False, tensors="", out="dtype", errors=lambda make: [ErrorSample(RuntimeError, "negative dimension", -1)])
def randperm(
    n: int, *, generator: Generator | None = None, dtype: dtype | None = dtypes.int64, layout: layout | None = None, device: Device = None, requires_grad: bool = False, pin_memory: bool | None = False
):  # fmt: skip
    """The integers ``0 .. n - 1`` in a random order.

    >>> import flambeau as torch
    >>> torch.randperm(5, generator=torch.Generator().manual_seed(0))
    tensor([4, 0, 1, 3, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.randperm.html
    """
    d = dtype or dtypes.int64
    g, n = _source(generator, "randperm"), _whole(n, "randperm", "n", 1)
    return made((n,), lambda: streams.permutation(g, n, d.np), d, device, requires_grad)


@composite(
    method=False, tensors="mean std", out=True,
    errors=lambda make: [
        ErrorSample(RuntimeError, "normal expects std >= 0.0, but found std -1", 0.0, -1.0, (2,)),
        ErrorSample(TypeError, "invalid combination of arguments", 0.0, 1.0),
    ],
)  # fmt: skip
def normal(
    mean: Tensor | float = 0.0, std: Tensor | float = 1.0, size: Sequence[int] | None = None, *, generator: Generator | None = None, dtype: dtype | None = None, layout: layout | None = None, device: Device = None, requires_grad: bool = False,
    pin_memory: bool | None = False,
):  # fmt: skip
    """Samples of normal distributions: one for each element of the tensors ``mean`` and ``std``, or ``size`` of one.

    Raises ``TypeError`` for other combinations of arguments.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.normal(torch.tensor([0.0, 100.0]), 1.0)
    tensor([ 1.5410, 99.7066])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.normal.html
    """
    g = _source(generator, "normal")
    if size is not None:  # of one distribution, so tensors with one element are numbers
        mean, std = [x.item() if isinstance(x, dispatch.Tensor) and x.ndim == 0 and not x.requires_grad else x for x in (mean, std)]
    tensors = [t for t in (mean, std) if isinstance(t, dispatch.Tensor)]
    if bool(tensors) == (size is not None):
        raise TypeError(
            f"normal() received an invalid combination of arguments - got ({describe(mean)}, {describe(std)}"
            f"{'' if size is None else ', ' + describe(size)}), but expected a tensor mean or std, or numbers and a size"
        )
    if size is not None:
        d = dtype or dtypes.get_default_dtype()
        shape = sizes_of((size,), "normal")
        centre: Any = mean
        spread: Any = std
        return made(shape, lambda: streams.normal(g, shape, centre, spread, d.np), d, device, requires_grad)
    d = tensors[0].dtype
    if any([t._storage.is_meta for t in tensors]):
        return dispatch.valueless(
            broadcast_shapes(*[t.shape for t in tensors]), d, None, next(t._storage for t in tensors if t._storage.is_meta)
        )
    entry = "NormalBackward3" if len(tensors) == 2 else "NormalBackward1" if tensors[0] is mean else "NormalBackward2"
    loc, scale = [x._array() if isinstance(x, dispatch.Tensor) else x for x in (mean, std)]
    samples = dispatch.wrap(streams.normal(g, broadcast_shapes(*[t.shape for t in tensors]), loc, scale, d.np), d)
    return drawn_with(samples, entry, mean, std)


# --- like another tensor -----------------------------------------------------------------------------------------


def _like(input, draw, dtype, device, requires_grad, memory_format):
    """``draw(size, dtype, contiguous)`` as a tensor like ``input``."""
    if input._strides is None and memory_format is None:
        d = dtype or input.dtype
        device = place_of(input, device)
        return made(input.shape, lambda: draw(input.shape, d.np, True), d, device, requires_grad)
    out = empty_like(input, dtype=dtype, device=device, memory_format=memory_format)
    out = dispatch.assign(out, in_memory_order(out, lambda size: draw(size, out.dtype.np, out.is_contiguous())))
    return out.requires_grad_() if requires_grad else out


@composite(method=False)
def rand_like(
    input: Tensor, *, generator: Generator | None = None, dtype: dtype | None = None, layout: layout | None = None, device: Device = None, requires_grad: bool = False, memory_format: memory_format | None = None, pin_memory: bool | None = False
):  # fmt: skip
    """Samples of the uniform distribution on [0, 1), of ``input``'s shape and dtype.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.rand_like(torch.zeros(2))
    tensor([0.4963, 0.7682])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.rand_like.html
    """
    g = _source(generator, "rand_like")

    def draw(size, dtype, contiguous):
        return streams.uniform(g, size, 0.0, 1.0, dtype)

    return _like(input, draw, dtype, device, requires_grad, memory_format)


@composite(method=False)
def randn_like(
    input: Tensor, *, generator: Generator | None = None, dtype: dtype | None = None, layout: layout | None = None, device: Device = None, requires_grad: bool = False, memory_format: memory_format | None = None, pin_memory: bool | None = False
):  # fmt: skip
    """Samples of the standard normal distribution, of ``input``'s shape and dtype.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.randn_like(torch.zeros(2))
    tensor([ 1.5410, -0.2934])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.randn_like.html
    """
    g = _source(generator, "randn_like")

    def draw(size, dtype, contiguous):
        return streams.normal(g, size, 0.0, 1.0, dtype, contiguous)

    return _like(input, draw, dtype, device, requires_grad, memory_format)


@composite(method=False)
def randint_like(
    input: Tensor, *bounds: Any, low: int = 0, high: Tensor | int | None = None, generator: Generator | None = None, dtype: dtype | None = None, layout: layout | None = None, device: Device = None, requires_grad: bool = False,
    memory_format: memory_format | None = None, pin_memory: bool | None = False,
):  # fmt: skip
    """Integers from ``low`` to ``high - 1``, of ``input``'s shape and dtype: ``(input, high)`` or ``(input, low, high)``.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.randint_like(torch.zeros(4), 10)
    tensor([4., 9., 3., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.randint_like.html
    """
    if bounds:
        *first, high = bounds if high is None else (*bounds, high)
        low = first[0] if first else low
    low, high = _whole(low, "randint_like", "low", 2), _whole(high, "randint_like", "high", 2)
    g = _source(generator, "randint_like")

    def draw(size, dtype, contiguous):
        return streams.integers(g, size, low, high, dtype)

    return _like(input, draw, dtype, device, requires_grad, memory_format)


# --- with parameters that are tensors ----------------------------------------------------------------------------


@composite(
    out="any",
    errors=lambda make: [ErrorSample(RuntimeError, "Expected p_in >= 0 && p_in <= 1", make(2, low=1.5, high=2.0))],
)
def bernoulli(input: Tensor, p: Tensor | float | None = None, *, generator: Generator | None = None):
    """Ones with the probabilities in ``input`` (or ``p``), else zeros.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.bernoulli(torch.tensor([0.0, 0.5, 1.0]))
    tensor([0., 0., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bernoulli.html
    """
    p = input if p is None else p
    if input._storage.is_meta:
        return empty_like(input)
    chances, d = p._array() if isinstance(p, dispatch.Tensor) else p, input.dtype
    samples = dispatch.wrap(streams.bernoulli(_source(generator, "bernoulli"), input.shape, chances, d.np), d)
    return drawn_with(samples, "BernoulliBackward0", p)


@composite(
    out=True,
    errors=lambda make: [
        ErrorSample(RuntimeError, "without replacement", make(2, low=0.5, high=1.0), 3),
        ErrorSample(RuntimeError, "prob_dist must be 1 or 2 dim", make(2, 2, 2, low=0.5, high=1.0), 1),
    ],
)
def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None):
    """``num_samples`` indices from each row of ``input``, in proportion to its (non-negative) entries.

    >>> import flambeau as torch
    >>> torch.multinomial(torch.tensor([0.0, 10.0, 3.0]), 2, generator=torch.Generator().manual_seed(0))
    tensor([1, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.multinomial.html
    """
    g = _source(generator, "multinomial")
    if input._storage.is_meta:
        return dispatch.valueless((*input.shape[:-1], num_samples), dtypes.int64, None, input._storage)
    return dispatch.wrap(streams.multinomial(g, input._array(), num_samples, replacement), dtypes.int64)


@composite(method=False, errors=lambda make: [ErrorSample(RuntimeError, "invalid Poisson rate", make(2, low=-2.0, high=-1.0))])
def poisson(input: Tensor, generator: Generator | None = None):
    """Samples of Poisson distributions with the rates in ``input``.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.poisson(torch.tensor([1.0, 100.0]))
    tensor([  2., 117.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.poisson.html
    """
    if input._storage.is_meta:
        return empty_like(input)
    return drawn_with(dispatch.wrap(streams.poisson(_source(generator, "poisson"), input._array())), "PoissonBackward0", input)


@composite(method=False, tensors="count prob")
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None):
    """How many of ``count`` trials succeed, each with chance ``prob``.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.binomial(torch.tensor([10.0, 10.0]), torch.tensor([0.0, 1.0]))
    tensor([ 0., 10.])

    Source: PyTorch's operator ``aten::binomial``.
    """
    if count._storage.is_meta:
        return empty_like(count)
    return dispatch.wrap(streams.binomial(_source(generator, "binomial"), count._array(), prob._array()))


# --- in place ----------------------------------------------------------------------------------------------------


@composite(name="Tensor.uniform_")
def uniform_(input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None):
    """Fills with samples of the uniform distribution on [from, to).

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.empty(2).uniform_(10, 20)
    tensor([14.9626, 17.6822])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.uniform_.html
    """
    g = _source(generator, "uniform_")
    return _fill(input, "UniformBackward0", lambda size: streams.uniform(g, size, from_, to, input.dtype.np))


@composite(name="Tensor.normal_")
def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None):
    """Fills with samples of the normal distribution.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.empty(2).normal_(mean=100, std=1)
    tensor([101.5410,  99.7066])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.normal_.html
    """
    g = _source(generator, "normal_")
    return _fill(input, "NormalBackward0", lambda size: streams.normal(g, size, mean, std, input.dtype.np, input.is_contiguous()))


@composite(name="Tensor.random_")
def random_(input: Tensor, *bounds: Any, to: int | None = None, generator: Generator | None = None):
    """Fills with integers: ``random_(from, to)`` or ``random_(to)`` below ``to``, ``random_()`` over all that the dtype counts.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.empty(4).random_(10)
    tensor([4., 9., 3., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.random_.html
    """
    g = _source(generator, "random_")
    if not bounds and to is None:
        return _fill(input, "RandomBackward2", lambda size: streams.random(g, size, input.dtype.np))
    if len(bounds) == 2:
        entry, (low, to) = "RandomBackward0", bounds
    elif to is None:
        entry, low, (to,) = "RandomBackward1", 0, bounds
    else:
        entry, low = ("RandomBackward0", bounds[0]) if bounds else ("RandomBackward1", 0)
    return _fill(input, entry, lambda size: streams.integers(g, size, low, to, input.dtype.np))


@composite(name="Tensor.bernoulli_")
def bernoulli_(input: Tensor, p: Tensor | float = 0.5, *, generator: Generator | None = None):
    """Fills with ones, with probability ``p`` (a number or a tensor that broadcasts), and zeros.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.empty(4).bernoulli_(0.5)
    tensor([0., 0., 1., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.bernoulli_.html
    """
    g, d = _source(generator, "bernoulli_"), input.dtype.np
    if isinstance(p, dispatch.Tensor) and not input._storage.is_meta:
        return _fill(input, "BernoulliBackward1", lambda size, p: streams.bernoulli(g, size, p, d), p)
    chance: Any = p
    return _fill(input, "BernoulliBackward2", lambda size: streams.bernoulli(g, size, chance, d))


@composite(name="Tensor.exponential_")
def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None):
    r"""Fills with samples of the exponential distribution, :math:`f(x) = \lambda e^{-\lambda x}`.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.empty(2).exponential_(2.0)
    tensor([1.7542, 0.6152])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.exponential_.html
    """
    g = _source(generator, "exponential_")
    return _fill(input, "ExponentialBackward0", lambda size: streams.exponential(g, size, lambd, input.dtype.np))


@composite(name="Tensor.geometric_")
def geometric_(input: Tensor, p: float, *, generator: Generator | None = None):
    """Fills with how many trials, each with chance ``p``, it takes to succeed.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.empty(4).geometric_(0.5)
    tensor([1., 1., 2., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.geometric_.html
    """
    g = _source(generator, "geometric_")
    return _fill(input, "GeometricBackward0", lambda size: streams.geometric(g, size, p, input.dtype.np))


@composite(name="Tensor.cauchy_")
def cauchy_(input: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None):
    """Fills with samples of the Cauchy distribution.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.empty(2).cauchy_()
    tensor([10.5977,  0.7648])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.cauchy_.html
    """
    g = _source(generator, "cauchy_")
    return _fill(input, "CauchyBackward0", lambda size: streams.cauchy(g, size, median, sigma, input.dtype.np))


@composite(name="Tensor.log_normal_")
def log_normal_(input: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None):
    """Fills with samples whose logarithms are normally distributed with ``mean`` and ``std``.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.empty(2).log_normal_()
    tensor([59.2634,  1.5116])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.log_normal_.html
    """
    g = _source(generator, "log_normal_")
    return _fill(input, "LogNormalBackward0", lambda size: streams.log_normal(g, size, mean, std, input.dtype.np))
