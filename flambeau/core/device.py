"""``torch.device``. flambeau computes on the CPU; tensors on ``meta`` have shapes and dtypes, and no values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core import config

_TYPES = (
    "cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia", "xla", "lazy", "vulkan", "mps", "meta",
    "hpu", "mtia", "privateuseone",
)  # fmt: skip


class device:
    """Where a tensor's memory is: ``device('cpu')``, ``device('cuda', 0)``, ``device('cuda:0')``.

    Naming a device that is absent is no error; making a tensor on it is.
    """

    __slots__ = ("type", "index")
    type: str
    index: int | None

    def __new__(cls, type: str | int | device = "cpu", index: int | None = None) -> device:
        if isinstance(type, device):
            return type
        if isinstance(type, int):
            raise RuntimeError(f"Cannot access accelerator device when none is available: device({type}) names an accelerator")
        if not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be str, not {type.__class__.__name__}")
        name, colon, number = type.partition(":")
        if name not in _TYPES:
            raise RuntimeError(f"Expected one of {', '.join(_TYPES)} device type at start of device string: {name}")
        if colon:
            if index is not None:
                raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {type}")
            if not number.isdecimal():
                raise RuntimeError(f"Invalid device string: '{type}'")
            index = int(number)
        self = object.__new__(cls)
        object.__setattr__(self, "type", name)
        object.__setattr__(self, "index", index)
        return self

    def __setattr__(self, name, value):
        raise AttributeError(f"attribute '{name}' of 'torch.device' objects is not writable")

    def __repr__(self) -> str:
        return f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self):
        if config.pickled is not None:
            return config.pickled(self)
        return _device, (self.type,) if self.index is None else (
            self.type,
            self.index,
        )  # by a function, since the class is called torch.device

    def __enter__(self) -> device:
        enter(self)
        return self

    def __exit__(self, *exc) -> None:
        leave()


def _device(type: str, index: int | None = None) -> device:
    return device(type, index)


device.__module__ = "torch"
CPU = device("cpu")
META = device("meta")


def check(d) -> device:
    """``d`` as a device that tensors can be on, else the error that PyTorch gives on a machine without it."""
    if d is None or d is CPU or d == "cpu":
        return CPU
    d = device(d)
    if d.type == "cpu":
        if d.index not in (None, 0, -1):
            raise RuntimeError(f"Invalid device, must be cpu:0 or cpu, got {d}")
        return CPU
    if d.type == "meta":
        return META
    if d.type == "cuda":
        raise AssertionError("Torch not compiled with CUDA enabled: flambeau computes on the CPU; use device='cpu'")
    raise NotImplementedError(f"Could not run on device '{d}': flambeau computes on the CPU; use device='cpu'")


enter: Callable[[device], Any] = check
leave: Callable[[], Any] = bool
"""What ``with device:`` does; see :mod:`flambeau.tensor.default_device`, which fills them."""
