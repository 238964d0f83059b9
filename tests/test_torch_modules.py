"""The smaller rooms of the torch namespace: func, checkpoint, amp, testing, masked, signal, hub, and their examples."""

from __future__ import annotations

import doctest
import functools
import hashlib
import importlib
import pickle
from contextlib import nullcontext

import numpy as np
import pytest

import flambeau as torch
from flambeau import func, profiler
from flambeau.core import config, dtypes, nests
from flambeau.nn.attention import flex_attention
from flambeau.testing import assert_close, make_tensor
from flambeau.utils import checkpoint as checkpoints
from flambeau.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential

MODULES = [
    "amp", "compiler", "distributions.composed", "distributions.continuous", "distributions.discrete", "distributions.kl",
    "distributions.multivariate", "distributions.utils", "func", "jit", "masked", "core.nests", "nn.attention", "nn.attention.flex_attention",
    "nn.modules.sync_batchnorm", "profiler", "return_types", "testing.comparison", "testing.creation", "utils.checkpoint", "utils.tensorboard.writer", "utils.tensorboard.events", "utils.tensorboard.messages",
    "_utils", "_C.graph", "_C._functorch",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"flambeau.{name}")
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert results.attempted and not results.failed


@pytest.mark.parametrize(
    "name",
    [
        "accelerator", "amp", "compiler", "cpu", "cuda", "cuda.amp", "distributed", "distributions", "func", "hub", "jit",
        "masked", "mps", "multiprocessing", "nn.attention", "onnx", "overrides", "profiler", "return_types", "signal.windows",
        "testing", "utils.checkpoint", "utils.dlpack", "xpu",
    ],
)  # fmt: skip
def test_rooms_are_entered_by_attribute(name):
    functools.reduce(getattr, name.split("."), torch)


# --- func --------------------------------------------------------------------------------------------------------


def test_gradients_of_samples_are_the_gradients_of_single_calls():
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2)
    parameters = dict(net.named_parameters())
    x, target = torch.randn(4, 3), torch.randn(4, 2)

    def loss(parameters, x, target):
        return torch.nn.functional.mse_loss(func.functional_call(net, parameters, (x,)), target)

    rows = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(parameters, x, target)
    for i in range(4):
        net.zero_grad()
        loss(parameters, x[i], target[i]).backward()
        assert_close(rows["weight"][i], net.weight.grad)


def test_derivatives_compose():
    x = torch.tensor([0.5, -1.0], dtype=torch.float64)
    assert_close(func.jacfwd(func.jacrev(torch.sin))(x)[1, 1, 1], -x[1].sin())
    assert_close(func.vmap(func.grad(func.grad(torch.exp)))(x), x.exp())
    value, tangent = func.jvp(lambda x: x**3, (x,), (torch.ones_like(x),))
    assert_close((value, tangent), (x**3, 3 * x**2))
    assert not tangent.requires_grad


def test_gradients_reach_tensors_outside():
    w, x = torch.tensor([2.0], requires_grad=True), torch.tensor([3.0])
    func.grad(lambda x: (x * x * w).sum())(x).sum().backward()
    assert w.grad.item() == 6


def test_vmap():
    x = torch.arange(6.0).reshape(2, 3)
    assert_close(func.vmap(lambda a: a * 2, in_dims=1, out_dims=1)(x), x * 2)
    out = func.vmap(lambda a, b: {"sum": a.sum(), "pair": (a, b)}, in_dims=(0, None))(x, 1 + x[0])
    assert out["sum"].shape == (2,) and out["pair"][1].shape == (2, 3)
    with pytest.raises(ValueError, match="same size in the mapped dimension"):
        func.vmap(torch.add)(x, torch.ones(3))
    with pytest.raises(RuntimeError, match="randomness error mode"):
        func.vmap(torch.rand_like)(x)
    same = func.vmap(torch.rand_like, randomness="same")(x)
    assert_close(same[0], same[1])


# --- checkpoint --------------------------------------------------------------------------------------------------


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        *[torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.3), torch.nn.Tanh()) for _ in range(3)]
    )


