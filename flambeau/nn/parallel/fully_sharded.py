"""``FullyShardedDataParallel``: the older form of :func:`~flambeau.distributed.fsdp.fully_shard`, a module around another one.

Source: https://docs.pytorch.org/docs/stable/fsdp.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from flambeau.autograd import no_grad
from flambeau.core.dtypes import dtype as Dtype
from flambeau.distributed._collectives import broadcast
from flambeau.distributed._group import ProcessGroup, member
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.fsdp.fully_shard import FSDPModule, fully_shard
from flambeau.distributed.fsdp.policies import MixedPrecisionPolicy
from flambeau.distributed.fsdp.wrap import units_of
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.distributed.tensor.rules import lay
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.clip_grad import clip_grad_norm_
from flambeau.tensor import Tensor

__all__ = [
    "BackwardPrefetch", "CPUOffload", "FullOptimStateDictConfig", "FullStateDictConfig", "FullyShardedDataParallel", "MixedPrecision",
    "OptimStateDictConfig", "ShardedOptimStateDictConfig", "ShardedStateDictConfig", "ShardingStrategy", "StateDictConfig", "StateDictType",
]  # fmt: skip

_PREFIX = "_fsdp_wrapped_module."


class ShardingStrategy(Enum):
    """What is divided: everything, everything but parameters between forward and backward pass, nothing; or among some processes
    only."""

    FULL_SHARD = 1
    SHARD_GRAD_OP = 2
    NO_SHARD = 3
    HYBRID_SHARD = 4
    _HYBRID_SHARD_ZERO2 = 5


class BackwardPrefetch(Enum):
    """When the next parameters are gathered in backward passes: results are the same."""

    BACKWARD_PRE = 1
    BACKWARD_POST = 2


class StateDictType(Enum):
    """What states are made of: whole tensors, what PyTorch's flat parameters have here (which there are none of), or DTensors."""

    FULL_STATE_DICT = 1
    LOCAL_STATE_DICT = 2
    SHARDED_STATE_DICT = 3


@dataclass
class MixedPrecision:
    """In which dtypes a module computes."""

    param_dtype: Dtype | None = None
    reduce_dtype: Dtype | None = None
    buffer_dtype: Dtype | None = None
    keep_low_precision_grads: bool = False
    cast_forward_inputs: bool = False
    cast_root_forward_inputs: bool = True


@dataclass
class CPUOffload:
    """Whether parameters lie in the memory of the CPU: they always do."""

    offload_params: bool = False


@dataclass
class StateDictConfig:
    """How states are made."""

    offload_to_cpu: bool = False


@dataclass
class FullStateDictConfig(StateDictConfig):
    """Whole tensors; with ``rank0_only`` other processes get an empty dict."""

    rank0_only: bool = False


@dataclass
class ShardedStateDictConfig(StateDictConfig):
    """DTensors."""


OptimStateDictConfig, ShardedOptimStateDictConfig = StateDictConfig, ShardedStateDictConfig


@dataclass
class FullOptimStateDictConfig(FullStateDictConfig):
    """Whole tensors, of an optimizer."""


