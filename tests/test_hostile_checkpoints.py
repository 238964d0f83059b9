"""Checkpoints made by hand: what hostile, damaged and foreign files cannot do."""

from __future__ import annotations

import io
import pickle
import random
import tracemalloc
import zipfile
from collections import OrderedDict
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.serialization import vocabulary

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
        z.writestr("archive/version", b"3\n")
        for name, data in records.items():
            z.writestr(f"archive/data/{name.strip('_')}", data)
    return f.getvalue()


def part(obj: object) -> bytes:
    """The instructions that make ``obj``, without the beginning and the end of a pickle."""
    return pickle.dumps(obj, 2)[2:-1]


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def storage_id(count=4, key="0", location="cpu", kind="FloatStorage") -> bytes:
    return b"(" + part("storage") + b"ctorch\n" + kind.encode() + b"\n" + part(key) + part(location) + part(count) + b"tQ"


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
    body = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage_id(len(zeros) // 4) + part(0) + part((1,)) + part((1,)) + b"\x89NtR"
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
    for record, message in (("a/b.txt", "hasRecord"), ("a/version", "not found"), ("data.pkl", "not in a folder")):
        f = io.BytesIO()
        with zipfile.ZipFile(f, "w") as z:
            z.writestr(record, part(1))
        with pytest.raises(RuntimeError, match=message):
            load_bytes(f.getvalue())


def test_pickles_of_others_raise_what_pytorch_raises():
    values = [{"a": 1}, [1], 5, np.ones(3), Fraction(1, 2), torch.ones(2), None]
    for value in values:
        for protocol in range(6):
            data = pickle.dumps(value, protocol)
            with pytest.raises(RuntimeError, match="Invalid magic number"):
                load_bytes(data, weights_only=False)
            plain = not isinstance(value, (np.ndarray, Fraction, torch.Tensor))
            error = RuntimeError if plain and protocol in (1, 2) else REFUSED
            with pytest.raises(pickle.UnpicklingError if protocol > 2 else error):
                load_bytes(data, weights_only=True)
    for garbage in (b"<html>", b"{", b"version https://git-lfs.github.com/spec/v1\n", bytes(99)):
        for weights_only in (True, False):
            with pytest.raises(pickle.UnpicklingError):
                load_bytes(garbage, weights_only=weights_only)


# --- files that are small and would be large -----------------------------------------------------------------


@contextmanager
def little_memory(limit=32 << 20):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


KEEP, KEPT = b"r\xff\xff\xff\x00", b"j\xff\xff\xff\x00"  # into the memo, and out of it; part() uses small numbers
FLAGS = [{}, {"neg": True}, {"conj": True}, {"conj": True, "neg": True}]


@pytest.mark.parametrize("wrapped", ["", "parameter", "attributes"])
@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "complex64", "bfloat16", "uint8", "int64"])
@pytest.mark.parametrize("legacy", [False, True])
def test_an_expanded_tensor_takes_no_memory(dtype, flags, wrapped, legacy):
    """Neither if PyTorch has noted that it is to be negated or conjugated."""
    size, stride = (1 << 15, 1 << 15, 2), (0, 0, 1)
    storage = storage_id(count=16 if legacy else 64, kind="ByteStorage")
    make = b"ctorch._utils\n_rebuild_tensor_v3\n"
    args = b"(" + storage + part(0) + part(size) + part(stride) + b"\x89Nctorch\n" + dtype.encode() + b"\n" + part(flags) + b"t"
    body = make + args + b"R"
    if wrapped == "parameter" and dtype in ("float32", "complex64", "bfloat16"):
        body = b"ctorch._utils\n_rebuild_parameter\n(" + body + b"\x89Nt" + b"R"
    if wrapped == "attributes":
        body = b"ctorch._tensor\n_rebuild_from_type_v2\n(" + make + b"ctorch\nTensor\n" + args + part({"a": 1}) + b"tR"
    values = np.arange(1, 17, dtype=np.uint8) if legacy else np.arange(64, dtype=np.uint8)
    with little_memory():
        if legacy:
            head = LEGACY[: LEGACY.index(b"\x80\x02}", 30)]
            data = head + program(body) + program(part(["0"])) + (16).to_bytes(8, "little") + values.tobytes()
        else:
            data = archive(program(body), _0=values.tobytes())
        assert len(data) < 1300
        if flags.get("conj") and dtype != "complex64":
            with pytest.raises(pickle.UnpicklingError, match="cannot be marked as conj"):
                load_bytes(data)
            return
        t = load_bytes(data)
        assert t.shape == size and t.stride() == stride
        changed = torch.from_numpy(values).view(t.dtype)[:2]
        changed = changed.conj() if flags.get("conj") else changed
        assert torch.equal(t.detach()[7, 9], -changed if flags.get("neg") else changed)


