"""The table of rules, and the rules that many ops share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dispatch, ops
from flambeau.batching.batched import Level
from flambeau.core.size import wrap_dim
from flambeau.ops.record import Op, registry
from flambeau.ops.spelling import in_other_words, respelled
from flambeau.tensor.tensor import Tensor

RULES: dict[str, Callable] = {}
"""By an op's name the rule of a primitive: ``rule(level, function, args, kwargs)``."""

COMPOSED: dict[str, Callable] = {}
"""By name what is done with a composite that is not run as it is written: ``rule(interception, op, args, kwargs)``."""


def rule(*names: str) -> Callable:
    """Makes a function the rule of these ops. It is called with the level, the op's function and the arguments by name."""

    def decorate(function: Callable) -> Callable:
        for name in names:
            op = registry[name]
            RULES[op.name] = _bound(op, function)
        return function

    return decorate


def _bound(op: Op, function: Callable) -> Callable:
    code = op.check.__code__
    names = code.co_varnames[: code.co_argcount]
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    variadic = code.co_varnames[code.co_argcount + code.co_kwonlyargcount] if code.co_flags & 0x04 else None
    tail = op.check.__defaults__ or ()
    defaults = {**dict(zip(names[len(names) - len(tail) :], tail)), **(op.check.__kwdefaults__ or {})}

    def bound(level: Level, public: Callable, args: tuple, kwargs: dict) -> Any:
        if kwargs:
            kwargs = respelled((*names, *keywords), kwargs)
        if len(args) > len(names) and variadic is None:
            args, kwargs = in_other_words(op.short_name, op.check, args, kwargs) or (args, kwargs)
        given = dict(defaults)
        given.update(zip(names, args))
        if variadic is not None:
            rest = args[len(names) :]
            given[variadic] = tuple(rest[0]) if len(rest) == 1 and isinstance(rest[0], (tuple, list)) else rest
            if variadic in kwargs:
                kwargs[variadic] = _listed(kwargs[variadic])
        given.update(kwargs)
        if (
            len(args) > len(names)
            and variadic is None
            or not given.keys() >= set(names)
            or given.keys() - {*names, *keywords, variadic}
        ):
            op.check(*args, **kwargs)  # raises
        return function(Call(level, public, given, names, variadic))

    return bound


def _listed(x: Any) -> tuple:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


class Call:
    """A call with a batched tensor among its arguments, which are attributes, and ``call(**others)``: the op on all samples."""

    def __init__(self, level: Level, function: Any, arguments: dict, names: tuple, variadic: str | None) -> None:
        self.level, self.function, self.arguments, self._names, self._variadic = level, function, arguments, names, variadic

    def __getattr__(self, name: str) -> Any:
        try:
            return self.arguments[name]
        except KeyError:
            raise AttributeError(name) from None

    def __call__(self, **replaced: Any) -> Any:
        given = {**self.arguments, **replaced}
        args = [given.pop(name) for name in self._names]
        if self._variadic is not None:
            args.extend(given.pop(self._variadic))
        return self.function(*args, **given)

    def is_batched(self, *names: str) -> bool:
        """Whether one of these arguments is a batched tensor of the level."""
        return any([self.level.has(self.arguments[name]) for name in names])

    def expanded(self, *names: str) -> dict[str, Any]:
        """All tensors among the arguments (or those of these names), with the samples as their first dim."""
        return {k: self.level.expanded(v) for k, v in self.arguments.items() if isinstance(v, Tensor) and (not names or k in names)}


def values_of(level: Level, x: Any) -> Any:
    """The values of a batched tensor of ``level``; anything else as it is."""
    return x._value if level.has(x) else x


# --- one call for each sample ------------------------------------------------------------------------------------


def call_each(level: Level, function: Callable, args: tuple, kwargs: dict) -> Any:
    """The rule of primitives without one: one call for each sample, and the results stacked."""

    def sample(x: Any, i: int) -> Any:
        if x.__class__ is tuple or x.__class__ is list:
            return x.__class__([sample(y, i) for y in x])
        return x._value.select(0, i) if level.has(x) else x

    results = [function(*[sample(x, i) for x in args], **{k: sample(x, i) for k, x in kwargs.items()}) for i in range(level.size)]
    if not results:
        name = function.op.name  # type: ignore[attr-defined]
        raise RuntimeError(f"vmap: {name} has no batching rule, so there is no call that would say what it returns for 0 samples")
    if isinstance(results[0], Tensor):
        return level.wrap(ops.stack(results))
    return level.wrap(results[0].__class__([ops.stack(list(column)) for column in zip(*results, strict=True)]))


# --- element by element --------------------------------------------------------------------------------------------


def pointwise(level: Level, function: Callable, args: tuple, kwargs: dict) -> Any:
    """The rule of elementwise ops: the samples' dims are aligned from the right, and what is not batched broadcasts."""
    tensors = (
        [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)] if kwargs else [x for x in args if isinstance(x, Tensor)]
    )
    n = len(tensors[0]._shape)
    dtype = tensors[0]._dtype
    mixed = False
    for x in tensors[1:]:
        if len(x._shape) > n:
            n = len(x._shape)
        if x._dtype is not dtype:
            mixed = True
    values = [level.aligned(x, n) for x in args]
    named = {k: level.aligned(x, n) for k, x in kwargs.items()} if kwargs else kwargs
    if mixed:
        # A sample without dims yields to those that have some; the samples together have a dim.
        wanted = dispatch.result_type(*tensors)
        if dispatch.result_type(*[v for v in (*values, *named.values()) if isinstance(v, Tensor)]) is not wanted:
            values = [v.to(wanted) if isinstance(v, Tensor) else v for v in values]
            named = {k: v.to(wanted) if isinstance(v, Tensor) else v for k, v in named.items()}
    return level.wrap(function(*values, **named))


