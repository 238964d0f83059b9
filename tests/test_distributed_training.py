"""Modules that several processes train together: as one process that has all of their inputs."""

from __future__ import annotations

import copy
import warnings
from datetime import timedelta

import numpy as np
import pytest

pytest.importorskip("mpi4py")

import flambeau as torch  # noqa: E402
from flambeau import distributed as dist  # noqa: E402
from flambeau import nn  # noqa: E402
from flambeau.distributed.algorithms.ddp_comm_hooks import default_hooks  # noqa: E402
from flambeau.distributed.utils import _sync_module_states  # noqa: E402
from flambeau.nn.parallel import DistributedDataParallel  # noqa: E402
from tests.ranks import meeting_place, run_ranks  # noqa: E402

ROWS, STEPS = 12, 6


def begin(rank: int, size: int, url: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=url, rank=rank, world_size=size, timeout=timedelta(seconds=60))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(ROWS, 4), torch.randn(ROWS, 3)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()


def weights(model: nn.Module) -> list:
    return [p.tolist() for p in model.parameters()]


def share(rank: int, size: int) -> slice:
    return slice(rank * ROWS // size, (rank + 1) * ROWS // size)


def trained(rank, size, url):
    begin(rank, size, url)
    x, y = (t[share(rank, size)] for t in data())
    results = []
    for settings in (
        {},
        {"gradient_as_bucket_view": True},
        {"bucket_cap_mb": 1e-4},
        {"static_graph": True},
        {"find_unused_parameters": True},
    ):
        model = net()
        if rank:  # all begin with the weights of the first
            nn.init.zeros_(model[0].weight)
        model = DistributedDataParallel(model, **settings)
        train(model, torch.optim.Adam(model.parameters(), lr=0.05), x, y)
        results.append(weights(model))
    return results


@pytest.mark.parametrize("size", [2, 3])
def test_shares_of_a_batch_train_as_the_whole(size):
    alone = net()
    train(alone, torch.optim.Adam(alone.parameters(), lr=0.05), *data())
    for results in run_ranks(trained, size, size, meeting_place()):
        for result in results:
            for ours, expected in zip(result, weights(alone), strict=True):
                np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6)


def accumulated(rank, size, url):
    begin(rank, size, url)
    x, y = (t[share(rank, size)] for t in data())
    model = DistributedDataParallel(net())
    half = len(x) // 2
    with model.no_sync():
        nn.functional.mse_loss(model(x[:half]), y[:half]).backward()
    local = model.module[0].weight.grad.tolist()
    nn.functional.mse_loss(model(x[half:]), y[half:]).backward()
    return local, [p.grad.tolist() for p in model.parameters()]


def test_sums_of_passes_are_averaged_once():
    (first, grads), (second, same) = run_ranks(accumulated, 2, 2, meeting_place())
    model = net()
    x, y = data()
    (2 * nn.functional.mse_loss(model(x), y)).backward()
    assert first != second and grads == same
    for ours, p in zip(grads, model.parameters(), strict=True):
        np.testing.assert_allclose(ours, p.grad.tolist(), rtol=0, atol=2e-6)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x, second):
        return (self.second if second else self.first)(x)


def partly_used(rank, size, url):
    begin(rank, size, url)
    x = torch.ones(3, 2)
    model = DistributedDataParallel(Two(), find_unused_parameters=True)
    for _ in range(2):
        model.zero_grad()
        model(x, second=rank == 1).sum().backward()
    grads = [None if p.grad is None else p.grad.tolist() for p in model.parameters()]
    strict = DistributedDataParallel(Two())
    strict(x, False).sum().backward()
    with pytest.raises(RuntimeError, match="Expected to have finished reduction in the prior iteration") as error:
        strict(x, False)
    assert f"for rank {rank}: 2 3 4 5" in str(error.value)
    return grads


def test_parameters_without_gradients():
    half = [[1.5, 1.5], [1.5, 1.5]], [1.5, 1.5]
    assert run_ranks(partly_used, 2, 2, meeting_place()) == [[*half, *half, None, None]] * 2


def hooked(rank, size, url):
    begin(rank, size, url)
    x, y = (t[share(rank, size)] for t in data())
    grads = []
    for hook in (
        default_hooks.allreduce_hook,
        default_hooks.fp16_compress_hook,
        default_hooks.bf16_compress_wrapper(default_hooks.allreduce_hook),
        None,
    ):
        model = DistributedDataParallel(net())
        if hook is not None:
            model.register_comm_hook(None, hook)
            with pytest.raises(RuntimeError, match="can only be called once"):
                model.register_comm_hook(None, hook)
        nn.functional.mse_loss(model(x), y).backward()
        grads.append([p.grad.tolist() for p in model.parameters()])
    return grads


def test_communication_hooks():
    for plain, half, bfloat, without in run_ranks(hooked, 2, 2, meeting_place()):
        for ours, expected, tolerance in ((plain, without, 1e-7), (half, without, 1e-3), (bfloat, without, 1e-2)):
            for a, b in zip(ours, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def normalized(rank, size, url):
    begin(rank, size, url)
    x = data()[0][slice(0, 5) if rank == 0 else slice(5, ROWS)].clone().requires_grad_()
    layer = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(4))
    out = layer(x)
    (out**3).sum().backward()
    dist.all_reduce(layer.weight.grad)
    return out.tolist(), x.grad.tolist(), layer.running_var.tolist(), layer.running_mean.tolist(), layer.weight.grad.tolist()


