"""``torch.save`` and ``torch.load``: what comes back, what a file looks like, and what hostile files cannot do."""

from __future__ import annotations

import copy
import errno
import gzip
import io
import os
import pickle
import stat
import struct
import zipfile
import zlib
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn

LEGACY = Path(__file__).with_name("legacy.pt").read_bytes()  # written by PyTorch 2.13, without its zip format


def save_bytes(obj: object) -> bytes:
    f = io.BytesIO()
    torch.save(obj, f)
    return f.getvalue()


def load_bytes(data: bytes, **kwargs):
    return torch.load(io.BytesIO(data), **kwargs)


def again(obj: object, **kwargs):
    return load_bytes(save_bytes(obj), **kwargs)


# --- round trips ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype",
    "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64 complex128".split(),
)
def test_every_dtype(dtype):
    x = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(getattr(torch, dtype))
    y = again(x)
    assert y.dtype is x.dtype and y.shape == x.shape and y.tolist() == x.tolist()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1), (2, 3, 4)])
def test_every_shape(shape):
    x = torch.rand(shape)
    y = again(x)
    assert y.shape == x.shape and y.stride() == x.stride() and y.tolist() == x.tolist()


def test_special_values_keep_their_bits():
    x = torch.tensor([float("nan"), float("-inf"), -0.0, 5e-324], dtype=torch.float64)
    assert again(x).numpy().tobytes() == x.numpy().tobytes()


def test_plain_containers():
    obj = {
        "numbers": [0, 1, -1, 255, 65536, 2**31, -(2**70), 1.5, True, None, 2j],
        "text": ("", "é", "\ud800", "a" * 300),
        b"bytes": [b"", b"\x00\xff", bytearray(b"xy")],
        "set": {1, 2},
        "nested": OrderedDict(a=Counter("aab"), b=[[], (), {}]),
        "torch": [torch.Size([1, 2]), torch.float16, torch.device("cpu"), torch.device("cuda", 1)],
    }
    back = again(obj)
    assert back == obj
    assert [type(v) for v in back["nested"].values()] == [Counter, list]
    assert type(back["torch"][0]) is torch.Size


def test_objects_that_are_one_stay_one():
    inner = [1]
    loop: list = [inner, inner]
    loop.append(loop)
    back = again(loop)
    assert back[0] is back[1] and back[2] is back


def test_views_share_their_storage_and_keep_their_geometry():
    base = torch.arange(12.0).reshape(3, 4)
    back = again({"t": base.t(), "row": base[1], "every": base[:, ::2], "base": base, "expanded": base[0, :1].expand(3)})
    assert back["t"].stride() == (1, 4) and back["row"].storage_offset() == 4 and back["expanded"].stride() == (0,)
    back["base"][1, 2] = 100
    assert back["t"][2, 1] == back["row"][2] == back["every"][1, 1] == 100


def test_parameters_and_leaves():
    weight = nn.Parameter(torch.ones(2))
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    leaf = torch.zeros(2, requires_grad=True)
    back = again([weight, frozen, leaf, leaf * 2, weight])
    assert [type(t) for t in back] == [nn.Parameter, nn.Parameter, torch.Tensor, torch.Tensor, nn.Parameter]
    assert [t.requires_grad for t in back] == [True, False, True, True, True]
    assert all(t.is_leaf for t in back) and back[0] is back[4]


def test_attributes_of_tensors():
    x, p = torch.ones(1), nn.Parameter(torch.ones(1))
    x.note, p.note = {"a": 1}, "b"
    back = again([x, p])
    assert (back[0].note, back[1].note) == ({"a": 1}, "b")


def test_hooks_are_not_saved():
    x = torch.ones(2, requires_grad=True)
    x.register_hook(lambda grad: grad)
    x.register_post_accumulate_grad_hook(lambda leaf: None)
    y = x * 2
    y.retain_grad()
    y.sum().backward()
    back = again([x, y])
    assert back[0].grad is None and back[1].is_leaf


def test_state_dict_of_a_model_and_its_optimizer():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    back = again({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3})
    assert type(back["model"]) is OrderedDict and back["model"]._metadata == model.state_dict()._metadata
    twin = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    twin.load_state_dict(back["model"])
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), model.parameters(), strict=True))
    again_optimizer = torch.optim.SGD(twin.parameters(), lr=1.0)
    again_optimizer.load_state_dict(back["optimizer"])
    assert again_optimizer.param_groups[0]["lr"] == 0.1
    buffer = again_optimizer.state[twin[0].weight]["momentum_buffer"]
    assert torch.equal(buffer, optimizer.state[model[0].weight]["momentum_buffer"])


