"""Storages as programs see them: ``torch.UntypedStorage``, ``torch.TypedStorage``, ``torch.FloatStorage`` and its like."""

import copy
import io
import mmap
import pickle
import sys
import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau.tensor.typed_storages import LEGACY

TYPED = sorted(LEGACY)
pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")  # which a process says once


@pytest.fixture
def warn_always():
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.parametrize("name", TYPED)
def test_every_class_of_storages(name):
    cls = getattr(torch, name)
    s = cls([1, 0, 1])
    assert type(s) is torch.TypedStorage and isinstance(s, cls) and s.dtype is cls.dtype
    assert [other for other in TYPED if isinstance(s, getattr(torch, other))] == [name]
    assert len(s) == s.size() == 3 and s.nbytes() == 3 * s.element_size() == 3 * s.dtype.itemsize and len(s.untyped()) == s.nbytes()
    assert s.tolist() == list(s) == [s[0], s[1], s[-1]] == torch.tensor([1, 0, 1], dtype=s.dtype).tolist()
    s[1:] = 1
    s[0] = 0
    assert s.tolist() == torch.tensor([0, 1, 1], dtype=s.dtype).tolist()
    assert s.type() == f"torch.{name}" and s.pickle_storage_type() == name
    other = s.clone()
    assert s.fill_(1) is s and other[0] == 0 and s[0] == 1
    assert s.copy_(other) is s and s.tolist() == other.tolist()
    assert s.resize_(5) is None and len(s) == 5 and s.tolist()[:3] == other.tolist()
    assert len(cls()) == 0 and len(cls(2)) == 2 and cls(wrap_storage=other.untyped()).data_ptr() == other.data_ptr()
    data = torch.ones(4, dtype=s.dtype).untyped_storage().tolist()
    assert cls.from_buffer(bytes(data), sys.byteorder).tolist() == torch.ones(4, dtype=s.dtype).tolist()


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("way", ["pickle", "zip", "older", "copy", "deepcopy"])
def test_storages_travel(name, way):
    x = torch.tensor([[1, 0], [1, 1]], dtype=getattr(torch, name).dtype)
    values = x.storage(), x.untyped_storage(), x
    if way in ("zip", "older"):
        f = io.BytesIO()
        torch.save(x.storage(), f, _use_new_zipfile_serialization=way == "zip")
        f.seek(0)
        back = [torch.load(f)]
    elif way == "copy":
        back = [copy.copy(v) for v in values[:2]]
    else:
        back = copy.deepcopy(values) if way == "deepcopy" else pickle.loads(pickle.dumps(values))
        back[1][0] = 7  # the three still share their memory
        assert back[2].untyped_storage()[0] == 7 and back[0].untyped()[0] == 7
        back[1][0] = values[1][0]
    for v, b in zip(values, back, strict=False):
        assert type(b) is type(v) and b.dtype is v.dtype and b.tolist() == v.tolist() and b.data_ptr() != v.data_ptr()


def test_a_storage_is_the_memory_of_its_tensors():
    x = torch.arange(6.0)
    typed, raw = x.storage(), x.untyped_storage()
    y = x * 2
    typed[1] = 10
    raw[0:4] = 0
    x += 1
    assert typed.tolist() == [1, 11, 3, 4, 5, 6] and y.tolist() == [0, 2, 4, 6, 8, 10] and raw.tolist() == typed.untyped().tolist()
    assert raw is x[2:].untyped_storage() and raw.data_ptr() == x.data_ptr()
    assert torch.tensor([], dtype=torch.float32).set_(raw, 2, (2,)).tolist() == [3, 4]
    assert torch.FloatTensor(typed).data_ptr() == x.data_ptr()
    with pytest.raises(RuntimeError, match="Expected a Storage of type Int"):
        torch.IntTensor(typed)
    part = raw[4:8]
    x[1] = 5
    assert part.tolist() == raw.tolist()[4:8]
    part[:] = 0
    assert x.tolist() == [1, 0, 3, 4, 5, 6]


