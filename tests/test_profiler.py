"""Profiles: an event for each op that a program calls, what is inside of which, their averages and tables."""

from __future__ import annotations

import json

import pytest

import flambeau as torch
from flambeau import dispatch
from flambeau.autograd.profiler_util import EventList, FunctionEvent
from flambeau.core import config
from flambeau.profiler import profile, record_function, schedule
from flambeau.utils.flop_counter import FlopCounterMode


def step(net, x):
    with record_function("forward"):
        y = net(x)
    y.sum().backward()


def profiled(steps: int = 1, **settings):
    net, x = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU()), torch.ones(4, 16)
    with profile(**settings) as p:
        for _ in range(steps):
            step(net, x)
    assert dispatch.watch is None
    return p


def test_ops_are_counted_in_each_repetition():
    counts = {row.key: row.count for row in profiled(30).key_averages()}
    assert counts["forward"] == counts["aten::linear"] == counts["aten::relu"] == counts["aten::addmm"] == 30
    assert counts["aten::mm"] == 30  # of the backward passes


def test_times_are_nested():
    events = profiled().events()
    forward = next(e for e in events if e.name == "forward")
    linear = next(e for e in events if e.name == "aten::linear")
    addmm = next(e for e in events if e.name == "aten::addmm")
    assert linear in forward.cpu_children and linear.cpu_parent is forward and addmm.cpu_parent is linear
    assert forward.is_user_annotation and not linear.is_user_annotation
    for e in events:
        assert e.time_range.start <= e.time_range.end and e.self_cpu_time_total >= 0
        for child in e.cpu_children:
            assert e.time_range.start <= child.time_range.start and child.time_range.end <= e.time_range.end
    tops = [e for e in events if e.cpu_parent is None]
    assert events.self_cpu_time_total == pytest.approx(sum(e.cpu_time_total for e in tops))


def test_ops_wait_as_without_a_profile():
    with profile() as p:
        y = torch.ones(3).exp()
        assert y._storage.node.value is None
    assert y._storage.node.value is not None
    assert {row.key: row.count for row in p.key_averages()} == {"aten::ones": 1, "aten::exp": 1, "flambeau::run": 1}


def named(events, name):
    return next(e for e in events if e.name == name)


@pytest.mark.parametrize("compiled", [False, True])
def test_kernels_belong_to_the_calls_that_asked_for_them(monkeypatch, compiled):
    if compiled:
        pytest.importorskip("llvmlite")
    for name, value in (("eager", False), ("compiled", compiled), ("compile_after", 0)):
        monkeypatch.setattr(config, name, value)
    x, w = torch.randn(20, 30), torch.randn(30, 40, requires_grad=True)
    torch.synchronize()
    expected = torch.autograd.grad((torch.mm(x, w) * 2).tanh().sum(), w)[0].tolist()
    w = w.detach().requires_grad_()
    with profile() as p:
        (torch.mm(x, w) * 2).tanh().sum().backward()
        w.grad.sum().item()
    assert torch.allclose(w.grad, torch.tensor(expected))
    events = p.events()
    assert sum(e.kernel_us for e in events) == pytest.approx(0, abs=1e-3)  # what calls get, running them gives
    by_id = {e.id: e.name for e in events}
    for kernel in events.ran:
        assert kernel.us > 0 and kernel.events
    product = next(k for k in events.ran if k.name == "mm")
    assert [by_id[i] for i in product.events] == ["aten::mm"] and named(events, "aten::mm").kernel_us == pytest.approx(product.us)
    loop = next(k for k in events.ran if "tanh" in k.name)
    assert ("aten::mul" in {by_id[i] for i in loop.events}) == (loop.kind == "loop") == compiled


def test_what_a_value_waits_for_is_inside_of_what_asked_for_it():
    x = torch.ones(50, 50)
    torch.synchronize()
    with profile() as p, record_function("ask"):
        (x @ x).sum().item()
    assert named(p.events(), "flambeau::run").cpu_parent.name == "ask"
    assert named(p.events(), "aten::sum").time_range.end <= named(p.events(), "flambeau::run").time_range.start


def test_a_forward_pass_whose_result_nobody_reads():
    net, x = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.Tanh()), torch.ones(40, 30)
    torch.synchronize()
    with profile() as p:
        for _ in range(3):
            net(x)
    tanh = [e for e in p.events() if e.name == "aten::tanh"]
    assert len(tanh) == 3 and all(e.kernel_us > 0 for e in tanh)
    linear = [e for e in p.events() if e.name == "aten::addmm"]
    assert len(linear) == 3 and all(e.kernel_us > 0 for e in linear)


def test_a_product_is_no_rectifier_where_one_kernel_computes_both(monkeypatch):
    pytest.importorskip("llvmlite")
    for name, value in (("eager", False), ("compiled", True), ("compile_after", 0)):
        monkeypatch.setattr(config, name, value)
    net, x = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.ReLU()), torch.ones(100, 300)
    torch.synchronize()
    with profile() as p:
        net(x).sum().item()
    product = next(k for k in p.events().ran if k.name == "addmm")
    assert named(p.events(), "aten::addmm").kernel_us == pytest.approx(product.us)
    assert named(p.events(), "aten::relu").kernel_us < product.us


