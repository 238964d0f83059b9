"""``repr``, ``format`` and the print options."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import flambeau as torch
from flambeau.tensor.printing import printoptions

GOLDEN = Path(__file__).with_name("printing.txt")


@pytest.fixture(autouse=True)
def default_options():
    yield
    torch.set_printoptions(profile="default")
    torch.set_default_dtype(torch.float32)


def test_golden_texts():
    names = {"torch": torch, "tensor": torch.tensor, "inf": float("inf"), "nan": float("nan")}
    result = doctest.testfile(str(GOLDEN), module_relative=False, globs=names)
    assert result.attempted > 80
    assert result.failed == 0


def test_default_dtype_needs_no_suffix():
    torch.set_default_dtype(torch.float64)
    assert repr(torch.tensor([0.5])) == "tensor([0.5000])"
    assert repr(torch.tensor([0.5 + 1j])) == "tensor([0.5000+1.j])"
    assert repr(torch.ones(1, dtype=torch.float32)) == "tensor([1.], dtype=torch.float32)"
    assert repr(torch.ones(1, dtype=torch.complex64)) == "tensor([1.+0.j], dtype=torch.complex64)"


def test_options_are_a_dictionary_to_set_again():
    torch.set_printoptions(precision=2, linewidth=40, sci_mode=False)
    options = torch.get_printoptions()
    assert options == {"precision": 2, "threshold": 1000, "edgeitems": 3, "linewidth": 40, "sci_mode": False}
    torch.set_printoptions(profile="default")
    assert torch.get_printoptions()["sci_mode"] is None
    torch.set_printoptions(**options)
    assert torch.get_printoptions() == options


def test_profile_comes_before_the_other_arguments():
    torch.set_printoptions(profile="short", precision=7)
    assert torch.get_printoptions() == {
        "precision": 7, "threshold": 1000, "edgeitems": 2, "linewidth": 80, "sci_mode": None,
    }  # fmt: skip


def test_context_manager_restores_after_an_error():
    with pytest.raises(KeyError), printoptions(precision=1):
        assert repr(torch.tensor(0.25)) == "tensor(0.2)"
        raise KeyError
    assert repr(torch.tensor(0.25)) == "tensor(0.2500)"


def test_names_of_gradient_functions_and_subclasses():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    class Named(torch.Tensor):
        pass

    assert repr(Double.apply(torch.ones(1, requires_grad=True))) == "tensor([2.], grad_fn=<DoubleBackward>)"
    assert repr(torch.zeros(2, 2).as_subclass(Named)) == "Named([[0., 0.],\n       [0., 0.]])"


def test_str_is_repr_and_values_are_those_of_now():
    x = torch.zeros(2)
    text = str(x)
    x += 1
    assert (text, str(x)) == ("tensor([0., 0.])", "tensor([1., 1.])")


def test_printing_a_view_of_another_layout():
    x = torch.arange(6).reshape(2, 3)
    assert repr(x.t()[1:]) == "tensor([[1, 4],\n        [2, 5]])"
    assert repr(x.flip(0)[0]) == "tensor([3, 4, 5])"


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [(0.5, ".3f", "0.500"), (3, "5d", "    3"), (True, "", "True"), (1.0, "", "1.0"), (2.5, "10.2e", "  2.50e+00")],
)
def test_a_number_formats_as_its_value(value, spec, text):
    assert format(torch.tensor(value), spec) == text


def test_what_is_no_number_formats_as_an_object():
    assert f"{torch.ones(2)}" == "tensor([1., 1.])"
    with pytest.raises(TypeError, match="unsupported format string passed to Tensor.__format__"):
        format(torch.ones(2), ".3f")
    parameter = torch.nn.Parameter(torch.tensor(1.0))
    assert f"{parameter}" == "Parameter containing:\ntensor(1., requires_grad=True)"
    with pytest.raises(TypeError, match="unsupported format string passed to Parameter.__format__"):
        format(parameter, ".3f")