def test_many_tensors_of_a_storage_are_negated_once():
    count = 1 << 18
    one = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + KEPT
        + part(0)
        + part((count,))
        + part((1,))
        + b"\x89N"
        + part({"neg": True})
        + b"tR"
    )
    body = storage_id(count) + KEEP + b"0" + b"]" + (one + b"a") * 300
    data = archive(program(body), _0=bytes(4 * count))
    with little_memory(limit=64 << 20):
        tensors = load_bytes(data)
        tensors[0][5] = 3
        assert len(tensors) == 300 and tensors[299][5] == 3


COPYING = {
    "list": ["collections OrderedDict", "builtins set", "builtins frozenset"],
    "pairs": ["collections OrderedDict"],
    "dict": ["collections Counter"],
    "text": ["builtins bytearray", "_codecs encode"],
    "bytes": ["builtins bytearray"],
    "tuple": ["torch Size"],
}
LARGE = {
    "list": list(range(6000)), "pairs": [(n, n) for n in range(3000)], "dict": dict.fromkeys(range(6000), 1),
    "text": "a" * 100_000, "bytes": b"a" * 100_000, "tuple": tuple(range(6000)),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "function"), [(kind, name) for kind, names in COPYING.items() for name in names])
def test_an_argument_cannot_be_copied_again_and_again(kind, function):
    encoding = part("latin1") if function == "_codecs encode" or (kind, function) == ("text", "builtins bytearray") else b""
    call = b"c" + function.replace(" ", "\n").encode() + b"\n(" + KEPT + encoding + b"tRa"
    body = part(LARGE[kind]) + KEEP + b"0]"
    data = archive(program(body + call * 2_000))
    with little_memory(limit=64 << 20), pytest.raises(pickle.UnpicklingError, match="much more memory than the file|damaged"):
        load_bytes(data, weights_only=False)
    once = archive(program(body + call))
    try:
        assert len(load_bytes(once, weights_only=False)) == 1
    except pickle.UnpicklingError as error:
        assert "damaged" in str(error)  # a function that does not take such things


# --- any argument whatever -----------------------------------------------------------------------------------

HUGE = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage_id() + part(0) + part((1 << 40, 2)) + part((0, 1)) + b"\x89NtR"
ODD = [
    HUGE, b"cbuiltins\nrange\n" + part((1 << 40,)) + b"R", b"ctorch\nTensor\n", b"ctorch\nfloat32\n", b"cnumpy\nndarray\n",
    b"cnumpy\ndtype\n" + part(("f8",)) + b"R", b"ctorch.nn\nLinear\n)\x81", b"ctorch.nn\nLinear\n", storage_id(),
    b"ctorch.nn.functional\nrelu\n", b"ccollections\nOrderedDict\n)R", b"cbuiltins\nslice\n" + part((1, 2)) + b"R",
    b"cbuiltins\nlist\n", b"cargparse\nNamespace\n)\x81",
    *map(part, [0, -1, 1 << 62, 1.5, float("nan"), True, None, "", "f4", "O", "a,b", "latin1", b"", b"abcd", b"x" * 64, (), [], {},
                (1,), (4,), (2, 2), [1], [(1, 2)], [[1]], {"neg": True}, {"a": 1}, {1: 2}, ((1,), (2,)), (1 << 62, 4), (0,) * 70]),
]  # fmt: skip


