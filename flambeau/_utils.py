"""``torch._utils``: helpers of PyTorch's own that libraries use: many tensors as one, exceptions for another thread, indices of
devices."""

from __future__ import annotations

import sys
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flambeau import ops
from flambeau.core.device import device as Device
from flambeau.core.dtypes import dtype as Dtype
from flambeau.tensor import Tensor

__all__: list[str] = []


# --- many tensors as one -----------------------------------------------------------------------------------------


def _flatten_dense_tensors(tensors: Iterable[Tensor]) -> Tensor:
    """All elements of ``tensors``, of one dtype, one tensor after the other.

    >>> import flambeau as torch
    >>> from flambeau._utils import _flatten_dense_tensors, _unflatten_dense_tensors
    >>> parts = torch.zeros(2), torch.ones(1, 2)
    >>> flat = _flatten_dense_tensors(parts)
    >>> flat
    tensor([0., 0., 1., 1.])
    >>> _unflatten_dense_tensors(flat, parts)
    (tensor([0., 0.]), tensor([[1., 1.]]))
    """
    return ops.cat([tensor.contiguous().view(-1) for tensor in tensors])


def _unflatten_dense_tensors(flat: Tensor, tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Views of ``flat`` in the shapes of ``tensors``; undoes :func:`_flatten_dense_tensors`."""
    parts, start = [], 0
    for tensor in tensors:
        n = tensor.numel()
        parts.append(flat.narrow(0, start, n).view(tensor.shape))
        start += n
    return tuple(parts)


def _take_tensors(tensors: Iterable[Tensor], size_limit: int) -> Iterator[list[Tensor]]:
    """Lists of tensors of one type that take at most ``size_limit`` bytes, or are one tensor."""
    open_lists: dict[str, tuple[list[Tensor], int]] = {}
    for tensor in tensors:
        parts = (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,)
        size = sum(part.numel() * part.element_size() for part in parts)
        together, so_far = open_lists.get(tensor.type(), ([], 0))
        if together and so_far + size > size_limit:
            yield together
            together, so_far = [], 0
        together.append(tensor)
        open_lists[tensor.type()] = together, so_far + size
    yield from (together for together, _ in open_lists.values() if together)


def _reorder_tensors_as(tensors: Iterable[Tensor], ordered_tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """``tensors``, which are ordered within each type, such that their types follow each other as those of the others."""
    by_type: dict[str, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        by_type[tensor.type()].append(tensor)
    rows = {name: iter(row) for name, row in by_type.items()}
    return tuple(next(rows[tensor.type()]) for tensor in ordered_tensors)


# --- exceptions --------------------------------------------------------------------------------------------------


class KeyErrorMessage(str):
    """A text that a ``KeyError`` shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return self


class ExceptionWrapper:
    """An exception on its way to another thread or process: its class, and its traceback as text.

    >>> from flambeau._utils import ExceptionWrapper
    >>> try:
    ...     [][1]
    ... except IndexError:
    ...     caught = ExceptionWrapper(where="in a worker")
    >>> caught.reraise()
    Traceback (most recent call last):
        ...
    IndexError: Caught IndexError in a worker.
    Original Traceback (most recent call last):
    ...
    """

    def __init__(self, exc_info: Any = None, where: str = "in background") -> None:
        exc_info = sys.exc_info() if exc_info is None else exc_info
        self.exc_type: type[Exception] = exc_info[0]
        self.exc_name = self.exc_type.__name__
        self.exc_msg = "".join(traceback.format_exception(*exc_info))
        self.where = where

    def reraise(self) -> None:
        """Raises an exception of the same class, where one can be made of a message, or else a ``RuntimeError``."""
        message = f"Caught {self.exc_name} {self.where}.\nOriginal {self.exc_msg}"
        if getattr(self.exc_type, "message", None):
            raise self.exc_type(message=message)  # type: ignore[call-arg]
        try:
            error = self.exc_type(KeyErrorMessage(message) if self.exc_type is KeyError else message)
        except Exception:
            error = RuntimeError(message)
        raise error from None


# --- devices and dtypes ------------------------------------------------------------------------------------------


def _get_device_index(device: Any, optional: bool = False, allow_cpu: bool = False) -> int | None:
    """The index of a device; -1 for the CPU where ``allow_cpu``, ``None`` for one without an index where ``optional``."""
    device = Device(device) if isinstance(device, str) else device
    if isinstance(device, Device):
        if device.type == "cpu" and not allow_cpu:
            raise ValueError(f"Expected a non cpu device, but got: {device}")
        index = -1 if device.type == "cpu" else device.index
    else:
        index = device if isinstance(device, int) else None
    if index is None and not optional:
        raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{device}")
    return index


def _get_available_device_type() -> str | None:
    """The type of the accelerator; ``None``: there is none."""
    return None


def _get_all_device_indices() -> Sequence[int] | None:
    """The indices of the accelerators; ``None``: there are none."""
    return None


def _get_device_module(device_type: str) -> Any:
    """The module of a type of device: ``torch.cuda`` of ``"cuda"``."""
    import flambeau

    module = getattr(flambeau, device_type, None)
    if module is None:
        raise RuntimeError(f"Device '{device_type}' does not have a corresponding module registered as 'torch.{device_type}'.")
    return module


def _is_privateuse1_backend_available() -> bool:
    """Whether somebody has registered a type of device of their own, which cannot be done."""
    return False


def _element_size(dtype: Dtype) -> int:
    """The bytes of an element."""
    if not isinstance(dtype, Dtype):
        raise RuntimeError(f"expected torch.dtype, but got {type(dtype)}")
    return dtype.itemsize


def __getattr__(name: str) -> Any:
    """What makes tensors of what is in files."""
    from flambeau.serialization.rebuilding import TENSOR_MAKERS  # with it comes all of nn

    if name == "torch":  # by way of which PyTorch's pickles name memory formats
        return sys.modules["flambeau"]
    maker = TENSOR_MAKERS.get(f"torch._utils.{name}")
    if maker is None:
        raise AttributeError(f"module 'torch._utils' has no attribute '{name}'", name=name)
    return maker