def test_pending_values_are_saved_as_they_are_now():
    x = torch.zeros(3)
    x += 1
    data = save_bytes(x)
    x += 1
    assert load_bytes(data).tolist() == [1, 1, 1]


def test_plain_pickle_and_deepcopy_share_storages_too():
    x = torch.arange(4.0, requires_grad=True)
    y = torch.arange(6).reshape(2, 3)
    back = pickle.loads(pickle.dumps([x, y, y.t()]))
    assert back[0].requires_grad and back[2].stride() == (1, 3)
    back[1][0, 1] = 50
    assert back[2][1, 0] == 50
    assert pickle.loads(pickle.dumps(nn.Parameter(torch.ones(2)))).requires_grad
    assert torch.equal(copy.deepcopy(y), y)


# --- the file ------------------------------------------------------------------------------------------------


def test_records_are_pytorchs_uncompressed_and_aligned(tmp_path):
    path = tmp_path / "model.pt"
    torch.save([torch.ones(3), torch.zeros(5, dtype=torch.int8)], path)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as z:
        names = [entry.filename for entry in z.infolist()]
        assert names[0] == "archive/data.pkl" and set(names) == {
            f"archive/{name}"
            for name in (
                "data.pkl", ".format_version", ".storage_alignment", "byteorder", "data/0", "data/1", "version",
                ".data/serialization_id",
            )
        }  # fmt: skip
        for entry in z.infolist():
            name, extra = struct.unpack("<HH", data[entry.header_offset + 26 : entry.header_offset + 30])
            start = entry.header_offset + 30 + name + extra
            assert entry.compress_type == zipfile.ZIP_STORED and start % 64 == 0
            assert data[start : start + entry.file_size] == z.read(entry)
        assert z.read("archive/version") == b"3\n" and z.read("archive/data/0") == np.ones(3, np.float32).tobytes()


def test_the_same_object_makes_the_same_bytes(tmp_path):
    obj = {"a": torch.arange(5), "b": "text"}
    torch.save(obj, tmp_path / "one.pt")
    torch.save(obj, tmp_path / "two.pt")
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_paths_and_files(tmp_path):
    path = tmp_path / "x.pt"
    for where in (path, str(path), os.fsencode(path)):
        torch.save(1, where)
        assert torch.load(where) == 1
    with open(path, "wb") as f:
        torch.save(2, f)
    with open(path, "rb") as f:
        assert torch.load(f) == 2
    with pytest.raises(AttributeError, match="expected 'f' to be string, path, or a file-like object"):
        torch.save(1, 3)
    with pytest.raises(AttributeError, match="You can only torch.load from a file that is seekable"):
        torch.load(3)
    with pytest.raises(RuntimeError, match="Parent directory .* does not exist"):
        torch.save(1, tmp_path / "nowhere" / "x.pt")
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "none.pt")


def test_a_file_that_cannot_seek_can_be_written():
    class Pipe:
        def __init__(self):
            self.data = b""

        def write(self, data):
            self.data += bytes(data)
            return len(data)

        def flush(self):
            pass

    pipe = Pipe()
    torch.save(torch.arange(3), pipe)
    assert load_bytes(pipe.data).tolist() == [0, 1, 2]


class ReadOnly:
    """No more than what PyTorch asks of a file that is read."""

    def __init__(self, data):
        self._f = io.BytesIO(data)
        self.read, self.readline, self.tell = self._f.read, self._f.readline, self._f.tell

    def seek(self, offset, whence=0):
        self._f.seek(offset, whence)


