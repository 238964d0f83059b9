"""Parts of data: steps that read other rows each time are alike, and whatever is written later changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau import dispatch
from flambeau.autograd import entries
from flambeau.core import config
from flambeau.engine import plans
from flambeau.nn import functional as F
from flambeau.tensor.reading import WINDOW

pytestmark = pytest.mark.skipif(config.eager, reason="nothing is remembered in immediate mode")


@pytest.fixture(autouse=True)
def any_number_of_kernels(monkeypatch):
    """The tests before these may have made as many as a process takes."""
    monkeypatch.setattr(plans, "MAX_KERNELS", 1 << 20)
    monkeypatch.setattr(plans, "MAX_CODE", 1 << 40)


@pytest.fixture(autouse=True)
def kept_as_it_is_described(monkeypatch):
    """What the tape keeps of a part is what the entry's pattern says: the part itself, or all of the memory."""
    place = entries._place

    def checked(pattern, edges, saved, results):
        for item, (_, _, layout) in zip(saved, pattern.kept, strict=True):
            if layout is not None and isinstance(item, entries.Saved) and item.node is not None:
                apart = layout.memory is not None and layout.memory is not WINDOW
                assert tuple(item.node.shape) == tuple(layout.memory[0] if apart else layout.shape)
        place(pattern, edges, saved, results)

    monkeypatch.setattr(entries, "_place", checked)


def misses(step, first: int, last: int) -> int:
    """How many traces the interpreter runs after the first steps."""
    for i in range(first):
        step(i)
    before = torch.engine_stats()["misses"]
    for i in range(first, last):
        step(i)
    return torch.engine_stats()["misses"] - before


@pytest.mark.parametrize(
    "rows",
    [
        lambda x, i: x[3 * i : 3 * i + 3],
        lambda x, i: x[i],
        lambda x, i: x[i : i + 1],
        lambda x, i: x.narrow(0, 3 * i, 3),
        lambda x, i: x.split(3)[i],
        lambda x, i: x[3 * i : 3 * i + 3].view(-1, 2, 2)[1:].flatten(1),
    ],
)
def test_batches_that_are_slices_of_the_data(rows):
    if not config.compiled:
        pytest.skip("nothing is compiled")
    data, w = torch.randn(60, 4), torch.randn(4, 2, requires_grad=True)

    def step(i: int):
        w.grad = None
        x = rows(data, i)
        loss = (F.relu(x @ w) ** 2).sum() + (x * x).sum()
        loss.backward()
        return loss.item(), w.grad.clone()

    assert misses(step, 4, 15) == 0
    for i in range(15):
        x = torch.tensor(rows(data, i).tolist())
        loss, grad = step(i)
        wanted = (F.relu(x @ w) ** 2).sum() + (x * x).sum()
        slope = torch.autograd.grad(wanted, w)[0]
        assert loss == pytest.approx(wanted.item(), rel=1e-5)
        torch.testing.assert_close(grad, slope)


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.mul_(0),
        lambda x: x[2:3].fill_(7),
        lambda x: x.numpy().fill(3),
        lambda x: x.copy_(torch.ones(6, 2) * 2),
        lambda x: x[2].sub_(1),
    ],
)
@pytest.mark.parametrize("runs_before", [False, True])
def test_writing_to_the_data_does_not_change_what_was_read(write, runs_before):
    for _ in range(4):
        x, w = torch.arange(12.0).reshape(6, 2) + 0, torch.ones(2, 3, requires_grad=True)
        x.tolist()
        part = x[2:4]
        y, z = part + 1, part.mm(w)
        if runs_before:
            z.tolist()
        write(x)
        z.sum().backward()
        assert y.tolist() == [[5.0, 6.0], [7.0, 8.0]] and w.grad.tolist() == [[10.0] * 3, [12.0] * 3]
        assert part.tolist() == x.tolist()[2:4] and (part + 0).tolist() == part.tolist()


