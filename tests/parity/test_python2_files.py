"""Files that Python 2 wrote, beside PyTorch: their strings are bytes, of an encoding that whoever loads them must say."""

from __future__ import annotations

import io
import pickletools
import struct
from collections import OrderedDict

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


def as_python2(pickle: bytes) -> bytes:
    """A pickle of protocol 2 with its text as Python 2's strings."""
    out, ends = [], [position for *_, position in pickletools.genops(pickle)][1:] + [len(pickle)]
    for (instruction, argument, position), end in zip(pickletools.genops(pickle), ends, strict=True):
        if instruction.name != "BINUNICODE":
            out.append(pickle[position:end])
            continue
        text = argument.encode("utf-8")
        out.append(b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + struct.pack("<i", len(text)) + text)
    return b"".join(out)


def saved(obj) -> bytes:
    """What ``torch.save`` of Python 2 would have written."""
    file = io.BytesIO()
    torch.save(obj, file, _use_new_zipfile_serialization=False)
    data, parts = file.getvalue(), []
    stream = io.BytesIO(data)
    for _ in range(5):  # magic number, protocol, system, the object, the keys of storages
        start = stream.tell()
        for _ in pickletools.genops(stream):
            pass
        parts.append(as_python2(data[start : stream.tell()]))
    return b"".join([*parts, data[stream.tell() :]])


OBJECTS = {
    "tensor": lambda: torch.arange(3.0),
    "state": lambda: OrderedDict(weight=torch.ones(2, 3), bias=torch.zeros(2, dtype=torch.float64)),
    "nested": lambda: {"epoch": 3, "lr": 0.5, "names": ["a", "b" * 200, ("c", None, True)], "t": torch.tensor([1, 2])},
    "not ascii": lambda: ["żąąóżąż", torch.zeros(1), 2],
    "shared": lambda: (lambda t: [t, t[1:], t.t()])(torch.arange(4.0).view(2, 2)),
    "parameter": lambda: torch.nn.Parameter(torch.ones(2)),
    "size and dtype": lambda: [torch.Size([1, 2]), torch.float16],
    "layer's state": lambda: torch.nn.BatchNorm1d(2).state_dict(),
    "optimizer's state": lambda: torch.optim.SGD([torch.ones(2, requires_grad=True)], 0.1).state_dict(),
    "storage": lambda: torch.FloatStorage([1.0, 2.0]),
}


def plain(value):
    if isinstance(value, (torch.Tensor, flambeau.Tensor)):
        return str(value.dtype), value.tolist(), value.requires_grad, value.storage_offset(), value.stride()
    if isinstance(value, dict):
        return [(plain(k), plain(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(plain, value)]
    if "Storage" in type(value).__name__:
        return list(value)
    return value if isinstance(value, (str, bytes, int, float, type(None), np.ndarray)) else str(value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "latin1", "bytes", "ascii", None])
@pytest.mark.parametrize("name", OBJECTS)
def test_files(name, encoding, weights_only):
    data = saved(OBJECTS[name]())
    outcomes = []
    for t in (torch, flambeau):
        settings = {} if encoding is None else {"encoding": encoding}
        try:
            outcomes.append(plain(t.load(io.BytesIO(data), weights_only=weights_only, **settings)))
        except Exception as error:
            outcomes.append("an error" if "odec" in str(error) else f"{type(error).__name__}: {str(error)[:200]}")
    assert outcomes[1] == outcomes[0]
