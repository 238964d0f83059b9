"""Documented names that few programs use: what they give is what PyTorch's give."""

from __future__ import annotations

import importlib
import io
import json
import warnings

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

CALLS = (
    "S = torch.serialization\nS.location_tag(torch.ones(2).untyped_storage()), S.location_tag(torch.ones(2, device='meta').untyped_storage())",
    "s = torch.ones(2).untyped_storage()\nS = torch.serialization\nS.default_restore_location(s, 'cpu') is s, S.default_restore_location(s, 'meta').device",
    "torch.serialization.default_restore_location(torch.ones(2).untyped_storage(), 'cuda:0')",
    "torch.serialization.default_restore_location(torch.ones(2).untyped_storage(), 'nowhere')",
    "S = torch.serialization\nbefore = S.get_crc32_options()\nS.set_crc32_options(False)\nr = S.get_crc32_options()\nS.set_crc32_options(True)\nbefore, r",
    "import mmap\ntorch.serialization.get_default_mmap_options() == mmap.MAP_PRIVATE", "torch.serialization.set_default_mmap_options(99)",
    "S = torch.serialization\nS.check_module_version_greater_or_equal(np, (1, 2)), S.check_module_version_greater_or_equal(np, (99,))",
    "torch.autograd.graph.increment_version(torch.ones(2))", "x = torch.ones(2)\ntorch.autograd.graph.increment_version([x, x])\nx._version",
    "c = torch.distributions.constraints\nm = c.MixtureSameFamilyConstraint\nm(c.positive), m(c.positive).check(torch.tensor([1.0, -1.0])), m(c.simplex).event_dim, m(c.integer_interval(0, 3)).is_discrete",
    *[f"torch.nn.MultiheadAttention(4, 2).merge_masks({masks}, torch.zeros(2, 3, 4))" for masks in (
        "None, None", "torch.ones(3, 3), None", "None, torch.ones(2, 3)", "torch.ones(3, 3), torch.ones(2, 3)", "torch.ones(4, 3, 3), torch.ones(2, 3)")],
    "C = torch.compiler\nfirst = C.get_default_backend()\nC.set_default_backend('eager')\nr = C.get_default_backend()\nC.set_default_backend(None)\nfirst, r, C.get_default_backend()",
    "torch.compiler.wrap_numpy(lambda a: np.cumsum(a))(torch.ones(3))", "torch.compiler.nested_compile_region(lambda x: x + 1)(torch.ones(1))",
    "torch.compiler.set_default_backend(3)",
    "[(str(d), d.abbr) for d in (torch.float32, torch.int64, torch.bfloat16, torch.bool, torch.complex64, torch.uint8, torch.float8_e4m3fn, torch.uint16, torch.qint8, torch.int4, torch.bits8)]",
    "torch.nn.Linear(1, 1).ipu()", "torch.nn.Linear(1, 1).xpu()", "torch.nn.Linear(1, 1).mtia()", "torch.nn.ReLU().xpu()",
    *[f"q = torch.quantize_per_tensor(torch.arange({n}.0).reshape({shape}), 0.5, 3, torch.quint8)\n{call}" for n, shape, call in (
        (16, "1, 1, 4, 4", "torch.quantized_max_pool2d(q, (2, 2))"), (16, "1, 1, 4, 4", "torch.quantized_max_pool2d(q, (2, 2), (1, 1), (1, 1))"),
        (16, "1, 4, 4", "torch.quantized_max_pool1d(q, 2)"),
        (32, "1, 2, 4, 4", "torch.quantized_batch_norm(q, torch.ones(2), torch.zeros(2), torch.ones(2), torch.ones(2), 1e-5, 0.25, 2)"))],
    "torch.quantized_max_pool2d(torch.ones(1, 1, 2, 2), (2, 2))",
    *[f"i32 = torch.int32\na, b = torch.arange(24.0).reshape(6, 4), torch.arange(64.0).reshape(2, 4, 8) / 10\nends = torch.tensor([2, 6], dtype=i32)\nF.grouped_mm({arguments})" for arguments in (
        "a, b, offs=ends", "b.mT, b", "a.t().reshape(2, 3, 4), torch.ones(4, 8), offs=torch.tensor([4, 8], dtype=i32)",
        "torch.ones(3, 8), b.reshape(8, 8), offs=torch.tensor([4, 8], dtype=i32)", "a, b", "a, b, offs=torch.tensor([2, 5])", "a, b, offs=ends[:1]", "a, b, offs=ends, bias=torch.ones(8)",
        "a, b, offs=ends, out_dtype=torch.float64", "a[:, :3], b, offs=ends")],
)  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_calls(call, agree):
    agree(call)


