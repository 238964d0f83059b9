"""What kernels are told of other sizes, by the formulas of one: word for word what they would be told of these alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from flambeau.core import dtypes as D
from flambeau.engine.cpu.attention import AttentionSpec, attention_kernel
from flambeau.engine.cpu.gemm import gemm_kernel
from flambeau.engine.cpu.movement import movement_kernel
from flambeau.engine.cpu.specs import GemmSpec
from flambeau.engine.sized import Sized, Sort, _apart, _together, numbers_in, sized
from flambeau.engine.symbols import Symbols, Unfit, computed, found
from tests.test_engine_gemm import encoder_products
from tests.test_engine_moves import Case

SIZES = [2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 24, 31, 33, 48, 64, 65, 96, 128, 130, 257, 300, 600, 1500]


def like(spec, numbers):
    """``spec`` with other sizes."""
    return _together(_apart(spec, []), iter(numbers))


def check(kernel, spec, members, memo):
    """The words of ``members``, which are ``spec`` but for their sizes."""
    one = sized(kernel, spec, memo)
    for member in (spec, *members, *members):
        numbers = numbers_in(member)
        assert like(spec, numbers) == member
        try:
            address, words = kernel(member)
        except ValueError:  # a product that no kernel computes
            with pytest.raises(ValueError):
                one.kernel(numbers)
            continue
        found_address, found_words = one.kernel(numbers)
        assert (found_address, tuple(found_words)) == (address, tuple(words)), member


def others(rng, spec, count):
    """The same with some sizes in place of others: all that were equal are again."""
    numbers = numbers_in(spec)
    for _ in range(count):
        some = [n for n in dict.fromkeys(numbers) if n > 1 and rng.random() < 0.5]
        other = {n: int(rng.choice(SIZES)) for n in some}
        yield like(spec, [other.get(n, n) for n in numbers])


def product(rng, m, n, k, batch):
    """A product of that many rows and columns, laid out in one of many ways."""
    a = (k, 1) if rng.random() < 0.7 else (1, m)
    b = (n, 1) if rng.random() < 0.6 else (1, k)
    d = [None, (0, 1), (n, 1), (1, 0), (1, m)][int(rng.integers(5))]
    lead = [int(np.prod(batch[i + 1 :])) for i in range(len(batch))]
    a, b, c = (*[s * m * k for s in lead], *a), (*[s * k * n for s in lead], *b), (*[s * m * n for s in lead], n, 1)
    d = None if d is None else (*[0 if rng.random() < 0.5 else s * m * n for s in lead], *d)
    dtype = [D.float32, D.float64, D.int64][int(rng.integers(3))]
    return GemmSpec(dtype, m, n, k, a, b, c, d, tuple(batch), 1.0, float(rng.choice([1.0, -2.5])), bool(rng.random() < 0.3))


@pytest.mark.parametrize("seed", range(30))
def test_products(seed):
    """Rows, columns and steps vary, one or several of them, among sizes of all kinds."""
    rng = np.random.default_rng(seed)
    memo: dict = {}
    for _ in range(6):
        batch = [int(n) for n in rng.choice([2, 3, 8], int(rng.integers(3)))]
        sizes = [int(n) for n in rng.choice(SIZES, 3)]
        varies = rng.random(3) < 0.5
        state = rng.bit_generator.state
        members = []
        for _ in range(12):
            now = [
                int(np.random.default_rng(seed + len(members) * 7 + i).choice(SIZES)) if v else n
                for i, (n, v) in enumerate(zip(sizes, varies))
            ]
            rng.bit_generator.state = state
            members.append(product(rng, *now, batch))
        check(gemm_kernel, members[0], members[1:], memo)
        check(gemm_kernel, members[0], list(others(rng, members[0], 8)), memo)


def test_products_of_an_encoder():
    memo: dict = {}
    for layer in zip(*[encoder_products(batch, length) for batch in (2, 5, 12) for length in (3, 17, 40, 129)]):
        members = []
        for m, n, k, a, b, d, dims in layer:
            c = (4 * m * n, m * n, n, 1) if dims else (n, 1)
            members.append(GemmSpec(D.float32, m, n, k, a, b, c, d, dims))
        check(gemm_kernel, members[0], members[1:], memo)


def stretched(rng, spec):
    """The same moves of other extents, strides and places; which arguments they read stays as it is."""
    known = [n for m in spec.moves for n in (*m.shape, *m.starts, *m.strides[0], *m.strides[1], *[x.extent for x in m.lookups])]
    other = {n: int(rng.choice(SIZES)) for n in dict.fromkeys(known) if n > 1 and rng.random() < 0.5}

    def change(x):
        return tuple(map(change, x)) if isinstance(x, tuple) else other.get(x, x)

    moves = []
    for m in spec.moves:
        lookups = [x._replace(strides=change(x.strides), extent=change(x.extent), step=change(x.step)) for x in m.lookups]
        moves.append(m._replace(shape=change(m.shape), starts=change(m.starts), strides=change(m.strides), lookups=tuple(lookups)))
    return spec._replace(size=change(spec.size), moves=tuple(moves))


@pytest.mark.parametrize("seed", range(80))
def test_movements(seed):
    rng = np.random.default_rng(seed)
    spec = Case(rng, large=seed % 4 == 0).spec
    check(movement_kernel, spec, [stretched(rng, spec) for _ in range(12)], {})


@pytest.mark.parametrize("part", ["forward", "backward"])
def test_attention(part):
    rng = np.random.default_rng(0)
    for _ in range(20):
        causal, rows_first, members = bool(rng.random() < 0.5), bool(rng.random() < 0.5), []
        given = rng.choice(SIZES[:18], 6)
        for _ in range(10):
            own = [int(n if rng.random() < 0.5 else other) for n, other in zip(given, rng.choice(SIZES, 6))]
            batch, heads, queries, keys, width, depth = own
            strides = [(heads * n * w, w, heads * w) for n, w in ((queries, width), (keys, width), (keys, depth), (queries, depth))]
            strides = tuple(strides[: 3 if part == "forward" else 4])
            members.append(AttentionSpec(part, D.float32, *own, causal, 0.125, rows_first, strides))
        check(attention_kernel, members[0], members[1:], {})


def test_what_has_been_the_same_is_constant():
    """Until it is not."""
    asked: list = []

    def make(numbers):
        asked.append([n.__class__ is int for n in numbers])
        rows, width = numbers
        return 7, (rows * width, width + 1 if width > 8 else 0)

    one = Sized(Sort(make))
    assert [one.kernel(n) for n in [(3, 16), (5, 16), (9, 16), (3, 16)]] == [
        (7, (48, 17)),
        (7, (80, 17)),
        (7, (144, 17)),
        (7, (48, 17)),
    ]
    assert asked == [[True, True], [False, True]]
    assert one.kernel((3, 4)) == (7, (12, 0)) and asked[2:] == [[False, False]]
    assert one.kernel((5, 32)) == (7, (160, 33)) and asked[3:] == [[False, False]]  # it goes another way
    assert one.kernel((11, 20)) == (7, (220, 21)) and one.kernel((11, 5)) == (7, (55, 0)) and len(asked) == 4


def test_what_is_found_is_asked_for_where_guards_hold():
    looked: list = []

    def place(rows, _):
        looked.append(rows)
        return 1000 + rows

    table = Symbols([6])
    (n,) = table.in_symbols((6,))
    address, even = found(place, n % 4), computed(lambda n, _: 10 * n if n % 2 else n, n)
    assert n > 5 and found(place, 3) == 1003
    assert table.fit([9]).value_of((address, even)) == (1001, 90)
    with pytest.raises(Unfit):
        table.fit([5])
    assert looked == [2, 3, 1]


def test_zeros_of_both_signs_are_different_descriptions():
    spec = GemmSpec(D.float32, 4, 4, 4, (4, 1), (4, 1), (4, 1), beta=0.0)
    assert _apart(spec, []) != _apart(spec._replace(beta=-0.0), [])
    assert numbers_in(spec._replace(batch=(True,))) == numbers_in(spec)
