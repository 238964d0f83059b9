"""PowerSGD: gradients that are sent as products of two thin matrices.

A gradient :math:`M` of :math:`n` rows and :math:`m` columns is nearly :math:`P Q^T` with few columns in :math:`P` and :math:`Q`.
One step of the power method finds them: :math:`P = M Q`, averaged and made orthogonal; :math:`Q = M^T P`, averaged. So
:math:`(n + m) r` numbers are sent in place of :math:`n m`. What is lost is added to the next gradient (``use_error_feedback``),
and the next step goes on from the last :math:`Q` (``warm_start``).

Source: Vogels et al., "PowerSGD: Practical Low-Rank Gradient Compression for Distributed Optimization", 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import ops
from flambeau.distributed._collectives import all_reduce
from flambeau.distributed._group import ProcessGroup, member
from flambeau.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from flambeau.distributed.reducer import GradBucket
from flambeau.futures import Future
from flambeau.random import fork_rng, manual_seed
from flambeau.tensor import Tensor

__all__ = ["PowerSGDState", "batched_powerSGD_hook", "powerSGD_hook"]


class PowerSGDState:
    """Settings of :func:`powerSGD_hook`, and what it keeps from one pass to the next.

    Args:
        process_group: those that average, by default all.
        matrix_approximation_rank: :math:`r`, the columns of the thin matrices.
        start_powerSGD_iter: passes before this one are averaged in full.
        min_compression_rate: matrices that do not become smaller by this factor are averaged in full.
        orthogonalization_epsilon: what is added to lengths of columns before dividing by them; 0: columns are made orthogonal by
            QR.
        random_seed: of the first :math:`Q`, the same in all processes.

    >>> from flambeau.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState
    >>> PowerSGDState(None, matrix_approximation_rank=2, start_powerSGD_iter=10).iter
    0
    """

    def __init__(
        self, process_group: ProcessGroup | None, matrix_approximation_rank: int = 1, start_powerSGD_iter: int = 1_000, min_compression_rate: float = 2,
        use_error_feedback: bool = True, warm_start: bool = True, orthogonalization_epsilon: float = 0, random_seed: int = 0,
        compression_stats_logging_frequency: int = 10_000, batch_tensors_with_same_shape: bool = False,
    ) -> None:  # fmt: skip
        if (use_error_feedback or warm_start) and start_powerSGD_iter <= 1:
            raise ValueError(
                "Expect `start_powerSGD_iter` > 1 if `use_error_feedback` or `warm_start` is enabled, "
                "because PowerSGD can only be applied after the first two iterations in DDP."
            )
        self.process_group, self.matrix_approximation_rank = process_group, matrix_approximation_rank
        self.start_powerSGD_iter, self.min_compression_rate = start_powerSGD_iter, min_compression_rate
        self.use_error_feedback, self.warm_start = use_error_feedback, warm_start
        self.orthogonalization_epsilon = orthogonalization_epsilon
        self.batch_tensors_with_same_shape = batch_tensors_with_same_shape
        self.compression_stats_logging_frequency = max(1, compression_stats_logging_frequency)
        self.rng = np.random.RandomState(random_seed)
        self.error_dict: dict[int, Tensor] = {}
        self.q_memory_dict: dict[int, list[Tensor]] = {}
        self.iter = 0
        self.total_numel_before_compression = self.total_numel_after_compression = 0

    def maybe_increase_iter(self, bucket: GradBucket) -> None:
        """Counts the pass, once its last bucket has come."""
        if bucket.is_last():
            self.iter += 1

    def compression_stats(self) -> tuple[float, int, int]:
        """By what factor fewer numbers were sent; how many there were, and how many were sent."""
        before, after = self.total_numel_before_compression, self.total_numel_after_compression
        return (before / after if after else 0.0), before, after

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "process_group"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.process_group = None

    def pays(self, rows: int, columns: int) -> bool:
        """Whether a matrix becomes so much smaller that it is worth it."""
        return (rows + columns) * self.matrix_approximation_rank * self.min_compression_rate < rows * columns


def _orthogonal(matrix: Tensor, epsilon: float) -> Tensor:
    """A matrix with orthogonal columns that span what those of ``matrix`` do."""
    if epsilon == 0:
        return ops.qr(matrix)[0]
    columns: list[Tensor] = []
    for column in matrix.unbind(1):
        for earlier in columns:
            column = column - (earlier * column).sum() * earlier
        columns.append(column / (column.norm() + epsilon))
    return ops.stack(columns, 1)


def _sum(group: ProcessGroup, tensors: list[Tensor]) -> Future[list[Tensor]]:
    """A future of the sums of tensors over all processes, which are sent side by side."""
    flat = ops.cat([t.reshape(-1) for t in tensors])
    work = all_reduce(flat, group=group, async_op=True)
    assert work is not None

    def apart(future: Future) -> list[Tensor]:
        parts = future.value()[0].split([t.numel() for t in tensors])
        return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]

    return work.get_future().then(apart)


def _first(state: PowerSGDState, shapes: list[tuple[int, int]], like: Tensor) -> list[Tensor]:
    """Random matrices, the same in all processes."""
    with fork_rng(devices=[]):
        manual_seed(state.rng.randint(1_000_000_000))
        return [ops.randn(*shape, dtype=like.dtype) for shape in shapes]


_Parts = tuple[list[Tensor], list[Tensor], Callable[[], Any]]


def _approximated(state: PowerSGDState, bucket: GradBucket, parts: Callable[[Tensor], _Parts]) -> Future[Tensor]:
    """The average of a bucket. ``parts`` gives the matrices of it that are approximated, the tensors that are averaged in full,
    and what is to be called once both have their new values."""
    group, index, buffer = member(state.process_group), bucket.index(), bucket.buffer()
    if state.iter < state.start_powerSGD_iter:
        state.maybe_increase_iter(bucket)
        return allreduce_hook(group, bucket)
    if state.use_error_feedback and index in state.error_dict:
        buffer.add_(state.error_dict[index])
    wanted = buffer.clone() if state.use_error_feedback else buffer
    thin, rest, done = parts(buffer)
    ranks = [min(*m.shape, state.matrix_approximation_rank) for m in thin]
    qs = state.q_memory_dict.get(index) if state.warm_start else None
    if qs is None or len(qs) != len(thin):
        qs = _first(state, [(m.shape[1], rank) for m, rank in zip(thin, ranks, strict=True)], buffer)
    qs = [_orthogonal(q, state.orthogonalization_epsilon) for q in qs]
    state.total_numel_before_compression += buffer.numel()
    state.total_numel_after_compression += sum(t.numel() for t in rest) + sum(
        sum(m.shape) * rank for m, rank in zip(thin, ranks, strict=True)
    )
    state.maybe_increase_iter(bucket)
    size = group.size()
    # What is on its way is waited for in the order in which it was started, which is the same in all processes.
    full = _sum(group, rest) if rest else None
    if not thin:
        assert full is not None
        return full.then(lambda future: _averaged(rest, future.value(), size, buffer))
    ps = _sum(group, [m @ q for m, q in zip(thin, qs, strict=True)])

    def second(future: Future) -> tuple[list[Tensor], Future]:
        orthogonal = [_orthogonal(p, state.orthogonalization_epsilon) for p in future.value()]
        return orthogonal, _sum(group, [m.t() @ p for m, p in zip(thin, orthogonal, strict=True)])

    def third(future: Future) -> Tensor:
        left, right = future.value()
        averages = [q / size for q in right.wait()]
        if full is not None:
            _averaged(rest, full.wait(), size, buffer)
        for m, p, q in zip(thin, left, averages, strict=True):
            m.copy_(p @ q.t())
        done()
        if state.use_error_feedback:
            state.error_dict[index] = wanted - buffer
        if state.warm_start:
            state.q_memory_dict[index] = averages
        return buffer

    return ps.then(second).then(third)


def _averaged(tensors: list[Tensor], sums: list[Tensor], size: int, whole: Tensor) -> Tensor:
    """``whole``, once the averages are written into the tensors that are parts of it."""
    for t, total in zip(tensors, sums, strict=True):
        t.copy_(total / size)
    return whole


def powerSGD_hook(state: PowerSGDState, bucket: GradBucket) -> Future[Tensor]:
    """The average of a bucket's gradients, of which large matrices are sent as products of two thin ones."""

    def parts(_: Tensor) -> _Parts:
        thin: list[Tensor] = []
        rest: list[Tensor] = []
        for gradient in bucket.gradients():
            matrix = gradient.view(gradient.shape[0], -1) if gradient.dim() else gradient.view(1, 1)
            (thin if state.pays(*matrix.shape) else rest).append(matrix)
        return thin, rest, lambda: None

    return _approximated(state, bucket, parts)


def batched_powerSGD_hook(state: PowerSGDState, bucket: GradBucket) -> Future[Tensor]:
    """The average of a bucket's gradients, sent as two thin factors of one square matrix of all: faster, and less exact."""

    def parts(buffer: Tensor) -> _Parts:
        count = buffer.numel()
        side = int(np.ceil(np.sqrt(count)))
        square = buffer.new_zeros(side * side)
        square[:count] = buffer
        return [square.view(side, side)], [], lambda: buffer.copy_(square[:count])

    return _approximated(state, bucket, parts)
