"""Calls by all keywords of PyTorch's overloads: those of ``overloads.txt``, which ``python -m tests.overloads`` writes."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from tests.overloads import FILE, PRELUDE  # noqa: E402

CALLS = FILE.read_text(encoding="utf-8").splitlines()
BATCH = 250


def told(x):
    if isinstance(x, (torch.Tensor, flambeau.Tensor)):
        x = x.resolve_conj().resolve_neg().detach()
        return str(x.dtype), tuple(x.shape), x.flatten().tolist()
    return [told(v) for v in x] if isinstance(x, (tuple, list)) else str(x)


def close(x, y) -> bool:
    if isinstance(x, (tuple, list)) and isinstance(y, (tuple, list)):
        return len(x) == len(y) and all(map(close, x, y))
    if isinstance(x, (float, complex)) and isinstance(y, (float, complex)):
        return x == y or (x != x and y != y) or abs(x - y) <= 1e-5 * max(1, abs(y))
    return x == y


def outcome(library, call: str):
    names = {"torch": library}
    exec(PRELUDE, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return told(eval(call, names))
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:200]


@pytest.mark.parametrize("first", range(0, len(CALLS), BATCH))
def test_overloads(first):
    wrong = [call for call in CALLS[first : first + BATCH] if not close(outcome(flambeau, call), outcome(torch, call))]
    assert not wrong, "\n".join(f"{call}: {outcome(flambeau, call)}, not {outcome(torch, call)}"[:400] for call in wrong)
