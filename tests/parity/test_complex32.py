"""Complex numbers of half precision: what can be done with them is what PyTorch's CPU build does with them."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from flambeau.core import dtypes  # noqa: E402
from flambeau.ops.record import registry  # noqa: E402
from flambeau.ops.samples import Make  # noqa: E402
from tests.parity.samples import replaced  # noqa: E402

SAMPLED = sorted({op.name for op in registry.values() if op.samples})


def function(library, name: str):
    """The function or method that an op is called by; ``None`` where the library has none of that name."""
    found = library
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if callable(found) else getattr(library.Tensor, name.rpartition(".")[2], None)


def argument(x, library):
    """A sample's argument with complex32 in place of numbers with a fraction."""
    if isinstance(x, flambeau.Tensor):
        fraction = x.dtype.is_floating_point or x.dtype.is_complex
        array = np.array((x.detach().to(flambeau.complex64) if fraction else x)._array())
        return library.from_numpy(array).to(library.complex32) if fraction else library.from_numpy(array)
    return getattr(library, x.name) if isinstance(x, dtypes.dtype) else x


def plain(x, library):
    """A result as dtypes and numbers; those of half precision are rounded more than once on some ways."""
    if isinstance(x, library.Tensor):
        few = np.array(x.tolist(), np.complex128) if "complex" in str(x.dtype) or x.is_floating_point() else np.array(x.tolist())
        return str(x.dtype), few
    return [plain(y, library) for y in x] if isinstance(x, (tuple, list)) else x


def outcome(library, name: str, sample):
    try:
        args, kwargs = [replaced(x, lambda y: argument(y, library)) for x in (sample.args, dict(sample.kwargs))]
        return plain(function(library, name)(*args, **kwargs), library)
    except Exception as error:
        return type(error)


def same(a, b) -> bool:
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and np.allclose(a, b, rtol=4e-3, atol=4e-3, equal_nan=True)
    return a == b


BETWEEN = set(
    "addr channel_shuffle conv_tbc cross embedding_bag ldexp linalg.cross linalg.matrix_power nn.functional.channel_shuffle "
    "nn.functional.conv_tbc nn.functional.embedding_bag nn.functional.pixel_shuffle nn.functional.pixel_unshuffle put take convolution nn.functional.pdist renorm".split()
)
"""Made of ops that there are for these numbers, where PyTorch has a kernel of its own that does not take them."""
TRIVIAL = set(
    "bincount bmm cummax cummin cumprod cumsum einsum flip flipud rot90 index_reduce isin kthvalue log_softmax softmax mm mv pow prod "
    "linalg.matrix_power nn.functional.pad".split()
)
"""Where PyTorch finds before it asks for a kernel that there is nothing to compute: no elements, or one, or the exponent 0."""


@pytest.mark.parametrize("name", SAMPLED)
def test_all_ops(name):
    if name.startswith(("_", "empty")) or name == "broadcast_to" or function(torch, name) is None:
        pytest.skip("PyTorch has no function of this name and signature, or no values are promised")
    for sample in registry[name].samples(Make(requires_grad=False)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted, got = outcome(torch, name, sample), outcome(flambeau, name, sample)
        if isinstance(wanted, type):
            assert isinstance(got, type) or name in BETWEEN, (sample, got, wanted)
        elif not (isinstance(got, type) and name in TRIVIAL):
            assert same(got, wanted), (sample, got, wanted)


CALLS = {
    "printed": lambda t, x: (repr(x), repr(x * 1e-3), str(x[0]), repr(t.ones(2, 1, dtype=x.dtype)), str(x.real)),
    "parts": lambda t, x: (x.real, x.imag, t.view_as_real(x), t.view_as_complex(t.ones(3, 2).half()), x.view(t.float16), x.view(t.int32)),
    "made": lambda t, x: (t.zeros(2, dtype=x.dtype), t.full((2,), 1 - 2j, dtype=x.dtype), t.tensor([1e6 + 1j, complex("nan"), -1e-8j], dtype=x.dtype)),
    "complex": lambda t, x: (t.complex(x.real, x.imag), t.ones(2).half() * 1j, t.ones(2).bfloat16() * 1j),
    "cast": lambda t, x: [x.to(getattr(t, d)) for d in "complex64 complex128 float16 bfloat16 float32 int64 bool".split()],
    "cast to": lambda t, x: [t.arange(3).to(getattr(t, d)).chalf() for d in "complex64 complex128 float16 bfloat16 float32 int64 bool".split()],
    "promoted": lambda t, x: [x + t.ones(3, dtype=getattr(t, d)) for d in "bool uint8 int64 float16 bfloat16 float32 float64 complex64".split()],
    "numbers": lambda t, x: (x + 1, x * 2j, 1 - x, x.item() if x.dim() == 0 else x.tolist(), x[1].item(), x == 3j, complex(x[2])),
    "in place": lambda t, x: [y := x.clone(), y.mul_(2), y.__setitem__(0, 5j), y.imag.neg_(), y.add_(x), y.copy_(t.ones(3))][0],
    "index": lambda t, x: (x[t.tensor([1, 0])], x.clone().index_put((t.tensor([0, 0]),), x[:2], accumulate=True), x[x.abs() > 2]),
    "conjugate": lambda t, x: (x.conj(), x.conj().clone(), x.conj().imag, x.conj() + x, -x, t.view_as_real(x.conj().resolve_conj())),
    "gradient": lambda t, x: [y := x.clone().requires_grad_(), (y * 2).abs().float().sum().backward(), y.grad][::2],
    "of half": lambda t, x: [y := t.ones(3, requires_grad=True), (y.half() * 1j).abs().float().sum().backward(), y.grad][::2],
    "drawn": lambda t, x: [t.manual_seed(0), t.rand(3, dtype=x.dtype), t.randn(3, dtype=x.dtype), t.randn(40, dtype=x.dtype), x.clone().uniform_()][1:],
    "types": lambda t, x: (x.dtype.to_real(), t.float16.to_complex(), x.type(), x.element_size(), x.is_complex(), repr(t.finfo(x.dtype)), t.chalf),
    "layout": lambda t, x: (t.stack([x, x]).t().contiguous(), x.expand(2, 3).clone(), x.repeat(2), t.cat([x, x]), x.roll(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_uses(name):
    def run(library):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = library.tensor([1 + 1j, 2 - 0.5j, 3j], dtype=library.complex32)
            return str(replaced(CALLS[name](library, x), str))

    wanted = run(torch)
    assert [run(flambeau) for _ in range(3)] == [wanted] * 3


@pytest.mark.parametrize("name", ["exp", "sqrt", "sum", "mean", "sort", "numpy", "sigmoid", "unique", "square", "max"])
def test_refused(name):
    for library in (torch, flambeau):
        with pytest.raises((NotImplementedError, TypeError, RuntimeError)):
            getattr(library.ones(3, dtype=library.complex32), name)()


def test_saved_by_either():
    for ours, theirs in [(torch, flambeau), (flambeau, torch)]:
        file = io.BytesIO()
        ours.save({"x": ours.tensor([[1 + 2j, -3j]], dtype=ours.complex32).t()}, file)
        file.seek(0)
        loaded = theirs.load(file)["x"]
        assert loaded.dtype is theirs.complex32 and loaded.tolist() == [[1 + 2j], [-3j]]
