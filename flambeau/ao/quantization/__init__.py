"""``torch.ao.quantization``: models made to ones that compute with integers, after training or for it.

Source: https://docs.pytorch.org/docs/stable/quantization.html
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from flambeau.ao.quantization import (
    fake_quantize,
    fuse_modules,
    observer,
    qconfig,
    quantization_mappings,
    quantize,
    stubs,
)


def _is_shown(name: str, value: Any) -> bool:
    """What the modules here define, or make of it: classes, functions, and defaults."""
    made_of = (qconfig.QConfig, observer._PartialWrapper, dict)
    home = getattr(value, "__module__", "") or ""
    return (
        name[0] != "_"
        and not isinstance(value, ModuleType)
        and (isinstance(value, made_of) or str(home).partition(".")[2].startswith("ao.quantization"))
    )


for _module in (stubs, observer, fake_quantize, qconfig, quantization_mappings, fuse_modules, quantize):
    globals().update(
        {_name: _value for _name, _value in vars(_module).items() if _is_shown(_name, _value)}
    )  # a function wins over its module
