"""``torch.utils._foreach_utils``: lists of tensors sorted for PyTorch's operations on lists, as optimizers of users' take it from
there."""

from __future__ import annotations

from typing import Any

from flambeau.tensor import Tensor

__all__ = ["_device_has_foreach_support", "_get_foreach_kernels_supported_devices", "_group_tensors_by_device_and_dtype"]


def _get_foreach_kernels_supported_devices() -> list[str]:
    """Devices on which operations on lists are faster than one after the other: none."""
    return []


def _get_fused_kernels_supported_devices() -> list[str]:
    """Devices that have an optimizer's step as one kernel."""
    return ["cpu"]


def _device_has_foreach_support(device: Any) -> bool:
    """Whether operations on lists may be called: they always may on the CPU."""
    return device.type == "cpu"


def _group_tensors_by_device_and_dtype(
    tensorlistlist: list[list], with_indices: bool = False
) -> dict[tuple, tuple[list[list], list[int]]]:
    """The columns of several lists, sorted by the device and dtype of the first list's tensor; and where they stood."""
    groups: dict[tuple, tuple[list[list], list[int]]] = {}
    for i, column in enumerate(zip(*[part or [None] * len(tensorlistlist[0]) for part in tensorlistlist], strict=True)):
        first = column[0]
        if not isinstance(first, Tensor):
            raise TypeError("the first list must hold tensors")
        lists, indices = groups.setdefault((first.device, first.dtype), ([[] for _ in column], []))
        for to, value in zip(lists, column, strict=True):
            to.append(value)
        if with_indices:
            indices.append(i)
    return {
        key: ([[] if not given else found for found, given in zip(lists, tensorlistlist, strict=True)], indices)
        for key, (lists, indices) in groups.items()
    }
