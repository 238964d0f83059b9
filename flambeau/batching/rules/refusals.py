"""Ops whose results would be of another shape for each sample, or no tensors: PyTorch's refusals."""

from __future__ import annotations

from typing import Any

from flambeau.batching.batched import innermost
from flambeau.batching.rules.families import COMPOSED

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
    "nonzero": _DYNAMIC.format("nonzero"),
    "unique": _DYNAMIC.format("_unique2"),
    "unique_consecutive": _DYNAMIC.format("unique_consecutive"),
    "masked_select": _SELECT,
    "allclose": _ALLCLOSE,
    "equal": "Batching rule not implemented for aten::equal. We could not generate a fallback.",
}.items():
    COMPOSED[_name] = _refused(_message)


def _where(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
    if len(args) + len(kwargs) == 1 and innermost((*args, *kwargs.values())) is not None:
        raise RuntimeError(_DYNAMIC.format("where"))
    return interception.as_written(op, args, kwargs)


COMPOSED["where"] = _where
