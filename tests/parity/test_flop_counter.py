"""``torch.utils.flop_counter`` beside PyTorch: counts by operator and module, of calls and of backward passes."""

from __future__ import annotations

import importlib

import pytest

import flambeau

torch = pytest.importorskip("torch")

BY_OPERATOR = {
    "mm": "(t(3, 4) @ t(4, 5)).sum().backward()",
    "out=": "torch.mm(t(3, 4).detach(), t(4, 5).detach(), out=torch.empty(3, 5))",
    "addmm": "torch.addmm(t(5), t(3, 4), t(4, 5), beta=2).sum().backward()",
    "bmm": "torch.bmm(t(2, 3, 4), t(2, 4, 5)).sum().backward()",
    "baddbmm": "torch.baddbmm(t(3, 5), t(2, 3, 4), t(2, 4, 5)).sum().backward()",
    "batches that broadcast": "(t(6, 2, 3, 4) @ t(2, 4, 5)).sum().backward()",
    "rows of a batch": "(t(2, 3, 4) @ t(4, 5)).sum().backward()",
    "one needs no gradient": "(t(3, 4) @ t(4, 5).detach()).sum().backward()",
    "vectors": "(t(4, 5) @ t(5)).sum().backward(); t(4).dot(t(4)).backward(); (t(4) @ t(2, 4, 5)).sum().backward()",
    "elementwise": "(t(3, 4) * 2 + t(4)).tanh().softmax(0).sum().backward()",
    "einsum": "torch.einsum('bij,bjk->bik', t(2, 3, 4), t(2, 4, 5)).sum().backward()",
    "tensordot": "torch.tensordot(t(2, 3, 4), t(2, 4, 5), dims=([2], [1])).sum().backward()",
    "grad": "torch.autograd.grad((t(3, 4) @ t(4, 5)).sum(), kept[-1])",
    "grad of a grad": "g, = torch.autograd.grad((t(2, 3, 4) @ t(2, 4, 5)).pow(2).sum(), kept[-1], create_graph=True); g.pow(2).sum().backward()",
    "linear": "F.linear(t(2, 3, 4), t(7, 4), t(7)).sum().backward()",
    "bilinear": "F.bilinear(t(2, 3), t(2, 4), t(5, 3, 4)).sum().backward()",
    "conv1d": "F.conv1d(t(2, 3, 8), t(4, 3, 2), t(4), padding=1).sum().backward()",
    "conv2d": "F.conv2d(t(2, 4, 9, 9), t(6, 2, 3, 3), stride=2, groups=2).sum().backward()",
    "conv3d": "F.conv3d(t(1, 2, 4, 4, 4), t(3, 2, 2, 2, 2)).sum().backward()",
    "conv of a sample": "F.conv2d(t(2, 5, 5), t(3, 2, 3, 3), dilation=2).sum().backward()",
    "conv of what needs no gradient": "F.conv2d(t(2, 4, 5, 5).detach(), t(6, 4, 3, 3), padding='same').sum().backward()",
    "transposed conv": "F.conv_transpose2d(t(2, 4, 5, 5), t(4, 3, 3, 3), stride=2, groups=2, output_padding=1).sum().backward()",
    "transposed conv1d": "F.conv_transpose1d(t(2, 4, 5), t(4, 3, 3)).sum().backward()",
    "conv_tbc": "torch.conv_tbc(t(5, 2, 3), t(3, 3, 4), t(4)).sum().backward()",
    "checkpoint": "torch.utils.checkpoint.checkpoint(lambda x: F.conv1d(x, t(4, 3, 2)).relu(), t(2, 3, 8), use_reentrant=False).sum().backward()",
    "attention": "F.scaled_dot_product_attention(t(2, 4, 6, 8), t(2, 4, 6, 8), t(2, 4, 6, 8)).sum().backward()",
    "masked attention": "F.scaled_dot_product_attention(t(2, 4, 6, 8), t(2, 4, 5, 8), t(2, 4, 5, 8), torch.ones(6, 5).tril().bool()).sum().backward()",
    "attention that drops": "F.scaled_dot_product_attention(t(2, 4, 6, 8), t(2, 4, 5, 8), t(2, 4, 5, 8), dropout_p=0.5).sum().backward()",
    "attention without heads": "F.scaled_dot_product_attention(t(2, 6, 8), t(2, 5, 8), t(2, 5, 3)).sum().backward()",
    "attention on meta": "F.scaled_dot_product_attention(*[torch.ones(2, 4, 6, 8, device='meta', requires_grad=True) for _ in range(3)]).sum().backward()",
    "meta": "F.conv2d(torch.ones(2, 4, 9, 9, device='meta'), torch.ones(6, 4, 3, 3, device='meta')) @ torch.ones(7, 2, device='meta')",
    "LSTM": "nn.LSTM(3, 7)(t(5, 2, 3))[0].sum().backward()",
    "LSTM in double precision": "nn.LSTM(3, 7).double()(t(5, 2, 3).double())[0].sum().backward()",
    "GRU": "nn.GRU(3, 7, bidirectional=True)(t(5, 2, 3))[0].sum().backward()",
    "RNN": "nn.RNN(3, 7, num_layers=2)(t(5, 2, 3))[0].sum().backward()",
    "LSTMCell": "nn.LSTMCell(3, 7)(t(2, 3).detach())[0].sum().backward()",
    "matrix_power": "torch.linalg.matrix_power(t(3, 3), 3).sum().backward()",
    "compiled": "f = torch.compile(lambda a, b: (a @ b).relu(), backend='eager'); [f(t(3, 4), t(4, 5)).sum().backward() for _ in range(2)]",
    "vmap": "torch.func.vmap(lambda a, b: a @ b)(t(2, 3, 4), t(2, 4, 5))",
    "mode inside": "with torch.overrides.BaseTorchFunctionMode():\n (t(3, 4) @ t(4, 5)).sum().backward()",
    "repeated": "a, b = t(3, 4), t(4, 5)\nfor _ in range(20): F.linear(a, b.t()).relu().sum().backward()",
}
IN_ALL = {  # where the operators differ, not what they take
    "2-D before 3-D": "(t(3, 4) @ t(2, 4, 5)).sum().backward()",
    "conv, twice": "g, = torch.autograd.grad(F.conv1d(t(1, 2, 8), t(3, 2, 3)).pow(2).sum(), kept[0], create_graph=True); g.pow(2).sum().backward()",
    "MultiheadAttention": "nn.MultiheadAttention(8, 2, batch_first=True)(*[t(2, 5, 8)] * 3)[0].sum().backward()",
    "MultiheadAttention without weights": "nn.MultiheadAttention(8, 2)(*[t(5, 2, 8)] * 3, need_weights=False)[0].sum().backward()",
    "TransformerEncoderLayer": "nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)(t(2, 5, 8)).sum().backward()",
}


