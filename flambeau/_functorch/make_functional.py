"""Modules as functions of their parameters: what ``functorch`` had before :func:`torch.func.functional_call`.

>>> import flambeau as torch
>>> from flambeau._functorch.make_functional import make_functional
>>> func, params = make_functional(torch.nn.Linear(3, 2))
>>> [tuple(p.shape) for p in params], func(params, torch.ones(4, 3)).shape
([(2, 3), (2,)], torch.Size([4, 2]))

Source: https://docs.pytorch.org/docs/stable/func.migrating.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from flambeau.func import functional_call, stack_module_state
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = [
    "FunctionalModule", "FunctionalModuleWithBuffers", "combine_state_for_ensemble", "make_functional", "make_functional_with_buffers",
]  # fmt: skip

Tensors = tuple[Tensor, ...]


class FunctionalModuleWithBuffers(Module):
    """``func(params, buffers, *args)`` calls a module with these tensors in the place of its own; it has no parameters itself."""

    def __init__(self, stateless_model: Module, param_names: Sequence[str], buffer_names: Sequence[str]) -> None:
        super().__init__()
        self.__dict__["stateless_model"] = stateless_model  # no part of this module: its parameters are not its state
        self.param_names, self.buffer_names = tuple(param_names), tuple(buffer_names)

    def forward(self, params: Sequence[Tensor], buffers: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        given = dict(zip(self.param_names, params, strict=True)) | dict(zip(self.buffer_names, buffers, strict=True))
        return functional_call(self.stateless_model, given, args, kwargs)


class FunctionalModule(FunctionalModuleWithBuffers):
    """``func(params, *args)``, of a module without buffers."""

    def forward(self, params: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """What the module computes."""
        return super().forward(params, (), *args, **kwargs)


def make_functional(model: Module, disable_autograd_tracking: bool = False) -> tuple[FunctionalModule, Tensors]:
    """``(func, params)``: ``func(params, *args)`` is ``model(*args)``; the parameters are copies.

    Args:
        disable_autograd_tracking: parameters that need no gradients.

    Raises:
        RuntimeError: the module has buffers.
    """
    if list(model.buffers()):
        raise RuntimeError("make_functional(model): `model` has buffers. Please use make_functional_with_buffers(model) instead.")
    func, params, _ = _functional(FunctionalModule, model, disable_autograd_tracking)
    return func, params


def make_functional_with_buffers(
    model: Module, disable_autograd_tracking: bool = False
) -> tuple[FunctionalModuleWithBuffers, Tensors, Tensors]:
    """``(func, params, buffers)``: ``func(params, buffers, *args)`` is ``model(*args)``; parameters and buffers are copies."""
    return _functional(FunctionalModuleWithBuffers, model, disable_autograd_tracking)


def _functional(cls: type, model: Module, without_gradients: bool) -> tuple[Any, Tensors, Tensors]:
    own = deepcopy(model)
    params, buffers = dict(own.named_parameters()), dict(own.named_buffers())
    values = tuple(p.detach() if without_gradients else p for p in params.values())
    return cls(own, list(params), list(buffers)), values, tuple(buffers.values())


def combine_state_for_ensemble(models: Sequence[Module]) -> tuple[Callable, Tensors, Tensors]:
    """``(func, params, buffers)`` of modules of one kind, each parameter stacked, for ``vmap(func, (0, 0, None))``.

    >>> import flambeau as torch
    >>> func, params, buffers = combine_state_for_ensemble([torch.nn.Linear(3, 2) for _ in range(5)])
    >>> torch.vmap(func, (0, 0, None))(params, buffers, torch.ones(3)).shape
    torch.Size([5, 2])

    Raises:
        RuntimeError: there are no modules, or modules of several classes, or some that train and others that do not.
    """
    if not models:
        raise RuntimeError("combine_state_for_ensemble: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("combine_state_for_ensemble: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("combine_state_for_ensemble: Expected all models to be of the same class.")
    func, _, _ = make_functional_with_buffers(models[0])
    params, buffers = stack_module_state(list(models))
    return func, tuple(params[name].detach() for name in func.param_names), tuple(buffers[name] for name in func.buffer_names)
