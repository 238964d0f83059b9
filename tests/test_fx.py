"""``torch.fx`` without PyTorch: observed graphs, passes for inference, and what stands beside the tracer."""

from __future__ import annotations

import operator

import pytest

import flambeau as torch
from flambeau import fx, nn
from flambeau.fx.experimental.optimization import fuse, remove_dropout
from flambeau.fx.experimental.proxy_tensor import make_fx
from flambeau.fx.operator_schemas import normalize_function, normalize_module
from flambeau.fx.passes.tools_common import get_node_target, legalize_graph


def test_make_fx_of_functions_and_modules():
    def f(x, pair):
        y = torch.cat([x, pair[0]]) * pair[1]["k"]
        y[0] = 1.0
        return y.sum(0, keepdim=True), y.shape[0] * y

    x, pair = torch.ones(2, 3), (torch.zeros(1, 3), {"k": torch.tensor(2.0)})
    made = make_fx(f, tracing_mode="symbolic")(x, pair)
    for n in (2, 5):
        given = torch.ones(n, 3), pair[0], pair[1]["k"]
        for a, b in zip(made(*given), f(given[0], pair), strict=True):
            assert torch.equal(a, b)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    graph = make_fx(net)(torch.ones(2, 3))
    assert torch.equal(graph(torch.ones(2, 3)), net(torch.ones(2, 3)))
    assert sorted(n for n, _ in graph.named_parameters()) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    with pytest.raises(AssertionError, match="tracing_mode"):
        make_fx(f, tracing_mode="no")


def test_batch_norm_is_folded_and_dropout_removed():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    for _ in range(3):
        net(torch.randn(4, 1, 8, 8))
    net.eval()
    x = torch.randn(2, 1, 8, 8)
    fused = fuse(net)
    assert not any(isinstance(fused.get_submodule(n.target), nn.BatchNorm2d) for n in fused.graph.nodes if n.op == "call_module")
    assert torch.allclose(fused(x), net(x), atol=1e-5) and isinstance(net[1], nn.BatchNorm2d)
    plain = remove_dropout(net.train())
    assert "_3" not in [n.name for n in plain.graph.nodes]


def test_arguments_in_one_form():
    args, kwargs = normalize_function(torch.nn.functional.softmax, (1,), {"dim": 2})
    assert args == (1,) and kwargs["dim"] == 2 and kwargs["dtype"] is None
    assert normalize_module(nn.Sequential(nn.ReLU()), "0", (1,), normalize_to_only_use_kwargs=True).kwargs == {"input": 1}
    assert normalize_function(torch.relu, (1, 2, 3, 4)) is None


def test_order_and_names():
    traced = fx.symbolic_trace(lambda x: torch.relu(x + 1))
    nodes = {n.name: n for n in traced.graph.nodes}
    nodes["relu"].append(nodes["add"])
    with pytest.raises(RuntimeError, match="used before it has been defined"):
        traced.graph.lint()
    legalize_graph(traced).graph.lint()
    assert traced(torch.tensor([-3.0])).tolist() == [0.0]
    assert get_node_target({}, nodes["relu"]) == "torch.relu" and get_node_target({}, nodes["add"]) == "_operator.add"


def test_a_traced_assert_and_einsum():
    class Asserts(fx.Tracer):
        trace_asserts = True

    scope = {"torch": torch}  # pytest rewrites asserts in this file
    exec('def f(x):\n    assert x.sum() > 0, "positive"\n    return torch.einsum("i,i->", (x, x))', scope)
    graph = Asserts().trace(scope["f"])
    made = fx.GraphModule(nn.Module(), graph)
    assert made(torch.ones(2)).item() == 2.0
    with pytest.raises(AssertionError):
        made(-torch.ones(2))


def test_constant_shapes_of_parameters():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 3))

        def forward(self, x):
            return x * 2 if self.weight.shape[0] == 2 else x

    graph = fx.Tracer(param_shapes_constant=True).trace(Net())
    assert [n.target for n in graph.nodes if n.op == "call_function"] == [operator.mul]
    with pytest.raises(fx.proxy.TraceError):
        fx.Tracer().trace(Net())


def test_tasks_of_scripts():
    assert torch.jit.wait(torch.jit.fork(lambda a, b: a + b, torch.ones(1), b=2)).item() == 3.0
    assert torch.jit.export_opnames(torch.jit.trace(lambda x: x.relu() + 1, torch.ones(1))) == ["aten::add", "aten::relu"]
    with pytest.raises(NotImplementedError, match="does not compile text"):
        torch.jit.CompilationUnit("def f(x): return x")
