"""Dispatch keys: by which of them a kernel of an operator is registered, and which are left out for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from enum import Enum
from typing import Any

__all__ = ["DispatchKey", "DispatchKeySet", "ExcludeDispatchKeyGuard", "excluded"]

_BACKENDS = "CPU CUDA HIP XLA MPS IPU XPU HPU VE Lazy MTIA MAIA PrivateUse1 PrivateUse2 PrivateUse3 Meta".split()
_NAMES = [
    "Undefined", "Dense", *_BACKENDS, "Quantized", "QuantizedCPU", "QuantizedCUDA", "Sparse", "SparseCPU", "SparseCUDA", "SparseMeta", "SparseCsr",
    "SparseCsrCPU", "SparseCsrCUDA", "NestedTensor", "NestedTensorCPU", "NestedTensorCUDA", "MkldnnCPU", "Vulkan", "Metal", "FPGA",
    "BackendSelect", "Python", "Fake", "FuncTorchDynamicLayerBackMode", "Functionalize", "Named", "Conjugate", "Negative", "ZeroTensor",
    "ADInplaceOrView", "AutogradOther", "AutogradFunctionality", *["Autograd" + b for b in _BACKENDS if b != "MAIA"],
    "AutogradNestedTensor", "Tracer", *["Autocast" + b for b in ("CPU", "CUDA", "XPU", "MPS", "IPU", "HPU", "XLA", "MTIA", "MAIA", "PrivateUse1")],
    "FuncTorchBatched", "FuncTorchVmapMode", "Batched", "VmapMode", "FuncTorchGradWrapper", "DeferredInit", "PythonTLSSnapshot",
    "FuncTorchDynamicLayerFrontMode", "TESTING_ONLY_GenericWrapper", "TESTING_ONLY_GenericMode", "PreDispatch", "PythonDispatcher",
    "Autograd", "CompositeImplicitAutograd", "CompositeImplicitAutogradNestedTensor", "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
]  # fmt: skip

DispatchKey: Any = Enum("DispatchKey", {name: place for place, name in enumerate(_NAMES)}, module="torch")  # type: ignore[misc]
DispatchKey.__doc__ = "A kind of call that an operator may have a kernel of its own for."


class DispatchKeySet:
    """A set of dispatch keys.

    >>> DispatchKeySet(DispatchKey.CPU) | DispatchKeySet(DispatchKey.CUDA)
    DispatchKeySet(CPU, CUDA)
    """

    def __init__(self, *keys: Any) -> None:
        self._keys: frozenset = frozenset(
            k for key in keys for k in (key if isinstance(key, (DispatchKeySet, frozenset)) else (key,))
        )

    def has(self, key: Any) -> bool:
        return key in self._keys

    def add(self, key: Any) -> DispatchKeySet:
        return DispatchKeySet(self._keys | {key})

    def remove(self, key: Any) -> DispatchKeySet:
        return DispatchKeySet(self._keys - {key})

    def highestPriorityTypeId(self) -> Any:
        return max(self._keys, key=lambda k: k.value, default=DispatchKey["Undefined"])

    def __iter__(self):
        return iter(sorted(self._keys, key=lambda k: k.value))

    def __or__(self, other: DispatchKeySet) -> DispatchKeySet:
        return DispatchKeySet(self._keys | other._keys)

    def __and__(self, other: DispatchKeySet) -> DispatchKeySet:
        return DispatchKeySet(self._keys & other._keys)

    def __sub__(self, other: DispatchKeySet) -> DispatchKeySet:
        return DispatchKeySet(self._keys - other._keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DispatchKeySet) and self._keys == other._keys

    def __hash__(self) -> int:
        return hash(self._keys)

    def __repr__(self) -> str:
        return f"DispatchKeySet({', '.join(key.name for key in self)})"


DispatchKeySet.__module__ = "torch"


class _Excluded(threading.local):
    names: frozenset[str] = frozenset()


excluded = _Excluded()
"""``excluded.names``: the keys that calls of this thread pass by, by name."""


class ExcludeDispatchKeyGuard:
    """Inside, operators are called without the kernels that they have for these keys."""

    def __init__(self, keys: Iterable[Any]) -> None:
        self._names = frozenset(key.name for key in keys)

    def __enter__(self) -> None:
        self._before = excluded.names
        excluded.names = self._before | self._names

    def __exit__(self, *exc: Any) -> None:
        excluded.names = self._before


AUTOGRAD = frozenset(name for name in _NAMES if name.startswith("Autograd")) | {"ADInplaceOrView"}


class AutoDispatchBelowAutograd(ExcludeDispatchKeyGuard):
    """Inside, operators are called below the tape: without their kernels and formulas for gradients."""

    def __init__(self) -> None:
        self._names = AUTOGRAD
