"""Checkpoints made by hand: what hostile, damaged and foreign files cannot do."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch

LEGACY = Path(__file__).with_name("legacy.pt").read_bytes()  # written by PyTorch 2.13, without its zip format
REFUSED = (RuntimeError, pickle.UnpicklingError, EOFError)


def save_bytes(obj: object) -> bytes:
    f = io.BytesIO()
    torch.save(obj, f)
    return f.getvalue()


def load_bytes(data: bytes, **kwargs):
    return torch.load(io.BytesIO(data), **kwargs)


def archive(pickled: bytes, compression: int = zipfile.ZIP_STORED, **records: bytes) -> bytes:
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w", compression) as z:
        z.writestr("archive/data.pkl", pickled)
        for name, data in records.items():
            z.writestr(f"archive/data/{name.strip('_')}", data)
    return f.getvalue()


def part(obj: object) -> bytes:
    """The instructions that make ``obj``, without the beginning and the end of a pickle."""
    return pickle.dumps(obj, 2)[2:-1]


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def storage_id(count=4, key="0", location="cpu", kind="FloatStorage") -> bytes:
    return (
        b"(" + part("storage") + b"ctorch\n" + kind.encode() + b"\n" + part(key) + part(location) + part(count) + b"tQ"
    )


def tensor_file(offset=0, size=(2, 2), stride=(2, 1), storage: bytes | None = None) -> bytes:
    arguments = part(offset) + part(size) + part(stride) + b"\x89" + b"ccollections\nOrderedDict\n)R"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + (storage or storage_id()) + arguments + b"tR"
    return archive(program(call), _0=np.arange(4, dtype=np.float32).tobytes())


def test_map_location():
    here, there = tensor_file(), tensor_file(storage=storage_id(location="cuda:0"))
    for location in (None, "cpu", torch.device("cpu"), {"cpu": "cpu"}, lambda storage, place: storage):
        assert load_bytes(here, map_location=location).tolist() == [[0, 1], [2, 3]]
    for location in ("cpu", torch.device("cpu"), {"cuda:0": "cpu"}, lambda storage, place: storage):
        assert load_bytes(there, map_location=location).tolist() == [[0, 1], [2, 3]]
    seen = []
    load_bytes(here, map_location=lambda storage, place: seen.append(place))
    assert seen == ["cpu"]
    for data, location in ((there, None), (here, "cuda"), (here, torch.device("cuda:0")), (there, {"cuda:1": "cpu"})):
        with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
            load_bytes(data, map_location=location)
    with pytest.raises(RuntimeError, match="don't know how to restore data location .* \\(tagged with moon\\)"):
        load_bytes(here, map_location="moon")


# --- what a file may not do ----------------------------------------------------------------------------------


class Touch:
    """Pickles as a call that would leave a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("posix", "system"), ("os", "system"), ("builtins", "eval"), ("__builtin__", "getattr"), ("pathlib", "Path"),
        ("subprocess", "Popen"), ("torch", "load"), ("torch.serialization", "load"), ("flambeau.serialization", "load"),
        ("flambeau.serialization.vocabulary", "add_safe_globals"), ("importlib", "import_module"), ("sys", "modules"),
        ("numpy", "load"), ("torch.nn", "Module.apply"), ("torch.nn.functional", "__loader__"), ("functools", "partial"),
        ("operator", "attrgetter"), ("pickle", "loads"), ("torch.hub", "load"), ("flambeau.nn.modules", "os"),
    ],
)  # fmt: skip
def test_other_names_mean_nothing(module, name, weights_only):
    data = archive(program(f"c{module}\n{name}\n".encode() + part(("echo",)) + b"R"))
    with pytest.raises(pickle.UnpicklingError, match=name.replace(".", "[.]")) as caught:
        load_bytes(data, weights_only=weights_only)
    if weights_only:
        assert str(caught.value).startswith("Weights only load failed")


@pytest.mark.parametrize("weights_only", [True, False])
def test_nothing_runs(tmp_path, weights_only):
    trace = tmp_path / "trace"
    f = io.BytesIO()
    pickle.dump(Touch(trace), f, 2)
    with pytest.raises(pickle.UnpicklingError, match="getattr"):
        load_bytes(archive(f.getvalue()), weights_only=weights_only)
    with pytest.raises(pickle.UnpicklingError, match="getattr"):
        load_bytes(LEGACY[: LEGACY.index(b"\x80\x02}", 30)] + f.getvalue(), weights_only=weights_only)
    assert not trace.exists()


