"""``torch.distributed.device_mesh``: processes laid out as an array, with a group along each of its dims.

Source: https://docs.pytorch.org/docs/stable/distributed.html#torch.distributed.device_mesh.init_device_mesh
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core import dtypes
from flambeau.distributed import _group
from flambeau.distributed._group import ProcessGroup, get_rank, get_world_size, init_process_group, is_initialized
from flambeau.distributed._tensors import tensor_of
from flambeau.tensor import Tensor

__all__ = ["DeviceMesh", "init_device_mesh"]


class DeviceMesh:
    """Ranks in an array. All processes make it together; it makes a group for each row along each of its dims.

    Args:
        device_type: ``"cpu"``.
        mesh: the ranks, as nested lists or a tensor of integers.
        mesh_dim_names: a name for each dim.

    >>> import flambeau as torch
    >>> from flambeau import distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> mesh = dist.device_mesh.DeviceMesh("cpu", [[0]], mesh_dim_names=("replicate", "shard"))
    >>> mesh["shard"].size(), mesh.get_coordinate(), mesh
    (1, [0, 0], DeviceMesh((replicate=1, shard=1), 'cpu', stride=(1, 1)))
    >>> dist.destroy_process_group()

    Raises:
        ValueError: a rank appears twice or does not exist, or names do not fit the dims.
    """

    def __init__(
        self, device_type: str, mesh: Any, *, mesh_dim_names: Sequence[str] | None = None, backend_override: Any = None, _init_backend: bool = True, _rank: int | None = None,
    ) -> None:  # fmt: skip
        _check_device(device_type)
        ranks = np.asarray(mesh.tolist() if isinstance(mesh, Tensor) else mesh, np.int64)
        if mesh_dim_names is not None and len(mesh_dim_names) != ranks.ndim:
            raise ValueError(f"mesh_dim_names {tuple(mesh_dim_names)} must name each of the {ranks.ndim} dims of the mesh")
        if not is_initialized():
            init_process_group()
        if len(np.unique(ranks)) != ranks.size or ranks.size and not 0 <= ranks.min() <= ranks.max() < get_world_size():
            raise ValueError(f"a mesh has each rank once, of 0 to {get_world_size() - 1}: {ranks.tolist()}")
        groups = [_groups_along(ranks, dim) for dim in range(ranks.ndim)]
        self._take(device_type, ranks, None if mesh_dim_names is None else tuple(mesh_dim_names), groups, None)

    def _take(
        self,
        device_type: str,
        ranks: np.ndarray,
        names: tuple[str, ...] | None,
        groups: list[ProcessGroup | None],
        root: DeviceMesh | None,
    ) -> None:
        self.device_type, self._ranks, self.mesh_dim_names, self._groups, self._root = device_type, ranks, names, groups, root
        self._flat: dict[str, DeviceMesh] = {}
        place = np.argwhere(ranks == get_rank())
        self._coordinate = place[0].tolist() if len(place) else None

    @classmethod
    def _made(cls, *parts: Any) -> DeviceMesh:
        self = cls.__new__(cls)
        self._take(*parts)
        return self

    @staticmethod
    def from_group(
        group: ProcessGroup | Sequence[ProcessGroup],
        device_type: str,
        mesh: Any = None,
        *,
        mesh_dim_names: Sequence[str] | None = None,
    ) -> DeviceMesh:
        """A mesh along groups that are there already."""
        _check_device(device_type)
        names = None if mesh_dim_names is None else tuple(mesh_dim_names)
        if isinstance(group, ProcessGroup):
            return DeviceMesh._made(device_type, np.array(group.ranks), names, [group], None)
        if mesh is None:
            raise ValueError("Must pass mesh if passing multiple ProcessGroups")
        ranks = np.asarray(mesh.tolist() if isinstance(mesh, Tensor) else mesh, np.int64)
        if ranks.ndim != len(group):
            raise ValueError(
                f"Expects mesh with ndim equal to number of ProcessGroups but got mesh {ranks.tolist()} and {len(group)} ProcessGroups"
            )
        return DeviceMesh._made(device_type, ranks, names, list(group), None)

    # --- what it is -------------------------------------------------------------------------------------------

    @property
    def mesh(self) -> Tensor:
        """The ranks."""
        return tensor_of(self._ranks.flatten(), self._ranks.shape, dtypes.int64)

    @property
    def ndim(self) -> int:
        """How many dims there are."""
        return self._ranks.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        """How many processes there are along each dim."""
        return self._ranks.shape

    def size(self, mesh_dim: int | None = None) -> int:
        """How many processes there are, along a dim or in all."""
        return self._ranks.size if mesh_dim is None else self._ranks.shape[mesh_dim]

    def get_coordinate(self) -> list[int] | None:
        """Where this process is; ``None`` if it is not in the mesh."""
        return self._coordinate

    def get_rank(self) -> int:
        """The number of this process among all."""
        return get_rank()

    def _dim(self, mesh_dim: int | str | None) -> int:
        if mesh_dim is None:
            if self.ndim != 1:
                raise RuntimeError(
                    f"Found the DeviceMesh have {self.ndim} dimensions. Optional kwarg `mesh_dim` needs to be specified when device_mesh.ndim > 1."
                )
            return 0
        if isinstance(mesh_dim, int):
            return mesh_dim
        if self.mesh_dim_names is None or mesh_dim not in self.mesh_dim_names:
            raise KeyError(
                f"Mesh dimension '{mesh_dim}' does not exist. Available mesh dimensions are: mesh_dim_names={self.mesh_dim_names}"
            )
        return self.mesh_dim_names.index(mesh_dim)

    def get_group(self, mesh_dim: int | str | None = None) -> ProcessGroup:
        """The group of this process along a dim."""
        group = self._groups[self._dim(mesh_dim)]
        if group is None:
            raise RuntimeError("this process is not in the mesh")
        return group

    def get_all_groups(self) -> list[ProcessGroup]:
        """The groups of this process, one for each dim."""
        return [self.get_group(dim) for dim in range(self.ndim)]

    def get_local_rank(self, mesh_dim: int | str | None = None) -> int:
        """The number of this process along a dim."""
        return self.get_group(mesh_dim).rank()

    # --- parts ------------------------------------------------------------------------------------------------

    def __getitem__(self, mesh_dim_names: str | tuple[str, ...]) -> DeviceMesh:
        """The mesh of some dims that this process is in."""
        names = (mesh_dim_names,) if isinstance(mesh_dim_names, str) else tuple(mesh_dim_names)
        if self.mesh_dim_names is None:
            raise RuntimeError("Cannot slice a DeviceMesh without mesh_dim_names!")
        if len(names) == 1 and names[0] in self._flat:
            return self._flat[names[0]]
        dims = [self._dim(name) for name in names]
        if dims == list(range(self.ndim)):
            return self
        if self._coordinate is None:
            raise RuntimeError("this process is not in the mesh")
        moved = np.moveaxis(self._ranks, dims, range(len(dims)))
        rest = [place for dim, place in enumerate(self._coordinate) if dim not in dims]
        return DeviceMesh._made(
            self.device_type, moved[(..., *rest)], names, [self._groups[dim] for dim in dims], self._root or self
        )

    def _flatten(self, mesh_dim_name: str | None = None) -> DeviceMesh:
        """A mesh of these processes along one dim, with a group of their own."""
        name = mesh_dim_name or "_".join(self.mesh_dim_names or ())
        root = self._root or self
        if self.ndim == 1 and name == (self.mesh_dim_names or (None,))[0]:
            return self
        if name not in root._flat:
            own = None
            for ranks in _rows_like(root, self):
                made = _group.new_group(ranks.tolist())
                if get_rank() in ranks:
                    own = DeviceMesh._made(self.device_type, ranks, (name,), [made], root)
            assert own is not None
            root._flat[name] = own
        return root._flat[name]

    # --- as an object -----------------------------------------------------------------------------------------

    def __enter__(self) -> DeviceMesh:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, DeviceMesh)
            and (self.device_type, self.mesh_dim_names) == (other.device_type, other.mesh_dim_names)
            and np.array_equal(self._ranks, other._ranks)
        )

    def __hash__(self) -> int:
        return hash((self.device_type, self.mesh_dim_names, self._ranks.shape, self._ranks.tobytes()))

    def __repr__(self) -> str:
        stride = tuple(math.prod(self.shape[dim + 1 :]) for dim in range(self.ndim))
        names = self.mesh_dim_names
        sizes = ", ".join(f"{names[i]}={n}" if names else str(n) for i, n in enumerate(self.shape)) + (
            "," if self.ndim == 1 and not names else ""
        )
        return f"DeviceMesh(({sizes}), '{self.device_type}', stride={stride})"

    def __reduce__(self) -> tuple:
        return _again, (self.device_type, self._ranks.tolist(), self.mesh_dim_names)


def _again(device_type: str, ranks: list, names: tuple[str, ...] | None) -> DeviceMesh:
    return DeviceMesh(device_type, ranks, mesh_dim_names=names)


def _check_device(device_type: str) -> None:
    if device_type != "cpu":
        raise RuntimeError(f"a mesh of '{device_type}' devices: flambeau computes on the CPU, use device_type='cpu'")


def _groups_along(ranks: np.ndarray, dim: int) -> ProcessGroup | None:
    """Makes the groups along a dim; the one of this process."""
    if ranks.ndim == 1 and ranks.tolist() == list(range(get_world_size())):
        return _group.member()
    own = None
    for row in np.moveaxis(ranks, dim, -1).reshape(-1, ranks.shape[dim]):
        made = _group.new_group(row.tolist())
        if get_rank() in row:
            own = made
    return own


def _rows_like(root: DeviceMesh, part: DeviceMesh) -> np.ndarray:
    """The ranks of all meshes of the dims that ``part`` has of ``root``, a row for each."""
    dims = [root._dim(name) for name in part.mesh_dim_names or ()] or list(range(root.ndim))
    return np.moveaxis(root._ranks, dims, range(root.ndim - len(dims), root.ndim)).reshape(-1, part.size())


def init_device_mesh(
    device_type: str, mesh_shape: tuple[int, ...], *, mesh_dim_names: tuple[str, ...] | None = None, backend_override: Any = None
) -> DeviceMesh:
    """All processes in an array of ``mesh_shape``, in the order of their ranks.

    Makes the group of all processes if there is none. Example:
    ``init_device_mesh("cpu", (2, 4), mesh_dim_names=("replicate", "shard"))``.

    Raises:
        RuntimeError: there is another number of processes, or names are given twice.
    """
    if mesh_dim_names is not None:
        if len(set(mesh_dim_names)) != len(mesh_dim_names):
            raise RuntimeError(
                f"Each mesh_dim_name must be unique. Found repeated mesh_dim_name in mesh_dim_names {mesh_dim_names}"
            )
        if len(mesh_dim_names) != len(mesh_shape):
            raise RuntimeError(
                f"mesh_shape and mesh_dim_names should have same length! Found len(mesh_dim_names): {len(mesh_dim_names)} and len(mesh_shape): {len(mesh_shape)}"
            )
    _check_device(device_type)
    if not is_initialized():
        init_process_group()
    count = math.prod(mesh_shape)
    if count > get_world_size():
        raise RuntimeError(f"Mesh should not be bigger than default world size {get_world_size()}, but found {count} ranks!")
    return DeviceMesh(device_type, np.arange(count).reshape(mesh_shape).tolist(), mesh_dim_names=mesh_dim_names)