def part(lib, name: str):
    return importlib.import_module(f"{lib.__name__}.{name}")


def test_packages_of_storages(monkeypatch):
    def found(lib):
        registry = (
            part(flambeau, "serialization.locations")._registry
            if lib is flambeau
            else part(torch, "serialization")._package_registry
        )
        before = list(registry)
        try:
            lib.serialization.register_package(
                5, lambda s: "mine" if s.nbytes() == 12 else None, lambda s, where: s if where == "mine" else None
            )
            file, seen = io.BytesIO(), []
            lib.save([lib.ones(3), lib.ones(2)], file)
            file.seek(0)
            lib.load(file, map_location=lambda storage, where: (seen.append(where), storage)[1])
            file.seek(0)
            return seen, [t.tolist() for t in lib.load(file)]
        finally:
            registry[:] = before

    assert found(flambeau) == found(torch)


def test_files_without_data():
    def found(lib):
        empty, whole = io.BytesIO(), io.BytesIO()
        with lib.serialization.skip_data():
            lib.save({"a": lib.ones(2, 3), "b": lib.arange(4)}, empty)
        lib.save(lib.ones(2), whole)
        empty.seek(0)
        whole.seek(0)
        with lib.serialization.skip_data():
            shape = tuple(lib.load(whole).shape)
        return {k: v.tolist() for k, v in lib.load(empty).items()}, shape

    assert found(flambeau) == found(torch)


def test_calls_that_are_passed_on():
    def found(lib):
        overrides, seen = part(lib, "overrides"), []

        class Logging(lib.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args, kwargs=None):
                seen.append(func.__name__)
                return overrides.redispatch_function(func, types, args, kwargs)

        class Mode(overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args, kwargs=None):
                seen.append(func.__name__)
                with self:
                    return overrides.redispatch_function(func, types, args, kwargs)

        def scaled(a, b):
            if overrides.has_torch_function((a, b)):
                return overrides.handle_torch_function(scaled, (a, b), a, b)
            return a * b + 1

        a, b = lib.tensor([3.0]), lib.tensor([4.0])
        first = scaled(a.as_subclass(Logging), b.as_subclass(Logging)).tolist()
        with Mode():
            second = scaled(a, b)
        return first, second.tolist(), seen

    assert found(flambeau) == found(torch)


def test_other_parameters_for_an_optimizer():
    def found(lib):
        p, q = lib.nn.Parameter(lib.ones(2)), lib.nn.Parameter(lib.zeros(2))
        optimizer = lib.optim.SGD([p], lr=0.1, momentum=0.9)
        p.grad, q.grad = lib.ones(2), lib.ones(2)
        optimizer.step()
        state = optimizer.state_dict()
        state["param_groups"][0]["lr"] = 1.0
        with lib.optim.swap_in_optimizer_params_and_state(optimizer, {"q": q}, state):
            optimizer.step()
            swapped = optimizer.param_groups[0]["params"][0] is q
        group = optimizer.param_groups[0]
        return p.tolist(), q.tolist(), group["lr"], group["params"][0] is p, swapped, state["state"][0]["momentum_buffer"].tolist()

    assert found(flambeau) == found(torch)


