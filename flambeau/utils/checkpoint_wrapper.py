"""Modules whose forward pass keeps no values for the backward pass, or keeps them elsewhere: they work in a single process too.

PyTorch has them in ``torch.distributed.algorithms._checkpoint.checkpoint_wrapper``.

>>> import flambeau as torch
>>> from flambeau.utils.checkpoint_wrapper import apply_activation_checkpointing
>>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
>>> apply_activation_checkpointing(net, check_fn=lambda module: isinstance(module, torch.nn.Linear))
>>> net
Sequential(
  (0): CheckpointWrapper(
    (_checkpoint_wrapped_module): Linear(in_features=2, out_features=3, bias=True)
  )
  (1): ReLU()
)
>>> list(net.state_dict())
['0.weight', '0.bias']
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Any

from flambeau.autograd.graph import save_on_cpu
from flambeau.nn import Module
from flambeau.nn.parameter import Parameter
from flambeau.utils.checkpoint import checkpoint

__all__ = [
    "ActivationWrapper",
    "CheckpointImpl",
    "CheckpointWrapper",
    "OffloadWrapper",
    "apply_activation_checkpointing",
    "checkpoint_wrapper",
    "offload_wrapper",
]

_CHECKPOINT_WRAPPED_MODULE = "_checkpoint_wrapped_module"
_CHECKPOINT_PREFIX = _CHECKPOINT_WRAPPED_MODULE + "."


class CheckpointImpl(Enum):
    """How the forward pass is repeated: see ``use_reentrant`` of :func:`torch.utils.checkpoint.checkpoint`."""

    REENTRANT = auto()
    NO_REENTRANT = auto()


class ActivationWrapper(Module):
    """Stands in the place of a module: has its attributes, and its parameters under their names."""

    def __init__(self, mod: Module) -> None:
        super().__init__()
        self._checkpoint_wrapped_module = mod
        self._register_state_dict_hook(_without_prefix)
        self.register_load_state_dict_pre_hook(_with_prefix)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What subclasses define."""
        raise ValueError("Subclasses should implement forward().")

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__(_CHECKPOINT_WRAPPED_MODULE), name)

    def __getitem__(self, key: Any) -> Any:
        return self._checkpoint_wrapped_module.__getitem__(key)  # type: ignore[operator]

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Parameter]]:
        """The parameters, by the names that they have without the wrapper."""
        for name, parameter in super().named_parameters(*args, **kwargs):
            yield name.replace(_CHECKPOINT_PREFIX, ""), parameter


def _without_prefix(module: Module, state_dict: dict[str, Any], prefix: str, metadata: Any) -> dict[str, Any]:
    """Names in files are those of the module without its wrapper, so that either reads the other's."""
    start = prefix + _CHECKPOINT_PREFIX
    for name in [name for name in state_dict if name.startswith(start)]:
        state_dict[prefix + name.removeprefix(start)] = state_dict.pop(name)
    return state_dict


def _with_prefix(module: Module, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
    start = prefix + _CHECKPOINT_PREFIX
    for name in [name for name in state_dict if name.startswith(prefix) and not name.startswith(start)]:
        state_dict[start + name.removeprefix(prefix)] = state_dict.pop(name)


class OffloadWrapper(ActivationWrapper):
    """Values for the backward pass are packed away meanwhile."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's result."""
        with save_on_cpu(pin_memory=True):
            return self._checkpoint_wrapped_module(*args, **kwargs)


class CheckpointWrapper(ActivationWrapper):
    """The backward pass repeats the module's forward pass instead of keeping its values."""

    def __init__(
        self,
        mod: Module,
        checkpoint_impl: CheckpointImpl = CheckpointImpl.NO_REENTRANT,
        checkpoint_fn: Callable | None = None,
        **checkpoint_fn_kwargs: Any,
    ) -> None:
        super().__init__(mod)
        self.checkpoint_impl = checkpoint_impl
        self._checkpoint = checkpoint_fn or checkpoint
        settings = {} if checkpoint_fn else {"use_reentrant": checkpoint_impl is CheckpointImpl.REENTRANT}
        self._settings = {**settings, **checkpoint_fn_kwargs}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's result."""
        module = self._checkpoint_wrapped_module
        if self.checkpoint_impl is not CheckpointImpl.REENTRANT or not kwargs:
            return self._checkpoint(module, *args, **kwargs, **self._settings)
        names, given = tuple(kwargs), len(args)  # which takes no keywords

        def call(*values: Any) -> Any:
            return module(*values[:given], **dict(zip(names, values[given:], strict=True)))

        return self._checkpoint(call, *args, *kwargs.values(), **self._settings)


def checkpoint_wrapper(
    module: Module,
    checkpoint_impl: CheckpointImpl = CheckpointImpl.NO_REENTRANT,
    checkpoint_fn: Callable | None = None,
    **checkpoint_fn_kwargs: Any,
) -> Module:
    """``module`` in a :class:`CheckpointWrapper`.

    Args:
        checkpoint_fn: what calls the module, instead of :func:`torch.utils.checkpoint.checkpoint`; it gets
            ``checkpoint_fn_kwargs`` too.
    """
    return CheckpointWrapper(module, checkpoint_impl, checkpoint_fn, **checkpoint_fn_kwargs)


def offload_wrapper(module: Module) -> Module:
    """``module`` in an :class:`OffloadWrapper`."""
    return OffloadWrapper(module)


def apply_activation_checkpointing(
    model: Module,
    checkpoint_wrapper_fn: Callable[[Module], Module] = checkpoint_wrapper,
    check_fn: Callable[[Module], bool] = lambda _: True,
    auto_wrap_policy: Callable[..., bool] | None = None,
) -> None:
    """Wraps parts of ``model`` in place, from the inside out: those that ``check_fn(module)`` says, or the policy, if there is one.

    The model itself is left as it is.
    """

    def wanted(module: Module) -> bool:
        if auto_wrap_policy is None:
            return check_fn(module)
        return auto_wrap_policy(module=module, recurse=False, nonwrapped_numel=sum(p.numel() for p in module.parameters()))

    for name, child in list(model.named_children()):
        apply_activation_checkpointing(child, checkpoint_wrapper_fn, check_fn, auto_wrap_policy)
        if wanted(child):
            setattr(model, name, checkpoint_wrapper_fn(child))