def gradients(run):
    net, x = network(), torch.arange(8.0).reshape(2, 4).requires_grad_()
    torch.manual_seed(1)
    run(net, x).pow(2).sum().backward()
    return [x.grad, *(p.grad for p in net.parameters())], torch.rand(1)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoint_gives_the_same_gradients(use_reentrant, monkeypatch):
    monkeypatch.setattr(
        config, "compiled", False
    )  # a plan's last bits differ, and which traces have one depends on what ran before
    expected = gradients(lambda net, x: net(x))
    assert_close(gradients(lambda net, x: checkpoint(net, x, use_reentrant=use_reentrant)), expected, rtol=0, atol=0)
    by_parts = gradients(lambda net, x: checkpoint_sequential(net, 2, x, use_reentrant=use_reentrant))
    assert_close(by_parts, expected, rtol=0, atol=0)


def test_pieces_of_checkpoints():
    expected = gradients(lambda net, x: net(x))
    found = gradients(lambda net, x: checkpoints.CheckpointFunction.apply(net, True, x))
    assert_close(found, expected)
    x = torch.ones(2, requires_grad=True)
    (inner, number) = checkpoints.detach_variable((x * 2, 3))
    assert inner.is_leaf and inner.requires_grad and number == 3
    with pytest.raises(RuntimeError, match="Only tuple of tensors is supported"):
        checkpoints.detach_variable(x)
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoints.check_backward_validity([x.detach(), 3])
    checkpoints.set_device_states(*checkpoints.get_device_states(x))
    with pytest.raises(RuntimeError, match="no accelerators"):
        checkpoints.set_device_states([0], [x])


def test_checkpoint_runs_the_function_again_once():
    calls = []

    def function(x):
        calls.append(1)
        return (x.sin() * x).exp()

    x = torch.ones(3, requires_grad=True)
    y = checkpoint(function, x, use_reentrant=False)
    assert len(calls) == 1
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert len(calls) == 2
    g.sum().backward()
    assert len(calls) == 3  # what a pass has not needed is not kept for the next
    z = torch.ones(3, requires_grad=True)
    torch.autograd.grad((z.sin() * z).exp().sum(), z, create_graph=True)[0].sum().backward()
    assert_close(x.grad, z.grad)


def test_checkpoint_of_a_function_that_changes():
    calls = []

    def function(x):
        calls.append(1)
        return x.sin().exp() if len(calls) == 1 else results[len(calls)](x)

    results = {2: lambda x: x.sin(), 3: lambda x: x.sin().exp().cos(), 4: lambda x: x.repeat(2).sin().exp()}
    x = torch.ones(2, requires_grad=True)
    with torch.utils.checkpoint.set_checkpoint_early_stop(False):
        y = checkpoint(function, x, use_reentrant=False)
    for message in ("A different number of tensors was saved", "trying to save more tensors", "have different metadata"):
        with pytest.raises(CheckpointError, match=message):
            y.sum().backward(retain_graph=True)


@pytest.mark.parametrize("early_stop", [True, False])
def test_checkpoint_of_a_function_that_takes_gradients(early_stop):
    def part(x):
        return x.sin().exp().sin()

    def gradient(of, keep):
        def function(x):
            with torch.enable_grad():
                return torch.autograd.grad(keep(of, x).sum(), x, create_graph=True)[0]

        return function

    def plainly(f, x):
        return f(x)

    def again(f, x):
        return checkpoint(f, x, use_reentrant=False)

    x = torch.linspace(-1, 1, 4).requires_grad_()
    expected = torch.autograd.grad(gradient(part, plainly)(x).sum(), x)[0]
    with torch.utils.checkpoint.set_checkpoint_early_stop(early_stop):
        for inner, outer in ((again, plainly), (plainly, again), (again, again)):
            assert_close(torch.autograd.grad(outer(gradient(part, inner), x).sum(), x)[0], expected)


def test_checkpoint_stops_early_and_nests():
    log = []

    def said(x, what):
        log.append(what)
        return x

    def inner(x):
        return said(said(x.sin(), "inner").cos(), "behind")

    def outer(x):
        return said(checkpoint(inner, said(x.exp(), "outer"), use_reentrant=False), "end").sin()

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x * 2)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return ctx.saved_tensors[0] * g

    for early_stop in (True, False):
        x = torch.ones(3, requires_grad=True)
        log.clear()
        with torch.utils.checkpoint.set_checkpoint_early_stop(early_stop):
            checkpoint(lambda x: Twice.apply(outer(x)), x, use_reentrant=False).sum().backward()
        z = torch.ones(3, requires_grad=True)
        (z.exp().sin().cos().sin() ** 2).sum().backward()
        assert_close(x.grad, z.grad)
        assert log.count("outer") == 2 and log.count("inner") == 3 and log.count("behind") == (2 if early_stop else 3)


