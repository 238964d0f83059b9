"""Learning rate schedules against closed forms, and their checkpoints, warnings and errors."""

import copy
import math
import warnings

import pytest

import flambeau as torch
from flambeau.optim import lr_scheduler as schedules
from flambeau.optim.swa_utils import SWALR

STEPS = 100


class Decay:
    """A callable object: its attributes go into checkpoints."""

    def __init__(self, rate=0.95):
        self.rate = rate

    def __call__(self, epoch):
        return self.rate**epoch


def make(name="SGD", rates=(0.5, 0.25), tensors=False):
    groups = [
        {
            "params": [torch.nn.Parameter(torch.zeros(1))],
            "lr": torch.tensor(lr, dtype=torch.float64) if tensors else lr,
        }
        for lr in rates
    ]
    options = {"momentum": 0.9} if name == "SGD" else {}
    return getattr(torch.optim, name)(groups, lr=0.1, **options)


def follow(optimizer, scheduler, steps=STEPS):
    """The rates of the groups at the beginning and after each step."""
    rates = [[float(group["lr"]) for group in optimizer.param_groups]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
        assert [float(lr) for lr in scheduler.get_last_lr()] == rates[-1]
    return rates


def cosine(epoch, base, lowest, period):
    return lowest + (base - lowest) * (1 + math.cos(math.pi * epoch / period)) / 2


def restarts(epoch, base, lowest, first, factor):
    length = first
    while epoch >= length:
        epoch -= length
        length *= factor
    return cosine(epoch, base, lowest, length)


def triangle(epoch, low, high, up, down, height):
    cycle, position = divmod(epoch, up + down)
    share = position / up if position <= up else (up + down - position) / down
    return low + (high - low) * share * height(cycle, epoch)


# name, options, closed form of (epoch, base lr)
CLOSED = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}, lambda e, b: b * 0.5 ** (e // 3)),
    ("MultiStepLR", {"milestones": [3, 7, 7, 20], "gamma": 0.5},
     lambda e, b: b * 0.5 ** sum(e >= m for m in (3, 7, 7, 20))),
    ("ConstantLR", {"factor": 0.25, "total_iters": 6}, lambda e, b: b * (0.25 if e < 6 else 1)),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 10},
     lambda e, b: b * (0.2 + 0.7 * min(e, 10) / 10)),
    ("ExponentialLR", {"gamma": 0.9}, lambda e, b: b * 0.9**e),
    ("PolynomialLR", {"total_iters": 40, "power": 2.0}, lambda e, b: b * max(0, 1 - e / 40) ** 2),
    ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.01}, lambda e, b: cosine(e, b, 0.01, 10)),
    ("CosineAnnealingWarmRestarts", {"T_0": 7}, lambda e, b: restarts(e, b, 0, 7, 1)),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01},
     lambda e, b: restarts(e, b, 0.01, 3, 2)),
    ("LambdaLR", {"lr_lambda": lambda e: 1 / (1 + e)}, lambda e, b: b / (1 + e)),
    ("LambdaLR", {"lr_lambda": Decay()}, lambda e, b: b * 0.95**e),
    ("MultiplicativeLR", {"lr_lambda": lambda e: 0.9 if e % 2 else 0.8},
     lambda e, b: b * 0.9 ** ((e + 1) // 2) * 0.8 ** (e // 2)),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.6, "step_size_up": 4, "step_size_down": 6},
     lambda e, b: triangle(e, 0.1, 0.6, 4, 6, lambda c, i: 1)),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.6, "step_size_up": 4, "mode": "triangular2"},
     lambda e, b: triangle(e, 0.1, 0.6, 4, 4, lambda c, i: 0.5**c)),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.6, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9},
     lambda e, b: triangle(e, 0.1, 0.6, 4, 4, lambda c, i: 0.9**i)),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.6, "step_size_up": 4, "scale_fn": Decay()},
     lambda e, b: triangle(e, 0.1, 0.6, 4, 4, lambda c, i: 0.95 ** (c + 1))),
]  # fmt: skip
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CLOSED)]


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("name, options, closed", CLOSED, ids=IDS)
def test_closed_form(name, options, closed, tensors):
    optimizer = make(tensors=tensors)
    held = [group["lr"] for group in optimizer.param_groups]
    rates = follow(optimizer, getattr(schedules, name)(optimizer, **options))
    for epoch, pair in enumerate(rates):
        expected = [closed(epoch, base) for base in (0.5, 0.25)]
        # chained cosines lose a little with every epoch
        assert pair == pytest.approx(expected, rel=1e-9, abs=1e-12), epoch
    if tensors:  # the user's tensors are filled, never replaced
        assert all(g["lr"] is t for g, t in zip(optimizer.param_groups, held, strict=True))


