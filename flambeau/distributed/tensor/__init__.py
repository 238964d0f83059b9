"""``torch.distributed.tensor``: tensors that lie on several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import ops
from flambeau.distributed._collectives import broadcast
from flambeau.distributed._refused import refused_names
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.placements import Partial, Placement, Replicate, Shard
from flambeau.distributed.tensor.dtensor import DTensor, _mesh, divided, normalized
from flambeau.distributed.tensor.redistribution import place_of
from flambeau.distributed.tensor.rules import lay
from flambeau.tensor import Tensor

_NAMES = refused_names(
    __name__,
    "ParallelStyle ColwiseParallel RowwiseParallel SequenceParallel PrepareModuleInput PrepareModuleOutput",
    "parallelize_module loss_parallel",
)
globals().update(_NAMES)
__all__ = [
    *_NAMES, "DTensor", "Partial", "Placement", "Replicate", "Shard", "compute_local_shape_and_global_offset", "distribute_module",
    "distribute_tensor", "empty", "full", "ones", "rand", "randn", "zeros",
]  # fmt: skip


def distribute_tensor(
    tensor: Tensor,
    device_mesh: DeviceMesh | None = None,
    placements: Sequence[Placement] | None = None,
    *,
    src_data_rank: int | None = 0,
) -> DTensor:
    """Lays a leaf on a mesh: each process keeps its part. All processes call this.

    The values are those of the process ``src_data_rank`` along each dim of the mesh; ``None``: all have the same, and nothing is
    sent.

    >>> import flambeau as torch
    >>> from flambeau import distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> mesh = dist.device_mesh.init_device_mesh("cpu", (1,))
    >>> distribute_tensor(torch.arange(4.0), mesh, [Shard(0)]) * 2
    DTensor(local_tensor=tensor([0., 2., 4., 6.]), device_mesh=DeviceMesh((1,), 'cpu', stride=(1,)), placements=(Shard(dim=0),))
    >>> dist.destroy_process_group()

    Raises:
        RuntimeError: ``tensor`` is no leaf, or a dim to be cut does not exist.
        ValueError: there is not one placement for each dim of the mesh.
    """
    mesh = _mesh(device_mesh)
    laid = normalized([Replicate()] * mesh.ndim if placements is None else placements, mesh, tensor.dim())
    if isinstance(tensor, DTensor):
        if tensor.device_mesh != mesh or tensor.placements != laid:
            raise ValueError(f"Cannot distribute a DTensor with {tensor.placements} to a different one {laid}; use redistribute")
        return tensor
    if not tensor.is_leaf:
        raise RuntimeError("`distribute_tensor` should be used to distribute leaf tensors! but found non-leaf tensor!")
    if any(isinstance(p, Partial) for p in laid):
        raise ValueError("distribute_tensor: a whole tensor is no sum of parts; use Shard and Replicate")
    whole = tensor.detach()
    if src_data_rank is not None:
        whole = whole.clone()
        for dim in range(mesh.ndim):
            broadcast(whole, group=mesh.get_group(dim), group_src=src_data_rank)
    return divided(lay(whole, mesh, laid).requires_grad_(tensor.requires_grad), tensor.shape, mesh, laid)


def distribute_module(
    module: Any, device_mesh: DeviceMesh | None = None, partition_fn: Callable[[str, Any, DeviceMesh], None] | None = None,
    input_fn: Callable[..., Any] | None = None, output_fn: Callable[..., Any] | None = None,
) -> Any:  # fmt: skip
    """Lays the parameters of a module on a mesh: as ``partition_fn(name, submodule, mesh)`` does, those that it leaves in all
    processes.

    ``input_fn(module, inputs, mesh)`` and ``output_fn(module, outputs, mesh)`` change what goes in and comes out.
    """
    mesh = _mesh(device_mesh)
    for name, part in module.named_modules():
        if partition_fn is not None:
            partition_fn(name, part, mesh)
        for place in (part._parameters, part._buffers):
            for key, t in place.items():
                if t is not None and not isinstance(t, DTensor):
                    place[key] = distribute_tensor(t, mesh)
                    place[key]._is_param = place is part._parameters
    if input_fn is not None:
        module.register_forward_pre_hook(lambda module, inputs: input_fn(module, inputs, mesh))
    if output_fn is not None:
        module.register_forward_hook(lambda module, inputs, outputs: output_fn(module, outputs, mesh))
    return module


def compute_local_shape_and_global_offset(
    global_shape: Sequence[int], mesh: DeviceMesh, placements: Sequence[Placement]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of what this process has of a tensor, and where that begins."""
    return place_of(global_shape, mesh, placements)


def _made(make: Callable[..., Tensor]) -> Callable[..., DTensor]:
    def create(
        *size: Any,
        requires_grad: bool = False,
        device_mesh: DeviceMesh | None = None,
        placements: Sequence[Placement] | None = None,
        **settings: Any,
    ) -> DTensor:
        shape = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
        mesh = _mesh(device_mesh)
        laid = normalized([Replicate()] * mesh.ndim if placements is None else placements, mesh, len(shape))
        return divided(lay(make(shape, **settings), mesh, laid).requires_grad_(requires_grad), shape, mesh, laid)

    create.__name__ = create.__qualname__ = make.__name__
    create.__doc__ = (
        f"``torch.{make.__name__}`` on a mesh, with the same values in all processes: each makes all of it and keeps its part."
    )
    return create


empty, ones, zeros, rand, randn = map(_made, (ops.empty, ops.ones, ops.zeros, ops.rand, ops.randn))


def full(size: Sequence[int], fill_value: Any, **settings: Any) -> DTensor:
    """``torch.full`` on a mesh."""
    return _made(lambda shape, **rest: ops.full(shape, fill_value, **rest))(size, **settings)
