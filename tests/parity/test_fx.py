"""Traced programs beside PyTorch's: the graphs, the code, and what it computes."""

from __future__ import annotations

import copy
import operator
import pickle

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402


def _net(t):
    t.manual_seed(0)

    class Net(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer1 = t.nn.Sequential(t.nn.Linear(4, 6), t.nn.ReLU(), t.nn.Linear(6, 4))
            self.blocks = t.nn.ModuleList([t.nn.Linear(4, 4) for _ in range(2)])
            self.scale = t.nn.Parameter(t.full((4,), 2.0))
            self.register_buffer("shift", t.arange(4.0))

        def forward(self, x, flag=True, *, gain=1.0):
            for block in self.blocks:
                x = x + block(x)
            x = self.layer1(x) * self.scale + self.shift
            n, c = x.shape
            y = x.view(n, c // 2, 2).sum(-1)
            return {"y": y * gain, "x": (x[:, 1:], -x.mean(dim=1, keepdim=True))}

    return Net()


def symbols(t):
    """Operators, methods, attributes, slices and constants."""

    def f(x, y=None, k=2, input=3):
        a = x * 2 - 3 / (x + 1.5) ** 2
        a += k
        b = a.size(0), a.shape[1]
        c = a.reshape(b[0], -1)[:, None, ..., 0:2]
        u, v = t.max(c, dim=-1)
        d = t.cat([u, u.neg()], dim=0).clamp(min=0.5)
        e = (d > 1) & ~(2 >= d) | (d == 0)
        g = t.ones(3).sum() + d
        return [t.where(e, d, g), (v, abs(d), 2**d, d % 2, d // 2), x.device]

    traced = t.fx.symbolic_trace(f)
    return str(traced.graph), traced.code, traced(t.arange(6.0).reshape(2, 3))[0].tolist()


def modules(t):
    traced = t.fx.symbolic_trace(_net(t))
    out = traced(t.ones(2, 4))
    return traced.code, [n for n, _ in traced.named_parameters()], [n for n, _ in traced.named_modules()], out["y"].shape


def every_copy(t):
    traced = t.fx.symbolic_trace(_net(t))
    other = copy.deepcopy(traced)
    other.scale.data.zero_()
    return other.code == traced.code, float(traced.scale.detach().sum()), sorted(other.state_dict()), type(other).__name__


def editing(t):
    def f(x):
        a = x + 1
        b = t.relu(a)
        b.exp()
        return b * 2

    traced = t.fx.symbolic_trace(f)
    graph = traced.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target == operator.add:
            with graph.inserting_after(node):
                new = graph.call_function(t.mul, node.args)
                node.replace_all_uses_with(new)
            graph.erase_node(node)
    first = str(graph)
    relu = next(n for n in graph.nodes if n.name == "relu")
    with graph.inserting_before(relu):
        relu.args = (graph.call_method("neg", (relu.args[0],)),)
    changed = graph.eliminate_dead_code()
    graph.lint()
    traced.recompile()
    return first, changed, traced.code, traced(t.tensor([-3.0, 3.0])).tolist(), [[str(u) for u in n.users] for n in graph.nodes]


def by_hand(t):
    graph = t.fx.Graph()
    x = graph.placeholder("x", float)
    w = graph.get_attr("inner.weight")
    y = graph.call_function(t.matmul, (x, w))
    z = graph.call_module("inner", (y,), {})
    graph.output((z, {"a": y}))
    root = t.nn.Module()
    root.inner = t.nn.Linear(2, 2)
    made = t.fx.GraphModule(root, graph, "Made")
    return str(graph), made.code, type(made).__name__, len(graph.nodes), [n.format_node() for n in graph.nodes]


def refusals(t):
    found = []

    def attempt(f):
        try:
            f()
        except Exception as error:
            found.append((type(error).__name__, str(error).splitlines()[0][:60]))

    attempt(lambda: t.fx.symbolic_trace(lambda x: x if x.sum() > 0 else -x))
    attempt(lambda: t.fx.symbolic_trace(lambda x: [y for y in x]))
    attempt(lambda: t.fx.symbolic_trace(lambda x: len(x)))
    g = t.fx.symbolic_trace(lambda x: x + 1).graph
    attempt(lambda: g.erase_node(next(iter(g.nodes))))
    other = t.fx.Graph()
    y = other.placeholder("y")
    g.output_node().args = (y,)
    attempt(g.lint)
    attempt(lambda: y.args.append(1))
    h = t.fx.symbolic_trace(lambda x: t.cat([x, x])).graph
    attempt(lambda: list(h.nodes)[1].args[0].append(3))
    return found


def leaves(t):
    class Deep(t.fx.Tracer):
        def is_leaf_module(self, m, name):
            return isinstance(m, t.nn.ReLU)

    tracer = Deep()
    net = _net(t).layer1
    graph = tracer.trace(net)
    made = t.fx.GraphModule(tracer.root, graph)
    same = (made(t.ones(1, 4)) - net(t.ones(1, 4))).abs().max().item() < 1e-6
    return [(n.op, n.name, str(n.target) if n.op != "call_function" else n.target.__name__) for n in graph.nodes], same


def concrete(t):
    def f(x, flag, pair):
        return x + 1 if flag else pair[0] * x

    traced = t.fx.symbolic_trace(f, concrete_args={"flag": False})
    names = [n.name for n in traced.graph.nodes if n.op == "placeholder"]
    whole = t.fx.symbolic_trace(f, concrete_args={"flag": True, "pair": (t.fx._symbolic_trace.PH, t.fx._symbolic_trace.PH)})
    with pytest.warns(UserWarning, match="Was not able to add assertion"):
        fixed = t.fx.symbolic_trace(
            lambda x, y, z=None: y if x.sum() > 0 and z is None else -y, concrete_args={"x": t.ones(2), "z": None}
        )
    fixed_nodes = [(n.op, n.name, n.args if n.op == "placeholder" else ()) for n in fixed.graph.nodes]
    return names, whole(t.ones(1), True, (t.ones(1), t.ones(1))).tolist(), fixed_nodes, fixed(-t.ones(2), t.ones(1)).tolist()


def interpreted(t):
    seen = []

    class Watch(t.fx.Interpreter):
        def run_node(self, n):
            seen.append((n.op, n.name))
            return super().run_node(n)

    class Swap(t.fx.Transformer):
        def call_function(self, target, args, kwargs):
            return super().call_function(t.sigmoid if target == t.relu else target, args, kwargs)

        def call_method(self, target, args, kwargs):
            return super().call_method("tanh" if target == "neg" else target, args, kwargs)

    traced = t.fx.symbolic_trace(lambda x, y=2: t.relu(x).neg() * y)
    out = Watch(traced).run(t.ones(2))
    swapped = Swap(traced).transform()
    return seen, out.tolist(), swapped.code, [round(v, 4) for v in swapped(t.ones(2)).tolist()]


def replaced(t):
    def f(x, w1, w2):
        a = t.cat([w1, w2]).sum()
        b = t.cat([w1, w2]).sum()
        return x + t.max(a) + t.max(b)

    traced = t.fx.symbolic_trace(f)
    places = t.fx.replace_pattern(traced, lambda w1, w2: t.cat([w1, w2]).sum(), lambda w1, w2: t.stack([w1, w2]))
    return traced.code, len(places), sorted(str(v) for v in places[0].nodes_map.values())


def chained(t):
    traced = t.fx.symbolic_trace(lambda x: t.relu(t.relu(t.relu(x) + 1) + 1))
    places = t.fx.replace_pattern(traced, lambda x: t.relu(x) + 1, lambda x: t.sigmoid(x))
    return traced.code, len(places)


def shapes(t):
    from importlib import import_module

    passes = import_module(f"{t.__name__}.fx.passes.shape_prop")
    traced = t.fx.symbolic_trace(_net(t))
    passes.ShapeProp(traced).propagate(t.ones(2, 4))
    return [
        (n.name, tuple(n.meta["tensor_meta"].shape), n.meta["tensor_meta"].stride)
        for n in traced.graph.nodes
        if n.op == "call_module"
    ]


def split(t):
    from importlib import import_module

    split_module = import_module(f"{t.__name__}.fx.passes.split_module").split_module
    net = _net(t).layer1
    traced = t.fx.symbolic_trace(net)
    parts = split_module(traced, net, lambda n: 0 if n.name in ("_0", "_1") else 1)
    return parts.code, [n for n, _ in parts.named_modules()], (parts(t.ones(1, 4)) - net(t.ones(1, 4))).abs().max().item()


PROGRAMS = [
    symbols,
    modules,
    every_copy,
    editing,
    by_hand,
    refusals,
    leaves,
    concrete,
    interpreted,
    replaced,
    chained,
    shapes,
    split,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_same(program):
    for own, theirs in zip(program(flambeau), program(torch), strict=True):
        assert own == theirs


def f_of_module_level(x):
    return flambeau.relu(x) + len_of(x)


def g_of_module_level(x):
    return torch.relu(x) + len_of_theirs(x)


def len_of(x):
    return x.shape[0]


def len_of_theirs(x):
    return x.shape[0]


torch.fx.wrap("len_of_theirs")

flambeau.fx.wrap("len_of")


def test_wrapped_functions_are_leaves_and_called_in_the_end():
    traced = flambeau.fx.symbolic_trace(f_of_module_level)
    assert [n.name for n in traced.graph.nodes] == ["x", "relu", "len_of", "add", "output"]
    assert traced(flambeau.zeros(3)).tolist() == [3.0] * 3
    assert len_of(flambeau.zeros(2)) == 2


def test_code_names_wrapped_functions_as_pytorch_does():
    ours, theirs = flambeau.fx.symbolic_trace(f_of_module_level).code, torch.fx.symbolic_trace(g_of_module_level).code
    assert type(ours) is str and ours == theirs.replace("len_of_theirs", "len_of")


def test_pickled():
    traced = flambeau.fx.symbolic_trace(flambeau.nn.Sequential(flambeau.nn.Linear(2, 2), flambeau.nn.ReLU()))
    back = pickle.loads(pickle.dumps(traced))
    assert back.code == traced.code
    assert back(flambeau.ones(1, 2)).tolist() == traced(flambeau.ones(1, 2)).tolist()


def test_nothing_is_left_behind():
    from flambeau import dispatch

    flambeau.fx.symbolic_trace(_net(flambeau))
    assert dispatch.watch is None
    assert flambeau.relu(flambeau.tensor([-1.0])).tolist() == [0.0]