@pytest.mark.parametrize("turn", range(8))
def test_any_call_with_any_arguments(turn):
    """Calls, new objects and states of everything that a file can name: built or refused, at once and in little memory."""
    rng = random.Random(turn)
    names = [*vocabulary.FUNCTIONS, *vocabulary._MORE_FUNCTIONS, *vocabulary._MORE_VALUES, "torch.nn.Linear", "torch.Tensor"]
    with little_memory():
        for _ in range(400):
            module, _, name = rng.choice(names).rpartition(".")
            body = (
                f"c{module}\n{name}\n(".encode() + b"".join(rng.choices(ODD, k=rng.choice([0, 1, 1, 2, 2, 3, 5, 6, 7, 8]))) + b"t"
            )
            body += rng.choice([b"R", b"R", b"R", b"\x81"])
            if rng.random() < 0.4:
                body += b"(" + b"".join(rng.choices(ODD, k=rng.choice([1, 2, 5, 8]))) + b"t" + b"b"
            elif rng.random() < 0.4:
                body += rng.choice(ODD) + b"b"
            if rng.random() < 0.2:
                body = b"(" + body + b"t" + part("f4") + b"\x86"
            try:
                load_bytes(archive(program(body), _0=bytes(16)), weights_only=turn % 4 == 0)
            except REFUSED:
                pass


# --- what loading must not change ----------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("name", ["f4", "f8", "i8", "u1", "b1", "c16", "U3", "S2", "O", "V8", "f4,f4"])
def test_numpy_dtypes_are_rebuilt(name, copy, declared):
    """NumPy has one object for all of its float32; a file that could change it could read all memory."""
    common = [np.dtype(code) for code in ("f4", "f8", "i8", "u1", "b1", "c16", "O")]
    before = [(d.str, d.itemsize, d.alignment, d.flags) for d in common]
    states = [
        (3, order, None, None, None, size, align, flags)
        for order in "<>|=!" for size in (-1, 0, 1, 4, 8, 12, 100) for align in (-1, 1 << 40) for flags in (0, 63)
    ]  # fmt: skip
    allowed = [np.dtype, *{type(d) for d in common}, type(np.dtype("U3")), type(np.dtype("S2"))] if declared else []
    with torch.serialization.safe_globals(allowed):
        for state in [*states, (), (1, 2), 7, None]:
            body = b"cnumpy\ndtype\n" + part((name, False, copy)) + b"R" + KEEP + part(state) + b"b" + KEPT + b"\x86"
            try:
                first, again = load_bytes(archive(program(body)), weights_only=declared)
            except REFUSED:
                continue
            assert first is again and first == np.dtype(name).newbyteorder(state[1]) and first.itemsize == np.dtype(name).itemsize
    assert [(d.str, d.itemsize, d.alignment, d.flags) for d in common] == before


@pytest.mark.parametrize("value", [b"ctorch.nn.functional\nrelu\n", b"ctorch.nn\nReLU\n)\x81", part(1), b"ctorch\nexp\n"])
def test_a_file_replaces_no_methods(value):
    """What a module does is written in its class; attributes, which a file may give, are not found in the place of a method."""
    own = {name: getattr(nn.Linear, name) for name in dir(nn.Linear)}
    for name in [
        *own,
        "__getattr__",
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_modules",
        "_parameters",
        "_buffers",
    ]:
        for state in (part(name) + value, part(name) + b"}" + part(0) + value + b"s"):
            for start in (b"ctorch.nn\nLinear\n)\x81", b"cargparse\nNamespace\n)\x81"):
                try:
                    loaded = load_bytes(archive(program(start + b"}" + state + b"s" + b"b")), weights_only=False)
                except REFUSED:
                    continue
                for attribute in vars(loaded):
                    found = getattr(type(loaded), attribute, None)
                    assert not callable(found) or isinstance(found, (type, nn.Module)), attribute
                hooks = [key for key in vars(loaded) if key.endswith("_hooks") and isinstance(loaded, nn.Module)]
                assert not any(map(vars(loaded).get, hooks))