def test_lines():
    with profile(with_stack=True) as p:
        torch.ones(2).exp()  # this line
    assert __file__ in named(p.events(), "aten::exp").stack[0]
    rows = p.key_averages(group_by_stack_n=1)
    assert "test_lines" in rows.table() and "Source Location" in rows.table() and "Source Location" not in p.key_averages().table()


def test_page(tmp_path):
    p = profiled(3, with_stack=True, record_shapes=True)
    p.export_html(tmp_path / "profile.html")
    text = (tmp_path / "profile.html").read_text(encoding="utf-8")
    shown = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert len(shown["calls"]) == len(p.events()) and len(shown["kernels"]) == len(p.events().ran)
    sums = {row[0]: row[2] + row[3] for row in shown["tables"]["ops"]}
    assert sum(sums.values()) == pytest.approx(p.self_cpu_time_total, rel=1e-3)
    assert any("test_profiler.py" in row[0] for row in shown["tables"]["lines"])


def test_shapes():
    p = profiled(record_shapes=True)
    by_shape = {(row.key, str(row.input_shapes[:3])): row.count for row in p.key_averages(group_by_input_shape=True)}
    assert by_shape["aten::linear", "[[4, 16], [8, 16], [8]]"] == 1
    assert by_shape["aten::sum", "[[4, 8]]"] == 1
    assert "Input Shapes" in p.key_averages(group_by_input_shape=True).table()
    assert "Input Shapes" not in p.key_averages().table()
    with profile(record_shapes=True) as p:
        torch.cat([torch.ones(2, 3), torch.ones(1, 3)], 0)
    assert [e.input_shapes for e in p.events() if e.name == "aten::cat"][0] == [[[2, 3], [1, 3]], []]


def events_of(*times):
    events = EventList(FunctionEvent(i, name, 1, start, end) for i, (name, start, end) in enumerate(times))
    for outer in events:
        for inner in events:
            if (
                outer is not inner
                and outer.time_range.start <= inner.time_range.start
                and inner.time_range.end <= outer.time_range.end
            ):
                outer.append_cpu_child(inner)
                inner.set_cpu_parent(outer)
    return events


def test_table():
    averages = events_of(
        ("aten::linear", 0.0, 2000.0), ("aten::addmm", 500.0, 2000.0), ("aten::relu", 3000.0, 3500.0)
    ).key_averages()
    rule = "  ".join(["-" * 16] + ["-" * 12] * 6)
    assert [line.rstrip() for line in averages.table(sort_by="self_cpu_time_total", row_limit=2).splitlines()] == [
        rule,
        "            Name    Self CPU %      Self CPU   CPU total %     CPU total  CPU time avg    # of Calls",
        rule,
        "     aten::addmm        60.00%       1.500ms        60.00%       1.500ms       1.500ms             1",
        "    aten::linear        20.00%     500.000us        80.00%       2.000ms       2.000ms             1",
        rule,
        "Self CPU time total: 2.500ms",
    ]
    assert "0.002s" in averages.table(time_unit="s")
    assert EventList().table() == ""
    total = averages.total_average()
    assert (total.key, total.count, total.self_cpu_time_total) == ("Total", 3, 2500.0)


def test_tables_say_what_times_are():
    assert profiled().key_averages().table().rstrip().endswith("divided among its ops.")


def test_schedule_and_trace(tmp_path):
    ready = []
    plan = schedule(wait=1, warmup=1, active=2, repeat=2)
    with profile(schedule=plan, on_trace_ready=lambda p: ready.append({r.key: r.count for r in p.key_averages()})) as p:
        for _ in range(10):
            torch.ones(2).exp()
            p.step()
    assert [r["aten::exp"] for r in ready] == [2, 2]
    p.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["ph"] for e in events if e["name"] == "aten::exp"] == ["X", "X"]
    assert any(e["cat"] == "kernel" and "exp" in e["name"] for e in events)


def test_errors_and_other_observers():
    with profile() as p, pytest.raises(RuntimeError), record_function("wrong"):
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert p.events()[-1].time_range.end > 0 and dispatch.watch is None
    outer, counter = profile(), FlopCounterMode(display=False)
    with outer, counter, profile() as inner:
        torch.mm(torch.ones(2, 3), torch.ones(3, 4))
    assert counter.get_total_flops() == 48 and dispatch.watch is None
    for p in (outer, inner):
        assert [e.name for e in p.events()].count("aten::mm") == 1


@pytest.mark.parametrize("first", [0, 1])
def test_profiles_end_in_any_order(first):
    both = [profile(), profile()]
    for p in both:
        p.start()
    both[first].stop()
    torch.ones(2).exp()
    both[1 - first].stop()
    assert dispatch.watch is None
    assert ["aten::exp" in [e.name for e in p.events()] for p in both] == [first == 1, first == 0]
