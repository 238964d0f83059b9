"""Plans for all sizes: what is lowered for one member of a family of traces computes the others, bit for bit as the interpreter
would but for the order of additions, and whatever does not fit is not run."""

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import flambeau as torch  # noqa: E402
from flambeau.core import config  # noqa: E402
from flambeau.engine import plans  # noqa: E402
from flambeau.engine.symbols import Symbols, Unfit, hint_of  # noqa: E402
from flambeau.ops.record import registry  # noqa: E402
from flambeau.ops.samples import Make  # noqa: E402

nn, F = torch.nn, torch.nn.functional


# --- the table -----------------------------------------------------------------------------------------------


def test_formulas_and_guards():
    table = Symbols([6, 4, 1, 6])
    a, b = table.in_symbols((6, 4))
    total = a * b + 2 if a > b else 0
    assert hint_of(total) == 26 and table.in_symbols((1, 0)) == (1, 0)
    assert table.fit([8, 3, 1, 8]).value_of((total, [a, 5])) == (26, [8, 5])
    for other in ([3, 8, 1, 3], [8, 3, 2, 8], [8, 3, 1, 7], [1, 1, 1, 1]):
        with pytest.raises(Unfit):
            table.fit(other)


@pytest.mark.parametrize("use", [range, float, int, bool, lambda n: [0] * n], ids=["range", "float", "int", "bool", "list"])
def test_what_needs_a_number_fixes_it(use):
    table = Symbols([6, 4])
    (n,) = table.in_symbols((6,))
    use(n)
    assert table.fit([6, 9]).value_of(n) == 6
    if use is not bool:  # that it is not 0 is known of all
        with pytest.raises(Unfit):
            table.fit([7, 4])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.data())
def test_other_sizes_are_what_they_are_or_do_not_fit(sizes, data):
    """Zeros, ones and sizes that are equal or not, in all combinations."""
    table = Symbols(sizes)
    given_symbols = table.in_symbols(tuple(sizes))
    other = data.draw(st.lists(st.integers(0, 6), min_size=len(sizes), max_size=len(sizes)))
    alike = all((a < 2 or b < 2) <= (a == b) for a, b in zip(sizes, other)) and all(
        other[i] == other[k] for i in range(len(sizes)) for k in range(i) if sizes[i] == sizes[k]
    )
    if alike:
        assert table.fit(other).value_of(given_symbols) == tuple(other)
    else:
        with pytest.raises(Unfit):
            table.fit(other)


def test_symbols_of_two_tables_are_different():
    (a,), (b,) = (Symbols([6]).in_symbols((6,)) for _ in range(2))
    assert a != b and len({a, b}) == 2 and a == a


# --- families ------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch):
    plans.clear()
    monkeypatch.setattr(plans, "SIZES", 0)
    monkeypatch.setattr(plans, "_affordable", lambda: True)
    monkeypatch.setattr(plans, "_is_heavy", lambda trace: False)
    monkeypatch.setattr(plans, "MAX_KERNELS", plans.MAX_KERNELS + plans.totals.kernels)  # whatever ran before in this process
    monkeypatch.setattr(config, "compile_after", 1)
    yield
    plans.clear()


def fitted():
    return torch.engine_stats()["fitted"]


def steps(model, sizes, make):
    """The losses and gradients of a step of each size, interpreted and by plans for all sizes."""
    found = []
    for compiled in (False, True):
        config_before, config.compiled = config.compiled, compiled
        results = []
        try:
            for k, size in enumerate(sizes):
                torch.manual_seed(k)
                model.zero_grad()
                loss = make(model, size)
                loss.backward()
                results.append([loss.item(), *[p.grad.numpy().copy() for p in model.parameters() if p.grad is not None]])
        finally:
            config.compiled = config_before
        found.append(results)
    for size, wanted, got in zip(sizes, *found, strict=True):
        for a, b in zip(wanted, got, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * max(1e-3, float(np.abs(a).max())), err_msg=str(size))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 24, 0.0, batch_first=True)
        self.head = nn.Linear(16, 20)

    def forward(self, x):
        return self.head(self.layer(self.embedding(x)))


class Pooling(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 1, 1))

    def forward(self, x):
        x = F.max_pool2d(x * self.weight, 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        x = F.interpolate(x, scale_factor=2, mode="bilinear") + F.interpolate(x, (2 * x.shape[2], 2 * x.shape[3]))
        return F.adaptive_avg_pool2d(x, (2, 3)) * F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, (2, 3))


def sequences(model, size):
    x = torch.randint(0, 20, size)
    return F.cross_entropy(model(x).flatten(0, 1), x.flatten())


