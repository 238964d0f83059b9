"""Exported programs beside PyTorch's: signatures, dynamic shapes, what they compute and refuse."""

from __future__ import annotations

import io

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def _net(t):
    t.manual_seed(0)

    class Net(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = t.nn.Conv2d(1, 4, 3)
            self.norm = t.nn.BatchNorm2d(4)
            self.layers = t.nn.Sequential(t.nn.Linear(4 * 5 * 5, 6), t.nn.ReLU())
            self.register_buffer("factor", t.tensor(2.0))
            self.register_buffer("hidden", t.ones(6), persistent=False)
            self.shift = t.ones(6)

        def forward(self, x, more, *, gain=2.0):
            x = t.nn.functional.max_pool2d(t.relu(self.norm(self.conv(x))), 2)
            y = self.layers(x.view(x.size(0), -1)) * self.factor + self.shift * self.hidden
            return {"y": y.log_softmax(-1), "rest": (more["a"] * gain, y.shape[0] * 2)}

    return Net().eval()


def _given(t, n):
    return (t.arange(n * 144.0).reshape(n, 1, 12, 12) / 100, {"a": t.ones(3)}), {"gain": 3.0}


def _exported(t):
    args, kwargs = _given(t, 2)
    batch = t.export.Dim("batch", min=1, max=100)
    return t.export.export(_net(t), args, kwargs, dynamic_shapes={"x": {0: batch}, "more": {"a": None}, "gain": None})


def test_signature():
    found = []
    for t in (flambeau, torch):
        program = _exported(t)
        s = program.graph_signature
        found.append([
            s.parameters, s.buffers, s.user_inputs, len(s.user_outputs), s.inputs_to_parameters, s.inputs_to_buffers, s.non_persistent_buffers, sorted(program.state_dict),
            [n.name for n in program.graph.nodes if n.op == "placeholder"], sorted(program.constants), len(list(program.parameters())), [k for k, _ in program.named_buffers()],
        ])  # fmt: skip
    assert found[0] == found[1]


@pytest.mark.parametrize("saved", [False, True])
def test_other_sizes(saved):
    results = []
    for t in (flambeau, torch):
        program = _exported(t)
        if saved:
            f = io.BytesIO()
            t.export.save(program, f)
            f.seek(0)
            program = t.export.load(f)
        module = program.module()
        out = []
        for n in (2, 1, 7):
            args, kwargs = _given(t, n)
            got = module(*args, **kwargs)
            out += [got["y"].tolist(), got["rest"][0].tolist(), got["rest"][1]]
        results.append((out, sorted(module.state_dict()), sorted(n for n, _ in module.named_parameters())))
    assert results[0][1:] == results[1][1:]
    for a, b in zip(results[0][0], results[1][0], strict=True):
        assert torch.allclose(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64), atol=1e-5)


def _refused(t, f):
    try:
        f(t)
    except Exception as error:
        return (
            type(error).__name__
            if type(error).__name__ in ("AssertionError", "RuntimeError", "ValueError", "TypeError")
            else "other"
        )
    return None


class _Branches:
    @staticmethod
    def of(t):
        class Net(t.nn.Module):
            def forward(self, x):
                return x + 1 if x.shape[0] > 7 else x * 2

        return Net()


REFUSALS = {
    "shape": lambda t: _exported(t).module()(t.ones(2, 1, 11, 12), {"a": t.ones(3)}, gain=3.0),
    "range": lambda t: _exported(t).module()(t.ones(101, 1, 12, 12), {"a": t.ones(3)}, gain=3.0),
    "call": lambda t: _exported(t)(t.ones(1)),
    "structure": lambda t: _exported(t).module()(t.ones(2, 1, 12, 12), {"b": t.ones(3)}, gain=3.0),
    "function": lambda t: t.export.export(lambda x: x, (t.ones(1),)),
    "list": lambda t: t.export.export(t.nn.ReLU(), [t.ones(1)]),
    "branch": lambda t: t.export.export(_Branches.of(t), (t.ones(3, 2),), dynamic_shapes=({0: t.export.Dim("n")},)),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name):
    own, theirs = (_refused(t, REFUSALS[name]) for t in (flambeau, torch))
    assert own is not None and theirs is not None
    assert own == theirs or theirs == "other" or own == "other"


