"""Optimizers and schedules against real PyTorch: the same numbers step for step, the same checkpoints."""

import copy
import io
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

STEPS = 50
SHAPES = [(4, 3), (17,), (), (2, 3, 2)]

CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "maximize": True, "foreach": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "fused": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adagrad", {"maximize": True, "foreach": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.9, "weight_decay": 0.1, "momentum": 0.8}),
    ("RMSprop", {"centered": True, "maximize": True, "momentum": 0.5}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "maximize": True}),
    ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "foreach": True}),
    ("Adam", {"lr": 0.1, "fused": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "amsgrad": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.01}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2)}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.01, "alpha": 0.5, "t0": 10, "weight_decay": 0.1}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "d": 1.5, "eps": (1e-5, 1e-2), "beta2_decay": -0.5}),
    ("Muon", {}),
    ("Muon", {"lr": 0.1, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}),
]  # fmt: skip


class Run:
    """Parameters and an optimizer in one framework."""

    def __init__(self, lib, name, options, dtype, start=None, state=None):
        self.lib, self.name = lib, name
        rng = np.random.default_rng(0)
        shapes = [(4, 3), (3, 7)] if name == "Muon" else SHAPES
        self.params = [lib.nn.Parameter(lib.from_numpy(np.array(rng.standard_normal(shape)).astype(dtype))) for shape in shapes]
        if start is not None:
            with lib.no_grad():
                for p, value in zip(self.params, start, strict=True):
                    p.copy_(lib.from_numpy(value))
        self.optimizer = getattr(lib.optim, name)(self.params, **options)
        if state is not None:
            self.optimizer.load_state_dict(state)

    def step(self, t):
        rng = np.random.default_rng(t + 1)
        for i, p in enumerate(self.params):
            dtype = str(p.dtype).removeprefix("torch.")
            grad = np.array(rng.standard_normal(tuple(p.shape))).astype(dtype)
            p.grad = None if (t, i) == (3, 1) else self.lib.from_numpy(grad)
        self.optimizer.step()

    def values(self):
        return [p.detach().numpy().copy() for p in self.params]


def assert_close(mine, theirs, rtol):
    for p, q in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(p, q, rtol=rtol, atol=rtol)


def described(value):
    """A state dict with its tensors replaced by dtype and shape."""
    if isinstance(value, dict):
        return {key: described(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(v) for v in value]
    return (str(value.dtype), tuple(value.shape)) if hasattr(value, "dtype") else value


def tolerance(name, dtype):
    if name == "Muon":  # it rounds matrix products, summed in any order, to the 8 bits of bfloat16
        return 1e-3
    # float64: mu_product and eta are float32 in the state of NAdam and ASGD
    return 1e-6 if dtype == "float32" or name in ("NAdam", "ASGD") else 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, options", CASES)
def test_steps(name, options, dtype):
    mine, theirs = (Run(lib, name, options, dtype) for lib in (flambeau, torch))
    for t in range(STEPS):
        mine.step(t)
        theirs.step(t)
    assert_close(mine.values(), theirs.values(), tolerance(name, dtype))
    assert repr(mine.optimizer) == repr(theirs.optimizer)
    assert described(mine.optimizer.state_dict()) == described(theirs.optimizer.state_dict())


@pytest.mark.parametrize("source, target", [(flambeau, torch), (torch, flambeau)])
@pytest.mark.parametrize("name, options", CASES)
def test_checkpoints_go_both_ways(name, options, source, target):
    first = Run(source, name, options, "float32")
    for t in range(STEPS // 2):
        first.step(t)
    file = io.BytesIO()
    source.save(first.optimizer.state_dict(), file)
    file.seek(0)
    second = Run(target, name, options, "float32", first.values(), target.load(file))
    for t in range(STEPS // 2, STEPS):
        first.step(t)
        second.step(t)
    assert_close(first.values(), second.values(), tolerance(name, "float32"))


def _as_flambeau(state):
    """A state with PyTorch's tensors as flambeau's."""
    if isinstance(state, torch.Tensor):
        return flambeau.from_numpy(state.detach().numpy().copy())
    if isinstance(state, dict):
        return {key: _as_flambeau(value) for key, value in state.items()}
    return [_as_flambeau(value) for value in state] if isinstance(state, list) else state


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "max_iter": 5, "history_size": 3},
        {"lr": 0.05, "history_size": 2},
    ],
)
def test_lbfgs(options, dtype):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((4, 3), (5,), (4, 3), (5,))]

    def fitted(lib):
        """The parameters, the optimizer and what makes a step."""
        *start, a, b = (lib.from_numpy(array.copy()) for array in arrays)
        params = [lib.nn.Parameter(p) for p in start]
        optimizer = lib.optim.LBFGS(params, **options)

        def closure():
            optimizer.zero_grad()
            loss = sum(((p - t) ** 2).sum() + (p**4).sum() for p, t in zip(params, (a, b), strict=True))
            loss.backward()
            return loss

        return params, optimizer, lambda: optimizer.step(closure).item()

    mine, theirs, followed = fitted(flambeau), fitted(torch), fitted(flambeau)
    losses = [], [], []
    for _ in range(5):
        if dtype == "float64":
            # A step from where PyTorch is: over many of them, the roundings of the differences that make the directions
            # add up to more than 1e-9, also between runs of PyTorch that begin one rounding apart. float32 parameters
            # are free within the square root of its epsilon: the loss is flat there.
            with flambeau.no_grad():
                for p, q in zip(followed[0], theirs[0], strict=True):
                    p.copy_(flambeau.from_numpy(q.detach().numpy().copy()))
            followed[1].load_state_dict(_as_flambeau(theirs[1].state_dict()))
        for found, (_, _, step) in zip(losses, (mine, theirs, followed), strict=True):
            found.append(step())
        if dtype == "float64":
            assert_close(*([p.detach().numpy() for p in params] for params, _, _ in (followed, theirs)), 1e-9)
    for found in losses[::2] if dtype == "float64" else losses[:1]:
        np.testing.assert_allclose(found, losses[1], rtol=1e-5 if dtype == "float32" else 1e-9)
    states = [set(optimizer.state_dict()["state"][0]) for _, optimizer, _ in (mine, theirs)]
    assert states[0] == states[1]


