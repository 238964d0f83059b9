"""Models made to ones that compute with integers: observers, training for it, conversion, and layers that quantize as they go."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
LIBRARIES = (torch, flambeau)


@pytest.fixture(autouse=True)
def _library_without_faults(monkeypatch):
    monkeypatch.setattr(torch.backends.quantized, "engine", "fbgemm")  # PyTorch's other one forgets the ReLU of a convolution


def given(t, *shape, seed: int = 0, factor: float = 1.0):
    return t.from_numpy((np.random.default_rng(seed).standard_normal(shape) * factor).astype(np.float32))


def text_of(module) -> str:
    """How a module prints, without the last digits of numbers, in which products of floats differ."""
    return re.sub(r"\d+\.\d+(e-?\d+)?", lambda m: f"{float(m[0]):.4g}", repr(module))


def near(a, b, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.array(a.tolist()), np.array(b.tolist()), rtol=tolerance, atol=tolerance)


# --- observers ------------------------------------------------------------------------------------------------

SETTINGS = [
    {},
    {"reduce_range": True},
    {"dtype": "qint8", "qscheme": "symmetric"},
    {"dtype": "qint8"},
    {"quant_min": 0, "quant_max": 127},
]
OBSERVERS = [
    "MinMaxObserver",
    "MovingAverageMinMaxObserver",
    "PerChannelMinMaxObserver",
    "MovingAveragePerChannelMinMaxObserver",
    "HistogramObserver",
]


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_observers(name, settings):
    def run(t):
        known = dict(settings)
        if "dtype" in known:
            known["dtype"] = getattr(t, known["dtype"])
        if "qscheme" in known:
            known["qscheme"] = getattr(t, f"per_{'channel' if 'Channel' in name else 'tensor'}_{known['qscheme']}")
        observer, found = getattr(t.ao.quantization, name)(**known), []
        for seed in range(4):
            x = given(t, 5, 40, seed=seed, factor=0.5 + seed) + 0.7 * seed
            assert observer(x) is x
            found += [(str(p.dtype), p.tolist()) for p in observer.calculate_qparams()]
        return found, repr(observer), list(observer.state_dict())

    assert run(flambeau) == run(torch)


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in dir(torch.ao.quantization)
        if type(getattr(torch.ao.quantization, n)).__name__ in ("QConfig", "_PartialWrapper") and "4bit" not in n
    ],
)
def test_configurations(name):
    def described(t):
        return repr(getattr(t.ao.quantization, name)).replace("flambeau.", "torch.")

    assert described(flambeau) == described(torch)


@pytest.mark.parametrize("backend", ["fbgemm", "x86", "qnnpack", "onednn"])
def test_configurations_of_libraries(backend):
    for name in ("get_default_qconfig", "get_default_qat_qconfig"):
        ours, theirs = [repr(getattr(t.ao.quantization, name)(backend)).replace("flambeau.", "torch.") for t in LIBRARIES[::-1]]
        assert ours == theirs


FAKES = "default_fake_quant default_fused_act_fake_quant default_per_channel_weight_fake_quant default_fused_per_channel_wt_fake_quant default_weight_fake_quant".split()


@pytest.mark.parametrize("name", FAKES)
def test_rounding_modules(name):
    def run(t):
        module, found = getattr(t.ao.quantization, name)(), []
        for seed in range(4):
            x = given(t, 5, 40, seed=seed, factor=0.5 + seed).requires_grad_()
            y = module(x)
            y.sum().backward()
            found += [y.tolist(), x.grad.tolist(), module.scale.tolist(), module.zero_point.tolist()]
        module.apply(t.ao.quantization.disable_observer)
        found.append(module(given(t, 5, 40, seed=9)).tolist())
        module.apply(t.ao.quantization.disable_fake_quant)
        found.append(module(given(t, 5, 40, seed=9)).tolist())
        again = getattr(t.ao.quantization, name)()
        again.load_state_dict(module.state_dict())
        return found, repr(module), repr(again)

    assert run(flambeau) == run(torch)


# --- layers that quantize as they go --------------------------------------------------------------------------


def both(make, use):
    """What ``use(t, make(t))`` gives with both libraries, from one seed."""
    found = []
    for t in LIBRARIES:
        t.manual_seed(0)
        found.append(use(t, make(t)))
    return found


@pytest.mark.parametrize("config", ["qint8", "float16", "per_channel_dynamic_qconfig"])
def test_dynamic_linear(config):
    def use(t, model):
        q = t.ao.quantization
        spec = {t.nn.Linear: getattr(q, config)} if config.startswith("per") else {t.nn.Linear}
        model = q.quantize_dynamic(model, spec, dtype=t.qint8 if config.startswith("per") else getattr(t, config))
        return repr(model), model(given(t, 5, 20)), model(given(t, 2, 3, 20)), list(model.state_dict())

    wanted, got = both(lambda t: t.nn.Sequential(t.nn.Linear(20, 64), t.nn.ReLU(), t.nn.Linear(64, 10)), use)
    assert got[0] == wanted[0] and got[3] == wanted[3]
    for a, b in zip(got[1:3], wanted[1:3], strict=True):
        if config == "float16":
            near(a, b)
        else:
            assert a.tolist() == b.tolist()
        assert not a.requires_grad


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}], ids=["one", "deep"])
def test_dynamic_recurrent(kind, settings):
    """Also of sequences of different lengths."""

    def use(t, layer):
        model = t.ao.quantization.quantize_dynamic(t.nn.Sequential(layer))
        x = given(t, 3, 7, 12)
        packed = t.nn.utils.rnn.pack_padded_sequence(x, [5, 7, 3], batch_first=True, enforce_sorted=False)
        out, state = model[0](x)
        other, end = model[0](packed)
        states = [s for h in (state, end) for s in (h if kind == "LSTM" else (h,))]
        hidden = tuple(given(t, *s.shape, seed=3) for s in states[: len(states) // 2])
        return repr(model), [out, other.data, *states, model[0](x, hidden if kind == "LSTM" else hidden[0])[0]]

    wanted, got = both(lambda t: getattr(t.nn, kind)(12, 16, **settings), use)
    assert got[0] == wanted[0]
    for a, b in zip(got[1], wanted[1], strict=True):
        near(a, b, 2e-6)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_dynamic_cells(kind):
    def use(t, cell):
        model = t.ao.quantization.quantize_dynamic(t.nn.Sequential(cell))
        y = model[0](given(t, 3, 12))
        return repr(model), y[0] if kind == "LSTMCell" else y

    wanted, got = both(lambda t: getattr(t.nn, kind)(12, 16), use)
    assert got[0] == wanted[0]
    near(got[1], wanted[1], 2e-6)


def test_tables_of_integers():
    def use(t, model):
        model = t.ao.quantization.quantize_dynamic(model, dtype=t.quint8)
        indices, offsets = t.tensor([1, 2, 3, 9]), t.tensor([0, 1])
        return repr(model), model[0](t.tensor([[1, 2], [3, 4]])), model[1](indices, offsets), model[1](t.tensor([[1, 2], [3, 4]]))

    wanted, got = both(lambda t: t.nn.Sequential(t.nn.Embedding(10, 3), t.nn.EmbeddingBag(10, 3, mode="sum")), use)
    assert got[0] == wanted[0] and got[1].tolist() == wanted[1].tolist()
    for a, b in zip(got[2:], wanted[2:], strict=True):
        near(a, b, 1e-6)


def test_saved_states():
    """States of quantized models, by either library for the other."""
    for ours, theirs in [(torch, flambeau), (flambeau, torch), (flambeau, flambeau)]:
        made = []
        for t in (ours, theirs):
            t.manual_seed(len(made))
            made.append(
                t.ao.quantization.quantize_dynamic(
                    t.nn.Sequential(t.nn.Linear(4, 3), t.nn.ReLU(), t.nn.Linear(3, 2)), {t.nn.Linear}
                )
            )
        file = io.BytesIO()
        ours.save(made[0].state_dict(), file)
        file.seek(0)
        made[1].load_state_dict(theirs.load(file))
        assert made[1](given(theirs, 5, 4)).tolist() == made[0](given(ours, 5, 4)).tolist()
    layer = flambeau.ao.quantization.quantize_dynamic(flambeau.nn.Sequential(flambeau.nn.LSTM(3, 4)))
    file = io.BytesIO()
    flambeau.save(layer.state_dict(), file)
    file.seek(0)
    other = flambeau.ao.quantization.quantize_dynamic(flambeau.nn.Sequential(flambeau.nn.LSTM(3, 4)))
    other.load_state_dict(flambeau.load(file))
    assert other[0](given(flambeau, 2, 5, 3))[0].tolist() == layer[0](given(flambeau, 2, 5, 3))[0].tolist()


# --- models that observers have looked at ---------------------------------------------------------------------


def network(t):
    nn, q = t.nn, t.ao.quantization

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.quant, self.dequant = q.QuantStub(), q.DeQuantStub()
            self.conv, self.bn, self.relu, self.pool = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2)
            self.sums, self.up = t.ao.nn.quantized.FloatFunctional(), nn.ConvTranspose2d(6, 4, 2)
            self.linear, self.norm, self.hardswish, self.elu, self.leaky = (
                nn.Linear(100, 10),
                nn.LayerNorm(10),
                nn.Hardswish(),
                nn.ELU(),
                nn.LeakyReLU(),
            )
            self.drop = nn.Dropout(0.0)

        def forward(self, x):
            x = self.pool(self.relu(self.bn(self.conv(self.quant(x)))))
            x = self.drop(self.linear(self.up(self.sums.add(x, x)).flatten(1)))
            return self.dequant(self.leaky(self.elu(self.hardswish(self.norm(x)))))

    return Network()


def test_after_training():
    def use(t, model):
        q = t.ao.quantization
        model.eval().qconfig = q.get_default_qconfig("fbgemm")
        model.up.qconfig = q.default_qconfig
        fused = q.fuse_modules(model, ["conv", "bn", "relu"])
        prepared = q.prepare(fused)
        for seed in range(3):
            prepared(given(t, 2, 3, 8, 8, seed=seed, factor=1 + seed))
        converted = q.convert(prepared)
        kinds = {name: type(value).__name__ for name, value in converted.state_dict().items()}
        return [text_of(m) for m in (fused, prepared, converted)], kinds, converted(given(t, 4, 3, 8, 8, seed=7))

    wanted, got = both(network, use)
    assert got[:2] == wanted[:2]
    near(got[2], wanted[2], 1e-4)


def test_for_training():
    def use(t, model):
        q = t.ao.quantization
        model.train().qconfig = q.get_default_qat_qconfig("fbgemm")
        model.up.qconfig = None
        fused = q.fuse_modules_qat(model, [["conv", "bn", "relu"]])
        model = q.prepare_qat(fused)
        texts, losses = [text_of(fused), text_of(model)], []
        optimizer = t.optim.SGD(model.parameters(), 0.05)
        for step in range(5):
            if step == 4:
                model.apply(q.disable_observer)
                model.apply(t.ao.nn.intrinsic.qat.freeze_bn_stats)
            optimizer.zero_grad()
            loss = (training_output(model, t, step) ** 2).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return texts, losses

    def training_output(model, t, step):
        x = model.pool(model.conv(model.quant(given(t, 4, 3, 8, 8, seed=step))))
        x = model.linear(model.sums.add(x, x).repeat(1, 1, 2, 2).flatten(1)[:, :100])
        return model.leaky(model.elu(model.hardswish(model.norm(x))))

    wanted, got = both(network, use)
    assert got[0] == wanted[0]
    np.testing.assert_allclose(got[1], wanted[1], rtol=1e-3)


def test_whole_ways():
    def small(t):
        q = t.ao.quantization
        return q.QuantWrapper(t.nn.Sequential(t.nn.Linear(8, 16), t.nn.ReLU(), t.nn.Linear(16, 3)))

    def use(t, model):
        q = t.ao.quantization
        model.qconfig = q.default_qconfig
        shown = [[given(t, 5, 8, seed=seed) for seed in range(3)]]
        after = q.quantize(model, lambda m, xs: [m(x) for x in xs], shown)
        model.qconfig = q.default_qat_qconfig
        during = q.quantize_qat(model, lambda m, xs: [m(x) for x in xs], shown)
        return [text_of(after), text_of(during)], after(given(t, 3, 8, seed=9)), during(given(t, 3, 8, seed=9))

    wanted, got = both(small, use)
    assert got[0] == wanted[0]
    for a, b in zip(got[1:], wanted[1:], strict=True):
        near(a, b, 1e-4)


def test_refused():
    q = flambeau.ao.quantization
    model = flambeau.nn.Sequential(flambeau.nn.LSTM(2, 2)).eval()
    model.qconfig = q.default_qconfig
    with pytest.raises(NotImplementedError, match="LSTM by observers"):
        q.prepare(model)
    with pytest.raises(ValueError, match="instance"):
        q.QConfig(activation=q.MinMaxObserver(), weight=q.default_weight_observer)
    with pytest.raises(NotImplementedError, match="must be quantized"):
        flambeau.ao.nn.quantized.Linear(2, 2)(flambeau.ones(1, 2))
