"""Which modules of a model are sharded as units of their own: policies for ``FullyShardedDataParallel``.

A policy is a function of ``module``, ``recurse`` and ``nonwrapped_numel``, the number of elements that no inner unit has. With
``recurse`` it says whether to look at the children, without whether the module is a unit.

Source: https://docs.pytorch.org/docs/stable/fsdp.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = [
    "CustomPolicy", "ModuleWrapPolicy", "_or_policy", "always_wrap_policy", "lambda_auto_wrap_policy", "size_based_auto_wrap_policy",
    "transformer_auto_wrap_policy", "units_of",
]  # fmt: skip


class ModuleWrapPolicy:
    """Modules of some classes are units."""

    def __init__(self, module_classes: Iterable[type]) -> None:
        self._classes = tuple(module_classes)

    def __call__(self, module: Any, recurse: bool, *args: Any, **kwargs: Any) -> bool:
        return recurse or isinstance(module, self._classes)


class CustomPolicy:
    """Modules for which ``lambda_fn`` says so are units; a dict of settings in place of ``True`` is not there yet."""

    def __init__(self, lambda_fn: Callable[[Any], bool | dict[str, Any]]) -> None:
        self._lambda = lambda_fn

    def __call__(self, module: Any, recurse: bool, *args: Any, **kwargs: Any) -> bool:
        answer = recurse or self._lambda(module)
        if isinstance(answer, dict) and answer:
            raise NotImplementedError("CustomPolicy: settings for single modules are not there yet; use fully_shard for them")
        return answer is not False


def always_wrap_policy(*args: Any, **kwargs: Any) -> bool:
    """Every module is a unit."""
    return True


def lambda_auto_wrap_policy(module: Any, recurse: bool, nonwrapped_numel: int, lambda_fn: Callable[[Any], bool]) -> bool:
    """Modules for which ``lambda_fn`` is true are units."""
    return recurse or lambda_fn(module)


def transformer_auto_wrap_policy(module: Any, recurse: bool, nonwrapped_numel: int, transformer_layer_cls: set[type]) -> bool:
    """The layers of a transformer are units."""
    return recurse or isinstance(module, tuple(transformer_layer_cls))


def size_based_auto_wrap_policy(
    module: Any, recurse: bool, nonwrapped_numel: int, min_num_params: int = int(1e8), force_leaf_modules: set[type] | None = None,
    exclude_wrap_modules: set[type] | None = None,
) -> bool:  # fmt: skip
    """Modules with ``min_num_params`` elements or more that no inner unit has are units."""
    large = nonwrapped_numel >= min_num_params
    if recurse:
        return large and type(module).__name__ not in {c.__name__ for c in force_leaf_modules or {_named("MultiheadAttention")}}
    return large and type(module).__name__ not in {
        c.__name__ for c in exclude_wrap_modules or {_named("ModuleList"), _named("ModuleDict")}
    }


def _named(name: str) -> type:
    return type(name, (), {})


def _or_policy(module: Any, recurse: bool, nonwrapped_numel: int, policies: Iterable[Callable[..., bool]]) -> bool:
    """Modules that one of several policies makes units."""
    return any([policy(module=module, recurse=recurse, nonwrapped_numel=nonwrapped_numel) for policy in policies])


def units_of(root: Any, policy: Callable[..., bool], ignored: set[int]) -> list[Any]:
    """The modules in ``root`` that are to be units, inner ones first; ``ignored`` are the ids of modules that are not looked at."""
    units: list[Any] = []
    seen: set[int] = set()

    def visit(module: Any) -> int:
        """How many elements of a module units inside of it have."""
        if id(module) in ignored or id(module) in seen:
            return 0
        seen.add(id(module))
        count = sum(p.numel() for p in module.parameters())
        taken = 0
        if policy(module=module, recurse=True, nonwrapped_numel=count):
            taken = sum(map(visit, module.children()))
        if module is not root and count > taken and policy(module=module, recurse=False, nonwrapped_numel=count - taken):
            units.append(module)
            return count
        return taken

    visit(root)
    return units
