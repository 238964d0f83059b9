"""Parameter and Buffer: tensors that a Module registers by being assigned to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeGuard

from flambeau import ops
from flambeau.core.size import Size
from flambeau.tensor import Tensor
from flambeau.tensor.attributes import contents_of
from flambeau.tensor.tensor import disabled_torch_function

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]


class _ParameterMeta(type):
    """A tensor of a class of its own, of the user's or a sparse one, is a Parameter if it has been marked as one."""

    def __instancecheck__(cls, instance: object) -> bool:
        if super().__instancecheck__(instance):
            return True
        return cls is Parameter and isinstance(instance, Tensor) and getattr(instance, "_is_param", False)


class Parameter(Tensor, metaclass=_ParameterMeta):
    """A tensor that a Module counts among its ``parameters()`` when it is assigned as an attribute.

    It shares the memory of ``data`` and is a leaf of the graph. Where ``data`` is of a class of its own, so is the result, which
    is then known as a Parameter by a mark.

    Args:
        data: the tensor to wrap (an empty one when left out).
        requires_grad: whether gradients are accumulated in ``.grad``.

    Raises ``RuntimeError`` for integers that should require gradients.

    >>> import flambeau as torch
    >>> torch.nn.Parameter(torch.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html
    """

    __torch_function__ = disabled_torch_function
    _is_param = True

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = ops.empty(0)
        elif not isinstance(data, Tensor):
            raise AttributeError(
                f"'{type(data).__name__}' object has no attribute 'detach': Parameter expects a "
                "Tensor; make one first, e.g. Parameter(torch.tensor(data))",
                name="detach",
                obj=data,
            )
        if requires_grad and not (data.is_floating_point() or data.is_complex()):
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients: "
                f"got {data.dtype}; convert it, or pass requires_grad=False"
            )
        if cls is Parameter and type(data) not in (Tensor, Parameter):
            own = data.detach().requires_grad_(requires_grad)
            if type(own) is not type(data):
                raise RuntimeError(
                    f"Creating a Parameter from an instance of type {type(data).__name__} requires that detach() returns an instance of the "
                    f"same type, but return type {type(own).__name__} was found instead. To use the type as a Parameter, please correct the "
                    "detach() semantics defined by its __torch_dispatch__() implementation."
                )
            marked: Any = own
            marked._is_param = True
            return marked
        return Tensor._make_subclass(cls, data, requires_grad)

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]
        copied = type(self)(self.detach().clone(), self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __repr__(self) -> str:  # type: ignore[override]
        return "Parameter containing:\n" + super().__repr__()


class _BufferMeta(type):
    """A Buffer is any Tensor that has been marked as one."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that a Module registers as a buffer when it is assigned as an attribute.

    A buffer is state without a gradient (running statistics, masks). It moves with the module and,
    when ``persistent``, is part of its ``state_dict``. The result is a plain Tensor with a mark.

    >>> import flambeau as torch
    >>> m = torch.nn.Module()
    >>> m.mask = torch.nn.Buffer(torch.ones(2), persistent=False)
    >>> [name for name, _ in m.named_buffers()], list(m.state_dict())
    (['mask'], [])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html
    """

    __torch_function__ = disabled_torch_function

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Any:
        if data is None:
            data = ops.empty(0)
        buffer: Any = data.detach().requires_grad_(data.requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer


class UninitializedTensorMixin(Tensor):
    """A tensor whose shape is not known yet; ``materialize`` gives it one.

    It can be cast and moved, copied and pickled. Whatever else would look at its shape raises.
    """

    __torch_function__ = disabled_torch_function

    cls_to_become: type

    def materialize(self, shape: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        """Become a parameter or buffer of this shape, with values of no meaning."""
        device = self.device if device is None else device
        dtype = self.dtype if dtype is None else dtype
        self.__class__ = self.cls_to_become
        self.data = ops.empty(shape, device=device, dtype=dtype)

    @property
    def shape(self) -> Size:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized module. Call `forward` to initialize the parameters before accessing their "
            "attributes."
        )

    @property
    def _shape(self) -> Size:
        raise ValueError(
            "Attempted to use an uninitialized parameter. This error happens when you are using a `LazyModule` or "
            f"explicitly manipulating `torch.nn.parameter.{type(self).__name__}` objects. When using LazyModules call "
            "`forward` with a dummy batch to initialize the parameters before calling torch functions"
        )

    @_shape.setter
    def _shape(self, value: Size) -> None:
        contents_of(self)["_shape"] = value  # of no elements, and hidden until there is a shape

    def size(self, dim: int | None = None) -> Any:  # type: ignore[override]
        return contents_of(self)["_shape"] if dim is None else 0

    @property
    def data(self) -> Tensor:
        return ops.empty(0, device=self.device, dtype=self.dtype)

    @data.setter
    def data(self, value: Tensor) -> None:
        self._storage, self._dtype = value._storage, value._dtype
        contents_of(self)["_shape"] = Size((0,))

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Still without a shape, in another dtype; arguments as those of ``Tensor.to``."""
        like = Tensor._make_subclass(type(self), self.data.to(*args, **kwargs), self.requires_grad)
        return _with_attributes(like, self)

    def share_memory_(self) -> Self:
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters "
            "before calling `module.share_memory()`."
        )

    def __repr__(self) -> str:  # type: ignore[override]
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict) -> Self:
        if id(self) not in memo:
            memo[id(self)] = self.to()
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return type(self), (self.requires_grad, self.device, self.dtype)


def _with_attributes(tensor: Any, other: Any) -> Any:
    for name in ("persistent", "_is_buffer"):
        if name in contents_of(other):
            setattr(tensor, name, getattr(other, name))
    return tensor


for _name in ("half", "bfloat16", "float", "double", "char", "short", "int", "long", "cpu", "cuda"):

    def _cast(self: UninitializedTensorMixin, *args: Any, _name: str = _name, **kwargs: Any) -> UninitializedTensorMixin:
        return self.to(dtype=getattr(self.data, _name)(*args, **kwargs).dtype)

    setattr(UninitializedTensorMixin, _name, _cast)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A Parameter of a lazy module before its first call.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyLinear(2)
    >>> layer.weight
    <UninitializedParameter>
    >>> _ = layer(torch.ones(1, 3))
    >>> layer.weight.shape
    torch.Size([2, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.UninitializedParameter.html
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return Tensor._make_subclass(cls, ops.empty(0, device=device, dtype=dtype), requires_grad)


class UninitializedBuffer(UninitializedTensorMixin):
    """A buffer of a lazy module before its first call.

    >>> import flambeau as torch
    >>> torch.nn.LazyBatchNorm1d().running_mean
    <UninitializedBuffer>

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.UninitializedBuffer.html
    """

    cls_to_become = Tensor

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        data = ops.empty(0, device=device, dtype=dtype)
        buffer: Any = Tensor._make_subclass(cls, data, requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer


def is_lazy(tensor: Any) -> TypeGuard[UninitializedTensorMixin]:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(tensor, UninitializedTensorMixin)