@pytest.mark.parametrize(
    "name, options",
    [
        ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        ("Adagrad", {}),
        ("Adadelta", {"eps": 1e-2}),
        ("RMSprop", {"momentum": 0.5, "eps": 0.1}),
        ("Adam", {"weight_decay": 0.1}),
        ("NAdam", {}),
        ("RAdam", {"betas": (0.9, 0.7)}),
        ("ASGD", {}),
    ],
)
def test_gradients_through_steps(name, options):
    """PyTorch itself cannot differentiate centered RMSprop, amsgrad and Adamax here: they overwrite what it saved."""
    found = []
    for lib in (flambeau, torch):
        start = lib.tensor([1.0, -2.0], dtype=lib.float64, requires_grad=True)
        scale = lib.tensor(1.5, dtype=lib.float64, requires_grad=True)
        w = start.clone()
        optimizer = getattr(lib.optim, name)([w], lr=0.1, differentiable=True, **options)
        for grad in ([0.3, -0.7], [0.5, 0.4], [-0.2, 0.6]):
            w.grad = scale * start * lib.tensor(grad, dtype=lib.float64)
            optimizer.step()
        w.sum().backward()
        found.append([*w.tolist(), *start.grad.tolist(), scale.grad.item()])
    # PyTorch computes step counts and bias corrections in float32 here
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------ schedules


class Decay:
    def __init__(self):
        self.rate = 0.97

    def __call__(self, epoch):
        return self.rate**epoch


SCHEDULES = [
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [3, 5, 5, 20]}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 10}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 13}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 40, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.001}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": [lambda e: 0.95**e, lambda e: 1 / (1 + e)]}),
    ("LambdaLR", {"lr_lambda": Decay()}),
    ("MultiplicativeLR", {"lr_lambda": lambda e: 0.95}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": 0.1, "step_size_up": 5, "step_size_down": 8,
                  "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "mode": "exp_range", "gamma": 0.98}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 101}),
    ("OneCycleLR", {"max_lr": [0.1, 0.2], "epochs": 11, "steps_per_epoch": 10, "three_phase": True,
                    "anneal_strategy": "linear"}),
    ("swa_utils.SWALR", {"swa_lr": [0.01, 0.02], "anneal_epochs": 5}),
]  # fmt: skip