def test_types_in_graphs():
    def found(lib):
        types, annotate = part(lib, "fx.tensor_type"), part(lib, "fx.annotate").annotate
        known, unknown = types.TensorType((1, 2)), types.TensorType[1, types.Dyn]

        class Typed(lib.nn.Module):
            def forward(self, x):
                return annotate(lib.relu(x), types.TensorType((1, 2))) + 1

        graph = part(lib, "fx").symbolic_trace(Typed()).graph
        pairs = [(known, unknown), (unknown, known), (int, types.Dyn), (int, float), (known, known)]
        judged = [(types.is_consistent(a, b), types.is_more_precise(a, b)) for a, b in pairs]
        return repr(known), repr(unknown), judged, annotate(3, int), [repr(node.type) for node in graph.nodes]

    assert found(flambeau) == found(torch)


def test_what_new_nodes_take_over():
    def found(lib):
        trace = part(lib, "fx.traceback")
        with trace.preserve_node_meta():
            trace.set_stack_trace(["a", "b"])
            trace.set_grad_fn_seq_nr(3)
            inside = dict(trace.get_current_meta())
            trace.reset_grad_fn_seq_nr()
            custom = trace.annotate_fn({"stage": 1})(lambda: trace.get_current_meta().get("custom"))()
            return trace.format_stack(), inside, dict(trace.get_current_meta()), custom

    assert found(flambeau) == found(torch)


def test_metadata_of_profiles(tmp_path):
    def found(lib):
        with part(lib, "profiler").profile() as p:
            p.add_metadata("a", "b")
            p.add_metadata_json("c", '{"d": 1}')
            lib.ones(2).relu()
        path = tmp_path / f"{lib.__name__}.json"
        p.export_chrome_trace(str(path))
        trace = json.loads(path.read_text())
        return trace["a"], trace["c"], "traceEvents" in trace, isinstance(p.get_trace_id(), str)

    assert found(flambeau) == found(torch)


def test_originals_are_called():
    for lib in (flambeau, torch):
        f = lib.compiler.substitute_in_graph(len, skip_signature_check=True)(lambda x: 3)
        assert f([1]) == 1
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with lib.jit.strict_fusion():
                pass
        assert any("script mode" in str(w.message) for w in caught)


def test_monitor():
    import datetime

    def found(lib):
        monitor, events = part(lib, "monitor"), []
        handle = monitor.register_event_handler(lambda event: events.append((event.name, event.data)))
        monitor.log_event(monitor.Event("epoch", datetime.datetime(2024, 1, 1), {"loss": 0.5, "name": "a"}))
        stat = monitor.Stat(
            "s", [monitor.Aggregation.SUM, monitor.COUNT, monitor.MEAN, monitor.MAX, monitor.MIN], datetime.timedelta(hours=1), 2
        )
        for v in (1, 4, 9):
            stat.add(v)
        got, count = {str(k): v for k, v in stat.get().items()}, stat.count
        other = monitor.Stat("t", [monitor.SUM], datetime.timedelta(hours=1))
        other.add(3)
        waiting = other.count
        del other
        monitor.unregister_event_handler(handle)
        monitor.log_event(monitor.Event("late", datetime.datetime(2024, 1, 1), {}))
        with pytest.raises(TypeError):
            monitor.Event("x", datetime.datetime(2024, 1, 1), {"a": [1]})
        return events, got, count, waiting, stat.name, {k: v.value for k, v in monitor.Aggregation.__members__.items()}

    assert found(flambeau) == found(torch)


def _wrappers(t):
    return importlib.import_module(
        "torch.distributed.algorithms._checkpoint.checkpoint_wrapper" if t is torch else "flambeau.utils.checkpoint_wrapper"
    )


