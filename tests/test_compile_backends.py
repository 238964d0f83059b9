"""torch.compile with a backend of the program's own: which graphs it is given, and that what it returns is used while it may be."""

import pytest

import flambeau as torch
from flambeau import nn
from flambeau._dynamo.backends.registry import lookup_backend, register_backend


class Recording:
    """A backend that keeps the graphs it is given, and counts the calls of what it returns."""

    def __init__(self):
        self.graphs, self.shapes, self.calls = [], [], 0

    def __call__(self, gm, example_inputs):
        self.graphs.append(gm)
        self.shapes.append([tuple(x.shape) for x in example_inputs])

        def compiled(*inputs):
            self.calls += 1
            return gm(*inputs)

        return compiled


def targets(gm):
    return [getattr(n.target, "__name__", n.target) for n in gm.graph.nodes if n.op.startswith("call_")]


def test_a_function():
    backend = Recording()

    @torch.compile(backend=backend)
    def f(x, scale, pair):
        return {"sum": (x * scale).sin() + pair[0], "scale": scale, "pair": pair}

    x, y = torch.ones(2), torch.zeros(2)
    for _ in range(3):
        got = f(x, 2.0, (y, None))
        assert (
            got["sum"].tolist() == ((x * 2.0).sin()).tolist()
            and got["scale"] == 2.0
            and got["pair"][0] is y
            and got["pair"][1] is None
        )
    assert len(backend.graphs) == 1 and backend.calls == 3
    assert [n.target for n in backend.graphs[0].graph.nodes if n.op == "placeholder"] == ["L_x_", "L_pair_0_"]
    assert targets(backend.graphs[0]) == ["mul", "sin", "add"]
    f(x, 3.0, (y, None))  # another number, another graph
    f(torch.ones(5), 2.0, (y.sum(), None))
    assert backend.shapes == [[(2,), (2,)], [(2,), (2,)], [(5,), ()]]


def test_a_module_trains_through_its_graph():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    other.load_state_dict(plain.state_dict())
    backend = Recording()
    compiled = torch.compile(other, backend=backend)
    for i in range(5):
        x = torch.arange(12.0).reshape(4, 3) + i
        losses = []
        for model, net in ((plain, plain), (compiled, other)):
            net.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            torch.optim.SGD(net.parameters(), lr=0.1).step()
            losses.append(loss.item())
        assert losses[0] == losses[1]
    assert plain.state_dict().keys() == other.state_dict().keys()
    for a, b in zip(plain.state_dict().values(), other.state_dict().values()):
        assert torch.equal(a, b)
    assert (
        len(backend.graphs) == 1 and backend.calls > 0
    )  # it writes running statistics, so that the first calls are the program's own
    assert "L_self_modules_0_parameters_weight_" in backend.graphs[0].code
    compiled.eval()
    compiled(x)
    assert len(backend.graphs) == 2


def test_what_is_read_is_guarded():
    settings = {"factor": 2.0}
    weight = torch.ones(2)

    def f(x):
        return x * settings["factor"] + weight

    backend = Recording()
    g = torch.compile(f, backend=backend)
    x = torch.ones(2)
    assert g(x).tolist() == g(x).tolist() == [3.0, 3.0]
    settings["factor"] = 3.0
    assert g(x).tolist() == [4.0, 4.0]
    with torch.no_grad():
        weight.add_(1)
    assert g(x).tolist() == [5.0, 5.0]


def test_what_no_graph_can_say_runs_as_it_is_written():
    backend = Recording()

    def f(x):
        return x + 1 if x.sum() > 0 else x - 1

    g = torch.compile(f, backend=backend)
    for value in (1.0, -1.0, 1.0, -1.0):
        assert g(torch.tensor([value])).item() == 2 * value
    assert not backend.graphs
    with pytest.raises(torch._dynamo.exc.Unsupported, match="looks at values"):
        torch.compile(f, backend=backend, fullgraph=True)(torch.ones(1))


def test_results_that_no_graph_can_say():
    class Pair:
        def __init__(self, x):
            self.x = x

    backend = Recording()
    g = torch.compile(lambda x: Pair(x + 1), backend=backend)
    assert [g(torch.zeros(1)).x.item() for _ in range(5)] == [1.0] * 5 and not backend.graphs
    with pytest.raises(torch._dynamo.exc.Unsupported, match="whole"):
        torch.compile(lambda x: Pair(x + 1), backend=backend, fullgraph=True)(torch.zeros(1))


def test_constants_are_a_part_of_the_graph():
    backend = Recording()
    g = torch.compile(lambda x: x + torch.tensor([1.0, 2.0]), backend=backend)
    assert [g(torch.zeros(2)).tolist() for _ in range(3)] == [[1.0, 2.0]] * 3


def test_writes_to_arguments_are_made_once():
    backend = Recording()
    g = torch.compile(lambda x: x.add_(1), backend=backend)
    x = torch.zeros(2)
    for _ in range(4):
        assert g(x) is x
    assert x.tolist() == [4.0, 4.0]