@pytest.mark.parametrize("name, options, closed", CLOSED, ids=IDS)
def test_resuming_from_state_dicts(name, options, closed):
    whole = make()
    expected = follow(whole, getattr(schedules, name)(whole, **options), 40)
    optimizer = make()
    scheduler = getattr(schedules, name)(optimizer, **options)
    first = follow(optimizer, scheduler, 15)
    other = make()
    resumed = getattr(schedules, name)(other, **copy.deepcopy(options))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    resumed.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    assert first + follow(other, resumed, 25)[1:] == expected
    assert "optimizer" not in scheduler.state_dict()


@pytest.mark.parametrize(
    "name, options, closed",
    [c for c in CLOSED if c[0] not in ("CyclicLR", "MultiplicativeLR")],
)
def test_jumping_to_an_epoch(name, options, closed):
    optimizer = make()
    scheduler = getattr(schedules, name)(optimizer, **options)
    optimizer.step()
    for epoch in (3, 12, 5, 30):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scheduler.step(epoch)
        if name != "CosineAnnealingWarmRestarts":
            assert "The epoch parameter in `scheduler.step()`" in str(caught[0].message)
        got = [group["lr"] for group in optimizer.param_groups]
        assert got == pytest.approx([closed(epoch, base) for base in (0.5, 0.25)])


def test_warm_restarts_take_fractions_of_epochs():
    optimizer = make()
    scheduler = schedules.CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
    for epoch in (0.25, 1.5, 2.0, 5.75, 6.5):
        scheduler.step(epoch)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(restarts(epoch, 0.5, 0, 2, 2))
    with pytest.raises(ValueError, match="Expected non-negative epoch, but got -1"):
        scheduler.step(-1)


def one_cycle(step, stops, values, ease):
    """Piecewise from value to value at the given stops."""
    for start, end, low, high in zip(stops, stops[1:], values, values[1:], strict=False):
        if step <= end:
            return low + (high - low) * ease((step - start) / (end - start))
    raise AssertionError


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_one_cycle(name, strategy, three_phase):
    optimizer = make(name)
    scheduler = schedules.OneCycleLR(
        optimizer, max_lr=[0.8, 0.4], epochs=8, steps_per_epoch=5, pct_start=0.25,
        anneal_strategy=strategy, three_phase=three_phase, div_factor=10, final_div_factor=100,
    )  # fmt: skip

    def ease(share):
        return share if strategy == "linear" else (1 - math.cos(math.pi * share)) / 2

    for step in range(40):
        for group, peak in zip(optimizer.param_groups, (0.8, 0.4), strict=True):
            if three_phase:
                stops, rates = (0, 9, 18, 39), (peak / 10, peak, peak / 10, peak / 1000)
                momenta = (0.95, 0.85, 0.95, 0.95)
            else:
                stops, rates, momenta = (0, 9, 39), (peak / 10, peak, peak / 1000), (0.95, 0.85, 0.95)
            assert group["lr"] == pytest.approx(one_cycle(step, stops, rates, ease))
            momentum = group["momentum"] if name == "SGD" else group["betas"][0]
            assert momentum == pytest.approx(one_cycle(step, stops, momenta, ease))
        optimizer.step()
        scheduler.step()
    with pytest.raises(ValueError, match="Tried to step 41 times"):
        scheduler.step()


def test_cyclic_momentum_runs_against_the_rate():
    optimizer = make("Adam")
    scheduler = schedules.CyclicLR(optimizer, 0.1, 0.5, step_size_up=4, base_momentum=0.6)
    seen = []
    for _ in range(9):
        seen.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        scheduler.step()
    assert seen == pytest.approx([0.9, 0.825, 0.75, 0.675, 0.6, 0.675, 0.75, 0.825, 0.9])


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_swalr(strategy):
    optimizer = make(rates=(0.5,))
    scheduler = SWALR(optimizer, swa_lr=0.1, anneal_epochs=4, anneal_strategy=strategy)
    for epoch, (rate,) in enumerate(follow(optimizer, scheduler, 10)):
        t = min(1, epoch / 4)
        share = t if strategy == "linear" else (1 - math.cos(math.pi * t)) / 2
        assert rate == pytest.approx(0.5 + (0.1 - 0.5) * share)