def test_a_file_replaces_no_methods_of_what_is_declared_safe():
    with torch.serialization.safe_globals([Safe]):
        assert load_bytes(archive(pickle.dumps(Safe(3), 2))).double() == 6
        for name in ("double", "__init__", "half"):
            with pytest.raises(pickle.UnpicklingError, match=name):
                load_bytes(archive(program(part(Safe(3)) + b"}" + part(name) + b"ctorch\nfloat32\nsb")))


class Safe:
    def __init__(self, n):
        self.n = n

    def double(self):
        return 2 * self.n

    @property
    def half(self):
        return self.n / 2


# --- names ---------------------------------------------------------------------------------------------------


def unsafe(pickled: bytes) -> list[str]:
    return torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(archive(pickled)))


@pytest.mark.parametrize("protocol", range(6))
def test_names_are_seen_whatever_the_protocol(protocol):
    values = {"a": Fraction(1, 2), "b": [Touch("x"), Fraction], "c": OrderedDict(x=1), "d": Safe(1)}
    names = [f"fractions.{'Fraction'}", f"{__name__}.Safe"]
    assert set(names) <= set(unsafe(pickle.dumps(values, protocol)))
    assert "collections.OrderedDict" not in unsafe(pickle.dumps(values, protocol))


@pytest.mark.parametrize(
    "body",
    {
        "GLOBAL": b"cos\nsystem\n",
        "INST": b"(S'echo'\nios\nsystem\n",
        "INST below a mark": b"((S'echo'\nios\nsystem\nt",
        "STACK_GLOBAL": b"\x8c\x02os\x8c\x06system\x93",
        "of long strings": b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93",
        "of old strings": b"S'os'\nS'system'\n\x93",
        "of unicode strings": b"Vos\nVsystem\n\x93",
        "from the memo": b"\x8c\x02os\x94\x8c\x06system\x940" + b"0" + b"h\x00h\x01\x93",
        "from the memo, by text": b"\x8c\x02osp5\n0g5\n\x8c\x06system\x93",
        "behind other values": b"\x8c\x02os\x8c\x06systemK\x010\x8c\x01a0\x93",
        "behind a tuple": b"\x8c\x02os\x8c\x06system(K\x01K\x02t0\x93",
        "behind a mark": b"\x8c\x02os\x8c\x06system(K\x01K\x021\x93",
        "twice the same": b"\x8c\x02os2\x8c\x06system\x93",
        "after a call": b"\x8c\x02os\x8c\x06systemcdatetime\ndate\n(K\x01tR0\x93",
        "after an object": b"\x8c\x02os\x8c\x06system(cdatetime\ndate\nK\x01o0\x93",
        "after an id": b"\x8c\x02os\x8c\x06systemP7\n0\x93",
    }.items(),
    ids=lambda item: item[0],
)
def test_names_are_seen_however_they_are_written(body):
    assert "os.system" in unsafe(b"\x80\x04" + body[1] + b".")


def test_names_that_are_computed_are_said_to_be():
    assert unsafe(b"\x80\x04\x8c\x02os" + b"c_codecs\nencode\n" + part(("system", "latin1")) + b"R\x93.") == ["os.(computed)"]
    with pytest.raises(ValueError, match="Expected input to be a checkpoint"):
        torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(LEGACY))


# --- files that are mapped -----------------------------------------------------------------------------------


def test_damaged_mapped_files_load_or_are_refused(tmp_path):
    path = tmp_path / "x.pt"
    rng = random.Random(1)
    whole = save_bytes({"a": torch.arange(30.0), "b": [torch.ones(2, 2).t(), "text"], "e": torch.empty(0)})
    contents = whole.index(b"PK\x01\x02")
    records = [n for n in range(contents) if whole[n : n + 4] == b"PK\x03\x04"]
    for turn in range(400):
        data = bytearray(whole)
        places = [rng.randrange(len(data)), rng.choice(records) + rng.randrange(40), rng.randrange(contents, len(data))]
        for _ in range(rng.randint(1, 4)):
            data[places[turn % 3]] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(len(data))] if turn % 4 == 0 else data)
        try:
            str(torch.load(path, mmap=True))
        except REFUSED:
            pass