def test_backends_by_name():
    seen = []

    @register_backend(name="a_backend_of_this_test")
    def backend(gm, example_inputs):
        seen.append(gm)
        return gm.forward

    g = torch.compile(lambda x: x + 1, backend="a_backend_of_this_test")
    assert g(torch.ones(1)).item() == 2 and len(seen) == 1
    assert "a_backend_of_this_test" in torch._dynamo.list_backends() and lookup_backend("eager") is None
    with pytest.raises(AssertionError, match="duplicate name"):
        register_backend(backend, "inductor")
    torch.compiler.set_default_backend(backend)
    try:
        torch.compile(lambda x: x + 2)(torch.ones(1))
    finally:
        torch.compiler.set_default_backend(None)
    assert len(seen) == 2


def test_stances():
    backend = Recording()
    f = torch.compile(lambda x: x + 1, backend=backend)
    f(torch.ones(2))
    with torch.compiler.set_stance("force_eager"):
        f(torch.ones(2))
        f(torch.ones(3))
    assert (len(backend.graphs), backend.calls) == (1, 1)
    with torch.compiler.set_stance("eager_on_recompile"):
        f(torch.ones(2))
        f(torch.ones(3))
    assert (len(backend.graphs), backend.calls) == (1, 2)
    with torch.compiler.set_stance("fail_on_recompile"):
        f(torch.ones(2))
        with pytest.raises(RuntimeError, match="Detected recompile"):
            f(torch.ones(3))
    f(torch.ones(3))
    assert (len(backend.graphs), backend.calls) == (2, 4)


def test_module_compile_takes_a_backend():
    backend = Recording()
    net = nn.Linear(2, 2)
    want = net(torch.ones(1, 2)).tolist()
    net.compile(backend=backend)
    assert net(torch.ones(1, 2)).tolist() == want and len(backend.graphs) == 1


def test_errors_of_backends():
    def failing(gm, example_inputs):
        raise ValueError("no such kernel")

    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match="backend='failing' raised:\nValueError: no such kernel"):
        torch.compile(lambda x: x + 1, backend=failing)(torch.ones(1))
    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match="cannot be called"):
        torch.compile(lambda x: x + 1, backend=lambda gm, inputs: None)(torch.ones(1))
    with pytest.raises(torch._dynamo.exc.InvalidBackend, match="Invalid backend: 'fast'"):
        torch.compile(lambda x: x, backend="fast")
    with pytest.raises(RuntimeError, match="Unrecognized mode=fast, should be one of: default"):
        torch.compile(lambda x: x, mode="fast")
    with pytest.raises(RuntimeError, match="Unexpected optimization option speed"):
        torch.compile(lambda x: x, options={"speed": True})
    with pytest.raises(RuntimeError, match="got int should be bool"):
        torch.compile(lambda x: x, options={"max_autotune": 3})
    with pytest.raises(RuntimeError, match="Either mode or options"):
        torch.compile(lambda x: x, mode="default", options={"max_autotune": True})


def test_settings_that_exist_are_kept_and_others_refused():
    for config, name in ((torch._dynamo.config, "cache_size_limit"), (torch._inductor.config, "max_autotune_gemm_backends")):
        before = getattr(config, name)
        with config.patch({name: 3}):
            assert getattr(config, name) == 3
        assert getattr(config, name) == before
        with pytest.raises(AttributeError, match="no_such does not exist"):
            config.no_such = 1
    config = torch._inductor.config
    with config.patch("triton.cudagraphs", True):
        assert config.triton.cudagraphs and config.to_dict()["triton.cudagraphs"]
    assert not config.triton.cudagraphs
    with pytest.raises(AttributeError, match="torch._inductor.config.triton.graphs does not exist"):
        config.triton.graphs = True


def test_packages(tmp_path):
    net = nn.Linear(2, 1)
    program = torch.export.export(net, (torch.ones(3, 2),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "net.pt2"))
    package = torch._inductor.aoti_load_package(path)
    x = torch.arange(10.0).reshape(5, 2)
    assert package(x).tolist() == net(x).tolist() and not package(x).requires_grad
    assert package((x,)).tolist() == package(x).tolist()
    package.load_constants({"weight": torch.zeros(1, 2), "bias": torch.ones(1)}, check_full_update=True)
    assert package(x).tolist() == [[1.0]] * 5
    with pytest.raises(AssertionError, match="ending in .pt2"):
        torch._inductor.aoti_compile_and_package(program, package_path="net.bin")


def test_code_is_told_that_it_is_compiled():
    seen = []

    def f(x):
        seen.append((torch.compiler.is_compiling(), torch.compiler.is_dynamo_compiling(), torch.compiler.is_exporting()))
        return x + 1 if torch.compiler.is_compiling() else x - 1

    g = torch.compile(f)  # it writes to a list, and so is never captured
    assert [g(torch.zeros(1)).item() for _ in range(4)] == [1.0] * 4 and set(seen) == {(True, True, False)}
    h = torch.compile(lambda x: x + 1 if torch.compiler.is_compiling() else x - 1)
    assert [h(torch.zeros(1)).item() for _ in range(4)] == [1.0] * 4
    with torch.compiler.set_stance("force_eager"):
        assert h(torch.zeros(1)).item() == -1
    plain = torch.compiler.disable(lambda: torch.compiler.is_compiling())
    assert torch.compile(lambda: (plain(), torch.compiler.is_compiling()))() == (False, True)
    seen.clear()

    class Net(nn.Module):
        def forward(self, x):
            return f(x)

    torch.export.export(Net(), (torch.zeros(1),))
    assert set(seen) == {(True, False, True)} and not torch.compiler.is_compiling()
