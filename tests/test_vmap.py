"""``vmap`` and ``torch.func`` apart from the rules of single ops: levels, errors, threads, and how often things run."""

from __future__ import annotations

import pickle
import threading

import pytest

import flambeau as torch
from flambeau import dispatch, func
from flambeau.batching.interception import interception
from flambeau.testing import assert_close


@pytest.fixture(autouse=True)
def closed():
    """Whatever happens inside, outside of ``vmap`` nothing is left of it."""
    before = {name: getattr(dispatch, name) for name in interception.own}
    yield
    assert not interception.levels and {name: getattr(dispatch, name) for name in before} == before


def test_the_function_runs_once():
    calls = []

    def f(x):
        calls.append(x.shape)
        return x * 2

    torch.vmap(f)(torch.ones(5, 3))
    assert calls == [(3,)]
    calls.clear()
    func.jacfwd(func.jacrev(f))(torch.ones(4))
    assert calls == [(4,)]


def test_an_error_closes_the_levels():
    def fail(x):
        assert len(interception.levels) == 2
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        torch.vmap(torch.vmap(fail))(torch.ones(2, 2))


def test_batched_tensors_outside():
    """What has leaked has no values, and says so."""
    kept = []
    torch.vmap(lambda x: kept.append(x) or x)(torch.ones(2, 3))
    with pytest.raises(NotImplementedError, match="storage"):
        pickle.dumps(kept[0])
    for use in (lambda x: x + 1, lambda x: x.tolist(), lambda x: x.numpy(), lambda x: x.sum().item(), lambda x: x.zero_()):
        with pytest.raises(RuntimeError, match="storage|item"):
            use(kept[0])


def test_shared_storage():
    """Views of a sample are views of the tensor that holds it, and writes go there."""
    x = torch.arange(6.0).reshape(2, 3)
    torch.vmap(lambda row: row[1:].mul_(10))(x)
    assert x.tolist() == [[0, 10, 20], [3, 40, 50]]
    torch.vmap(lambda column: column.zero_(), in_dims=1)(x[:, ::2])
    assert x.tolist() == [[0, 10, 0], [0, 40, 0]]


def test_saved_values_are_those_of_then():
    def f(x):
        y = x * 1
        z = y * y
        y.zero_()
        return z.sum()

    assert_close(torch.vmap(func.grad(f))(torch.tensor([[1.0, 2.0], [3.0, 4.0]])), torch.tensor([[2.0, 4.0], [6.0, 8.0]]))


def test_threads():
    """One thread has levels at a time; what others compute meanwhile is none of its business."""
    wrong: list = []

    def mapping():
        for i in range(20):
            x = torch.full((3, 2), float(i))
            if not torch.equal(torch.vmap(lambda t: (t * t).sum())(x), (x * x).sum(1)):
                wrong.append(i)

    def plain():
        for _ in range(40):
            x = torch.nn.functional.dropout(torch.rand(3))
            x.add_(1).sum().item()

    def guarded(run):
        try:
            run()
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=guarded, args=(run,)) for run in (mapping, mapping, plain, plain)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_compiled_functions_inside_and_outside():
    for x in (torch.randn(4, 3) for _ in range(4)):
        inside = torch.vmap(torch.compile(lambda t: (t * t).sum()))
        outside = torch.compile(torch.vmap(lambda t: (t * t).sum()))
        assert_close(inside(x), (x * x).sum(1))
        assert_close(outside(x), (x * x).sum(1))


def test_backward_passes_repeat():
    """What an inner gradient records is an ordinary backward pass, of tensors that hold all samples."""
    f = torch.vmap(func.grad(lambda x: (x.sin() * x).sum()))
    for i in range(4):
        x = torch.linspace(0, i, 6).reshape(2, 3)
        assert_close(f(x), x.cos() * x + x.sin())


def test_ensemble():
    nets = [torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh()) for _ in range(3)]
    for net in nets:
        func.replace_all_batch_norm_modules_(net)
    parameters, buffers = func.stack_module_state(nets)
    assert not buffers
    x = torch.randn(5, 3)
    out = torch.vmap(lambda p: func.functional_call(nets[0], p, (x,)))(parameters)
    assert_close(out, torch.stack([net(x) for net in nets]))
    out.sum().backward()
    assert parameters["0.weight"].grad.shape == (3, 4, 3)


def test_per_sample_gradients():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    x, target = torch.randn(4, 1, 4, 4), torch.tensor([0, 2, 1, 1])

    def loss(p, x, t):
        return torch.nn.functional.cross_entropy(func.functional_call(net, p, (x[None],)), t[None])

    each = torch.vmap(func.grad(loss), in_dims=(None, 0, 0))(parameters, x, target)
    for i in range(4):
        net.zero_grad()
        torch.nn.functional.cross_entropy(net(x[i : i + 1]), target[i : i + 1]).backward()
        assert_close({name: g[i] for name, g in each.items()}, {name: p.grad for name, p in net.named_parameters()})


def test_jacobian_vectorized():
    def f(x, y):
        return x**2 * y.sum(), y[:1]

    given = torch.randn(3), torch.randn(2)
    found = [torch.autograd.functional.jacobian(f, given, vectorize=v) for v in (False, True)]
    assert_close(*found)
