"""Fake tensors: like those on the device ``meta`` without values, and on the device of what they stand for.

>>> import flambeau as torch
>>> from flambeau._subclasses.fake_tensor import FakeTensorMode
>>> with FakeTensorMode() as mode:
...     net = torch.nn.Linear(1000000, 1000000)
...     out = net(torch.randn(4, 1000000))
>>> out.shape, out.device, out.requires_grad
(torch.Size([4, 1000000]), device(type='cpu'), True)
>>> mode.from_tensor(torch.ones(2, 3)).sum(0)
FakeTensor(..., size=(3,))

Source: https://docs.pytorch.org/docs/stable/torch.compiler_fake_tensor.html
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from flambeau.core import device as devices
from flambeau.core.device import device
from flambeau.core.dtypes import dtype as Dtype
from flambeau.nn.parameter import Parameter
from flambeau.overrides import TorchFunctionMode
from flambeau.tensor import Tensor
from flambeau.tensor.default_device import factories
from flambeau.tensor.overriding import state
from flambeau.tensor.storage import MetaStorage
from flambeau.tensor.tensor import make_tensor

__all__ = [
    "DataDependentOutputException", "DynamicOutputShapeException", "FakeTensor", "FakeTensorConverter", "FakeTensorMode",
    "UnsupportedFakeTensorException", "is_fake", "unset_fake_temporarily",
]  # fmt: skip


class UnsupportedFakeTensorException(RuntimeError):
    """What an operation does without values is not known."""

    def __init__(self, reason: Any) -> None:
        super().__init__(reason)
        self.reason = reason


class DynamicOutputShapeException(RuntimeError):
    """The shape of a result depends on values."""

    def __init__(self, func: Any) -> None:
        super().__init__(func)
        self.func = func


class DataDependentOutputException(RuntimeError):
    """A value is asked for."""

    def __init__(self, func: Any) -> None:
        super().__init__(func)
        self.func = func


class FakeStorage(MetaStorage):
    """What a fake tensor has in place of memory."""

    shown = "FakeTensor"

    def __init__(self, size: int, dtype: Dtype, mode: FakeTensorMode, where: device = devices.CPU) -> None:
        super().__init__(size, dtype)
        self.mode, self.device = mode, where

    def another(self, size: int, dtype: Dtype) -> FakeStorage:
        return FakeStorage(size, dtype, self.mode, self.device)

    def refuse_value(self) -> NoReturn:
        raise DataDependentOutputException("aten._local_scalar_dense.default")

    def refuse_shape(self, name: str) -> NoReturn:
        raise DynamicOutputShapeException(f"aten.{name}.default")

    def refuse_others(self, tensors: list[Tensor]) -> None:
        if not self.mode.allow_non_fake_inputs and not all([isinstance(t._storage, FakeStorage) for t in tensors]):
            raise AssertionError(
                "Please convert all Tensors to FakeTensors first or instantiate FakeTensorMode with 'allow_non_fake_inputs'."
            )


class _Kind(type(Tensor)):  # type: ignore[misc]
    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, Tensor) and isinstance(getattr(x, "_storage", None), FakeStorage)


class FakeTensor(Tensor, metaclass=_Kind):
    """A tensor without values. ``isinstance`` says which are; :meth:`from_tensor` makes one."""

    __torch_function__ = Parameter.__torch_function__

    @staticmethod
    def from_tensor(t: Tensor, fake_mode: FakeTensorMode) -> Tensor:
        """``fake_mode.from_tensor(t)``."""
        return fake_mode.from_tensor(t)


def is_fake(x: Any) -> bool:
    """Whether it is a fake tensor."""
    return isinstance(x, FakeTensor)


class FakeTensorConverter:
    """Makes fake tensors, the same one for the same tensor each time."""

    def __init__(self) -> None:
        self._known: dict[int, tuple] = {}

    def from_real_tensor(self, fake_mode: FakeTensorMode, t: Tensor, **settings: Any) -> Tensor:
        """A fake tensor of the shape, strides, dtype and device of ``t``; a parameter of a parameter."""
        if is_fake(t):
            return t
        known = self._known.get(id(t))
        if known is not None and known[0]() is t:
            return known[1]
        shape, strides = t.shape, t.stride()
        size = 0 if 0 in shape else 1 + sum([(n - 1) * s for n, s in zip(shape, strides, strict=True)])
        fake = make_tensor(FakeStorage(size, t.dtype, fake_mode, t.device), shape, t.dtype)
        fake = Tensor._from_storage(fake._storage, t.dtype, shape, strides, 0)
        fake = Parameter(fake, t.requires_grad) if isinstance(t, Parameter) else fake.requires_grad_(t.requires_grad)
        self._known[id(t)] = weakref.ref(t), fake
        return fake


class FakeTensorMode(TorchFunctionMode):
    """Inside, tensors are made without values; :meth:`from_tensor` makes one of another tensor.

    Operations on fake tensors give fake tensors inside and outside. Where values are asked for they raise
    :class:`DataDependentOutputException`, and :class:`DynamicOutputShapeException` where a shape depends on them.

    Args:
        allow_non_fake_inputs: other tensors may be among arguments. Else they raise an ``AssertionError``.
    """

    def __init__(
        self,
        *,
        allow_fallback_kernels: bool = True,
        allow_non_fake_inputs: bool = False,
        shape_env: Any = None,
        static_shapes: bool | None = None,
    ) -> None:
        super().__init__()
        if shape_env is not None:
            raise NotImplementedError("FakeTensorMode(shape_env=...): sizes of fake tensors are numbers here")
        self.allow_fallback_kernels, self.allow_non_fake_inputs = allow_fallback_kernels, allow_non_fake_inputs
        self.shape_env, self.static_shapes = None, True if static_shapes is None else static_shapes
        self.fake_tensor_converter = FakeTensorConverter()

    def from_tensor(self, tensor: Tensor, **settings: Any) -> Tensor:
        """A fake tensor that stands for ``tensor``."""
        return self.fake_tensor_converter.from_real_tensor(self, tensor)

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in factories():
            where = devices.check(kwargs.get("device"))
            return self._faked(func(*args, **{**kwargs, "device": devices.META}), where)
        return func(*args, **kwargs)

    def _faked(self, t: Tensor, where: device) -> Tensor:
        t._storage = FakeStorage(t._storage.size, t.dtype, self, where)
        return t


@contextmanager
def unset_fake_temporarily() -> Iterator[None]:
    """Inside, no :class:`FakeTensorMode` is on."""
    before = state.modes
    state.modes = tuple([mode for mode in before if not isinstance(mode, FakeTensorMode)])
    try:
        yield
    finally:
        state.modes = before
