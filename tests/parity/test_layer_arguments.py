"""What layers and their functions say of arguments that they refuse, or warn of, beside PyTorch."""

from __future__ import annotations

import io
import warnings

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

CALLS = {
    **{
        f"scale {scale} {mode}": lambda t, scale=scale, mode=mode: t.nn.functional.interpolate(
            t.ones(1, 1, 16, 16), scale_factor=scale, mode=mode
        )
        for scale in (-1e20, 1e20, -1.0, 0.0, 1e-3, float("nan"), float("inf"))
        for mode in ("bilinear", "nearest")
    },
    "size of floats": lambda t: t.nn.functional.interpolate(t.ones(1, 1, 4, 4), size=(2.0, 2.0)),
    "size of float tensors": lambda t: t.nn.functional.interpolate(t.ones(1, 1, 4, 4), size=(t.tensor(2.0), t.tensor(2.0))),
    "size of integer tensors": lambda t: t.nn.functional.interpolate(t.ones(1, 1, 4, 4), size=(t.tensor(2), t.tensor(2))),
    **{
        f"multi_margin {x} {y}": lambda t, x=x, y=y: t.nn.functional.multi_margin_loss(t.ones(x), t.zeros(y, dtype=t.int64))
        for x, y in (
            ((0,), (10,)),
            ((10, 0), (10,)),
            ((0, 0), (0,)),
            ((3, 2), (2,)),
            ((3,), (2,)),
            ((2, 3, 4), (2,)),
            ((0, 4), (0,)),
            ((), ()),
        )
    },
    **{
        f"multilabel_margin {x} {y}": lambda t, x=x, y=y: t.nn.functional.multilabel_margin_loss(
            t.ones(x), t.zeros(y, dtype=t.int64)
        )
        for x, y in (
            ((0,), (10,)),
            ((10, 0), (10, 0)),
            ((3, 4), (3,)),
            ((3,), (4,)),
            ((2, 3, 4), (2, 3, 4)),
            ((0, 4), (0, 4)),
            ((), ()),
        )
    },
    **{
        f"more than memory holds: {name} {size}": lambda t, name=name, size=size: getattr(t.nn, name)(size)(
            t.ones([2] * (2 + int(name[-2])))
        )
        for name in ("AdaptiveMaxPool2d", "AdaptiveMaxPool3d")
        for size in (0x3FFFFFFFFFFFFFFF, 0)
    },
    "fold without blocks": lambda t: t.nn.functional.fold(t.ones(1, 12, 12), (4, 5), 2, dilation=8),
    "fold of other blocks": lambda t: t.nn.functional.fold(t.ones(1, 12, 11), (4, 5), 2),
    "to copy": lambda t: t.nn.Linear(2, 2).to("cpu", copy=True),
    "to copy=False": lambda t: t.nn.Linear(2, 2).to("cpu", copy=False),
    "to two flags": lambda t: t.nn.Linear(2, 2).to(t.float64, True, True),
    "to device and flag": lambda t: t.nn.Linear(2, 2).to("cpu", True),
    "to other": lambda t: t.nn.Linear(2, 2).to(other=t.ones(1)),
    "to tensor": lambda t: t.nn.Linear(2, 2).to(tensor=t.ones(1, dtype=t.float64)).weight,
    "to nothing": lambda t: t.nn.Linear(2, 2).to().weight,
    "to device dtype flag": lambda t: t.nn.Linear(2, 2).to("cpu", t.float64, True).weight,
    "threshold of one place": lambda t: t.nn.functional.threshold(t.ones(1, 3).expand(4, 3), 2.0, 0.5, inplace=True),
    "relu of one place": lambda t: t.ones(1, 3).expand(4, 3).relu_(),
    "instance norm of other channels": lambda t: t.nn.InstanceNorm1d(4, affine=True)(t.ones(2, 2)),
    "instance norm of samples": lambda t: t.nn.InstanceNorm2d(4, affine=True)(t.ones(3, 2, 2, 2)),
    "parameters on meta": lambda t: t.nn.ParameterList([t.nn.Parameter(t.empty(1, device="meta"))]),
}


@pytest.mark.parametrize("name", CALLS)
def test_told(name):
    def told(t):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                result = CALLS[name](t)
            except Exception as error:
                return type(error).__name__, str(error)[:110]
        return (tuple(result.shape), str(result.dtype)) if isinstance(result, t.Tensor) else str(result)

    assert told(flambeau) == told(torch)


def written_pieces(t, name, *given):
    a = t.arange(9.0).reshape(3, 3).requires_grad_()
    pieces = getattr(a + a, name)(*given)
    pieces[0].mul_(pieces[1])
    pieces[0].sum().backward()
    return a.grad.tolist()


@pytest.mark.parametrize(
    "given", [("unsafe_split", 1), ("unsafe_split_with_sizes", (1, 1, 1)), ("unsafe_chunk", 3)], ids=lambda g: g[0]
)
def test_pieces_that_may_be_written_to(given):
    assert written_pieces(flambeau, *given) == written_pieces(torch, *given)


def test_hooks_that_write_to_what_is_saved():
    def told(t):
        a = t.ones(2, requires_grad=True)
        with pytest.raises(RuntimeError) as raised, t.autograd.graph.saved_tensors_hooks(lambda x: x.add_(1), lambda x: x):
            a.exp()
        return str(raised.value)[:60]

    assert told(flambeau) == told(torch)


