"""An optimizer whose state is divided among processes: each updates some of the parameters and sends them to the others.

Source: Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.distributed._group import ProcessGroup, member
from flambeau.distributed._objects import gather_object
from flambeau.distributed._progress import move_on
from flambeau.distributed._tensors import joined, write
from flambeau.distributed._work import wait_for
from flambeau.distributed.algorithms.join import Joinable, JoinHook
from flambeau.tensor import Tensor

from .optimizer import Optimizer, ParamsT, StateDict

__all__ = ["ZeroRedundancyOptimizer"]


class ZeroRedundancyOptimizer(Optimizer, Joinable):
    """``optimizer_class``, of which each process has the part for some of the parameters, :math:`1/N` of their elements.

    Gradients are the same in all processes (those of ``DistributedDataParallel``); after a step each process sends what it has
    updated. Its options are those of ``param_groups``, which schedulers may change. ``state_dict`` needs
    :meth:`consolidate_state_dict` before.

    >>> import flambeau as torch
    >>> from flambeau import distributed as dist
    >>> from flambeau.distributed.optim import ZeroRedundancyOptimizer
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> w = torch.ones(2, requires_grad=True)
    >>> optimizer = ZeroRedundancyOptimizer([w], optimizer_class=torch.optim.SGD, lr=0.5)
    >>> w.sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5, 0.5]
    >>> dist.destroy_process_group()

    Raises:
        NotImplementedError: ``overlap_with_ddp``.
    """

    def __init__(
        self, params: ParamsT, optimizer_class: type[Optimizer], process_group: ProcessGroup | None = None, parameters_as_bucket_view: bool = False,
        overlap_with_ddp: bool = False, **defaults: Any,
    ) -> None:  # fmt: skip
        if overlap_with_ddp:
            raise NotImplementedError(
                "ZeroRedundancyOptimizer: overlap_with_ddp is not there yet; leave it out, results are the same"
            )
        if parameters_as_bucket_view:
            raise NotImplementedError(
                "ZeroRedundancyOptimizer: parameters_as_bucket_view is not there yet; leave it out, results are the same"
            )
        self.process_group = member(process_group)
        self._optimizer_class, self._class_defaults = optimizer_class, defaults
        self._owners: dict[int, int] = {}
        self._loads = [0] * self.process_group.size()
        self.initialized = False
        super().__init__(params, defaults)
        self.optim = optimizer_class([self._own_part(group) for group in self.param_groups], **defaults)
        for ours, whole in zip(self.optim.param_groups, self.param_groups, strict=True):
            whole.update({name: value for name, value in ours.items() if name not in ("params", "param_names")})
        self.state = self.optim.state
        self._gathered: list[StateDict] | None = None
        self.initialized = True

    # --- who has what -----------------------------------------------------------------------------------------

    def _assign(self, params: list[Tensor]) -> None:
        """Gives each parameter, the largest first, to the process that has fewest elements."""
        for p in sorted(params, key=lambda p: -p.numel()):
            owner = self._loads.index(min(self._loads))
            self._owners[id(p)] = owner
            self._loads[owner] += p.numel()

    def _own_part(self, group: dict[str, Any], rank: int | None = None) -> dict[str, Any]:
        rank = self.process_group.rank() if rank is None else rank
        mine = [i for i, p in enumerate(group["params"]) if self._owners[id(p)] == rank]
        part = {**group, "params": [group["params"][i] for i in mine]}
        if "param_names" in group:
            part["param_names"] = [group["param_names"][i] for i in mine]
        return part

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group of parameters, of which each process gets its share."""
        super().add_param_group(param_group)
        self._assign(self.param_groups[-1]["params"])
        if self.initialized:
            self.optim.add_param_group(self._own_part(self.param_groups[-1]))

    # --- steps ------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Updates this process's parameters, and takes the others from theirs. All processes call this."""
        self._copy_options(self.param_groups, self.optim.param_groups)
        loss = self.optim.step(closure, **kwargs) if closure is not None else self.optim.step(**kwargs)
        self._copy_options(self.optim.param_groups, self.param_groups)
        self._exchange()
        return loss

    @staticmethod
    def _copy_options(source: list[dict[str, Any]], target: list[dict[str, Any]]) -> None:
        for ours, theirs in zip(source, target, strict=True):
            theirs.update({name: value for name, value in ours.items() if name not in ("params", "param_names")})

    def _exchange(self) -> None:
        """Gives all processes what each has updated, side by side."""
        group, started = self.process_group, []
        if group.size() == 1:
            return
        parts: dict[tuple[int, Any], list[Tensor]] = {}
        for p in self._all_params():
            parts.setdefault((self._owners[id(p)], p.dtype), []).append(p)
        for (owner, dtype), members in parts.items():
            mine = owner == group.rank()
            flat = joined([p.detach() for p in members]) if mine else np.empty(sum(p.numel() for p in members), dtype.np)
            started.append((None if mine else members, move_on(group.transport.broadcast(flat, owner))))
        for others, pending in started:
            wait_for(pending, group, "broadcast", group.timeout)
            position = 0
            for p in others or ():
                write(p.detach(), pending.result[position : position + p.numel()])
                position += p.numel()

    # --- states -----------------------------------------------------------------------------------------------

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Gathers the state in the process ``to``. All processes call this."""
        rank, size = self.process_group.rank(), self.process_group.size()
        states: list[Any] = [None] * size
        gather_object(self.optim.state_dict(), states if rank == to else None, group=self.process_group, group_dst=to)
        self._gathered = states if rank == to else None

    def state_dict(self) -> StateDict:
        """The whole state, as the optimizer would have it in one process.

        Raises:
            RuntimeError: it has not been gathered here.
        """
        if self._gathered is None:
            raise RuntimeError(
                "Optimizer state has not been consolidated on this rank. Please call `consolidate_state_dict(to="
                f"{self.process_group.rank()})` on all ranks beforehand if you meant to save the global state."
            )
        result = super().state_dict()
        result["state"] = {}
        for rank, theirs in enumerate(self._gathered):
            for own, number in enumerate(self._numbers_of(rank)):
                if own in theirs["state"]:
                    result["state"][number] = theirs["state"][own]
        result["state"] = dict(sorted(result["state"].items()))
        return result

    def _numbers_of(self, rank: int) -> list[int]:
        """The numbers among all parameters of those that a process has, in the order of its groups."""
        return [number for number, p in enumerate(self._all_params()) if self._owners[id(p)] == rank]

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Takes a whole state, of which each process keeps its part. All processes call this with the same."""
        mine = self._numbers_of(self.process_group.rank())
        own = {number: i for i, number in enumerate(mine)}
        groups = [{**group, "params": [own[n] for n in group["params"] if n in own]} for group in state_dict["param_groups"]]
        for group, whole in zip(groups, state_dict["param_groups"], strict=True):
            if "param_names" in whole:
                group["param_names"] = [name for n, name in zip(whole["params"], whole["param_names"], strict=True) if n in own]
        self.optim.load_state_dict(
            {"state": {own[n]: value for n, value in state_dict["state"].items() if n in own}, "param_groups": groups}
        )
        self._copy_options(self.optim.param_groups, self.param_groups)
        self.state = self.optim.state
        self._gathered = None

    # --- unequal numbers of inputs ----------------------------------------------------------------------------

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """What a process without inputs does: it takes part in steps."""
        return _Stepping(self)

    @property
    def join_device(self) -> Any:
        """The CPU."""
        return next(iter(self._all_params())).device

    @property
    def join_process_group(self) -> ProcessGroup:
        """The group that shares the state."""
        return self.process_group


class _Stepping(JoinHook):
    def __init__(self, optimizer: ZeroRedundancyOptimizer) -> None:
        self._optimizer = optimizer

    def main_hook(self) -> None:
        self._optimizer.step()
