"""Tensors: memory shared with the outside, laziness that cannot be observed, promotion, copies, errors."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.core import config

# --- memory --------------------------------------------------------------------------------------------------


def test_numpy_shares_memory_both_ways_at_any_time():
    t = torch.arange(4.0)
    before = t * 10  # recorded, not run
    array = t.numpy()
    after = t + 1
    array[0] = 100
    t[1] = 200
    assert array.tolist() == [100, 200, 2, 3]
    assert before.tolist() == [0, 10, 20, 30]
    assert after.tolist() == [1, 2, 3, 4]
    assert (t * 2).tolist() == [200, 400, 4, 6]
    view = t[2:]
    array[3] = -1
    assert view.tolist() == [2, -1]
    view.mul_(2)
    assert array.tolist() == [100, 200, 4, -2]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("data", "dtype", "values"),
    [
        ([1.0, 2], torch.float32, [1.0, 2.0]),
        ([True, 2], torch.int64, [1, 2]),
        ([[True], [False]], torch.bool, [[True], [False]]),
        (((1.0, 2.0), [3.0, 4]), torch.float32, [[1.0, 2.0], [3.0, 4.0]]),
        ([[[1], [2]], [[3], [4]]], torch.int64, [[[1], [2]], [[3], [4]]]),
        ([[], []], torch.float32, [[], []]),
        ([1e300, -1e300], torch.float32, [np.inf, -np.inf]),
        ([1.0, -1e300] * 20, torch.float32, [1.0, -np.inf] * 20),
        (1e300, torch.float32, np.inf),
        ([2**63 - 1, -(2**63)], torch.int64, [2**63 - 1, -(2**63)]),
        ([np.float64(1.0), 2.0], torch.float64, [1.0, 2.0]),
        ([torch.tensor(1), 2], torch.int64, [1, 2]),
    ],
)
def test_numbers_in_lists(data, dtype, values):
    t = torch.tensor(data)
    assert t.dtype is dtype
    assert t.tolist() == values


@pytest.mark.parametrize(
    ("data", "options", "error", "match"),
    [
        ([2**63], {}, ValueError, "Overflow when unpacking long long"),
        ([300], {"dtype": torch.uint8}, RuntimeError, "without overflow"),
        ([float("nan")], {"dtype": torch.int64}, RuntimeError, "without overflow"),
        ([[1, 2], [3]], {}, ValueError, r"expected sequence of length 2 at dim 1 \(got 1\)"),
        ([[1, 2], 3], {}, TypeError, "not a sequence"),
        ([1, None], {}, RuntimeError, "Could not infer dtype of NoneType"),
    ],
)
def test_numbers_that_make_no_tensor(data, options, error, match):
    with pytest.raises(error, match=match):
        torch.tensor(data, **options)


def test_an_endless_list_is_refused():
    endless: list = []
    endless.append(endless)
    with pytest.raises(RecursionError):
        torch.tensor(endless)


def test_from_numpy_shares_memory():
    array = np.arange(6.0).reshape(2, 3)
    t = torch.from_numpy(array)
    columns = torch.from_numpy(array.T)
    assert columns.stride() == (1, 3)
    array[0, 1] = 50
    columns[2, 0] = 60
    t.view(-1)[5] = 70
    assert array.tolist() == [[0, 50, 60], [3, 4, 70]]
    assert t.tolist() == columns.t().tolist() == array.tolist()


def test_memory_stays_when_the_tensor_is_gone():
    t = torch.arange(3.0)
    array = t.numpy()
    del t
    gc.collect()
    assert array.tolist() == [0, 1, 2]
    array = np.arange(3.0)
    t = torch.from_numpy(array)
    del array
    gc.collect()
    t += 1
    assert t.tolist() == [1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("rwnvox"), st.integers(0, 3), st.integers(-5, 5)), min_size=1, max_size=12))
def test_laziness_cannot_be_observed(steps):
    """Any order of recorded reads, writes by either side, and views gives what NumPy gives at once."""
    mine = torch.arange(4.0)
    expected = np.arange(4.0, dtype=np.float32)
    outside = mine.numpy()
    results, wanted = [], []
    for kind, i, value in steps:
        if kind == "r":
            results.append(mine * value + mine[i])
            wanted.append(expected * value + expected[i])
        elif kind == "w":
            mine[i] = value
            expected[i] = value
        elif kind == "n":
            outside[i] = value
            expected[i] = value
        elif kind == "v":
            mine[i:].add_(value)
            expected[i:] += value
        elif kind == "o":
            torch.add(mine, value, out=mine)
            expected += value
        else:
            results.append(mine.flip(0)[: i + 1])
            wanted.append(expected[::-1][: i + 1].copy())
    for r, w in zip(results, wanted, strict=True):
        np.testing.assert_array_equal(r.numpy(), w)
    np.testing.assert_array_equal(outside, expected)
    np.testing.assert_array_equal(mine.numpy(), expected)


def test_dlpack_shares_memory():
    t = torch.arange(3.0)
    array = np.from_dlpack(t)
    t[0] = 7
    assert array.tolist() == [7, 1, 2]
    array = np.arange(3.0)
    t = torch.from_dlpack(array)
    t[1] = 8
    array[2] = 9
    assert array.tolist() == t.tolist() == [0, 8, 9]
    same = torch.from_dlpack(t)
    same[0] = 5
    assert t[0] == 5
    with pytest.raises(BufferError, match="require gradient"):
        torch.zeros(1, requires_grad=True).__dlpack__()


def test_parameters_do_not_move():
    w = torch.randn(3, 2, requires_grad=True)
    address, array = w.data_ptr(), w.detach().numpy()
    for _ in range(3):
        (w * w).sum().backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
            w.grad.zero_()
    w.data.mul_(2)
    assert w.data_ptr() == address
    np.testing.assert_array_equal(array, w.tolist())


def test_views_have_their_place_in_the_storage():
    t = torch.arange(6)
    part = t.view(2, 3)[1, 1:]
    assert (part.storage_offset(), part.stride()) == (4, (1,))
    assert part.data_ptr() == t.data_ptr() + 4 * t.itemsize
    assert part.untyped_storage() == t.untyped_storage() and part.untyped_storage().nbytes() == 48
    other = torch.empty(0, dtype=torch.int64).set_(t.untyped_storage(), 1, (2, 2), (2, 1))
    assert other.tolist() == [[1, 2], [3, 4]]
    other[0, 0] = 9
    assert t[1] == 9


def test_view_of_another_dtype():
    t = torch.tensor([1.0, -2.0])
    bits = t.view(torch.int32)
    assert bits.tolist() == [0x3F800000, -0x40000000]
    bits[0] = 0
    assert t.tolist() == [0, -2]
    assert t.view(torch.uint8).shape == (8,) and t.view(torch.float64).shape == (1,)
    with pytest.raises(RuntimeError, match="must be divisible by"):
        torch.zeros(3).view(torch.float64)


# --- NumPy's side --------------------------------------------------------------------------------------------


def test_numpy_functions_take_tensors():
    t = torch.tensor([0.0, 1.0])
    assert isinstance(np.sin(t), torch.Tensor) and np.sin(t).dtype == torch.float32
    assert np.asarray(t).dtype == np.float32 and np.array(t, dtype=np.float64).tolist() == [0, 1]
    assert np.concatenate([t, torch.ones(1)]).tolist() == [0, 1, 1]
    np.testing.assert_allclose(t, [0, 1])
    assert (np.float64(2) * t).dtype == torch.float32  # a NumPy number is a number


def test_arrays_and_tensors_mix():
    t, array = torch.ones(2), np.array([1.0, 2.0])
    for result in (t + array, array + t):
        assert isinstance(result, torch.Tensor) and result.dtype == torch.float64 and result.tolist() == [2, 3]
    assert (t == array).tolist() == [True, False]
    t += array
    assert t.dtype == torch.float32 and t.tolist() == [2, 3]


# --- copies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_keep_what_tensors_are(duplicate):
    base = torch.arange(6.0).view(2, 3)
    whole, part = duplicate((base, base.t()[1:]))
    assert part.stride() == (1, 3) and part.storage_offset() == 1
    whole[0, 1] = 9
    assert part[0, 0] == 9 and base[0, 1] == 1  # the two share memory with each other, not with the original
    w = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
    w.note = ["kept"]
    again = duplicate(w)
    assert again.requires_grad and again.is_leaf and again.dtype == torch.bfloat16
    assert again.note == ["kept"] and again.note is not w.note


def test_deepcopy_of_results_is_refused():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(x * 2)


@pytest.mark.parametrize("value", [
    torch.float32, torch.bool, torch.Size([2, 3]), torch.device("cpu"), torch.device("cuda", 1), torch.channels_last, torch.strided,
])  # fmt: skip
def test_small_values_are_pickled(value):
    program = f"import pickle, flambeau; print(repr(pickle.loads({pickle.dumps(value)!r})))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (result.stdout.strip(), result.stderr) == (repr(value), "")


# --- dtypes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("operands", "expected"), [
    ((torch.ones(1, dtype=torch.int32), torch.ones(1, dtype=torch.int64)), torch.int64),
    ((torch.ones(1, dtype=torch.int32), torch.ones((), dtype=torch.int64)), torch.int32),  # 0-dim does not widen
    ((torch.ones(1, dtype=torch.int32), torch.ones((), dtype=torch.float64)), torch.float64),  # but lifts the category
    ((torch.ones(1, dtype=torch.float32), torch.ones((), dtype=torch.float64)), torch.float32),
    ((torch.ones((), dtype=torch.float32), torch.ones((), dtype=torch.float64)), torch.float64),
    ((torch.ones(1, dtype=torch.int8), 2.5), torch.float32),
    ((torch.ones(1, dtype=torch.uint8), 300), torch.uint8),
    ((torch.ones(1, dtype=torch.float64), 2j), torch.complex128),
    ((torch.ones(1, dtype=torch.bool), True), torch.bool),
    ((torch.ones(1, dtype=torch.uint8), torch.ones(1, dtype=torch.int8)), torch.int16),
    ((torch.ones(1, dtype=torch.float16), torch.ones(1, dtype=torch.bfloat16)), torch.float32),
])  # fmt: skip
def test_promotion(operands, expected):
    a, b = operands
    assert (a * b).dtype == torch.result_type(a, b) == expected


def test_default_dtype():
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.tensor([1.0]).dtype == torch.zeros(1).dtype == (torch.tensor([1]) / 2).dtype == torch.float64
        assert torch.tensor([1j]).dtype == torch.complex128 and torch.Tensor(2).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(TypeError, match="only floating-point types"):
        torch.set_default_dtype(torch.int64)


def test_python_types_stand_for_dtypes():
    assert torch.zeros(1, dtype=float).dtype == torch.float64 and torch.zeros(1).to(int).dtype == torch.int64
    assert torch.tensor([1], dtype=bool).dtype == torch.bool
    with pytest.raises(TypeError, match="argument 'dtype' must be torch.dtype, not str"):
        torch.zeros(1, dtype="float32")


@pytest.mark.parametrize("write", [
    lambda x: x.add_(1.5), lambda x: x.div_(2), lambda x: x.mul_(torch.ones(2)), lambda x: torch.add(torch.ones(2), 1, out=x),
])  # fmt: skip
def test_in_place_does_not_lower_the_category(write):
    x = torch.ones(2, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        write(x)
    assert x.tolist() == [1, 1]


def test_out_is_resized_with_a_warning():
    out = torch.empty(0)
    assert torch.add(torch.ones(2), 1, out=out) is out and out.tolist() == [2, 2]
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        torch.add(torch.ones(3), 1, out=out)
    assert out.tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        torch.add(torch.ones(3, requires_grad=True), 1, out=out)
    with pytest.raises(TypeError, match="argument 'out' must be Tensor, not int"):
        torch.add(torch.ones(3), 1, out=3)


# --- memory formats ------------------------------------------------------------------------------------------


def test_results_keep_the_order_in_memory():
    x = torch.arange(2.0 * 3 * 4 * 5).view(2, 3, 4, 5)
    last = x.contiguous(memory_format=torch.channels_last)
    assert last.stride() == (60, 1, 15, 3) and last.is_contiguous(memory_format=torch.channels_last)
    for result in (last + 1, last.exp(), last + x, last * torch.ones(3, 1, 1), last.clone(), last.double(), torch.zeros_like(last)):
        assert result.is_contiguous(memory_format=torch.channels_last)
    assert (x + last).is_contiguous() and last.contiguous().is_contiguous()
    np.testing.assert_array_equal((last * 2).numpy(), x.numpy() * 2)
    half = x.permute(2, 0, 1, 3)[:, :, 1:]  # not dense: the order stays, the gaps go
    assert half.clone().stride() == (half * 1).stride() == half.double().stride() == (5, 40, 20, 1)
    assert torch.ones(1, 3).expand(4, 3).clone().stride() == (3, 1)
    with pytest.raises(RuntimeError, match="required rank 4 tensor to use channels_last format"):
        torch.zeros(2).contiguous(memory_format=torch.channels_last)


# --- numbers and containers ----------------------------------------------------------------------------------


def test_numbers():
    assert (int(torch.tensor(3.7)), float(torch.tensor([2])), complex(torch.tensor(1j))) == (3, 2.0, 1j)
    assert [10, 20][torch.tensor(1)] == 20 and list(range(torch.tensor(2))) == [0, 1]
    assert f"{torch.tensor(2.5):.3f}" == "2.500" and f"{torch.tensor(7):03d}" == "007"
    with pytest.raises(RuntimeError, match="a Tensor with 2 elements cannot be converted to Scalar"):
        torch.zeros(2).item()
    with pytest.raises(ValueError, match="only one element tensors"):
        float(torch.zeros(2))
    with pytest.raises(TypeError, match="only integer tensors of a single element"):
        [1][torch.tensor(0.5)]


def test_containers():
    t = torch.tensor([[1, 2], [3, 4]])
    assert len(t) == 2 and [row.tolist() for row in t] == t.tolist() and 3 in t and 7 not in t
    assert {t: "found"}[t] == "found" and hash(t) == id(t)
    for wrong in (lambda: len(t[0, 0]), lambda: list(t[0, 0])):
        with pytest.raises(TypeError, match="0-d tensor"):
            wrong()
    with pytest.raises(RuntimeError, match="more than one value is ambiguous"):
        bool(t)
    with pytest.raises(TypeError, match="does not support deleting"):
        del t[0]


def test_size():
    size = torch.zeros(2, 3).shape
    assert size == (2, 3) and isinstance(size, tuple) and size.numel() == 6
    assert repr(size[1:] + (4,)) == "torch.Size([3, 4])" and repr((1,) + size) == "torch.Size([1, 2, 3])"
    assert torch.Size([torch.tensor(2)]) == (2,) and type(torch.Size([np.int64(2)])[0]) is int
    with pytest.raises(TypeError, match="takes an iterable of 'int' \\(item 1 is 'float'\\)"):
        torch.Size([2, 2.5])


def test_complex_parts_are_views():
    z = torch.tensor([1 + 2j, 3 - 1j])
    z.real[0] = 9
    z.imag = torch.tensor([0.0, 5.0])
    assert z.tolist() == [9, 3 + 5j]
    with pytest.raises(RuntimeError, match="imag is not implemented"):
        torch.ones(1).imag  # noqa: B018


def test_legacy_constructors():
    assert torch.Tensor(2, 3).shape == (2, 3) and torch.Tensor([2, 3]).tolist() == [2, 3]
    assert torch.LongTensor([1]).dtype == torch.int64 and torch.FloatTensor(2).shape == (2,)
    assert isinstance(torch.ones(1), torch.FloatTensor) and not isinstance(torch.ones(1), torch.LongTensor)
    assert torch.ones(1).long().new([2.5]).tolist() == [2] and torch.ones(1).new(2, 2).shape == (2, 2)
    assert torch.ones(1).type() == "torch.FloatTensor" and torch.ones(1).type("torch.LongTensor").dtype == torch.int64
    with pytest.raises(TypeError, match="data must be a sequence"):
        torch.Tensor(2.5)


# --- wrong input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: torch.zeros(10**15), RuntimeError, "can't allocate memory: you tried to allocate 4000000000000000 bytes"),
    (lambda: torch.ones(2).expand(10**15, 2).contiguous().sum().item(), RuntimeError, "can't allocate memory"),
    (lambda: torch.zeros(2**40, 2**40), RuntimeError, "Storage size calculation overflowed"),
    (lambda: torch.zeros(2, -1), RuntimeError, "negative dimension -1"),
    (lambda: torch.zeros(2.5), TypeError, "found element of type float"),
    (lambda: torch.zeros((2, "a")), TypeError, "found element of type str"),
    (lambda: torch.full(2, 3), TypeError, "argument 'size' .* must be tuple of ints, not int"),
    (lambda: torch.full((2,), 300, dtype=torch.uint8), RuntimeError, "cannot be converted to type uint8_t without overflow"),
    (lambda: torch.arange("a"), TypeError, "argument 'end' must be Number, not str"),
    (lambda: torch.arange(float("nan")), RuntimeError, "unsupported range"),
    (lambda: torch.tensor("a"), TypeError, "invalid data type 'str'"),
    (lambda: torch.tensor(["a"]), ValueError, "too many dimensions 'str'"),
    (lambda: torch.tensor(None), RuntimeError, "Could not infer dtype of NoneType"),
    (lambda: torch.tensor([[1, 2], [3]]), ValueError, r"expected sequence of length 2 at dim 1 \(got 1\)"),
    (lambda: torch.tensor([[1, 2], 3]), TypeError, "not a sequence"),
    (lambda: torch.tensor(2**63), ValueError, "Overflow when unpacking long long"),
    (lambda: torch.tensor(300, dtype=torch.uint8), RuntimeError, "cannot be converted to type uint8 without overflow"),
    (lambda: torch.tensor([float("nan")], dtype=torch.int64), RuntimeError, "cannot be converted to type int64 without overflow"),
    (lambda: torch.tensor([1j], dtype=torch.float32), TypeError, "must be real number, not complex"),
    (lambda: torch.tensor([torch.ones(2)]), ValueError, "only one element tensors .* torch.stack"),
    (lambda: torch.from_numpy([1]), TypeError, "expected np.ndarray"),
    (lambda: torch.from_numpy(np.array(["a"])), TypeError, "can't convert np.ndarray of type"),
    (lambda: torch.from_numpy(np.arange(3)[::-1]), ValueError, "stride.* negative"),
    (lambda: torch.ones(2, dtype=torch.bfloat16).numpy(), TypeError, "unsupported ScalarType BFloat16"),
    (lambda: torch.ones(2, requires_grad=True).numpy(), RuntimeError, "Can't call numpy"),
    (lambda: torch.zeros(1, device="cuda"), AssertionError, "Torch not compiled with CUDA enabled"),
    (lambda: torch.zeros(1).cuda(), AssertionError, "Torch not compiled with CUDA enabled"),
    (lambda: torch.device("abc"), RuntimeError, "Expected one of cpu"),
    (lambda: torch.ones(2) + torch.ones(3), RuntimeError, r"The size of tensor a \(2\) must match the size of tensor b \(3\)"),
    (lambda: torch.ones(1, 3).expand(2, 3).add_(1), RuntimeError, "more than one element of the written-to tensor"),
    (lambda: torch.ones(2).resize_(-1), RuntimeError, "negative dimension"),
    (lambda: torch.ones(2).copy_(torch.ones(3)), RuntimeError, "The size of tensor|The expanded size"),
    (lambda: torch.ones(2).stride(1), IndexError, "Dimension out of range"),
    (lambda: torch.ones(()).size(0), IndexError, "tensor has no dimensions"),
])  # fmt: skip
@pytest.mark.parametrize("eager", [False, True])
def test_wrong_input(make, error, message, eager, monkeypatch):
    monkeypatch.setattr(config, "eager", eager)
    with pytest.raises(error, match=message):
        make()


def test_late_errors_name_the_line(monkeypatch):
    monkeypatch.setattr(config, "eager", False)
    x = torch.zeros(3)
    late = torch.tensor([0, 4]) + torch.tensor([0, 1])  # not known when it is used
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 3") as caught:
        x[late]  # whose own error it is
    chance = torch.sigmoid(x * float("nan"))  # which is not looked at before it runs
    loss = torch.nn.functional.binary_cross_entropy(chance, x)  # the line that the error is about
    line = sys._getframe().f_lineno - 1
    with pytest.raises(RuntimeError, match="all elements of input should be between 0 and 1") as caught:
        loss.item()
    assert any(f"test_tensor.py, line {line}" in note for note in caught.value.__notes__)
    assert x.tolist() == [0, 0, 0]


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("compiled", [False, True])
def test_results_in_another_order_are_written_again_and_again(times, compiled, monkeypatch):
    """The content of a storage may be a view for a while; views of it see its elements in its own order."""
    from flambeau.core import config

    monkeypatch.setattr(config, "compiled", compiled)
    monkeypatch.setattr(config, "compile_after", 0)
    x, y = torch.arange(16).reshape(4, 4) % 3, torch.arange(16).reshape(4, 4) % 5 > 2
    wanted, mask = np.arange(16).reshape(4, 4) % 3, np.arange(16).reshape(4, 4) % 5 > 2
    for _ in range(times):
        torch.add(y.mT, x, out=x)  # nothing has asked for the memory of x yet
        wanted = mask.T + wanted
    np.testing.assert_array_equal(x.numpy(), wanted)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int8, torch.int64, torch.bool]
)
def test_items_of_one_element(dtype, shape):
    one = torch.ones(shape, dtype=dtype)
    part = torch.ones(3, dtype=dtype)[1:2].reshape(shape)
    for x in (one, part):
        value = x.item()
        assert value == 1 and isinstance(value, float) is dtype.is_floating_point


def test_classes_with_a_torch_dispatch_are_asked_for_operators():
    asked = []

    class Logged(torch.Tensor):
        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            asked.append((str(func), types, len(args)))
            return torch.zeros(2)

    for x in (
        torch.ones(2).as_subclass(Logged),
        Logged([1.0, 1.0]),
        torch.Tensor._make_subclass(Logged, torch.ones(2)),
        torch.Tensor._make_wrapper_subclass(Logged, (2,)),
    ):
        assert isinstance(x, Logged) and x.shape == (2,)
        with torch._C.DisableTorchFunctionSubclass():
            assert (x + 1).tolist() == [0.0, 0.0]
        assert asked.pop() == ("aten.add.Tensor", (Logged,), 2) and not asked
