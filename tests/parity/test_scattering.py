"""Where indices, sources and targets of gather and scatter do not fit each other, PyTorch says so; where they do, the results
agree."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

SHAPES = [(), (1,), (3,), (2,), (3, 1), (1, 3), (2, 3), (0,), (0, 3)]
CALLS = {
    "gather": lambda x, dim, index, src: x.gather(dim, index),
    "scatter": lambda x, dim, index, src: x.scatter(dim, index, src),
    "scatter of a number": lambda x, dim, index, src: x.scatter(dim, index, 2.0),
    "scatter_add": lambda x, dim, index, src: x.scatter_add(dim, index, src),
    "scatter_reduce": lambda x, dim, index, src: x.scatter_reduce(dim, index, src, "amax"),
}


def outcome(module, call, of: tuple, at: tuple, source: tuple, dim: int):
    args = module.zeros(of), dim, module.zeros(at, dtype=module.int64), module.ones(source)
    try:
        result = call(*args)
        return tuple(result.shape), result.tolist()
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize("name", CALLS)
def test_shapes_that_fit_and_others(name):
    sources = SHAPES if name in ("scatter", "scatter_add", "scatter_reduce") else [()]
    for case in itertools.product(SHAPES, SHAPES, sources, (0, 1)):
        assert outcome(flambeau, CALLS[name], *case) == outcome(torch, CALLS[name], *case), case
