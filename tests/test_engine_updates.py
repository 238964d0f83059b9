"""Updates in place by formulas: optimizers, clipping and averages are the same in every mode, and are recorded in few nodes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau as torch
from flambeau import dispatch
from flambeau.core import config
from flambeau.engine import graph, plans, verify
from flambeau.engine.run import run_pending

MODES = ["immediate", "interpreted"]
try:
    import llvmlite  # noqa: F401

    MODES += ["compiled", "compiled after one run"]
except ImportError:
    pass

CASES = [
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1, "maximize": True}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"betas": (0.3, 0.9), "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"weight_decay": 0.1}),
    ("AdamW", {"amsgrad": True}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("RMSprop", {"weight_decay": 0.1}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("Adamax", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"weight_decay": 0.1}),
    ("RAdam", {"betas": (0.9, 0.7), "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("Rprop", {}),
    ("ASGD", {"weight_decay": 0.1, "t0": 3}),
]  # fmt: skip


@pytest.fixture
def mode(monkeypatch):
    """Sets the mode that tensors are computed in."""

    def enter(name: str) -> None:
        run_pending()
        monkeypatch.setattr(config, "eager", name == "immediate")
        monkeypatch.setattr(config, "compiled", name.startswith("compiled"))
        monkeypatch.setattr(config, "compile_after", int(name == "compiled after one run"))

    yield enter
    run_pending()


def grads_of(params, t):
    rng = np.random.default_rng(t)
    return [torch.tensor(rng.standard_normal(p.shape), dtype=p.dtype) for p in params]


def trained(name, options, dtype=torch.float32, steps=8):
    """Parameters and state after steps whose learning rate changes each time."""
    rng = np.random.default_rng(0)
    params = [torch.nn.Parameter(torch.tensor(rng.standard_normal(s), dtype=dtype)) for s in ((3, 5), (), (0, 2), (70,))]
    optimizer = getattr(torch.optim, name)(params, **options)
    for t in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = 0.1 / t
        for p, g in zip(params, grads_of(params, t), strict=True):
            p.grad = g
        optimizer.step()
        optimizer.zero_grad()
        run_pending()
    found = [p.detach().numpy().copy() for p in params]
    for p in params:
        found += [v.numpy().copy() for _, v in sorted(optimizer.state.get(p, {}).items())]
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name, options", CASES)
def test_every_mode_takes_the_same_steps(mode, name, options, dtype):
    results = []
    for each in MODES:
        mode(each)
        results.append(trained(name, options, dtype))
    for found in results[1:]:
        for a, b in zip(results[0], found, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_every_mode_takes_the_same_steps_in_half_precision(mode, name):
    results = []
    for each in MODES:
        mode(each)
        w = torch.nn.Parameter(torch.linspace(-2, 2, 7).to(torch.bfloat16))
        optimizer = getattr(torch.optim, name)([w], lr=0.1)
        for t in range(1, 5):
            w.grad = torch.linspace(-1, t, 7).to(torch.bfloat16)
            optimizer.step()
        results.append(w.tolist())
    assert all(found == results[0] for found in results)


@pytest.mark.parametrize(
    "name, options, nodes",
    [
        ("SGD", {"weight_decay": 0.1}, 1),
        ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, 2),
        ("Adam", {"weight_decay": 0.1}, 3),
        ("AdamW", {}, 3),
        ("AdamW", {"amsgrad": True}, 4),
        ("RMSprop", {"momentum": 0.9, "centered": True}, 4),
        ("Adagrad", {}, 2),
        ("Adadelta", {}, 4),  # and the step, which both the parameter and its average take
        ("NAdam", {}, 3),
        ("RAdam", {}, 3),
        ("Adamax", {}, 3),
        ("ASGD", {}, 2),
        ("Rprop", {}, 3),
    ],
)
def test_a_step_is_one_node_for_each_new_content(mode, name, options, nodes, monkeypatch):
    monkeypatch.setattr("flambeau.optim.hooks.run_ahead", lambda: None)  # a step runs what it has recorded
    mode("interpreted")
    params = [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(4))]
    optimizer = getattr(torch.optim, name)(params, lr=0.1, **options)
    for p in params:
        p.grad = torch.ones(p.shape)
    optimizer.step()
    run_pending()
    optimizer.step()
    assert len(graph.trace) == nodes * len(params)


@pytest.mark.skipif("compiled" not in MODES, reason="needs llvmlite")
def test_a_schedule_needs_no_new_plan(mode):
    from flambeau.engine import plans

    mode("compiled")
    w = torch.nn.Parameter(torch.ones(11, 3))
    optimizer = torch.optim.AdamW([w], lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    counts = []
    for t in range(6):
        w.grad = torch.full((11, 3), t + 1.0)
        run_pending()
        optimizer.step()
        run_pending()
        schedule.step()
        counts.append(len(plans.plans))
    assert counts[1] == counts[-1]


@pytest.mark.skipif("compiled" not in MODES, reason="needs llvmlite")
@pytest.mark.parametrize("rows, columns, dim", [(5, 7, 0), (3000, 33, 0), (9, 2000, 1), (2, 70000, 1)])
def test_what_is_updated_by_sums_is_updated_in_place(mode, rows, columns, dim):
    from flambeau.engine import plans

    def steps():
        rng = np.random.default_rng(0)
        b = torch.nn.Parameter(torch.tensor(rng.standard_normal(columns if dim == 0 else rows)))
        optimizer = torch.optim.Adam([b], lr=0.1)
        for _ in range(4):
            x = torch.tensor(rng.standard_normal((rows, columns)))
            run_pending()
            b.grad = (x * x).sum(dim)
            optimizer.step()
            run_pending()
        return [b.detach().numpy(), *[v.numpy() for v in optimizer.state[b].values()]]

    mode("immediate")
    expected = steps()
    mode("compiled")
    plans.plans.clear()
    for a, e in zip(steps(), expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12)
    assert any(len(plan.in_place) == 3 for plan in plans.plans.values())


# --- memory that others see ----------------------------------------------------------------------------------


@pytest.mark.parametrize("each", MODES)
def test_memory_that_numpy_shares_is_updated_at_once(mode, each):
    mode(each)
    memory = np.ones(4, np.float32)
    w = torch.nn.Parameter(torch.from_numpy(memory))
    optimizer = torch.optim.SGD([w], lr=0.5, momentum=0.5)
    for expected in (0.5, -0.25):
        w.grad = torch.ones(4)
        optimizer.step()
        assert memory.tolist() == [expected] * 4


@pytest.mark.parametrize("each", MODES)
def test_parameters_that_are_parts_of_a_tensor(mode, each):
    mode(each)
    base = torch.zeros(2, 6)
    params = [torch.nn.Parameter(base[0]), torch.nn.Parameter(base[1, ::2]), torch.nn.Parameter(base.t()[1:2])]
    optimizer = torch.optim.SGD(params, lr=1.0, momentum=0.5)
    for _ in range(2):
        params[0].grad, params[1].grad, params[2].grad = torch.ones(6), torch.ones(3), torch.ones(1, 2)
        optimizer.step()
    assert base.tolist() == [[-2.5, -5, -2.5, -2.5, -2.5, -2.5], [-2.5, -2.5, -2.5, 0, -2.5, 0]]


@pytest.mark.parametrize("each", MODES)
def test_gradients_with_other_strides(mode, each):
    mode(each)
    grad = torch.arange(6.0).reshape(2, 3)
    w = torch.nn.Parameter(torch.zeros(3, 2))
    v = torch.nn.Parameter(torch.zeros(3, 2))
    optimizer = torch.optim.Adam([w, v], lr=0.5)
    for _ in range(3):
        w.grad, v.grad = grad.t(), torch.ones(1).expand(3, 2)
        optimizer.step()
        run_pending()
    np.testing.assert_allclose(optimizer.state[w]["exp_avg"].numpy(), grad.numpy().T * 0.271, rtol=1e-6)
    np.testing.assert_allclose(v.detach().numpy(), np.full((3, 2), -1.5), rtol=1e-6)


def test_what_replaces_a_parameter_or_its_state_is_updated(mode):
    mode("interpreted")
    w = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([w], lr=1.0, momentum=1.0)
    for _ in range(2):
        w.grad = torch.ones(3)
        optimizer.step()
    assert w.tolist() == [-3, -3, -3]
    w.data = torch.zeros(2, 2).t()
    optimizer.state[w]["momentum_buffer"] = torch.ones(4, 2)[::2]
    w.grad = torch.ones(2, 2)
    optimizer.step()
    assert w.tolist() == [[-2, -2], [-2, -2]]
    optimizer.state[w]["momentum_buffer"].data = torch.zeros(2, 2)
    optimizer.step()
    assert w.tolist() == [[-3, -3], [-3, -3]]


def test_a_step_count_follows_its_storage(mode):
    mode("interpreted")
    w = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([w])
    w.grad = torch.ones(3)
    optimizer.step()
    count = optimizer.state[w]["step"]
    count.data = torch.tensor(41.0)
    optimizer.step()
    assert count.item() == 42
    count += 1
    optimizer.step()
    assert count.item() == 44


# --- clipping, averages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", MODES)
@pytest.mark.parametrize("norm_type", [2, 1, 3.5, 0, math.inf, -math.inf])
def test_total_norms(mode, each, norm_type):
    mode(each)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in [(3, 4), (), (1,), *[(n,) for n in range(1, 25)]]]
    together = np.concatenate([a.reshape(-1) for a in arrays])
    expected = len(arrays) if norm_type == 0 else np.linalg.norm(together, norm_type)
    for _ in range(2):
        params = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
        for p, a in zip(params, arrays, strict=True):
            p.grad = torch.tensor(a)
        run_pending()
        total = torch.nn.utils.clip_grad_norm_(params, 0.5, norm_type)
        np.testing.assert_allclose(total.item(), expected, rtol=1e-12)
        factor = min(1, 0.5 / (expected + 1e-6))
        for p, a in zip(params, arrays, strict=True):
            np.testing.assert_allclose(p.grad.numpy(), a * factor, rtol=1e-12)


@pytest.mark.parametrize("each", MODES)
def test_total_norms_of_other_gradients(mode, each):
    mode(each)
    total_norm = torch.nn.utils.get_total_norm
    for _ in range(2):
        assert total_norm([torch.ones(2, 2, dtype=torch.bfloat16), torch.ones(12)]).item() == 4
        assert total_norm([torch.empty(0), torch.full((4,), 2.0)]).item() == 4
        assert math.isnan(total_norm([torch.ones(3), torch.tensor([math.nan, 1])], math.inf).item())
        assert total_norm([torch.ones(3), torch.tensor([-math.inf, 1])]).item() == math.inf
        assert total_norm([torch.tensor([3 + 4j]), torch.tensor([12j])]).item() == 13
        with pytest.raises(RuntimeError, match="is non-finite, so it cannot be clipped"):
            total_norm([torch.tensor([math.inf])], error_if_nonfinite=True)


@pytest.mark.parametrize("each", MODES)
def test_clipped_values(mode, each):
    mode(each)
    w = torch.nn.Parameter(torch.ones(4))
    for _ in range(2):
        w.grad = torch.tensor([-3.0, 0.5, math.nan, math.inf])
        torch.nn.utils.clip_grad_value_([w], 1)
        np.testing.assert_array_equal(w.grad.numpy(), [-1, 0.5, np.nan, 1])


@pytest.mark.parametrize("each", MODES)
def test_averages_leave_the_graph_pending(mode, each):
    mode(each)
    swa = torch.optim.swa_utils
    model = torch.nn.Linear(2, 1)
    average = swa.AveragedModel(model, multi_avg_fn=swa.get_ema_multi_avg_fn(0.5))
    with torch.no_grad():
        for value in (1.0, 3.0, 5.0):
            model.weight.fill_(value)
            average.update_parameters(model)
            if each == "interpreted":
                assert graph.trace
    assert average.module.weight.tolist() == [[3.5, 3.5]]
    assert average.n_averaged.item() == 3 and average.n_averaged.dtype is torch.int64


@pytest.mark.parametrize("each", MODES)
@pytest.mark.parametrize("ord", [2, 1, 2.5, 0, math.inf, -math.inf])
def test_vector_norms(mode, each, ord):
    mode(each)
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    x[0, 1, 2] = 0
    for _ in range(2):
        t = torch.tensor(x)
        for dim in (None, 1, (0, 2), (0, 1, 2)):
            if dim is None or dim == (0, 1, 2):
                expected = np.linalg.norm(x.reshape(-1), ord)
            else:
                rows = np.moveaxis(x, (0, 2), (0, 1)).reshape(15, 4) if dim == 1 else x.transpose(1, 0, 2).reshape(4, 15)
                expected = np.linalg.norm(rows, ord, axis=1).reshape((3, 5) if dim == 1 else (4,))
            np.testing.assert_allclose(torch.linalg.vector_norm(t, ord, dim).numpy(), expected, rtol=1e-12)
        low = torch.tensor(x, dtype=torch.float32)
        np.testing.assert_allclose(torch.linalg.vector_norm(low, ord, 2).numpy(), np.linalg.norm(x, ord, axis=2), rtol=1e-5)


@pytest.mark.parametrize("each", MODES)
def test_signs(mode, each):
    mode(each)
    for _ in range(2):
        special = torch.tensor([-0.0, 0.0, 2.5, -math.inf, math.nan])
        assert special.sign().tolist() == [0, 0, 1, -1, 0]
        assert torch.tensor([3, 0, -128], dtype=torch.int8).sign().tolist() == [1, 0, -1]
        assert torch.tensor([200, 0], dtype=torch.uint8).sign().tolist() == [1, 0]
        assert torch.tensor([True, False]).sign().tolist() == [True, False]


# --- updates that read what they write -----------------------------------------------------------------------

OVERLAPPING = {
    "transposed": lambda x: x.t(), "reversed": lambda x: x.reshape(-1)[::1].view(64, 64).transpose(0, 1), "row": lambda x: x[3],
    "column": lambda x: x[:, 5:6], "shifted": lambda x: torch.cat([x[1:], x[:1]]), "itself": lambda x: x, "corner": lambda x: x[0, 0],
    "diagonal": lambda x: x.diagonal(), "windows": lambda x: x.as_strided((64, 64), (1, 63)), "product": lambda x: x @ x,
    "total": lambda x: x.sum(0), "softmax": lambda x: x.t().softmax(-1), "picked": lambda x: x[torch.arange(63, -1, -1)],
}  # fmt: skip
write = dispatch.assign  # what in-place ops do; they refuse views of what they write to, but the engine does not rely on that
UPDATES = {
    "add_": lambda x, v: write(x, x + v), "sub_": lambda x, v: write(x, torch.sub(x, v, alpha=0.5)), "mul_": lambda x, v: write(x, x * v),
    "copy_": lambda x, v: x.copy_(v * 2), "lerp_": lambda x, v: write(x, x.lerp(v.expand(64, 64), 0.25)),
    "addcmul_": lambda x, v: write(x, x.addcmul(v, v)),
    "twice": lambda x, v: write(x, write(x, x + v) - (v.t() if v.dim() == 2 and v.shape[0] == v.shape[1] else v)),
    "rows": lambda x, v: write(x[1:], x[1:] + (v[:-1] if v.dim() == 2 and len(v) == 64 else v)),
    "columns": lambda x, v: write(x[:, ::2], x[:, ::2] - (v[..., ::2] if v.shape[-1:] == (64,) else v)),
}  # fmt: skip


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("view", OVERLAPPING)
def test_a_tensor_is_updated_from_views_of_itself(monkeypatch, view, verified):
    """``x.op_(view of x)``: the new content may lie in the old one's memory only where no element is read after it was written."""
    if not verified:  # the rule itself must be right
        monkeypatch.setattr(verify, "verify_targets", lambda plan: None)
    plans.clear()
    start = torch.arange(64.0 * 64).reshape(64, 64).remainder(17) / 16

    def runs(update):
        found = []
        for _ in range(4):
            x = start.clone()
            x.data_ptr()
            with torch.no_grad():
                try:
                    UPDATES[update](x, OVERLAPPING[view](x))
                except RuntimeError:  # some are refused, as in PyTorch
                    UPDATES[update](x, OVERLAPPING[view](x) * 1)
            found.append(x.numpy().copy())
        return found

    for update in UPDATES:
        monkeypatch.setattr(config, "compiled", False)
        wanted = runs(update)[0]
        monkeypatch.setattr(config, "compiled", True)
        for got in runs(update):
            np.testing.assert_allclose(got, wanted, 1e-5, 1e-5, err_msg=f"{update} of {view}")
