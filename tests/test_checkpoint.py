"""Trainings that go on from a checkpoint have the bits of those that were never stopped."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.checkpoint import Checkpoints, Resumable
from flambeau.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler
from tests import resuming


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    return resuming.train(str(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("stops", [(50,), (1, 2, 10, 11, 12, 21, 22, 23, 99)])  # 11 batches a pass
def test_stopped_and_gone_on(tmp_path: Path, whole: str, stops: tuple[int, ...]) -> None:
    for step in stops:
        assert resuming.train(str(tmp_path), until=step) != whole
    assert resuming.train(str(tmp_path)) == whole


@pytest.mark.parametrize(("workers", "generator"), [(0, True), (2, False), (2, True)])
def test_with_workers_and_generators(tmp_path: Path, workers: int, generator: bool) -> None:
    want = resuming.train(str(tmp_path / "whole"), 30, workers=workers, generator=generator)
    resuming.train(str(tmp_path / "halves"), 16, workers=workers, generator=generator)
    assert resuming.train(str(tmp_path / "halves"), 30, workers=workers, generator=generator) == want


def test_killed_at_any_moment(tmp_path: Path, whole: str) -> None:
    digest, _ = resuming.killed(str(tmp_path), kills=3, seed=0)
    assert digest == whole
    assert all(p.suffix == ".pt" for p in tmp_path.iterdir())


SAMPLERS: dict[str, Any] = {
    "in order": lambda data: DataLoader(data, batch_size=3),
    "shuffled": lambda data: DataLoader(data, batch_size=3, shuffle=True),
    "weighted": lambda data: DataLoader(data, batch_size=3, sampler=WeightedRandomSampler(torch.arange(1.0, 11.0), 10)),
    "one by one": lambda data: DataLoader(data, batch_size=None, shuffle=True),
    "stream": lambda data: DataLoader(Stream(), batch_size=3),
    "stream of workers": lambda data: DataLoader(Stream(), batch_size=3, num_workers=2),
}


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter(torch.arange(10.0))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_place_of_a_pass(name: str) -> None:
    """Stopped after each batch, in the first pass and in the second: what comes is what would have come."""
    data = TensorDataset(torch.arange(10.0))

    def plain(batch: Any) -> list:
        return torch.as_tensor(batch[0] if isinstance(batch, (list, tuple)) else batch).tolist()

    torch.manual_seed(5)
    loader = Resumable(SAMPLERS[name](data))
    came, states = [], [(loader.state_dict(), torch.get_rng_state())]
    for _ in range(2):
        for batch in loader:
            came.append(plain(batch))
            torch.rand(1)  # the training draws too
            states.append((loader.state_dict(), torch.get_rng_state()))
    assert loader.epoch == 2
    for i, (state, stream) in enumerate(states[:: 3 if "workers" in name else 1]):
        i *= 3 if "workers" in name else 1
        torch.set_rng_state(stream)
        again = Resumable(SAMPLERS[name](data))
        again.load_state_dict(state)
        rest = []
        while again.epoch < 2:
            for batch in again:
                rest.append(plain(batch))
                torch.rand(1)
        assert rest == came[i:]


def test_a_pass_that_was_left_counts_when_another_begins() -> None:
    loader = Resumable(DataLoader(TensorDataset(torch.arange(4.0)), batch_size=2))
    next(iter(loader))
    assert (loader.epoch, loader.batch) == (0, 1)
    assert len(list(loader)) == len(loader) == 2 and loader.epoch == 2


SCHEDULES = [n for n in dir(torch.optim.lr_scheduler) if n.endswith(("LR", "Restarts", "Plateau")) and n != "SequentialLR"]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_is_read_back(tmp_path: Path, schedule: str) -> None:
    kind = getattr(torch.optim.lr_scheduler, schedule)
    settings = {
        "LambdaLR": (lambda n: 0.5**n,), "MultiplicativeLR": (lambda n: 0.5,), "StepLR": (2,), "MultiStepLR": ([2, 3],), "ExponentialLR": (0.5,),
        "CosineAnnealingLR": (4,), "CosineAnnealingWarmRestarts": (2,), "CyclicLR": (0.1, 0.2), "OneCycleLR": (0.1, 10),
    }  # fmt: skip

    def made() -> tuple[Any, Any]:
        optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1, momentum=0.9)
        return optimizer, kind(optimizer, *settings.get(schedule, ()))

    def steps(optimizer: Any, scheduler: Any, count: int) -> list[float]:
        rates = []
        for i in range(count):
            optimizer.step()
            scheduler.step(*([1.0 + i] if schedule == "ReduceLROnPlateau" else []))
            rates.append(optimizer.param_groups[0]["lr"])
        return rates

    optimizer, scheduler = made()
    steps(optimizer, scheduler, 3)
    with Checkpoints(tmp_path, optimizer=optimizer, scheduler=scheduler) as checkpoints:
        checkpoints.save(3)
    want = steps(optimizer, scheduler, 3)
    optimizer, scheduler = made()
    assert Checkpoints(tmp_path, optimizer=optimizer, scheduler=scheduler).resume() == 3
    assert steps(optimizer, scheduler, 3) == want


class Part:
    """What has a state."""

    def __init__(self, value: Any = 0) -> None:
        self.value = value

    def state_dict(self) -> dict:
        return {"value": self.value}

    def load_state_dict(self, state: dict) -> None:
        self.value = state["value"]


@pytest.mark.parametrize("background", [True, False])
def test_the_newest_stay(tmp_path: Path, background: bool) -> None:
    part = Part()
    checkpoints = Checkpoints(tmp_path, keep=2, background=background, part=part)
    assert checkpoints.resume() == 0
    for step in (1, 2, 5, 10):
        part.value = step * 10
        checkpoints.save(step)
    checkpoints.wait()
    assert checkpoints.steps() == [5, 10]
    assert checkpoints.resume() == 10 and part.value == 100
    assert checkpoints.resume(5) == 5 and part.value == 50
    checkpoints.save(6)  # what came after 5 is no longer this training's
    checkpoints.wait()
    assert checkpoints.steps() == [5, 6]
    with pytest.raises(FileNotFoundError, match="step 7"):
        checkpoints.resume(7)


def test_the_state_is_that_of_the_moment(tmp_path: Path) -> None:
    """Training goes on while a checkpoint is written."""
    model = nn.Linear(100, 100)
    checkpoints = Checkpoints(tmp_path, model=model)
    with torch.no_grad():
        model.weight.fill_(1.0)
        checkpoints.save(1)
        model.weight.fill_(2.0)
    assert checkpoints.resume() == 1 and model.weight.mean().item() == 1.0


def test_what_cannot_be_written_is_told_by_the_next_call(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "gone", part=Part())
    (tmp_path / "gone").rmdir()
    checkpoints.save(1)
    with pytest.raises(RuntimeError, match="does not exist"):
        checkpoints.save(2)
    assert not any(t.name == "flambeau writes a checkpoint" for t in threading.enumerate())


def test_a_damaged_file_is_warned_of_and_passed_over(tmp_path: Path) -> None:
    part = Part(1)
    checkpoints = Checkpoints(tmp_path, part=part, background=False)
    checkpoints.save(1)
    part.value = 2
    checkpoints.save(2)
    newest = tmp_path / "step-000000002.pt"
    newest.write_bytes(newest.read_bytes()[:-40])
    with pytest.warns(UserWarning, match="step-000000002.pt cannot be read"):
        assert checkpoints.resume() == 1
    assert part.value == 1
    (tmp_path / "step-000000001.pt").write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="none of the checkpoints"):
        checkpoints.resume()


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep"):
        Checkpoints(tmp_path, keep=0, part=Part())
    with pytest.raises(ValueError, match="what is to be saved"):
        Checkpoints(tmp_path)
    with pytest.raises(TypeError, match="model: a int has no state_dict"):
        Checkpoints(tmp_path, model=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="persistent_workers"):
        Resumable(DataLoader(TensorDataset(torch.ones(2)), num_workers=1, persistent_workers=True))
    Checkpoints(tmp_path, background=False, part=Part()).save(1)
    with pytest.raises(RuntimeError, match="has the parts part, but this training has model"):
        Checkpoints(tmp_path, model=Part()).resume()
