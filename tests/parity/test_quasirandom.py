"""Sobol' sequences against PyTorch, bit for bit."""

from __future__ import annotations

import pytest

import flambeau

torch = pytest.importorskip("torch")


def points(library, dimension: int, scramble: bool, seed) -> list:
    library.manual_seed(3)
    engine = library.quasirandom.SobolEngine(dimension, scramble, seed)
    found = [engine.draw(n, dtype=library.float64).tolist() for n in (1, 3, 4)]
    engine.fast_forward(5)
    found += [engine.draw(2).tolist(), engine.num_generated, engine.quasi.tolist(), engine.sobolstate.tolist()]
    engine.reset()
    found += [engine.draw_base2(4).tolist(), engine.fast_forward(7).draw().tolist(), repr(engine)]
    out = library.empty(0)
    found += [engine.reset().draw(2, out=out).tolist(), out.tolist(), engine.reset().fast_forward(3).draw(2).tolist()]
    return found


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("dimension", [1, 2, 7, 40, 1111])
def test_points(dimension, scramble, seed):
    ours, theirs = points(flambeau, dimension, scramble, seed), points(torch, dimension, scramble, seed)
    assert ours == theirs


def test_refusals():
    with pytest.raises(ValueError, match="Supported range"):
        flambeau.quasirandom.SobolEngine(0)
    with pytest.raises(ValueError, match="power of 2"):
        engine = flambeau.quasirandom.SobolEngine(2)
        engine.draw(3)
        engine.draw_base2(3)
