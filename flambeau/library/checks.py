"""``torch.library.opcheck``: whether an operator does what was registered of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.core.nests import tree_leaves, tree_map
from flambeau.library import operators
from flambeau.tensor import Tensor

__all__ = ["opcheck"]


class OpCheckError(Exception):
    """A check of an operator has failed."""


def _copies(nest: Any) -> Any:
    return tree_map(lambda v: v.detach().clone().requires_grad_(v.requires_grad) if isinstance(v, Tensor) else v, nest)


def _schema(op: operators.OpOverload, args: tuple, kwargs: dict[str, Any], **tolerances: Any) -> None:
    """Only what the schema says is written to is changed, and results share no memory that it does not tell of."""
    given = _copies((args, kwargs))
    before = _copies(given)
    results = op(*given[0], **given[1])
    bound, named = op._schema.bind(*given)
    old, old_named = op._schema.bind(*before)
    kept: set = set()
    for place, a in enumerate(op._schema.arguments):
        now, then = (named[a.name], old_named[a.name]) if a.kwarg_only else (bound[place], old[place])
        for x, y in zip(tree_leaves(now), tree_leaves(then), strict=True):
            if isinstance(x, Tensor):
                same = x.shape == y.shape and bool(((x == y) | ((x != x) & (y != y))).all())
                if not a.is_write and not same:
                    raise OpCheckError(f"Argument {a.name} is not defined as mutable but was mutated")
                if a.alias_info is None:
                    kept.add(x._storage)
    for r in tree_leaves(results):
        if isinstance(r, Tensor) and r._storage in kept:
            raise OpCheckError("Argument is not defined to alias output but was aliasing")


def _registration(op: operators.OpOverload, args: tuple, kwargs: dict[str, Any], **tolerances: Any) -> None:
    """Gradients, where they are asked for, come from the operator's own entry on the tape."""
    given = _copies((args, kwargs))
    if not any(isinstance(v, Tensor) and v.requires_grad for v in tree_leaves(given)) or op._schema.is_mutable:
        return
    if op.autograd is None and not {"Autograd", "AutogradCPU", "CompositeImplicitAutograd"} & set(op.kernels):
        results = op(*given[0], **given[1])
        if any(isinstance(r, Tensor) and r.requires_grad for r in tree_leaves(results)):
            raise OpCheckError(
                f"{op}: an output requires a gradient, but no autograd kernel was registered. Register the operator's formula with "
                "torch.library.register_autograd"
            )


def _fake(op: operators.OpOverload, args: tuple, kwargs: dict[str, Any], **tolerances: Any) -> None:
    """The results for tensors without data are like those for tensors with."""
    given = _copies((args, kwargs))
    real = tree_leaves(op(*given[0], **given[1]))
    without = tree_map(lambda v: v.detach().to("meta") if isinstance(v, Tensor) else v, (args, kwargs))
    found = tree_leaves(op(*without[0], **without[1]))
    if len(real) != len(found):
        raise OpCheckError(f"{op}: {len(real)} results, but its fake impl gives {len(found)}")
    for x, y in zip(real, found, strict=True):
        if isinstance(x, Tensor):
            for what in ("shape", "dtype", "stride"):
                a, b = (getattr(v, what)() if what == "stride" else getattr(v, what) for v in (x, y))
                if a != b:
                    raise OpCheckError(f"{op}: the {what} of a result is {a}, but that of its fake impl {b}")


def _compiled(op: operators.OpOverload, args: tuple, kwargs: dict[str, Any], *, rtol: Any = None, atol: Any = None) -> None:
    """A captured function that calls the operator gives the same, and the same gradients."""
    from flambeau.compiler import compile
    from flambeau.testing import assert_close

    def run(call: Callable) -> list:
        given = _copies((args, kwargs))
        results = tree_leaves(call(*given[0], **given[1]))
        leaves = [v for v in tree_leaves(given) if isinstance(v, Tensor) and v.requires_grad]
        wanted = [r for r in results if isinstance(r, Tensor) and r.requires_grad]
        if leaves and wanted and op.autograd is not None:
            sum([r.sum() for r in wanted]).backward()  # type: ignore[union-attr]
        return [*results, *[v.grad for v in leaves]]

    def captured(*a: Any, **k: Any) -> Any:
        return op(*a, **k)

    for x, y in zip(run(op), run(compile(captured)), strict=True):
        if isinstance(x, Tensor):
            assert_close(y, x, rtol=rtol, atol=atol)


_CHECKS: dict[str, Callable] = {
    "test_schema": _schema, "test_autograd_registration": _registration, "test_faketensor": _fake, "test_aot_dispatch_dynamic": _compiled,
}  # fmt: skip


def opcheck(
    op: Any, args: tuple, kwargs: dict[str, Any] | None = None, *, test_utils: str | Sequence[str] = tuple(_CHECKS),
    raise_exception: bool = True, atol: float | None = None, rtol: float | None = None,
) -> dict[str, str]:  # fmt: skip
    """Tests an operator on some arguments: its schema, its place on the tape, its results without data, and captured.

    Returns:
        for each test ``"SUCCESS"`` or what is wrong.

    Raises:
        OpCheckError: a test fails, with ``raise_exception``.

    >>> import flambeau as torch
    >>> @torch.library.custom_op("docs::plus_one", mutates_args=())
    ... def plus_one(x: torch.Tensor) -> torch.Tensor:
    ...     return x + 1
    >>> torch.library.opcheck(plus_one, (torch.ones(2),), test_utils="test_schema")
    {'test_schema': 'SUCCESS'}
    """
    names = [test_utils] if isinstance(test_utils, str) else list(test_utils)
    unknown = [name for name in names if name not in _CHECKS and name != "test_aot_dispatch_static"]
    if unknown:
        raise ValueError(f"opcheck: test_utils must be among {set(_CHECKS)}, got {unknown}")
    overload = operators.lookup(op)
    results: dict[str, str] = {}
    for name in names:
        try:
            _CHECKS.get(name, _compiled)(overload, args, kwargs or {}, **({"rtol": rtol, "atol": atol} if "aot" in name else {}))
            results[name] = "SUCCESS"
        except Exception as error:
            if raise_exception:
                raise OpCheckError(f"opcheck(op, ...): {name} failed with {error}") from error
            results[name] = f"{type(error).__name__}: {error}"
    return results
