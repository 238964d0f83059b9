"""Hooks of modules: registration, the process-wide registries and the slow path of ``Module.__call__``.

The order of everything that happens in a call is PyTorch's: forward pre-hooks, the gate for input
gradients, ``forward``, forward hooks, the gate for output gradients; in each group first those
registered for all modules, then the module's own.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau.autograd import Function, is_grad_enabled
from flambeau.core.hooks import RemovableHandle
from flambeau.nn.modules._fields import Fields
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from flambeau.nn.modules.module import Module

global_forward_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
global_forward_hooks: OrderedDict[int, Callable] = OrderedDict()
global_forward_hooks_with_kwargs: OrderedDict[int, bool] = OrderedDict()
global_forward_hooks_always_called: OrderedDict[int, bool] = OrderedDict()
global_backward_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
global_backward_hooks: OrderedDict[int, Callable] = OrderedDict()
_global_hooks_are_full = True
buffer_registration_hooks: OrderedDict[int, Callable] = OrderedDict()
module_registration_hooks: OrderedDict[int, Callable] = OrderedDict()
parameter_registration_hooks: OrderedDict[int, Callable] = OrderedDict()


def add_hook(
    hooks: OrderedDict, hook: Callable, prepend: bool = False, flags: tuple[tuple[dict, bool], ...] = ()
) -> RemovableHandle:
    """Add `hook` to the registry `hooks`, and its id to the registry of each flag that is set."""
    handle = RemovableHandle(hooks, extra_dict=[registry for registry, _ in flags])
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    for registry, is_set in flags:
        if is_set:
            registry[handle.id] = True
    return handle


# ---- hooks for every module ----------------------------------------------------------------------


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, args)`` before the forward of every module."""
    return add_hook(global_forward_pre_hooks, hook)


