"""Strides of results against PyTorch: every record's samples, and images and volumes, in several orders of memory."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

import flambeau
from flambeau.ops.record import Sample, registry
from flambeau.ops.samples import Make

torch = pytest.importorskip("torch")
from tests.parity.test_elementwise import get  # noqa: E402 - it needs torch too

IMAGE, VOLUME = (2, 3, 4, 5), (2, 3, 2, 3, 4)
GAPS = "PyTorch keeps the gaps between the elements of a part of some memory"
LAPACK = "a solution among others, which PyTorch leaves where LAPACK put it"
DIFFERENT = {
    "as_strided_scatter": GAPS, "diagonal_scatter": GAPS, "select_scatter": GAPS, "slice_scatter": GAPS,
    "conj": "PyTorch's is a view with a flag", "conj_physical": "PyTorch returns a real tensor itself",
    "fft.ihfft2": "made of other transforms", "fft.ihfftn": "made of other transforms",
    "fill": "its input is not read, and so not known",
    "linalg.lstsq": LAPACK, "linalg.solve": LAPACK, "linalg.solve_ex": LAPACK, "linalg.solve_triangular": LAPACK,
    "linalg.matrix_power": "made of other products", "histogram": "made of other ops",
    "nn.functional.batch_norm": "statistics whose elements share memory are refused", "nn.functional.threshold": "the same",
    "batch_norm_update_stats": "the same",
    "nn.functional.scaled_dot_product_attention": "the kernels are others",
    "nn.functional.grouped_mm": "PyTorch's takes half precision alone",
    "view_copy": "refused where no view is possible",
}  # fmt: skip
"""Records some of whose results lie in another order than PyTorch's, and why."""


def images(*args, **kwargs):
    return lambda make: [Sample(make(*IMAGE), *args, **kwargs)]


def both(*args, **kwargs):
    return lambda make: [Sample(make(*IMAGE), *args, **kwargs), Sample(make(*VOLUME), *args, **kwargs)]


def pairs(*args, **kwargs):
    return lambda make: [
        Sample(make(*IMAGE), make(*IMAGE), *args, **kwargs),
        Sample(make(*IMAGE), make(3, 1, 1), *args, **kwargs),
        Sample(make(3, 1, 1), make(*IMAGE), *args, **kwargs),
    ]


MORE: dict[str, list] = {}


def more(names: str, *samples) -> None:
    for name in names.split():
        MORE.setdefault(name, []).extend(samples)


