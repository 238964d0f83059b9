"""The tape: what flows where, hooks, modes, custom Functions, in-place writes, memory."""

from __future__ import annotations

import sys
import threading
import warnings
import weakref

import pytest

import flambeau as torch
from flambeau.autograd import Function
from tests.growth import objects_kept


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


# --- backward and grad ---------------------------------------------------------------------------------------


def test_gradients_add_up_in_leaves():
    x = leaf(1.0, 2.0)
    x.sum().backward()
    kept = x.grad
    (x * x).sum().backward()
    assert x.grad is kept and kept.tolist() == [3, 5]
    x.grad = None
    (x * 2).backward(torch.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2, 20]


def test_gradient_memory_is_the_leafs_own():
    x, y = leaf(1.0, 2.0), leaf(1.0, 2.0)
    (x + y).sum().backward()
    x.grad.mul_(10)
    assert y.grad.tolist() == [1, 1]


def test_backward_frees_what_was_saved():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [6, 12]
    z = (x + 1).sum()  # nothing was saved, so nothing is missing
    z.backward()
    z.backward()
    assert x.grad.tolist() == [8, 14]


def test_inputs_alone_receive():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = x * w
    (y * y).sum().backward(inputs=[x, y])
    assert x.grad.tolist() == [18, 64] and y.grad.tolist() == [6, 16] and w.grad is None


def test_grad():
    x, w = leaf(1.0, 2.0), leaf(1.0, 1.0)
    y = x * 2
    assert [g.tolist() for g in torch.autograd.grad((y * y).sum(), [y, x])] == [[4, 8], [8, 16]]
    assert torch.autograd.grad([x.sum(), (x * x).sum()], x)[0].tolist() == [3, 5]
    with pytest.raises(RuntimeError, match="at index 1 appears to not have been used in the graph"):
        torch.autograd.grad(x.sum(), [x, w])
    assert torch.autograd.grad(x.sum(), [x, w], allow_unused=True)[1] is None
    assert torch.autograd.grad(x.sum(), [x, w], materialize_grads=True)[1].tolist() == [0, 0]
    assert torch.autograd.grad(x * x, x, torch.eye(2), is_grads_batched=True)[0].tolist() == [[2, 0], [0, 4]]
    assert x.grad is None and w.grad is None


