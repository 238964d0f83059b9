"""Compiled modules beside PyTorch's: names, attributes, training."""

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402


def net(t):
    class Net(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = t.nn.Linear(3, 4)
            self.norm = t.nn.BatchNorm1d(4)
            self.scale = 2.0

        def forward(self, x, sign=1.0):
            return (self.norm(self.fc(x)) * self.scale).tanh() * sign

    return Net()


def test_names_and_attributes():
    found = []
    for t, settings in ((torch, {"backend": "eager"}), (flambeau, {})):
        c = t.compile(net(t), **settings)
        c.scale = 5.0
        c.note = 1
        found.append((
            list(c.state_dict()), [n for n, _ in c.named_parameters()], [n for n, _ in c.named_modules()], c.scale,
            c._orig_mod.scale, c._orig_mod.note, isinstance(c, t.nn.Module), type(c).__name__, c.eval().training, c._orig_mod.training,
        ))  # fmt: skip
    assert found[0] == found[1]


def test_a_compiled_module_trains_as_pytorchs():
    # In float64: six steps from some starts multiply float32's rounding by more than any tolerance.
    start = {k: v.numpy() for k, v in net(torch).double().state_dict().items()}
    found = []
    for t in (torch, flambeau):
        m = net(t).double()
        m.load_state_dict({k: t.tensor(v) for k, v in start.items()})
        c = m if t is torch else t.compile(m)
        option = t.optim.SGD(c.parameters(), lr=0.1)
        for i in range(6):
            x = (t.arange(15.0, dtype=t.float64).reshape(5, 3) * (i + 1)).sin()
            option.zero_grad()
            loss = (c(x, -1.0) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            option.step()
        c.eval()
        found.append([loss.tolist(), *[v.tolist() for v in m.state_dict().values()], c(x).tolist()])
    for a, b in zip(*found, strict=True):
        assert flambeau.allclose(
            flambeau.tensor(a, dtype=flambeau.float64), flambeau.tensor(b, dtype=flambeau.float64), rtol=1e-5, atol=1e-6
        )
