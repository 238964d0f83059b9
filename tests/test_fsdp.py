"""Modules whose parameters are divided among processes: they train as whole ones, and each process holds its share."""

from __future__ import annotations

import functools
import weakref

import numpy as np
import pytest

pytest.importorskip("mpi4py")

import flambeau as torch  # noqa: E402
from flambeau import distributed as dist  # noqa: E402
from flambeau import nn  # noqa: E402
from flambeau.distributed.device_mesh import init_device_mesh  # noqa: E402
from flambeau.distributed.fsdp import (  # noqa: E402
    FullyShardedDataParallel,
    MixedPrecisionPolicy,
    ModuleWrapPolicy,
    ShardingStrategy,
    StateDictType,
    fully_shard,
    lambda_auto_wrap_policy,
    register_fsdp_forward_method,
    size_based_auto_wrap_policy,
)
from flambeau.distributed.fsdp.unit import Unit  # noqa: E402
from flambeau.distributed.fsdp.wrap import units_of  # noqa: E402
from flambeau.distributed.tensor import Replicate, Shard  # noqa: E402
from tests.ranks import meeting_place, run_ranks  # noqa: E402

ROWS = 12


def begin(rank: int, size: int, url: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=url, rank=rank, world_size=size)


class Tied(nn.Module):
    """Two layers with one weight, a convolution, a frozen layer, and outputs in a nest."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.conv, self.frozen = nn.Linear(6, 6), nn.Linear(6, 6), nn.Conv1d(1, 2, 3), nn.Linear(6, 5)
        self.second.weight = self.first.weight
        self.frozen.requires_grad_(False)

    def forward(self, x):
        x = self.second(torch.tanh(self.first(x)))
        return {"out": self.frozen(x), "more": [self.conv(x[:, None])]}

    def norm_of_first(self):
        return self.first.weight.norm()


def loss_of(model, x, y):
    out = model(x)
    return nn.functional.mse_loss(out["out"], y) + out["more"][0].square().mean()


def data(rank: int = 0, size: int = 1):
    torch.manual_seed(1)
    part = slice(rank * ROWS // size, (rank + 1) * ROWS // size)
    return torch.randn(ROWS, 6)[part], torch.randn(ROWS, 5)[part]


def train(model, optimizer, x, y, clip=False):
    norms = []
    for _ in range(6):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        if clip:
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
        optimizer.step()
    return norms


def wholes(model) -> list:
    return [p.full_tensor().tolist() for p in model.parameters()]


SETTINGS = (
    {},
    {"reshard_after_forward": True},
    {"reshard_after_forward": False},
    {"shard_placement_fn": lambda p: Shard(p.dim() - 1)},
)


def trained(rank, size, url):
    begin(rank, size, url)
    results = []
    for settings in SETTINGS:
        model = Tied()
        for part in (model.conv, model.frozen, model):
            fully_shard(part, **settings)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
        norms = train(model, optimizer, *data(rank, size), clip=True)
        mine = sum(p.to_local().numel() for p in model.parameters())
        states = sum(v.to_local().numel() for state in optimizer.state.values() for v in state.values() if v.dim())
        results.append((wholes(model), norms, mine, states))
    return results


@pytest.mark.parametrize("size", [2, 3])
def test_shares_of_a_batch_train_as_the_whole(size):
    alone = Tied()
    norms = train(alone, torch.optim.AdamW(alone.parameters(), lr=0.02), *data(), clip=True)
    count = sum(p.numel() for p in alone.parameters())
    trained_count = sum(p.numel() for p in alone.parameters() if p.requires_grad)
    answers = run_ranks(trained, size, size, meeting_place())
    for number in range(len(SETTINGS)):
        for answer in answers:
            parameters, seen, mine, states = answer[number]
            np.testing.assert_allclose(seen, norms, rtol=1e-5)
            for ours, expected in zip(parameters, alone.parameters(), strict=True):
                np.testing.assert_allclose(ours, expected.tolist(), rtol=0, atol=2e-6)
            assert mine <= count / size + 12 and states <= 2 * (trained_count / size + 12)  # what chunk rounds up
        assert sum(answer[number][2] for answer in answers) == count


def other_uses(rank, size, url):
    begin(rank, size, url)
    x, y = data(rank, size)
    mesh = init_device_mesh("cpu", (2, size // 2), mesh_dim_names=("replicate", "shard"))
    hybrid = Tied()
    fully_shard(hybrid, mesh=mesh)
    train(hybrid, torch.optim.SGD(hybrid.parameters(), lr=0.1, momentum=0.9), x, y)
    assert hybrid.first.weight.placements == (Replicate(), Shard(0))
    several = fully_shard(Tied())
    half = len(x) // 2 or 1
    several.set_requires_gradient_sync(False)
    loss_of(several, x[:half], y[:half]).backward()
    assert several.first.weight.grad is None
    several.set_requires_gradient_sync(True)
    loss_of(several, x[half:], y[half:]).backward()
    mixed = fully_shard(Tied(), mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32))
    out = mixed(x)["out"]
    out.float().square().mean().backward()
    state = several.state_dict()
    fresh = fully_shard(Tied())
    nn.init.zeros_(fresh.first.weight)
    fresh.load_state_dict(state)
    register_fsdp_forward_method(fresh, "norm_of_first")
    norm = fresh.norm_of_first()
    assert not hasattr(norm, "placements") and abs(norm.item() - fresh.first.weight.norm().full_tensor().item()) < 1e-6
    norm.backward()
    return (
        wholes(hybrid),
        several.first.weight.grad.full_tensor().tolist(),
        str(out.dtype),
        str(mixed.first.weight.grad.dtype),
        wholes(fresh),
    )


def test_replicas_accumulation_dtypes_and_states():
    size = 2
    alone = Tied()
    train(alone, torch.optim.SGD(alone.parameters(), lr=0.1, momentum=0.9), *data())
    for hybrid, gradient, computed, kept, loaded in run_ranks(other_uses, size, size, meeting_place()):
        for ours, expected in zip(hybrid, alone.parameters(), strict=True):
            np.testing.assert_allclose(ours, expected.tolist(), rtol=0, atol=2e-6)
        twice = Tied()
        x, y = data()
        (2 * loss_of(twice, x, y)).backward()
        np.testing.assert_allclose(gradient, twice.first.weight.grad.tolist(), rtol=0, atol=2e-6)
        assert (computed, kept) == ("torch.bfloat16", "torch.float32")
        assert loaded == [p.tolist() for p in Tied().parameters()]


def wrapped(rank, size, url):
    begin(rank, size, url)
    x, y = data(rank, size)
    results = []
    policy = functools.partial(lambda_auto_wrap_policy, lambda_fn=lambda module: isinstance(module, nn.Conv1d))
    for settings in (
        {"auto_wrap_policy": policy}, {"auto_wrap_policy": ModuleWrapPolicy({nn.Conv1d}), "sharding_strategy": ShardingStrategy.SHARD_GRAD_OP},
        {"sharding_strategy": ShardingStrategy.NO_SHARD}, {"use_orig_params": True, "sync_module_states": True},
    ):  # fmt: skip
        inner = Tied()
        if rank and settings.get("sync_module_states"):
            nn.init.zeros_(inner.conv.weight)
        model = FullyShardedDataParallel(inner, **settings)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            norm = model.clip_grad_norm_(0.5)
            optimizer.step()
        state, saved = model.state_dict(), FullyShardedDataParallel.optim_state_dict(model, optimizer)
        with FullyShardedDataParallel.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
            assert all(hasattr(t, "placements") for t in model.state_dict().values())
        other = FullyShardedDataParallel(Tied(), auto_wrap_policy=policy)
        other.load_state_dict(state)
        again = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
        again.load_state_dict(FullyShardedDataParallel.optim_state_dict_to_load(other, again, saved))
        for m, o in ((model, optimizer), (other, again)):
            o.zero_grad()
            loss_of(m, x, y).backward()
            m.clip_grad_norm_(0.5)
            o.step()
        with FullyShardedDataParallel.summon_full_params(other):
            summoned = other.conv.weight.tolist()
            with torch.no_grad():
                other.conv.bias.fill_(7)
        results.append((
            {k: v.tolist() for k, v in model.state_dict().items()}, summoned, other.state_dict()["conv.bias"].tolist(), float(norm),
            sorted(name for name, _ in model.named_parameters()), sum(p.to_local().numel() for p in model.parameters()),
        ))  # fmt: skip
    return results


def test_the_class_that_wraps():
    model = Tied()
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    norms = []
    for _ in range(4):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
        optimizer.step()
    answers = run_ranks(wrapped, 2, 2, meeting_place())
    count = sum(p.numel() for p in model.parameters())
    for answer in answers:
        for number, (state, summoned, filled, seen, names, mine) in enumerate(answer):
            assert list(state) == list(model.state_dict()) and names == sorted(name for name, _ in model.named_parameters())
            for name, expected in model.state_dict().items():
                np.testing.assert_allclose(state[name], expected.tolist(), rtol=0, atol=2e-6)
            np.testing.assert_allclose(summoned, model.conv.weight.tolist(), rtol=0, atol=2e-6)
            assert filled == [7.0, 7.0] and abs(seen - norms[2]) < 1e-5
            assert mine == count if number == 2 else mine <= count / 2 + 12


@pytest.fixture
def alone():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_whole_parameters_are_there_only_while_they_are_used(alone, monkeypatch):
    live: list = []
    gather = Unit.gathered

    def gathered(self):
        values = gather(self)
        live.extend(weakref.ref(value) for value in values)
        most[0] = max(most[0], bytes_alive())
        return values

    def bytes_alive():
        return sum(value.nbytes for value in [ref() for ref in live] if value is not None)

    monkeypatch.setattr(Unit, "gathered", gathered)
    model = nn.Sequential(*[layer for _ in range(4) for layer in (nn.Linear(20, 20), nn.Tanh())])
    for layer in (*model, model):
        fully_shard(layer)
    for _ in range(5):
        most = [0]
        out = model(torch.ones(2, 20))
        assert not bytes_alive()
        out.sum().backward()
        assert not bytes_alive() and most[0] == 4 * 420
    call, weight = model[0]._fsdp_unit.unshard(), model[0].weight
    model[0].reshard()
    call.give_back()
    with pytest.raises(RuntimeError, match="were given back"):
        weight.tolist()


def test_units_by_size():
    net = nn.Sequential(nn.Linear(4, 4), nn.ModuleList([nn.Linear(6, 6), nn.Linear(2, 2)]), nn.Linear(2, 2))
    assert units_of(net, functools.partial(size_based_auto_wrap_policy, min_num_params=20), set()) == [net[0], net[1][0]]
    assert units_of(net, functools.partial(size_based_auto_wrap_policy, min_num_params=7), set()) == [net[0], net[1][0]]
    assert units_of(net, functools.partial(size_based_auto_wrap_policy, min_num_params=20), {id(net[0])}) == [net[1][0]]


def test_what_is_not_there_is_refused(alone):
    tied = Tied()
    fully_shard(tied.first)
    with pytest.raises(ValueError, match="weight is shared with a module that is sharded already"):
        fully_shard(tied)
    model = fully_shard(nn.Linear(3, 2))
    with pytest.raises(AssertionError, match="already"):
        fully_shard(model)
    with pytest.raises(NotImplementedError, match="whole parameters"):
        muon = torch.optim.Muon([model.weight], lr=0.1)
        model(torch.ones(1, 3)).sum().backward()
        muon.step()
    scalar = nn.Module()
    scalar.p = nn.Parameter(torch.ones(()))
    with pytest.raises(ValueError, match="scalar parameters"):
        fully_shard(scalar)
    with pytest.raises(NotImplementedError, match="as a number"):
        fully_shard(nn.Linear(2, 2), reshard_after_forward=2)
