"""The class of tensors that lie on several processes.

A :class:`DTensor` is what this process has, which is on the tape in its place, and how the whole lies on a mesh of processes. All
processes make the same calls. Calls come by ``__torch_function__``; :mod:`flambeau.distributed.tensor.rules` says what they mean.

Source: https://docs.pytorch.org/docs/stable/distributed.tensor.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.core.size import Size
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.placements import Partial, Placement, Replicate, Shard
from flambeau.distributed.tensor.redistribution import Placements, redistribute
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.wrapping import WrappingTensor

__all__ = ["DTensor", "divided", "normalized"]


class DTensor(WrappingTensor):
    """A tensor of which each process of a mesh has a part, or all. Made by :meth:`from_local` and ``distribute_tensor``."""

    _mesh: DeviceMesh
    _placements: Placements
    _by_element = True

    def __new__(cls, *args: Any, **kwargs: Any) -> DTensor:
        raise RuntimeError("DTensor: use DTensor.from_local or distribute_tensor")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # type: ignore[override]
        from flambeau.distributed.tensor.rules import apply

        return apply(function, args, kwargs or {})

    def _with(self, values: Tensor) -> DTensor:
        return divided(values, self._shape, self._mesh, self._placements)

    # --- from and to what processes have ----------------------------------------------------------------------

    @staticmethod
    def from_local(
        local_tensor: Tensor, device_mesh: DeviceMesh | None = None, placements: Sequence[Placement] | None = None, *, run_check: bool = False,
        shape: Sequence[int] | None = None, stride: Sequence[int] | None = None, grad_placements: Sequence[Placement] | None = None,
    ) -> DTensor:  # fmt: skip
        """The tensor of which each process has ``local_tensor``. Without ``shape`` all are taken to have parts of the same shape.

        Gradients flow into ``local_tensor``. ``run_check``: replicas take the values of the first process.
        """
        if isinstance(local_tensor, DTensor) or not isinstance(local_tensor, Tensor):
            raise RuntimeError(f"the local_tensor argument only accepts torch.Tensor but got {type(local_tensor)}.")
        if grad_placements is not None:
            raise NotImplementedError("DTensor.from_local: grad_placements is not there yet; gradients lie as the tensor does")
        mesh = _mesh(device_mesh)
        laid = normalized(placements if placements is not None else [Replicate()] * mesh.ndim, mesh, local_tensor.dim())
        if run_check:
            from flambeau.distributed._collectives import broadcast

            for dim, placement in enumerate(laid):
                if isinstance(placement, Replicate):
                    broadcast(local_tensor.detach(), group=mesh.get_group(dim), group_src=0)
        whole = list(local_tensor.shape) if shape is None else list(shape)
        if shape is None:
            for dim, placement in enumerate(laid):
                if isinstance(placement, Shard):
                    whole[placement.dim] *= mesh.size(dim)
        return divided(local_tensor.view_as(local_tensor), Size(whole), mesh, laid)

    def to_local(self, *, grad_placements: Sequence[Placement] | None = None) -> Tensor:
        """What this process has. Gradients flow back into it."""
        if grad_placements is not None and tuple(grad_placements) != self._placements:
            raise NotImplementedError("DTensor.to_local: gradients lie as the tensor does; other grad_placements are not there yet")
        return self._v if not self._v.requires_grad else self._v.view_as(self._v)

    def full_tensor(self, *, grad_placements: Sequence[Placement] | None = None) -> Tensor:
        """All of it, in each process. All processes call this."""
        return self.redistribute(placements=[Replicate()] * self._mesh.ndim).to_local(grad_placements=grad_placements)

    def redistribute(
        self, device_mesh: DeviceMesh | None = None, placements: Sequence[Placement] | None = None, *, async_op: bool = False, forward_dtype: Any = None, backward_dtype: Any = None,
    ) -> DTensor:  # fmt: skip
        """This tensor, laid in another way. All processes call this; gradients move back.

        >>> import flambeau as torch
        >>> from flambeau import distributed as dist
        >>> from flambeau.distributed.tensor import Replicate, Shard, distribute_tensor
        >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        >>> t = distribute_tensor(torch.ones(2, 3), dist.device_mesh.init_device_mesh("cpu", (1,)), [Shard(0)])
        >>> t.redistribute(placements=[Replicate()]).placements
        (Replicate(),)
        >>> dist.destroy_process_group()
        """
        if device_mesh is not None and device_mesh != self._mesh:
            raise NotImplementedError("Cross device mesh comm not supported yet!")
        if placements is None:
            raise RuntimeError("placements is needed for redistribute!")
        if forward_dtype is not None or backward_dtype is not None:
            raise NotImplementedError("DTensor.redistribute: forward_dtype and backward_dtype are not there yet; cast with to()")
        laid = normalized(placements, self._mesh, self.dim())
        if any(isinstance(p, Partial) and p != q for p, q in zip(laid, self._placements, strict=True)):
            raise RuntimeError(
                f"Can not redistribute from {self._placements} to {laid}, redistributing to Partial is for internal use only!"
            )
        return self._laid(laid)

    def _laid(self, placements: Placements) -> DTensor:
        if placements == self._placements:
            return self
        return divided(
            redistribute.apply(self._v, self._shape, self._mesh, self._placements, placements), self._shape, self._mesh, placements
        )

    # --- what it is -------------------------------------------------------------------------------------------

    @property
    def _local_tensor(self) -> Tensor:
        return self._v

    @property
    def device_mesh(self) -> DeviceMesh:
        """The processes that it lies on."""
        return self._mesh

    @property
    def placements(self) -> Placements:
        """How it lies on them, one placement for each dim of the mesh."""
        return self._placements

    @property
    def dtype(self) -> Any:  # type: ignore[override]
        return self._v.dtype

    @property
    def ndim(self) -> int:  # type: ignore[override]
        return len(self._shape)

    def dim(self) -> int:
        return len(self._shape)

    def size(self, dim: int | None = None, *, axis: int | None = None) -> Any:
        dim = axis if dim is None else dim
        return self._shape if dim is None else self._shape[dim]

    def numel(self) -> int:
        return self._shape.numel()

    nelement = numel

    def stride(self, dim: int | None = None, *, axis: int | None = None) -> Any:
        dim = axis if dim is None else dim
        strides = [1]
        for n in reversed(self._shape[1:]):
            strides.append(strides[-1] * max(1, n))
        ordered = tuple(reversed(strides)) if self._shape else ()
        return ordered if dim is None else ordered[dim]

    def is_floating_point(self) -> bool:
        return self._v.is_floating_point()

    def is_complex(self) -> bool:
        return self._v.is_complex()

    def element_size(self) -> int:
        return self._v.element_size()

    def is_contiguous(self, memory_format: Any = None) -> bool:
        return True

    def __len__(self) -> int:
        return len(self._v) if not self._shape else self._shape[0]

    @property
    def grad(self) -> Tensor | None:  # type: ignore[override]
        return None if self._v.grad is None else self._with(self._v.grad)

    @grad.setter
    def grad(self, value: Any) -> None:
        self._v.grad = None if value is None else (value._laid(self._placements)._v if isinstance(value, DTensor) else value)

    @property
    def _grad(self) -> Any:  # type: ignore[override]
        return self.grad

    @_grad.setter
    def _grad(self, value: Any) -> None:
        self.grad = value

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """The backward pass, in all processes, from what each has."""
        self._laid(tuple(Replicate() if isinstance(p, Partial) else p for p in self._placements))._v.backward(
            gradient._v if isinstance(gradient, DTensor) else gradient, retain_graph, create_graph, inputs
        )

    def _array(self) -> Any:
        raise RuntimeError(".numpy() is not supported for DTensor: use to_local() or full_tensor()")

    def tolist(self) -> Any:
        raise RuntimeError(".tolist() is not supported for DTensor: use to_local() or full_tensor()")

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"DTensor(local_tensor={self._v.detach()!r}, device_mesh={self._mesh!r}, placements={self._placements!r})"

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return divided, (self._v.detach().requires_grad_(self._v.requires_grad), self._shape, self._mesh, self._placements)


def divided(local: Tensor, shape: Sequence[int], mesh: DeviceMesh, placements: Placements) -> DTensor:
    """The tensor of which this process has ``local`` itself, which may be on the tape."""
    self = object.__new__(DTensor)
    self._v, self._shape, self._mesh, self._placements = local, Size(shape), mesh, placements
    self._dtype, self._storage = local._dtype, local._storage
    return self


def _mesh(mesh: DeviceMesh | None) -> DeviceMesh:
    if mesh is None:
        from flambeau.distributed._group import get_world_size
        from flambeau.distributed.device_mesh import init_device_mesh

        return init_device_mesh("cpu", (get_world_size(),))
    return mesh


def normalized(placements: Sequence[Placement], mesh: DeviceMesh, dims: int) -> Placements:
    """Placements with dims that count from the front.

    Raises:
        ValueError: there is not one for each dim of the mesh.
        RuntimeError: a dim does not exist.
    """
    if len(placements) != mesh.ndim:
        raise ValueError(
            f"`placements` must have the same length as `device_mesh.ndim`! Found placements length: {len(placements)}, and device_mesh.ndim: {mesh.ndim}."
        )
    result: list[Placement] = []
    for placement in placements:
        if type(placement) is Shard:
            dim = placement.dim + dims if placement.dim < 0 else placement.dim
            if not 0 <= dim < dims:
                raise RuntimeError(f"Sharding dim {placement.dim} greater than tensor ndim {dims}")
            placement = Shard(dim)
        elif type(placement) not in (Replicate, Partial):
            raise NotImplementedError(f"{placement!r}: tensors are laid by Shard, Replicate and Partial")
        result.append(placement)
    return tuple(result)
