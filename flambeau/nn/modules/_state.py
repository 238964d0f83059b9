"""state_dict and load_state_dict: the part of Module that carries its state in and out."""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from typing import Any, cast

from flambeau.autograd import no_grad
from flambeau.core.hooks import RemovableHandle
from flambeau.nn.modules._fields import Fields
from flambeau.nn.modules._hooks import add_hook
from flambeau.nn.modules._moves import conversion, exchange
from flambeau.nn.parameter import Parameter, is_lazy
from flambeau.tensor import Tensor

EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(
    namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"]),
):
    """What ``load_state_dict`` returns: the keys that only one of the two sides had."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class Stateful(Fields):
    """What Module inherits to save and to load its state."""

    def state_dict(
        self,
        *args: Any,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """All parameters and persistent buffers of the module and its submodules, by dotted name.

        The values are the tensors themselves (detached unless ``keep_vars``), not copies.

        Args:
            destination: a dict to fill and return, instead of a new one.
            prefix: put before every name.
            keep_vars: give the Parameters themselves, attached to the graph.

        >>> import flambeau as torch
        >>> list(torch.nn.Linear(2, 3).state_dict())
        ['weight', 'bias']
        """
        if args:
            warnings.warn(
                "Positional args are being deprecated, use kwargs instead. Refer to "
                "https://pytorch.org/docs/main/generated/torch.nn.Module.html"
                "#torch.nn.Module.state_dict for details.",
                FutureWarning,
                stacklevel=2,
            )
            given = dict(zip(("destination", "prefix", "keep_vars"), args))
            destination = given.get("destination", destination)
            prefix = given.get("prefix", prefix)
            keep_vars = given.get("keep_vars", keep_vars)

        if destination is None:
            made: Any = OrderedDict()
            made._metadata = OrderedDict()
            destination = cast(dict[str, Any], made)
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata

        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            replaced = hook(self, destination, prefix, local_metadata)
            if replaced is not None:
                destination = replaced
        return destination

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        """Put this module's own state, without its submodules', into `destination`."""
        for name, tensor in self._own_state().items():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if _has_extra_state(self, "get_extra_state"):
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def _own_state(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers of this module alone."""
        transient = self._non_persistent_buffers_set
        own: dict[str, Tensor] = {name: p for name, p in self._parameters.items() if p is not None}
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in transient:
                own[name] = buffer
        return own

    def get_extra_state(self) -> Any:
        """State beyond tensors to keep in the state_dict; override together with its setter."""
        raise RuntimeError(_EXTRA_STATE_CALLED.format("get"))

    def set_extra_state(self, state: Any) -> None:
        """Take back what ``get_extra_state`` gave; called by ``load_state_dict``."""
        raise RuntimeError(_EXTRA_STATE_CALLED.format("set"))

    # ---- loading ---------------------------------------------------------------------------------

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> _IncompatibleKeys:
        """Copy the values of `state_dict` into this module and its submodules.

        Args:
            state_dict: names and tensors, as ``state_dict()`` gives them.
            strict: raise when the keys do not match exactly.
            assign: put the given tensors in the place of the module's instead of copying.

        Returns the missing and the unexpected keys. Raises RuntimeError for keys that do not match
        (when strict) and for shapes that do not.

        >>> import flambeau as torch
        >>> a, b = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
        >>> a.load_state_dict(b.state_dict())
        <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")

        missing_keys: list[str] = []
        unexpected_keys: list[str] = []
        errors: list[str] = []
        metadata = getattr(state_dict, "_metadata", None)
        given: Any = OrderedDict(state_dict)  # hooks may change it
        if metadata is not None:
            given._metadata = metadata

        self._load_tree(given, "", metadata, assign, missing_keys, unexpected_keys, errors)

        if strict:
            mismatches = [("Missing", missing_keys), ("Unexpected", unexpected_keys)]
            errors[:0] = [
                f"{what} key(s) in state_dict: " + ", ".join(f'"{key}"' for key in keys) + ". " for what, keys in mismatches if keys
            ]
        if errors:
            listed = "\n\t".join(errors)
            raise RuntimeError(f"Error(s) in loading state_dict for {self._get_name()}:\n\t{listed}")
        return _IncompatibleKeys(missing_keys, unexpected_keys)

    def _load_tree(
        self, state_dict: dict, prefix: str, metadata: dict | None, assign: bool, missing: list, unexpected: list, errors: list
    ) -> None:
        """Load the state of this module and of those below it."""
        local_metadata = {} if metadata is None else metadata.get(prefix[:-1], {})
        if assign:
            local_metadata["assign_to_params_buffers"] = True
        self._load_from_state_dict(state_dict, prefix, local_metadata, True, missing, unexpected, errors)
        for name, child in self._modules.items():
            if child is not None:
                inner = f"{prefix}{name}."
                local = {key: value for key, value in state_dict.items() if key.startswith(inner)}
                child._load_tree(local, inner, metadata, assign, missing, unexpected, errors)
        incompatible = _IncompatibleKeys(missing, unexpected)
        for hook in self._load_state_dict_post_hooks.values():
            if hook(self, incompatible) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not"
                    "expected to return new values, if incompatible_keys need to be modified,"
                    "it should be done inplace."
                )

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load this module's own state, without its submodules'; collect what does not fit."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(
                state_dict, prefix, local_metadata, strict,
                missing_keys, unexpected_keys, error_msgs,
            )  # fmt: skip

        own = self._own_state()
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, current in own.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            error = self._load_one(name, key, current, state_dict[key], assign)
            if error:
                error_msgs.append(error)

        extra_key = prefix + EXTRA_STATE
        if _has_extra_state(self, "set_extra_state"):
            if extra_key in state_dict:
                self.set_extra_state(state_dict[extra_key])
            elif strict:
                missing_keys.append(extra_key)
        elif strict and extra_key in state_dict:
            unexpected_keys.append(extra_key)

        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra_key:
                    first, dot, _ = key[len(prefix) :].partition(".")
                    if first not in (self._modules if dot else own):
                        unexpected_keys.append(key)

    def _load_one(self, name: str, key: str, current: Tensor, given: Any, assign: bool) -> str | None:
        """Load one tensor; returns what is wrong with it, if anything is."""
        if not isinstance(given, Tensor):
            return (
                f'While copying the parameter named "{key}", expected torch.Tensor or '
                f"Tensor-like object from checkpoint but received {type(given)}"
            )
        if is_lazy(current) and is_lazy(given):
            return None  # neither has a shape yet
        # Files of PyTorch 0.3 hold 0-dim values as one element.
        if current.dim() == 0 and given.dim() == 1 and given.shape[0] == 1:
            given = given[0]
        if given.shape != current.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {given.shape} from "
                f"checkpoint, the shape in current model is {current.shape}."
            )
        if current.is_meta and not given.is_meta and not assign:
            warnings.warn(
                f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the current model, which is a no-op. "
                "(Did you mean to pass `assign=True` to assign items in the state dictionary to their corresponding key in the module "
                "instead of copying them in place?)",
                stacklevel=2,
            )
        try:
            if conversion.swaps:
                _swap_in(current, given, assign, f"{type(self).__name__}.{name}")
            elif not assign:
                with no_grad():
                    current.copy_(given)
            elif isinstance(current, Parameter):
                if not isinstance(given, Parameter):
                    given = Parameter(given, requires_grad=current.requires_grad)
                else:
                    given.requires_grad_(current.requires_grad)
                setattr(self, name, given)
            else:
                setattr(self, name, given)
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are '
                f"{current.size()} and whose dimensions in the checkpoint are {given.size()}, "
                f"an exception occurred : {error.args}."
            )
        return None

    # ---- hooks -----------------------------------------------------------------------------------

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before ``state_dict`` collects."""
        return add_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after; it changes in place."""
        return add_hook(self._state_dict_hooks, _InPlace(hook))

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        """As ``register_state_dict_post_hook``; the hook may also return another dict."""
        return add_hook(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, ...)`` before ``load_state_dict``.

        The other arguments are those of ``_load_from_state_dict``.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        hook = _WithModule(hook, self) if with_module else hook
        return add_hook(self._load_state_dict_pre_hooks, hook)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading; it may change the lists."""
        return add_hook(self._load_state_dict_post_hooks, hook)


