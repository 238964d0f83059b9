"""Casting and moving: the part of Module that replaces the data of every tensor in the tree."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, Self

from flambeau import ops
from flambeau.autograd import no_grad
from flambeau.core import device as devices
from flambeau.core import dtypes
from flambeau.core.device import device as Device
from flambeau.nn.modules._fields import Fields
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor


def exchange(a: Tensor, b: Tensor, problem: str) -> None:
    """:func:`torch.utils.swap_tensors`, with the gradient of ``a`` left behind; ``RuntimeError(problem)`` where that is refused."""
    before, a.grad = a.grad, None
    try:
        import_module("flambeau.utils").swap_tensors(a, b)
    except RuntimeError as error:
        a.grad = before
        raise RuntimeError(problem) from error


def _elsewhere(error: Exception) -> Any:
    raise error


class _Conversion:
    """What programs have said of casts: see ``torch.__future__``."""

    overwrites = swaps = False


conversion = _Conversion()


class Movable(Fields):
    """What Module inherits to cast and to move its parameters and buffers."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the data of every parameter, gradient and buffer by what `fn` makes of it."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, param in self._parameters.items():
            if param is None:
                continue
            with no_grad():
                data = fn(param)
                grad = None if param.grad is None else fn(param.grad)
            if conversion.swaps:
                exchange(
                    param,
                    Parameter(data, requires_grad=param.requires_grad),
                    f"_apply(): Couldn't swap {type(self).__name__}.{name}",
                )
                param.grad = grad
            elif (
                conversion.overwrites or type(data)._opaque is not type(param)._opaque
            ):  # a dense tensor never becomes a sparse one
                self._parameters[name] = made = Parameter(data, requires_grad=param.requires_grad)
                made.grad = grad
            else:  # parameters keep their identity, so that optimizers go on knowing them
                if data is not param:
                    param.data = data
                if grad is not None and param.grad is not None and grad is not param.grad:
                    param.grad.data = grad
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move and cast all parameters and buffers: ``to(device, dtype)``, ``to(dtype)``, ``to(tensor)``.

        Only floating-point and complex tensors are cast. The module changes in place and is returned.

        >>> import flambeau as torch
        >>> torch.nn.Linear(1, 1).to(torch.float64).weight.dtype
        torch.float64
        """
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None:
            if not (dtype.is_floating_point or dtype.is_complex):
                raise TypeError(f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}")
            if dtype.is_complex:
                warnings.warn(
                    "Complex modules are a new feature under active development whose design may "
                    "change, and some modules might not work as expected when using complex tensors "
                    "as parameters or buffers.",
                    stacklevel=2,
                )

        def convert(t: Tensor) -> Tensor:
            if t.is_meta and device is not None and devices.check(device) is not t.device:
                raise NotImplementedError(
                    "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of torch.nn.Module.to() "
                    "when moving module from meta to a different device."
                )
            target = dtype if t.is_floating_point() or t.is_complex() else None
            if memory_format is not None and t.dim() in (4, 5):
                return t.to(device, target, non_blocking, memory_format=memory_format)
            return t.to(device, target, non_blocking)

        return self._apply(convert)

    def type(self, dst_type: Any) -> Self:
        """Cast all parameters and buffers to `dst_type`."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Cast all floating-point parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self) -> Self:
        """Cast all floating-point parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self) -> Self:
        """Cast all floating-point parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self) -> Self:
        """Cast all floating-point parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def cpu(self) -> Self:
        """Move all parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move all parameters and buffers to the GPU."""
        return self._apply(lambda t: t.cuda(device))

    def ipu(self, device: Any = None) -> Self:
        """Refuses, as there is no such device."""
        return self._apply(lambda t: _elsewhere(RuntimeError("PyTorch is not linked with support for ipu devices")))

    def xpu(self, device: Any = None) -> Self:
        """Refuses, as there is no such device."""
        return self._apply(lambda t: _elsewhere(AssertionError("Torch not compiled with XPU enabled")))

    def mtia(self, device: Any = None) -> Self:
        """Refuses, as there is no such device."""
        return self._apply(lambda t: _elsewhere(AssertionError("Torch not compiled with MTIA enabled")))

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move to `device` without copying the values."""
        return self._apply(lambda t: ops.empty_like(t, device=device), recurse=recurse)

    def share_memory(self) -> Self:
        """Move the storages of all parameters and buffers to shared memory."""
        return self._apply(lambda t: t.share_memory_())


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Device | None, dtypes.dtype | None, bool, Any]:
    """Device, dtype, ``non_blocking`` and memory format from the arguments of a ``to``, in whichever of its three forms they came."""
    forms = {Tensor: ("tensor", "non_blocking", "copy"), dtypes.dtype: ("dtype", "non_blocking", "copy")}
    names = next(
        (form for kind, form in forms.items() if args and isinstance(args[0], kind)), ("device", "dtype", "non_blocking", "copy")
    )
    given = dict(zip(names, args, strict=False))
    other = {"tensor": kwargs["tensor"]} if isinstance(kwargs.get("tensor"), Tensor) and not args else {}
    wrong = (
        len(args) > len(names)
        or kwargs.keys() & given.keys()
        or kwargs.keys() - {"device", "dtype", "non_blocking", "copy", "memory_format"} - other.keys()
    )
    given |= kwargs
    dtype, non_blocking = given.get("dtype"), given.get("non_blocking", False)
    if wrong or not (dtype is None or isinstance(dtype, dtypes.dtype)) or not isinstance(non_blocking, bool):
        came = ", ".join([*(type(a).__name__ for a in args), *(f"{k}={type(v).__name__}" for k, v in kwargs.items())]) + (
            ", " if kwargs else ""
        )
        raise TypeError(
            f"to() received an invalid combination of arguments - got ({came}), but expected one of:\n"
            " * (torch.device device = None, torch.dtype dtype = None, bool non_blocking = False, bool copy = False, *, "
            "torch.memory_format memory_format = None)\n"
            " * (torch.dtype dtype, bool non_blocking = False, bool copy = False, *, torch.memory_format memory_format = None)\n"
            " * (Tensor tensor, bool non_blocking = False, bool copy = False, *, torch.memory_format memory_format = None)\n"
        )
    if "copy" in given:
        raise RuntimeError(".to() does not accept copy argument")
    if "tensor" in given:
        return given["tensor"].device, given["tensor"].dtype, non_blocking, given.get("memory_format")
    device = given.get("device")
    if device is not None and not isinstance(device, Device):
        device = Device(device)
    return device, dtype, non_blocking, given.get("memory_format")