def counted(library, program: str, **settings) -> dict:
    kept: list = []

    def t(*shape):
        kept.append(library.ones(shape).requires_grad_())
        return kept[-1]

    counter = importlib.import_module(f"{library.__name__}.utils.flop_counter")
    importlib.import_module(f"{library.__name__}.utils.checkpoint")
    scope = {"torch": library, "nn": library.nn, "F": library.nn.functional, "t": t, "kept": kept}
    with counter.FlopCounterMode(display=False, **settings) as mode:
        exec(program, scope)
    if library is torch:
        library.compiler.reset()
    return {name: {str(k): v for k, v in counts.items() if v} for name, counts in mode.get_flop_counts().items()}


@pytest.mark.parametrize("name", BY_OPERATOR)
def test_counts_by_operator(name):
    assert counted(flambeau, BY_OPERATOR[name]) == counted(torch, BY_OPERATOR[name])


@pytest.mark.parametrize("name", IN_ALL)
def test_counts_in_all(name):
    ours, theirs = counted(flambeau, IN_ALL[name]), counted(torch, IN_ALL[name])
    assert {k: sum(v.values()) for k, v in ours.items()} == {k: sum(v.values()) for k, v in theirs.items()}


NETS = {
    "a perceptron": (
        "nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.Linear(4, 2))",
        (5, 3),
    ),
    "convolutions": (
        "nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(16, 3))",
        (2, 2, 6, 6),
    ),
    "one used twice": ("(lambda l: nn.Sequential(l, nn.ReLU(), l, nn.Linear(3, 3)))(nn.Linear(3, 3))", (5, 3)),
}