more(
    "abs exp sigmoid angle clone relu neg isnan sgn square nn.functional.gelu nn.functional.hardswish nn.functional.silu round "
    "nn.functional.logsigmoid nn.functional.softplus zeros_like rand_like randn_like positive logical_not sum mean prod amax "
    "argmax max min all any count_nonzero argsort nan_to_num std var norm tril triu Tensor.double Tensor.bool",
    both(),
)
more("add mul sub div maximum eq logical_and atan2 copysign nn.functional.mse_loss nn.functional.l1_loss", pairs())
more(
    "sum mean amax argmax argmin var std norm logsumexp nansum any all softmax log_softmax cumsum cumprod cummax logcumsumexp "
    "max median mode sort argsort unbind diff flatten",
    both(1), both(3),
)  # fmt: skip
more("sum mean amax var std norm logsumexp", both(dim=1, keepdim=True), both(dim=(2, 3), keepdim=True), both(dim=(2, 3)))
more("kthvalue topk repeat_interleave", both(2, 1))
more("roll", both(1, 1), both((1, 2), (2, 3)), images(2))
more("flip", both((1,)), both((2, 3)))
more(
    "cat",
    lambda make: [Sample([make(*IMAGE), make(*IMAGE)], d) for d in (0, 1)] + [Sample([make(*IMAGE), make(2, 1, 4, 5)], 1)],
    lambda make: [Sample([make(*VOLUME), make(*VOLUME)], 1)],
)
more("stack", lambda make: [Sample([make(*IMAGE), make(*IMAGE)], d) for d in (0, 1, 4)])
more("where", lambda make: [Sample(make.mask(*IMAGE), make(*IMAGE), y) for y in (make(*IMAGE), 1.5)])
more("where", lambda make: [Sample(make.mask(4, 5), make(*IMAGE), make(*IMAGE))])
more("masked_fill", lambda make: [Sample(make(*IMAGE), make.mask(*m), 0.5) for m in (IMAGE, (4, 5))])
more("index_select", lambda make: [Sample(make(*IMAGE), d, make.index(2, 2)) for d in (0, 1, 3)])
more("gather", lambda make: [Sample(make(*IMAGE), 1, make.index(3, *IMAGE))])
more("scatter scatter_add", lambda make: [Sample(make(*IMAGE), 1, make.index(3, *IMAGE), make(*IMAGE))])
more("index_add index_copy", lambda make: [Sample(make(*IMAGE), 1, make.index(3, 2, unique=True), make(2, 2, 4, 5))])
more("index_fill", lambda make: [Sample(make(*IMAGE), 1, make.index(3, 2), 0.5)])
more("index_put", lambda make: [Sample(make(*IMAGE), (make.index(2, 2),), make(3, 4, 5))])
for mode in ("constant", "reflect", "replicate", "circular"):
    more("nn.functional.pad", images((1, 1), mode=mode) if mode == "constant" else images((1, 0, 1, 2), mode=mode))
more("nn.functional.pad", images((0, 0)), images((1, 0, 1, 2)))
more("constant_pad_nd", both((1, 1)), both((1, -1, 0, 1)))
more("nn.functional.avg_pool2d nn.functional.max_pool2d nn.functional.pixel_unshuffle", lambda make: [Sample(make(2, 3, 4, 4), 2)])
more("nn.functional.avg_pool3d nn.functional.max_pool3d", lambda make: [Sample(make(*VOLUME), 2)])
more("nn.functional.max_pool2d", images(2, return_indices=True))
more("nn.functional.adaptive_avg_pool2d nn.functional.adaptive_max_pool2d", images(2), images(1))
more("nn.functional.adaptive_avg_pool3d nn.functional.adaptive_max_pool3d", lambda make: [Sample(make(*VOLUME), 2)])
more("nn.functional.interpolate", *[images(scale_factor=2, mode=m) for m in ("nearest", "bilinear", "bicubic", "area")])
more("nn.functional.batch_norm", lambda make: [
    Sample(make(*IMAGE), make(3), make(3, low=0.5), make(3), make(3)), Sample(make(*IMAGE), None, None, training=True),
    Sample(make(*VOLUME), None, None, training=True),
])  # fmt: skip
more("nn.functional.group_norm", lambda make: [Sample(make(2, 4, 3, 3), 2, make(4), make(4)), Sample(make(2, 4, 2, 2, 3), 2)])
more("nn.functional.instance_norm nn.functional.normalize", images())
more("nn.functional.layer_norm", images((5,)), images((3, 4, 5)))
more("nn.functional.conv2d", lambda make: [
    Sample(make(2, 4, 4, 5), make(3, 4, 2, 2), make(3)), Sample(make(2, 4, 4, 5), make(4, 1, 2, 2), None, groups=4),
    Sample(make(2, 4, 4, 5), make(3, 4, 1, 1)), Sample(make(2, 4, 4, 5), make(3, 4, 3, 3), None, 1, 1, 2),
])  # fmt: skip
more("nn.functional.conv3d", lambda make: [Sample(make(2, 3, 3, 3, 4), make(2, 3, 2, 2, 2))])
more("nn.functional.conv_transpose2d", lambda make: [Sample(make(2, 4, 4, 5), make(4, 3, 2, 2), make(3), 2, 1, 1)])
more("nn.functional.pixel_shuffle nn.functional.channel_shuffle", lambda make: [Sample(make(2, 4, 3, 3), 2)])
more("nn.functional.grid_sample", lambda make: [Sample(make(*IMAGE), make(2, 3, 3, 2, low=-1, high=1))])
more("nn.functional.linear", lambda make: [Sample(make(*IMAGE), make(4, 5), make(4))])
more("nn.functional.cross_entropy", lambda make: [Sample(make(*IMAGE), make.index(3, 2, 4, 5), reduction="none")])
more("clamp threshold", both(-0.5, 0.5))
more("addcmul", lambda make: [Sample(make(*IMAGE), make(*IMAGE), make(*IMAGE))])


