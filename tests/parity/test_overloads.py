"""Calls by all keywords of PyTorch's overloads: those of ``overloads.txt``, which ``python -m tests.overloads`` writes."""

from __future__ import annotations

import os
import pickle
import warnings

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from tests.overloads import FILE, PRELUDE  # noqa: E402

CALLS = FILE.read_text(encoding="utf-8").splitlines()
BATCH = 60


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


def theirs(calls: list[str]) -> list:
    """PyTorch's outcomes, from a process of its own: some arguments that it takes spoil its memory."""
    torch.set_num_threads(1)  # others would not be there after a fork
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(writing, "wb") as file:
            pickle.dump([outcome(torch, call) for call in calls], file)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        found = pickle.load(file)
    os.waitpid(child, 0)
    return found


@pytest.mark.parametrize("first", range(0, len(CALLS), BATCH))
def test_overloads(first):
    calls = CALLS[first : first + BATCH]
    wrong = [(call, x, y) for call, y in zip(calls, theirs(calls), strict=True) if not close(x := outcome(flambeau, call), y)]
    assert not wrong, "\n".join(f"{call}: {x}, not {y}"[:400] for call, x, y in wrong)