def test_checkpoint_warns():
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
        checkpoint(torch.sin, torch.ones(1, requires_grad=True))
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        assert not checkpoint(torch.nn.Linear(1, 1), torch.ones(1), use_reentrant=True).requires_grad


# --- amp ---------------------------------------------------------------------------------------------------------


def test_autocast():
    x, net = torch.ones(2, 3), torch.nn.Linear(3, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
        assert y.dtype is torch.bfloat16 and (x + x).dtype is torch.float32
        assert torch.nn.functional.mse_loss(y, torch.zeros(2, 2)).dtype is torch.float32
        assert torch.cat([y, torch.zeros(2, 2)]).dtype is torch.float32
        with torch.autocast("cpu", enabled=False):
            assert (x @ x.T).dtype is torch.float32
    assert (x @ x.T).dtype is torch.float32
    y.sum().backward()
    assert net.weight.grad.dtype is torch.float32
    with pytest.warns(UserWarning, match="CUDA is not available"), torch.autocast("cuda"):
        assert (x @ x.T).dtype is torch.float32


def test_grad_scaler_leaves_out_infinite_steps():
    w = torch.nn.Parameter(torch.tensor(1.0))
    optimizer, scaler = torch.optim.SGD([w], lr=0.1), torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    for factor, scale, value in ((1.0, 8.0, 0.9), (float("inf"), 4.0, 0.9)):
        optimizer.zero_grad()
        scaler.scale(w * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() == scale
        assert_close(w.detach(), torch.tensor(value))
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
        scaler.unscale_(optimizer)


# --- testing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actual", "expected", "settings", "message"),
    [
        (1.0, 2.0, {}, "Scalars are not close!"),
        (torch.tensor([1, 2]), torch.tensor([1, 3]), {}, "Tensor-likes are not equal!"),
        (torch.ones(2), torch.ones(3), {}, "attribute 'shape' do not match"),
        (torch.ones(2), torch.ones(2).double(), {}, "attribute 'dtype' do not match"),
        ({"a": torch.ones(1)}, {"a": torch.zeros(1)}, {}, r"The failure occurred for item \['a'\]"),
        ([1], [1, 2], {}, "length of the sequences mismatch"),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")]), {}, "Greatest absolute difference: nan"),
        (torch.ones(1), torch.zeros(1), {"msg": "mine"}, "^mine$"),
        (torch.ones(1), torch.zeros(1), {"msg": lambda m: "mine: " + m}, "^mine: Tensor-likes are not close"),
    ],
)
def test_assert_close_refuses(actual, expected, settings, message):
    with pytest.raises(AssertionError, match=message):
        assert_close(actual, expected, **settings)


def test_assert_close_accepts():
    assert_close({"a": [torch.ones(1), 2.0], "b": None}, {"a": [torch.ones(1) + 1e-6, 2.0], "b": None})
    assert_close(torch.tensor([float("nan")]), torch.tensor([float("nan")]), equal_nan=True)
    assert_close(np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="must be either specified or omitted"):
        assert_close(1.0, 1.0, rtol=1.0)
    with pytest.raises(TypeError, match="No comparison pair was able to handle"):
        assert_close(torch.ones(1), "a")


def test_make_tensor():
    x = make_tensor((20, 3), dtype=torch.float32, device="cpu", low=-1, high=2, requires_grad=True)
    assert x.requires_grad and x.min() >= -1 and x.max() <= 2
    assert not make_tensor((2, 3), dtype=torch.int8, device="cpu", noncontiguous=True).is_contiguous()
    assert (make_tensor(50, dtype=torch.int64, device="cpu", low=0, high=2, exclude_zero=True) != 0).all()


# --- the others --------------------------------------------------------------------------------------------------


def test_masked_counts_what_the_mask_selects():
    torch.manual_seed(0)
    x, mask = torch.randn(5, 6, dtype=torch.float64), torch.rand(5, 6) < 0.6
    chosen = x[mask]
    for name in ("sum", "prod", "amax", "amin", "mean", "var", "std", "logsumexp"):
        expected = chosen.logsumexp(0) if name == "logsumexp" else getattr(chosen, name)()
        assert_close(getattr(torch.masked, name)(x, mask=mask), expected)
    soft = torch.masked.softmax(x, 1, mask=mask)
    assert_close(soft.sum(1), torch.ones(5, dtype=torch.float64))
    assert (soft[~mask] == 0).all()


def test_return_types():
    assert type(torch.ones(2, 2).sort()) is torch.return_types.sort
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        torch.return_types.nothing  # noqa: B018


def test_sync_batchnorm_keeps_the_tensors():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.ReLU())
    new = torch.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert isinstance(new[0], torch.nn.SyncBatchNorm) and new[0].weight is net[0].weight
    x = torch.arange(12.0).reshape(4, 3)
    assert_close(new(x), torch.nn.BatchNorm1d(3)(x).relu())


