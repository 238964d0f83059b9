"""Random functions and methods of tensors: what is drawn when, gradients, memory, seeds. Values: tests/parity."""

import pickle
import warnings

import pytest

import flambeau as torch
import flambeau.nn.functional as F


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_first_numbers():
    """The numbers that PyTorch users know."""
    assert str(torch.rand(3)) == "tensor([0.4963, 0.7682, 0.0885])"
    torch.manual_seed(0)
    assert str(torch.randn(3)) == "tensor([ 1.5410, -0.2934, -2.1788])"
    torch.manual_seed(0)
    assert torch.randperm(5).tolist() == [4, 0, 1, 3, 2]
    torch.manual_seed(42)
    assert torch.randint(0, 10, (5,)).tolist() == [2, 7, 6, 4, 6]


def test_numbers_are_drawn_when_called():
    """Not when they are needed: a draw whose value is never looked at still moves the stream, and in order."""
    a, b = torch.rand(2), torch.rand(2)
    later = b.tolist()
    torch.manual_seed(0)
    assert a.tolist() == torch.rand(2).tolist() and later == torch.rand(2).tolist()


def test_metadata():
    x = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    assert x.requires_grad and x.is_leaf and x.dtype is torch.float64
    assert torch.rand_like(x).requires_grad is False and torch.rand_like(x).dtype is torch.float64
    assert torch.randint(3, (2,)).dtype is torch.int64 and torch.randperm(3, dtype=torch.int32).dtype is torch.int32
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.randn(2).dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_filling_a_view_fills_its_base():
    x = torch.zeros(4, 6)
    x[1:3, ::2].fill_(9).uniform_(1, 2)
    filled = (x != 0).nonzero().tolist()
    assert filled == [[r, c] for r in (1, 2) for c in (0, 2, 4)]
    assert x.max().item() < 2


def test_filling_keeps_the_memory_and_counts_a_version():
    x = torch.zeros(20)
    address, version = x.data_ptr(), x._version
    assert x.normal_() is x and x.data_ptr() == address and x._version == version + 1


def test_samples_have_no_gradient_but_dropout_does():
    p = torch.full((4,), 0.5, requires_grad=True)
    with torch.no_grad():
        torch.bernoulli(p)
    x = torch.ones(100, requires_grad=True)
    y = F.dropout(x, 0.25)
    y.sum().backward()
    assert x.grad.tolist() == y.tolist() and set(y.tolist()) == {0.0, torch.tensor(1 / 0.75).item()}


def test_filling_a_parameter_needs_no_grad():
    w = torch.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        w.uniform_()
    with torch.no_grad():
        w.uniform_()
    assert w.requires_grad and w.is_leaf and w.sum().item() > 0


def test_dropout_keeps_the_mean():
    x = torch.ones(20_000)
    for y in (F.dropout(x, 0.3), F.dropout2d(torch.ones(100, 200, 1, 1), 0.3)):
        assert abs(y.mean().item() - 1) < 0.03
    z = F.alpha_dropout(torch.randn(20_000), 0.3, training=True)
    assert abs(z.mean().item()) < 0.05 and abs(z.std().item() - 1) < 0.05


def test_dropout_of_channels_drops_them_whole():
    y = F.dropout2d(torch.ones(4, 8, 3, 3))
    assert set((y != 0).sum(dim=(2, 3)).flatten().tolist()) == {0, 9}


def test_dropout_that_does_nothing_returns_its_input_and_draws_nothing():
    x = torch.ones(4)
    state = torch.get_rng_state()
    assert F.dropout(x, 0.0) is x and F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 1.0).tolist() == [0, 0, 0, 0]
    assert torch.get_rng_state().tolist() == state.tolist()


def test_dropout2d_warns_of_other_dims():
    with pytest.warns(UserWarning, match="dropout2d: Received a 3D input") as caught:
        F.dropout2d(torch.ones(2, 3, 4))
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="dropout3d: Received a 3-D input") as caught:
        F.dropout3d(torch.ones(2, 3, 4))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.dropout2d(torch.ones(2, 3, 4, 4))


# --- seeds and states ----------------------------------------------------------------------------------------


def test_seeds():
    assert torch.manual_seed(3) is torch.default_generator and torch.initial_seed() == 3
    first = torch.rand(3).tolist()
    torch.manual_seed(3.9)  # as in PyTorch, int() of what is given
    assert torch.rand(3).tolist() == first
    assert torch.seed() == torch.initial_seed() != 3


def test_state():
    torch.randn(1)
    state = torch.get_rng_state()
    assert state.dtype is torch.uint8 and tuple(state.shape) == (5056,)
    first = torch.randn(5).tolist()
    torch.set_rng_state(state)
    assert torch.randn(5).tolist() == first


def test_generator():
    g = torch.Generator().manual_seed(1)
    first = torch.rand(3, generator=g).tolist()
    other = torch.Generator()
    other.set_state(torch.Generator().manual_seed(1).get_state())
    assert torch.rand(3, generator=other).tolist() == first
    assert torch.rand(3, generator=pickle.loads(pickle.dumps(torch.Generator().manual_seed(1)))).tolist() == first
    assert g.get_state().dtype is torch.uint8
    torch.manual_seed(0)
    torch.rand(3, generator=g)
    assert torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(0)).item()


def test_fork_rng():
    with torch.random.fork_rng(), pytest.raises(ZeroDivisionError), torch.random.fork_rng():
        torch.rand(10)
        raise ZeroDivisionError
    assert str(torch.rand(2)) == "tensor([0.4963, 0.7682])"
    torch.manual_seed(0)
    with torch.random.fork_rng(enabled=False):
        torch.rand(1)
    assert str(torch.rand(1)) == "tensor([0.7682])"