def test_higher_orders():
    x = leaf(2.0)
    value = x**4
    for expected in (32, 48, 48, 24):
        (value,) = torch.autograd.grad(value, x, create_graph=True)
        assert value.item() == expected
    with pytest.warns(UserWarning, match="create_graph=True will create a reference cycle"):
        (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    x.grad = None


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: (x * 2).backward(), "grad can be implicitly created only for scalar outputs"),
    (lambda x: (x * 2).backward(torch.ones(3)), "Mismatch in shape"),
    (lambda x: torch.ones(1).backward(), "does not require grad and does not have a grad_fn"),
    (lambda x: x.sum().backward(inputs=[]), "cannot be empty"),
    (lambda x: torch.autograd.grad(x.sum(), []), "cannot be empty"),
    (lambda x: torch.autograd.grad(x.sum(), torch.ones(2)), "does not require grad"),
    (lambda x: torch.autograd.grad([x * 1, x], x, [torch.ones(2)]), "got 2 tensors and 1 gradients"),
    (lambda x: setattr(x, "grad", torch.ones(3)), "attempting to assign a gradient of size"),
    (lambda x: setattr(x, "grad", torch.ones(2).double()), "attempting to assign a gradient with dtype 'double'"),
    (lambda x: setattr(x * 2, "requires_grad", False), "you can only change requires_grad flags of leaf variables"),
    (lambda x: torch.ones(1).long().requires_grad_(), "only Tensors of floating point and complex dtype"),
    (lambda x: torch.ones(1).register_hook(print), "cannot register a hook on a tensor that doesn't require gradient"),
    (lambda x: torch.ones(1).retain_grad(), "can't retain_grad on Tensor that has requires_grad=False"),
])  # fmt: skip
def test_wrong_calls(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(leaf(1.0, 2.0))


# --- what can be seen of the tape ----------------------------------------------------------------------------


def test_tape_can_be_walked():
    x = leaf(1.0, 2.0)
    y = (x * 3).exp()
    (multiply, number) = y.grad_fn.next_functions[0]
    assert (y.grad_fn.name(), multiply.name(), number) == ("ExpBackward0", "MulBackward0", 0)
    assert multiply.next_functions[0][0].variable is x and multiply.next_functions[1] == (None, 0)
    assert y.grad_fn._saved_result.tolist() == y.tolist() and (x * x).grad_fn._saved_self is x
    assert x.is_leaf and not y.is_leaf and (x + 1).grad_fn.next_functions[1:] == ((None, 0),)
    assert torch.autograd.graph.get_gradient_edge(y) == (y.grad_fn, 0)
    y.grad_fn.metadata["note"] = 1
    assert y.grad_fn.metadata == {"note": 1}
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.grad_fn._saved_result  # noqa: B018
    with pytest.raises(AttributeError, match="'ExpBackward0' object has no attribute '_saved_nothing'"):
        x.exp().grad_fn._saved_nothing  # noqa: B018


@pytest.mark.parametrize(("result", "name"), [
    (lambda x: x.sum(), "SumBackward0"), (lambda x: x.sum(0), "SumBackward1"), (lambda x: x.mean(1), "MeanBackward1"),
    (lambda x: x**2, "PowBackward0"), (lambda x: x**x, "PowBackward1"), (lambda x: 2**x, "PowBackward2"),
    (lambda x: x.clamp(min=0), "ClampBackward1"), (lambda x: x.clamp(x), "ClampBackward0"),
    (lambda x: x @ x, "MmBackward0"), (lambda x: x.t(), "TBackward0"), (lambda x: x.view(4), "ViewBackward0"),
    (lambda x: x[0], "SelectBackward0"), (lambda x: x[:, :1], "SliceBackward0"), (lambda x: x[[0]], "IndexBackward0"),
    (lambda x: x.double(), "ToCopyBackward0"), (lambda x: x.t().double(), "ToCopyBackward0"),
    (lambda x: x.t().clone(), "CloneBackward0"), (lambda x: torch.cat([x, x]), "CatBackward0"),
])  # fmt: skip
def test_names(result, name):
    assert result(torch.ones(2, 2, requires_grad=True)).grad_fn.name() == name


# --- modes ---------------------------------------------------------------------------------------------------


def test_modes_nest_and_end():
    seen = []
    with torch.no_grad():
        seen.append(torch.is_grad_enabled())
        with torch.enable_grad():
            seen.append(torch.is_grad_enabled())
            with torch.set_grad_enabled(False):
                seen.append(torch.is_grad_enabled())
            seen.append(torch.is_grad_enabled())
        seen.append(torch.is_grad_enabled())
    assert seen == [False, True, False, True, False] and torch.is_grad_enabled()
    with pytest.raises(KeyError), torch.no_grad():
        raise KeyError
    assert torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    assert not torch.is_grad_enabled()
    torch.set_grad_enabled(True)


@pytest.mark.parametrize("mode", [
    lambda: torch.no_grad, torch.no_grad, lambda: torch.set_grad_enabled(False), lambda: torch.inference_mode, torch.inference_mode,
])  # fmt: skip
def test_modes_decorate(mode):
    @mode()
    def double(x):
        """Twice x."""
        return x * 2, torch.is_grad_enabled()

    result, enabled = double(leaf(1.0))
    assert not result.requires_grad and not enabled and torch.is_grad_enabled()
    assert double.__name__ == "double" and double.__doc__ == "Twice x."


def test_modes_decorate_generators():
    @torch.no_grad()
    def steps():
        got = yield torch.is_grad_enabled()
        yield got, torch.is_grad_enabled()

    g = steps()
    assert next(g) is False and torch.is_grad_enabled()
    assert g.send("sent") == ("sent", False) and torch.is_grad_enabled()


def test_inference_mode():
    x = leaf(1.0)
    with torch.inference_mode():
        assert torch.is_inference_mode_enabled() and not (x * 2).requires_grad
        with torch.inference_mode(False):
            assert (x * 2).requires_grad and not torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()


# --- hooks ---------------------------------------------------------------------------------------------------


def test_tensor_hooks():
    x = leaf(1.0, 2.0)
    y = x * 2
    order = []
    first = y.register_hook(lambda g: order.append(("first", g.tolist())))
    y.register_hook(lambda g: g * 10)
    last = y.register_hook(lambda g: order.append(("last", g.tolist())))
    on_leaf = x.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    assert order == [("first", [1, 1]), ("last", [10, 10])] and x.grad.tolist() == [21, 21]
    assert torch.autograd.grad(y.sum(), x, retain_graph=True)[0].tolist() == [21, 21]
    for handle in (first, last, on_leaf):
        handle.remove()
    x.grad = None
    y.sum().backward()
    assert len(order) == 4 and x.grad.tolist() == [20, 20]


def test_hooks_must_keep_the_shape():
    y = leaf(1.0, 2.0) * 2
    y.register_hook(lambda g: g[0])
    with pytest.raises(RuntimeError, match="hook '<lambda>' has changed the size of value"):
        y.sum().backward()


def test_retained_gradient_is_what_hooks_leave():
    x = leaf(1.0, 2.0)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 5)
    y.sum().backward()
    assert y.retains_grad and y.grad.tolist() == [5, 5]
    with pytest.warns(UserWarning, match="not a leaf Tensor is being accessed"):
        assert (x * 2).grad is None


