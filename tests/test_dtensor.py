"""Meshes of processes, and tensors that lie on them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mpi4py")

import flambeau as torch  # noqa: E402
from flambeau import distributed as dist  # noqa: E402
from flambeau import nn  # noqa: E402
from flambeau.distributed.device_mesh import init_device_mesh  # noqa: E402
from flambeau.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_module, distribute_tensor, randn  # noqa: E402
from flambeau.distributed.tensor.redistribution import extent  # noqa: E402
from tests.ranks import meeting_place, run_ranks  # noqa: E402


def begin(rank: int, size: int, url: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=url, rank=rank, world_size=size)


def test_parts_are_those_of_chunk():
    for length in range(9):
        for count in range(1, 6):
            parts = [len(part) for part in torch.arange(length).chunk(count)] if length else []
            assert [extent(length, count, i)[1] for i in range(count)] == parts + [0] * (count - len(parts))


def computed(rank, size, url):
    begin(rank, size, url)
    mesh = init_device_mesh("cpu", (size,))
    x, w = torch.arange(15.0).reshape(5, 3).requires_grad_(), torch.ones(4, 3)
    d = distribute_tensor(x, mesh, [Shard(0)])
    results = {}
    for laid in ([Shard(0)], [Shard(1)], [Shard(-1)], [Replicate()]):
        again = d.redistribute(placements=laid)
        results[f"whole by {laid}"] = again.full_tensor().equal(x)
    y = ((d * 2).relu() + d).sum()
    y.backward()
    results["sum"], results["gradient"] = y.full_tensor().item(), d.grad.full_tensor().tolist()
    results["linear"] = nn.functional.linear(d, distribute_tensor(w, mesh, [Shard(0)])).full_tensor().tolist()
    results["norm"] = [torch.linalg.vector_norm(d, p).full_tensor().item() for p in (1, 2, float("inf"))]
    column = distribute_tensor(torch.arange(5.0).reshape(5, 1), mesh, [Shard(0)])
    results["broadcast"] = (d - column).full_tensor().tolist()
    partial = DTensor.from_local(torch.full((2,), rank + 1.0), mesh, [Partial()])
    results["partial"] = partial.full_tensor().tolist()
    results["like a partial"] = [torch.ones_like(partial).full_tensor().tolist(), (partial * 2).full_tensor().tolist()]
    torch.manual_seed(0)
    results["drawn"] = nn.init.normal_(d.detach().clone()).full_tensor().tolist()
    torch.manual_seed(0)
    results["randn"] = randn(5, 3, device_mesh=mesh, placements=[Shard(0)]).full_tensor().tolist()
    with torch.no_grad():
        d.mul_(2).add_(1)
        results["written"] = d.full_tensor().tolist()
        d.copy_(torch.ones(5, 3))
        results["copied"] = d.full_tensor().sum().item()
    with pytest.raises(RuntimeError, match="mixed torch.Tensor and DTensor"):
        d + torch.ones(5, 3)
    with pytest.raises(RuntimeError, match="full_tensor"):
        d.tolist()
    with pytest.raises(NotImplementedError, match="cumsum_"):
        d.detach().cumsum_(0)
    results["shape"] = [tuple(d.shape), d.size(0), d.numel(), d.stride(), str(d.dtype), tuple(d.T.shape)]
    results["module"] = [type(p).__name__ for p in distribute_module(nn.Linear(2, 2), mesh).parameters()]
    return results, tuple(d.to_local().shape)


@pytest.mark.parametrize("size", [2, 4])
def test_tensors_on_processes_compute_as_whole_ones(size):
    x = torch.arange(15.0).reshape(5, 3)
    torch.manual_seed(0)
    drawn = torch.randn(5, 3).tolist()
    expected = {
        "sum": 315.0, "gradient": [[1.0, 3.0, 3.0], *[[3.0] * 3] * 4], "linear": nn.functional.linear(x, torch.ones(4, 3)).tolist(),
        "broadcast": (x - torch.arange(5.0).reshape(5, 1)).tolist(), "partial": [size * (size + 1) / 2] * 2,
        "like a partial": [[1.0, 1.0], [size * (size + 1.0)] * 2], "drawn": drawn, "randn": drawn,
        "written": (2 * x + 1).tolist(), "copied": 15.0, "shape": [(5, 3), 5, 15, (3, 1), "torch.float32", (3, 5)], "module": ["DTensor"] * 2,
    }  # fmt: skip
    answers = run_ranks(computed, size, size, meeting_place())
    for results, _ in answers:
        assert all(results.pop(name) for name in list(results) if name.startswith("whole"))
        np.testing.assert_allclose(results.pop("norm"), [105.0, float(x.norm()), 14.0], rtol=1e-6)
        assert results == expected
    assert [shape for _, shape in answers] == ([(3, 3), (2, 3)] if size == 2 else [(2, 3), (2, 3), (1, 3), (0, 3)])


def laid_out(rank, size, url):
    begin(rank, size, url)
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))
    x = torch.arange(24.0).reshape(6, 4)
    for laid in ([Shard(0), Shard(0)], [Shard(1), Shard(0)], [Replicate(), Shard(0)]):
        d = distribute_tensor(x, mesh, laid)
        for target in ([Replicate(), Replicate()], [Shard(0), Shard(1)], [Shard(1), Shard(1)], [Shard(0), Shard(0)]):
            assert d.redistribute(placements=target).full_tensor().equal(x)
    with pytest.raises(KeyError, match="does not exist"):
        mesh["tp"]
    with pytest.raises(RuntimeError, match="bigger than default world size"):
        init_device_mesh("cpu", (3, 3))
    return (
        mesh.get_coordinate(), mesh["shard"].get_group().ranks, mesh["replicate"].mesh.tolist(), mesh.get_local_rank("shard"),
        mesh._flatten("all").get_local_rank(), repr(mesh),
    )  # fmt: skip


def test_meshes():
    named = "DeviceMesh((replicate=2, shard=2), 'cpu', stride=(2, 1))"
    assert run_ranks(laid_out, 4, 4, meeting_place()) == [
        ([0, 0], [0, 1], [0, 2], 0, 0, named), ([0, 1], [0, 1], [1, 3], 1, 1, named),
        ([1, 0], [2, 3], [0, 2], 0, 2, named), ([1, 1], [2, 3], [1, 3], 1, 3, named),
    ]  # fmt: skip