def _wrapped(t):
    """A net whose parts repeat their forward pass: what it prints, the names of its tensors, its result and gradients."""
    wrapper = _wrappers(t)
    t.manual_seed(0)
    net = t.nn.Sequential(t.nn.Linear(2, 3), t.nn.ReLU(), t.nn.Sequential(t.nn.Linear(3, 3), t.nn.Dropout(0.5)))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    wrapper.apply_activation_checkpointing(net, check_fn=lambda m: isinstance(m, (t.nn.Linear, t.nn.Sequential)))
    net[2] = wrapper.offload_wrapper(net[2])
    net.load_state_dict(state)
    t.manual_seed(1)
    result = net(t.ones(2, 2)).sum()
    result.backward()
    return (
        repr(net),
        list(net.state_dict()),
        net[0].in_features,
        [round(v, 4) for v in (result.item(), *[p.grad.sum().item() for p in net.parameters()])],
    )


@pytest.mark.filterwarnings("ignore")
def test_wrappers_that_repeat_the_forward_pass():
    assert _wrapped(flambeau) == _wrapped(torch)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["REENTRANT", "NO_REENTRANT"])
def test_wrapped_modules_take_keywords(way):
    results = []
    for t in (flambeau, torch):
        wrapper = _wrappers(t)

        class Scaled(t.nn.Linear):
            calls = 0

            def forward(self, x, *, scale):
                type(self).calls += 1
                return super().forward(x) * scale

        t.manual_seed(0)
        layer = wrapper.checkpoint_wrapper(Scaled(2, 2), wrapper.CheckpointImpl[way])
        layer(t.ones(3, 2, requires_grad=True), scale=t.tensor(2.0)).sum().backward()
        results.append((Scaled.calls, layer.weight.grad.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("mask_mod", [None, lambda b, h, q, kv: q >= kv])
@pytest.mark.parametrize("lengths", [(6, 6), (5, 6)])
def test_masks_of_blocks(mask_mod, lengths):
    """What a fused kernel of PyTorch's sees. Its attention without one takes the function alone, and no blocks."""
    from flambeau.nn.attention.flex_attention import BlockMask

    asked, whole = {0: [1], 1: [0, 1], 2: [0]}, {0: [], 1: [], 2: [2]}
    mask = BlockMask.from_kv_blocks(
        flambeau.tensor([[[1, 2, 1]]]), flambeau.tensor([[[[1, 0, 2], [0, 1, 2], [0, 1, 2]]]]),
        flambeau.tensor([[[0, 0, 1]]]), flambeau.tensor([[[[0, 1, 2], [0, 1, 2], [2, 0, 1]]]]),
        BLOCK_SIZE=2, mask_mod=mask_mod, seq_lengths=None if lengths == (6, 6) else lengths,
    )  # fmt: skip

    def seen(q, k):
        return k // 2 in whole[q // 2] or k // 2 in asked[q // 2] and (mask_mod is None or q >= k)

    assert mask.to_dense().tolist() == [[[[seen(q, k) for k in range(lengths[1])] for q in range(lengths[0])]]]


def test_a_module_is_given_other_tensors_for_a_block():
    for t in (flambeau, torch):
        stateless = importlib.import_module(f"{t.__name__}.nn.utils.stateless")
        net = t.nn.Sequential(t.nn.Linear(1, 1), t.nn.BatchNorm1d(1))
        given = {"0.weight": t.ones(1, 1), "1.running_mean": t.zeros(1), "1.num_batches_tracked": t.tensor(5)}
        own = net[0].weight
        with stateless._reparametrize_module(net, given):
            assert net[0].weight is given["0.weight"]
            net(t.ones(2, 1))
        assert net[0].weight is own
        assert net[1].num_batches_tracked.item() == 0
        assert given["1.num_batches_tracked"].item() == 6


def test_a_profile_can_be_stopped_by_who_finds_it():
    for t in (flambeau, torch):
        assert not t.autograd._profiler_enabled()
        profile = t.profiler.profile(activities=[t.profiler.ProfilerActivity.CPU])
        profile.start()
        assert t.autograd._profiler_enabled()
        if t is flambeau:
            t.autograd._disable_profiler()
        else:
            profile.stop()
        assert not t.autograd._profiler_enabled()
