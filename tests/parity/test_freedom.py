"""Warnings of variances that have no degrees of freedom: as often as PyTorch's, and in its words."""

import re
import warnings

import pytest

import flambeau

torch = pytest.importorskip("torch")

CALLS = [
    "std(t.ones(1))", "std(t.ones(1), 0)", "t.ones(1).var(0)", "var(t.ones(2, 1), 1)", "var(t.ones(2, 1), 1, correction=0)",
    "var(t.ones(0))", "var(t.ones(0), correction=0)", "var(t.ones(3, 0), 0)", "var(t.ones(3, 0), 1)", "var(t.ones(1, 0), 0)",
    "std_mean(t.ones(1))", "var_mean(t.ones(1, 2), 0)", "var_mean(t.ones(2), correction=1)", "var_mean(t.ones(2), correction=2)",
    "var(t.ones(2), correction=3)", "var(t.ones(2), 0, correction=1.5)", "var(t.ones(2), 0, correction=2.0)",
    "var(t.ones(1), unbiased=False)", "var(t.ones(1, dtype=t.complex64))", "std(t.ones(1, dtype=t.complex64), 0)",
    "std_mean(t.ones(1, dtype=t.complex64), 0)", "var(t.tensor(1.0))", "t.ones(1, requires_grad=True).std().backward()",
    "t.ones(2, requires_grad=True).std(0, correction=2).backward()", "std(t.ones(1), 0, out=t.empty(()))", "t.var(t.ones(1), 3)",
    "var(t.ones(1, dtype=t.int64))", "cov(t.ones(1))", "corrcoef(t.ones(2, 1))",
    "cov(t.ones(2))", "nn.functional.layer_norm(t.ones(1), (1,))",
]  # fmt: skip


def warned(library, call):
    """The warnings of three calls, as text, and where they point to."""
    code = compile(call if call.startswith("t.") else f"t.{call}", "program", "eval")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(3):
            try:
                eval(code, {"t": library})
            except (RuntimeError, IndexError):
                pass
    return [(w.category, re.sub(r" \(Triggered internally.*", "", str(w.message)), w.filename) for w in found]


@pytest.mark.parametrize("call", CALLS)
def test_freedom(call):
    assert warned(flambeau, call) == warned(torch, call)


@pytest.mark.parametrize("library", [flambeau, torch])
def test_once_at_a_place(library):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for _ in range(3):
            library.std(library.ones(1))
    assert len(found) == 1