def test_hub_downloads_once(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "source.pt")
    digits = hashlib.sha256((tmp_path / "source.pt").read_bytes()).hexdigest()[:8]
    source = tmp_path / f"net-{digits}.pt"
    (tmp_path / "source.pt").rename(source)
    folder = tmp_path / "cache"
    for _ in range(2):
        state = torch.hub.load_state_dict_from_url(source.as_uri(), str(folder), check_hash=True)
        assert_close(state["w"], torch.ones(2))
        source.unlink(missing_ok=True)
    wrong = folder / f"net-{'0' * 8}.pt"
    with pytest.raises(RuntimeError, match="invalid hash value"):
        torch.hub.download_url_to_file((folder / source.name).as_uri(), str(wrong), "00000000")
    assert not wrong.exists()


def test_declared_safe_classes_load_from_files(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LSTM(3, 2))
    torch.save(net, tmp_path / "net.pt")
    with torch.serialization.safe_globals([torch.nn.Sequential, torch.nn.Linear, torch.nn.LSTM]):
        loaded = torch.load(tmp_path / "net.pt")
    assert_close(loaded.state_dict(), net.state_dict())


def test_a_capsule_can_be_imported():
    x = torch.arange(3.0)
    y = torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x))
    y[0] = 7
    assert x[0] == 7


def test_flex_attention_is_attention():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, heads, 5, 4, dtype=torch.float64) for heads in (4, 2, 2))
    causal = flex_attention.create_block_mask(lambda b, h, q, kv: q >= kv, None, None, 5, 5)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    assert_close(flex_attention.flex_attention(q, k, v, block_mask=causal, enable_gqa=True), expected)
    with pytest.raises(ValueError, match="same number of heads"):
        flex_attention.flex_attention(q, k, v)


def test_profile_takes_the_times_of_the_steps_that_the_schedule_picks(tmp_path):
    schedule = profiler.schedule(wait=1, warmup=1, active=2, repeat=1)
    names = [schedule(step).name for step in range(5)]
    assert names == ["NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE", "NONE"]
    traces = []
    with profiler.profile(schedule=schedule, on_trace_ready=lambda p: traces.append(p.key_averages())) as p:
        for _ in range(6):
            with profiler.record_function("step"):
                pass
            p.step()
    assert [(row.key, row.count) for row in traces[0]] == [("step", 2)] and len(traces) == 1
    p.export_chrome_trace(tmp_path / "trace.json")


@pytest.mark.parametrize(
    "settings", [{}, {"enabled": False}, {"profile_memory": True}, {"use_cuda": True}, {"use_kineto": False}, {"size": 3}]
)
@pytest.mark.parametrize("module", [profiler, torch.autograd.profiler])
def test_profiles_do_what_they_are_told_or_say_that_they_do_not(module, settings):
    name = next(iter(settings), "")
    if name == "size":
        with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
            module.profile(**settings)
        return
    refused = {"profile_memory": "profile_memory=True has no effect", "use_cuda": "CUDA is not available"}.get(name)
    with (
        pytest.warns(UserWarning, match=refused) if refused else nullcontext(),
        module.profile(**settings) as p,
        module.record_function("part"),
    ):
        pass
    assert [row.key for row in p.key_averages()] == (["part"] if settings.get("enabled", True) else [])
    assert ("part" in p.table()) == settings.get("enabled", True)
    with pytest.raises(AttributeError, match="memory, modules and numbers of operations are not measured"):
        p.export_stacks  # noqa: B018
    for mark in (module.emit_nvtx, module.emit_itt):
        with pytest.raises(NotImplementedError, match=mark.__name__):
            mark()
    assert not torch.autograd.kineto_available() and module.supported_activities() == {module.ProfilerActivity.CPU}


