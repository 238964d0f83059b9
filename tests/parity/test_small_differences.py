"""Slips and texts at the edges of several subjects, beside PyTorch's."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "name", sorted(n for n in dir(torch.Tensor) if n.endswith("_") and not n.endswith("__") and hasattr(torch, n[:-1]))
)
def test_functions_of_a_complex_number_in_place(name, agree):
    """Those whose result is real are refused there; what they compute elsewhere is tested elsewhere."""
    if name in (
        "abs_",
        "absolute_",
        "angle_",
        "sgn_",
        "conj_",
        "sqrt_",
        "exp_",
        "square_",
        "neg_",
        "reciprocal_",
        "sigmoid_",
        "log_",
    ):
        agree(f"z = torch.tensor([3 + 4j, -1j])\nz.{name}()")


@pytest.mark.parametrize("base", ["torch.nn.Parameter", "torch.Tensor"])
def test_texts_of_parameters_of_a_users_class(base, agree):
    agree(f"""
class Mine({base}):
    pass

x = Mine(torch.ones(2)) if "Parameter" in {base!r} else torch.nn.Parameter(torch.ones(2).as_subclass(Mine))
repr(x), isinstance(x, torch.nn.Parameter), repr(x * 2), repr(torch.nn.ParameterList([x]))
""")


def test_frozen_modules_take_no_gradients(agree):
    agree("""
torch.manual_seed(0)
m = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()).eval()
f = torch.jit.freeze(torch.jit.script(m))
x = torch.ones(1, 2, requires_grad=True)
f(x).sum().backward()
f(torch.ones(1, 2)).requires_grad, x.grad.shape, m[0].weight.requires_grad, m[0].weight.grad
""")


def test_checkpoints_that_are_reentrant_pass_no_keywords_on(agree):
    for reentrant in (True, False):
        agree(f"""
from importlib import import_module
checkpoint = import_module(torch.__name__ + ".utils.checkpoint").checkpoint
checkpoint(lambda x, k: x * k, torch.ones(2, requires_grad=True), k=3, use_reentrant={reentrant}).detach()
""")


def test_what_a_checkpoint_finds_changed_is_described_as_in_pytorch():
    import flambeau

    texts = []
    for t in (torch, flambeau):
        calls = []

        def changing(x, calls=calls):
            calls.append(1)
            return (x[: len(calls)]).sin().sum()

        from importlib import import_module

        checkpoint = import_module(t.__name__ + ".utils.checkpoint").checkpoint
        with pytest.raises(RuntimeError) as error:
            checkpoint(changing, t.ones(3, requires_grad=True), use_reentrant=False).backward()
        texts.append([line for line in str(error.value).splitlines() if "metadata: {" in line])
    assert texts[0] == texts[1] and texts[0]


@pytest.mark.parametrize(
    ("key", "value"), [((2, 3, 8), (2, 3, 5)), ((2, 3, 6), (2, 3, 4)), ((2, 4, 6), (2, 3, 5)), ((2, 3, 6), (2, 3, 5))]
)
def test_attention_of_inputs_of_other_widths(key, value, agree):
    agree(f"""
torch.manual_seed(0)
m = torch.nn.MultiheadAttention(8, 2, kdim=6, vdim=5, batch_first=True)
m(torch.ones(2, 3, 8), torch.ones{key}, torch.ones{value})[0].shape
""")


def test_methods_that_are_functions_too_may_be_overridden():
    import flambeau

    methods = flambeau.overrides.get_overridable_functions()[flambeau.Tensor]
    theirs = torch.overrides.get_overridable_functions()[torch.Tensor]
    for name in ("add", "sum", "view", "relu", "clone", "to", "backward"):
        assert (getattr(flambeau.Tensor, name) in methods) == (getattr(torch.Tensor, name) in theirs), name