def test_a_parameter_that_becomes_smaller():
    def told(t):
        p = t.nn.Parameter(t.ones(4))
        for _ in range(2):
            with t.no_grad():
                p.set_(p[1:])
                p.grad = None
            t.cat((p, p)).sum().backward()
        return p.grad.tolist()

    assert told(flambeau) == told(torch)


@pytest.mark.parametrize("rows, columns, indices", [(0, 0, []), (4, 0, [[0, 2], [1, 3]]), (4, 3, [])])
def test_sparse_gradients_of_empty_lookups(rows, columns, indices):
    def told(t):
        table = t.nn.Embedding(rows, columns, sparse=True)
        table(t.tensor(indices, dtype=t.int64)).sum().backward()
        g = table.weight.grad
        return g.is_sparse, tuple(g.shape), tuple(g._indices().shape), tuple(g._values().shape)

    assert told(flambeau) == told(torch)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("shape", [(1, 3, 2, 1), (1, 3, 2, 2), (2, 1, 3, 2), (2, 3, 1, 1)])
def test_memory_of_normalised_images(shape, train):
    """A dim of one element does not hide that channels are innermost."""

    def told(t):
        x = t.arange(float(shape[0] * shape[1] * shape[2] * shape[3])).reshape(shape).permute(0, 2, 1, 3)
        return t.nn.BatchNorm2d(shape[2]).train(train)(x).stride()

    assert told(flambeau) == told(torch)


WARNINGS = {
    "grid of one row": lambda t: t.nn.functional.affine_grid(t.ones(1, 2, 3), (1, 1, 2, 1), align_corners=True),
    "load into meta": lambda t: t.nn.Linear(3, 5, device="meta").load_state_dict(t.nn.Linear(3, 5).state_dict()),
    "bags in the old order": lambda t: t.nn.functional.embedding_bag(t.ones(4, 2), t.tensor([0, 1, 3]), t.tensor([0, 1])),
    "instance norm of more channels": lambda t: t.nn.InstanceNorm1d(4)(t.ones(3, 2, 2)),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warned(name):
    def told(t):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            WARNINGS[name](t)
        return [(w.category.__name__, " ".join(str(w.message).split())) for w in caught]

    assert told(flambeau) == told(torch)


def test_skip_init_spends_no_random_numbers():
    def told(t):
        t.manual_seed(1)
        layer = t.nn.utils.skip_init(t.nn.Linear, 5, 1, device="cpu")
        return str(layer), layer.weight.is_meta, layer.weight.requires_grad, t.rand(1).item()

    assert told(flambeau) == told(torch)


@pytest.mark.parametrize("name", ["MultiheadAttention(4, 2)", "TransformerDecoderLayer(4, 2)"])
def test_whole_layers_with_attention_in_files(name):
    """One of its classes stands in no list of names."""
    layer = eval(f"flambeau.nn.{name}")
    file = io.BytesIO()
    flambeau.save(layer, file)
    file.seek(0)
    assert str(flambeau.load(file, weights_only=False)) == str(layer) == str(eval(f"torch.nn.{name}"))


def test_a_subclass_says_how_samples_of_an_instance_norm_come():
    def told(t):
        class Norm(t.nn.modules.instancenorm._InstanceNorm):
            def _get_no_batch_dim(self):
                return 2

            def _check_input_dim(self, input):
                assert input.dim() in (2, 3)

        x = t.arange(12.0).reshape(2, 6)
        return Norm(2)(x).tolist(), Norm(2)(x.reshape(2, 2, 3)).tolist()

    ours, theirs = told(flambeau), told(torch)
    assert ours[0] == [pytest.approx(row, abs=1e-6) for row in theirs[0]]
    assert [r for s in ours[1] for r in s] == [pytest.approx(row, abs=1e-6) for s in theirs[1] for row in s]


@pytest.mark.filterwarnings("ignore")
def test_module_hooks_in_a_second_backward_pass():
    """Its gradient comes to the input by a way that does not lead through the output."""

    def told(t):
        class Product(t.nn.Module):
            def forward(self, x, y):
                return (x * y).sin().sum()

        calls = []
        module = Product()
        module.register_full_backward_hook(lambda *given: calls.append(1))
        x, y = t.tensor([1.0, 2.0], requires_grad=True), t.tensor([3.0, 4.0], requires_grad=True)
        (g,) = t.autograd.grad(module(x, y), x, create_graph=True)
        (h,) = t.autograd.grad(g.sum(), x)
        return len(calls), h.tolist()

    ours, theirs = told(flambeau), told(torch)
    assert ours[0] == theirs[0] and ours[1] == pytest.approx(theirs[1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
def test_what_has_no_elements_is_saved_as_several_dtypes(zipped):
    def told(t):
        found = []
        for dtype in (t.float64, t.int64):
            for other in (t.float64, t.float32, t.bool):
                a = t.tensor([], dtype=dtype)
                s = t.TypedStorage(wrap_storage=a.storage().untyped(), dtype=other)
                for pair in ([a, s], [a.storage(), s]):
                    file = io.BytesIO()
                    t.save(pair, file, _use_new_zipfile_serialization=zipped)
                    file.seek(0)
                    found.append([str(x.dtype) for x in t.load(file)])
        return found

    assert told(flambeau) == told(torch)