def test_post_accumulate_hooks():
    x = leaf(1.0)
    seen = []
    with x.register_post_accumulate_grad_hook(lambda p: seen.append((p is x, p.grad.item()))):
        x.sum().backward()
        (2 * x).sum().backward()
    x.sum().backward()
    assert seen == [(True, 1), (True, 3)]
    with pytest.raises(RuntimeError, match="cannot be registered on non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)
    for returned, error in (
        (torch.ones_like(x), None),
        ((1, None), TypeError),
        (False, TypeError),
        (torch.ones(2, 2), RuntimeError),
    ):
        with x.register_post_accumulate_grad_hook(lambda p, returned=returned: returned):
            if error is None:
                x.sum().backward()
            else:
                with pytest.raises(error, match="expected Variable, but hook returned|has changed the size of value"):
                    x.sum().backward()


def test_node_hooks():
    x = leaf(1.0, 2.0)
    y = x * 2
    seen = []
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 3,))
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs[0].tolist(), outputs[0].tolist())))
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] + 1, *inputs[1:]))
    y.sum().backward()
    assert seen == [([6, 6], [3, 3])] and x.grad.tolist() == [7, 7]


def test_hook_on_several_tensors():
    a, b = leaf(1.0), leaf(2.0)
    c = a * b
    seen = []
    handle = torch.autograd.graph.register_multi_grad_hook([a, b, c], lambda grads: seen.append([g.item() for g in grads]))
    c.sum().backward()
    handle.remove()
    (a * b).sum().backward()
    assert seen == [[2, 1, 1]]


# --- saved values --------------------------------------------------------------------------------------------


def test_saved_values_are_those_of_the_time():
    x = leaf(1.0, 2.0)
    w = x * 1
    y, e = w * w, w.exp()
    expected = (2 * x + x.exp()).tolist()
    w.add_(100)
    e2 = e * 1
    e.zero_()
    (y + e2).sum().backward()
    assert x.grad.tolist() == pytest.approx(expected)


def test_saved_values_survive_other_data():
    x = torch.arange(4.0).view(2, 2).t().detach().requires_grad_()
    y = (x * x).sum()
    x.data = torch.zeros(2, 2)
    y.backward()
    assert x.grad.tolist() == [[0, 4], [2, 6]]


