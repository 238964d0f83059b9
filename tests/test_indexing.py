"""Indexing and assignment through every kind of index, against NumPy; what aliases and what does not; errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@st.composite
def basic_indices(draw, shape):
    """Slices, numbers, ``None`` and at most one ``...`` for some of the dims."""
    parts, d = [], 0
    for _ in range(draw(st.integers(0, len(shape) + 1))):
        n = shape[d] if d < len(shape) else 0
        kind = draw(st.sampled_from("nsi.")) if d < len(shape) else "n"
        if kind == "n":
            parts.append(None)
        elif kind == "i" and n:
            parts.append(draw(st.integers(-n, n - 1)))
            d += 1
        elif kind == "." and Ellipsis not in parts:
            parts.append(Ellipsis)
            d = len(shape)  # only what may follow it
        else:
            bound = st.none() | st.integers(-n - 1, n + 1)
            parts.append(slice(draw(bound), draw(bound), draw(st.none() | st.integers(1, 3))))
            d += 1
    return tuple(parts)


@st.composite
def advanced_indices(draw, shape):
    """Index arrays that broadcast, masks, slices and numbers, mixed."""
    block = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple))
    parts, d = [], 0
    while d < len(shape):
        n = shape[d]
        kind = draw(st.sampled_from("asimk"))
        if kind == "a" and n:
            size = int(np.prod(block))
            values = draw(st.lists(st.integers(-n, n - 1), min_size=size, max_size=size))
            parts.append(np.array(values, np.int64).reshape(block))
        elif kind == "i" and n:
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "m" and not any(isinstance(p, np.ndarray) for p in parts):
            mask = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
            parts.append(mask)
            return tuple(parts)
        elif kind == "k":
            break
        else:
            parts.append(slice(None, None, draw(st.sampled_from([None, 2]))))
        d += 1
    return tuple(parts)


def both(shape):
    array = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return torch.from_numpy(array.copy()), array


def as_key(key):
    return tuple(torch.from_numpy(k) if isinstance(k, np.ndarray) else k for k in key)


def numbers_first(array, key):
    """The view of ``array`` at the numbers of ``key``, and what is left of it: to NumPy numbers are index arrays."""
    numbers = tuple(k if isinstance(k, int) else slice(None) for k in key if k is not None and k is not Ellipsis)
    if not any(isinstance(k, np.ndarray) for k in key):
        return array, key
    return array[numbers], tuple(k for k in key if not isinstance(k, int))


def same(t, array):
    assert tuple(t.shape) == array.shape
    np.testing.assert_array_equal(t.numpy(), array)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_basic_indices_are_views(data):
    shape = data.draw(SHAPES)
    key = data.draw(basic_indices(shape))
    t, array = both(shape)
    part, expected = t[key], array[key]
    same(part, expected)
    if part.numel():
        assert part.data_ptr() >= t.data_ptr() and part.untyped_storage() == t.untyped_storage()
        part.add_(1)
        t[key] = t[key] * 2
        expected = array[key] + 1
        array[key] = expected * 2
    t[key] = -3
    array[key] = -3
    same(t, array)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_advanced_indices_copy(data):
    shape = data.draw(SHAPES.filter(len))
    key = data.draw(advanced_indices(shape))
    t, array = both(shape)
    view, rest = numbers_first(array, key)
    part, expected = t[as_key(key)], view[rest]
    if any(isinstance(k, np.ndarray) for k in key):
        same(part, expected)
        part.fill_(-1)
        same(t, array)
    t[as_key(key)] = 7
    view[rest] = 7
    same(t, array)
    values = np.arange(expected.size, dtype=np.float32).reshape(expected.shape)
    places, _ = numbers_first(np.arange(array.size).reshape(array.shape), key)
    places = places[rest]
    if np.unique(places).size == places.size:  # the order of writes to one place is nobody's business
        t[as_key(key)] = torch.from_numpy(values)
        view[rest] = values
        same(t, array)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_gradients_go_back_where_they_came_from(data):
    shape = data.draw(SHAPES.filter(len))
    key = data.draw(advanced_indices(shape) | basic_indices(shape))
    t, array = both(shape)
    t.requires_grad_()
    expected = np.zeros_like(array)
    view, rest = numbers_first(expected, key)
    weight = np.arange(1, view[rest].size + 1, dtype=np.float32).reshape(view[rest].shape)
    (t[as_key(key)] * torch.from_numpy(weight)).sum().backward()
    np.add.at(view, rest, weight)
    same(t.grad, expected)


def test_masks():
    x = torch.arange(6).view(2, 3)
    assert x[x % 2 == 0].tolist() == [0, 2, 4]
    assert x[torch.tensor([False, True])].tolist() == [[3, 4, 5]]
    assert x[:, [True, False, True]].tolist() == [[0, 2], [3, 5]]
    assert x[True].shape == (1, 2, 3) and x[False].shape == (0, 2, 3)
    x[x > 3] = x[x > 3] * 10
    assert x.tolist() == [[0, 1, 2], [3, 40, 50]]


def test_writes_through_chains_of_views():
    x = torch.arange(24.0).view(2, 3, 4)
    x.transpose(0, 2)[1:3].select(1, 0).unsqueeze(0)[..., 1] = -1
    assert x[1, 0].tolist() == [12, -1, -1, 15]
    x[:, 1].diagonal().fill_(5)
    x.view(-1)[::8] += 100
    x[0].t()[0][[0, 2]] = torch.tensor([7.0, 8.0])  # an indexed assignment to a view
    assert (x[0, 1, 0], x[1, 1, 1], x[0, 0, 0], x[0, 2, 0], x[1, 1, 0]) == (5, 5, 7, 8, 116)


def test_values_of_an_index_are_those_when_it_was_recorded():
    x, i = torch.arange(4.0), torch.tensor([0, 1])
    picked = x[i]
    i.fill_(3)
    x.zero_()
    assert picked.tolist() == [0, 1]


@pytest.mark.parametrize(("key", "error", "message"), [
    (2, IndexError, "index 2 is out of bounds for dimension 0 with size 2"),
    ((0, -4), IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
    ((0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
    (1.5, IndexError, r"only integers, slices .* \(got float\)"),
    ("a", IndexError, r"only integers, slices .* \(got str\)"),
    (slice(None, None, -1), ValueError, "step must be greater than zero"),
    (slice(None, None, 0), ValueError, "slice step cannot be zero"),
    (slice(0, 1.5), TypeError, "slice indices must be integers"),
    (torch.tensor([0.0, 1.0]), IndexError, "tensors used as indices must be long, int, byte or bool"),
    (torch.tensor([float("nan")]), IndexError, "tensors used as indices must be long, int, byte or bool"),
    (torch.tensor([0], dtype=torch.int16), IndexError, "tensors used as indices must be long, int, byte or bool"),
    (torch.tensor([0, 2]), IndexError, "index 2 is out of bounds for dimension 0 with size 2"),
    (torch.tensor([True, False, True]), IndexError, r"The shape of the mask \[3\] at index 0 does not match"),
    ((torch.tensor([0, 1]), torch.tensor([0, 1, 2])), IndexError, "could not be broadcast together with shapes"),
])  # fmt: skip
def test_wrong_indices(key, error, message):
    x = torch.zeros(2, 3)
    with pytest.raises(error, match=message):
        x[key].tolist()
    with pytest.raises(error, match=message):
        x[key] = 1
        x.tolist()
    assert torch.equal(x, torch.zeros(2, 3))  # a refused write leaves it as it was


@pytest.mark.parametrize(("key", "value", "error", "message"), [
    (0, [1, 2, 3], TypeError, "can't assign a list to a torch.FloatTensor"),
    (0, np.ones(3), TypeError, "can't assign a numpy.ndarray to a torch.FloatTensor"),
    (0, "a", TypeError, "can't assign a str"),
    (0, 1j, RuntimeError, "cannot be converted to type float without overflow"),
    (0, torch.ones(2), RuntimeError, r"The expanded size of the tensor \(3\) must match the existing size \(2\)"),
    ((0, 0), torch.ones(2), RuntimeError, r"expand\(torch.FloatTensor\{\[2\]\}, size=\[\]\)"),
    ([0, 1], torch.ones(2, 2), RuntimeError, "shape mismatch: value tensor of shape"),
    ([0], torch.ones(1, 3).double(), RuntimeError, "got Float for the destination and Double for the source"),
])  # fmt: skip
def test_wrong_values(key, value, error, message):
    x = torch.zeros(2, 3)
    with pytest.raises(error, match=message):
        x[key] = value
    assert torch.equal(x, torch.zeros(2, 3))


def test_no_dims():
    x = torch.tensor(3.0)
    assert x[...].shape == x[()].shape == () and x[None].shape == (1,)
    x[()] = 4
    assert x.item() == 4
    with pytest.raises(IndexError, match="invalid index of a 0-dim tensor"):
        x[0]
    with pytest.raises(IndexError, match=r"slice\(\) cannot be applied to a 0-dim tensor"):
        x[:]


def test_old_spellings_warn():
    x = torch.arange(6).view(2, 3)
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[[0, 1], [1, 2]]].tolist() == [1, 5]
    with pytest.warns(UserWarning, match="torch.uint8 is now deprecated"):
        assert x[torch.tensor([0, 1], dtype=torch.uint8)].tolist() == [[3, 4, 5]]


def test_a_view_that_the_tape_could_not_follow_can_still_be_read():
    x = torch.ones(3, requires_grad=True) * 2
    first, second = x.split([1, 2])
    x.mul_(3)
    assert first.requires_grad and not first.is_leaf and second.tolist() == [6.0, 6.0] and second.detach().sum().item() == 12.0
    with torch.no_grad():
        assert (second * 2).tolist() == [12.0, 12.0]
    for use in (lambda: second * 2, lambda: second.grad_fn, lambda: second.add_(1)):
        with pytest.raises(RuntimeError, match="This view is the output of a function that returns multiple views"):
            use()
    x.sum().backward()


@pytest.mark.parametrize("shape", [(), (0,), (7,), (5, 3), (2, 0, 3), (2, 3, 4), (90, 100)])
def test_a_mask_alone_picks_what_numpy_picks(shape):
    rng = np.random.default_rng(0)
    array = rng.standard_normal(shape).astype(np.float32)
    x = torch.from_numpy(array.copy()) + 0
    for source, values in ((x, array), (x.mT if len(shape) > 1 else x, array.swapaxes(-1, -2) if len(shape) > 1 else array)):
        for dims in range(len(shape) + 1):
            for chance in (0.0, 0.2, 1.0):
                mask = np.asarray(rng.random(values.shape[:dims]) < chance)
                assert np.array_equal(source[torch.from_numpy(mask.copy())].numpy(), values[mask])


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_writes_through_windows_that_overlap_come_to_memory_in_order(dtype, pending, data):
    shape = data.draw(st.sampled_from([(4,), (2, 2), (3, 2), (2, 3)]))
    strides = tuple(data.draw(st.lists(st.integers(1, 2), min_size=len(shape), max_size=len(shape))))
    offset = data.draw(st.integers(0, 1))
    number = st.integers(0, 3)  # so few that much is written that is there already
    expected = np.array(data.draw(st.lists(number, min_size=8, max_size=8)), dtype)
    memory = torch.from_numpy(expected.copy()) + 0
    windows = memory.as_strided(shape, strides, offset)
    shown = np.lib.stride_tricks.as_strided(expected[offset:], shape, [s * expected.itemsize for s in strides])
    for _ in range(2):
        index = np.array(data.draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, max_size=4)))
        count = len(index) * int(np.prod(shape[1:]))
        values = np.array(data.draw(st.lists(number, min_size=count, max_size=count)), dtype).reshape(len(index), *shape[1:])
        where, new = torch.from_numpy(index), torch.from_numpy(values)
        if not pending:
            memory.tolist()
        how = data.draw(st.sampled_from(["set", "add", "index_put_", "accumulate", "mask"]))
        if how == "set":
            windows[where] = new
            shown[index] = values
        elif how == "add":
            windows[where] += new
            shown[index] += values
        elif how == "index_put_":
            windows.index_put_((where,), new)
            shown[index] = values
        elif how == "accumulate":
            windows.index_put_((where,), new, accumulate=True)
            np.add.at(shown, index, values)
        else:
            windows[windows > 1] = 1
            shown[shown > 1] = 1
    assert memory.tolist() == expected.tolist()