def test_batch_statistics_of_all():
    first, second = run_ranks(normalized, 2, 2, meeting_place())
    x = data()[0].clone().requires_grad_()
    layer = nn.BatchNorm1d(4)
    out = layer(x)
    (out**3).sum().backward()
    for part, whole in ((0, out), (1, x.grad)):
        np.testing.assert_allclose(first[part] + second[part], whole.tolist(), rtol=0, atol=2e-5)
    for part, whole in ((2, layer.running_var), (3, layer.running_mean), (4, layer.weight.grad)):
        np.testing.assert_allclose(first[part], whole.tolist(), rtol=1e-5, atol=1e-6)
        assert first[part] == second[part]


def unequal(rank, size, url):
    begin(rank, size, url)
    x, y = data()
    model = DistributedDataParallel(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with model.join(divide_by_initial_world_size=False):
        for _ in range(2 + 3 * rank):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
    with pytest.raises(RuntimeError, match="exhausted"), model.join(throw_on_early_termination=True):
        for _ in range(1 + rank):
            nn.functional.mse_loss(model(x), y).backward()
    return weights(model)


def test_unequal_numbers_of_inputs():
    alone = run_ranks(unequal, 2, 2, meeting_place())
    assert alone[0] == alone[1]


def different(rank, size, url):
    begin(rank, size, url)
    with pytest.raises(RuntimeError, match=r"params\[0\] in this process with sizes .* appears not to match"):
        DistributedDataParallel(nn.Linear(4, 3 + rank))
    with pytest.raises(RuntimeError, match="DDP expects same model across all ranks"):
        DistributedDataParallel(nn.Linear(4, 3, bias=rank == 0))
    with pytest.raises(RuntimeError, match="is not needed"):
        DistributedDataParallel(nn.ReLU())
    buffers = nn.BatchNorm1d(2)
    model = DistributedDataParallel(buffers)
    buffers.running_mean += rank
    model(torch.ones(3, 2))
    copied = copy.deepcopy(model)
    copied(torch.ones(3, 2) + rank).sum().backward()
    assert copied.module.weight is not buffers.weight and copied.module.weight.grad is not None
    from flambeau.utils.data import DistributedSampler

    return buffers.running_mean.tolist(), list(DistributedSampler(range(4), shuffle=False))


def test_modules_and_buffers_of_all_processes():
    (mean, first), (same, second) = run_ranks(different, 2, 2, meeting_place())
    assert mean == same and mean[0] == pytest.approx(0.1)
    assert (first, second) == ([0, 2], [1, 3])


class Counts(nn.Module):
    def __init__(self, rank):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.register_buffer("calls", torch.full((1,), float(rank)))

    def forward(self, x):
        self.calls += 1
        return self.layer(x)


def in_other_ways(rank, size, url):
    begin(rank, size, url)
    begun = []
    for settings in (
        {},
        {"forward_sync_buffers": False},
        {"broadcast_buffers": False},
        {"broadcast_buffers": True, "forward_sync_buffers": False},
    ):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = DistributedDataParallel(Counts(rank), **settings)
        old = [w.category for w in said if "`broadcast_buffers` is deprecated" in str(w.message)]
        begun.append((model.module.calls.item(), model.broadcast_buffers, len(old)))
    rows = DistributedDataParallel(nn.Embedding(5, 2, sparse=True))
    for _ in range(2):
        rows.zero_grad()
        rows(torch.tensor([1, 2 + rank])).sum().backward()
    table = rows.module.weight.grad
    model = DistributedDataParallel(net())
    with model.join():
        for _ in range(1 + rank):
            model.zero_grad()
            (model(torch.ones(1, 4)).sum() * 2).backward()
    facts = model._get_ddp_logging_data()
    assert (facts["world_size"], facts["rank"], facts["module_name"], facts["num_parameter_tensors"]) == (2, rank, "Sequential", 4)
    assert (model.device, model.device_ids, model.is_multi_device_module) == (torch.device("cpu"), None, False)
    other = Counts(rank)
    _sync_module_states(other, dist.group.WORLD, 250 << 20, src=1, params_and_buffers_to_ignore=["layer.bias"])
    assert other.calls.item() == 1
    return begun, table.is_sparse, table.to_dense().tolist(), model.module[2].bias.grad.tolist()


def test_buffers_tables_and_those_that_have_left():
    """The values are PyTorch's; a process without inputs keeps the gradients of its last ones."""
    (begun, sparse, rows, last), (others, *same, later) = run_ranks(in_other_ways, 2, 2, meeting_place())
    assert begun == [(0, True, 0), (0, False, 0), (0, False, 1), (0, False, 1)]
    assert others == [(0, True, 0), (0, False, 0), (1, False, 1), (0, False, 1)]
    assert sparse and rows == [[0, 0], [1, 1], [0.5, 0.5], [0.5, 0.5], [0, 0]] and same == [sparse, rows]
    assert (last, later) == ([2.0] * 3, [1.0] * 3)
