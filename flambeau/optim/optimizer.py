"""The base of all optimizers: parameter groups, state, hooks and checkpoints.

An optimizer here is a set of options, a recipe for one parameter's state, and one function that
updates one parameter in place (``_update``). Everything else (groups, closures, complex
parameters, state dicts, hooks) is this file.
"""

from __future__ import annotations

import functools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flambeau import dispatch, ops
from flambeau.autograd.modes import set_grad_enabled
from flambeau.core import config
from flambeau.core.dtypes import float32
from flambeau.core.keywords import NamesUnknown
from flambeau.core.memory_format import strided
from flambeau.dispatch import grad_mode
from flambeau.nn.modules._messages import typename
from flambeau.tensor import Tensor
from flambeau.tensor.interception import interception
from flambeau.tensor.wrapping import elements_of

from .divided import parts_of
from .hooks import Hooked, register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from .scalars import new_scalar

if TYPE_CHECKING:
    from flambeau.sparse.tensor import SparseTensor

__all__ = [
    "Optimizer",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "required",
    "swap_in_optimizer_params_and_state",
]

ParamsT = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
StateDict = dict[str, Any]


class _Required:
    """Marks an option that every parameter group must give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


# ------------------------------------------------------------------ what optimizers of other packages call


def _use_grad_for_differentiable(func: Callable) -> Callable:
    """A decorator for ``step``: gradients are recorded if ``differentiable`` was asked for."""

    @functools.wraps(func)
    def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        with set_grad_enabled(bool(self.defaults["differentiable"])):
            return func(self, *args, **kwargs)

    return step


def _default_to_fused_or_foreach(params: list[Tensor], differentiable: bool, use_fused: bool = False) -> tuple[bool, bool]:
    """Whether a fused kernel, and functions of lists, are the default: neither is on a CPU; what is recorded is fused anyway."""
    fused = use_fused and not differentiable and all(p is None or p.is_floating_point() for p in params)
    return fused, False


def _get_capturable_supported_devices(supports_xla: bool = True) -> list[str]:
    """The kinds of devices whose steps PyTorch can put into a graph of theirs: a CPU is none of them."""
    return ["cuda", "xpu", "hpu", "privateuseone", *(["xla"] if supports_xla else [])]


class Optimizer(Hooked, NamesUnknown):
    """Base class of all optimizers (torch.optim.Optimizer).

    Args:
        params: an iterable of tensors, of ``(name, tensor)`` pairs, or of dicts. Each dict is a
            parameter group: ``"params"`` and any options that differ from ``defaults``.
        defaults: the options of groups that do not give their own.

    Attributes:
        param_groups: list of dicts, each with ``"params"`` and all options. Edit them at will
            (``group["lr"] *= 0.1``): they are read at every step.
        state: maps a parameter to the dict of what the optimizer remembers about it.
        defaults: as given.

    A subclass either overrides :meth:`step`, or gives ``_init_state``, ``_options`` and
    ``_update`` and inherits everything else.

    Raises:
        TypeError: ``params`` is a tensor, or contains something that is not one.
        ValueError: no parameters; a parameter that is not a leaf; a parameter in two groups.

    >>> import flambeau as torch
    >>> class Signs(torch.optim.Optimizer):  # the sign of the gradient alone
    ...     def step(self, closure=None):
    ...         for group in self.param_groups:
    ...             for p in group["params"]:
    ...                 p.data -= group["lr"] * p.grad.sign()
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Signs([w], {"lr": 0.5})
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)

    Source: https://docs.pytorch.org/docs/stable/optim.html
    """

    # _update(param, grad, state, **options) updates one real parameter and its state in place.
    _update: Callable[..., None]
    # What wraps another optimizer may leave out super().__init__(); it then has no hooks.
    _optimizer_step_pre_hooks: Any = MappingProxyType({})
    _optimizer_step_post_hooks: Any = MappingProxyType({})

    # Whether each element is updated alone, and whether there are parameters that lie on several processes.
    _by_element = _divided = False
    # Names in a parameter's state that are 0-dim tensors; old checkpoints have numbers there.
    _scalar_state: tuple[str, ...] = ()
    # Options that old checkpoints lack, and what they meant then.
    _options_since: dict[str, Any] = {}

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        config.training = True
        self.defaults = defaults
        self._init_hooks()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {typename(params)}; for one tensor w write [w]"
            )
        self.state: defaultdict[Tensor, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError(
                "optimizer got an empty parameter list: the module has no parameters, or "
                "model.parameters() is a generator that was used up before"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._patch_step_function()

    @classmethod
    def _patch_step_function(cls) -> None:
        """Has ``step`` call the hooks. What replaces it in a class that is there already calls this, as PyTorch's optimizers do
        when made."""
        step = cls.__dict__.get("step")
        if step is not None and not getattr(step, "hooked", False):
            cls.step = cls.profile_hook_step(step)  # type: ignore[method-assign]

    def _check_implementation(self) -> None:
        """Refuses the combinations of implementation flags that PyTorch refuses.

        The flags choose between implementations of the same mathematics; flambeau has one.
        """
        if not self.defaults["fused"]:
            return
        if self.defaults["differentiable"]:
            raise RuntimeError("`fused` does not support `differentiable`")
        if self.defaults["foreach"]:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
        for p in self._all_params():
            if not p.is_floating_point():
                raise RuntimeError(
                    "`fused=True` requires all the params to be floating point Tensors of "
                    f"supported devices: ['cpu'] but {p.dtype} and {p.device.type}"
                )

    def _all_params(self) -> Iterable[Tensor]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            for key in sorted(group):
                if key != "params":
                    text += f"    {key}: {group[key]}\n"
        return text + ")"

    def _repr_html_(self) -> str | None:
        """What notebooks show."""
        return dispatch.picture(self)

    # -------------------------------------------------------------- stepping

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a ``.grad``, in place.

        Args:
            closure: a function that clears the gradients, computes the loss, calls its
                ``backward`` and returns it; it is called first, with gradients enabled.

        Returns:
            What the closure returned, or None without one.
        """
        loss, recording = None, grad_mode.enabled
        try:
            if closure is not None:
                grad_mode.enabled = recording if recording is None else True
                loss = closure()
            grad_mode.enabled = recording if recording is None else self.defaults.get("differentiable", False)
            for group in self.param_groups:
                group = self._without_sparse(group) if interception.living else group
                if self._divided:
                    with parts_of(self, group) as own:
                        self._update_group(own)
                else:
                    self._update_group(group)
        finally:
            grad_mode.enabled = recording
        return loss

    step = Hooked.profile_hook_step(step)

    def _without_sparse(self, group: dict[str, Any]) -> dict[str, Any]:
        """Updates the parameters of a group whose gradients are sparse; the group of the others."""
        sparse = [p for p in group["params"] if p._grad is not None and p._grad.layout is not strided]
        for param in sparse:
            grad: Any = param._grad
            self._update_sparse(param, -grad if group.get("maximize") else grad, group)
        return {**group, "params": [p for p in group["params"] if not any([p is s for s in sparse])]} if sparse else group

    def _update_sparse(self, param: Tensor, grad: SparseTensor, group: dict[str, Any]) -> None:
        """One step for a parameter with a sparse gradient."""
        raise RuntimeError(f"{type(self).__name__} does not support sparse gradients, please consider SparseAdam instead")

    def _update_group(self, group: dict[str, Any]) -> None:
        """One step for the parameters of one group."""
        maximize = group.get("maximize", False)
        options = self._options(group)
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            state = self.state.get(param)
            if not state:
                state = self.state[param] = self._init_state(param, group)
            if param.is_complex():  # updated as twice as many real numbers
                param, grad = ops.view_as_real(param), ops.view_as_real(grad)
                state = {key: ops.view_as_real(value) if value.is_complex() else value for key, value in state.items()}
            self._update(param, -grad if maximize else grad, state, **options)

    @classmethod
    def functional_step(
        cls,
        params: list[Tensor],
        grads: list[Tensor],
        state: dict[str, list[Any]],
        *,
        scaled: tuple[bool | None, Tensor | None, Tensor | None] = (None, None, None),
        **options: Any,
    ) -> None:
        """One step without an optimizer: what is behind ``torch.optim.adam.adam`` and its like.

        Args:
            params, grads: the parameters, which are updated in place, and their gradients.
            state: by name, what is remembered about each parameter, in their order; ``None``: nothing yet.
            scaled: ``(fused, grad_scale, found_inf)``; a fused step divides the gradients, and is left out where one is not finite.
            options: those of a parameter group.
        """
        if "step" in cls._scalar_state and not all([isinstance(step, Tensor) for step in state["step"]]):
            raise RuntimeError("API has changed, `state_steps` argument must contain a list of singleton tensors")
        fused, grad_scale, found_inf = scaled
        if not fused and (grad_scale is not None or found_inf is not None):
            raise AssertionError("Expected grad_scale and found_inf to be None")
        if found_inf is not None and found_inf.item():
            return
        if grad_scale is not None:
            for grad in grads:
                grad.div_(grad_scale)
        self = cls.__new__(cls)
        self.defaults, self.state = options, defaultdict(dict)
        own = [param._grad for param in params]
        try:
            for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
                self.state[param] = {name: values[i] for name, values in state.items() if values[i] is not None}
                param._grad = grad
            group = {"params": params, **options}
            self._update_group(self._without_sparse(group) if interception.living else group)
        finally:
            for param, before in zip(params, own, strict=True):
                param._grad = before
        for name, values in state.items():
            values[:] = [self.state[param].get(name) for param in params]

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """What is remembered about ``param`` before its first step."""
        raise NotImplementedError(f"{type(self).__name__} defines neither step() nor _init_state()")

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments of ``_update`` for this step of a group."""
        raise NotImplementedError(f"{type(self).__name__} defines neither step() nor _options()")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters.

        Args:
            set_to_none: set ``.grad`` to None (the default), so that parameters that the next
                backward does not reach are skipped by :meth:`step`; False fills it with zeros.
        """
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p._grad = None
                elif (grad := p.grad) is not None:
                    if grad.grad_fn is not None:
                        grad.detach_()
                    else:
                        grad.requires_grad_(False)
                    grad.zero_()

    # -------------------------------------------------------------- groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a parameter group: ``{"params": ..., option: value, ...}``.

        Options that it lacks come from ``defaults``. The dict itself becomes the group.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but "
                "the ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params = list(params)
        names = [p[0] for p in params if isinstance(p, tuple)]
        if names:
            if len(names) != len(params):
                raise ValueError(
                    "all optimizer params should be with/without names. Some param names are "
                    f"missing: {len(names)} of {len(params)} have one"
                )
            params = [p[1] for p in params]
            param_group["param_names"] = names
        param_group["params"] = params

        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {typename(param)}")
            if not self.defaults.get("differentiable") and not (param.is_leaf or param.retains_grad):
                raise ValueError(
                    "can't optimize a non-leaf Tensor: this one was computed from others "
                    f"({param.grad_fn.name()}); optimize those, or detach() it first"
                )
            if elements_of(param) is not param:
                self._divided = True
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError("parameter group didn't specify a value of required optimization parameter " + name)
            param_group.setdefault(name, default)

        if len(params) != len(set(params)):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error; see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=4,
            )
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                which = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    f"all optimizer param groups should be with/without names. cannot add param group {which} to the optimizer"
                )
        if not set(self._all_params()).isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    # -------------------------------------------------------------- checkpoints

    def state_dict(self) -> StateDict:
        """The optimizer's state as plain containers and tensors, in PyTorch's format.

        Returns:
            ``{"state": {0: {...}, ...}, "param_groups": [{"lr": ..., "params": [0, 1]}, ...]}``,
            where parameters are numbered in the order of the groups. The tensors are the
            optimizer's own, not copies.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        for number, param in enumerate(self._all_params()):
            numbers.setdefault(id(param), number)
        groups = [
            {key: value for key, value in group.items() if key != "params"} | {"params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()}
        result: StateDict = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Takes over options and state from what :meth:`state_dict` returned.

        Parameters are matched by their order. State tensors are cast to the dtype and device of
        their parameter, except ``"step"``. Load after a scheduler was made, which sets ``lr``.

        Raises:
            ValueError: the groups differ in number or size from this optimizer's.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed

        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError(
                f"loaded state dict has a different number of parameter groups: expected {len(groups)}, got {len(saved)}"
            )
        sizes = [len(group["params"]) for group in groups]
        saved_sizes = [len(group["params"]) for group in saved]
        if sizes != saved_sizes:
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                f"optimizer's group: expected {sizes} parameters, got {saved_sizes}"
            )
        owner = {
            number: (param, old)
            for group, old in zip(groups, saved, strict=True)
            for number, param in zip(old["params"], group["params"], strict=True)
        }
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in owner:
                param, old = owner[key]
                state[param] = self._cast(param, value, old)
            else:
                state[key] = value
        for group, old in zip(groups, saved, strict=True):
            old["params"] = group["params"]
            if "param_names" in group:
                old.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _cast(self, param: Tensor, value: Any, group: dict[str, Any], key: Any = None) -> Any:
        """A value from a loaded state, its tensors on the device and in the dtype of ``param``.

        Step counts and their like keep their dtype (in float16 they would stop at 2048).
        """
        if isinstance(value, Tensor):
            if key == "step" and (group.get("fused") or group.get("capturable")):
                return value.to(dtype=float32, device=param.device)
            if key == "step" or key in self._scalar_state:
                return value
            dtype = param.dtype if param.is_floating_point() else None
            return value.to(device=param.device, dtype=dtype)
        if isinstance(value, dict):
            return {k: self._cast(param, v, group, k) for k, v in value.items()}
        if isinstance(value, Iterable) and not isinstance(value, str):
            return type(value)(self._cast(param, v, group) for v in value)  # type: ignore[call-arg]
        return value

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._init_hooks()
        self.defaults.setdefault("differentiable", False)
        for group in self.param_groups:
            self._divided = self._divided or any(elements_of(p) is not p for p in group["params"])
            for name, value in self._options_since.items():
                group.setdefault(name, value)
            for p in group["params"]:
                entries = self.state.get(p) or {}
                for name in self._scalar_state:
                    if name in entries and not isinstance(entries[name], Tensor):
                        entries[name] = new_scalar(entries[name], group.get("fused"))


@contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Optimizer, swapin_parameters: dict[str, Tensor], swapin_optim_state: dict[str, Any]
) -> Iterator[None]:
    """Inside, the optimizer has other parameters, and the state and options of a ``state_dict()``; afterwards its own again.

    Args:
        swapin_parameters: the parameters, in the order of the optimizer's.
        swapin_optim_state: as :meth:`Optimizer.state_dict` gives it; what is done to its tensors in place stays done.
    """
    groups = swapin_optim_state["param_groups"]
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    if [len(group["params"]) for group in groups] != sizes or len(swapin_parameters) != sum(sizes):
        raise ValueError(f"the swapped-in parameters and groups do not fit the optimizer's, which have {sizes} parameters")
    own_state, own_groups = optimizer.state, [dict(group) for group in optimizer.param_groups]
    rest = iter(swapin_parameters.values())
    state: defaultdict[Tensor, Any] = defaultdict(dict)
    try:
        for group, given in zip(optimizer.param_groups, groups, strict=True):
            group.update({key: value for key, value in given.items() if key != "params"})
            group["params"] = [next(rest) for _ in given["params"]]
            for param, number in zip(group["params"], given["params"], strict=True):
                state[param] = dict(swapin_optim_state["state"].get(number, {}))
        optimizer.state = state
        yield
    finally:
        for group, own in zip(optimizer.param_groups, own_groups, strict=True):
            group.clear()
            group.update(own)
        optimizer.state = own_state