# ------------------------------------------------------------------ combinations


def test_sequential():
    optimizer = make()
    warmup = schedules.LinearLR(optimizer, start_factor=0.1, total_iters=5)
    cosine_down = schedules.CosineAnnealingLR(optimizer, T_max=20)
    decay = schedules.ExponentialLR(optimizer, gamma=0.9)
    scheduler = schedules.SequentialLR(optimizer, [warmup, cosine_down, decay], [5, 15])
    for epoch, (rate, _) in enumerate(follow(optimizer, scheduler, 25)):
        if epoch < 5:
            expected = 0.5 * (0.1 + 0.9 * epoch / 5)
        elif epoch < 15:
            expected = cosine(epoch - 5, 0.5, 0, 20)
        else:
            expected = 0.5 * 0.9 ** (epoch - 15)
        assert rate == pytest.approx(expected)


def test_chained():
    optimizer = make()
    parts = [schedules.ConstantLR(optimizer, 0.5, 4), schedules.ExponentialLR(optimizer, 0.9)]
    for epoch, (rate, _) in enumerate(follow(optimizer, schedules.ChainedScheduler(parts, optimizer=optimizer), 20)):
        assert rate == pytest.approx(0.5 * 0.9**epoch * (0.5 if epoch < 4 else 1))


# PyTorch too warns of the step that SequentialLR makes a ChainedScheduler take at the start.
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_combined_state_dicts():
    def build(optimizer):
        chained = schedules.ChainedScheduler([schedules.LinearLR(optimizer), schedules.ExponentialLR(optimizer, 0.95)])
        return schedules.SequentialLR(optimizer, [chained, schedules.StepLR(optimizer, 3)], [6])

    whole = make()
    expected = follow(whole, build(whole), 20)
    optimizer, other = make(), make()
    scheduler = build(optimizer)
    first = follow(optimizer, scheduler, 4)
    resumed = build(other)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    state = copy.deepcopy(scheduler.state_dict())
    resumed.load_state_dict(state)
    assert isinstance(state["_schedulers"], list)  # loading leaves the dict as it was
    assert first + follow(other, resumed, 16)[1:] == expected


# ------------------------------------------------------------------ plateau


def test_plateau():
    optimizer = make(rates=(1.0, 0.5))
    scheduler = schedules.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, min_lr=[0.3, 0.0])
    seen = []
    for loss in (1.0, 0.9, 0.9, torch.tensor(0.95), 0.8, 0.8, 0.8, 0.8, 0.8):
        scheduler.step(loss)
        seen.append([group["lr"] for group in optimizer.param_groups])
    assert seen == [[1, 0.5]] * 3 + [[0.5, 0.25]] * 3 + [[0.3, 0.125]] * 2 + [[0.3, 0.0625]]
    assert scheduler.get_last_lr() == [0.3, 0.0625]


@pytest.mark.parametrize(
    "options, improvement",
    [
        ({"mode": "min", "threshold_mode": "rel"}, -0.2),
        ({"mode": "min", "threshold_mode": "abs"}, -0.2),
        ({"mode": "max", "threshold_mode": "rel"}, 0.2),
        ({"mode": "max", "threshold_mode": "abs"}, 0.2),
    ],
)
def test_plateau_modes(options, improvement):
    for share, reduced in ((0.25, True), (2.0, False)):
        optimizer = make()
        scheduler = schedules.ReduceLROnPlateau(optimizer, patience=0, threshold=0.1, **options)
        scheduler.step(1.0)
        scheduler.step(1.0 + improvement * share)
        assert (optimizer.param_groups[0]["lr"] < 0.5) is reduced


