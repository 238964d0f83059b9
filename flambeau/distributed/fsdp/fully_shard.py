"""``fully_shard``: modules whose parameters, gradients and optimizer states are divided among processes.

Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from flambeau.dispatch import grad_mode
from flambeau.distributed._group import get_world_size
from flambeau.distributed.device_mesh import DeviceMesh, init_device_mesh
from flambeau.distributed.fsdp.nests import mapped, tensors_in
from flambeau.distributed.fsdp.policies import MixedPrecisionPolicy, OffloadPolicy, casted
from flambeau.distributed.fsdp.unit import Return, Unit
from flambeau.distributed.placements import Shard
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.engine.run import run_pending
from flambeau.tensor import Tensor

__all__ = ["FSDPModule", "UnshardHandle", "fully_shard", "register_fsdp_forward_method"]

_active: list[Unit] = []
"""The units whose forward passes are going on, from the outermost one."""


class UnshardHandle:
    """What :meth:`FSDPModule.unshard` gives with ``async_op``."""

    def __init__(self, unit: Unit | None) -> None:
        self._unit = unit

    def wait(self) -> None:
        """Waits until the parameters are whole."""
        if self._unit is not None:
            self._unit.unshard()
            self._unit = None


class FSDPModule:
    """What classes of modules have in addition after :func:`fully_shard`."""

    _fsdp_unit: Unit

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Modules that a sharded one makes are of its own class."""
        original = cls.__mro__[2]
        return original(*args, **kwargs)

    def _units(self, recurse: bool = True) -> list[Unit]:
        return [m._fsdp_unit for m in self.modules() if isinstance(m, FSDPModule)] if recurse else [self._fsdp_unit]  # type: ignore[attr-defined]

    def unshard(self, async_op: bool = False) -> UnshardHandle | None:
        """Makes the parameters whole before the module is used."""
        if async_op:
            self._fsdp_unit.fetch()
            return UnshardHandle(self._fsdp_unit)
        self._fsdp_unit.unshard()
        return None

    def reshard(self) -> None:
        """Gives the whole parameters back."""
        self._fsdp_unit.reshard()

    def set_requires_gradient_sync(self, requires_gradient_sync: bool, *, recurse: bool = True) -> None:
        """Whether backward passes average gradients; where not, whole ones are added up here until a pass that does."""
        for unit in self._units(recurse):
            unit.syncs = requires_gradient_sync

    def set_requires_all_reduce(self, requires_all_reduce: bool, *, recurse: bool = True) -> None:
        """Whether backward passes average over the replicas of a mesh of two dims."""
        for unit in self._units(recurse):
            unit.reduces_replicas = requires_all_reduce

    def set_reshard_after_forward(self, reshard_after_forward: bool, recurse: bool = True) -> None:
        """Whether whole parameters are given back between forward and backward pass."""
        for unit in self._units(recurse):
            unit.reshards = reshard_after_forward

    def set_reshard_after_backward(self, reshard_after_backward: bool, *, recurse: bool = True) -> None:
        """Whether whole parameters are given back at once after the backward pass."""
        for unit in self._units(recurse):
            unit.reshards_after_backward = reshard_after_backward

    def set_is_last_backward(self, is_last_backward: bool) -> None:
        """Nothing is put off to the last of several backward passes, so there is nothing to be told."""

    def set_gradient_divide_factor(self, factor: float) -> None:
        """By what sums of gradients are divided, in place of the number of processes."""
        self._fsdp_unit.divisor = factor

    set_reduce_scatter_divide_factor = set_gradient_divide_factor

    def set_modules_to_forward_prefetch(self, modules: list[FSDPModule]) -> None:
        """Modules whose parameters are on their way while this one computes forward."""
        self._fsdp_unit.next_forward = [module._fsdp_unit for module in modules]

    def set_modules_to_backward_prefetch(self, modules: list[FSDPModule]) -> None:
        """Modules whose parameters are on their way while this one computes backward."""
        self._fsdp_unit.next_backward = [module._fsdp_unit for module in modules]