def test_fixed_branches_and_automatic_dims():
    for t in (flambeau, torch):
        program = t.export.export(_Branches.of(t), (t.ones(3, 2),))
        assert program.module()(t.ones(3, 2)).tolist() == [[2.0, 2.0]] * 3
        linear = t.export.export(t.nn.Linear(3, 2), (t.ones(4, 3),), dynamic_shapes=({0: t.export.Dim.AUTO},))
        assert tuple(linear.module()(t.ones(9, 3)).shape) == (9, 2)
        pair = t.export.Dim("pair", min=1)

        class Add(t.nn.Module):
            def forward(self, x, y):
                return x + y

        both = t.export.export(Add(), (t.ones(3), t.ones(3)), dynamic_shapes=({0: pair}, {0: pair})).module()
        assert both(t.ones(5), t.ones(5)).tolist() == [2.0] * 5
        with pytest.raises(AssertionError):
            both(t.ones(5), t.ones(4))


WRITES = {
    **{
        name: (lambda t, x, name=name: getattr(t.nn.functional, name)(x, inplace=True))
        for name in "relu relu6 hardtanh elu leaky_relu silu mish hardswish hardsigmoid selu celu".split()
    },
    "positional": lambda t, x: t.nn.functional.relu(x, True),
    "threshold": lambda t, x: t.nn.functional.threshold(x, 0.1, 20.0, inplace=True),
    "out": lambda t, x: t.add(x, 1, out=x),
    "method": lambda t, x: x.add_(1),
    "item": lambda t, x: x.__setitem__(0, 5.0),
}


@pytest.mark.parametrize("name", WRITES)
def test_writes_into_what_is_returned(name):
    """A call that nobody takes the result of is not dead if it writes."""
    results = []
    for t in (flambeau, torch):

        class Net(t.nn.Module):
            def forward(self, x):
                y = x + 0
                WRITES[name](t, y)  # noqa: B023
                return y

        x = t.tensor([-2.0, -0.5, 0.5, 7.0])
        results.append(t.export.export(Net(), (x,)).module()(x).tolist())
    assert results[0] == pytest.approx(results[1])


def test_automatic_dims_are_as_free_as_the_program_lets_them():
    for t in (flambeau, torch):

        class Net(t.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = t.nn.Linear(5, 3)  # noqa: B023

            def forward(self, w, x, y):
                return self.inner(w), x + y

        auto = t.export.Dim.AUTO
        program = t.export.export(
            Net(), (t.ones(6, 5), t.ones(4), t.ones(8, 4)), dynamic_shapes={"w": (auto, auto), "x": (auto,), "y": (auto, auto)}
        )
        first, second = program.module()(t.ones(2, 5), t.ones(7), t.ones(3, 7))
        assert tuple(first.shape) == (2, 3) and tuple(second.shape) == (3, 7)
        with pytest.raises(AssertionError):
            program.module()(t.ones(2, 4), t.ones(7), t.ones(3, 7))
        with pytest.raises(AssertionError):
            program.module()(t.ones(2, 5), t.ones(7), t.ones(3, 6))


def test_gradients_reach_the_parameters():
    net = _net(flambeau)
    args, kwargs = _given(flambeau, 2)
    module = flambeau.export.export(net, args, kwargs).module()
    module(*args, **kwargs)["y"].sum().backward()
    own = {k: p.grad for k, p in module.named_parameters()}
    expected = net(*args, **kwargs)["y"].sum()
    net.zero_grad()
    expected.backward()
    for name, p in net.named_parameters():
        assert flambeau.allclose(own[name], p.grad)
