"""A training gives the same bits whatever else there is: threads, a checkpoint half way, places where values are read, other
programs."""

from __future__ import annotations

import io
from itertools import cycle

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.autograd import repetition, rules
from flambeau.core import config
from flambeau.engine import plans
from flambeau.engine.run import run_pending
from flambeau.nn import functional as F
from flambeau.tensor import recipes

pytest.importorskip("llvmlite", reason="NumPy computes, whose products use BLAS's threads")

STEPS, HALF = 12, 5


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.out = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x):
        h = F.relu(self.norm(self.first(x)))
        return self.out(F.adaptive_avg_pool2d(h + F.relu(self.second(h)), 1).flatten(1))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(30, 16), nn.Linear(16, 10)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.1)

    def forward(self, x):
        return self.out(self.layer(self.embed(x)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.cell, self.out = kind(6, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, x):
        return self.out(self.cell(x)[0][:, -1])


def _rows(n=8, of=20):
    return lambda: torch.randn(n, of)


def _images(channels, size):
    return lambda: torch.randn(4, channels, size, size)


def _tokens(lengths):
    return lambda: torch.randint(0, 30, (4, int(torch.randint(*lengths, ()))))


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10)), _rows()),
    "layer norm": (lambda: nn.Sequential(nn.Linear(20, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 10)), _rows()),
    "batch norm": (lambda: nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.SiLU(), nn.Linear(64, 10)), _rows()),
    "dropout": (lambda: nn.Sequential(nn.Linear(20, 64), nn.Dropout(0.3), nn.Tanh(), nn.Linear(64, 10)), _rows()),
    "wide": (lambda: nn.Sequential(nn.Linear(300, 200), nn.Softmax(1), nn.Linear(200, 10)), _rows(64, 300)),
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(200, 10)), _images(1, 12)),
    "residual": (Residual, _images(3, 8)),
    "transformer": (Tokens, _tokens((9, 10))),
    "lstm": (Recurrent, lambda: torch.randn(4, 7, 6)),
    "gru": (lambda: Recurrent(nn.GRU), lambda: torch.randn(4, 7, 6)),
}  # fmt: skip

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.5),
}


class Training:
    """A model, what trains it and its data; ``read(k)`` says whether the loss is looked at before the ``k``-th backward pass."""

    def __init__(self, name: str, optimizer: str) -> None:
        make, batch = MODELS[name]
        torch.manual_seed(0)
        self.batches = [(x := batch(), torch.randint(0, 10, (len(x),))) for _ in range(STEPS)]
        self.model = make()
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 4, 0.5)

    def run(self, first: int, last: int, read=lambda k: False) -> None:
        for k in range(first, last):
            x, y = self.batches[k]
            loss = F.cross_entropy(self.model(x), y)
            if read(k):
                loss.item()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()

    def parts(self) -> list:
        return [self.model, self.optimizer, self.scheduler]

    def bits(self) -> list[bytes]:
        return [t.numpy().tobytes() for t in self.model.state_dict().values()]


def _fresh() -> None:
    """As in a process that has not computed anything yet."""
    run_pending()
    plans.clear()
    config.training = False


def _trained(name: str, optimizer: str, **options) -> list[bytes]:
    _fresh()
    training = Training(name, optimizer)
    training.run(0, STEPS, **options)
    return training.bits()


def _resumed(name: str, optimizer: str) -> list[bytes]:
    _fresh()
    training = Training(name, optimizer)
    training.run(0, HALF)
    file = io.BytesIO()
    torch.save([*[part.state_dict() for part in training.parts()], torch.get_rng_state()], file)
    _fresh()
    training = Training(name, optimizer)
    file.seek(0)
    *states, random = torch.load(file)
    for part, state in zip(training.parts(), states, strict=True):
        part.load_state_dict(state)
    torch.set_rng_state(random)
    training.run(HALF, STEPS)
    return training.bits()