def test_saved_tensor_hooks():
    x = leaf(1.0, 2.0)
    packed = []

    def pack(t):
        packed.append(t.tolist())
        return len(packed) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda i: torch.tensor(packed[i]) * 10):
        y = x * x
    assert packed == [[1, 2], [1, 2]]
    y.sum().backward()
    assert x.grad.tolist() == [20, 40]
    with torch.autograd.graph.save_on_cpu():
        (g,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    assert torch.autograd.grad(g.sum(), x)[0].tolist() == [6, 12]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = x.exp()
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor but got result of type int"):
        y.sum().backward()
    with torch.autograd.graph.disable_saved_tensors_hooks("not now"), pytest.raises(RuntimeError, match="not now"):
        torch.autograd.graph.save_on_cpu().__enter__()


def test_hooks_of_saved_tensors_belong_to_their_thread():
    x, y = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    packed: dict[str, list] = {"here": [], "there": []}
    entered, left = threading.Event(), threading.Event()

    def hooks(name):
        return torch.autograd.graph.saved_tensors_hooks(lambda t: packed[name].append(tuple(t.shape)) or t, lambda t: t)

    def other():
        with hooks("there"):
            entered.set()
            assert left.wait(60)  # until the hooks here, which were on first, are off again
            (y * y).sum().backward()

    thread = threading.Thread(target=other)
    with hooks("here"):
        thread.start()
        assert entered.wait(60)
        (x * x).sum().backward()
    left.set()
    thread.join()
    (x * x).sum().backward()
    assert packed == {"here": [(2,)] * 2, "there": [(3,)] * 2} and x.grad.tolist() == [4.0, 4.0] and y.grad.tolist() == [2.0] * 3

    def disabled():
        with torch.autograd.graph.disable_saved_tensors_hooks("not there"):
            entered.set()
            assert left.wait(60)

    entered.clear()
    left.clear()
    thread = threading.Thread(target=disabled)
    thread.start()
    assert entered.wait(60)
    with hooks("here"):
        (x * x).sum()
    left.set()
    thread.join()
    assert len(packed["here"]) == 4


# --- in-place writes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [
    lambda x: x.add_(1), lambda x: x.zero_(), lambda x: x.__setitem__(0, 9), lambda x: x[:1].mul_(2), lambda x: x.view(1, 2).exp_(),
])  # fmt: skip
def test_leaves_are_not_written_to(write):
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad is being used in an in-place operation"):
        write(x)
    assert x.tolist() == [1, 2]
    with torch.no_grad():
        write(x)
    assert x.tolist() != [1, 2] and x.is_leaf and x.requires_grad


def numerical(function, x, eps=1e-3):
    """The gradient of ``function(x).sum()`` by central differences."""
    result = []
    for i in range(x.numel()):
        step = torch.zeros(x.numel(), dtype=torch.float64)
        step[i] = eps
        step = step.view(x.shape)
        result.append((function(x + step).sum() - function(x - step).sum()).item() / (2 * eps))
    return result


def _base_then_view(x):
    y = x * 1
    v = y[1]
    y.mul_(3)
    return y + v * v


def _view_then_base(x):
    y = x * 1
    v = y.t()[0]
    v.exp_()
    return y * y


def _chain(x):
    y = x * 1
    a = y.view(-1)
    b = a[1:5]
    c = b[::2]
    c.mul_(a[0].clone())
    b.add_(2)
    return y * a.view(2, 3)


def _buffer(x):
    out = torch.zeros(3, 3, dtype=torch.float64)
    for i in range(2):
        out[i] = x[i] * (i + 2)
    out[2, 1:].copy_(x[0, :2])
    return out * out


def _between(x):
    y = x * 1
    v = y[0]
    before = v * v
    v.mul_(2)
    after = v * v
    return before + after + y.sum(0)