def images(model, size):
    return model(torch.randn(size[0], 2, size[1], size[1] + 2)).square().mean()


MODELS = {
    "attention": (Attending, sequences, [(3, 7), (5, 11), (2, 9), (7, 13), (2, 2), (16, 2), (1, 5), (4, 24)]),
    "mean over a sequence": (
        lambda: nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 3)),
        lambda m, size: F.cross_entropy(m(torch.randint(0, 9, size)).mean(1), torch.arange(size[0]) % 3),
        [(3, 7), (4, 5), (6, 8), (3, 3), (8, 9), (1, 4), (4, 1)],
    ),
    "pools": (Pooling, images, [(2, 8), (3, 21), (1, 9), (4, 40), (2, 6), (5, 33), (2, 17), (3, 30)]),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3)
        ),
        images,
        [(2, 8), (3, 10), (1, 9), (4, 12), (2, 6)],
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_steps_of_many_sizes(name, fresh):
    make, loss, sizes = MODELS[name]
    torch.manual_seed(0)
    before = fitted()
    steps(make(), sizes, loss)
    assert fitted() - before >= len(sizes) - 2


OPS = [
    op for op in registry.values() if op.samples is not None and op.kernel is not None and (op.lower or op.expand) and not op.eager
]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_ops_of_many_sizes(op, fresh):
    """Samples of an op, between other ops, with their plans made for all sizes: these are the plan's own, and then others'."""
    wanted = []
    for compiled in (False, True):
        before, config.compiled = config.compiled, compiled
        try:
            for k, sample in enumerate(op.samples(Make())):
                torch.manual_seed(k)
                result = op.function(*sample.args, **sample.kwargs)
                results = result if isinstance(result, tuple) else (result,)
                arrays = [t.detach().resolve_conj().resolve_neg().numpy() for t in results]
                if not compiled:
                    wanted.append(arrays)
                    continue
                for a, b in zip(wanted[k], arrays, strict=True):
                    tolerance = {"float32": 1e-5, "float64": 1e-12}.get(a.dtype.name, 2e-2 if a.dtype.kind not in "biu" else 0)
                    np.testing.assert_allclose(b.astype(complex), a.astype(complex), rtol=tolerance, atol=tolerance)
        finally:
            config.compiled = before


def test_sizes_of_one(fresh):
    """What has one element in one step and several in the next is different in kind."""
    w = torch.randn(3, requires_grad=True)
    for n in (4, 6, 1, 5, 1, 7):
        x = torch.arange(3.0 * n).reshape(n, 3)
        w.grad = None
        ((x * w).sum(0) / n).exp().log().sum().backward()
        np.testing.assert_allclose(w.grad.numpy(), x.numpy().mean(0), rtol=1e-5)


def test_equal_sizes_by_chance(fresh):
    for a, b in ((4, 4), (3, 5), (6, 6), (5, 2)):
        x, y = torch.arange(float(a)).reshape(a, 1), torch.arange(float(b))
        assert (x * y + y).sum().item() == sum(i * j + j for i in range(a) for j in range(b))


def test_views_of_other_sizes(fresh):
    for n in (4, 7, 5, 9, 8):
        base = torch.arange(float(n * 3)).reshape(n, 3) + 0
        base[1:, 1].mul_(2)
        got = base.t()[:, ::2].contiguous().flatten() * 1
        array = np.arange(n * 3.0).reshape(n, 3)
        array[1:, 1] *= 2
        assert got.tolist() == array.T[:, ::2].flatten().tolist()


def test_memory_is_bounded(fresh, monkeypatch):
    monkeypatch.setattr(plans, "MAX_NODES", 40)
    for n in range(2, 60):
        assert (torch.ones(n, 2) * 3).exp().log().sum().item() == pytest.approx(6 * n)
    assert plans.totals.fitted_nodes <= 80 and len(plans.plans) < 30


def test_sizes_that_happen_to_be_equal(fresh):
    """Loops over different sizes are not joined where these are equal for once, so that is no other way."""

    def step(a, b):
        x, y = torch.ones(a, 3), torch.ones(b, 3)
        results = (x * 2 + 1).exp().sum(1), (y * 3).relu().sum(1)
        return [t.tolist() for t in results]

    for a, b in [(5, 4), (8, 7), (9, 9), (11, 9), (6, 6)]:
        first, second = step(a, b)
        np.testing.assert_allclose(first, [3 * np.exp(3)] * a, rtol=1e-6)
        assert second == [9.0] * b
    assert sorted(len(family.lowered) for family in plans.families.values()) == [1]
