"""Parameter and Buffer: tensors that a Module registers by being assigned to it."""

from __future__ import annotations

from flambeau import ops
from flambeau.tensor import Tensor

__all__ = ["Buffer", "Parameter"]


class Parameter(Tensor):
    """A tensor that a Module counts among its ``parameters()`` when it is assigned as an attribute.

    It shares the memory of ``data`` and is a leaf of the graph.

    Args:
        data: the tensor to wrap (an empty one when left out).
        requires_grad: whether gradients are accumulated in ``.grad``.

    >>> import flambeau as torch
    >>> torch.nn.Parameter(torch.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)

    See https://pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html
    """

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
        return Tensor._make_subclass(cls, data, requires_grad)

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]
        copied = type(self)(self.detach().clone(), self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        return "Parameter containing:\n" + super().__repr__(tensor_contents=tensor_contents)


class _BufferType(type(Tensor)):
    """A Buffer is any Tensor that has been marked as one."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)


class Buffer(Tensor, metaclass=_BufferType):
    """A tensor that a Module registers as a buffer when it is assigned as an attribute.

    A buffer is state without a gradient (running statistics, masks). It moves with the module and,
    when ``persistent``, is part of its ``state_dict``. The result is a plain Tensor with a mark.

    >>> import flambeau as torch
    >>> m = torch.nn.Module()
    >>> m.mask = torch.nn.Buffer(torch.ones(2), persistent=False)
    >>> [name for name, _ in m.named_buffers()], list(m.state_dict())
    (['mask'], [])

    See https://pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html
    """

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Tensor:
        if data is None:
            data = ops.empty(0)
        buffer = data.detach().requires_grad_(data.requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer
