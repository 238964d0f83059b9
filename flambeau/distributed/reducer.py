"""Averages gradients over processes after a backward pass, several of them at a time.

A pass that is recorded is not computed yet. The reducer asks for the gradients of one bucket after the other, from the last layer
to the first, and each bucket goes its way (``_progress``) while a worker still computes the rest of the pass (``engine.flight``).

Source: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", 2020.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from flambeau import ops
from flambeau.autograd import no_grad
from flambeau.autograd.graph import finishing
from flambeau.core import dtypes
from flambeau.distributed._group import ProcessGroup
from flambeau.distributed._objects import all_gather_object
from flambeau.distributed._progress import move_on
from flambeau.distributed._reduction import ReduceOp
from flambeau.distributed._tensors import array_of, settled, tensor_of, write
from flambeau.distributed._transport import Pending
from flambeau.distributed._work import wait_for
from flambeau.sparse.tensor import coo
from flambeau.tensor import Tensor

__all__ = ["GradBucket", "Reducer", "buckets_of"]

MEGABYTE = 1 << 20
FIRST_BUCKET = MEGABYTE
"""Bytes of the first bucket, which is small so that sending begins soon."""
_OURS = 2  # references to memory that nobody else has: a variable's, and that of who counts


def buckets_of(tensors: Sequence[Tensor], limits: Sequence[int]) -> list[list[int]]:
    """The numbers of ``tensors``, the last ones first, in buckets of one dtype. A bucket is full once it has ``limits[i]`` bytes,
    of which the last holds for all further ones.

    >>> import flambeau as torch
    >>> buckets_of([torch.ones(4), torch.ones(2), torch.ones(1)], [4, 16])
    [[2], [1, 0]]
    """
    buckets: list[list[int]] = []
    open_buckets: dict[Any, tuple[list[int], int]] = {}
    begun: dict[Any, int] = {}
    for i in reversed(range(len(tensors))):
        kind = tensors[i].dtype
        members, size = open_buckets.pop(kind, ([], 0))
        if not members:
            buckets.append(members)
        members.append(i)
        size += tensors[i].numel() * kind.itemsize
        if size < limits[min(begun.get(kind, 0), len(limits) - 1)]:
            open_buckets[kind] = members, size
        else:
            begun[kind] = begun.get(kind, 0) + 1
    return buckets


class GradBucket:
    """Gradients side by side in one tensor, as communication hooks see them."""

    def __init__(self, index: int, last: bool, buffer: Tensor, parameters: list[Tensor]) -> None:
        self._index, self._last, self._buffer, self._parameters = index, last, buffer, parameters

    def index(self) -> int:
        """Its number."""
        return self._index

    def is_last(self) -> bool:
        """Whether no other one comes after it in this pass."""
        return self._last

    def buffer(self) -> Tensor:
        """All gradients in it, in one dim."""
        return self._buffer

    def set_buffer(self, buffer: Tensor) -> None:
        """Puts another tensor in the place of :meth:`buffer`."""
        self._buffer = buffer

    def parameters(self) -> list[Tensor]:
        """The parameters whose gradients are in it."""
        return self._parameters

    def gradients(self) -> list[Tensor]:
        """The gradients, as views of :meth:`buffer`."""
        parts = self._buffer.split([p.numel() for p in self._parameters])
        return [part.view(p.shape) for part, p in zip(parts, self._parameters, strict=True)]


class Reducer:
    """Averages the gradients of ``parameters`` over ``group`` after backward passes that :meth:`prepare` has announced.

    What is averaged is ``.grad``, with all that has been added to it. ``unused``: parameters may lack gradients; those that have
    one in another process get the average with zeros. ``sparse`` are the numbers of those with sparse gradients, which are in no
    bucket: rows of all processes are put together.
    """

    def __init__(
        self, parameters: Sequence[Tensor], names: Sequence[str], group: ProcessGroup, bucket_bytes: int, unused: bool, views: bool,
        sparse: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.parameters, self._names, self.group, self._unused, self._as_views = list(parameters), list(names), group, unused, views
        self.sparse = list(sparse)
        dense = [i for i in range(len(self.parameters)) if i not in self.sparse]
        limits = [min(FIRST_BUCKET, bucket_bytes), bucket_bytes]
        self.buckets = [[dense[i] for i in bucket] for bucket in buckets_of([self.parameters[i] for i in dense], limits)]
        self.hook: Callable[[GradBucket], Any] | None = None
        self.divisor = group.size()
        self._held: dict[int, np.ndarray] = {}
        self._views: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()
        self._expecting = False
        self._seen: list[tuple[Any, int]] = []
        self._ready: set[int] = set()
        finishing.append(weakref.WeakMethod(self._finish))

    def prepare(self) -> None:
        """Says that the gradients of the next backward pass of these parameters are to be averaged.

        Raises:
            RuntimeError: those of the last one have not been, since parameters had no part in it.
        """
        if self._expecting and self._ready:
            missing = [i for i in range(len(self.parameters)) if i not in self._ready]
            names = ", ".join(self._names[i] for i in missing)
            raise RuntimeError(
                "Expected to have finished reduction in the prior iteration before starting a new one. This error indicates that your "
                "module has parameters that were not used in producing loss. You can enable unused parameter detection by passing the "
                "keyword argument `find_unused_parameters=True` to `torch.nn.parallel.DistributedDataParallel`, and by \n"
                "making sure all `forward` function outputs participate in calculating loss. \n"
                f"Parameter indices which did not receive grad for rank {self.group.rank()}: {' '.join(map(str, missing))}\n"
                f"These are: {names}"
            )
        self._expecting, self._ready = True, set()
        self._seen = [self._state(p) for p in self.parameters]

    @staticmethod
    def _state(p: Tensor) -> tuple[Any, int]:
        """What changes when a gradient is added to that of ``p``."""
        grad = p._grad
        if grad is None:
            return None, -1
        return grad, (grad._values() if grad.is_sparse else grad)._storage.version

    def _finish(self) -> None:
        """Averages, if the backward pass that has ended was the one that was waited for."""
        if not self._expecting:
            return
        now = [self._state(p) for p in self.parameters]
        touched = [i for i, (new, old) in enumerate(zip(now, self._seen, strict=True)) if new[0] is not old[0] or new[1] != old[1]]
        if not touched:
            return
        self._ready.update(touched)
        if self._unused or len(self._ready) == len(self.parameters):
            self._expecting = False
            self.reduce(self._ready)

    def reduce(self, used: set[int], stored: bool = True) -> None:
        """Averages the gradients now. ``used`` are the numbers of the parameters that have some here; all reducers call this
        together, also where the averages are not ``stored``.

        A bucket is on its way as soon as its gradients are there, while others are still computed, if that is done ahead of Python.
        """
        anywhere = self._used_anywhere(used) if self._unused else None
        started = [self._start(index, used) for index in range(len(self.buckets))]
        for index, wait in enumerate(started):
            average = wait()
            if stored:
                self._store(index, average, anywhere)
        for i in self.sparse:
            self._reduce_rows(i, used, stored and (anywhere is None or bool(anywhere[i])))

    def _reduce_rows(self, i: int, used: set[int], stored: bool) -> None:
        """Averages a sparse gradient: all elements of all processes, put together."""
        p = self.parameters[i]
        grad = p._grad.coalesce() if i in used and p._grad is not None else None
        mine = None if grad is None else tuple([np.array(part.detach()) for part in (grad.indices(), grad.values())])
        parts: list[Any] = [None] * self.group.size()
        all_gather_object(parts, mine, self.group)
        parts = [part for part in parts if part is not None]
        if stored and parts:
            at, values = np.concatenate([a for a, _ in parts], 1), np.concatenate([v for _, v in parts]) / self.divisor
            with no_grad():
                numbers = tensor_of(values.astype(p.dtype.np), values.shape, p.dtype)
                p.grad = coo(tensor_of(at, at.shape, dtypes.int64), numbers, p.shape).coalesce()

    def _used_anywhere(self, used: set[int]) -> np.ndarray:
        marks = np.array([i in used for i in range(len(self.parameters))], np.uint8)
        return self._wait(self.group.transport.all_reduce(marks, ReduceOp.MAX))

    def _wait(self, pending: Pending) -> np.ndarray:
        wait_for(pending, self.group, "all_reduce", self.group.timeout)
        return pending.result

    def _memory(self, index: int) -> np.ndarray:
        """Memory for a bucket: that of the last pass, unless somebody still has tensors on it."""
        bucket, held = self.buckets[index], self._held.pop(index, None)
        if held is None or getrefcount(held) > _OURS:
            held = np.empty(sum(self.parameters[i].numel() for i in bucket), self.parameters[bucket[0]].dtype.np)
        return held

    def _start(self, index: int, used: set[int]) -> Callable[[], np.ndarray]:
        """Starts sending a bucket; gives a function that waits for the average."""
        bucket, flat = self.buckets[index], self._memory(index)
        factor, position = 1.0 if self.hook is not None else 1.0 / self.divisor, 0
        for i in bucket:
            p = self.parameters[i]
            grad = p._grad if i in used else None
            part = flat[position : position + p.numel()]
            position += part.size
            if grad is None:
                part.fill(0)
            else:
                _put(part, settled(grad), factor)
        self._held[index] = flat
        if self.hook is None:
            pending = move_on(self.group.transport.all_reduce(flat, ReduceOp.SUM, in_place=True))
            return lambda: self._wait(pending)
        members = [self.parameters[i] for i in bucket]
        future = self.hook(
            GradBucket(index, index == len(self.buckets) - 1, tensor_of(flat, (flat.size,), members[0].dtype), members)
        )

        def wait() -> np.ndarray:
            result = future.wait()
            return array_of(result[0] if isinstance(result, (list, tuple)) else result, copied=True)

        return wait

    def _store(self, index: int, flat: np.ndarray, anywhere: np.ndarray | None) -> None:
        """Makes what has come the gradients. With views they share the memory of the bucket."""
        position, bucket = 0, self.buckets[index]
        whole = tensor_of(flat, (flat.size,), self.parameters[bucket[0]].dtype) if self._as_views else None
        with no_grad():
            for i in bucket:
                p = self.parameters[i]
                end = position + p.numel()
                if anywhere is None or anywhere[i]:
                    if whole is not None and (p._grad is None or self._views.get(i) is not p._grad):
                        self._views[i] = p.grad = whole[position:end].view(p.shape)
                    else:
                        if p._grad is None:
                            p.grad = ops.zeros_like(p)
                        write(p._grad, flat[position:end])  # type: ignore[arg-type]
                position = end


def _put(into: np.ndarray, values: np.ndarray, factor: float) -> None:
    """Writes ``factor`` times ``values``, computed in float32 where that is more than half precision."""
    if factor == 1.0:
        into[...] = values
    elif into.dtype.kind in "fc" and into.dtype != np.float16:
        np.multiply(values, factor, out=into)
    else:
        into[...] = values.astype(np.float32) * np.float32(factor)
