"""Where a dim, a size or a flag is of another type, errors are of PyTorch's classes, whatever the op found wrong with the value."""

from __future__ import annotations

import types

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from flambeau.ops.samples import Make  # noqa: E402
from tests.parity.samples import as_torch, replaced  # noqa: E402
from tests.wrong_tensors import PUBLIC, told  # noqa: E402

WRONG = {
    "a tensor of two": lambda library: library.ones(2),
    "not a number": lambda library: float("nan"),
}


def theirs(op):
    """PyTorch's function of that name, if it is not written in Python, where what is wrong is said by the functions that it calls."""
    found = torch
    for part in op.name.split("."):
        found = getattr(found, part, None)
    return None if isinstance(found, types.FunctionType) else found


def integers(op):
    """For each integer setting that a sample gives: its place or name, and the sample."""
    names, done = op.check.__code__.co_varnames[: op.check.__code__.co_argcount], set()
    for sample in op.samples(Make(requires_grad=False)):
        for place in [*range(min(len(sample.args), len(names))), *sample.kwargs]:
            name = names[place] if isinstance(place, int) else place
            if name not in done and op.check.__annotations__.get(name) in ("int", "int | None"):
                done.add(name)
                yield place, sample


def test_every_integer_setting():
    found = []
    for op in PUBLIC:
        their_function = theirs(op)
        if their_function is None:
            continue
        for place, sample in integers(op):
            for what, make in WRONG.items():
                told_by = []
                for library, function in ((torch, their_function), (flambeau, op.function)):
                    known: dict = {}
                    given = [sample.args, sample.kwargs]
                    if library is torch:
                        given = [replaced(part, lambda x, known=known: as_torch(known, x)) for part in given]
                    args, kwargs = list(given[0]), dict(given[1])
                    (args if isinstance(place, int) else kwargs)[place] = make(library)
                    told_by.append(told(function, args, kwargs)[0])
                wanted, got = told_by
                if wanted in ("TypeError", "ValueError") and got not in ("", wanted):
                    found.append((op.name, place, what, wanted, got))
    assert not found, found


def test_words(agree):
    for call in ("torch.cumsum(x, float('nan'))", "torch.unsqueeze(x, 2**70)", "x.sum(9)"):
        agree(f"x = torch.ones(2, 3)\n{call}")