@pytest.mark.parametrize(("name", "optimizer"), list(zip(MODELS, cycle(OPTIMIZERS), strict=False)))
def test_a_training_has_one_result(name, optimizer, monkeypatch):
    expected = _trained(name, optimizer)
    assert _resumed(name, optimizer) == expected
    assert _trained(name, optimizer, read=lambda k: k % 3 == 1) == expected
    with monkeypatch.context() as patch:
        patch.setattr(config, "ahead", 0.0)
        assert _trained(name, optimizer) == expected, "kernels run while Python goes on"
    threads = torch.get_num_threads()
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            assert _trained(name, optimizer) == expected, f"{n} threads"
    finally:
        torch.set_num_threads(threads)
    training = Training(name, optimizer)  # after another one, with all its plans
    training.run(0, STEPS)
    assert training.bits() == expected


@pytest.mark.parametrize("name", [name for name in MODELS if name != "transformer"])
def test_one_operation_at_a_time(name, monkeypatch):
    """Immediate mode gives the bits of whole steps; not of the transformer, which adds up over two dims what is transposed."""
    torch.use_deterministic_algorithms(True)
    try:
        expected = _trained(name, "AdamW")
        monkeypatch.setattr(config, "eager", True)
        assert _trained(name, "AdamW") == expected
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("lengths", [(3, 12), (20, 40)])
def test_batches_of_other_lengths(lengths, monkeypatch):
    monkeypatch.setitem(MODELS, "lengths", (Tokens, _tokens(lengths)))
    torch.use_deterministic_algorithms(True)
    try:
        expected = _trained("lengths", "AdamW")
        assert _resumed("lengths", "AdamW") == expected
        assert _trained("lengths", "AdamW", read=lambda k: k % 2 == 1) == expected
    finally:
        torch.use_deterministic_algorithms(False)


def test_without_an_optimizer_nothing_is_compiled_on_first_sight():
    _fresh()
    before = plans.totals.compiled
    (torch.ones(3, 5).exp() * 3).sum(1).tolist()
    assert plans.totals.compiled == before
    torch.use_deterministic_algorithms(True)
    try:
        (torch.ones(3, 6).exp() * 3).sum(1).tolist()
        assert plans.totals.compiled == before + 1
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_names_of_modes():
    for given, number in [("warn", 1), (2, 2), ("default", 0), (1, 1), (0, 0), ("error", 2)]:
        torch.set_deterministic_debug_mode(given)
        assert torch.get_deterministic_debug_mode() == number
        assert torch.are_deterministic_algorithms_enabled() is (number > 0)
        assert torch.is_deterministic_algorithms_warn_only_enabled() is (number == 1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.get_deterministic_debug_mode() == 1
    torch.use_deterministic_algorithms(False)
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="expected 0, 1, or 2, but got 3"):
        torch.set_deterministic_debug_mode(3)
    with pytest.raises(RuntimeError, match="expected one of `default`, `warn`, `error`, but got often"):
        torch.set_deterministic_debug_mode("often")
    with pytest.raises(TypeError, match="debug_mode must be str or int"):
        torch.set_deterministic_debug_mode(1.5)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_is_the_same_trace_whether_new_or_repeated(name, monkeypatch):
    """What is recorded in full, by recipes, or as a whole backward pass, is the same: one plan serves all."""
    monkeypatch.setattr(rules, "AT_FIRST_SIGHT", False)
    monkeypatch.setattr(repetition, "OFTEN", 3)
    recipes.forget()
    repetition.forget()
    _fresh()
    training = Training(name, "AdamW")
    training.batches = [
        (x, y.reshape(2, -1).clone().flatten()) for x, y in training.batches
    ]  # views, of which values are looked at
    for k in range(STEPS):
        training.run(k, k + 1)
        run_pending()
        if k == 1:  # the optimizer's state, and gradients to add to, have come since the first
            known = len(plans.plans)
    assert len(plans.plans) == known
