"""``torch.ao.nn.intrinsic``: layers that belong together, such as a convolution and the ReLU after it.

Source: https://docs.pytorch.org/docs/stable/quantization-support.html#torch-ao-nn-intrinsic
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flambeau.nn.modules import activation, batchnorm, conv, linear
from flambeau.nn.modules.container import Sequential

_DIMS = {1: "1d", 2: "2d", 3: "3d"}
_PARTS: dict[str, tuple] = {
    **{f"ConvReLU{n}": (getattr(conv, f"Conv{n}"), activation.ReLU) for n in _DIMS.values()},
    **{f"ConvBn{n}": (getattr(conv, f"Conv{n}"), getattr(batchnorm, f"BatchNorm{n}")) for n in _DIMS.values()},
    **{f"ConvBnReLU{n}": (getattr(conv, f"Conv{n}"), getattr(batchnorm, f"BatchNorm{n}"), activation.ReLU) for n in _DIMS.values()},
    "BNReLU2d": (batchnorm.BatchNorm2d, activation.ReLU), "BNReLU3d": (batchnorm.BatchNorm3d, activation.ReLU),
    "LinearReLU": (linear.Linear, activation.ReLU), "LinearBn1d": (linear.Linear, batchnorm.BatchNorm1d),
    "LinearLeakyReLU": (linear.Linear, activation.LeakyReLU), "LinearTanh": (linear.Linear, activation.Tanh),
}  # fmt: skip


class _FusedModule(Sequential):
    """Layers that are computed as one; as floats, one after the other."""


def _fused(name: str, parts: tuple) -> type[_FusedModule]:
    def __init__(self: Any, *modules: Any) -> None:
        if len(modules) != len(parts) or not all(isinstance(m, kind) for m, kind in zip(modules, parts, strict=True)):
            raise AssertionError(f"Incorrect types for input modules: {name} takes {', '.join(kind.__name__ for kind in parts)}")
        Sequential.__init__(self, *modules)

    doc = f"{', '.join(kind.__name__ for kind in parts)}, one after the other. They are computed as one when they are quantized."
    return type(name, (_FusedModule,), {"__init__": __init__, "__doc__": doc, "__module__": __name__})


for _name, _parts in _PARTS.items():
    globals()[_name] = _fused(_name, _parts)

__all__ = [*_PARTS]


def __getattr__(name: str) -> Any:
    if name in ("qat", "quantized"):  # it is made of what stands here
        return import_module(f"flambeau.ao.nn.intrinsic.{name}")
    raise AttributeError(f"module 'torch.ao.nn.intrinsic' has no attribute '{name}': flambeau does not have it", name=name)