class FullyShardedDataParallel(Module):
    """``module``, whose parameters, gradients and optimizer states are divided among processes.

    Units inside of it are those that ``auto_wrap_policy`` selects; what no unit has is gathered with the outermost module.
    ``state_dict`` gives whole tensors (or what :meth:`state_dict_type` says), in all processes. See
    :func:`~flambeau.distributed.fsdp.fully_shard`.

    >>> import flambeau as torch
    >>> from flambeau import distributed as dist, nn
    >>> from flambeau.distributed.fsdp import FullyShardedDataParallel
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> net = FullyShardedDataParallel(nn.Linear(3, 1))
    >>> net(torch.ones(2, 3)).shape, {name: tuple(t.shape) for name, t in net.state_dict().items()}
    (torch.Size([2, 1]), {'weight': (1, 3), 'bias': (1,)})
    >>> dist.destroy_process_group()
    """

    def __init__(
        self, module: Module, process_group: ProcessGroup | None = None, sharding_strategy: ShardingStrategy | None = None,
        cpu_offload: CPUOffload | None = None, auto_wrap_policy: Callable[..., bool] | None = None,
        backward_prefetch: BackwardPrefetch | None = BackwardPrefetch.BACKWARD_PRE, mixed_precision: MixedPrecision | None = None,
        ignored_modules: Iterable[Module] | None = None, param_init_fn: Callable[[Module], None] | None = None, device_id: Any = None,
        sync_module_states: bool = False, forward_prefetch: bool = False, limit_all_gathers: bool = True, use_orig_params: bool = False,
        ignored_states: Iterable[Tensor] | Iterable[Module] | None = None, device_mesh: DeviceMesh | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if param_init_fn is not None:
            for part in module.modules():
                param_init_fn(part)
        states = list(ignored_states or ())
        aside = [*(ignored_modules or ()), *[s for s in states if isinstance(s, Module)]]
        ignored = {id(m) for top in aside for m in top.modules()}
        parameters = [s for s in states if isinstance(s, Tensor)] + [p for m in aside for p in m.parameters()]
        strategy = sharding_strategy or ShardingStrategy.FULL_SHARD
        mesh = _mesh_of(strategy, process_group, device_mesh)
        if sync_module_states:
            for group in mesh.get_all_groups():
                for t in [*module.parameters(), *module.buffers()]:
                    if not isinstance(t, DTensor):
                        broadcast(t.detach(), group=group, group_src=0)
        reshards = strategy in (ShardingStrategy.FULL_SHARD, ShardingStrategy.HYBRID_SHARD)
        settings: dict[str, Any] = {"mesh": mesh, "mp_policy": _policy_of(mixed_precision, module), "ignored_params": parameters}
        inner = units_of(module, auto_wrap_policy, ignored) if auto_wrap_policy is not None else []
        for unit in inner:
            if not isinstance(unit, FSDPModule):
                fully_shard(unit, reshard_after_forward=reshards, **settings)
        self.sharding_strategy, self.mixed_precision = strategy, mixed_precision
        self._fsdp_wrapped_module = (
            module
            if isinstance(module, FSDPModule)
            else fully_shard(module, reshard_after_forward=None if reshards else False, **settings)
        )
        self._state_dict_type, self._state_dict_config = StateDictType.FULL_STATE_DICT, StateDictConfig()
        self.register_state_dict_post_hook(_present)
        self.register_load_state_dict_pre_hook(_wrapped_names)

    @property
    def module(self) -> Module:
        """The module inside."""
        return self._fsdp_wrapped_module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The result of the module."""
        return self._fsdp_wrapped_module(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "_fsdp_wrapped_module":
                raise
            return getattr(self._fsdp_wrapped_module, name)

    def __getitem__(self, key: Any) -> Any:
        return self._fsdp_wrapped_module[key]  # type: ignore[index]

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        """Parameters by the names that they have without this module."""
        for name, p in super().named_parameters(*args, **kwargs):
            yield name.replace(_PREFIX, ""), p

    def named_buffers(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        """Buffers by the names that they have without this module."""
        for name, b in super().named_buffers(*args, **kwargs):
            yield name.replace(_PREFIX, ""), b

    def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> Tensor:
        """Scales all gradients so that their norm, over all processes, is at most ``max_norm``; gives the norm before."""
        norm = clip_grad_norm_(self.parameters(), max_norm, norm_type)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def _sharded(self) -> list[FSDPModule]:
        return [m for m in self.modules() if isinstance(m, FSDPModule)]

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Gradients are added up without being averaged inside; the first pass outside averages the sums."""
        for m in self._sharded():
            m.set_requires_gradient_sync(False, recurse=False)
        try:
            yield
        finally:
            for m in self._sharded():
                m.set_requires_gradient_sync(True, recurse=False)

    @staticmethod
    def fsdp_modules(module: Module, root_only: bool = False) -> list[Any]:
        """The sharded modules inside of ``module``."""
        found = [m for m in module.modules() if isinstance(m, FullyShardedDataParallel)]
        return found[:1] if root_only else found

    @staticmethod
    @contextmanager
    def summon_full_params(
        module: Module,
        recurse: bool = True,
        writeback: bool = True,
        rank0_only: bool = False,
        offload_to_cpu: bool = False,
        with_grads: bool = False,
    ) -> Iterator[None]:
        """Makes parameters whole inside, for reading and writing."""
        if with_grads:
            raise NotImplementedError("summon_full_params: with_grads is not there yet; p.grad.full_tensor() gives whole gradients")
        units = [m._fsdp_unit for m in module.modules() if isinstance(m, FSDPModule)]
        with no_grad():
            calls = [unit.unshard() for unit in units]
        try:
            yield
        finally:
            for unit, call in zip(units, calls, strict=True):
                whole = [p.places[0][0][p.places[0][1]] for p in unit.parameters]
                unit.reshard()
                if writeback:
                    with no_grad():
                        for part, t in zip(call.parts, whole, strict=True):
                            part._v.copy_(lay(t.detach(), part.device_mesh, part.placements))

    # --- states -----------------------------------------------------------------------------------------------

    @staticmethod
    def set_state_dict_type(
        module: Module,
        state_dict_type: StateDictType,
        state_dict_config: StateDictConfig | None = None,
        optim_state_dict_config: StateDictConfig | None = None,
    ) -> tuple[StateDictType, StateDictConfig]:
        """Says what states are made of from now on; gives what was said before."""
        if state_dict_type is StateDictType.LOCAL_STATE_DICT:
            raise NotImplementedError("LOCAL_STATE_DICT: there are no flat parameters here; use SHARDED_STATE_DICT")
        before = StateDictType.FULL_STATE_DICT, StateDictConfig()
        for m in FullyShardedDataParallel.fsdp_modules(module):
            before = m._state_dict_type, m._state_dict_config
            m._state_dict_type, m._state_dict_config = state_dict_type, state_dict_config or StateDictConfig()
        return before

    @staticmethod
    @contextmanager
    def state_dict_type(
        module: Module,
        state_dict_type: StateDictType,
        state_dict_config: StateDictConfig | None = None,
        optim_state_dict_config: StateDictConfig | None = None,
    ) -> Iterator[None]:
        """Says what states are made of inside."""
        before = FullyShardedDataParallel.set_state_dict_type(module, state_dict_type, state_dict_config)
        try:
            yield
        finally:
            FullyShardedDataParallel.set_state_dict_type(module, *before)

    @staticmethod
    def optim_state_dict(
        model: Module, optim: Any, optim_state_dict: dict[str, Any] | None = None, group: Any = None
    ) -> dict[str, Any]:
        """The state of an optimizer by names of parameters, as :meth:`state_dict_type` says."""
        names = {id(p): name for name, p in model.named_parameters()}
        order = [names[id(p)] for g in optim.param_groups for p in g["params"]]
        given = optim.state_dict() if optim_state_dict is None else optim_state_dict
        outer = next(iter(FullyShardedDataParallel.fsdp_modules(model)), None)
        full = outer is None or outer._state_dict_type is StateDictType.FULL_STATE_DICT
        state = {
            order[i]: {key: _whole(value) if full else value for key, value in entries.items()}
            for i, entries in given["state"].items()
        }
        groups = [{**g, "params": [order[i] for i in g["params"]]} for g in given["param_groups"]]
        return {"state": state, "param_groups": groups}

    @staticmethod
    def optim_state_dict_to_load(
        model: Module,
        optim: Any,
        optim_state_dict: dict[str, Any],
        is_named_optimizer: bool = False,
        load_directly: bool = False,
        group: Any = None,
    ) -> dict[str, Any]:
        """What :meth:`optim_state_dict` gave, for ``optim.load_state_dict``: each process takes its part."""
        named = dict(model.named_parameters())
        numbers = {id(p): i for i, p in enumerate(p for g in optim.param_groups for p in g["params"])}

        def part(p: Tensor, value: Any) -> Any:
            if (
                isinstance(p, DTensor)
                and isinstance(value, Tensor)
                and not isinstance(value, DTensor)
                and value.dim()
                and value.shape == p.shape
            ):
                return p._with(lay(value, p.device_mesh, p.placements))
            return value

        state = {
            numbers[id(named[name])]: {key: part(named[name], value) for key, value in entries.items()}
            for name, entries in optim_state_dict["state"].items()
        }
        groups = [{**g, "params": [numbers[id(named[name])] for name in g["params"]]} for g in optim_state_dict["param_groups"]]
        made = {"state": state, "param_groups": groups}
        if load_directly:
            optim.load_state_dict(made)
        return made


def _whole(value: Any) -> Any:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _present(module: FullyShardedDataParallel, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """The entries of a state by the names that they have without this module, and made of what is wanted."""
    full = module._state_dict_type is StateDictType.FULL_STATE_DICT
    drop = full and getattr(module._state_dict_config, "rank0_only", False) and member().rank() != 0
    for key in [key for key in state if key.startswith(prefix)]:
        value = state.pop(key)
        value = _whole(value) if full else value
        if not drop:
            state[prefix + key[len(prefix) :].replace(_PREFIX, "")] = value


def _wrapped_names(module: FullyShardedDataParallel, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """The entries of a state that is loaded by the names that they have with this module."""
    for key in [key for key in state if key.startswith(prefix) and not key.startswith(prefix + _PREFIX)]:
        state[prefix + _PREFIX + key[len(prefix) :]] = state.pop(key)


def _policy_of(mixed: MixedPrecision | None, module: Module) -> MixedPrecisionPolicy:
    if mixed is None:
        return MixedPrecisionPolicy()
    if mixed.keep_low_precision_grads:
        raise NotImplementedError(
            "MixedPrecision: keep_low_precision_grads is not there yet; gradients have the dtype of their parameters"
        )
    if mixed.buffer_dtype is not None:
        for part in module.modules():
            for name, b in part._buffers.items():
                if b is not None and b.is_floating_point():
                    part._buffers[name] = b.to(mixed.buffer_dtype)
    casts = mixed.cast_forward_inputs or mixed.cast_root_forward_inputs
    return MixedPrecisionPolicy(mixed.param_dtype, mixed.reduce_dtype, cast_forward_inputs=casts)


def _mesh_of(strategy: ShardingStrategy, group: Any, mesh: DeviceMesh | None) -> DeviceMesh:
    """The processes among which modules are divided, after those that are replicas."""
    hybrid = strategy in (ShardingStrategy.HYBRID_SHARD, ShardingStrategy._HYBRID_SHARD_ZERO2)
    if hybrid:
        if mesh is None and isinstance(group, tuple):
            raise NotImplementedError(
                "HYBRID_SHARD of two groups is not there yet; give a device_mesh of two dims (replicas, parts)"
            )
        if mesh is None or mesh.ndim != 2:
            raise ValueError(f"{strategy.name} needs a device_mesh of two dims (replicas, parts)")
        return mesh
    if mesh is None:
        mesh = DeviceMesh.from_group(member(group), "cpu")
    if strategy is ShardingStrategy.NO_SHARD:
        return DeviceMesh("cpu", mesh._ranks.reshape(-1, 1).tolist())
    return mesh