def _broadcast(level: Level, function: Callable, args: tuple, kwargs: dict) -> Any:
    """The rule of primitives that broadcast but do not promote: the samples' dims are aligned from the right."""
    given = (*args, *kwargs.values())
    n = max([len(x._shape) for x in given if isinstance(x, Tensor)])
    return level.wrap(function(*[level.aligned(x, n) for x in args], **{k: level.aligned(x, n) for k, x in kwargs.items()}))


for _name in ("_where", "complex", "polar", "abs", "angle", "frexp", "_to_dtype", "_clone"):
    RULES[_name] = _broadcast


# --- leading dims --------------------------------------------------------------------------------------------------

LEADING = (
    "tril", "triu", "linalg.inv", "linalg.inv_ex", "aten.conjugate_cofactors", "linalg.det", "linalg.slogdet",
    "linalg.matrix_exp", "aten.linalg_cholesky", "aten.linalg_cholesky_ex", "aten.cholesky_inverse", "aten.permutation_of_pivots", "linalg.lu_factor_ex", "geqrf", "aten.linalg_eigh",
    "aten.linalg_eigvalsh", "aten.linalg_pinv", "_linalg_lstsq", "_mapped_pad", "linalg.eig", "linalg.eigvals", "linalg.svd", "linalg.svdvals", "aten.pdist", "linalg.ldl_factor_ex",
    "linalg.ldl_solve", "_one_hot",
)  # fmt: skip
"""Ops on the last dims of their tensors, which take any others before them."""


@rule(*LEADING)
def leading(call: Call) -> Any:
    return call.level.wrap(call(**call.expanded()))


@rule("linalg.qr")
def qr(call: Call) -> Any:
    Q, R = results = call(A=call.A._value)
    return results.__class__((Q if call.mode == "r" else call.level.wrap(Q), call.level.wrap(R)))


@rule("aten.matmul", "aten.cdist", "aten.linalg_solve", "aten.linalg_solve_again", "aten.linalg_solve_triangular", "cholesky_solve")
def broadcasting(call: Call) -> Any:
    """Two matrices, with leading dims that broadcast."""
    tensors = {k: x for k, x in call.arguments.items() if isinstance(x, Tensor)}
    n = max([len(x._shape) for x in tensors.values()])
    return call.level.wrap(call(**{k: call.level.aligned(x, n) for k, x in tensors.items()}))


# --- along dims ----------------------------------------------------------------------------------------------------

ALONG = {
    "dim": (
        "softmax", "log_softmax", "cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "sort", "topk", "kthvalue", "mode",
        "aten.max", "aten.min", "aten.median", "aten.nanmedian", "gather", "_scatter", "scatter_add", "scatter_reduce", "logsumexp",
        "aten.fft_c2c", "aten.fft_r2c", "aten.fft_c2r",
    ),
    "dims": ("flip",),
}  # fmt: skip
"""By the parameter that names the dims, ops along some of their tensors' dims."""


def moved(dim: Any, n: int) -> Any:
    """A dim, or several, of a sample with ``n`` dims as one of all samples."""
    if isinstance(dim, (tuple, list)):
        return tuple([moved(d, n) for d in dim])
    return wrap_dim(dim, n or 1) + 1


def along(call: Call, *names: str) -> Any:
    """The op on all samples, with the dims that ``names`` say moved by one."""
    tensors = call.expanded()
    n = len(next(iter(tensors.values()))._shape) - 1
    if not n:  # a tensor without dims counts as one with a dim of one element
        tensors = {k: v.unsqueeze(1) if len(v._shape) == 1 else v for k, v in tensors.items()}
    results = call(**tensors, **{name: moved(call.arguments[name], n) for name in names})
    if not n:
        many = not isinstance(results, Tensor)
        without = [r.squeeze(1) if len(r._shape) == 2 else r for r in (results if many else (results,))]
        results = results.__class__(without) if many else without[0]
    return call.level.wrap(results)


for _parameter, _names in ALONG.items():
    rule(*_names)(lambda call, _parameter=_parameter: along(call, _parameter))


# --- samples that are more of what there may be many of ----------------------------------------------------------


FOLDED = (
    "_max_pool_grad", "_max_pool1d", "_max_pool2d", "_max_pool3d", "_avg_pool_grad", "_avg_pool1d", "_avg_pool2d", "_avg_pool3d",
    "_adaptive_avg_pool_grad", "_adaptive_avg_pool1d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_adaptive_max_pool1d",
    "_adaptive_max_pool2d", "_adaptive_max_pool3d", "_upsample", "_upsample_grad", "_im2col", "_col2im", "_fractional_max_pool",
    "_attention", "_attention_grad",
)  # fmt: skip
"""Ops that do the same to each slice of the first dim of their tensors, of which all samples together just have more."""


@rule(*FOLDED)
def folded(call: Call) -> Any:
    tensors = call.expanded()
    results = call(**{k: v.flatten(0, 1) for k, v in tensors.items()})
    first = next(iter(tensors.values()))._shape[:2]
    if isinstance(results, Tensor):
        return call.level.wrap(results.unflatten(0, first))
    return call.level.wrap(results.__class__([r.unflatten(0, first) for r in results]))
