"""What is seen of the tape: names of entries, how many inputs they have and which, over all records and many layers."""

from __future__ import annotations

import functools
import warnings

import pytest

import flambeau
from flambeau.ops.record import registry
from flambeau.ops.samples import Make
from tests.parity.samples import as_torch, replaced, tensors

torch = pytest.importorskip("torch")

OPS = sorted({id(op): op for op in registry.values()}.values(), key=lambda op: op.name)
PRIMITIVES = [op for op in OPS if op.form != "composite" and op.samples and op.grads]

OTHERWISE = {
    "conj_physical": "PyTorch gives a real tensor back as it is",
    "index_add": "alpha is a product of its own",
    "linalg.svdvals": "an op of its own, whose first output it is",
    "nansum": "what is infinite is replaced before",
    "sort": "stable=True is no overload of its own",
    "special.ndtr": "one op",
    **{name: "of a 0-dim tensor, dim=0 is no overload of its own" for name in ("mean", "prod", "sum")},
    **{
        f"special.{name}": "has a derivative here"
        for name in ("bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1",
                     "scaled_modified_bessel_k0", "scaled_modified_bessel_k1")
    },
}  # fmt: skip


def seen(fn, depth=4):
    """An entry's name, and what is seen of the entries behind it."""
    if fn is None:
        return None
    if fn.name() == "torch::autograd::AccumulateGrad":
        return "leaf"
    if not depth:
        return "..."
    return type(fn).__name__, fn.name(), [(seen(f, depth - 1), i) for f, i in fn.next_functions]


def as_leaf(x):
    return x.detach().requires_grad_() if isinstance(x, flambeau.Tensor) and x.grad_fn is not None else x


def graphs(result, kind):
    return [(t.requires_grad, t.output_nr, seen(t.grad_fn)) for t in tensors(result, kind)]


@pytest.mark.parametrize("op", [op for op in PRIMITIVES if op.name not in OTHERWISE], ids=lambda op: op.name)
def test_ops(op):
    try:
        theirs = functools.reduce(getattr, op.name.split("."), torch)
    except AttributeError:
        pytest.skip("PyTorch has no op of this name")
    for sample in op.samples(Make()):
        args, kwargs = replaced([list(sample.args), sample.kwargs], as_leaf)
        t_args, t_kwargs = replaced([args, kwargs], functools.partial(as_torch, {}, leaves=True))
        try:
            expected = theirs(*t_args, **t_kwargs)
        except (RuntimeError, TypeError):
            continue  # the sample is of an argument that PyTorch does not take
        assert graphs(op.function(*args, **kwargs), flambeau.Tensor) == graphs(expected, torch.Tensor), sample


LAYERS = """
Linear(3, 4); 2 3
Linear(3, 4, bias=False); 2 3
Linear(3, 4); 2 5 3
Conv1d(2, 3, 2); 1 2 5
Conv2d(2, 3, 2); 1 2 5 5
Conv2d(2, 3, 2, bias=False, padding=1); 1 2 5 5
Conv3d(2, 3, 2); 1 2 3 3 3
ConvTranspose2d(2, 3, 2); 1 2 3 3
BatchNorm1d(3); 4 3
BatchNorm2d(3); 4 3 2 2
BatchNorm2d(3).eval(); 4 3 2 2
LayerNorm(3); 4 3
GroupNorm(1, 2); 3 2 4
ReLU(); 3
ReLU6(); 3
ELU(); 3
SELU(); 3
GELU(); 3
SiLU(); 3
Mish(); 3
Hardswish(); 3
Hardsigmoid(); 3
Hardtanh(); 3
LeakyReLU(); 3
PReLU(); 2 3
Softplus(); 3
Softshrink(); 3
Hardshrink(); 3
Tanhshrink(); 3
Softsign(); 3
LogSigmoid(); 3
Threshold(0.1, 0.2); 3
Softmax(-1); 2 3
LogSoftmax(-1); 2 3
Softmin(-1); 2 3
Dropout(0.5); 4
MaxPool2d(2); 1 2 4 4
AvgPool2d(2); 1 2 4 4
AdaptiveAvgPool2d(1); 1 2 4 4
AdaptiveAvgPool2d(2); 1 2 4 4
AdaptiveMaxPool2d(2); 1 2 4 4
LPPool2d(2, 2); 1 2 4 4
Flatten(); 2 3 2
Unflatten(1, (2, 3)); 2 6
Upsample(scale_factor=2); 1 1 2 2
Upsample(scale_factor=2, mode="bilinear"); 1 1 2 2
Upsample(scale_factor=2, mode="bicubic"); 1 1 2 2
ZeroPad2d(1); 1 1 2 2
ReflectionPad2d(1); 1 1 3 3
ReplicationPad2d(1); 1 1 3 3
Fold((4, 4), 2); 1 4 9
Unfold(2); 1 1 4 4
MSELoss(); 2 3, 2 3
L1Loss(); 2 3, 2 3
SmoothL1Loss(); 2 3, 2 3
HuberLoss(); 2 3, 2 3
BCEWithLogitsLoss(); 2 3, 2 3
KLDivLoss(); 2 3, 2 3
TransformerEncoderLayer(4, 2, 8, dropout=0.0); 3 2 4
"""