class _InPlace:
    """A hook that changes its argument and must not return anything."""

    def __init__(self, hook: Callable) -> None:
        self.hook = hook

    def __call__(self, *args: Any) -> None:
        if self.hook(*args) is not None:
            raise RuntimeError("state_dict post-hook must return None")


class _WithModule:
    """A hook bound to its module, which it does not keep alive; unlike a closure it can be pickled and copied with it."""

    def __init__(self, hook: Callable, module: Stateful) -> None:
        self.hook = hook
        self.module = weakref.ref(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self) -> tuple:
        return self.hook, self.module()

    def __setstate__(self, state: tuple) -> None:
        self.hook, module = state
        if module is None:
            raise RuntimeError("You are trying to revive the hook of a dead Module!")
        self.module = weakref.ref(module)


_EXTRA_STATE_CALLED = (
    "Reached a code path in Module.{}_extra_state() that should never be called. Please file an "
    "issue at https://github.com/pytorch/pytorch/issues/new?template=bug-report.yml to report "
    "this bug."
)


def _has_extra_state(module: Stateful, method: str) -> bool:
    return getattr(type(module), method) is not getattr(Stateful, method)


def _swap_in(current: Tensor, given: Tensor, assign: bool, name: str) -> None:
    """Gives ``current`` the contents of what its class makes of ``given``: ``Tensor.module_load``."""
    with no_grad():
        made = current.module_load(given, assign=assign)
    if made is given or made is current:
        raise RuntimeError(
            "module_load returned one of self or other, please .detach() the result if returning one of the inputs in module_load"
        )
    if isinstance(current, Parameter):
        made = Parameter(made, requires_grad=made.requires_grad if assign else current.requires_grad)
    exchange(current, made, f"_load_from_state_dict(): Couldn't swap {name}")