@pytest.mark.parametrize(
    "body",
    {
        "state for a function": b"ctorch._utils\n_rebuild_tensor_v2\n" + part({"__defaults__": 1}) + b"b",
        "state for a class": b"ctorch\nTensor\n" + part({"backward": 1}) + b"b",
        "state for a dtype": b"ctorch\nfloat32\n" + part({"np": 1}) + b"b",
        "state that hides a method": b"ccollections\nOrderedDict\n)R" + part({"items": 1}) + b"b",
        "a call of a value": b"ctorch\nfloat32\n)R",
        "a call of a tensor class": b"ctorch\nTensor\n)R",
        "a new object of an allowed function": b"ctorch\nSize\n)\x81",
        "an item of a list": b"](" + part("a") + part(1) + b"s",
        "an appended dictionary": b"}" + part(1) + b"a",
        "a huge bytearray": b"cbuiltins\nbytearray\n" + part((1 << 40,)) + b"R",
        "an encoding of its own": b"c_codecs\nencode\n" + part(("x", "rot13")) + b"R",
        "a set of an iterable": b"cbuiltins\nset\n" + part(("abc",)) + b"R",
        "a persistent id that is no storage": part(("module", "os")) + b"Q",
        "a storage of a type of its own": part(("storage", "os", "0", "cpu", 1)) + b"Q",
        "an old instruction": b"(S'echo'\nios\nsystem\n",
        "an extension": b"\x82\x01",
        "an unknown memo entry": b"h\x07",
        "an unbalanced stack": b"NN",
        "nothing": b"",
        "a mark": b"(",
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("weights_only", [True, False])
def test_tricks(body, weights_only):
    with pytest.raises(pickle.UnpicklingError):
        load_bytes(archive(program(body[1])), weights_only=weights_only)


@pytest.mark.parametrize(
    "use",
    {
        "a key": b"}h\x01" + part(0) + b"s",
        "a key in a call": b"ccollections\nOrderedDict\n]h\x01" + part(0) + b"\x86a\x85R",
        "a function": b"h\x01)R",
        "a class": b"h\x01)\x81",
        "something to fill": b"h\x01}b",
        "an argument": b"ctorch\nSize\nh\x01R",
        "an attribute": b"ccollections\nOrderedDict\n)Rh\x01b",
        "a storage": b"h\x01Q",
        "an encoding": b"c_codecs\nencode\n" + part("x") + b"h\x01\x86R",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_short_file_cannot_take_for_ever(use):
    """A nested tuple of 2**60 parts would be hashed, compared or printed for years."""
    body = part(1) + b"q\x010" + b"h\x01h\x01\x86q\x010" * 60 + use[1]
    with pytest.raises(pickle.UnpicklingError):
        load_bytes(archive(program(body)), weights_only=False)


@pytest.mark.parametrize(
    "geometry",
    [
        {"size": (2, 3)}, {"offset": 1}, {"offset": -1}, {"stride": (-2, 1)}, {"size": (-2, 2)}, {"size": (2,)},
        {"size": (1 << 62, 4), "stride": (0, 1)}, {"stride": (1 << 62, 1)}, {"offset": 1 << 70}, {"size": (2.0, 2)},
        {"size": (1,) * 65, "stride": (1,) * 65}, {"size": "ab"}, {"size": (0, 2), "offset": 5},
    ],
    ids=str,
)  # fmt: skip
def test_tensors_outside_of_their_storage(geometry):
    with pytest.raises(REFUSED, match="out of bounds|cannot have size|must be integers|damaged"):
        load_bytes(tensor_file(**geometry))


@pytest.mark.parametrize(
    "storage",
    [storage_id(count=5), storage_id(count=1 << 60), storage_id(count=-1), storage_id(key="1"), storage_id(key="../0"),
     storage_id(kind="DoubleStorage"), part(4)],
)  # fmt: skip
def test_storages_that_are_not_there(storage):
    with pytest.raises(REFUSED, match="its record has|not found|cannot have -1|out of bounds|made from a storage"):
        load_bytes(tensor_file(storage=storage))


def test_zip_bombs_are_refused():
    zeros = bytes(50_000_000)
    body = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage_id(len(zeros) // 4)
        + part(0)
        + part((1,))
        + part((1,))
        + b"\x89NtR"
    )
    bomb = archive(program(body), zipfile.ZIP_DEFLATED, _0=zeros)
    assert len(bomb) < 100_000
    with pytest.raises(RuntimeError, match="claim more bytes than"):
        load_bytes(bomb)
    small = archive(program(body), zipfile.ZIP_DEFLATED)
    with pytest.raises(RuntimeError, match="compressed or encrypted"):
        load_bytes(small)


def test_changed_bytes_of_a_storage_are_noticed():
    data = bytearray(save_bytes(torch.arange(100.0)))
    data[data.index(np.float32(50).tobytes() + np.float32(51).tobytes())] ^= 1
    with pytest.raises(RuntimeError, match="Bad CRC-32"):
        load_bytes(bytes(data))


def test_truncated_files_are_refused():
    for data in (save_bytes({"a": torch.arange(1000.0)}), LEGACY):
        for length in [0, 1, 2, 3, 4, 10, 100, *range(200, len(data) - 1, 97), len(data) - 1]:
            with pytest.raises(REFUSED):
                load_bytes(data[:length])


def test_damaged_files_load_or_are_refused():
    """Whatever the bytes are, nothing but these errors comes out, and soon."""
    rng = random.Random(0)
    zipped = save_bytes({"a": torch.arange(3.0), "b": [torch.ones(2, 2).t(), "text", OrderedDict(x=1)]})
    with zipfile.ZipFile(io.BytesIO(zipped)) as z:
        pickled = z.read("archive/data.pkl")
    for turn in range(600):
        source = (zipped, LEGACY, pickled)[turn % 3]
        data = bytearray(source)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        whole = archive(bytes(data), _0=bytes(12), _1=bytes(16)) if source is pickled else bytes(data)
        try:
            load_bytes(whole, weights_only=turn % 2 == 0)
        except REFUSED:
            pass


def test_text_and_foreign_files_are_refused():
    for data in (
        b"hello world, this is no checkpoint",
        b"\x89PNG\r\n\x1a\n" + bytes(50),
        archive(part(1)),
        b"PK\x03\x04",
    ):
        with pytest.raises(REFUSED):
            load_bytes(data)
    with pytest.raises(RuntimeError, match="not found"):
        f = io.BytesIO()
        with zipfile.ZipFile(f, "w") as z:
            z.writestr("a/b.txt", "x")
        load_bytes(f.getvalue())