def optimizer_of(lib, name):
    params = [lib.nn.Parameter(lib.zeros(2)) for _ in range(2)]
    options = {"momentum": 0.9} if name == "SGD" else {}
    return getattr(lib.optim, name)([{"params": params[0], "lr": 0.05}, {"params": params[1]}], lr=0.3, **options)


def scheduler_of(lib, name, optimizer, options):
    module = lib.optim.swa_utils if name.startswith("swa_utils") else lib.optim.lr_scheduler
    return getattr(module, name.rpartition(".")[2])(optimizer, **copy.deepcopy(options))


def seen(optimizer):
    return [(group["lr"], group.get("momentum"), group.get("betas")) for group in optimizer.param_groups]


@pytest.mark.parametrize("optimizer_name", ["SGD", "Adam"])
@pytest.mark.parametrize("name, options", SCHEDULES)
def test_schedules(name, options, optimizer_name):
    histories, states = [], []
    for lib in (flambeau, torch):
        optimizer = optimizer_of(lib, optimizer_name)
        scheduler = scheduler_of(lib, name, optimizer, options)
        history = [seen(optimizer)]
        for _ in range(100):
            optimizer.step()
            scheduler.step()
            history.append(seen(optimizer))
        histories.append(history)
        state = scheduler.state_dict()
        states.append({key: repr(state[key]) for key in sorted(state)})
    assert histories[0] == histories[1]
    assert states[0] == states[1]


def test_plateau():
    metrics = np.random.default_rng(0).random(100).tolist()
    for options in (
        {},
        {"patience": 2, "factor": 0.5},
        {"mode": "max", "threshold_mode": "abs", "threshold": 0.1, "cooldown": 2, "min_lr": [0.01, 0.001]},
        {"mode": "min", "threshold_mode": "abs", "patience": 0},
    ):
        histories = []
        for lib in (flambeau, torch):
            optimizer = optimizer_of(lib, "SGD")
            scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
            history = []
            for metric in metrics:
                scheduler.step(metric)
                history.append(seen(optimizer))
            histories.append((history, scheduler.state_dict()))
        assert histories[0] == histories[1]


def test_combinations():
    histories = []
    for lib in (flambeau, torch):
        schedules, optimizer = lib.optim.lr_scheduler, optimizer_of(lib, "SGD")
        with warnings.catch_warnings():  # of the step that SequentialLR makes the chain take at the start
            warnings.simplefilter("ignore")
            chain = schedules.ChainedScheduler([schedules.LinearLR(optimizer), schedules.ExponentialLR(optimizer, 0.9)])
            parts = [chain, schedules.CosineAnnealingLR(optimizer, 20), schedules.StepLR(optimizer, 4)]
            scheduler = schedules.SequentialLR(optimizer, parts, [7, 30])
        history = [seen(optimizer)]
        for _ in range(60):
            optimizer.step()
            scheduler.step()
            history.append(seen(optimizer))
        histories.append((history, scheduler.state_dict()))
    assert histories[0] == histories[1]


# ------------------------------------------------------------------ averages


def test_averaged_models():
    results = []
    for lib in (flambeau, torch):
        swa = lib.optim.swa_utils
        model = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4))
        averages = [
            swa.AveragedModel(model),
            swa.AveragedModel(model, multi_avg_fn=swa.get_ema_multi_avg_fn(0.9), use_buffers=True),
            swa.AveragedModel(model, avg_fn=swa.get_ema_avg_fn(0.9)),
        ]
        rng = np.random.default_rng(0)
        for _ in range(5):
            with lib.no_grad():
                for p in model.parameters():
                    p.copy_(lib.from_numpy(rng.standard_normal(tuple(p.shape)).astype("float32")))
            model(lib.from_numpy(rng.standard_normal((6, 3)).astype("float32")))
            for average in averages:
                average.update_parameters(model)
        data = [lib.from_numpy(rng.standard_normal((6, 3)).astype("float32")) for _ in range(3)]
        swa.update_bn(data, averages[0])
        results.append([{k: v.numpy() for k, v in a.state_dict().items()} for a in averages])
    for mine, theirs in zip(*results, strict=True):
        assert list(mine) == list(theirs)
        for key in mine:
            np.testing.assert_allclose(mine[key], theirs[key], rtol=1e-5, atol=1e-6)
