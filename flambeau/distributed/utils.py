"""``torch.distributed.utils``: what trainers use of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flambeau.distributed._collectives import broadcast
from flambeau.distributed._group import ProcessGroup

if TYPE_CHECKING:
    from flambeau.nn import Module

__all__: list[str] = []


def _sync_module_states(
    module: Module, process_group: ProcessGroup, broadcast_bucket_size: int, src: int, params_and_buffers_to_ignore: Iterable[str], broadcast_buffers: bool = True
) -> None:  # fmt: skip
    """Gives all processes of a group the parameters and buffers of the one whose rank is ``src``. All call it together.

    >>> import flambeau as torch
    >>> from flambeau import distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> _sync_module_states(torch.nn.Linear(2, 1), dist.group.WORLD, 250 << 20, 0, ())
    >>> dist.destroy_process_group()
    """
    ignored = set(params_and_buffers_to_ignore)
    named = [*module.named_parameters(), *(module.named_buffers() if broadcast_buffers else ())]
    for name, t in named:
        if name not in ignored:
            broadcast(t.detach(), src, process_group)
