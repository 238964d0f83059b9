"""Names that programs and packages take from PyTorch's corners: they work, or say what they cannot do."""

import importlib

import pytest

import flambeau as torch
from flambeau.optim import optimizer

_X = torch.arange(120.0).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("pattern", "sizes", "want"),
    [
        ("a b c d -> d c b a", {}, lambda x: x.permute(3, 2, 1, 0)),
        ("a b (c e) d -> a (b e) c d", {"e": 2}, lambda x: x.reshape(2, 3, 2, 2, 5).permute(0, 1, 3, 2, 4).reshape(2, 6, 2, 5)),
        ("a ... d -> (...) a d", {}, lambda x: x.permute(1, 2, 0, 3).reshape(12, 2, 5)),
        ("... d -> d ...", {}, lambda x: x.permute(3, 0, 1, 2)),
        ("a b c d -> a 1 (b c) d 1", {}, lambda x: x.reshape(2, 1, 12, 5, 1)),
        ("(x y) b c d -> x y b c d", {"x": 2}, lambda x: x.unsqueeze(1)),
    ],
)
def test_rearrange(pattern, sizes, want):
    assert torch.equal(torch.func.rearrange(_X, pattern, **sizes), want(_X))


@pytest.mark.parametrize(
    ("pattern", "sizes", "message"),
    [
        ("a b c d", {}, "one '->'"), ("a b c -> a b c", {}, "does not match"), ("a b c d -> a b c", {}, "both sides"), ("a a c d -> a c d", {}, "twice"),
        ("a b c d -> a b c (d e", {}, "not closed"), ("(x y) b c d -> x y b c d", {}, "give the size"), ("(x y) b c d -> x y b c d", {"x": 3}, "cannot be split"),
        ("a b c d -> a b c d", {"e": 2}, "Axis length given"),
    ],
)  # fmt: skip
def test_patterns_that_do_not_fit(pattern, sizes, message):
    with pytest.raises(ValueError, match=message):
        torch.func.rearrange(_X, pattern, **sizes)


def test_rearrange_takes_lists_and_has_gradients():
    parts = [torch.ones(2, 3, requires_grad=True) for _ in range(4)]
    out = torch.func.rearrange(parts, "n a b -> a (n b)")
    out.sum().backward()
    assert out.shape == (2, 12) and parts[0].grad.tolist() == [[1.0] * 3] * 2


def test_helpers_of_optimizers():
    class Mine(torch.optim.Optimizer):
        def __init__(self, params, differentiable=False):
            super().__init__(params, {"differentiable": differentiable})

        @optimizer._use_grad_for_differentiable
        def step(self):
            return torch.is_grad_enabled()

    p = torch.nn.Parameter(torch.ones(1))
    assert not Mine([p]).step() and Mine([p], differentiable=True).step() and torch.is_grad_enabled()
    assert optimizer._default_to_fused_or_foreach([p], False) == (False, False)
    assert "cpu" not in optimizer._get_capturable_supported_devices()


@pytest.mark.parametrize("name", ["torch._functorch.config", "torch.compiler.config", "torch.fx.experimental._config"])
def test_modules_of_settings(name):
    places = {"torch.compiler.config": "flambeau._dynamo.compiler_config"}
    config = importlib.import_module(places.get(name, name.replace("torch", "flambeau", 1)))
    for key, value in config.to_dict().items():
        with config.patch({key: value}):
            assert getattr(config, key) == value
    with pytest.raises(AttributeError, match=f"{name}.no_such does not exist"):
        config.no_such = 1


def test_operators_of_functions():
    from flambeau._higher_order_ops import HigherOrderOperator

    class Twice(HigherOrderOperator):
        def __init__(self):
            super().__init__("twice")

        def __call__(self, f, x):
            return f(f(x))

    assert Twice()(lambda x: x + 1, 1) == 3 and Twice().name() == "twice" and not isinstance(torch.cond, HigherOrderOperator)
    with pytest.raises(RuntimeError, match="subclass"):
        HigherOrderOperator("it")
    with pytest.raises(NotImplementedError, match="define __call__"):
        Twice().py_impl("CPU")


def test_named_tuples_of_ops_are_nests():
    from flambeau.utils import _pytree

    torch.return_types.pytree_register_structseq(torch.return_types.max)
    assert len(_pytree.tree_leaves(torch.ones(2, 2).max(0))) == 2
