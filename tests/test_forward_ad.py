"""Dual tensors: tangents along ops, views and writes, custom functions, and levels."""

from __future__ import annotations

import pytest

import flambeau as torch
import flambeau.autograd.forward_ad as fwAD
from flambeau import dispatch
from flambeau.autograd import gradcheck

SLOTS = ("watch", "put", "record_in_order", "refuse_out")


@pytest.fixture(autouse=True)
def closed():
    before = [getattr(dispatch, name) for name in SLOTS]
    yield
    assert [getattr(dispatch, name) for name in SLOTS] == before  # outside of a level nothing is called


def close(a, b):
    return a.shape == b.shape and torch.allclose(a, b)


def test_along_a_chain():
    x, t = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, -1.0])
    with fwAD.dual_level() as level:
        assert level == 0
        y, u = fwAD.unpack_dual((fwAD.make_dual(x, t) ** 2).sin().sum())
    assert close(y, (x**2).sin().sum()) and close(u, ((x**2).cos() * 2 * x * t).sum())
    assert fwAD.unpack_dual(x).tangent is None


def test_levels():
    x = torch.ones(2)
    with pytest.raises(RuntimeError, match="no level exists"):
        fwAD.make_dual(x, x)
    with fwAD.dual_level():
        with pytest.raises(RuntimeError, match="Nested forward mode AD is not supported"):
            fwAD.enter_dual_level()
        dual = fwAD.make_dual(x, torch.ones(2))
        with pytest.raises(RuntimeError, match="has a forward gradient at the same level"):
            fwAD.make_dual(x, dual)
        with pytest.raises(RuntimeError, match="different size"):
            fwAD.make_dual(x, torch.ones(3))
        with pytest.raises(ValueError, match="Expected tangent to be floating point or complex"):
            fwAD.make_dual(x, torch.ones(2, dtype=torch.int64))
        with pytest.raises(NotImplementedError, match="out= function"):
            torch.add(dual, 1, out=x)
    assert fwAD.unpack_dual(dual).tangent is None
    with pytest.raises(RuntimeError, match="positive"):
        fwAD.exit_dual_level()
    with pytest.raises(KeyError), fwAD.dual_level():
        raise KeyError


def test_repeated_calls_and_composites_carry_tangents():
    x, t = torch.rand(4, 3), torch.rand(4, 3)
    for _ in range(4):  # what follows a recipe outside of a level does not inside of one
        torch.nn.functional.layer_norm(x, (3,))
        with fwAD.dual_level():
            dual = fwAD.make_dual(x, t)
            found = fwAD.unpack_dual(torch.nn.functional.layer_norm(dual, (3,))).tangent
        _, expected = torch.func.jvp(lambda x: torch.nn.functional.layer_norm(x, (3,)), (x,), (t,))
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "view",
    [
        lambda d: d[1],
        lambda d: d[:, 1:],
        lambda d: d.t(),
        lambda d: d.reshape(6),
        lambda d: d.diagonal(),
        lambda d: d.unbind(1)[1],
        lambda d: d[1:][0],
    ],
)
def test_views_share_their_tangents(view):
    x, t = torch.rand(2, 3), torch.rand(2, 3)
    expected, part = t.clone(), view(t)
    with fwAD.dual_level():
        dual = fwAD.make_dual(x, t)
        v = view(dual)
        assert close(fwAD.unpack_dual(v).tangent, part)
        v.mul_(2)
        view(expected).mul_(2)
        assert fwAD.unpack_dual(dual).tangent is t and close(t, expected)
        assert fwAD.unpack_dual(x).tangent is None  # what a dual is made of is no part of it


def test_writes_make_tensors_dual():
    x, t = torch.rand(3), torch.rand(3)
    with fwAD.dual_level():
        dual = fwAD.make_dual(x, t)
        for base in (torch.zeros(2, 3), torch.zeros(3, 2).t()):
            earlier = base[1]
            base[0] = dual
            base[1, 1:].add_(dual[:2])
            assert fwAD.unpack_dual(base).tangent.tolist() == [t.tolist(), [0.0, *t[:2].tolist()]]
            assert fwAD.unpack_dual(earlier).tangent.tolist() == [0.0, *t[:2].tolist()]
            base.zero_()
            assert not fwAD.unpack_dual(earlier).tangent.any()
        masked = torch.zeros(3)
        masked[torch.tensor([2, 0])] = dual[:2]
        assert fwAD.unpack_dual(masked).tangent.tolist() == [t[1].item(), 0.0, t[0].item()]
        detached = torch.zeros(3)
        detached.detach().add_(dual)
        assert fwAD.unpack_dual(detached).tangent is None


def test_no_grad_and_integers():
    with fwAD.dual_level():
        dual = fwAD.make_dual(torch.rand(3), torch.ones(3))
        with torch.no_grad():
            assert fwAD.unpack_dual(dual * 3).tangent.tolist() == [3.0] * 3
        assert fwAD.unpack_dual(dual > 0).tangent is None
        assert fwAD.unpack_dual(dual.detach() * 2).tangent is None
        assert not fwAD.unpack_dual(dual.floor()).tangent.any()
        assert not (dual * 2).requires_grad and "tangent=" in repr(dual)


