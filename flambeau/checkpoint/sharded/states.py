"""States of models and optimizers that do not depend on how these are divided: by names of parameters, whatever wraps the model.

Source: https://docs.pytorch.org/docs/stable/distributed.checkpoint.html#torch.distributed.checkpoint.state_dict.get_state_dict
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flambeau import ops
from flambeau.distributed._group import get_rank, is_initialized
from flambeau.distributed._objects import broadcast_object_list
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.distributed.tensor.rules import lay
from flambeau.tensor import Tensor

__all__ = [
    "StateDictOptions", "get_model_state_dict", "get_optimizer_state_dict", "get_state_dict", "set_model_state_dict", "set_optimizer_state_dict",
    "set_state_dict",
]  # fmt: skip

_WRAPPERS = ("_fsdp_wrapped_module.", "_orig_mod.", "_checkpoint_wrapped_module.")


@dataclass
class StateDictOptions:
    """``full_state_dict``: whole tensors in place of DTensors; with ``cpu_offload`` for rank 0 only, and empty dicts for the
    others. ``ignore_frozen_params``: without parameters that want no gradient. ``strict``: what is loaded must fit.
    ``broadcast_from_rank0``: what is loaded is what rank 0 has. ``flatten_optimizer_state_dict``: names like
    ``state.layer.weight.exp_avg`` for states of optimizers."""

    full_state_dict: bool = False
    cpu_offload: bool = False
    ignore_frozen_params: bool = False
    keep_submodule_prefixes: bool = True
    strict: bool = True
    broadcast_from_rank0: bool = False
    flatten_optimizer_state_dict: bool = False
    dsd_fqn_modifiers: str = "_fqn_modifiers"

    def __post_init__(self) -> None:
        if self.broadcast_from_rank0 and not self.full_state_dict:
            raise ValueError("full_state_dict must be True when broadcast_from_rank0 is True.")


def _plain(model: Any) -> Any:
    """The module inside of ``DistributedDataParallel``."""
    return model.module if type(model).__name__ in ("DistributedDataParallel", "DataParallel") else model


def _name(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _names(model: Any) -> dict[int, str]:
    return {id(p): _name(name) for name, p in _plain(model).named_parameters()}


def _mapped(values: Any, change: Callable[[Tensor], Any]) -> Any:
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, dict):
        return {key: _mapped(value, change) for key, value in values.items()}
    return [_mapped(value, change) for value in values] if isinstance(values, list) else values


def _presented(state: dict[str, Any], options: StateDictOptions) -> dict[str, Any]:
    """A state made of what is wanted."""
    if options.full_state_dict:
        state = _mapped(state, lambda t: t.full_tensor() if isinstance(t, DTensor) else t)
        if options.cpu_offload and is_initialized() and get_rank() != 0:
            return {}
    return state


def _check(submodules: Any) -> None:
    if submodules is not None:
        raise NotImplementedError("submodules: states of parts of a model are not there yet; give the part as the model")


def get_model_state_dict(model: Any, *, submodules: Any = None, options: StateDictOptions | None = None) -> dict[str, Any]:
    """The parameters and buffers of a model by name: DTensors where they are divided, or whole. All processes call this."""
    _check(submodules)
    options = options or StateDictOptions()
    inner = _plain(model)
    frozen = {name for name, p in inner.named_parameters() if not p.requires_grad} if options.ignore_frozen_params else set()
    state = {_name(name): value for name, value in _divided_state(inner).items() if name not in frozen}
    return _presented(state, options)


def _divided_state(model: Any) -> dict[str, Any]:
    """``state_dict`` with DTensors also of what would make whole tensors of them."""
    if any(hasattr(m, "_state_dict_type") for m in model.modules()):
        from flambeau.nn.parallel.fully_sharded import FullyShardedDataParallel, StateDictType

        with FullyShardedDataParallel.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
            return model.state_dict()
    return model.state_dict()


def _several(optimizers: Any) -> list[Any]:
    return list(optimizers) if isinstance(optimizers, Iterable) else [optimizers]


def _begin(optimizer: Any) -> None:
    """Has an optimizer make the state that it would have after a step, without changing parameters."""
    if optimizer.state or any(p.grad is not None for group in optimizer.param_groups for p in group["params"]):
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    decays = [group.get("weight_decay") for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = ops.zeros_like(group["lr"]) if isinstance(group["lr"], Tensor) else 0.0
        if group.get("weight_decay") is not None:
            group["weight_decay"] = 0.0
        for p in group["params"]:
            if p.requires_grad:
                p.grad = ops.zeros_like(p.detach())
    optimizer.step(closure=None)
    for group, rate, decay in zip(optimizer.param_groups, rates, decays, strict=True):
        group["lr"] = rate
        if decay is not None:
            group["weight_decay"] = decay
    optimizer.zero_grad(set_to_none=True)
    for entries in optimizer.state.values():
        if isinstance(entries.get("step"), Tensor):
            entries["step"].fill_(0)


def get_optimizer_state_dict(
    model: Any, optimizers: Any, *, submodules: Any = None, options: StateDictOptions | None = None
) -> dict[str, Any]:
    """The states of optimizers by names of parameters. An optimizer that has made no step gets the state of one that has. All call
    this."""
    _check(submodules)
    options = options or StateDictOptions()
    names = _names(model)
    result: dict[str, Any] = {"state": {}, "param_groups": []}
    for optimizer in _several(optimizers):
        _begin(optimizer)
        given = optimizer.state_dict()
        order = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
        result["state"].update({order[number]: entries for number, entries in given["state"].items()})
        result["param_groups"] += [{**group, "params": [order[n] for n in group["params"]]} for group in given["param_groups"]]
    result = _presented(result, options)
    return _flat(result) if options.flatten_optimizer_state_dict and result else result


def _flat(state: dict[str, Any]) -> dict[str, Any]:
    flat = {f"state.{name}.{key}": value for name, entries in state["state"].items() for key, value in entries.items()}
    for group in state["param_groups"]:
        flat |= {f"param_groups.{name}.{key}": value for name in group["params"] for key, value in group.items() if key != "params"}
    return flat


def _unflat(flat: dict[str, Any], optimizer: Any, names: dict[int, str]) -> dict[str, Any]:
    state: dict[str, Any] = {"state": {}, "param_groups": []}
    for group in optimizer.param_groups:
        members = [names[id(p)] for p in group["params"]]
        first = f"param_groups.{members[0]}."
        state["param_groups"].append(
            {key.removeprefix(first): value for key, value in flat.items() if key.startswith(first)} | {"params": members}
        )
        for name in members:
            entries = {key.removeprefix(f"state.{name}."): v for key, v in flat.items() if key.startswith(f"state.{name}.")}
            if entries:
                state["state"][name] = entries
    return state


def get_state_dict(
    model: Any, optimizers: Any, *, submodules: Any = None, options: StateDictOptions | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """:func:`get_model_state_dict` and :func:`get_optimizer_state_dict`."""
    return (
        get_model_state_dict(model, submodules=submodules, options=options),
        get_optimizer_state_dict(model, optimizers, submodules=submodules, options=options),
    )


def _received(state: dict[str, Any], options: StateDictOptions) -> dict[str, Any]:
    """What is to be loaded here."""
    if not options.broadcast_from_rank0 or not is_initialized():
        return state
    box = [state if get_rank() == 0 else None]
    broadcast_object_list(box, 0)
    return box[0]  # type: ignore[return-value]


def set_model_state_dict(model: Any, model_state_dict: dict[str, Any], *, options: StateDictOptions | None = None) -> Any:
    """Loads what :func:`get_model_state_dict` gave, of DTensors or whole tensors; gives the keys that did not fit. All processes
    call this."""
    options = options or StateDictOptions()
    state = _received(model_state_dict, options)
    inner = _plain(model)
    own = {_name(name): name for name in _divided_state(inner)}
    if any(hasattr(m, "_state_dict_type") for m in inner.modules()):
        own = {name: name for name in own}
    return inner.load_state_dict({own.get(name, name): value for name, value in state.items()}, strict=options.strict)


def set_optimizer_state_dict(
    model: Any, optimizers: Any, optim_state_dict: dict[str, Any], *, options: StateDictOptions | None = None
) -> None:
    """Loads what :func:`get_optimizer_state_dict` gave. All processes call this.

    Raises:
        RuntimeError: parameters of an optimizer are not in the state.
    """
    options = options or StateDictOptions()
    given, names = _received(optim_state_dict, options), _names(model)
    for optimizer in _several(optimizers):
        state = given if "state" in given else _unflat(given, optimizer, names)
        order = [(names[id(p)], p) for group in optimizer.param_groups for p in group["params"]]
        numbers = {name: number for number, (name, _) in enumerate(order)}
        known = {name for group in state["param_groups"] for name in group["params"]}
        missing = [name for name in numbers if name not in known]
        if missing and options.strict:
            raise RuntimeError(f"Missing optimizer states for parameters: {', '.join(missing)}")
        groups, at = [], 0
        by_name = {name: group for group in state["param_groups"] for name in group["params"]}
        for group in optimizer.param_groups:
            members = [name for name, _ in order[at : at + len(group["params"])]]
            at += len(members)
            source = by_name.get(members[0], group) if members else group
            options_of = {key: value for key, value in source.items() if key != "params"}
            groups.append(
                {**{k: v for k, v in group.items() if k != "params"}, **options_of, "params": [numbers[name] for name in members]}
            )
        loaded = {
            numbers[name]: {key: _part(p, state["state"][name][key]) for key in state["state"][name]}
            for name, p in order
            if name in state["state"]
        }
        optimizer.load_state_dict({"state": loaded, "param_groups": groups})


def _part(p: Tensor, value: Any) -> Any:
    """A state of a parameter as that lies."""
    if (
        isinstance(p, DTensor)
        and isinstance(value, Tensor)
        and not isinstance(value, DTensor)
        and value.dim()
        and math.prod(value.shape) == p.numel()
    ):
        return p._with(lay(value, p.device_mesh, p.placements))
    return value


def set_state_dict(
    model: Any,
    optimizers: Any,
    *,
    model_state_dict: dict[str, Any],
    optim_state_dict: dict[str, Any],
    options: StateDictOptions | None = None,
) -> Any:
    """:func:`set_model_state_dict` and :func:`set_optimizer_state_dict`."""
    if optim_state_dict:
        set_optimizer_state_dict(model, optimizers, optim_state_dict, options=options)
    return set_model_state_dict(model, model_state_dict, options=options)
