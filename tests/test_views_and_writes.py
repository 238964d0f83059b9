"""Views of each kind, written through and read after their memory was written, against plain linear algebra.

A view is a linear map ``A`` of the real numbers that its base consists of: its matrix is found by looking at unit vectors. So a
write through it is ``x + A'(f(A x) - A x)``, and reading another view afterwards is ``B`` of that. These are products of small
matrices, and nothing of what views and writes are made of takes part in them.
"""

from __future__ import annotations

import functools
import itertools
import os
import random

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import config
from flambeau.engine import plans
from tests.view_programs import BASES, COMPLEX, REPEATED, VIEWS, WRITES, weights

EVERY = int(os.environ.get("EVERY", "3"))
"""Each view is tried with every third write; ``EVERY=1`` in the environment tries all."""


@pytest.fixture(autouse=True, params=["immediate", "recorded", "compiled"])
def mode(request, monkeypatch):
    monkeypatch.setattr(config, "eager", request.param == "immediate")
    monkeypatch.setattr(config, "compiled", request.param == "compiled")
    plans.clear()
    return request.param


def flat(t):
    """The real numbers that a tensor consists of, as a row."""
    return (torch.view_as_real(t.resolve_conj()) if t.is_complex() else t).reshape(-1)


def base_of(numbers, kind: str):
    """A base of this kind with the given real numbers, as a new tensor."""
    shape = BASES[kind]
    return torch.view_as_complex(numbers.reshape(*shape, 2)) * 1 if kind == COMPLEX else numbers.reshape(shape) * 1


@functools.cache
def matrix(name: str) -> np.ndarray:
    """The matrix of a view."""
    view = VIEWS[name]
    with torch.no_grad():
        return np.stack([flat(view.look(torch, base_of(torch.tensor(u), view.base))).resolve_neg().numpy() for u in np.eye(12)], 1)


def read(numbers, name: str):
    """A view's elements as a new tensor, by its matrix."""
    with torch.no_grad():
        like = VIEWS[name].look(torch, base_of(torch.zeros(12, dtype=torch.float64), VIEWS[name].base))
    row = torch.tensor(matrix(name)) @ numbers
    return torch.view_as_complex(row.reshape(*like.shape, 2)) if like.is_complex() else row.reshape(like.shape)


def written(numbers, name: str | None, values):
    """The base's numbers after ``values(v)`` has been written through a view; ``None`` is the base itself."""
    if name is None:
        return values(numbers)
    A = torch.tensor(matrix(name))
    return numbers + A.T @ (flat(values(read(numbers, name))) - A @ numbers)


def some_writes(name: str) -> list:
    return list(WRITES.values())[sum(map(ord, name)) % EVERY :: EVERY]


def check(make) -> None:
    """``make(numbers, by_matrices)`` gives tensors; both ways must agree, in values and gradients, to second order."""
    start = torch.arange(12.0, dtype=torch.float64).sin()
    found = {}
    for by_matrices in (
        (True, False, False, False) if config.compiled else (True, False)
    ):  # what is repeated is recorded in fewer steps, and compiled
        x = start.clone().requires_grad_()
        seen = make(x, by_matrices)
        rows = [flat(t) for t in seen]
        loss = sum((r * r * weights(torch, r)).sum() for r in rows)
        slope = torch.autograd.grad(loss, x, create_graph=True)[0]
        second = torch.zeros(12, dtype=torch.float64)
        if slope.requires_grad:
            second = torch.autograd.grad((slope * weights(torch, slope)).sum(), x, allow_unused=True, materialize_grads=True)[0]
        results = [*[r.detach().resolve_neg() for r in rows], slope.detach(), second]
        if by_matrices:
            found = [r.tolist() for r in results]
        else:
            for got, wanted in zip(results, found, strict=True):
                np.testing.assert_allclose(got.tolist(), wanted, 1e-12, 1e-12)


UNIQUE = [name for name in VIEWS if name not in REPEATED]


@pytest.mark.parametrize("name", UNIQUE)
def test_a_view_is_written_through(name):
    """Each write, then the base, the view itself, a view from before the write, and one from after it."""
    view = VIEWS[name]
    others = [n for n in VIEWS if VIEWS[n].base == view.base]
    turn = itertools.cycle(others[sum(map(ord, name)) % len(others) :] + others)
    for write, values in some_writes(name):
        before, after = next(turn), next(turn)

        def make(x, by_matrices, write=write, values=values, before=before, after=after):
            if by_matrices:
                new = written(x, name, lambda v: values(torch, v))
                return [new, read(new, name), read(new, before), read(new, after)]
            y = base_of(x, view.base)
            v, early = view.look(torch, y), VIEWS[before].look(torch, y)
            write(torch, v)
            return [flat(y), v, early, VIEWS[after].look(torch, y)]

        check(make)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_read_after_its_base_was_written(name):
    view = VIEWS[name]
    for write, values in some_writes(name):

        def make(x, by_matrices, write=write, values=values):
            if by_matrices:
                new = flat(values(torch, base_of(x, view.base)))
                return [read(new, name), new]
            y = base_of(x, view.base)
            v = view.look(torch, y)
            write(torch, y)
            return [v, flat(y)]

        check(make)


@pytest.mark.parametrize("kind", BASES)
def test_writes_through_several_views(kind):
    """Two writes through different views, and a third view that is read between them and behind them."""
    names = [n for n in UNIQUE if VIEWS[n].base == kind]
    readers = [n for n in VIEWS if VIEWS[n].base == kind]
    for i, first in enumerate(names):
        second, reader = names[(3 * i + 1) % len(names)], readers[(5 * i + 2) % len(readers)]
        write, values = list(WRITES.values())[i % 3]

        def make(x, by_matrices, first=first, second=second, reader=reader, write=write, values=values):
            if by_matrices:
                one = written(x, first, lambda v: values(torch, v))
                two = written(one, second, lambda v: v * v)
                return [read(one, reader), read(two, reader), two]
            y = base_of(x, kind)
            u, v, r = [VIEWS[n].look(torch, y) for n in (first, second, reader)]
            write(torch, u)
            between = r * 1
            v.mul_(v)
            return [between, r, flat(y)]

        check(make)


def test_the_tape_keeps_contents_that_later_writes_go_over():
    """Writes to parts of one memory and products with all of it, in many orders: a product's gradient is the memory as it was then."""
    chance = random.Random(0)
    orders = [o for o in itertools.product(["look", "keep", "element", "part", "whole"], repeat=5) if "keep" in o[:-1]]
    for order in chance.sample(orders, 400):
        expected = np.arange(6.0) / 2
        memory = torch.tensor(expected, requires_grad=True) * 1  # on the tape, where writes wait
        part = memory.view(3, 2)[:, 1]
        weight, kept = torch.ones(6, dtype=torch.float64, requires_grad=True), []
        for step in order:
            number = chance.randint(1, 7) / 8
            if step == "look":
                assert memory.tolist() == expected.tolist()
            elif step == "keep":
                kept.append((weight * memory, expected.copy()))
            elif step == "element":
                k = chance.randrange(6)
                with torch.set_grad_enabled(chance.random() < 0.5):
                    memory[k] = number
                expected[k] = number
            elif step == "part":
                part.mul_(number)
                expected[1::2] *= number
            else:
                memory.add_(number)
                expected += number
        assert memory.tolist() == expected.tolist()
        for product, factor in kept:
            (gradient,) = torch.autograd.grad(product.sum(), weight)
            assert gradient.tolist() == factor.tolist(), order
