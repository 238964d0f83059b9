"""How a bucket of gradients becomes their average: functions for ``DistributedDataParallel.register_comm_hook``.

Source: https://docs.pytorch.org/docs/stable/ddp_comm_hooks.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core import dtypes
from flambeau.distributed._collectives import all_reduce
from flambeau.distributed._group import member
from flambeau.distributed.reducer import GradBucket
from flambeau.futures import Future
from flambeau.tensor import Tensor

__all__ = ["allreduce_hook", "bf16_compress_hook", "bf16_compress_wrapper", "fp16_compress_hook", "fp16_compress_wrapper"]


def _averaged(group: Any, tensor: Tensor) -> Future:
    work = all_reduce(tensor.div_(member(group).size()), group=group, async_op=True)
    assert work is not None
    return work.get_future().then(lambda future: future.value()[0])


def allreduce_hook(process_group: Any, bucket: GradBucket) -> Future[Tensor]:
    """The average, as it is without a hook."""
    return _averaged(process_group, bucket.buffer())


def _compressed(dtype: dtypes.dtype, group: Any, bucket: GradBucket) -> Future[Tensor]:
    buffer = bucket.buffer()
    return _averaged(group, buffer.to(dtype)).then(lambda future: buffer.copy_(future.value()))


def fp16_compress_hook(process_group: Any, bucket: GradBucket) -> Future[Tensor]:
    """The average, sent in half precision."""
    return _compressed(dtypes.float16, process_group, bucket)


def bf16_compress_hook(process_group: Any, bucket: GradBucket) -> Future[Tensor]:
    """The average, sent in bfloat16."""
    return _compressed(dtypes.bfloat16, process_group, bucket)


def _wrapped(dtype: dtypes.dtype, hook: Callable[[Any, GradBucket], Future[Tensor]]) -> Callable[[Any, GradBucket], Future[Tensor]]:
    def wrapper(state: Any, bucket: GradBucket) -> Future[Tensor]:
        buffer = bucket.buffer()
        bucket.set_buffer(buffer.to(dtype))
        return hook(state, bucket).then(lambda future: buffer.copy_(future.value()))

    return wrapper


def fp16_compress_wrapper(hook: Callable[[Any, GradBucket], Future[Tensor]]) -> Callable[[Any, GradBucket], Future[Tensor]]:
    """``hook``, which is given buckets in half precision."""
    return _wrapped(dtypes.float16, hook)


def bf16_compress_wrapper(hook: Callable[[Any, GradBucket], Future[Tensor]]) -> Callable[[Any, GradBucket], Future[Tensor]]:
    """``hook``, which is given buckets in bfloat16."""
    return _wrapped(dtypes.bfloat16, hook)