@pytest.mark.parametrize("zipped", [True, False])
def test_files_that_can_little(zipped):
    state = {"x": torch.arange(3), "y": [torch.ones(2, 2).t(), "text"], "empty": torch.empty(0)}
    calls = []

    class WriteOnly:
        def __getattr__(self, name):
            assert name in ("write", "flush"), name
            return lambda data=b"": calls.append(bytes(data)) or len(data)

    torch.save(state, WriteOnly(), _use_new_zipfile_serialization=zipped)
    for file in (ReadOnly(b"".join(calls)), gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(b"".join(calls))))):
        back = torch.load(file)
        assert back["x"].tolist() == [0, 1, 2] and back["y"][0].stride() == (1, 2) and back["empty"].shape == (0,)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_the_older_format_is_written_too(protocol):
    x = torch.arange(6.0).reshape(2, 3)
    dtypes = [torch.float64, torch.int8, torch.bool, torch.bfloat16, torch.complex64, torch.uint16]
    state = OrderedDict(x=x, row=x[1], p=nn.Parameter(torch.ones(2)), n=[1, "a"], many=[torch.ones(3).to(d) for d in dtypes])
    f = io.BytesIO()
    torch.save(state, f, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    assert f.getvalue()[:2] == bytes([0x80, protocol])
    back = load_bytes(f.getvalue())
    assert back["x"].tolist() == x.tolist() and back["n"] == [1, "a"] and [t.dtype for t in back["many"]] == dtypes
    assert all(t.to(torch.complex64).sum() == 3 for t in back["many"]) and type(back["p"]) is nn.Parameter
    back["x"][1, 0] = 9
    assert back["row"][0] == 9


def test_several_objects_in_a_file_of_the_older_format(tmp_path):
    for file in (io.BytesIO(), open(tmp_path / "several", "w+b")):
        with file:
            pickle.dump("first", file)
            for n in range(3):
                torch.save({"n": torch.full((n,), n), "text": "x" * n}, file, _use_new_zipfile_serialization=False)
                pickle.dump(n, file)
            file.seek(0)
            assert pickle.load(file) == "first"
            for n in range(3):
                assert torch.load(file)["n"].tolist() == [n] * n and pickle.load(file) == n


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("zipped", [True, False])
def test_storages_are_saved_as_such(zipped):
    x, y = torch.arange(6.0), torch.arange(4)
    typed = x.storage()
    f = io.BytesIO()
    torch.save([x[2:], typed, y.untyped_storage(), y.untyped_storage()], f, _use_new_zipfile_serialization=zipped)
    part, floats, raw, same = load_bytes(f.getvalue())
    assert floats.tolist() == x.tolist() and floats.dtype is torch.float32 and raw == same and raw.nbytes() == 32
    part[0] = 50
    assert floats[2] == 50 and torch.is_storage(raw)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        torch.save([x, x.untyped_storage()], io.BytesIO())


def test_files_that_do_not_say_their_order_of_bytes():
    assert torch.serialization.get_default_load_endianness() is None
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w") as new, zipfile.ZipFile(io.BytesIO(save_bytes(torch.tensor([1, 256])))) as old:
        for name in old.namelist():
            if "byteorder" not in name:
                new.writestr(name, old.read(name))
    orders = torch.serialization.LoadEndianness
    swapped = [1 << 56, 1 << 48]
    for order, expected in ((None, [1, 256]), (orders.NATIVE, [1, 256]), (orders.LITTLE, [1, 256]), (orders.BIG, swapped)):
        torch.serialization.set_default_load_endianness(order)
        try:
            assert torch.serialization.get_default_load_endianness() is order
            assert load_bytes(f.getvalue()).tolist() == expected
        finally:
            torch.serialization.set_default_load_endianness(None)
    with pytest.raises(TypeError, match="Invalid argument type"):
        torch.serialization.set_default_load_endianness("little")


class Unpicklable:
    def __reduce__(self):
        raise ValueError("not to be pickled")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    torch.save("old", path)
    with pytest.raises(ValueError, match="not to be pickled"):
        torch.save([torch.ones(10), Unpicklable()], path)

    def full_disk(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        torch.save("new", path)
    monkeypatch.undo()
    assert torch.load(path) == "old" and os.listdir(tmp_path) == ["x.pt"]


def test_saving_keeps_links_and_permissions(tmp_path):
    real, link = tmp_path / "real.pt", tmp_path / "link.pt"
    torch.save(1, real)
    real.chmod(0o640)
    link.symlink_to(real)
    torch.save(2, link)
    assert link.is_symlink() and torch.load(real) == 2 and stat.S_IMODE(real.stat().st_mode) == 0o640
    torch.save(3, "/dev/null")
    assert not Path("/dev/null").is_file()


def test_mmap_reads_the_file_and_never_writes_it(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"a": torch.arange(100.0), "e": torch.empty(0)}, path)
    before = path.read_bytes()
    mapped = torch.load(path, mmap=True)
    mapped["a"][0] = 7
    assert mapped["a"][:2].tolist() == [7, 1] and mapped["e"].shape == (0,)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="f must be a file path in order to use the mmap argument"):
        torch.load(io.BytesIO(before), mmap=True)


def test_the_format_before_pytorch_1_6(tmp_path):
    back = load_bytes(LEGACY)
    assert back["x"].tolist() == [[0, 1, 2], [3, 4, 5]] and back["n"] == [1, "a"]
    assert type(back["p"]) is nn.Parameter and back["p"].dtype is torch.float64 and back["p"].tolist() == [1, 1]
    back["x"][1, 0] = 9
    assert back["row"][0] == 9
    path = tmp_path / "legacy.pt"
    path.write_bytes(LEGACY)
    with pytest.raises(RuntimeError, match="mmap can only be used with files saved with"):
        torch.load(path, mmap=True)