def test_writing_to_a_part_writes_to_the_data():
    x = torch.zeros(6, 2)
    for i in range(6):
        row = x[i]
        before = row + 0
        row += i
        x[i, 1] = -1
        assert row._base is x and row.data_ptr() == x.data_ptr() + 8 * i
        assert before.tolist() == [0.0, 0.0] and row.tolist() == [i, -1]
    assert x.tolist() == [[i, -1] for i in range(6)]


def test_a_part_that_becomes_the_content_of_a_tensor_is_copied():
    x, y = torch.arange(6.0), torch.zeros(2)
    y.data = x[2:4]
    z = torch.zeros(2)
    z.copy_(x[2:4])
    kept = x[2:4].clone()
    x.add_(1)
    assert y.tolist() == [3.0, 4.0] and z.tolist() == kept.tolist() == [2.0, 3.0]


def test_a_captured_function_on_other_rows():
    x, w = torch.randn(12, 3), torch.randn(3)
    f = torch.compile(lambda rows: (rows * w).sum() + rows[1:].mean())
    for i in [0, 0, 0, 2, 2, 2, 4, 6, 0]:
        rows = x[i : i + 3]
        assert f(rows).item() == pytest.approx(((rows * w).sum() + rows[1:].mean()).item(), rel=1e-5)


def test_second_derivatives_on_other_rows():
    x, w = torch.randn(12, 3), torch.randn(3, 2, requires_grad=True)
    for i in range(5):
        rows = x[2 * i : 2 * i + 2]
        (g,) = torch.autograd.grad((rows @ w).tanh().sum(), w, create_graph=True)
        (second,) = torch.autograd.grad((g * g).sum(), w)
        like = torch.tensor(rows.tolist())
        (g,) = torch.autograd.grad((like @ w).tanh().sum(), w, create_graph=True)
        torch.testing.assert_close(second, torch.autograd.grad((g * g).sum(), w)[0])


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (2, 2), (3, 3), (1, 3, 3), (3, 1, 2)], ids=str)
def test_parts_beside_tensors_in_another_order_of_memory(shape):
    """An elementwise op reads all of its inputs in one order, a part of some data too."""
    rng = np.random.default_rng(0)
    for i in range(5):
        data = torch.tensor(rng.standard_normal(40).astype(np.float32))
        values = np.array(data.tolist(), np.float32)
        part, expected = (
            data.as_strided(shape, (1,) * len(shape), i),
            np.lib.stride_tricks.as_strided(values[i:], shape, [4] * len(shape)),
        )
        turned = torch.tensor(rng.standard_normal(shape[::-1]).astype(np.float32)).permute(*range(len(shape))[::-1])
        other = np.array(turned.tolist(), np.float32).reshape(shape)
        np.testing.assert_array_equal(np.array((part * turned).tolist()).reshape(shape), expected * other)
        np.testing.assert_array_equal(np.array((turned - part).tolist()).reshape(shape), other - expected)


def test_what_is_written_all_the_time_is_read_as_it_is():
    """No copies are made for what a buffer shows, once that has been in the way of a write."""
    state, w = torch.zeros(8, 200), torch.ones(200, requires_grad=True)
    for i in range(5):
        (state[2:4] * w).sum().backward()
        held = state[2:4] * w
        state[3] = state[3] + 1
        held.sum().backward()
        assert state[3].tolist() == [i + 1.0] * 200
    assert state._storage.busy and w.grad.tolist() == [20.0] * 200


def test_calls_on_other_rows_are_followed(monkeypatch):
    x, w = torch.randn(40, 3), torch.randn(3, 2, requires_grad=True)
    seen: list[str] = []
    real = dispatch.record
    for i in range(10):
        y = x[2 * i : 2 * i + 2] @ w + x[i].sum()
        values, weights = np.array(x.tolist()), np.array(w.tolist())
        np.testing.assert_allclose(y.tolist(), values[2 * i : 2 * i + 2] @ weights + values[i].sum(), rtol=1e-4, atol=1e-5)
        if i == 3:
            monkeypatch.setattr(dispatch, "record", lambda op, *rest: (seen.append(op.name), real(op, *rest))[1])
    assert seen == []


