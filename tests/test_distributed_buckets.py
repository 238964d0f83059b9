"""Buckets of gradients: sent while others are computed, and by hooks that send less."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mpi4py")

import flambeau as torch  # noqa: E402
from flambeau import distributed as dist  # noqa: E402
from flambeau import nn  # noqa: E402
from flambeau.core import config  # noqa: E402
from flambeau.distributed._transport import Alone, Pending  # noqa: E402
from flambeau.distributed.algorithms.ddp_comm_hooks import DDPCommHookType, powerSGD_hook, register_ddp_comm_hook  # noqa: E402
from flambeau.engine import flight, plans  # noqa: E402
from flambeau.nn.parallel import DistributedDataParallel  # noqa: E402
from tests.ranks import meeting_place, run_ranks  # noqa: E402


@pytest.fixture
def alone():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Watching(Alone):
    """Notes whether kernels still run when something is sent."""

    def __init__(self):
        self.flying = []

    def all_reduce(self, array, op, in_place=False):
        self.flying.append(flight.aloft is not None)
        return Pending(array)


def test_buckets_are_sent_while_the_backward_pass_is_computed(alone, monkeypatch):
    pytest.importorskip("llvmlite")
    for place, name, value in (
        (config, "ahead", 0.0), (config, "compile_after", 0), (config, "compiled", True), (config, "eager", False),
        (flight, "LATE", float("inf")), (flight, "grounded_until", 0.0),
    ):  # fmt: skip
        monkeypatch.setattr(place, name, value)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    plans.clear()
    try:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(60, 60), nn.Tanh(), nn.Linear(60, 60), nn.Tanh(), nn.Linear(60, 60))
        x = torch.randn(8, 60)
        net(x).square().mean().backward()
        expected = [p.grad.clone() for p in net.parameters()]
        model = DistributedDataParallel(net, bucket_cap_mb=0.01)
        transport = dist.group.WORLD.transport = Watching()
        for _ in range(4):
            model.zero_grad()
            model(x).square().mean().backward()
            for p, gradient in zip(net.parameters(), expected, strict=True):
                np.testing.assert_allclose(p.grad.tolist(), gradient.tolist(), rtol=0, atol=1e-7)
        assert len(transport.flying) == 4 * 3
        assert any(transport.flying)
    finally:
        flight.land()
        torch.set_num_threads(threads)


@pytest.mark.parametrize("in_place", [False, True])
def test_memory_of_buckets_is_used_again_unless_somebody_has_it(alone, in_place):
    net = nn.Linear(3, 2)
    model = DistributedDataParallel(net, gradient_as_bucket_view=True)
    x = torch.ones(1, 3)
    model(x).sum().backward()
    old = net.weight.grad
    assert old.data_ptr() + old.numel() * 4 == net.bias.grad.data_ptr() or net.bias.grad.data_ptr() + 8 == old.data_ptr()
    model.zero_grad(set_to_none=not in_place)
    model(2 * x).sum().backward()
    assert net.weight.grad.tolist() == [[2.0] * 3] * 2
    assert (net.weight.grad is old) is in_place
    if not in_place:
        assert old.tolist() == [[1.0] * 3] * 2


def compressed(rank, size, url):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=url, rank=rank, world_size=size)
    results = []
    for hook, approximation in (
        (powerSGD_hook.powerSGD_hook, 1),
        (powerSGD_hook.powerSGD_hook, 3),
        (powerSGD_hook.batched_powerSGD_hook, 3),
    ):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 25))
        x, y = torch.randn(6, 20)[rank::size], torch.randn(6, 25)[rank::size]
        model = DistributedDataParallel(net)
        state = powerSGD_hook.PowerSGDState(None, approximation, start_powerSGD_iter=2, min_compression_rate=1)
        model.register_comm_hook(state, hook)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(6):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        results.append((net[2].weight[0, :4].tolist(), state.compression_stats()[1:], state.iter))
    named = DistributedDataParallel(nn.Linear(2, 2))
    register_ddp_comm_hook(DDPCommHookType.POWER_SGD_RANK2, named, dist.group.WORLD)
    named(torch.full((1, 2), rank + 1.0)).sum().backward()
    return results, named.module.weight.grad.tolist()


def test_gradients_as_products_of_thin_matrices():
    (ours, averaged), other = run_ranks(compressed, 2, 2, meeting_place())
    assert (ours, averaged) == other and averaged == [[1.5, 1.5], [1.5, 1.5]]
    # PyTorch 2.13's, but for the batched hook, which raises there
    for (weights, sent, passes), (expected, numbers) in zip(ours, (
        ([0.10715, 0.05069, 0.06882, 0.02202], (5620, 640)), ([0.10753, 0.04744, 0.0719, 0.02045], (5620, 1480)), (None, (5620, 912)),
    ), strict=True):  # fmt: skip
        assert sent == numbers and passes == 6
        if expected is not None:
            np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="start_powerSGD_iter"):
        powerSGD_hook.PowerSGDState(None, start_powerSGD_iter=1)