# --- what the user allows ------------------------------------------------------------------------------------


class Options:
    def __init__(self, a):
        self.a = a


class Slotted:
    __slots__ = ("a",)


@pytest.fixture
def no_safe_globals():
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()


def test_declared_classes_load(no_safe_globals):
    data = save_bytes(Options([torch.ones(1)]))
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL .*Options was not an allowed global by default. Please use"):
        load_bytes(data)
    with torch.serialization.safe_globals([Options]):
        assert torch.serialization.get_safe_globals() == [Options]
        assert load_bytes(data).a[0].tolist() == [1]
    with pytest.raises(pickle.UnpicklingError):
        load_bytes(data, weights_only=False)
    torch.serialization.add_safe_globals([(Slotted, f"{__name__}.Options"), Slotted])
    assert type(load_bytes(save_bytes(Slotted()))) is Slotted


def test_the_names_that_stand_in_the_way_can_be_listed(no_safe_globals, tmp_path):
    torch.save([torch.ones(1), Options(1), b"x", frozenset()], tmp_path / "x.pt")
    names = torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "x.pt")
    assert names == sorted([f"{__name__}.Options", "builtins.frozenset"])
    with torch.serialization.safe_globals([Options]):
        assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "x.pt") == ["builtins.frozenset"]


def test_modules_that_are_never_safe(no_safe_globals):
    torch.serialization.add_safe_globals([os.system])
    with pytest.raises(pickle.UnpicklingError, match="whose module (posix|nt) is blocked"):
        load_bytes(save_bytes(os.system))
    with pytest.raises(ValueError, match="Expected tuple of length 2"), torch.serialization.safe_globals([(1, 2, 3)]):
        load_bytes(save_bytes(1))


class Net(nn.Module):
    made = 0

    def __init__(self):
        super().__init__()
        Net.made += 1
        self.fc = nn.Linear(3, 2)
        self.act = nn.functional.relu

    def forward(self, x):
        return self.act(self.fc(x))

    def __setstate__(self, state):
        raise AssertionError("code of the class has run")


def test_a_whole_model_loads_without_its_code_being_run():
    model = Net()
    data = save_bytes(model)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed.*\n.*Net"):
        load_bytes(data)
    made = Net.made
    twin = load_bytes(data, weights_only=False)
    assert Net.made == made and type(twin) is Net
    x = torch.rand(4, 3)
    assert torch.equal(twin(x), model(x))
    foreign = data.replace(b"test_serialization\nNet", b"test_serialization\nNot")
    assert foreign != data
    with pytest.raises(pickle.UnpicklingError, match="runs no code from a file"):
        load_bytes(_with_new_checksums(foreign), weights_only=False)


def _with_new_checksums(data: bytes) -> bytes:
    """The archive with its pickle's checksum made right again."""
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        entries = {e.filename: e for e in z.infolist()}
        for entry in entries.values():
            name, extra = struct.unpack("<HH", data[entry.header_offset + 26 : entry.header_offset + 30])
            start = entry.header_offset + 30 + name + extra
            crc = zlib.crc32(data[start : start + entry.file_size])
            data = data.replace(struct.pack("<I", entry.CRC), struct.pack("<I", crc))
    return data


def test_harmless_types_without_weights_only():
    obj = {
        "array": np.arange(6).reshape(2, 3), "columns": np.asfortranarray(np.ones((2, 2))), "scalar": np.float64(2.5),
        "words": np.array(["a", "bc"]), "big": np.arange(3, dtype=">f4"), "options": Namespace(lr=0.1),
        "default": defaultdict(list, {1: [2]}), "frozen": frozenset([1]), "slice": slice(1, None, 2), "range": range(5),
    }  # fmt: skip
    data = save_bytes(obj)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        load_bytes(data)
    back = load_bytes(data, weights_only=False)
    for name, value in obj.items():
        assert type(back[name]) is type(value)
        assert np.array_equal(back[name], value) if isinstance(value, np.ndarray) else back[name] == value
        if isinstance(value, np.ndarray):
            assert back[name].dtype == value.dtype.newbyteorder("=")
    assert back["default"][5] == []
    with pytest.raises(pickle.UnpicklingError):
        load_bytes(save_bytes(np.array([Options(1)])), weights_only=False)


def test_arguments_of_load():
    data = save_bytes(1)
    assert load_bytes(data, pickle_module=pickle) == 1
    with pytest.raises(RuntimeError, match="Can not safely load weights when explicit pickle_module is specified"):
        load_bytes(data, pickle_module=pickle, weights_only=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        load_bytes(data, colour=1)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        x = torch.zeros(4)
        save_bytes([x, x.view(torch.int32)])
