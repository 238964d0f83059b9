"""Module: the base class of every layer and every network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Self

from flambeau import dispatch
from flambeau.core.keywords import NamesUnknown
from flambeau.nn.modules import _hooks
from flambeau.nn.modules._hooks import (
    Hookable,
    call_with_hooks,
    global_backward_hooks,
    global_backward_pre_hooks,
    global_forward_hooks,
    global_forward_pre_hooks,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from flambeau.nn.modules._messages import (
    before_init,
    misspelt_init,
    note_where,
    refuse_arguments,
    typename,
)
from flambeau.nn.modules._moves import Movable
from flambeau.nn.modules._state import EXTRA_STATE as _EXTRA_STATE_KEY_SUFFIX  # noqa: F401  # programs import it from here
from flambeau.nn.modules._state import Stateful
from flambeau.nn.modules._state import _IncompatibleKeys as _IncompatibleKeys  # and this
from flambeau.nn.parameter import Buffer, Parameter
from flambeau.tensor import Tensor

# PyTorch's names for them, that programs look at. A program that puts a new dictionary there takes no hook away.
_global_backward_hooks, _global_backward_pre_hooks = global_backward_hooks, global_backward_pre_hooks
_global_forward_hooks, _global_forward_pre_hooks = global_forward_hooks, global_forward_pre_hooks
_global_buffer_registration_hooks = _hooks.buffer_registration_hooks
_global_module_registration_hooks = _hooks.module_registration_hooks
_global_parameter_registration_hooks = _hooks.parameter_registration_hooks

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


def _forward_unimplemented(self: Module, *input: Any) -> None:
    """What the module computes from its inputs; every subclass defines it."""
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


def _new_fields() -> dict[str, Any]:
    """What every module carries from the beginning."""
    return {
        "training": True,
        "_parameters": {},
        "_buffers": {},
        "_non_persistent_buffers_set": set(),
        "_backward_pre_hooks": OrderedDict(),
        "_backward_hooks": OrderedDict(),
        "_is_full_backward_hook": None,
        "_forward_hooks": OrderedDict(),
        "_forward_hooks_with_kwargs": OrderedDict(),
        "_forward_hooks_always_called": OrderedDict(),
        "_forward_pre_hooks": OrderedDict(),
        "_forward_pre_hooks_with_kwargs": OrderedDict(),
        "_state_dict_hooks": OrderedDict(),
        "_state_dict_pre_hooks": OrderedDict(),
        "_load_state_dict_pre_hooks": OrderedDict(),
        "_load_state_dict_post_hooks": OrderedDict(),
        "_modules": {},
    }


class Module(NamesUnknown, Hookable, Movable, Stateful):
    """The base class of all layers and networks: a tree of modules with parameters and buffers.

    Parameters, buffers and modules that are assigned as attributes are registered; ``parameters()``,
    ``to()``, ``state_dict()`` and the like walk the whole tree. Subclasses call
    ``super().__init__()`` first and define ``forward``; calling the module runs it.

    Raises ``AttributeError`` where something is assigned before ``super().__init__()``, ``KeyError`` for names that
    are taken,
    ``TypeError`` for what is neither a parameter nor a module where one belongs.

    >>> import flambeau as torch
    >>> class Net(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = torch.nn.Linear(3, 2)
    ...     def forward(self, x):
    ...         return self.fc(x).relu()
    >>> Net()(torch.ones(5, 3)).shape
    torch.Size([5, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html
    """

    dump_patches: bool = False
    _version: int = 1
    training: bool
    # A subclass sets it to pass its __init__ arguments on to the next class of its bases.
    call_super_init: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            refuse_arguments(type(self), args, kwargs)
        # Straight into __dict__: __setattr__ below asks questions that these names do not need.
        self.__dict__.update(_new_fields())
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    forward: Callable[..., Any] = _forward_unimplemented

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if not (
                self._backward_hooks
                or self._backward_pre_hooks
                or self._forward_hooks
                or self._forward_pre_hooks
                or global_backward_pre_hooks
                or global_backward_hooks
                or global_forward_hooks
                or global_forward_pre_hooks
            ):
                return self.forward(*args, **kwargs)
            return call_with_hooks(self, args, kwargs)
        except Exception as error:
            note_where(error, self)
            raise

    # ---- registration ----------------------------------------------------------------------------

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not a parameter, such as a running mean.

        Args:
            name: the attribute under which it is then found.
            tensor: the buffer, or None for one that is not there and is not saved.
            persistent: whether it is part of ``state_dict()``.

        >>> import flambeau as torch
        >>> m = torch.nn.Module()
        >>> m.register_buffer("steps", torch.zeros(()))
        >>> m.steps
        tensor(0.)
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError(before_init(self, "buffer"))
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)")
        for hook in _hooks.buffer_registration_hooks.values():
            replaced = hook(self, name, tensor)
            tensor = tensor if replaced is None else replaced
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`, or None for one that is not there."""
        if "_parameters" not in self.__dict__:
            raise AttributeError(before_init(self, "parameter"))
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' (torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                    f"created explicitly. To express '{name}' as a function of another Tensor, "
                    "compute the value in the forward() method."
                )
            for hook in _hooks.parameter_registration_hooks.values():
                replaced = hook(self, name, param)
                param = param if replaced is None else replaced
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under `name`; it is then an attribute of this module."""
        if module is not None and not isinstance(module, Module):
            hint = f"; did you mean {module.__name__}(...)?" if isinstance(module, type) else ""
            raise TypeError(f"{typename(module)} is not a Module subclass{hint}")
        self._check_name("module", name, self._modules)
        for hook in _hooks.module_registration_hooks.values():
            replaced = hook(self, name, module)
            module = module if replaced is None else replaced
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """Another name of :meth:`add_module`."""
        self.add_module(name, module)

    def _check_name(self, kind: str, name: str, registry: dict) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if name not in registry and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            got = f", got: {name}" if kind == "module" else ""
            raise KeyError(f'{kind} name can\'t contain "."{got}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')

    # ---- attributes ------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        attributes = self.__dict__
        parameters = attributes.get("_parameters")
        if parameters and name in parameters:
            return parameters[name]
        modules = attributes.get("_modules")
        if modules and name in modules:
            return modules[name]
        buffers = attributes.get("_buffers")
        if buffers and name in buffers:
            return buffers[name]
        raise AttributeError(
            f"'{type(self).__name__}' object has no attribute '{name}'{misspelt_init(type(self))}",
            name=name,
            obj=self,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        attributes = self.__dict__
        parameters = attributes.get("_parameters")
        modules = attributes.get("_modules")
        buffers = attributes.get("_buffers")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError(before_init(self, "parameters"))
            self._forget(name, buffers, modules)
            self.register_parameter(name, value)
        elif parameters and name in parameters:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)")
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            if modules is None:
                raise AttributeError(before_init(self, "module"))
            self._forget(name, parameters, buffers)
            for hook in _hooks.module_registration_hooks.values():
                replaced = hook(self, name, value)
                value = value if replaced is None else replaced
            modules[name] = value
        elif modules and name in modules:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as child module '{name}' (torch.nn.Module or None expected)")
            modules[name] = None
        elif buffers and name in buffers:
            self._set_buffer(name, value)
        elif isinstance(value, Tensor) and isinstance(value, Buffer):
            if buffers is None:
                raise AttributeError(before_init(self, "buffer"))
            self._forget(name, parameters, modules)
            self.register_buffer(name, value, value.persistent)
        else:
            object.__setattr__(self, name, value)

    def _set_buffer(self, name: str, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"cannot assign '{typename(value)}' as buffer '{name}' (torch.nn.Buffer, torch.Tensor or None expected)"
            )
        if isinstance(value, Buffer):
            self.register_buffer(name, value, value.persistent)
            return
        for hook in _hooks.buffer_registration_hooks.values():
            replaced = hook(self, name, value)
            value = value if replaced is None else replaced
        self._buffers[name] = value

    def _forget(self, name: str, *registries: dict | None) -> None:
        """Take `name` out of wherever else it may stand, before it is registered anew."""
        self.__dict__.pop(name, None)
        for registry in registries:
            if registry:
                registry.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = [*dir(type(self)), *self.__dict__]
        names += [*self._parameters, *self._modules, *self._buffers]
        # Children such as "0" of a Sequential are not attribute names.
        return sorted(name for name in names if not name[0].isdigit())

    def __setstate__(self, state: dict) -> None:
        # What an older version wrote may lack some of the fields.
        self.__dict__.update(_new_fields(), **state)

    # ---- walking the tree ------------------------------------------------------------------------

    def named_modules(
        self,
        memo: set[Module] | None = None,
        prefix: str = "",
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Module]]:
        """This module and all modules below it with their dotted names, parents first.

        >>> import flambeau as torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
        >>> [name for name, module in net.named_modules()]
        ['', '0', '1']
        """
        memo = set() if memo is None else memo
        pending = [(prefix, self)]
        while pending:
            name, module = pending.pop()
            if module in memo:
                continue
            if remove_duplicate:
                memo.add(module)
            yield name, module
            if module._modules:
                dotted = name + "." if name else ""
                pending.extend([(dotted + n, m) for n, m in module._modules.items() if m is not None][::-1])

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all modules below it, each once."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The immediate submodules with their names, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The immediate submodules, each once."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self,
        get_members_fn: Callable,
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in get_members_fn(module):
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names.

        >>> import flambeau as torch
        >>> [(name, tuple(p.shape)) for name, p in torch.nn.Linear(2, 3).named_parameters()]
        [('weight', (3, 2)), ('bias', (3,))]
        """
        return self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and, with `recurse`, of all below it."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names."""
        return self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and, with `recurse`, of all below it."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module at the dotted path `target`; "" is this module itself."""
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` at the dotted path `target`; with `strict` something must be there."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the dotted path `target`."""
        param = self._get_member(target)
        if not isinstance(param, Parameter):
            raise AttributeError(f"`{target.rpartition('.')[2]}` is not an nn.Parameter")
        return param

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at the dotted path `target`."""
        buffer = self._get_member(target)
        path, _, name = target.rpartition(".")
        if name not in self.get_submodule(path)._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return buffer

    def _get_member(self, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        return getattr(module, name)

    # ---- changing all of it ----------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Call `fn` with every module of the tree, children first, and return this module.

        >>> import flambeau as torch
        >>> _ = torch.nn.Linear(1, 1).apply(lambda m: print(type(m).__name__))
        Linear
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode (Dropout drops, BatchNorm takes the batch's statistics) or leave it."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode; the same as ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of all parameters."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or with ``set_to_none=False`` set them to zero."""
        for param in self.parameters():
            grad = param.grad
            if grad is None:
                continue
            if set_to_none:
                param.grad = None
            else:
                if grad.grad_fn is not None:
                    grad.detach_()
                else:
                    grad.requires_grad_(False)
                grad.zero_()

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile ``forward`` in place; arguments as :func:`torch.compile` takes them."""
        import_module("flambeau.compiler").compile_forward(self, *args, **kwargs)

    # ---- printing --------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the brackets of this module's repr; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_addindent(repr(module), 2)}" for name, module in self._modules.items()]
        # A leaf with a short description stands on one line.
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({extra})"
        lines += children
        return f"{self._get_name()}(" + ("\n  " + "\n  ".join(lines) + "\n" if lines else "") + ")"

    def _repr_html_(self) -> str | None:
        """What notebooks show."""
        return dispatch.picture(self)


def _addindent(text: str, spaces: int) -> str:
    """`text` with all lines but the first one moved to the right."""
    return text.replace("\n", "\n" + " " * spaces)