def _masked(x):
    y = x * 1
    y[y > 0.5] = y[y > 0.5] ** 2
    y[:, [0, 2]] *= 3
    y[0, 0] = 7
    return y


def _with_out(x):
    y = x * 2
    y.unsqueeze_(0)
    y.squeeze_(0).transpose_(0, 1)
    y.diagonal().mul_(5)
    return y


@pytest.mark.parametrize("function", [_base_then_view, _view_then_base, _chain, _buffer, _between, _masked, _with_out])
def test_gradients_through_writes(function):
    x = torch.tensor([[0.3, 0.7, -0.2], [1.1, 0.4, 0.9]], dtype=torch.float64, requires_grad=True)
    function(x).sum().backward()
    assert x.grad.flatten().tolist() == pytest.approx(numerical(function, x.detach()), rel=1e-5, abs=1e-6)


def test_overwritten_values_get_zeros():
    x = leaf(1.0, 2.0)
    y = x * 1
    y.copy_(torch.ones(2))
    assert y.requires_grad and type(y.grad_fn).__name__ == "CopyBackwards"
    y.sum().backward()
    assert x.grad.tolist() == [0, 0]


def test_leaves_that_no_longer_want_a_gradient_get_none():
    x = leaf(1.0, 2.0)
    y = x * 2
    x.requires_grad_(False)
    y.sum().backward()
    assert x.grad is None


def test_tape_of_bases_and_views():
    x = leaf(1.0, 2.0)
    y = x.clone()
    v = y[:1]
    v.mul_(3)
    assert y.grad_fn.name() == "torch::autograd::CopySlices" and v.grad_fn.name() == "AsStridedBackward0"
    plain = torch.zeros(2)
    row = plain[:1]
    row.copy_(x[:1])
    assert plain.requires_grad and plain.grad_fn.name() == "torch::autograd::CopySlices"
    with pytest.raises(RuntimeError, match="Can't detach views in-place"):
        y[0].detach_()


# --- Functions of the user's own -----------------------------------------------------------------------------


class Scale(Function):
    """Two results, a number and a keyword among the arguments, an intermediate saved."""

    @staticmethod
    def forward(ctx, x, factor, w, flag=None):
        squared = x * x
        ctx.save_for_backward(x, w, squared)
        ctx.factor = factor
        return squared * factor, x * w

    @staticmethod
    def backward(ctx, g, h):
        x, w, squared = ctx.saved_tensors
        assert squared.tolist() == (x * x).tolist()
        return 2 * x * ctx.factor * g + w * h, None, x * h if ctx.needs_input_grad[2] else None, None


def test_function_with_everything():
    x, w = leaf(1.0, 2.0), torch.tensor([3.0, 4.0])
    a, b = Scale.apply(x, 5, w)
    assert a.grad_fn is b.grad_fn and b.output_nr == 1 and a.grad_fn.name() == "ScaleBackward"
    assert a.grad_fn.needs_input_grad == (True, False, False)
    assert repr(a.grad_fn).startswith("<torch.autograd.function.ScaleBackward object at 0x")
    (a.sum() + b.sum()).backward()
    assert x.grad.tolist() == [13, 24]
    with pytest.raises(RuntimeError, match="second time"):
        a.sum().backward()


class Exponential(Function):
    """In the style that can be nested in transforms; saves its output."""

    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, g):
        (out,) = ctx.saved_tensors
        return g * out


def test_function_in_two_parts_and_twice():
    x = torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Exponential.apply, x) and torch.autograd.gradgradcheck(Exponential.apply, x)


def make(forward, backward, **settings):
    return type("Made", (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward), **settings})


def test_function_that_writes_in_place():
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    double = make(forward, lambda ctx, g: g * 2)
    x = leaf(1.0, 2.0)
    y = x * 1
    z = double.apply(y)
    assert z is y and y.grad_fn.name() == "MadeBackward"
    z.sum().backward()
    assert x.grad.tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        double.apply(x)


