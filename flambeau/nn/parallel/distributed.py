"""A module that several processes train together: each with its inputs, all with the same weights.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau import dispatch, ops
from flambeau.core import dtypes
from flambeau.distributed._collectives import all_reduce, broadcast
from flambeau.distributed._group import ProcessGroup, member
from flambeau.distributed._objects import all_gather_object
from flambeau.distributed._reduction import ReduceOp
from flambeau.distributed.algorithms.join import Join, Joinable, JoinHook
from flambeau.distributed.reducer import MEGABYTE, GradBucket, Reducer
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.sparse import Embedding, EmbeddingBag
from flambeau.nn.modules.sync_batchnorm import SyncBatchNorm
from flambeau.tensor import Tensor

__all__ = ["DistributedDataParallel"]

DEFAULT_BUCKET = 25


class DistributedDataParallel(Module, Joinable):
    """``module``, whose gradients are averaged over all processes of a group at the end of each backward pass.

    All begin with the weights and buffers of the first process, and take its buffers again before each forward pass
    (``forward_sync_buffers``; ``broadcast_buffers``, the older word, is about the beginning too). Gradients are sent in buckets of
    ``bucket_cap_mb``. Parameters that have no part in a loss need ``find_unused_parameters``. With ``gradient_as_bucket_view``
    gradients are views of the buckets. Names in the ``state_dict`` begin with ``module.``.

    >>> import flambeau as torch
    >>> from flambeau import distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> net = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
    >>> net(torch.ones(3, 2)).shape, list(net.state_dict())
    (torch.Size([3, 1]), ['module.weight', 'module.bias'])
    >>> dist.destroy_process_group()

    Raises:
        ValueError: no group has been made.
        RuntimeError: no parameter wants a gradient, or the modules of the processes have different parameters.
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0, broadcast_buffers: bool | None = None,
        init_sync: bool = True, process_group: ProcessGroup | None = None, bucket_cap_mb: float | None = None, find_unused_parameters: bool = False,
        check_reduction: bool = False, gradient_as_bucket_view: bool = False, static_graph: bool = False, delay_all_reduce_named_params: Any = None,
        param_to_hook_all_reduce: Any = None, mixed_precision: Any = None, device_mesh: Any = None, skip_all_reduce_unused_params: bool = False,
        bucket_cap_mb_list: list[int] | None = None, batched_grad_copy: bool = False, forward_sync_buffers: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.process_group = member(process_group)
        for name, value in (
            ("mixed_precision", mixed_precision),
            ("device_mesh", device_mesh),
            ("delay_all_reduce_named_params", delay_all_reduce_named_params),
        ):
            if value is not None:
                raise NotImplementedError(f"DistributedDataParallel: {name} is not there yet")
        if device_ids or output_device is not None:
            raise ValueError(
                "DistributedDataParallel device_ids and output_device arguments only work with single-device/multiple-device GPU modules or CPU "
                f"modules, but got device_ids {device_ids}, output_device {output_device}, and module parameters {{device(type='cpu')}}."
            )
        if bucket_cap_mb is not None and bucket_cap_mb <= 0:
            raise ValueError("bucket_cap_mb must be positive")
        ignored = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        named = [(name, p) for name, p in module.named_parameters() if name not in ignored]
        trained = [(name, p) for name, p in named if p.requires_grad]
        if not trained:
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter that requires a gradient."
            )
        self.module = module
        self.device_ids = self.output_device = self.mixed_precision = None
        self.device, self.device_type, self.is_multi_device_module = trained[0][1].device, "cpu", False
        self.parameters_to_ignore = ignored
        self.dim, self.static_graph = dim, static_graph
        begins_alike = self._choose_buffers(broadcast_buffers, forward_sync_buffers)
        self.find_unused_parameters, self.gradient_as_bucket_view = find_unused_parameters, gradient_as_bucket_view
        self.require_backward_grad_sync = self.require_forward_param_sync = True
        self._weights = [p for _, p in named]
        self._buffers_of_module = [b for name, b in module.named_buffers() if name not in ignored]
        if init_sync:
            self._check_shapes([p for _, p in trained])
            self._take_state_of(0, buffers=begins_alike)
        self.bucket_bytes_cap = int((bucket_cap_mb or DEFAULT_BUCKET) * MEGABYTE)
        self._trained = trained
        self._make_reducer()

    def _choose_buffers(self, broadcast_buffers: bool | None, forward_sync_buffers: bool | None) -> bool:
        """Notes whether buffers are sent before each forward pass; whether all begin with the same ones."""
        if broadcast_buffers is not None:
            text = (
                "`broadcast_buffers` is deprecated. Use `forward_sync_buffers` instead. IMPORTANT: unlike `broadcast_buffers=False`, "
                "`forward_sync_buffers=False` still syncs buffers at init. If you rely on buffers NOT being synced at init (e.g. rank-local buffers), "
                "keep using `broadcast_buffers=False` until `init_sync_buffers` is available."
                if forward_sync_buffers is None
                else "Both `broadcast_buffers` and `forward_sync_buffers` were specified. `broadcast_buffers` is deprecated and its value is ignored when "
                "`forward_sync_buffers` is provided."
            )
            warnings.warn(text, FutureWarning, stacklevel=3)
        self.forward_sync_buffers = forward_sync_buffers if forward_sync_buffers is not None else broadcast_buffers is not False
        return forward_sync_buffers is not None or self.forward_sync_buffers

    @property
    def broadcast_buffers(self) -> bool:
        """The older name of ``forward_sync_buffers``."""
        return self.forward_sync_buffers

    @broadcast_buffers.setter
    def broadcast_buffers(self, value: bool) -> None:
        self.forward_sync_buffers = value

    def _make_reducer(self) -> None:
        names, parameters = zip(*self._trained, strict=True)
        unused = self.find_unused_parameters or self.static_graph
        tables = {id(m.weight) for m in self.module.modules() if isinstance(m, (Embedding, EmbeddingBag)) and m.sparse}
        sparse = [i for i, p in enumerate(parameters) if id(p) in tables]
        self.reducer = Reducer(
            parameters, names, self.process_group, self.bucket_bytes_cap, unused, self.gradient_as_bucket_view, sparse
        )

    def _get_ddp_logging_data(self) -> dict[str, Any]:
        """What there is to say of it, by PyTorch's names."""
        parameters = [p for _, p in self._trained]
        sizes = [sum([parameters[i].numel() * parameters[i].dtype.itemsize for i in bucket]) for bucket in self.reducer.buckets]
        environment = {
            name.lower(): os.environ.get(name, "N/A") for name in ("MASTER_ADDR", "MASTER_PORT", "TORCH_DISTRIBUTED_DEBUG")
        }
        return environment | {
            "world_size": self.process_group.size(), "rank": self.process_group.rank(), "module_name": type(self.module).__name__,
            "backend_name": self.process_group.name(), "device_ids": "", "output_device": -1, "is_multi_device_module": 0,
            "dtypes": ", ".join(dict.fromkeys([dtypes.scalar_name(p.dtype).lower() for p in parameters])), "num_parameter_tensors": len(parameters),
            "total_parameter_size_bytes": sum([p.numel() * p.dtype.itemsize for p in parameters]), "bucket_sizes": ", ".join(map(str, sizes)),
            "bucket_cap_bytes": self.bucket_bytes_cap, "broadcast_buffers": int(self.forward_sync_buffers),
            "find_unused_parameters": int(self.find_unused_parameters), "gradient_as_bucket_view": int(self.gradient_as_bucket_view),
            "has_sync_bn": int(any([isinstance(m, SyncBatchNorm) for m in self.module.modules()])),
        }  # fmt: skip

    def _check_shapes(self, parameters: list[Tensor]) -> None:
        shapes = [tuple(p.shape) for p in parameters]
        everywhere: list[Any] = [None] * self.process_group.size()
        all_gather_object(everywhere, shapes, self.process_group)
        rank = self.process_group.rank()
        for other, theirs in enumerate(everywhere):
            if len(theirs) != len(everywhere[0]):
                raise RuntimeError(
                    f"DDP expects same model across all ranks, but Rank {rank} has {len(shapes)} params, while rank {other} has inconsistent {len(theirs)} params."
                )
        for i, (ours, first) in enumerate(zip(shapes, everywhere[0], strict=True)):
            if any(theirs[i] != first for theirs in everywhere):
                raise RuntimeError(
                    f"[{rank}]: params[{i}] in this process with sizes {list(ours)} appears not to match sizes of the same param in process 0: {list(first)}."
                )

    def _take_state_of(self, rank: int, buffers: bool = True) -> None:
        """Gives all processes the weights of one, and its buffers."""
        for t in [*self._weights, *self._buffers_of_module * buffers]:
            broadcast(t.detach(), group=self.process_group, group_src=rank)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The result of the module; the backward pass from it averages the gradients."""
        joining = Join.notify_join_context(self)
        syncs = bool(dispatch.grad_mode.enabled) and self.require_backward_grad_sync
        if self._join_config.enable:
            self._agree_on_sync(self.require_backward_grad_sync)
        if joining is not None:
            working = int(joining.result()[0].item())
            self.reducer.divisor = self.process_group.size() if self._divides_by_all else working
        if self.require_forward_param_sync and self.forward_sync_buffers:
            self._send_buffers(working=True)
        if syncs:
            self.reducer.prepare()
        self.require_forward_param_sync = syncs
        return self.module(*inputs, **kwargs)

    _divides_by_all = True

    def _send_buffers(self, working: bool) -> None:
        """Gives all processes the buffers of the first one, or of one that still has inputs."""
        if not self._buffers_of_module or self.process_group.size() == 1:
            return
        root = self._a_rank_that(working) if self._join_config.enable else 0
        for buffer in self._buffers_of_module:
            broadcast(buffer, group=self.process_group, group_src=root)

    def _a_rank_that(self, answer: bool) -> int:
        """The greatest rank in the group whose answer is true."""
        rank = ops.full((1,), float(self.process_group.rank() if answer else -1))
        all_reduce(rank, ReduceOp.MAX, self.process_group)
        return int(rank.item())

    def _agree_on_sync(self, wanted: bool) -> bool:
        """Whether those that have inputs average the gradients of this iteration; the others ask."""
        flag = ops.full((1,), float(wanted))
        all_reduce(flag, group=self.process_group)
        return bool(flag.item())

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Gradients are added up without being averaged inside; the first pass outside averages the sums."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def join(
        self, divide_by_initial_world_size: bool = True, enable: bool = True, throw_on_early_termination: bool = False
    ) -> Join:
        """Lets processes that have fewer inputs leave the loop earlier: ``with model.join():``.

        Sums are divided by the number of all processes, or of those that still have inputs.
        """
        return Join([self], enable, throw_on_early_termination, divide_by_initial_world_size=divide_by_initial_world_size)

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """What a process without inputs does; see :meth:`join`."""
        self._divides_by_all = kwargs.get("divide_by_initial_world_size", True)
        return _Shadow(self)

    @property
    def join_device(self) -> Any:
        """The CPU."""
        return self._weights[0].device

    @property
    def join_process_group(self) -> ProcessGroup:
        """The group over which gradients are averaged."""
        return self.process_group

    def register_comm_hook(self, state: object, hook: Callable[[Any, GradBucket], Any]) -> None:
        """Has ``hook(state, bucket)`` make the average of a bucket, which it gives in a future.

        Raises:
            RuntimeError: there is a hook already.
        """
        if not callable(hook):
            raise TypeError("Communication hook must be callable.")
        if self.reducer.hook is not None:
            raise RuntimeError("register_comm_hook or register_builtin_comm_hook can only be called once.")
        self.reducer.hook = lambda bucket: hook(state, bucket)

    @staticmethod
    def _set_params_and_buffers_to_ignore_for_model(module: Module, params_and_buffers_to_ignore: Iterable[str]) -> None:
        """Leaves parameters and buffers of ``module`` out of what is sent."""
        module._ddp_params_and_buffers_to_ignore = set(params_and_buffers_to_ignore)  # type: ignore[assignment]

    def _set_static_graph(self) -> None:
        self.static_graph = self.reducer._unused = True

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the group and what works with it: a copy is made for the group of all processes."""
        return {name: value for name, value in self.__dict__.items() if name not in ("process_group", "reducer")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.process_group = member()
        self._make_reducer()


class _Shadow(JoinHook):
    """Takes part in the iterations of others, with gradients of zero."""

    def __init__(self, model: DistributedDataParallel) -> None:
        self._model = model

    def main_hook(self) -> None:
        model = self._model
        syncs = model._agree_on_sync(False)
        if model.require_forward_param_sync and model.forward_sync_buffers:
            model._send_buffers(working=False)
        model.require_forward_param_sync = syncs
        if syncs:
            model.reducer.reduce(set(), stored=False)

    def post_hook(self, is_last_joiner: bool) -> None:
        self._model._take_state_of(self._model._a_rank_that(is_last_joiner))