@pytest.mark.parametrize("count", [0, 3, 5, 24, 100])
def test_no_tensor_reads_outside_a_storage_that_became_smaller(count):
    def use(t):
        return (t * 2 + 1).sum().item()

    x = torch.arange(6.0)
    part = x[4:]
    for _ in range(8):  # compiled before it happens
        use(x), use(part)
    x.untyped_storage().resize_(count)
    assert x.untyped_storage().nbytes() == count
    for _ in range(8):
        for t in (x, part):
            if count < 24:
                with pytest.raises((RuntimeError, ValueError)):
                    use(t)
            else:
                assert use(t) == {6: 36.0, 2: 20.0}[len(t)]
    x.untyped_storage().resize_(24)
    assert use(x) == sum(2 * v + 1 for v in range(6) if 4 * v + 4 <= count and count >= 4) + sum(
        1 for v in range(6) if 4 * v + 4 > count
    )


def test_memory_that_others_use_is_not_resized():
    for x in (torch.from_numpy(np.zeros(3)), torch.zeros(3).share_memory_(), torch.FloatTensor(torch.UntypedStorage(12)[:8])):
        assert not x.untyped_storage().resizable()
        with pytest.raises(RuntimeError, match="not resizable"):
            x.untyped_storage().resize_(1000)


@pytest.mark.parametrize("look", [lambda x: None, lambda x: (x * 2).sum().item(), lambda x: x.add_(1), lambda x: x[0, 0].item()])
def test_memory_that_numpy_has_had_is_not_resized(look):
    """Whether somebody has found out since that NumPy's array is gone makes no difference, as in PyTorch."""
    x = torch.ones(3, 3) * 2
    array = x.numpy()
    del array
    look(x)
    assert not x.untyped_storage().resizable()
    for grow in (
        lambda: x.resize_(100),
        lambda: x.untyped_storage().resize_(1000),
        lambda: torch.exp(torch.ones(2, 3, 3), out=x[1]),
    ):
        with pytest.raises(RuntimeError, match="not resizable"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            grow()
    assert x.resize_(2, 2).shape == (2, 2)  # which needs no more memory


def test_files(tmp_path):
    path = tmp_path / "numbers"
    shared = torch.IntStorage.from_file(str(path), True, 4)
    shared[1] = 7
    assert path.stat().st_size == 16 and shared.filename == str(path)
    private = torch.IntStorage.from_file(str(path), size=3)
    assert private.tolist() == [0, 7, 0] and private.filename is None
    private[0] = 5
    t = torch.IntTensor(shared)
    t += 1
    assert t.tolist() == [1, 8, 1, 1] and np.fromfile(path, np.int32).tolist() == [1, 8, 1, 1] and private.tolist()[0] == 5
    with pytest.raises(RuntimeError, match="unable to mmap 400 bytes"):
        torch.IntStorage.from_file(str(path), size=100)
    assert torch.UntypedStorage.from_file(str(path), False, 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    "buffer", [bytes(range(1, 17)), bytearray(range(1, 17)), memoryview(bytes(range(1, 17))), mmap.mmap(-1, 16)]
)
@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.float64, torch.complex64])
def test_buffers(buffer, dtype):
    for order, mark in (("little", "<"), ("big", ">")):
        s = torch.TypedStorage.from_buffer(buffer, order, dtype=dtype)
        assert s.tolist() == np.frombuffer(bytes(buffer), np.dtype(dtype.np).newbyteorder(mark)).tolist()
    assert torch.TypedStorage.from_buffer(buffer, "native", 1, dtype.itemsize, dtype=dtype).nbytes() == dtype.itemsize


