"""The parameters of a module that are gathered together before it is used, and given back after it.

Each process keeps a part of each parameter, as a :class:`DTensor`. Before the forward pass the parts are gathered, by a function
on the tape (:class:`Gather`) whose backward pass adds the gradients up over all processes and keeps a part of them. After the
forward pass the gathered memory is given back: what the tape holds are *values that have gone*, which come back when the backward
pass gets to the module's outputs (:class:`Return`), since their places in the recorded graph are the same. So a process holds its
parts, and the whole of one module or two.

Source: Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel", 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.function import Function
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.size import Size
from flambeau.distributed._progress import move_on
from flambeau.distributed._reduction import ReduceOp
from flambeau.distributed._tensors import array_of, settled, tensor_of
from flambeau.distributed._transport import Pending
from flambeau.distributed._work import wait_for
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.fsdp.policies import MixedPrecisionPolicy
from flambeau.distributed.placements import Placement, Replicate, Shard
from flambeau.distributed.tensor.dtensor import DTensor, divided
from flambeau.distributed.tensor.redistribution import extent
from flambeau.distributed.tensor.rules import lay
from flambeau.engine.graph import Node, leaf
from flambeau.engine.interpreter import Failed
from flambeau.tensor import Tensor
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import make_tensor

__all__ = ["Call", "Parameter", "Return", "Unit"]


class Parameter:
    """A parameter of a unit: where modules have it, and along which dim it is cut."""

    def __init__(self, whole: Tensor, places: list[tuple[dict[str, Any], str]], dim: int, mesh: DeviceMesh) -> None:
        self.places, self.dim, self.shape = places, dim, Size(whole.shape)
        self.count, self.index = mesh.size(-1), mesh.get_local_rank(mesh.ndim - 1)
        placements: tuple[Placement, ...] = (*[Replicate()] * (mesh.ndim - 1), Shard(dim))
        part = divided(lay(whole.detach(), mesh, placements).requires_grad_(whole.requires_grad), whole.shape, mesh, placements)
        part._is_param = True  # type: ignore[attr-defined]
        self.put(part)
        self.rows = -(-self.shape[dim] // self.count)
        self.width = self.shape.numel() // self.shape[dim] if self.shape[dim] else 0

    @property
    def tensor(self) -> DTensor:
        """The part, as modules have it now: loading and casting may have replaced it."""
        holder, name = self.places[0]
        return holder[name]

    def put(self, t: Tensor) -> None:
        """Gives all modules ``t``."""
        for holder, name in self.places:
            holder[name] = t

    @property
    def padded(self) -> int:
        """How many elements each process sends."""
        return self.rows * self.width

    def in_front(self, array: np.ndarray, length: int) -> np.ndarray:
        """``array``, whose dim that is cut has ``length``, with that dim first."""
        shape = list(self.shape)
        shape[self.dim] = length
        return np.moveaxis(array.reshape(shape), self.dim, 0)

    def sent(self, array: np.ndarray, into: np.ndarray) -> None:
        """Writes this process's part to where it is sent from."""
        length = extent(self.shape[self.dim], self.count, self.index)[1]
        into[: array.size].reshape(self.in_front(array, length).shape)[...] = self.in_front(array, length)
        into[array.size :] = 0

    def whole(self, parts: np.ndarray) -> np.ndarray:
        """The parameter, from what all processes have sent, a row for each."""
        rest = [n for i, n in enumerate(self.shape) if i != self.dim]
        rows = parts.reshape(self.count * self.rows, *rest)[: self.shape[self.dim]]
        return np.array(np.moveaxis(rows, 0, self.dim), order="C", copy=True)

    def parts(self, whole: np.ndarray, into: np.ndarray) -> None:
        """Writes a gradient to where it is reduced, a row for each process."""
        rows = self.in_front(whole, self.shape[self.dim])
        for index in range(self.count):
            begin, length = extent(self.shape[self.dim], self.count, index)
            size = length * self.width
            into[index, :size].reshape(rows[begin : begin + length].shape)[...] = rows[begin : begin + length]
            into[index, size:] = 0

    def own(self, part: np.ndarray) -> np.ndarray:
        """This process's part of what has been reduced."""
        length = extent(self.shape[self.dim], self.count, self.index)[1]
        rest = [n for i, n in enumerate(self.shape) if i != self.dim]
        return np.ascontiguousarray(np.moveaxis(part[: length * self.width].reshape(length, *rest), 0, self.dim))