def test_tangents_are_on_the_tape():
    x, t = torch.rand(3, requires_grad=True), torch.rand(3, requires_grad=True)
    with fwAD.dual_level():
        y = fwAD.unpack_dual(fwAD.make_dual(x, t).exp()).tangent  # t exp(x)
    by_x, by_t = torch.autograd.grad(y.sum(), (x, t))
    assert close(by_x, t * x.exp()) and close(by_t, x.exp())


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x**3).sum(), lambda x: (x.sin() * x.exp()).sum(), lambda x: (x[1:] * x[:-1]).prod(), lambda x: x.softmax(0)[1],
        lambda x: (x.unsqueeze(1) @ x.unsqueeze(0)).tanh().sum(), lambda x: (x * 2).sigmoid_().log().sum(), lambda x: x.norm(),
        lambda x: torch.cat([x * x, x]).exp().sum(), lambda x: torch.nn.functional.layer_norm(x, (3,)).pow(3).sum(),
    ],
)  # fmt: skip
def test_tangents_of_gradients(function, create_graph):
    x, t = torch.rand(3, dtype=torch.float64, requires_grad=True), torch.rand(3, dtype=torch.float64)
    expected = torch.autograd.functional.hvp(function, x.detach(), t)[1]
    for _ in range(3):
        with fwAD.dual_level():
            dual = fwAD.make_dual(x, t)
            (g,) = torch.autograd.grad(function(dual), dual, create_graph=create_graph)
            found = fwAD.unpack_dual(g).tangent
        assert torch.allclose(found, expected)


def test_drawn_numbers_are_drawn_once():
    x = torch.ones(100)
    torch.manual_seed(3)
    expected = torch.nn.functional.dropout(x), torch.rand(2)
    torch.manual_seed(3)
    with fwAD.dual_level():
        dropped = torch.nn.functional.dropout(fwAD.make_dual(x, torch.ones(100)))
        assert close(fwAD.unpack_dual(dropped).tangent, expected[0])
    assert close(dropped, expected[0]) and close(torch.rand(2), expected[1])


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y, factor):
        ctx.save_for_forward(x, y)
        ctx.factor = factor
        return factor * x * y

    @staticmethod
    def jvp(ctx, x_t, y_t, factor_t):
        assert factor_t is None
        x, y = ctx.saved_tensors
        return ctx.factor * (x_t * y + x * y_t)


def test_custom_functions():
    x, y, t = torch.rand(3), torch.rand(3), torch.rand(3)
    with fwAD.dual_level():
        assert close(fwAD.unpack_dual(Scale.apply(fwAD.make_dual(x, t), y, 3)).tangent, 3 * t * y)
        assert fwAD.unpack_dual(Scale.apply(x, y, 3)).tangent is None
    leaves = [x.double().requires_grad_(), y.double().requires_grad_()]
    assert gradcheck(Scale.apply, (*leaves, 2), check_forward_ad=True, check_backward_ad=False)

    class Wrong(Scale):
        @staticmethod
        def jvp(ctx, x_t, y_t, _):
            return x_t

    with pytest.raises(RuntimeError, match="Jacobian computed with forward mode mismatch for output 0 with respect to input 0"):
        gradcheck(Wrong.apply, (*leaves, 2), check_forward_ad=True, check_backward_ad=False)

    class Without(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with fwAD.dual_level(), pytest.raises(RuntimeError, match="must implement the jvp function"):
        Without.apply(fwAD.make_dual(x, t))


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        lambda z: z * z.conj().sum(), lambda z: torch.view_as_real(z * 1j), lambda z: z.real * z.imag, torch.abs, lambda z: z.T @ z,
        lambda z: torch.fft.fft(z), lambda z: z.clone().mul_(z), lambda z: torch.cat([z, z.real]),
    ],
)  # fmt: skip
def test_complex(function, fast_mode):
    z = torch.randn(2, 2, dtype=torch.complex128, requires_grad=True)
    assert gradcheck(function, z, check_forward_ad=True, fast_mode=fast_mode)


def test_a_network_by_tangents_is_that_by_gradients():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 3),
    )
    x = torch.randn(5, 2, 6, 6)
    t = torch.randn(5, 2, 6, 6)
    _, expected = torch.func.jvp(net, (x,), (t,))
    with fwAD.dual_level():
        found = fwAD.unpack_dual(net(fwAD.make_dual(x, t))).tangent
    assert torch.allclose(found, expected, atol=1e-5)


def test_compiled_functions_carry_tangents():
    double = torch.compile(lambda x: x.sin() * 2)
    x, t = torch.rand(3), torch.rand(3)
    for _ in range(4):
        double(x)
    with fwAD.dual_level():
        assert close(fwAD.unpack_dual(double(fwAD.make_dual(x, t))).tangent, x.cos() * 2 * t)


def test_results_with_names_as_a_list_of_tensors():
    with fwAD.dual_level():
        x = fwAD.make_dual(torch.tensor([1.0, 5.0, 2.0]), torch.tensor([1.0, 2.0, 3.0]))
        assert fwAD.unpack_dual(torch.stack(torch.aminmax(x))).tangent.tolist() == [1.0, 2.0]