@pytest.mark.parametrize("error, message, call", [
    (RuntimeError, "but one of the items was of type float instead of int", lambda: torch.UntypedStorage([1, 2.5])),
    (RuntimeError, "a step of 2, but only a step of 1", lambda: torch.UntypedStorage(4)[::2]),
    (IndexError, "index 5 out of range for storage of size 3", lambda: torch.UntypedStorage(3)[5]),
    (IndexError, "index -4 out of range for storage of size 3", lambda: torch.FloatStorage(3)[-4]),
    (RuntimeError, "slices are only supported in UntypedStorage", lambda: torch.FloatStorage(3)[1:]),
    (RuntimeError, "can only set storage content with a int", lambda: torch.UntypedStorage(3).__setitem__(0, 1.5)),
    (RuntimeError, "cannot set item with value type", lambda: torch.FloatStorage(3).__setitem__(0, torch.FloatStorage(1))),
    (RuntimeError, "size does not match, self was 12 bytes but src was 8", lambda: torch.FloatStorage(3).copy_(torch.IntStorage(2))),
    (RuntimeError, "Too many positional arguments", lambda: torch.FloatStorage(3, 3)),
    (RuntimeError, "'dtype' cannot be specified", lambda: torch.FloatStorage(3, dtype=torch.float32)),
    (RuntimeError, "'dtype' must be specified", lambda: torch.TypedStorage(wrap_storage=torch.UntypedStorage(8))),
    (TypeError, "must be UntypedStorage", lambda: torch.FloatStorage(wrap_storage=torch.FloatStorage(8))),
    (TypeError, "Argument type not recognized", lambda: torch.FloatStorage(2.5)),
    (RuntimeError, "without overflow", lambda: torch.CharStorage([1, 300])),
    (RuntimeError, "'dtype' cannot be None", lambda: torch.UntypedStorage.from_buffer(b"1234", "little")),
    (ValueError, "invalid byte_order 'middle'", lambda: torch.UntypedStorage.from_buffer(b"1234", "middle", dtype=torch.int32)),
    (ValueError, "must be a multiple of element size", lambda: torch.UntypedStorage.from_buffer(b"123", "little", dtype=torch.int32)),
    (ValueError, "but specified a size of 9", lambda: torch.UntypedStorage.from_buffer(b"1234", "little", 9, dtype=torch.int16)),
    (RuntimeError, "expects a bool, but got int", lambda: torch.set_warn_always(1)),
    (RuntimeError, "negative", lambda: torch.UntypedStorage(3).resize_(-1)),
])  # fmt: skip
def test_errors(error, message, call):
    with pytest.raises(error, match=message):
        call()


def test_warns_once_or_always(warn_always):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.ones(1).storage()
        torch.ones(1).storage()
        torch.set_warn_always(False)
        assert not torch.is_warn_always_enabled()
        torch.ones(1).storage()
    assert [w.filename for w in found] == [__file__, __file__] and "TypedStorage is deprecated" in str(found[0].message)


def test_parts_of_storages_in_files_of_the_first_format():
    f = io.BytesIO()
    torch.save(torch.FloatStorage([1, 2, 3]), f, _use_new_zipfile_serialization=False)
    whole = f.getvalue()
    key = whole.index(b"cpu") + 3
    end = whole.index(b"Q.", key)  # BINPERSID, which takes the tuple with None at its end
    for count, right in ((2, [2.0, 3.0]), (3, None)):
        part = pickle.dumps(("view", 1, count), 2)[2:-1]
        none = whole.rindex(b"N", key, end)
        file = io.BytesIO(whole[:none] + part + whole[none + 1 :])
        if right is None:
            with pytest.raises(pickle.UnpicklingError, match="no 3 elements from 1 on"):
                torch.load(file)
        else:
            assert torch.load(file).tolist() == right


def test_load_says_whose_unpickler_it_uses():
    class Own:
        Unpickler = pickle.Unpickler

    f = io.BytesIO()
    torch.save(torch.ones(2), f)
    f.seek(0)
    with pytest.raises(RuntimeError, match="an unpickler of its own"):
        torch.load(f, pickle_module=Own)
    f.seek(0)
    assert torch.load(f, pickle_module=pickle).tolist() == [1, 1]


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_users_are_read_into_memory(zipped):
    class Mine:
        def __init__(self, data):
            self.file, self.into = io.BytesIO(data), 0
            self.read, self.seek, self.tell = self.file.read, self.file.seek, self.file.tell

        def readinto(self, target):
            self.into += len(target)
            return self.file.readinto(target)

    f = io.BytesIO()
    torch.save(torch.arange(99), f, _use_new_zipfile_serialization=zipped)
    mine = Mine(f.getvalue())
    assert torch.load(mine).tolist() == list(range(99)) and mine.into > 99 * 8


def test_resizing_a_tensor_of_its_own_looks_at_no_other_object(monkeypatch):
    import gc

    def looked(*objects):
        raise AssertionError("all objects were looked at")

    monkeypatch.setattr(gc, "get_referrers", looked)
    t = torch.ones(2)
    (t * 1).sum().item()
    t.resize_(5)
    assert t[:2].tolist() == [1.0, 1.0] and (t[2:] * 1).shape == (3,)
    part = t[1:]
    with pytest.raises(AssertionError, match="looked at"):
        t.resize_(9)
    del part


def test_a_set_that_is_refused_changes_nothing():
    for size in [(-1, 2), (2**62,), (100,)]:
        x = torch.arange(4.0)
        with pytest.raises(RuntimeError):
            x.set_(torch.ones(12), 1, size, (1,) * len(size))
        assert (x + 1).tolist() == [1.0, 2.0, 3.0, 4.0]