class Unit:
    """Parameters that are gathered together. ``mesh`` has one dim, or a dim of replicas before it."""

    def __init__(
        self, found: Sequence[tuple[Tensor, list[tuple[dict[str, Any], str]]]], mesh: DeviceMesh, reshards: bool | None, policy: MixedPrecisionPolicy,
        dim_of: Callable[[Tensor], int],
    ) -> None:  # fmt: skip
        self.mesh, self.reshards, self.policy = mesh, reshards, policy
        self.group = mesh.get_group(mesh.ndim - 1)
        self.replicas = mesh.get_group(0) if mesh.ndim == 2 else None
        self.parameters = [Parameter(whole, places, dim_of(whole), mesh) for whole, places in found]
        self.is_root = False
        self.syncs = self.reduces_replicas = self.reshards_after_backward = True
        self.divisor: float | None = None
        self.next_forward: list[Unit] = []
        self.next_backward: list[Unit] = []
        self.using: Call | None = None  # whose gathered parameters the modules have now
        self._fetched: tuple[list[Any], dict[Any, Pending]] | None = None
        self._unreduced: dict[int, np.ndarray] = {}

    # --- gathering --------------------------------------------------------------------------------------------

    def _dtype(self, p: Parameter) -> Dtype:
        own = p.tensor.dtype
        return self.policy.param_dtype if self.policy.param_dtype is not None and own.is_floating_point else own

    def _state(self) -> list[Any]:
        """What changes when parts get new values."""
        return [(id(p.tensor._v), p.tensor._v._storage.version) for p in self.parameters]

    def _by_dtype(self) -> dict[Dtype, list[Parameter]]:
        kinds: dict[Dtype, list[Parameter]] = {}
        for p in self.parameters:
            kinds.setdefault(self._dtype(p), []).append(p)
        return kinds

    def fetch(self) -> None:
        """Starts to gather, if nothing has been fetched yet that is still good."""
        state = self._state()
        if self._fetched is not None and self._fetched[0] == state:
            return
        pending: dict[Any, Pending] = {}
        for dtype, members in self._by_dtype().items():
            flat, position = np.empty(sum(p.padded for p in members), dtype.np), 0
            for p in members:
                p.sent(array_of(p.tensor._v.detach()).astype(dtype.np, copy=False), flat[position : position + p.padded])
                position += p.padded
            pending[dtype] = move_on(self.group.transport.all_gather(flat))
        self._fetched = state, pending

    def gathered(self) -> list[np.ndarray]:
        """The whole parameters."""
        self.fetch()
        assert self._fetched is not None
        wholes: dict[int, np.ndarray] = {}
        for dtype, members in self._by_dtype().items():
            pending, position = self._fetched[1][dtype], 0
            wait_for(pending, self.group, "all_gather", self.group.timeout)
            parts = pending.result.reshape(self.group.size(), -1)
            for p in members:
                wholes[id(p)] = p.whole(parts[:, position : position + p.padded])
                position += p.padded
        self._fetched = None
        return [wholes[id(p)] for p in self.parameters]

    def unshard(self) -> Call:
        """Gives the modules whole parameters."""
        if self.using is None:
            call = Call(self)
            parts = [p.tensor for p in self.parameters]
            wholes = Gather.apply(call, *[part._v for part in parts]) if parts else ()
            call.parts, call.nodes = parts, [t._storage.node for t in wholes]
            call.storages = [t._storage for t in wholes]
            for p, t in zip(self.parameters, wholes, strict=True):
                p.put(t)
            self.using = call
        return self.using

    def reshard(self) -> None:
        """Gives the modules their parts again. The whole parameters stay as long as the tape needs them."""
        call, self.using = self.using, None
        if call is not None:
            for p, part in zip(self.parameters, call.parts, strict=True):
                p.put(part)

    # --- gradients --------------------------------------------------------------------------------------------

    def reduced(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """This process's parts of the averages of gradients, or ``None`` for those that are kept until later."""
        arrays = [None if g is None else settled(g) for g in gradients]
        for i, earlier in self._unreduced.items():
            mine = arrays[i]
            arrays[i] = earlier if mine is None else mine + earlier
        if not self.syncs:
            self._unreduced = {i: np.array(a) for i, a in enumerate(arrays) if a is not None}
            return [None] * len(arrays)
        self._unreduced = {}
        results: list[Tensor | None] = [None] * len(arrays)
        kinds: dict[Dtype, list[int]] = {}
        for i, (p, array) in enumerate(zip(self.parameters, arrays, strict=True)):
            if array is not None:
                kinds.setdefault(self.policy.reduce_dtype or self._dtype(p), []).append(i)
        for dtype, members in kinds.items():
            total = self._reduce(dtype, [(self.parameters[i], arrays[i]) for i in members])
            position = 0
            for i in members:
                p = self.parameters[i]
                own = p.own(total[position : position + p.padded])
                position += p.padded
                kind = p.tensor.dtype
                results[i] = tensor_of(own.astype(kind.np, copy=False).reshape(-1), own.shape, kind)
        return results

    def _reduce(self, dtype: Dtype, members: list[tuple[Parameter, Any]]) -> np.ndarray:
        """The average of gradients, of which each process gets a part."""
        flat, position = np.empty((self.group.size(), sum(p.padded for p, _ in members)), dtype.np), 0
        for p, array in members:
            p.parts(array.astype(dtype.np, copy=False), flat[:, position : position + p.padded])
            position += p.padded
        pending = self.group.transport.reduce_scatter(flat.reshape(-1), ReduceOp.SUM)
        wait_for(pending, self.group, "reduce_scatter", self.group.timeout)
        total = pending.result
        if self.replicas is not None and self.reduces_replicas:
            pending = self.replicas.transport.all_reduce(total, ReduceOp.SUM)
            wait_for(pending, self.replicas, "all_reduce", self.replicas.timeout)
            total = pending.result
        divisor = self.divisor or self.group.size() * (
            self.replicas.size() if self.replicas is not None and self.reduces_replicas else 1
        )
        return (total / divisor).astype(total.dtype, copy=False)


_GONE = RuntimeError("the whole parameters of a module that is sharded were given back: they are there while the module is used")


class Call:
    """One use of a module: the places of its whole parameters in the recorded graph, whose values come and go."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.nodes: list[Node] = []
        self.storages: list[Storage] = []
        self.parts: list[DTensor] = []
        self.gone = False

    def give_back(self) -> None:
        """Gives the memory back. What is pending and reads it must have run."""
        self.gone = True
        for node, storage in zip(self.nodes, self.storages, strict=True):
            if storage.node is node:
                storage.buffer = storage.leaf = None
            node.value, node.address, node.is_buffer = Failed(_GONE), 0, False

    def bring_back(self) -> None:
        """Gathers the values again, if they have gone."""
        if self.gone:
            self.gone = False
            for node, value in zip(self.nodes, self.unit.gathered(), strict=True):
                node.value = value


class Gather(Function):
    """From the parts of parameters to the whole ones; from gradients of these to parts of their averages."""

    @staticmethod
    def forward(ctx: Any, call: Call, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.call = call
        ctx.set_materialize_grads(False)
        wholes = []
        for p, value in zip(call.unit.parameters, call.unit.gathered(), strict=True):
            dtype = call.unit._dtype(p)
            wholes.append(make_tensor(Storage(leaf(value, Size(value.shape), dtype)), Size(value.shape), dtype))
        ctx.mark_non_differentiable(*[t for t, part in zip(wholes, parts, strict=True) if not part.requires_grad])
        return tuple(wholes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple:
        unit = ctx.call.unit
        results = unit.reduced(gradients)
        if unit.reshards_after_backward:
            ctx.call.give_back()
        return None, *results


class Return(Function):
    """The outputs of a module, unchanged: the backward pass gets here first, and finds the whole parameters again."""

    @staticmethod
    def forward(ctx: Any, call: Call, *outputs: Tensor) -> tuple[Tensor, ...]:
        ctx.call = call
        return tuple(t.view_as(t) for t in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple:
        ctx.call.bring_back()
        for unit in ctx.call.unit.next_backward:
            unit.fetch()
        return None, *gradients
