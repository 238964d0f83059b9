"""A group of one process against PyTorch's, through gloo."""

from __future__ import annotations

import pytest

import flambeau

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("PyTorch is built without it", allow_module_level=True)

PROGRAMS = [
    "dist.get_rank(), dist.get_world_size(), dist.get_backend(), dist.is_initialized()",
    "t = ones(2, 3); work = dist.all_reduce(t, async_op=True); (t.tolist(), work.wait(), work.is_completed())",
    "t = ones(2); dist.all_reduce(t, op=dist.ReduceOp.MAX); dist.reduce(t, 0); dist.broadcast(t, src=0); t.tolist()",
    "out = [zeros(2)]; dist.all_gather(out, ones(2)); out[0].tolist()",
    "out = [zeros(2)]; dist.gather(ones(2), out, dst=0); out[0].tolist()",
    "out = zeros(2); dist.scatter(out, [ones(2)], src=0); out.tolist()",
    "out = zeros(4); dist.all_gather_into_tensor(out, ones(4)); out.tolist()",
    "out = [None]; dist.all_gather_object(out, {'a': [1]}); out",
    "out = [None]; dist.gather_object({'a': 1}, out); out",
    "out = [None]; dist.scatter_object_list(out, [{'a': 1}]); out",
    "out = [1]; dist.broadcast_object_list(out); out",
    "out = zeros(2); dist.reduce_scatter(out, [ones(2)]); out.tolist()",
    "out = zeros(2); dist.all_to_all_single(out, ones(2)); out.tolist()",
    "g = dist.new_group([0]); dist.barrier(); dist.barrier(g); (dist.get_rank(g), dist.get_world_size(g), dist.get_process_group_ranks(g))",
    "dist.all_reduce(3)", "dist.all_gather(3, 4)", "dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)",
    "dist.broadcast(ones(1), src=1)", "dist.gather(ones(2))", "dist.new_group([0, 1])",
]  # fmt: skip


def run(library, program: str):
    dist = library.distributed
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    names = {"dist": dist, "ones": library.ones, "zeros": library.zeros}
    *statements, last = program.split("; ")
    try:
        for statement in statements:
            exec(statement, names)
        return eval(last, names)
    except Exception as error:
        return type(error).__name__
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.filterwarnings("ignore")
def test_a_group_of_one(program):
    assert run(flambeau, program) == run(torch, program)


def test_what_needs_others_is_refused():
    dist = flambeau.distributed
    with pytest.raises(ValueError, match="has not been initialized"):
        dist.get_rank()
    with pytest.raises(RuntimeError, match="world_size=2: flambeau computes in one process"):
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=2)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match="no other process"):
            dist.send(flambeau.ones(1), 1)
        with pytest.raises(RuntimeError, match="FullyShardedDataParallel shares a model among processes"):
            dist.fsdp.FullyShardedDataParallel(flambeau.nn.Linear(1, 1))
        assert not isinstance(flambeau.nn.Linear(1, 1), dist.fsdp.FullyShardedDataParallel)
    finally:
        dist.destroy_process_group()