def test_function_that_returns_its_input():
    x = leaf(1.0, 2.0)
    y = make(lambda ctx, x: x, lambda ctx, g: g * 3).apply(x)
    assert y is not x and y.data_ptr() == x.data_ptr() and not y.is_leaf
    y.sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_function_with_an_output_without_gradient():
    def forward(ctx, x):
        values, order = x.sort()
        ctx.mark_non_differentiable(order)
        ctx.save_for_backward(order)
        return values, order

    def backward(ctx, g, _):
        (order,) = ctx.saved_tensors
        return torch.zeros(2).scatter_(0, order, g)

    x = leaf(3.0, 1.0)
    values, order = make(forward, backward).apply(x)
    assert values.requires_grad and not order.requires_grad
    (values * torch.tensor([1.0, 5.0])).sum().backward()
    assert x.grad.tolist() == [5, 1]


@pytest.mark.parametrize("materialize", [True, False])
def test_gradients_that_did_not_come(materialize):
    got = []

    def forward(ctx, x):
        ctx.set_materialize_grads(materialize)
        return x * 2, x * 3

    def backward(ctx, g, h):
        got.append(h)
        return g

    x = leaf(1.0, 2.0)
    make(forward, backward).apply(x)[0].sum().backward()
    assert (got[0].tolist() == [0, 0]) if materialize else (got[0] is None)


def test_once_differentiable():
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        assert not torch.is_grad_enabled()
        return g * 2

    x = leaf(1.0)
    double = make(lambda ctx, x: x * 2, backward)
    (g,) = torch.autograd.grad(double.apply(x), x, leaf(3.0), create_graph=True)
    assert g.item() == 6
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        g.backward()


@pytest.mark.parametrize(("backward", "error", "message"), [
    (lambda ctx, g: (g, g), RuntimeError, r"returned an incorrect number of gradients \(expected 1, got 2\)"),
    (lambda ctx, g: 3, RuntimeError, r"expected Variable or None \(got int\)"),
    (lambda ctx, g: torch.ones(3), RuntimeError, r"returned an invalid gradient at index 0 - got \[3\]"),
    (Function.backward, NotImplementedError, "must implement either the backward or vjp method"),
])  # fmt: skip
def test_wrong_backwards(backward, error, message):
    y = make(lambda ctx, x: x * 2, backward).apply(leaf(1.0, 2.0))
    with pytest.raises(error, match=message):
        y.sum().backward()


def test_only_tensors_are_saved():
    def forward(ctx, x):
        ctx.save_for_backward(x, 3)
        return x

    with pytest.raises(TypeError, match="can only save variables, but argument 1 is of type int"):
        make(forward, lambda ctx, g: g).apply(leaf(1.0))


# --- checks --------------------------------------------------------------------------------------------------


def test_gradcheck_catches_a_wrong_gradient():
    x = torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True)
    wrong = make(lambda ctx, x: x.clone(), lambda ctx, g: g * 1.001)
    for fast in (False, True):
        with pytest.raises(torch.autograd.GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
            torch.autograd.gradcheck(wrong.apply, x, fast_mode=fast, rtol=1e-5)
    assert not torch.autograd.gradcheck(wrong.apply, x, raise_exception=False, rtol=1e-5)

    class WrongTwice(Exponential):
        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0].detach()

    assert torch.autograd.gradcheck(WrongTwice.apply, x)
    with pytest.raises(torch.autograd.GradcheckError):
        torch.autograd.gradgradcheck(lambda x: WrongTwice.apply(x) * x, x)


