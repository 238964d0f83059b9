"""Nested tensors of the jagged layout, and what an encoder does where PyTorch takes a batch apart into them."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
LIBRARIES = (torch, flambeau)


def described(x, t):
    """Nested tensors by shape, offsets and parts; sizes that differ from part to part without their numbers."""
    if isinstance(x, (tuple, list)) and not isinstance(x, t.Size):
        return [described(y, t) for y in x]
    if isinstance(x, t.Tensor) and x.is_nested:
        lengths = None if x.lengths() is None else x.lengths().tolist()
        parts = [(str(p.dtype), tuple(p.shape), p.detach().double().numpy()) for p in x.unbind()]
        return re.sub(r"j\d+", "j", str(tuple(x.shape))), x.offsets().tolist(), lengths, parts, x.is_contiguous(), x.requires_grad
    if isinstance(x, t.Tensor):
        return str(x.dtype), tuple(x.shape), x.detach().double().numpy()
    return re.sub(r"j\d+", "j", repr(x))


def same(a, b) -> bool:
    """The same but for the last digits of numbers."""
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-5)
    return a == b


def outcome(call, t):
    rng = np.random.default_rng(0)

    def given(*shape):
        return t.from_numpy(rng.standard_normal(shape).astype(np.float32))

    a, b = given(2, 3), given(4, 3)
    known = {"t": t, "F": t.nn.functional, "a": a, "b": b, "w": given(5, 3), "n": t.nested.nested_tensor([a, b], layout=t.jagged),
             "q": t.nested.nested_tensor([given(2, 4, 8), given(3, 4, 8)], layout=t.jagged), "given": given, "copy": copy, "pickle": pickle}  # fmt: skip
    try:
        return described(eval(call, known), t)
    except Exception as error:
        return type(error).__name__


CALLS = """
n, n.shape, n.size(0), n.size(-1), n.dim(), n.numel(), n.stride(), n.layout == t.jagged, n.is_nested, a.is_nested, len(n), [p for p in n], n[0], n[-1]
n.values(), n.offsets(), n.lengths(), n.unbind(), n.requires_grad, n.is_contiguous(), n.device, n.dtype
n + 1, n * n, 2 - n, n / 3, -n, n ** 2, n > 0, n.sin(), n.exp(), t.relu(n), F.gelu(n), F.silu(n), n.clamp(0, 1), t.where(n > 0, n, n * 2), n.masked_fill(n > 0, 0.5)
n + t.ones(3), n + given(1, 1, 3), n * given(2, 1, 3), n + t.tensor(2.0), n.abs(), F.dropout(n, 0.0), F.leaky_relu(n, 0.2), t.sigmoid(n)
n + t.nested.nested_tensor([a, b], layout=t.jagged)
n.clone(), n.detach(), n.to(t.float64), n.half(), n.contiguous(), t.zeros_like(n), t.ones_like(n), t.full_like(n, 2.0), n.double()
n.sum(), n.mean(), n.max(), n.min(), (n > -9).all(), (n > 9).any(), n.prod()
n.sum(1), n.mean(1), n.amax(1), n.amin(1), n.prod(1), n.sum(-1), n.mean(-1), n.mean(-1, keepdim=True), n.amax(-1), n.sum(dim=2, keepdim=True)
n.sum(0)
n.softmax(-1), F.softmax(n, dim=-1), F.log_softmax(n, dim=-1), n.softmax(1)
F.linear(n, w), F.linear(n, w, t.ones(5)), n @ w.t(), t.matmul(n, given(3, 2)), F.layer_norm(n, (3,)), F.layer_norm(n, (3,), t.ones(3), t.zeros(3)), F.rms_norm(n, (3,))
t.nn.Linear(3, 2)(n).shape, t.nn.LayerNorm(3)(n).shape, t.nn.Sequential(t.nn.Linear(3, 4), t.nn.ReLU(), t.nn.Linear(4, 2))(n).shape, t.nn.Dropout(0.5).eval()(n)
n.transpose(1, 2).shape, n.transpose(1, 2).transpose(1, 2), n.unsqueeze(-1).squeeze(-1), n.view(2, -1, 3, 1), n.reshape(2, -1, 1, 3), n.unflatten(-1, [3, 1]), n.unsqueeze(-1).flatten(2)
n.flatten()
n.transpose(0, 1)
n.chunk(3, -1), n.split(1, -1), t.cat([n, n], -1), n.select(-1, 0), n[0, 1], n[1][..., 0], n.unbind()
n[1:]
n.numpy()
n.tolist()
n.item()
t.nested.to_padded_tensor(n, 0.0), n.to_padded_tensor(-1.0, (2, 5, 3)), q.to_padded_tensor(0.5), t.nested.to_padded_tensor(n.sum(-1), 9.0)
n.to_padded_tensor(0.0, (2, 3, 3))
t.nested.nested_tensor_from_jagged(given(6, 1), t.tensor([0, 2, 6])), t.nested.nested_tensor_from_jagged(given(6, 1), lengths=t.tensor([2, 4]))
t.nested.nested_tensor_from_jagged(given(6, 1), t.tensor([0, 2, 6]), t.tensor([1, 3])).unbind()
t.nested.nested_tensor_from_jagged(given(6, 1))
t.nested.narrow(given(2, 5, 2), 1, t.tensor([0, 1]), t.tensor([2, 3]), layout=t.jagged), t.nested.narrow(given(2, 5, 2), 1, 1, t.tensor([2, 3]), layout=t.jagged).contiguous()
t.nested.masked_select(t.arange(6).view(2, 3), t.tensor([[True, False, True], [True, True, True]]))
t.nested.as_nested_tensor([a, b], layout=t.jagged), t.nested.as_nested_tensor(given(2, 3, 2), layout=t.jagged)
t.nested.nested_tensor([t.ones(2, 3), t.ones(3, 4)], layout=t.jagged)
t.nested.nested_tensor([], layout=t.jagged)
t.nested.nested_tensor([t.ones(2), t.ones(3)], layout=t.jagged), t.nested.nested_tensor([[1, 2], [3, 4, 5]], layout=t.jagged), t.nested.nested_tensor([t.ones(2, 3), t.ones(2, 4)], layout=t.jagged).shape
F.scaled_dot_product_attention(q.transpose(1, 2), q.transpose(1, 2), q.transpose(1, 2)).transpose(1, 2)
F.embedding(t.nested.nested_tensor([t.tensor([1, 2]), t.tensor([0, 1, 2])], layout=t.jagged), w)
copy.deepcopy(n)
[x := t.nested.nested_tensor([a, b], layout=t.jagged, requires_grad=True), (F.layer_norm(F.linear(x, w), (5,)) ** 2).sin().values().sum().backward(), x.grad][::2]
[x := a.clone().requires_grad_(), t.nested.as_nested_tensor([x, b], layout=t.jagged).sin().to_padded_tensor(0.0).sum().backward(), x.grad][::2]
[x := given(6, 3).requires_grad_(), t.nested.nested_tensor_from_jagged(x, t.tensor([0, 2, 6])).square().sum().backward(), x.grad][::2]
[x := t.nested.nested_tensor([given(2, 4, 8), given(3, 4, 8)], layout=t.jagged, requires_grad=True), F.scaled_dot_product_attention(*[x.transpose(1, 2)] * 3).values().square().sum().backward(), x.grad][::2]
""".strip().splitlines()


@pytest.mark.parametrize("call", CALLS)
def test_calls(call):
    wanted, got = outcome(call, torch), outcome(call, flambeau)
    assert same(got, wanted), (got, wanted)


def test_printed():
    for make in ("x", "x * 2", "x.transpose(1, 2)", "x + x"):
        texts = []
        for t in LIBRARIES:
            for grad in (False, True):
                x = t.nested.nested_tensor([t.ones(2, 3), t.ones(4, 3)], layout=t.jagged, requires_grad=grad)
                texts.append(re.sub(r"j\d+|0x\w+", "", repr(eval(make, {"x": x}))))
        assert texts[:2] == texts[2:]


def test_older_layout():
    """Which prints its parts, and may meet others with the same lengths."""
    for program in (
        "x",
        "x + x",
        "x.sin()",
        "x * y",
        "x.to_padded_tensor(-1.0)",
        "torch.cat([x, y], -1)",
        "torch.nn.functional.linear(x, w)",
        "x[1]",
        "x.unbind()[0]",
        "x.is_nested",
        "x.layout",
    ):
        found = []
        for t in LIBRARIES:
            a, b = t.arange(6.0).view(2, 3), t.arange(12.0).view(4, 3)
            names = {"torch": t, "x": t.nested.nested_tensor([a, b]), "y": t.nested.nested_tensor([a, b]), "w": t.ones(2, 3)}
            found.append(repr(eval(program, names)))
        assert found[0] == found[1], program


def test_pickled():
    x = flambeau.nested.nested_tensor([flambeau.ones(2, 3), flambeau.zeros(4, 3)], layout=flambeau.jagged)
    again = pickle.loads(pickle.dumps(x))
    assert same(described(again, flambeau), described(x, flambeau))
    with pytest.raises(NotImplementedError, match="nested_tensor_from_jagged"):
        flambeau.save(x, "/dev/null")


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("settings", [{}, {"norm_first": True}, {"batch_first": False}, {"nhead": 1}], ids=str)
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("training", ["grad", "no_grad"])
def test_encoders_fill_padding(activation, settings, holes, training):
    """Where PyTorch computes without padding, it puts zeros there."""
    known = {"nhead": 2, "batch_first": True, "dropout": 0.0, "activation": activation, **settings}
    found = []
    for t in LIBRARIES:
        t.manual_seed(0)
        layer = t.nn.TransformerEncoderLayer(8, dim_feedforward=16, **known)
        encoder = t.nn.TransformerEncoder(layer, 2, t.nn.LayerNorm(8)).eval()
        x = t.from_numpy(np.random.default_rng(0).standard_normal((2, 4, 8)).astype(np.float32))
        mask = t.tensor([[False, holes, False, True], [False, False, True, True]])
        with t.set_grad_enabled(training == "grad"):
            out = encoder(x if known["batch_first"] else x.transpose(0, 1), src_key_padding_mask=mask)
        found.append(out.detach().numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)


def _with_plain_names(value):
    """Sizes of ragged dims are counted in a process: their names are not compared."""
    return re.sub(r"j\d+|0x\w+", "", repr(value))


@pytest.mark.parametrize(
    "program",
    [
        "nt([[1, 2], [3.0]])", "nt([])", "nt([torch.ones(2), torch.ones(3).double()])", "nt([torch.ones(2), torch.ones(3).double()], layout=torch.jagged)",
        "nt([torch.ones(2), torch.ones(2, 2)])", "nt(3)", "nt([torch.ones(2), torch.ones(1)], requires_grad=True)", "nt([torch.ones(2), torch.ones(1)], requires_grad=True) * 2",
        "nt([torch.ones(2, 3), torch.ones(1, 3)], requires_grad=True).sin()[1].detach()",
    ],
)  # fmt: skip
def test_lists_that_batches_are_made_of(program):
    found = []
    for t in LIBRARIES:
        try:
            found.append(_with_plain_names(eval(program, {"torch": t, "nt": t.nested.nested_tensor})))
        except Exception as error:
            found.append((type(error).__name__, str(error)[:40]))
    assert found[0] == found[1]


def test_batches_that_show_no_sizes_leave_the_names_of_sizes_alone():
    a = flambeau.nested.nested_tensor([flambeau.ones(2)], layout=flambeau.jagged).shape[1]
    flambeau.nested.nested_tensor([flambeau.ones(2)])
    b = flambeau.nested.nested_tensor([flambeau.ones(2)], layout=flambeau.jagged).shape[1]
    assert int(repr(b)[1:]) == int(repr(a)[1:]) + 1
