"""Strides of what ``to``, ``cpu``, ``clone`` and ``contiguous`` give for each memory format, of tensors in every order."""

import itertools

import pytest

torch = pytest.importorskip("torch")
import flambeau  # noqa: E402

FORMATS = ["contiguous_format", "channels_last", "preserve_format"]
TENSORS = {
    "row-major": lambda t: t.rand(2, 3, 4, 5),
    "channels last": lambda t: t.rand(2, 3, 4, 5).to(memory_format=t.channels_last),
    "permuted": lambda t: t.rand(2, 3, 4, 5).permute(0, 2, 3, 1),
    "expanded": lambda t: t.rand(3, 4, 5).expand(2, 3, 4, 5),
    "one channel": lambda t: t.rand(2, 1, 4, 5),
    "sliced": lambda t: t.rand(2, 6, 4, 5)[:, ::2],
}
CALLS = {
    "to": lambda t, x, m: x.to(memory_format=m),
    "to the same dtype": lambda t, x, m: x.to(t.float32, memory_format=m),
    "to another dtype": lambda t, x, m: x.to(t.float64, memory_format=m),
    "to the device": lambda t, x, m: x.to("cpu", memory_format=m),
    "to another's": lambda t, x, m: x.to(t.ones(1), memory_format=m),
    "copied": lambda t, x, m: x.to(memory_format=m, copy=True),
    "cpu": lambda t, x, m: x.cpu(memory_format=m),
    "float": lambda t, x, m: x.float(memory_format=m),
    "clone": lambda t, x, m: x.clone(memory_format=m),
    "contiguous": lambda t, x, m: x.contiguous(memory_format=m),
}


def outcome(t, tensor, call, name):
    x = TENSORS[tensor](t)
    try:
        result = CALLS[call](t, x, getattr(t, name))
    except RuntimeError:
        return RuntimeError
    return result.stride(), result is x


@pytest.mark.parametrize("tensor, call, name", list(itertools.product(TENSORS, CALLS, FORMATS)))
def test_strides_of_conversions(tensor, call, name):
    assert outcome(flambeau, tensor, call, name) == outcome(torch, tensor, call, name)