def register_module_forward_hook(hook: Callable, *, with_kwargs: bool = False, always_call: bool = False) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after the forward of every module."""
    flags = (
        (global_forward_hooks_with_kwargs, with_kwargs),
        (global_forward_hooks_always_called, always_call),
    )
    return add_hook(global_forward_hooks, hook, flags=flags)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before the backward of every module."""
    return add_hook(global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` after the backward of every module."""
    _choose_global_backward_hooks(full=True)
    return add_hook(global_backward_hooks, hook)


def register_module_backward_hook(hook: Callable) -> RemovableHandle:
    """The old form of ``register_module_full_backward_hook``: it sees the last operation of each module alone."""
    _choose_global_backward_hooks(full=False)
    return add_hook(global_backward_hooks, hook)


def _choose_global_backward_hooks(full: bool) -> None:
    global _global_hooks_are_full
    if global_backward_hooks and _global_hooks_are_full is not full:
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module hook. Please use only one of them."
        )
    _global_hooks_are_full = full


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` when a buffer is registered; it may return another one."""
    return add_hook(buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` when a submodule is registered."""
    return add_hook(module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, param)`` when a parameter is registered."""
    return add_hook(parameter_registration_hooks, hook)


# ---- hooks for one module ------------------------------------------------------------------------


class Hookable(Fields):
    """What Module inherits to register hooks."""

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; it may return new arguments.

        With `with_kwargs` it is ``hook(module, args, kwargs)`` and returns ``(args, kwargs)``.
        """
        flags = ((self._forward_pre_hooks_with_kwargs, with_kwargs),)
        return add_hook(self._forward_pre_hooks, hook, prepend, flags)

    def register_forward_hook(
        self,
        hook: Callable,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; it may return another output.

        With `with_kwargs` it is ``hook(module, args, kwargs, output)``; with `always_call` it also
        runs when forward raises.

        >>> import flambeau as torch
        >>> fc = torch.nn.Linear(2, 3)
        >>> handle = fc.register_forward_hook(lambda m, args, out: print(out.shape))
        >>> _ = fc(torch.ones(4, 2))
        torch.Size([4, 3])
        >>> handle.remove()
        """
        flags = (
            (self._forward_hooks_with_kwargs, with_kwargs),
            (self._forward_hooks_always_called, always_call),
        )
        return add_hook(self._forward_hooks, hook, prepend, flags)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` when the output's gradient is there; it may replace it."""
        return add_hook(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the inputs' gradients are there.

        It may return other gradients for the inputs.
        """
        self._choose_backward_hooks(full=True)
        return add_hook(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """The old form of ``register_full_backward_hook``: it sees the last operation alone."""
        self._choose_backward_hooks(full=False)
        return add_hook(self._backward_hooks, hook)

    def _choose_backward_hooks(self, full: bool) -> None:
        if self._is_full_backward_hook is (not full):
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. Please use only one of them."
            )
        self._is_full_backward_hook = full


# ---- backward hooks ------------------------------------------------------------------------------


class BackwardHookFunction(Function):
    """The identity on several tensors; what comes back through it is shown to ``on_backward``."""

    @staticmethod
    def forward(ctx: Any, on_backward: Callable, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.on_backward = on_backward
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*[t for t in tensors if not t.requires_grad])
        return tensors

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, *ctx.on_backward(grads))


def _gate(values: tuple, on_backward: Callable) -> tuple[tuple, list[int], bool]:
    """Send the tensors among `values` through the identity.

    Returns the new values, where the tensors stand, and whether any of them requires a gradient.
    """
    places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    tensors = [values[i] for i in places]
    if not (is_grad_enabled() and any(t.requires_grad for t in tensors)):
        return values, places, False
    gated = list(values)
    for i, out in zip(places, BackwardHookFunction.apply(on_backward, *tensors)):
        gated[i] = out
    return tuple(gated), places, True


class BackwardHook:
    """The backward hooks of one call of a module, between its input gate and its output gate."""

    def __init__(self, module: Module, hooks: list[Callable], pre_hooks: list[Callable]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_output: tuple | None = None

    def setup_input_hook(self, args: tuple) -> tuple:
        self.n_inputs = len(args)
        args, self.input_places, self.gates_inputs = _gate(args, self._after_backward)
        return args

    def setup_output_hook(self, output: Any) -> Any:
        values = output if isinstance(output, tuple) else (output,)
        self.n_outputs = len(values)
        values, self.output_places, _ = _gate(values, self._before_backward)
        if not isinstance(output, tuple):
            return values[0]
        # A named tuple keeps its type.
        return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)

    def _before_backward(self, grads: tuple) -> tuple:
        """The gradient of the output has arrived."""
        grad_output = _spread(grads, self.output_places, self.n_outputs)
        for hook in self.pre_hooks:
            grad_output = _replaced(hook(self.module, grad_output), grad_output, "grad_output")
        self.grad_output = grad_output
        if not self.gates_inputs and self.hooks:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module "
                "outputs since no inputs require gradients. See "
                "https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html"
                "#torch.nn.Module.register_full_backward_hook for more details.",
                stacklevel=5,
            )
            no_grads = _spread((), [], self.n_inputs)
            for hook in self.hooks:
                result = hook(self.module, no_grads, grad_output)
                if result is not None and any(grad is not None for grad in result):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always "
                        "return None or None for all gradients."
                    )
            self.grad_output = None
        return tuple(grad_output[i] for i in self.output_places)

    def _after_backward(self, grads: tuple) -> tuple:
        """The gradient of the input has arrived."""
        if self.grad_output is None:
            return grads  # it has not passed through the module's output, as in a second backward pass
        grad_input = _spread(grads, self.input_places, self.n_inputs)
        for hook in self.hooks:
            grad_input = _replaced(hook(self.module, grad_input, self.grad_output), grad_input, "grad_input")
        self.grad_output = None
        return tuple(grad_input[i] for i in self.input_places)


def _spread(grads: tuple, places: list[int], length: int) -> tuple:
    """`grads` at their `places` in a tuple of `length`, None elsewhere."""
    spread: list = [None] * length
    for i, grad in zip(places, grads):
        spread[i] = grad
    return tuple(spread)


def _replaced(result: Any, grads: tuple, what: str) -> tuple:
    """What a hook's `result` makes of the gradients."""
    if result is None:
        return grads
    if not isinstance(result, tuple):
        result = (result,)
    if len(result) != len(grads):
        raise RuntimeError(f"Backward hook returned an invalid number of {what}, got {len(result)}, but expected {len(grads)}")
    return result


def _register_regular_backward_hooks(module: Module, output: Any, hooks: list[Callable]) -> None:
    """The old, not full, backward hooks: they see the gradients of the last operation alone."""
    while not isinstance(output, Tensor):
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    node = output.grad_fn
    if node is None:
        return
    for hook in hooks:
        node.register_hook(lambda grad_in, grad_out, hook=hook: hook(module, grad_in, grad_out))


# ---- the call ------------------------------------------------------------------------------------


def call_with_hooks(module: Module, args: tuple, kwargs: dict) -> Any:
    """``module.forward(*args, **kwargs)`` with every hook around it."""
    pre_hooks = [*global_backward_pre_hooks.values(), *module._backward_pre_hooks.values()]
    full_hooks: list[Callable] = []
    regular_hooks: list[Callable] = []
    (full_hooks if _global_hooks_are_full else regular_hooks).extend(global_backward_hooks.values())
    (regular_hooks if module._is_full_backward_hook is False else full_hooks).extend(module._backward_hooks.values())
    backward = BackwardHook(module, full_hooks, pre_hooks) if full_hooks or pre_hooks else None

    called: set[int] = set()
    result = None
    try:
        args, kwargs = _run_pre_hooks(module, args, kwargs)
        if backward:
            args = backward.setup_input_hook(args)
        result = module.forward(*args, **kwargs)
        for key, hook, with_kwargs in _forward_hooks(module):
            called.add(key)
            result = _run_forward_hook(module, hook, with_kwargs, args, kwargs, result)
    except Exception:
        # Hooks with always_call still run once, but can no longer change anything.
        always = {**global_forward_hooks_always_called, **module._forward_hooks_always_called}
        for key, hook, with_kwargs in _forward_hooks(module):
            if key in always and key not in called:
                try:
                    result = _run_forward_hook(module, hook, with_kwargs, args, kwargs, result)
                except Exception as error:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that was "
                        f"silenced as another error was raised in forward: {error}",
                        stacklevel=2,
                    )
        raise
    if backward:
        result = backward.setup_output_hook(result)
    if regular_hooks:
        _register_regular_backward_hooks(module, result, regular_hooks)
    return result


def _run_pre_hooks(module: Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    hooks = [*global_forward_pre_hooks.items(), *module._forward_pre_hooks.items()]
    for key, hook in hooks:
        if key in module._forward_pre_hooks_with_kwargs:
            result = hook(module, args, kwargs)
            if result is None:
                continue
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {result}.")
            args, kwargs = result
        else:
            result = hook(module, args)
            if result is not None:
                args = result if isinstance(result, tuple) else (result,)
    return args, kwargs


def _forward_hooks(module: Module) -> list[tuple[int, Callable, bool]]:
    hooks = [*global_forward_hooks.items(), *module._forward_hooks.items()]
    with_kwargs = {**global_forward_hooks_with_kwargs, **module._forward_hooks_with_kwargs}
    return [(key, hook, key in with_kwargs) for key, hook in hooks]


def _run_forward_hook(module: Module, hook: Callable, with_kwargs: bool, args: tuple, kwargs: dict, result: Any) -> Any:
    new = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
    return result if new is None else new
