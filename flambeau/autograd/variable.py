"""What the tape adds to Tensor (``backward``, hooks), and ``Variable``, which tensors were wrapped in before 0.4."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import Any

from flambeau import dispatch
from flambeau.autograd import engine
from flambeau.autograd.engine import follow
from flambeau.autograd.graph import move, queue_callback
from flambeau.core.hooks import RemovableHandle
from flambeau.tensor.tensor import Tensor


def backward(self: Tensor, gradient=None, retain_graph=None, create_graph: bool = False, inputs=None) -> None:
    """Adds the gradients of this tensor with respect to the leaves to the leaves' ``.grad``.

    ``gradient`` weighs the elements where there is more than one. The tape is freed unless ``retain_graph``.

    >>> import flambeau as torch
    >>> w = torch.tensor(2.0, requires_grad=True)
    >>> (w ** 3).backward()
    >>> w.grad
    tensor(12.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.backward.html
    """
    if gradient is None and inputs is None and not create_graph and follow(self, bool(retain_graph)):
        return
    engine.backward.__wrapped__((self,), None if gradient is None else (gradient,), retain_graph, create_graph, inputs=inputs)  # type: ignore[attr-defined]


def register_hook(self: Tensor, hook) -> RemovableHandle:
    """Calls ``hook(grad)`` when this tensor's gradient has been made; a tensor that it returns replaces it."""
    if not self.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    fn = self.grad_fn
    if fn is None:
        if self._hooks is None:
            self._hooks = OrderedDict()
        return RemovableHandle.add(self._hooks, hook)
    fn.hooked = True
    if fn.tensor_hooks is None:
        fn.tensor_hooks = {}
    return RemovableHandle.add(fn.tensor_hooks.setdefault(self._output_nr, OrderedDict()), hook)


def register_post_accumulate_grad_hook(self: Tensor, hook) -> RemovableHandle:
    """Calls ``hook(tensor)`` after a gradient has been added to this leaf's ``.grad``."""
    if not self.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if self.grad_fn is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    if self._post_accumulate_grad_hooks is None:
        self._post_accumulate_grad_hooks = OrderedDict()
    return RemovableHandle.add(self._post_accumulate_grad_hooks, hook)


def retain_grad(self: Tensor) -> None:
    """Keeps this non-leaf's gradient in ``.grad`` after ``backward()``."""
    if not self.requires_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if self.grad_fn is None or self.retains_grad:
        return
    self.__dict__["_retains_grad"] = True
    move(self, self.grad_fn, self._output_nr)


def warn_grad_of_non_leaf() -> None:
    warnings.warn(
        "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be "
        "populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor, "
        "use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you access "
        "the leaf Tensor instead.",
        UserWarning,
        stacklevel=4,
    )


for _function in (backward, register_hook, register_post_accumulate_grad_hook, retain_grad):
    setattr(Tensor, _function.__name__, _function)
Tensor._post_accumulate_grad_hooks = None  # type: ignore[attr-defined]
Tensor.retains_grad = property(lambda self: self.__dict__.get("_retains_grad", False))  # type: ignore[assignment]
dispatch.warn_grad_of_non_leaf = warn_grad_of_non_leaf


def _volatile(self: Tensor, value: bool = False) -> Any:
    warnings.warn("volatile was removed (Variable.volatile is always False)", UserWarning, stacklevel=2)
    return False


Tensor.volatile = property(_volatile, _volatile)  # type: ignore[assignment]


class _VariableMeta(type):
    def __instancecheck__(cls, x) -> bool:
        return isinstance(x, Tensor)


class _Engine:
    queue_callback = staticmethod(queue_callback)


class Variable(metaclass=_VariableMeta):
    """``Variable(tensor, requires_grad=False)``: the wrapper of PyTorch before 0.4. It returns a tensor.

    ``volatile=True`` has had no effect since 0.4 and gives a warning: use ``torch.no_grad()``. Hooks find the engine that runs
    backward passes here: ``Variable._execution_engine.queue_callback(f)`` has ``f()`` called at the end of the pass.
    """

    _execution_engine = _Engine()

    def __new__(cls, data=None, requires_grad: bool = False, volatile: bool = False):
        if volatile:
            warnings.warn(
                "volatile was removed (Variable.volatile is always False): use torch.no_grad()", UserWarning, stacklevel=2
            )
        out = dispatch.legacy_tensor(Tensor, None, (), {}) if data is None else data.detach()
        out.requires_grad = requires_grad
        return out