def test_plateau_cooldown_and_state():
    optimizer = make()
    scheduler = schedules.ReduceLROnPlateau(optimizer, patience=0, cooldown=2)
    for _ in range(3):
        scheduler.step(1.0)
    assert scheduler.in_cooldown
    other = schedules.ReduceLROnPlateau(make(), mode="max")
    other.load_state_dict(scheduler.state_dict())
    assert (other.mode, other.best, other.mode_worse) == ("min", 1.0, math.inf)
    scheduler.step(1.0)
    scheduler.step(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
    for _ in range(3):
        scheduler.step(1.0)
    assert len(scheduler.min_lrs) == 3


# ------------------------------------------------------------------ warnings and errors


def test_order_of_calls():
    scheduler = schedules.StepLR(make(), 2)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before"):
        scheduler.step()
    optimizer = make()
    scheduler = schedules.StepLR(optimizer, 2)
    optimizer.step = lambda: None
    with pytest.warns(UserWarning, match=r"`optimizer.step\(\)` has been overridden"):
        scheduler.step()
    optimizer = make()
    scheduler, second = schedules.StepLR(optimizer, 2), schedules.ExponentialLR(optimizer, 0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            optimizer.step()
            scheduler.step()
            second.step()
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        scheduler.get_lr()


def test_resuming_at_an_epoch():
    optimizer = make()
    with pytest.raises(KeyError, match="param 'initial_lr' is not specified in param_groups"):
        schedules.StepLR(optimizer, 2, last_epoch=4)
    for group in optimizer.param_groups:
        group["initial_lr"] = 1.0
    scheduler = schedules.CosineAnnealingLR(optimizer, T_max=10, last_epoch=4)
    assert scheduler.last_epoch == 5 and scheduler.base_lrs == [1.0, 1.0]


def test_lambda_checkpoints_keep_objects_only():
    optimizer = make()
    scheduler = schedules.LambdaLR(optimizer, [Decay(0.5), lambda e: 1.0])
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [{"rate": 0.5}, None]
    other = schedules.LambdaLR(make(), [Decay(0.9), lambda e: 1.0])
    other.load_state_dict(state)
    assert other.lr_lambdas[0].rate == 0.5


@pytest.mark.parametrize(
    "build, error, message",
    [
        (lambda s, o: s.StepLR(3, 2), TypeError, "int is not an Optimizer"),
        (lambda s, o: s.LambdaLR(o, [abs]), ValueError, "Expected 2 lr_lambdas, but got 1"),
        (lambda s, o: s.MultiplicativeLR(o, 3), TypeError, "lr_lambda should be a function, but got int"),
        (lambda s, o: s.ConstantLR(o, 2.0), ValueError, "Constant multiplicative factor expected to be between 0 and 1."),
        (lambda s, o: s.LinearLR(o, 0.0), ValueError, "Starting multiplicative factor expected to be greater than 0"),
        (lambda s, o: s.LinearLR(o, 0.5, 3.0), ValueError, "Ending multiplicative factor expected to be between 0 and 1."),
        (lambda s, o: s.CosineAnnealingWarmRestarts(o, 0), ValueError, "Expected positive integer T_0, but got 0"),
        (lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 0), ValueError, "Expected integer T_mult >= 1, but got 0"),
        (lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="x"), ValueError, "mode is invalid and scale_fn is None"),
        (lambda s, o: s.CyclicLR(o, [0.1], 0.2), ValueError, "base_lr must have the same length as optimizer.param_groups."),
        (lambda s, o: s.OneCycleLR(o, 0.1), ValueError, "You must define either total_steps OR (epochs AND steps_per_epoch)"),
        (lambda s, o: s.OneCycleLR(o, 0.1, -1), ValueError, "Expected positive integer total_steps, but got -1"),
        (lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=2), ValueError, "Expected float between 0 and 1 pct_start, but got 2"),
        (lambda s, o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="x"), ValueError, "anneal_strategy must be one of 'cos'"),
        (lambda s, o: s.OneCycleLR(make("Rprop"), 0.1, 10), ValueError, "optimizer must support momentum or beta1"),
        (lambda s, o: s.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0."),
        (lambda s, o: s.ReduceLROnPlateau(o, mode="x"), ValueError, "mode x is unknown!"),
        (lambda s, o: s.ReduceLROnPlateau(o, min_lr=[1]), ValueError, "expected 2 min_lrs, got 1"),
        (lambda s, o: s.SequentialLR(o, [], []), ValueError, "SequentialLR expects at least one scheduler, but got no scheduler."),
        (lambda s, o: s.SequentialLR(o, [s.StepLR(o, 2)], [2]), ValueError, "Sequential Schedulers expects number of schedulers"),
        (lambda s, o: s.SequentialLR(o, [s.StepLR(make(), 2)], []), ValueError, "SequentialLR expects all schedulers to belong"),
        (lambda s, o: s.ChainedScheduler([]), ValueError, "ChainedScheduler expects at least one scheduler to be chained"),
        (lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]), ValueError, "ChainedScheduler does not support"),
        (lambda s, o: SWALR(o, 0.1, anneal_epochs=-1), ValueError, "anneal_epochs must be equal or greater than 0, got -1"),
    ],
)  # fmt: skip
def test_errors(build, error, message):
    with pytest.raises(error) as caught:
        build(schedules, make())
    assert str(caught.value).startswith(message)