def _before(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    unit = module._fsdp_unit
    if not _active:
        unit.is_root = True
        for other in module._units():
            other.is_root = other is unit
    _active.append(unit)
    if unit.policy.cast_forward_inputs:
        args, kwargs = casted(args, unit.policy.param_dtype), casted(kwargs, unit.policy.param_dtype)
    unit.unshard()
    for other in unit.next_forward:
        other.fetch()
    return args, kwargs


def _after(module: Any, args: tuple, output: Any) -> Any:
    unit = module._fsdp_unit
    if unit in _active:
        del _active[_active.index(unit) :]
    call = unit.using
    unit.reshard()
    if call is None or output is None:
        return output
    output = casted(output, unit.policy.output_dtype)
    reached = [t for t in tensors_in(output) if t.requires_grad] if grad_mode.enabled else []
    if reached:
        returned = iter(Return.apply(call, *reached))
        output = mapped(output, lambda t: next(returned) if t.requires_grad else t)
    if unit.reshards if unit.reshards is not None else not unit.is_root:
        run_pending()
        call.give_back()
    return output


def register_fsdp_forward_method(module: Any, method_name: str) -> None:
    """Has another method of a module used like its ``forward``: with whole parameters."""
    if not isinstance(module, FSDPModule):
        return
    method = getattr(module, method_name)

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = _before(module, args, kwargs)
        output = None
        try:
            output = method(*args, **kwargs)
        finally:
            output = _after(module, args, output)
        return output

    module.__dict__[method_name] = call


def _found(module: Any, ignored: set[int]) -> list[tuple[Tensor, list[tuple[dict[str, Any], str]]]]:
    """The parameters of a module that no other unit has, each with all its places."""
    found: dict[int, tuple[Tensor, list[tuple[dict[str, Any], str]]]] = {}
    seen: set[int] = set()

    def walk(module: Any, top: bool) -> None:
        if id(module) in seen or not top and isinstance(module, FSDPModule):
            return
        seen.add(id(module))
        for name, p in module._parameters.items():
            if p is None or id(p) in ignored:
                continue
            if isinstance(p, DTensor):
                raise NotImplementedError(
                    f"fully_shard: parameter {name} is a DTensor already; sharding it along a second mesh is not there yet"
                )
            if not p.dim():
                raise ValueError(
                    f"fully_shard doesn't support scalar parameters. Change {name} to a 1D tensor with numel equal to 1."
                )
            if getattr(p, "_fsdp_taken", False):
                raise ValueError(
                    f"fully_shard: parameter {name} is shared with a module that is sharded already; shard a module that has both"
                )
            found.setdefault(id(p), (p, []))[1].append((module._parameters, name))
        for child in module.children():
            walk(child, False)

    walk(module, True)
    return list(found.values())


def fully_shard(
    module: Any, *, mesh: DeviceMesh | None = None, reshard_after_forward: bool | int | None = None,
    shard_placement_fn: Callable[[Tensor], Shard | None] | None = None, mp_policy: MixedPrecisionPolicy = MixedPrecisionPolicy(),  # noqa: B008
    offload_policy: OffloadPolicy = OffloadPolicy(), ignored_params: Iterable[Tensor] | None = None, dp_mesh_dims: Any = None,  # noqa: B008
) -> Any:  # fmt: skip
    """Divides the parameters of a module among the processes of a mesh, and their gradients and optimizer states with them.

    Parameters become :class:`DTensor`, cut along dim 0 (or as ``shard_placement_fn`` says). Those that an inner call has not taken
    already are gathered together before the module's forward pass, and given back after it. Call it for the layers first and for
    the model last: then a process holds :math:`1/N` of all, and the whole of one layer. ``reshard_after_forward=False`` keeps what
    is whole until the backward pass is done; by default the outermost module does. A mesh of two dims: replicas along the first,
    parts along the second.

    Each process begins with its part of its own values: make the same in all (``torch.manual_seed``). Make the optimizer
    afterwards.

    >>> import flambeau as torch
    >>> from flambeau import distributed as dist, nn
    >>> from flambeau.distributed.fsdp import fully_shard
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> for layer in (net[0], net[2], net):
    ...     _ = fully_shard(layer)
    >>> optimizer = torch.optim.Adam(net.parameters())
    >>> net(torch.ones(2, 3)).sum().backward()
    >>> optimizer.step()
    >>> type(net).__name__, net[0].weight.placements
    ('FSDPSequential', (Shard(dim=0),))
    >>> dist.destroy_process_group()

    Raises:
        ValueError: a parameter has no dims, or the mesh more than two.
        NotImplementedError: parameters are laid on a mesh already, or ``reshard_after_forward`` is a number.
    """
    if isinstance(module, (list, tuple)):
        raise NotImplementedError("fully_shard: several modules as one are not there yet; shard a module that has them")
    if isinstance(module, FSDPModule):
        raise AssertionError(f"fully_shard has been applied to this module already: {type(module).__name__}")
    if dp_mesh_dims is not None:
        raise NotImplementedError("fully_shard: dp_mesh_dims is not there yet; give the mesh of these dims, mesh['dp']")
    if reshard_after_forward is not None and not isinstance(reshard_after_forward, bool):
        raise NotImplementedError("fully_shard: reshard_after_forward as a number of processes is not there yet; use True or False")
    mesh = init_device_mesh("cpu", (get_world_size(),)) if mesh is None else mesh
    if mesh.ndim not in (1, 2):
        raise ValueError(f"fully_shard expects a 1D or 2D DeviceMesh but got {mesh}")

    def dim_of(p: Tensor) -> int:
        placement = shard_placement_fn(p) if shard_placement_fn is not None else None
        if placement is not None and type(placement) is not Shard:
            raise NotImplementedError(f"fully_shard: shard_placement_fn gives Shard or None, not {placement!r}")
        return 0 if placement is None else placement.dim % p.dim()

    found = _found(module, {id(p) for p in ignored_params or ()})
    for p, _ in found:
        p._fsdp_taken = True  # type: ignore[attr-defined]
    module.__dict__["_fsdp_unit"] = Unit(found, mesh, reshard_after_forward, mp_policy, dim_of)
    module.__class__ = _class_of(type(module))
    module.register_forward_pre_hook(_before, prepend=True, with_kwargs=True)
    module.register_forward_hook(_after, always_call=True)
    return module


_classes: dict[type, type] = {}


def _class_of(cls: type) -> type:
    """The class of sharded modules of a class."""
    if cls not in _classes:
        _classes[cls] = type(f"FSDP{cls.__name__}", (FSDPModule, cls), {"__module__": cls.__module__, "__deepcopy__": _no_copy})
    return _classes[cls]


def _no_copy(self: Any, memo: dict) -> Any:
    raise AssertionError("FSDP does not support deepcopy. Please use state dict for serialization.")
