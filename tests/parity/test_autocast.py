"""Dtypes under CPU autocast against PyTorch: results and gradients of every record, and of the recurrent layers."""

from __future__ import annotations

import warnings

import pytest

import flambeau
from flambeau.ops.record import registry
from flambeau.ops.samples import Make
from tests.parity.test_elementwise import get

torch = pytest.importorskip("torch")

DIFFERENT = {
    "conj_physical": "PyTorch returns a real leaf itself", "ldexp": "PyTorch multiplies by a number of the input's dtype",
    "linalg.matrix_power": "a power of 0 has a gradient there", "nn.functional.soft_margin_loss": "targets of another dtype",
    **dict.fromkeys([n for n in registry if n.startswith("special.") and "bessel" in n], "PyTorch has no gradient"),
}  # fmt: skip


def given(value, library, dtype, made: list):
    """A sample's argument in ``library``, its floats as ``dtype``."""
    if isinstance(value, flambeau.Tensor):
        t = library.tensor(value.detach().numpy().copy())
        if dtype is not None and t.is_floating_point():
            t = t.to(getattr(library, dtype))
        made.append(t.requires_grad_() if value.requires_grad else t)
        return t
    if type(value) in (tuple, list):
        return type(value)(given(v, library, dtype, made) for v in value)
    return getattr(library, str(value).split(".")[1]) if isinstance(value, flambeau.dtype) else value


def leaves(result) -> list:
    if hasattr(result, "grad_fn"):
        return [result]
    return [t for part in result for t in leaves(part)] if isinstance(result, (tuple, list)) else []


def name(t) -> str | None:
    return None if t is None else str(t.dtype).split(".")[1]


def dtypes_of(function, sample, library, dtype, fast: str) -> tuple:
    library.manual_seed(0)
    made: list = []
    args = given(list(sample.args), library, dtype, made)
    kwargs = {k: given(v, library, dtype, made) for k, v in sample.kwargs.items()}
    with library.autocast("cpu", dtype=getattr(library, fast)):
        results = leaves(function(*args, **kwargs))
    ends = [t.abs().sum() if t.is_complex() else t.sum() for t in results if t.grad_fn is not None]
    wanted = [t for t in made if t.requires_grad]
    grads = library.autograd.grad(ends, wanted, allow_unused=True) if ends and wanted else ()
    return [name(t) for t in results], [name(g) for g in grads]


def in_torch(full: str) -> bool:
    try:
        return get(torch, full) is not None
    except AttributeError:
        return False


OPS = sorted({id(op): op for op in registry.values()}.values(), key=lambda op: op.name)
TESTED = [op for op in OPS if op.samples and op.name not in DIFFERENT and in_torch(op.name)]


@pytest.mark.parametrize("op", TESTED, ids=lambda op: op.name)
def test_dtypes(op):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in list(op.samples(Make(dtype=flambeau.float32)))[:3]:
            for dtype in (None, "bfloat16", "float64"):
                for fast in ("bfloat16", "float16"):
                    try:
                        expected = dtypes_of(get(torch, op.name), sample, torch, dtype, fast)
                    except Exception:
                        continue  # a dtype for which PyTorch has no kernel
                    assert dtypes_of(op.function, sample, flambeau, dtype, fast) == expected, (sample, dtype, fast)


RECURRENT = [(k, s) for k in ("LSTM", "GRU", "RNN") for s in ("", ", bidirectional=True, num_layers=2", ", bias=False")]
RECURRENT += [(k, "") for k in ("LSTMCell", "GRUCell", "RNNCell")]


@pytest.mark.parametrize(("kind", "settings"), RECURRENT)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_recurrent_layers(kind, settings, dtype, agree):
    agree(f"""
def dtypes(x):
    return [t.dtype for t in ((x,) if isinstance(x, torch.Tensor) else (*dtypes_in(x[0]), *dtypes_in(x[1])))]
def dtypes_in(x):
    return x if isinstance(x, tuple) else (x,)
module = torch.nn.{kind}(4, 3{settings})
if "{dtype}" == "float64": module = module.double()
x = torch.ones({"2, 4" if "Cell" in kind else "5, 2, 4"}).to(torch.{dtype}).requires_grad_()
with torch.autocast("cpu", dtype=torch.bfloat16): y = module(x)
(y if isinstance(y, torch.Tensor) else y[0]).float().sum().backward()
dtypes(y), x.grad.dtype, [p.grad.dtype for p in module.parameters() if p.grad is not None]
""")
