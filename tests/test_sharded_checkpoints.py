"""Checkpoints that several processes save together, and other numbers of processes load."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("mpi4py")

import flambeau as torch  # noqa: E402
from flambeau import distributed as dist  # noqa: E402
from flambeau import nn  # noqa: E402
from flambeau.distributed import checkpoint  # noqa: E402
from flambeau.distributed.checkpoint import CheckpointException, StateDictOptions, get_state_dict, set_state_dict  # noqa: E402
from flambeau.distributed.fsdp import FullyShardedDataParallel, fully_shard  # noqa: E402
from flambeau.distributed.optim import ZeroRedundancyOptimizer  # noqa: E402
from tests.ranks import meeting_place, run_ranks  # noqa: E402

ROWS = 12


def data(rank: int = 0, size: int = 1):
    torch.manual_seed(1)
    part = slice(rank * ROWS // size, (rank + 1) * ROWS // size)
    return torch.randn(ROWS, 4)[part], torch.randn(ROWS, 3)[part]


def train(model, optimizer, x, y, steps: int = 4) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()


def begin(rank: int, size: int, url: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=url, rank=rank, world_size=size)


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 3))


def resumed(rank, size, url, folder, kind):
    begin(rank, size, url)
    model = plain()
    if kind != "save":
        for p in model.parameters():
            nn.init.zeros_(p)
    if kind == "wrapped":
        model = FullyShardedDataParallel(model)
    else:
        for part in (model[0], model):
            fully_shard(part)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    x, y = data(rank, size)
    if kind == "save":
        train(model, optimizer, x, y)
        weights, states = get_state_dict(model, optimizer)
        checkpoint.save({"model": weights, "optim": states, "step": 4, "rest": [torch.ones(2), "a"]}, checkpoint_id=folder)
        full, _ = get_state_dict(model, optimizer, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        assert bool(full) == (rank == 0)
        return None
    weights, states = get_state_dict(model, optimizer)
    state = {"model": weights, "optim": states, "step": 0, "rest": [torch.zeros(2), ""]}
    checkpoint.load(state, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optim"])
    assert state["step"] == 4 and state["rest"][0].tolist() == [1.0, 1.0] and state["rest"][1] == "a"
    train(model, optimizer, x, y)
    with pytest.raises(CheckpointException, match="Missing key in checkpoint state_dict: other"):
        checkpoint.load({"other": torch.ones(1)}, checkpoint_id=folder)
    with pytest.raises(CheckpointException, match="Size mismatch"):
        checkpoint.load({"rest": [torch.zeros(3), ""]}, checkpoint_id=folder)
    return [p.full_tensor().tolist() for p in model.parameters()]


def test_trainings_go_on_in_another_number_of_processes(tmp_path):
    alone = plain()
    train(alone, torch.optim.Adam(alone.parameters(), lr=0.05), *data(), steps=8)
    run_ranks(resumed, 3, 3, meeting_place(), tmp_path, "save")
    assert {path.name for path in tmp_path.iterdir()} == {".metadata", "__0_0.distcp", "__1_0.distcp", "__2_0.distcp"}
    for size, kind in ((2, "sharded"), (1, "sharded"), (2, "wrapped")):
        for weights in run_ranks(resumed, size, size, meeting_place(), tmp_path, kind):
            for ours, expected in zip(weights, alone.parameters(), strict=True):
                np.testing.assert_allclose(ours, expected.tolist(), rtol=0, atol=2e-6)


def failing(rank, size, url, folder):
    begin(rank, size, url)
    with pytest.raises(CheckpointException, match="rank 1: .*pickle"):
        checkpoint.save({"x": (lambda: None) if rank == 1 else 1} if rank else {"w": torch.ones(1)}, checkpoint_id=folder)
    return (folder / ".metadata").exists()


def test_who_fails_fails_in_all_processes(tmp_path):
    assert run_ranks(failing, 2, 2, meeting_place(), tmp_path) == [False, False]


def test_one_process(tmp_path):
    class Counter:
        value = 0

        def state_dict(self):
            return {"value": self.value}

        def load_state_dict(self, state):
            self.value = state["value"]

    counter = Counter()
    counter.value = 5
    state = {
        "b": torch.arange(3, dtype=torch.bfloat16),
        "nested": {"list": [torch.ones(()), {"k": 1}], "empty": {}},
        "counter": counter,
    }
    checkpoint.save(state, checkpoint_id=tmp_path, no_dist=True)
    fresh = {
        "b": torch.zeros(3, dtype=torch.bfloat16),
        "nested": {"list": [torch.zeros(()), {"k": 0}], "empty": {}},
        "counter": Counter(),
    }
    checkpoint.load(fresh, storage_reader=checkpoint.FileSystemReader(tmp_path), no_dist=True)
    assert (
        fresh["b"].tolist() == [0.0, 1.0, 2.0] and fresh["nested"]["list"][0].item() == 1 and fresh["nested"]["list"][1] == {"k": 1}
    )
    assert fresh["counter"].value == 5
    checkpoint.dcp_to_torch_save(tmp_path, tmp_path / "whole.pt")
    assert torch.load(tmp_path / "whole.pt")["nested"]["list"][1] == {"k": 1}
    checkpoint.torch_save_to_dcp(tmp_path / "whole.pt", tmp_path / "again")
    partial = {"b": torch.zeros(3, dtype=torch.bfloat16), "new": torch.ones(1)}
    checkpoint.load(
        partial, checkpoint_id=tmp_path / "again", planner=checkpoint.DefaultLoadPlanner(allow_partial_load=True), no_dist=True
    )
    assert partial["b"].tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(CheckpointException, match="holds no checkpoint"):
        checkpoint.load({"b": torch.zeros(3)}, checkpoint_id=tmp_path / "nowhere", no_dist=True)
    (tmp_path / ".metadata").write_bytes(pickle.dumps(print))
    with pytest.raises(CheckpointException, match="builtins.print is nothing that"):
        checkpoint.load({"b": torch.zeros(3)}, checkpoint_id=tmp_path, no_dist=True)
    with pytest.raises(RuntimeError, match="async_save"):
        checkpoint.async_save({})


def with_less_state(rank, size, url):
    begin(rank, size, url)
    x, y = data()
    results = []
    for settings in ({"lr": 0.05}, {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True}):
        model, other = plain(), plain()
        optimizer = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=torch.optim.AdamW, **settings)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        for _ in range(4):
            train(model, optimizer, x, y, steps=1)
            schedule.step()
        mine = sum(v.numel() for entries in optimizer.optim.state.values() for v in entries.values() if v.dim())
        with pytest.raises(RuntimeError, match="has not been consolidated on this rank"):
            optimizer.state_dict()
        optimizer.consolidate_state_dict(to=1)
        box = [optimizer.state_dict() if rank == 1 else None]
        dist.broadcast_object_list(box, 1)
        other.load_state_dict(model.state_dict())
        again = ZeroRedundancyOptimizer(other.parameters(), optimizer_class=torch.optim.AdamW, **settings)
        again.load_state_dict(box[0])
        train(other, again, x, y, steps=2)
        results.append(([p.tolist() for p in other.parameters()], mine, sorted(box[0]["state"])))
    with pytest.raises(NotImplementedError, match="overlap_with_ddp"):
        ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, overlap_with_ddp=True, lr=0.1)
    return results


def test_optimizers_whose_state_is_divided():
    answers = run_ranks(with_less_state, 2, 2, meeting_place())
    for number, settings in enumerate(({"lr": 0.05}, {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True})):
        model = plain()
        optimizer = torch.optim.AdamW(model.parameters(), **settings)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        for step in range(6):
            train(model, optimizer, *data(), steps=1)
            if step < 4:
                schedule.step()
        whole = sum(v.numel() for entries in optimizer.state.values() for v in entries.values() if v.dim())
        assert sum(answer[number][1] for answer in answers) == whole and max(answer[number][1] for answer in answers) <= 0.6 * whole
        for answer in answers:
            assert answer[number][2] == [0, 1, 2, 3]
            for ours, expected in zip(answer[number][0], model.parameters(), strict=True):
                np.testing.assert_allclose(ours, expected.tolist(), rtol=0, atol=2e-6)