def test_what_is_said_of_threads():
    said = [torch.autograd.is_multithreading_enabled()]
    with torch.autograd.set_multithreading_enabled(False):
        said.append(torch.autograd.is_multithreading_enabled())
    said.append(torch.autograd.is_multithreading_enabled())
    torch.autograd.set_multithreading_enabled(False)
    said.append(torch.autograd.is_multithreading_enabled())
    torch.autograd.set_multithreading_enabled(True)
    assert said == [True, False, True, False]


def test_nests_of_other_types():
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    nests.register_pytree_node(Pair, lambda p: ([p.a, p.b], None), lambda parts, context: Pair(*parts))
    doubled = nests.tree_map(lambda x: 2 * x, {"p": Pair(1, [2, 3])})
    assert doubled["p"].a == 2 and doubled["p"].b == [4, 6]
    with pytest.raises(ValueError, match="already registered"):
        nests.register_pytree_node(Pair, None, None)
    with pytest.raises(ValueError, match="has length 1"):
        nests.tree_unflatten([1], nests.tree_structure((1, 2)))


def test_constraints_have_transforms():
    constraints = torch.distributions.constraints
    x = torch.linspace(-3, 3, 8)
    for constraint in (
        constraints.positive,
        constraints.unit_interval,
        constraints.interval(-1.0, 5.0),
        constraints.less_than(2.0),
    ):
        y = torch.distributions.transform_to(constraint)(x)
        assert constraint.check(y).all()
        # 1e-4: the inverse of the sigmoid near 0 and 1, in float32
        assert_close(torch.distributions.biject_to(constraint).inv(y), x, rtol=1e-4, atol=1e-4)
    assert constraints.simplex.check(torch.distributions.biject_to(constraints.simplex)(x))


@pytest.mark.parametrize("dtype", dtypes.ABSENT, ids=str)
def test_dtypes_that_no_tensor_has(dtype):
    """Programs may name them and compare; whatever would make a tensor of one refuses."""
    x = torch.ones(2)
    assert isinstance(dtype, torch.dtype) and x.dtype != dtype and getattr(torch, dtype.name) is dtype
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    makers = [
        lambda: x.to(dtype), lambda: torch.zeros(2, dtype=dtype), lambda: torch.tensor([1], dtype=dtype), lambda: x.view(dtype),
        lambda: torch.empty(2, dtype=dtype), lambda: x.sum(dtype=dtype), lambda: torch.nn.Linear(2, 2, dtype=dtype),
    ]  # fmt: skip
    for make in makers:
        with pytest.raises((NotImplementedError, TypeError, RuntimeError)):
            make()


def test_private_operators_are_functions_of_torch():
    x = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    y = x.softmax(1)
    g = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    (expected,) = torch.autograd.grad(y, x, g)
    torch.testing.assert_close(torch._softmax_backward_data(g, y.detach(), 1, torch.float64), expected)
    assert not hasattr(torch, "_no_such_operator")


def test_ranges_of_nvtx_are_refused_when_they_are_made():
    from flambeau.cuda import nvtx

    with pytest.raises(RuntimeError, match="NVTX functions not installed"), nvtx.range("step {}", 1):
        pass
    with pytest.raises(RuntimeError, match="NVTX functions not installed"):
        nvtx.range_push("step")


def test_reductions_by_their_old_names():
    from flambeau.nn import _reduction

    assert [_reduction.get_enum(r) for r in ("none", "mean", "sum")] == [0, 1, 2]
    with pytest.raises(ValueError, match="often is not a valid value for reduction"):
        _reduction.get_enum("often")
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        assert torch.nn.MSELoss(size_average=False).reduction == "sum"
    assert _reduction.legacy_get_enum(True, False, emit_warning=False) == 0
