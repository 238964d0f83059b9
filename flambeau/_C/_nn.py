"""``torch._C._nn``: the operators behind ``torch.nn.functional``, as ``torch.ops.aten`` has them, and what reads the arguments of
``to``."""

from __future__ import annotations

import importlib
from typing import Any

_ELSEWHERE = {
    "_parse_to": "nn.modules._moves:_parse_to", "flatten_dense_tensors": "_utils:_flatten_dense_tensors",
    "unflatten_dense_tensors": "_utils:_unflatten_dense_tensors", "pad_sequence": "nn.utils.rnn:pad_sequence", "pad": "nn.functional:pad",
    "scaled_dot_product_attention": "nn.functional:scaled_dot_product_attention", "one_hot": "nn.functional:one_hot",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    place = _ELSEWHERE.get(name)
    if place is not None:
        module, _, own = place.partition(":")
        return getattr(importlib.import_module(f"flambeau.{module}"), own)
    import flambeau

    try:
        return getattr(flambeau.ops.aten, name)
    except AttributeError:
        raise AttributeError(f"module 'torch._C._nn' has no attribute '{name}'", name=name) from None