def test_writing_what_is_known_to_one_place_after_the_other():
    """A replay buffer, or a list of losses: nothing is recorded, and what was read before stays."""
    buffer, losses, data = torch.zeros(8, 3), torch.zeros(8), torch.randn(8, 3)
    w = torch.randn(3, requires_grad=True)
    for i in range(8):
        held = (buffer[i] + 1).tolist() if i % 2 else buffer[i] + 1
        saved = (buffer.clone() * w).sum()
        buffer[i] = data[i]
        losses[i] = i / 2
        losses[-1:] = losses[0:1]
        assert torch.as_tensor(held).tolist() == [1.0] * 3
        saved.backward()
    assert buffer.tolist() == data.tolist() and losses.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 0.0]
    torch.testing.assert_close(w.grad, sum(data[i] * (7 - i) for i in range(8)))


def test_writing_to_a_place_runs_nothing():
    x, log = torch.randn(5), torch.zeros(10)
    pending = x.exp()
    for i in range(10):
        log[i] = i
    assert pending._storage.node.value is None and log.tolist() == list(range(10))


def test_writing_to_places_that_overlap():
    x = torch.arange(6.0)
    with pytest.raises(RuntimeError, match="refer to a single memory location"):
        x[1:] = x[:-1]
    x[1:] = x[:-1].clone()
    assert x.tolist() == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    x[::2] = x[:3]  # PyTorch does not look at parts with gaps; here these are the values from before
    assert x.tolist() == [0.0, 0.0, 0.0, 2.0, 1.0, 4.0]


def test_writing_to_a_place_through_a_captured_function():
    log = torch.zeros(4)

    @torch.compile
    def note(x):
        log[1] = x[0]
        return x * 2

    for i in range(5):
        x = torch.full((2,), float(i))
        assert note(x).tolist() == [2.0 * i] * 2 and log.tolist() == [0.0, i, 0.0, 0.0]


def test_results_that_are_written_to_one_place_after_the_other():
    """A rollout: which row a step writes to is no part of its trace."""
    if not config.compiled:
        pytest.skip("nothing is compiled")
    values, states, log, w = torch.zeros(20, 3), torch.zeros(20, 3, 2), torch.zeros(20), torch.randn(2, 1)
    data = torch.randn(20, 3, 2)

    def step(i: int) -> None:
        out = data[i] @ w
        values[i] = out.flatten()
        states[i : i + 2] = data[i] * 2
        log[i] = out.mean()
        out.sum().item()

    assert misses(step, 4, 19) == 0
    wanted = (data @ w)[:19, :, 0]
    torch.testing.assert_close(values[:19], wanted)
    torch.testing.assert_close(log[:19], wanted.mean(1))
    torch.testing.assert_close(states[:19], data[:19] * 2)
    assert not values[19].any() and states[19].tolist() == states[18].tolist()


def test_gradients_through_rows_that_were_written():
    for i in range(4):
        x, out = torch.randn(3, requires_grad=True), torch.ones(4, 3)
        old = out.clone()
        out[i] = x.exp()
        (out * torch.arange(12.0).view(4, 3)).sum().backward()
        torch.testing.assert_close(x.grad, x.detach().exp() * torch.arange(12.0).view(4, 3)[i])
        assert old.sum() == 12 and (out[[j for j in range(4) if j != i]] == 1).all()


def test_data_that_was_written_row_by_row_before():
    if not config.compiled:
        pytest.skip("nothing is compiled")
    x, w = torch.randn(300, 4), torch.randn(4, 2)
    for i in range(300):
        x[i] /= x[i].norm()
    step = lambda i: (x[i : i + 3] @ w).sum().item()  # noqa: E731
    for i in range(280):
        assert step(i) == pytest.approx((torch.tensor(x[i : i + 3].tolist()) @ w).sum().item(), abs=1e-5)
    assert misses(lambda i: step(i % 290), 280, 400) == 0
