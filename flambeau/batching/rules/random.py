"""Random numbers: whether samples get the same, their own, or none."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.batching.batched import Level, innermost
from flambeau.batching.rules.families import COMPOSED, RULES
from flambeau.tensor.tensor import Tensor

_ERROR = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness flags on "
    "vmap or perform the randomness operation out of vmap"
)
_SAME = "Vmap does not currently support same randomness with a batched tensor input. Please file an issue with functorch"
_UNBATCHED = (
    "vmap: Cannot ask for different inplace randomness on an unbatched tensor. This will appear like same randomness. If this is "
    "necessary for your usage, please file an issue with functorch."
)


def _drawn(draw: Any, is_random: Any = None) -> Any:
    """The rule of an op that draws numbers: ``draw(level, op, args, kwargs)`` draws for all samples, each its own."""

    def rule(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
        level = interception.levels[-1]
        if is_random is not None and not is_random(op, args, kwargs):
            return interception.as_written(op, args, kwargs)
        if level.randomness == "error":
            raise RuntimeError(_ERROR)
        if level.randomness == "same":
            return _same(interception, level, op, args, kwargs)
        with interception.within(interception.levels[:-1]):
            found = level.wrap(draw(level, op, args, kwargs))
        return args[0] if op.name.endswith("_") else found

    return rule


def _same(interception: Any, level: Level, op: Any, args: tuple, kwargs: dict) -> Any:
    """One sample's numbers, for all of them."""
    if op.name in _WITH_PARAMETERS and innermost((*args, *kwargs.values())) is level:
        raise RuntimeError(_SAME)
    if args and level.has(args[0]) and op.name.endswith("_like"):
        args = (ops.empty(args[0].shape, dtype=args[0].dtype), *args[1:])
    if args and level.has(args[0]):
        return op.check(*args, **kwargs)
    with interception.within(interception.levels[:-1]):
        return op.function(*args, **kwargs)


def _sized(level: Level, op: Any, args: tuple, kwargs: dict) -> Any:
    """rand, randn: sizes, to which the number of samples comes."""
    size = kwargs.get("size", args)
    size = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else tuple(size)
    return op.function(level.size, *size, **{k: v for k, v in kwargs.items() if k != "size"})


def _with_size(level: Level, op: Any, args: tuple, kwargs: dict) -> Any:
    """randint, normal with a size."""
    if kwargs.get("size") is not None:
        return op.function(*args, **{**kwargs, "size": (level.size, *kwargs["size"])})
    if isinstance(args[-1], (tuple, list)):
        return op.function(*args[:-1], (level.size, *args[-1]), **kwargs)
    return _of_tensors(level, op, args, kwargs)


def _one_by_one(level: Level, op: Any, args: tuple, kwargs: dict) -> Any:
    return ops.stack([op.function(*args, **kwargs) for _ in range(level.size)])


def _of_tensors(level: Level, op: Any, args: tuple, kwargs: dict) -> Any:
    """Ops whose arguments are shapes to fill, parameters, or what is dropped from."""
    n = max([x.dim() for x in (*args, *kwargs.values()) if isinstance(x, Tensor)])

    def every(x: Any) -> Any:
        return level.expanded(x).contiguous() if x is args[0] and not level.has(x) else level.aligned(x, n)

    return op.function(
        *[every(x) if isinstance(x, Tensor) else x for x in args], **{k: level.aligned(x, n) for k, x in kwargs.items()}
    )


def _multinomial(level: Level, op: Any, args: tuple, kwargs: dict) -> Any:
    rows = level.expanded(args[0])
    if rows.dim() < 3:
        return op.function(rows, *args[1:], **kwargs)
    return op.function(rows.flatten(0, 1), *args[1:], **kwargs).unflatten(0, rows.shape[:2])


def _in_place(level: Level, op: Any, args: tuple, kwargs: dict) -> Any:
    if not level.has(args[0]):
        raise RuntimeError(_UNBATCHED)
    n = args[0].dim()
    return op.function(*[level.aligned(x, n) for x in args], **{k: level.aligned(x, n) for k, x in kwargs.items()})


def _channels(level: Level, op: Any, args: tuple, kwargs: dict) -> Any:
    """Dropout of whole channels: of (N, C, ...) for each sample."""
    x = level.expanded(args[0])
    if x.dim() < 4 and "feature" not in op.name:  # (C, ...)
        return op.function(x, *args[1:], **kwargs)
    return op.function(x.flatten(0, 1), *args[1:], **kwargs).unflatten(0, x.shape[:2])


def _drops(op: Any, args: tuple, kwargs: dict) -> bool:
    """Whether a call of dropout draws numbers."""
    code, tail = op.check.__code__, op.check.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    given = dict(zip(names[len(names) - len(tail) :], tail)) | dict(zip(names, args)) | kwargs
    return bool(given.get("training", given.get("train"))) and given["p"] > 0


_WITH_PARAMETERS = ("bernoulli", "multinomial", "poisson", "binomial", "normal")

for _names, _draw in {
    ("rand", "randn"): _sized,
    ("randint", "normal"): _with_size,
    ("randperm",): _one_by_one,
    ("rand_like", "randn_like", "randint_like", "bernoulli", "poisson", "binomial"): _of_tensors,
    ("multinomial",): _multinomial,
    (
        "Tensor.uniform_", "Tensor.normal_", "Tensor.random_", "Tensor.bernoulli_", "Tensor.exponential_", "Tensor.geometric_",
        "Tensor.cauchy_", "Tensor.log_normal_",
    ): _in_place,
}.items():  # fmt: skip
    for _name in _names:
        COMPOSED[_name] = _drawn(_draw)

for _name in ("dropout", "alpha_dropout", "nn.functional.dropout", "nn.functional.alpha_dropout"):
    COMPOSED[_name] = _drawn(_of_tensors, _drops)
for _name in (
    "feature_dropout", "feature_alpha_dropout", "nn.functional.feature_alpha_dropout", "nn.functional.dropout1d",
    "nn.functional.dropout2d", "nn.functional.dropout3d",
):  # fmt: skip
    COMPOSED[_name] = _drawn(_channels, _drops)


def _slopes(level: Level, function: Any, args: tuple, kwargs: dict) -> Any:
    raise RuntimeError("vmap: we do not yet support aten::rrelu. Please file an issue")


RULES["_random_slopes"] = _slopes