@pytest.mark.parametrize("needs", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_counts_by_module(name, needs):
    net, shape = NETS[name]
    program = f"net = {net}\nfor _ in range(2): net(torch.ones{shape}.requires_grad_({needs})).sum().backward()"
    assert counted(flambeau, program) == counted(torch, program)


@pytest.mark.parametrize("depth", [None, 0, 1, 2, 5])
def test_table(depth):
    if not pytest.importorskip("tabulate").__version__.startswith("0.9."):
        pytest.skip("PyTorch asks tabulate to keep indents in a way that it no longer hears")
    tables = []
    for library in (flambeau, torch):
        nn, counter = library.nn, importlib.import_module(f"{library.__name__}.utils.flop_counter")
        net = nn.Sequential(nn.Linear(300, 400), nn.ReLU(), nn.Sequential(nn.Linear(400, 4)))
        for extra in (0, 100):
            with counter.FlopCounterMode(display=False) as mode:
                net(library.ones(5, 300))
                library.ones(extra, extra) @ library.ones(extra, extra)
            tables.append(mode.get_table(depth))
        with counter.FlopCounterMode(display=False) as mode:
            pass
        tables.append(mode.get_table(depth))
    assert tables[:3] == tables[3:]


def test_operators_of_libraries():
    found = []
    for library in (flambeau, torch):
        counter = importlib.import_module(f"{library.__name__}.utils.flop_counter")
        lib = library.library.Library("flops_test", "DEF")
        lib.define("product(Tensor a, Tensor b) -> Tensor")
        lib.define("unknown(Tensor a, Tensor b) -> Tensor")
        lib.define("made_of(Tensor a, Tensor b) -> Tensor")
        lib.impl("product", lambda a, b: a @ b, "CPU")
        lib.impl("unknown", lambda a, b: a @ b, "CPU")
        lib.impl("made_of", lambda a, b: a @ b, "CompositeImplicitAutograd")
        seen = []

        def raw(a, b, out_val=None, seen=seen):
            seen.append((type(a).__name__, tuple(out_val.shape)))
            return 7

        raw._get_raw = True
        ops = library.ops.flops_test
        for mapping in (
            {},
            {ops.product: lambda a, b, out_shape=None: a.numel() + out_shape.numel()},
            {ops.product: raw, library.ops.aten.mm: lambda *a, **k: 1},
        ):
            with counter.FlopCounterMode(display=False, custom_mapping=mapping) as mode:
                for op in (ops.product, ops.unknown, ops.made_of):
                    op(library.ones(2, 3), library.ones(3, 4))
            found.append({str(k): v for k, v in mode.get_flop_counts().get("Global", {}).items()})
        found.append(seen)
    assert found[:4] == found[4:]


def test_convolution_backward():
    for transposed in (False, True):
        results = []
        for library in (flambeau, torch):
            x = library.arange(2 * 4 * 7.0).reshape(2, 4, 7).sin()
            w = library.arange(4 * 2 * 3.0).reshape(4, 2, 3).cos()
            out = library.convolution(x, w, None, [2], [1], [1], transposed, [0], 2)
            for mask in ([True, True, True], [False, True, False], [True, False, True]):
                made = library.ops.aten.convolution_backward(
                    out * 0.1, x, w, [out.shape[1]], [2], [1], [1], transposed, [0], 2, mask
                )
                results.append([g.numpy() for g, wanted in zip(made, mask, strict=True) if wanted])
        for ours, theirs in zip(results[:3], results[3:], strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert abs(a - b).max() < 1e-4


def test_end_of_a_backward_pass():
    for library in (flambeau, torch):
        log = []
        w = library.ones(2, requires_grad=True)
        y = w * 2
        queue = library.autograd.Variable._execution_engine.queue_callback
        y.register_hook(lambda g, queue=queue, log=log: queue(lambda: log.append("end")) or log.append("hook"))
        w.register_hook(lambda g, log=log: log.append("leaf"))
        y.sum().backward()
        assert log == ["hook", "leaf", "end"]
        with pytest.raises(RuntimeError, match="Final callbacks can only be installed during backward pass"):
            queue(lambda: None)
