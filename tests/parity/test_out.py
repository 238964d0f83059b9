"""``out=`` of every dtype and of other shapes, for every op that takes it: PyTorch's values, or its class of error."""

from __future__ import annotations

import warnings

import pytest

import flambeau
from flambeau.ops import registry
from flambeau.ops.samples import Make

torch = pytest.importorskip("torch")

OUT = "bool uint8 int32 int64 float16 float32 float64 complex64".split()
OTHERWISE = {
    # PyTorch's own limits, which no program relies on: these are more than it takes.
    "dist", "nn.functional.glu", "median", "nanmedian", "prod", "sum", "nansum", "nanmean", "cumsum", "cumprod", "all", "any", "ldexp",
    "fft.hfft", "fft.hfft2", "fft.hfftn", "fft.irfft", "fft.irfft2", "fft.irfftn",
    # The class of the error is TypeError there.
    "cat", "stack", "hstack", "vstack", "dstack", "column_stack",
}  # fmt: skip


def get(library, name):
    for part in name.split("."):
        library = getattr(library, part, None)
    return library


def theirs(value):
    if isinstance(value, flambeau.Tensor):
        return torch.tensor(value.detach().numpy())
    if isinstance(value, flambeau.dtype):
        return getattr(torch, str(value).split(".")[1])
    if type(value) in (tuple, list):
        return type(value)(theirs(v) for v in value)
    return {k: theirs(v) for k, v in value.items()} if isinstance(value, dict) else value


def written(library, function, args, kwargs, dtype, shape):
    out = library.zeros(shape, dtype=getattr(library, dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = function(*args, **kwargs, out=out)
        except Exception as error:
            return type(error)
    assert result is out
    return tuple(out.shape), str(out.dtype).split(".")[1]


OPS = [op for name, op in sorted(registry.items()) if op.name == name and op.out and op.samples and get(torch, name) is not None]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_out(op):
    function = get(torch, op.name)
    for kind in ("float32", "int64"):
        try:
            sample = next(iter(op.samples(Make(dtype=getattr(flambeau, kind), requires_grad=False))))
            expected = function(*theirs(sample.args), **theirs(sample.kwargs))
            op.function(*sample.args, **sample.kwargs)
        except (RuntimeError, TypeError):
            continue
        if not isinstance(expected, torch.Tensor):
            continue
        shape = tuple(expected.shape)
        for dtype in OUT:
            for other in (shape, (0,), (2, *shape)):
                ours = written(flambeau, op.function, sample.args, sample.kwargs, dtype, other)
                found = written(torch, function, theirs(sample.args), theirs(sample.kwargs), dtype, other)
                if op.name in OTHERWISE and type(found) is type:
                    continue
                if found is RuntimeError and other != shape:
                    assert ours is RuntimeError or not op.tensors, (kind, dtype, other)
                elif other == shape or type(found) is not type:
                    assert ours == found, (kind, dtype, other)


def test_numbers_are_drawn_in_the_dtype_of_out(agree):
    for name in ("rand", "randn"):
        for dtype in ("float32", "float64", "bfloat16"):
            agree(f"torch.manual_seed(1); o = torch.empty(5, dtype=torch.{dtype}); torch.{name}(5, out=o); o.tolist()")
    agree("torch.manual_seed(1); o = torch.empty(5, dtype=torch.int32); torch.randint(9, (5,), out=o); o.tolist()")
    agree("torch.arange(3, dtype=torch.int32, out=torch.empty(3))")


def test_ranges_write_into_views(agree):
    for call in ("torch.arange(0, 4, out={})", "torch.linspace(0, 3, 4, out={})", "torch.logspace(0, 1, 4, out={})"):
        for view in ("x[:, 1:]", "x[:, :2].t()", "x.view(-1)[1:5]", "x[::2, ::2]"):
            agree(f"x = torch.zeros(3, 3)[:2]; {call.format(view)}; x")