def strides_of(kind: str, shape: tuple[int, ...]) -> list[int]:
    """Strides of a tensor whose memory is ordered as ``kind`` says."""
    n = len(shape)
    order = list(range(n))
    if kind in ("channels_last", "sliced") and n > 2:
        order = [0, *range(2, n), 1]
    elif kind in ("swapped", "sliced") and n > 1:
        order[-2:] = order[:-3:-1]
    elif kind == "reversed":
        order = order[::-1]
    elif kind == "rotated":
        order = [*order[1:], *order[:1]]
    strides, step = [0] * n, 2 if kind == "sliced" else 1
    for d in order[::-1]:
        strides[d] = step
        step *= max(shape[d], 1)
    if kind == "expanded" and n:
        strides[0] = 0
    return strides


def placed(library, values: np.ndarray, strides: list[int]):
    """A tensor of ``values`` with ``strides``; where elements share memory, the last value counts."""
    size = 1 + sum((n - 1) * s for n, s in zip(values.shape, strides, strict=True)) if values.size else 0
    memory = np.zeros(size, values.dtype)
    seen = np.lib.stride_tricks.as_strided(memory, values.shape, [s * values.itemsize for s in strides])
    for i, row in enumerate(values) if values.ndim else [((), values)]:
        seen[i] = row
    return library.tensor(memory).as_strided(values.shape, strides)


def given(value, library, kind: str, which: str, count: list):
    """A sample's argument in ``library``; of its tensors all, or only the first, are laid out as ``kind``."""
    if isinstance(value, flambeau.Tensor):
        count[0] += 1
        values = value.detach().numpy()
        chosen = values.ndim and (which == "all" or count[0] == 1)
        return placed(library, values, strides_of(kind if chosen else "contiguous", values.shape))
    if type(value) in (tuple, list):
        return type(value)(given(v, library, kind, which, count) for v in value)
    if isinstance(value, flambeau.dtype):
        return getattr(library, str(value).split(".")[1])
    if isinstance(value, flambeau.memory_format):
        return getattr(library, value.name)
    return value


def seen(result) -> list:
    """Shapes and strides of all results; of dims that have no step there is none to see."""
    if hasattr(result, "stride"):
        strides = [s if n > 1 else 0 for n, s in zip(result.shape, result.stride(), strict=True)]
        return [(tuple(result.shape), strides if 0 not in result.shape else None)]
    return [x for part in result for x in seen(part)] if isinstance(result, (tuple, list)) else []


def called(function, sample, library, kind: str, which: str) -> list:
    count = [0]
    args = given(list(sample.args), library, kind, which, count)
    kwargs = {k: given(v, library, kind, which, count) for k, v in sample.kwargs.items()}
    return seen(function(*args, **kwargs))


def in_torch(name: str) -> bool:
    try:
        return get(torch, name) is not None
    except AttributeError:
        return False


OPS = sorted({id(op): op for op in registry.values()}.values(), key=lambda op: op.name)
TESTED = [op for op in OPS if (op.samples or op.name in MORE) and op.name not in DIFFERENT and in_torch(op.name)]
LAYOUTS = [
    ("contiguous", "all"),
    *[(k, w) for k in ("channels_last", "swapped", "reversed", "rotated", "sliced", "expanded") for w in ("all", "first")],
]