def test_functional():
    f, x, y = torch.autograd.functional, torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    (by_x, by_y), (sum_by_x, _) = f.jacobian(lambda a, b: (a * b, a.sum()), (x, y))
    assert by_x.tolist() == [[3, 0], [0, 4]] and by_y.tolist() == [[1, 0], [0, 2]] and sum_by_x.tolist() == [1, 1]
    hessian = f.hessian(lambda a, b: (a * a * b).sum(), (x, y))
    assert hessian[0][0].tolist() == [[6, 0], [0, 8]] and hessian[0][1].tolist() == hessian[1][0].tolist() == [[2, 0], [0, 4]]
    v = torch.tensor([1.0, -1.0])
    assert f.vjp(lambda a: a**2, x, v)[1].tolist() == f.jvp(lambda a: a**2, x, v)[1].tolist() == [2, -4]
    cube = lambda a: (a**3).sum()  # noqa: E731
    assert f.hvp(cube, x, v)[1].tolist() == f.vhp(cube, x, v)[1].tolist() == [6, -12]
    assert f.jacobian(lambda a: torch.ones(2), x).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(RuntimeError, match="should contain a single element"):
        f.hessian(lambda a: a, x)


def test_anomaly_detection_names_the_forward_line():
    x = leaf(-1.0)
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"), torch.autograd.detect_anomaly():
        y = x.sqrt()  # here
        line = sys._getframe().f_lineno - 1
        with pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output") as caught:
            y.sum().backward()
    assert f'test_autograd.py", line {line}' in str(caught.value)
    assert not torch.is_anomaly_enabled()
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        assert torch.is_anomaly_enabled() and not torch.is_anomaly_check_nan_enabled()
        y = make(lambda ctx, x: x * 2, lambda ctx, g: 1 / 0).apply(x)
        with pytest.warns(UserWarning, match="Error detected in MadeBackward. Traceback of forward call"):
            with pytest.raises(ZeroDivisionError):
                y.sum().backward()


# --- old idioms ----------------------------------------------------------------------------------------------


def test_variables():
    v = torch.autograd.Variable(torch.ones(2), requires_grad=True)
    assert type(v) is torch.Tensor and isinstance(torch.ones(1), torch.autograd.Variable)
    (v * 3).sum().backward()
    v.data -= 0.5 * v.grad.data
    v.grad.data.zero_()
    assert v.tolist() == [-0.5, -0.5] and v.grad.tolist() == [0, 0] and v.is_leaf
    with pytest.warns(UserWarning, match="volatile was removed"):
        assert not torch.autograd.Variable(torch.ones(2), volatile=True).requires_grad
    with pytest.warns(UserWarning, match="volatile was removed"):
        assert v.volatile is False
    with pytest.raises(IndexError, match="invalid index of a 0-dim tensor"):
        v.sum().data[0]


def test_legacy_mode_reads_numbers_by_index(monkeypatch):
    monkeypatch.setattr(torch.core.config, "legacy", True)
    with pytest.warns(DeprecationWarning, match="old spelling"):
        assert torch.tensor(3.0).data[0] == 3


# --- depth and memory ----------------------------------------------------------------------------------------


def test_deep_graphs():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert y.item() == 100_001 and x.grad.item() == 1
    del y  # frees 100,000 nodes, one inside the other


def test_deep_graphs_that_are_never_run_backwards():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    ref = weakref.ref(y.grad_fn)
    del y
    assert ref() is None


def test_steps_leave_nothing_behind():
    w = torch.randn(4, 4, requires_grad=True)

    def step():
        loss = (w.mm(w).relu() + 1).log().sum()
        loss.backward()
        with torch.no_grad():
            w.sub_(w.grad)
            w.grad = None
        return loss.item()

    def steps():
        for _ in range(20):
            step()

    assert objects_kept(steps) < 20  # no circles either: everything went when it was done with


def test_warnings_are_not_the_rule():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = leaf(1.0, 2.0)
        (x * x).sum().backward()
        assert x.grad.tolist() == [2, 4]


def test_writes_to_leaves_name_what_is_written_to():
    a = torch.ones(4, requires_grad=True)
    view_that_is_a_leaf = torch.ones(4).view(2, 2).requires_grad_()
    for written, message in [
        (a, "^a leaf Variable"),
        (a[:2], "^a view of a leaf Variable"),
        (view_that_is_a_leaf, "^a view of a leaf Variable"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            written.add_(1)
