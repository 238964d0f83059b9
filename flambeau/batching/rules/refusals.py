"""Ops whose results would be of another shape for each sample, or no tensors: PyTorch's refusals."""

from __future__ import annotations

from typing import Any

from flambeau.batching.batched import innermost
from flambeau.batching.rules.families import COMPOSED, call_each

_DYNAMIC = (
    "vmap: We do not support batching operators that can output dynamic shape. Attempted to vmap over aten::{}. Please file an issue "
    "at https://github.com/pytorch/pytorch/issues if you need this feature."
)
_SELECT = (
    "vmap: Attempted to vmap over `mask` in torch.masked_select(self, mask) We cannot support this because for each batch this would "
    "return a differently shaped Tensor. Please file an issue at https://github.com/pytorch/pytorch/issues if you need this feature."
)
_ALLCLOSE = (
    "vmap over torch.allclose isn't supported yet. Please file an issue at https://github.com/pytorch/pytorch/issues if you need "
    "this feature."
)


def _refused(message: str) -> Any:
    def rule(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
        if innermost((*args, *kwargs.values())) is not None:
            raise RuntimeError(message)
        return interception.as_written(op, args, kwargs)

    return rule


for _name, _message in {
    "unique": _DYNAMIC.format("_unique2"),
    "unique_consecutive": _DYNAMIC.format("unique_consecutive"),
    "allclose": _ALLCLOSE,
    "equal": "Batching rule not implemented for aten::equal. We could not generate a fallback.",
}.items():
    COMPOSED[_name] = _refused(_message)


def _nonzero(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
    if innermost(args) is not None:
        as_tuple = kwargs.get("as_tuple") or len(args) > 1 and args[1]
        numpy = "Batching rule not implemented for aten::nonzero_numpy. We could not generate a fallback."
        raise RuntimeError(numpy if as_tuple else _DYNAMIC.format("nonzero"))
    return interception.as_written(op, args, kwargs)


def _masked_select(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
    """One mask for all samples selects as many elements of each."""
    if innermost((*args[1:], *kwargs.values())) is not None:
        raise RuntimeError(_SELECT)
    return interception.as_written(op, args, kwargs)


def _each(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
    level = innermost((*args, *kwargs.values()))
    return interception.as_written(op, args, kwargs) if level is None else call_each(level, op.function, args, kwargs)


def _where(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
    if len(args) + len(kwargs) == 1 and innermost((*args, *kwargs.values())) is not None:
        raise RuntimeError(_DYNAMIC.format("where"))
    return interception.as_written(op, args, kwargs)


COMPOSED |= {"where": _where, "nonzero": _nonzero, "masked_select": _masked_select, "nonzero_static": _each}