@pytest.mark.parametrize("case", LAYERS.strip().split("\n"))
@pytest.mark.filterwarnings("ignore")
def test_layers(case):
    layer, _, shapes = case.partition("; ")
    found = []
    for library in (flambeau, torch):
        module = eval(layer, vars(library.nn).copy())
        inputs = [library.rand(*map(int, shape.split())).requires_grad_() for shape in shapes.split(",")]
        found.append(graphs(module(*inputs), library.Tensor))
    assert found[0] == found[1]


def test_an_lstm_has_the_name_of_pytorch():
    out, (h, c) = flambeau.nn.LSTM(3, 4)(flambeau.rand(5, 2, 3))
    assert out.grad_fn.next_functions[0][0].name() == "MkldnnRnnLayerBackward0"


SCALARS = """
x + 2; x - 2; x * 2; x / 2; 2 + x; 2 - x; 2 * x; 2 / x; x ** 2; 2.0 ** x; x ** x; x // 2; x % 2; x % x; torch.rsub(x, x)
x.clamp(0); x.clamp(x, x); x.clamp_min(x); x.masked_fill(x > 0, 1); x.masked_fill(x > 0, x.sum()); torch.where(x > 0, x, 0.0)
x.squeeze(); x[None].squeeze(0); x[None].squeeze((0,)); x.split(2); x.split([1, 2]); x.chunk(2); x[:]; x[...]; x[1:]; x[1]
torch.var_mean(x); torch.std_mean(x, 0); x.unique(); x.div(2, rounding_mode="floor"); torch.lerp(x, x, 0.3); torch.lerp(x, x, x)
"""


@pytest.mark.parametrize("program", [p.strip() for p in SCALARS.replace("\n", ";").split(";") if p.strip()])
def test_numbers_and_overloads(program):
    found = []
    for library in (flambeau, torch):
        x = library.tensor([1.0, 2.0, 3.0], requires_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(graphs(eval(program, {"torch": library, "x": x}), library.Tensor))
    assert found[0] == found[1]


WRITES = """
y = x * 1; y.mul_(2)
y = x * 1; v = y[:2]; v.mul_(2)
y = x * 1; v = y[:2]; v.mul_(x[:2])
y = x * 1; v = y[:2]; v.exp_()
y = x * 1; v = y[:2]; w = y[2:]; w.add_(v[0])
"""


@pytest.mark.parametrize("program", WRITES.strip().split("\n"))
def test_writes(program):
    found = []
    for library in (flambeau, torch):
        scope = {"torch": library, "x": library.tensor([1.0, 2.0, 3.0], requires_grad=True)}
        exec(program, scope)
        found.append({k: graphs(v, library.Tensor) for k, v in scope.items() if isinstance(v, library.Tensor)})
    assert found[0] == found[1]


@pytest.mark.parametrize("equation", ["ij,jk->ik", "bij,jk->bik", "ij->ji", "i,i->"])
def test_last_entries_of_sums_of_products(equation):
    names = []
    for t in (torch, flambeau):
        terms = equation.partition("->")[0].split(",")
        operands = [t.ones([3] * len(term), requires_grad=True) for term in terms]
        names.append(t.einsum(equation, *operands).grad_fn.name())
    assert names[1] == names[0]
