"""Profiles and their tables beside PyTorch's."""

from __future__ import annotations

import json

import pytest

import flambeau

torch = pytest.importorskip("torch")


def events(library):
    util = pytest.importorskip(f"{library.__name__}.autograd.profiler_util")
    made = util.EventList()
    rows = [("aten::linear", 0.0, 2000.0, [[4, 16], [8, 16], [8]]), ("aten::addmm", 500.0, 2000.0, [[8], [4, 16], [16, 8]]), ("part", 2500.0, 2e6, []),
            ("aten::relu", 3000.0, 3000.5, [[4, 8]]), ("aten::addmm", 4000.0, 4100.0, [[8], [4, 16], [16, 8]]), ("x" * 70, 5000.0, 5001.0, [[1]])]  # fmt: skip
    for i, (name, start, end, shapes) in enumerate(rows):
        made.append(util.FunctionEvent(id=i, name=name, thread=1, start_us=start, end_us=end, input_shapes=shapes, stack=[]))
    made[0].append_cpu_child(made[1])
    made[1].set_cpu_parent(made[0])
    for child in made[3:]:
        made[2].append_cpu_child(child)
        child.set_cpu_parent(made[2])
    made._tree_built = True
    return made


TABLES = {
    "as it is": "table()",
    "sorted": "table(sort_by='self_cpu_time_total')",
    "averages": "key_averages().table(sort_by='cpu_time_total')",
    "by shape": "key_averages(group_by_input_shapes=True).table(sort_by='count')",
    "few rows": "key_averages().table(sort_by='cpu_time_total', row_limit=2)",
    "unit": "key_averages().table(time_unit='ms')",
    "header": "table(header='What took long')",
    "top": "table(top_level_events_only=True)",
    "wide": "table(max_name_column_width=None)",
    "narrow": "table(max_name_column_width=20, max_shapes_column_width=15)",
    "total": "total_average().cpu_time_total_str",
    "none": "__class__().table()",
    "of itself": "__str__()",
    "time": "self_cpu_time_total",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name):
    ours, theirs = (eval(f"made.{TABLES[name]}", {"made": events(library)}) for library in (flambeau, torch))
    assert ours == theirs


def test_rows_of_a_program(tmp_path):
    wanted = (
        "forward",
        "aten::linear",
        "aten::addmm",
        "aten::relu",
        "aten::mm",
        "aten::conv2d",
        "aten::max_pool2d",
        "aten::cat",
        "aten::softmax",
    )
    found = []
    for library in (flambeau, torch):
        nn = library.nn
        net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 5))
        with library.profiler.profile(record_shapes=True) as p:
            for _ in range(3):
                with library.profiler.record_function("forward"):
                    y = net(library.ones(4, 2, 6, 6))
                library.cat([y, y]).softmax(0).sum().backward()
                y.sum().item()
        of_any_shape = ("aten::cat", "aten::mm")  # a product may be of the transposed factors
        rows = {
            (r.key, str(r.input_shapes[:1])): r.count for r in p.key_averages(True) if r.key in wanted and r.key not in of_any_shape
        }
        found.append((rows, {r.key: r.count for r in p.key_averages() if r.key in of_any_shape}))
        p.export_chrome_trace(str(tmp_path / "trace.json"))
        traced = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
        found[-1] += ({e["cat"] for e in traced if e["ph"] == "X" and e["name"] in wanted},)
    assert found[0] == found[1]


def test_stretches_by_their_operators():
    def names(t):
        with t.profiler.profile() as p:
            handle = t.ops.profiler._record_function_enter("part")
            t.ops.profiler._record_function_exit(handle)
        return [event.name for event in p.events() if "::" not in event.name], str(
            t.ops.profiler._record_function_enter.default._schema
        )

    assert names(flambeau) == names(torch)