SINGULAR = frozenset(["linalg.tensorsolve"])
"""Ops for which an expanded operand is a singular matrix: whether that is seen is up to the last bits."""


@pytest.mark.parametrize("op", TESTED, ids=lambda op: op.name)
def test_strides(op):
    """When an op is called first, and when the call is repeated."""
    theirs = get(torch, op.name)
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for make_samples in [*([op.samples] if op.samples else []), *MORE.get(op.name, [])]:
            for sample in make_samples(Make(dtype=flambeau.float32, requires_grad=False)):
                for kind, which in LAYOUTS:
                    if kind == "expanded" and op.name in SINGULAR:
                        continue
                    try:
                        expected = called(theirs, sample, torch, kind, which)
                    except Exception:
                        continue  # values or memory that PyTorch refuses
                    for _ in range(3):
                        assert called(op.function, sample, flambeau, kind, which) == expected, (sample, kind, which)
                    compared += 1
    assert compared


EINSUMS = (
    "ij,jk->ki aib,aj->jib aib,aj->bij aij,axy->xyij aij,axy->xiyj aij,ax->ixj abj,ak->kbj abij,ak->bikj abij,abij->jiab ai,aj->ija"
)


@pytest.mark.parametrize("equation", EINSUMS.split())
def test_einsum(equation):
    def run(library):
        shapes = [[ord(letter) % 7 + 2 for letter in term] for term in equation.partition("->")[0].split(",")]
        return library.einsum(equation, *[library.ones(shape) for shape in shapes]).stride()

    assert run(flambeau) == run(torch)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
@pytest.mark.parametrize("index", ["[0, 1]", "[[0, 1], [1, 0]]"])
def test_lookups(order, index):
    """A dim that is looked up has no step of its own, so it cannot be told apart from the others."""

    def run(library):
        x = library.ones(2, 3, 4, 5).permute(order)
        i = library.tensor(eval(index))
        return [x[i].stride(), x[:, i].stride(), x[:, :, i].stride(), x[i, :, i].stride()]

    assert run(flambeau) == run(torch)


MODULES = {
    "images": "nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Upsample(scale_factor=2), "
    "nn.Conv2d(8, 4, 3, groups=2), nn.GroupNorm(2, 4), nn.AvgPool2d(2), nn.ConvTranspose2d(4, 4, 2), nn.AdaptiveAvgPool2d(2))",
}


@pytest.mark.parametrize("name", MODULES)
def test_gradients_of_a_model(name):
    """Gradients get the order in memory of their leaves, in the first pass and in later ones."""

    def train(library) -> list:
        nn = library.nn  # noqa: F841 (the text of the module names it)
        library.manual_seed(0)
        model = eval(MODULES[name]).to(memory_format=library.channels_last)
        optimizer = library.optim.SGD(model.parameters(), 0.01)
        x = library.randn(4, 3, 8, 8).to(memory_format=library.channels_last).requires_grad_()
        found = []
        for _ in range(4):
            optimizer.zero_grad()
            y = model(x)
            loss = (y * y).sum()
            loss.backward()
            optimizer.step()
            found.append((y.stride(), x.grad.stride(), [(p.stride(), p.grad.stride()) for p in model.parameters()]))
            found.append(pytest.approx(loss.item(), rel=1e-5))
        return found

    ours, theirs = train(flambeau), train(torch)
    assert ours[::2] == theirs[::2]
    assert [x.expected for x in ours[1::2]] == theirs[1::2]


@pytest.mark.parametrize("leaf", ["torch.ones(3, 4).t()", "torch.ones(3, 8)[:, ::2]", "torch.ones(2, 3, 4).permute(1, 2, 0)[:2]"])
def test_gradient_of_a_leaf(leaf, agree):
    agree(
        f"x = {leaf}.requires_grad_(); found = []\nfor i in range(3): (x * x).sum().backward(); found.append(x.grad.stride())\nfound"
    )
