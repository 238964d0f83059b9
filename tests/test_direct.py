"""Values that are read and written one at a time: the short ways give what NumPy gives, whatever else looks at the memory."""

from __future__ import annotations

import random

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import config
from flambeau.engine import graph, short


@pytest.fixture(autouse=True, params=["immediate", "interpreted", "compiled"])
def mode(request, monkeypatch):
    if request.param == "compiled":
        pytest.importorskip("llvmlite")
    monkeypatch.setattr(config, "eager", request.param == "immediate")
    monkeypatch.setattr(config, "compiled", request.param == "compiled")
    monkeypatch.setattr(config, "compile_after", 0)
    return request.param


class Program:
    """Steps on tensors, and beside them the same on NumPy arrays."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        draw = np.random.default_rng(seed)
        self.arrays = {
            "x": draw.integers(-8, 8, (5, 6)).astype(np.float32),
            "y": draw.integers(-8, 8, 9).astype(np.float32),
            "d": draw.integers(-8, 8, (3, 4)).astype(np.float64),
            "n": draw.integers(-8, 8, 7),
            "m": draw.integers(0, 2, 6).astype(bool),
        }
        self.tensors = {
            name: torch.from_numpy(a.copy()) + 0 if a.dtype != bool else torch.from_numpy(a.copy())
            for name, a in self.arrays.items()
        }
        for name, t in list(self.tensors.items()):
            if self.rng.random() < 0.7:
                t.sum().item()
            if t.dim() == 2:
                self.tensors[name + "_row"], self.arrays[name + "_row"] = t[1], self.arrays[name][1]
                self.tensors[name + "_column"], self.arrays[name + "_column"] = t[:, 2], self.arrays[name][:, 2]
                self.tensors[name + "_turned"], self.arrays[name + "_turned"] = t.t(), self.arrays[name].T
        self.held: list = []

    def key(self, shape: tuple[int, ...]):
        """An index of numbers, slices and the rest."""
        parts: list = []
        for n in shape[: self.rng.randint(1, len(shape))]:
            kind = self.rng.random()
            if kind < 0.6:
                parts.append(self.rng.randrange(-n, n))
            elif kind < 0.9:
                start = self.rng.randrange(n)
                parts.append(slice(start or None, self.rng.choice([None, start + 2]), self.rng.choice([None, None, 2])))
            else:
                parts.append(slice(None))
        if self.rng.random() < 0.2:
            parts.insert(self.rng.choice([0, len(parts)]), self.rng.choice([None, Ellipsis]))
        return parts[0] if len(parts) == 1 else tuple(parts)

    def pick(self, *dtypes):
        return self.rng.choice([name for name, a in self.arrays.items() if not dtypes or a.dtype in dtypes])

    def step(self) -> None:
        kind = self.rng.choice(["read", "iterate", "number", "part", "sum", "add", "hold", "alias", "compare", "masked"])
        getattr(self, kind)()

    def same(self, got, expected) -> None:
        got = got.tolist() if isinstance(got, torch.Tensor) else got
        assert got == np.asarray(expected).tolist()

    def read(self) -> None:
        name = self.pick()
        t, a = self.tensors[name], self.arrays[name]
        key = self.key(a.shape)
        part, expected = t[key], a[key]
        assert tuple(part.shape) == expected.shape and part._is_view()
        self.same(part, expected)
        if not expected.shape:
            assert part.item() == expected and float(part) == float(expected) and int(part) == int(expected)
            assert bool(part) == bool(expected) and type(part.item()) is type(expected.item())

    def iterate(self) -> None:
        name = self.pick()
        for row, expected in zip(self.tensors[name], self.arrays[name], strict=True):
            assert row.sum().item() == expected.sum()

    def number(self) -> None:
        name = self.pick()
        t, a = self.tensors[name], self.arrays[name]
        key = self.key(a.shape)
        value = self.rng.choice([3, -2, 2.5, True]) if a.dtype != bool else self.rng.choice([True, False])
        before = t._version
        t[key] = value
        a[key] = value
        assert t._version == before + 1

    def part(self) -> None:
        name = self.pick(np.float32, np.int64)
        other = self.pick(self.arrays[name].dtype)
        t, a, u, b = self.tensors[name], self.arrays[name], self.tensors[other], self.arrays[other]
        key, key2 = self.key(a.shape), self.key(b.shape)
        if a[key].shape != b[key2].shape and b[key2].shape:
            key2 = tuple([self.rng.randrange(n) for n in b.shape])
        value = u[key2] * 2 if self.rng.random() < 0.6 else u[key2].clone()
        expected = b[key2] * 2 if value.tolist() == (b[key2] * 2).tolist() else b[key2].copy()
        t[key] = value
        a[key] = expected

    def sum(self) -> None:
        name, other = self.pick(np.float32), self.pick(np.float32)
        (a, t), (b, u) = [(self.arrays[n], self.tensors[n]) for n in (name, other)]
        i, j = (tuple([self.rng.randrange(n) for n in x.shape]) for x in (a, b))
        assert (t[i] + u[j]).item() == a[i] + b[j] and float(t[i] * 2 - 1) == a[i] * 2 - 1
        y, expected = self.tensors["y"], self.arrays["y"]
        expected[2] = a[i] - b[j]
        y[2] = t[i] - u[j]

    def add(self) -> None:
        name = self.pick(np.float32, np.int64)
        key = self.key(self.arrays[name].shape)
        self.tensors[name][key] += 2
        self.arrays[name][key] += 2

    def hold(self) -> None:
        """What is read now is what is here now."""
        name = self.pick(np.float32)
        key = self.key(self.arrays[name].shape)
        self.held.append((self.tensors[name][key] * 1, self.arrays[name][key] * 1))
        if len(self.held) > 2:
            self.same(*self.held.pop(self.rng.randrange(3)))

    def alias(self) -> None:
        """NumPy writes to the memory, and reads what is written to it."""
        name = self.pick(np.float32)
        memory, a = self.tensors[name].numpy(), self.arrays[name]
        key = self.key(a.shape)
        memory[key] = 5
        a[key] = 5
        self.same(self.tensors[name][key], a[key])
        self.tensors[name][key] = 4
        a[key] = 4
        assert memory.tolist() == a.tolist()

    def compare(self) -> None:
        name = self.pick(np.float32, np.int64)
        a = self.arrays[name]
        i = tuple([self.rng.randrange(n) for n in a.shape])
        assert bool(self.tensors[name][i] > 1) == bool(a[i] > 1)

    def masked(self) -> None:
        t, a, m, mask = self.tensors["x"], self.arrays["x"], self.tensors["m"], self.arrays["m"]
        self.same(t[:, m], a[:, mask])
        places = [self.rng.randrange(-5, 5) for _ in range(3)]
        self.same(t[torch.tensor(places)], a[places])
        self.same(t[1, m], a[1, mask])
        t[torch.tensor(places), 1] = 6.0
        a[places, 1] = 6.0
        self.same(m.nonzero(), np.argwhere(mask))

    def check(self) -> None:
        for name, a in self.arrays.items():
            assert self.tensors[name].tolist() == a.tolist(), name


@pytest.mark.parametrize("seed", range(40))
def test_programs_of_single_values(seed):
    program = Program(seed)
    for _ in range(60):
        program.step()
        if program.rng.random() < 0.3:
            program.check()
    program.check()
    for got, expected in program.held:
        program.same(got, expected)


EXPRESSIONS = [
    lambda t, x, y: (x * y).sum().item(),
    lambda t, x, y: float(t * 2 + 1),
    lambda t, x, y: float(t - 0.3),
    lambda t, x, y: (x.exp() + y).tolist(),
    lambda t, x, y: (x * x).tolist(),
    lambda t, x, y: torch.dot(x, y).item(),
    lambda t, x, y: x.softmax(0).tolist(),
    lambda t, x, y: bool(t > 1),
    lambda t, x, y: [row.sum().item() for row in x.reshape(2, 4)],
    lambda t, x, y: [(a / b).item() for a, b in zip(x, y)],
    lambda t, x, y: (x.reshape(2, 4) @ y.reshape(4, 2)).tolist(),
    lambda t, x, y: [kept.tolist() for kept in _both(x * y)],
    lambda t, x, y: (x.to(torch.int64) + 3).tolist(),
    lambda t, x, y: x.argmax().item(),
    lambda t, x, y: x.max(0)[0].item(),
    lambda t, x, y: [kept.item() for kept in x.max(0)],
    lambda t, x, y: torch.nn.functional.layer_norm(x, (8,), y).tolist(),
    lambda t, x, y: torch.nn.functional.max_pool1d(x[None], 3).tolist(),
    lambda t, x, y: x.sort()[1].tolist(),  # NumPy computes these
    lambda t, x, y: [kept.tolist() for kept in x.topk(3)],
    lambda t, x, y: (x.median().item(), x.kthvalue(2)[0].item()),
    lambda t, x, y: torch.searchsorted(x.cumsum(0), y).tolist(),
    lambda t, x, y: torch.linalg.eigvalsh(torch.outer(x, x)).tolist(),
    lambda t, x, y: x.sort()[0].msort().tolist(),
]


def _both(product):
    total = product.sum()
    return total, product


@pytest.mark.parametrize("which", range(len(EXPRESSIONS)))
def test_the_short_way_gives_the_same_bits(which, mode, monkeypatch):
    expression, results = EXPRESSIONS[which], []
    for most in (0, short.MOST):
        torch.manual_seed(which)
        monkeypatch.setattr(short, "MOST", most)
        results.append([expression(*torch.randn(17).split([1, 8, 8])) for _ in range(8)])
    assert results[0] == results[1]


def test_little_traces_take_the_short_way(mode):
    if mode != "compiled":
        pytest.skip("kernels are called")
    if config.guard:
        pytest.skip("each value has memory of its own: there is no short way")
    x, y = torch.randn(6), torch.randn(6)
    for _ in range(4):
        (x * y).sum().item()
    before, ways = torch.engine_stats()["hits"], {way: way.plan.runs for known in short.ways.values() for way in known}
    for _ in range(5):
        (x * y).sum().item()
    assert torch.engine_stats()["hits"] == before + 5
    assert sorted(way.plan.runs - runs for way, runs in ways.items())[-1] == 5


def test_what_numpy_computes_takes_the_short_way(mode):
    if mode != "compiled" or config.guard:
        pytest.skip("as above")
    x = torch.randn(7)
    for _ in range(4):
        x.sort()[0].tolist()
    ways = {way: way.plan.runs for known in short.ways.values() for way in known if way.order is not None}
    results = [x.sort() for _ in range(3)]
    for values, indices in results:
        assert x[indices].tolist() == values.tolist() == sorted(x.tolist())
    for _ in range(5):
        x.sort()[0].tolist()
    assert 5 in [way.plan.runs - runs for way, runs in ways.items()]


def test_numpy_refuses_on_the_short_way_what_it_refuses_elsewhere():
    good, bad = torch.eye(3), torch.zeros(3, 3)
    for _ in range(6):
        assert torch.linalg.cholesky(good).diagonal().tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(RuntimeError):
        torch.linalg.cholesky(bad).tolist()
    assert torch.linalg.cholesky(good).diagonal().tolist() == [1.0, 1.0, 1.0]


def test_whoever_sees_a_result_gets_it():
    x = torch.arange(4.0)
    x.tolist()
    for i in range(12):
        y = x * (i + 1.0)
        z = y + 1
        if i % 3 == 0:
            del y
        assert z.sum().item() == 6 * (i + 1) + 4
        if i % 3:
            assert y.tolist() == [float(k * (i + 1)) for k in range(4)]


def test_a_value_that_could_not_be_computed(mode, monkeypatch):
    """Reading it raises its error again, also where the trace is little."""
    monkeypatch.setattr(config, "strict", False)
    x = torch.arange(4.0)
    for _ in range(6):
        (x + 1).sum().item()
    bad = torch.tensor([1.0, 2.0, 3.0, 4.0])
    bad._storage.node.value = short_of_luck()
    for _ in range(2):
        with pytest.raises(ValueError, match="no luck"):
            (bad + 1).sum().item()
    assert (x + 1).sum().item() == 10 and not graph.trace


def short_of_luck():
    from flambeau.engine.interpreter import Failed

    return Failed(ValueError("no luck"))


def test_errors_are_those_of_the_long_way():
    x, n = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int8)
    k = torch.tensor([1, 0])
    x.tolist(), n.tolist(), k.tolist()
    w = torch.ones(3, requires_grad=True)
    for error, match, wrong in [
        (IndexError, "index 3 is out of bounds for dimension 0 with size 3", lambda: x[3]),
        (IndexError, "index -3 is out of bounds for dimension 1 with size 2", lambda: x[0, -3]),
        (IndexError, "too many indices for tensor of dimension 2", lambda: x[0, 0, 0]),
        (IndexError, "index 5 is out of bounds", lambda: x.__setitem__((0, 5), 1.0)),
        (IndexError, "invalid index of a 0-dim tensor", lambda: x[0, 0][0]),
        (RuntimeError, "without overflow", lambda: n.__setitem__(0, 300)),
        (RuntimeError, "leaf Variable that requires grad", lambda: w.__setitem__(0, 1.0)),
        (RuntimeError, "must match", lambda: x.__setitem__(0, torch.ones(3))),
        (TypeError, "can't assign a str", lambda: x.__setitem__((0, 0), "1")),
        (RuntimeError, "cannot be converted to Scalar", lambda: x[0].item()),
        (ValueError, "only one element tensors can be converted to Python scalars", lambda: float(x[0])),
        (RuntimeError, "Boolean value of Tensor with more than one value is ambiguous", lambda: bool(x[0])),
        (ValueError, "step must be greater than zero", lambda: x[::-1]),
        (IndexError, "index 3 is out of bounds for dimension 0 with size 3", lambda: x[torch.tensor([0, 3])]),
        (IndexError, "index 4 is out of bounds for dimension 0 with size 3", lambda: x.__setitem__(torch.tensor([0, 4]), 1.0)),
        (IndexError, "shape of the mask", lambda: x[torch.tensor([True, False])]),
        (IndexError, "could not be broadcast together", lambda: x[torch.tensor([0, 1]), torch.tensor([0, 1, 1])]),
        (RuntimeError, "shape mismatch", lambda: x.__setitem__(torch.tensor([0, 1]), torch.ones(3, 2))),
        (RuntimeError, "single memory location", lambda: k.__setitem__(k, 1)),
        (RuntimeError, "dtypes match", lambda: x.__setitem__(torch.tensor([0, 1]), torch.ones(2, 2).double())),
    ]:
        with pytest.raises(error, match=match):
            wrong()
    assert x.sum().item() == 0 and n.tolist() == [0, 0, 0] and k.tolist() == [1, 0] and w.tolist() == [1.0] * 3


def test_the_tape_knows_of_what_is_written():
    w = torch.arange(3.0, requires_grad=True)
    y = w * 1
    y.tolist()
    y[1] = 5.0
    z = torch.zeros(3)
    z.tolist()
    z[0] = w[2] * 2
    (y.sum() + z.sum()).backward()
    assert w.grad.tolist() == [1.0, 0.0, 3.0] and z.requires_grad
    with torch.no_grad():
        w[0] = 9.0
        z[1] = w[0] * 1
    assert w.tolist() == [9.0, 1.0, 2.0] and z.tolist() == [4.0, 9.0, 0.0]


def test_a_saved_value_is_that_from_before():
    w, x = torch.ones(3, requires_grad=True), torch.arange(3.0)
    x.tolist()
    part, column = x[1], torch.arange(6.0).reshape(3, 2)[:, 1]
    column.tolist()
    loss = (w * part).sum() + (w * column).sum()
    x[1], column[0] = 100.0, 100.0
    loss.backward()
    assert w.grad.tolist() == [2.0, 4.0, 6.0]


def test_a_compiled_function_that_looks_at_a_value_is_not_captured():
    flag, x = torch.tensor(True), torch.ones(3)
    flag.item()

    @torch.compile
    def twice_or_thrice(x, flag):
        return x * 2 if flag else x * 3

    for _ in range(4):
        assert twice_or_thrice(x, flag).tolist() == [2.0] * 3
    flag.fill_(False)
    assert twice_or_thrice(x, flag).tolist() == [3.0] * 3


def test_writes_to_parts_of_what_is_pending():
    """They wait with it, but not for ever: then the content is there, and the next are done at once."""
    x = torch.arange(20.0)
    x.tolist()
    pending = [x * k for k in range(6)]
    c = torch.zeros(20) + 0
    for i in range(20):
        c[i] = x[i] + 1
        c[i] += i
        if i > 10:
            assert len(graph.trace) <= 2
    assert c.tolist() == [2.0 * i + 1 for i in range(20)]
    assert [p.tolist() for p in pending] == [[float(i * k) for i in range(20)] for k in range(6)]


def test_little_traces_that_refuse_their_values():
    n, d = torch.tensor([4, 7, -9]), torch.tensor([2, 2, 4])
    n.tolist(), d.tolist()
    for _ in range(6):
        assert (n // d).tolist() == [2, 3, -3] and (n[:2] % 3).tolist() == [1, 1]
    d[1] = 0
    for _ in range(2):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            (n // d).tolist()
    d[1] = 7
    assert (n // d).tolist() == [2, 1, -3]


def test_rows_of_the_same_memory():
    x = torch.arange(12.0).reshape(4, 3) + 0
    x.tolist()
    x[0] = x[2]
    x[1] += x[0]
    x[3, :] = x[1, :] * 2
    assert x.tolist() == [[6, 7, 8], [9, 11, 13], [6, 7, 8], [18, 22, 26]]
    version = x._version
    x[2] = x[2]
    assert x._version == version + 1 and x[2].tolist() == [6, 7, 8]
    data = x.data
    data[0, 0] = 5.0
    assert x._version == version + 1 and data._version > 0 and x[0, 0].item() == 5


def test_a_part_is_written_between_two_reads_of_it():
    """Its values are known, then they are not: what the tape keeps is what was read."""
    for _ in range(4):
        x, w = torch.arange(6.0).reshape(2, 3) + 0, torch.ones(3, requires_grad=True)
        x.tolist()
        row, column = x[1], x[:, 1]
        x.add_(1)
        ((w * row).sum() + (w[:2] * column).sum()).backward()
        x.mul_(0)
        assert w.grad.tolist() == [4.0 + 2.0, 5.0 + 5.0, 6.0]


@pytest.mark.filterwarnings("ignore:flambeau cannot compile")
def test_parts_of_memory_that_became_smaller(monkeypatch):
    monkeypatch.setattr(config, "strict", False)
    x = torch.arange(6.0)
    parts = x[4], x[1:], x[::2], x[5:]
    for _ in range(4):
        for part in parts:
            (part * 2).tolist()
    x.untyped_storage().resize_(8)
    for part in parts:
        for use in (lambda: part.tolist(), lambda: (part * 2).tolist(), lambda: part.fill_(3.0).tolist()):  # noqa: B023
            with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)):
                use()
    for use in (lambda: x[5].item(), lambda: x.__setitem__(5, 1.0)):
        with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)):
            use()
    assert x[1].item() == 1.0


def test_writing_to_what_shows_memory_more_than_once():
    """PyTorch refuses it, but for what is there already."""
    for pending in (False, True):
        x = torch.arange(3.0) + 0
        wide = x[:, None].expand(3, 2)
        if not pending:
            x.tolist()
        wide[...] = wide
        wide[0] = wide[0]
        with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
            wide[0] = 1.0
        assert x.tolist() == [0.0, 1.0, 2.0]
