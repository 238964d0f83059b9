"""Kernels whose extents and strides are given when they run: bit for bit those that are compiled for each size."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from flambeau.core import dtypes as D
from flambeau.engine.cpu import compiler, forms
from flambeau.engine.loops import Access, Instr, Loop, verify
from flambeau.engine.shapes import collapse
from tests.test_engine_loops import MACHINES, call, contiguous, random_loop, room, session_of

f32, f64 = D.float32, D.float64


@pytest.fixture(params=MACHINES, ids=lambda m: m or "host")
def session(request):
    return session_of(request.param)


def call_form(loop, inputs, outputs, scalars, session):
    """What :func:`call` does, by the kernel of the loop's form."""
    form, words = forms.bind(loop, session.machine)
    accesses = [*loop.inputs, *(a for _, a in loop.outputs)]
    block = np.zeros(len(accesses) + bool(loop.scalars) + len(words), np.int64)
    for k, (array, access) in enumerate(zip([*inputs, *outputs], accesses)):
        start = sum(-s * (n - 1) for s, n in zip(access.strides, loop.shape) if s < 0)
        block[k] = array.ctypes.data + start * array.itemsize
    given = np.zeros(max(1, len(scalars)), np.int64)
    for k, (number, dtype) in enumerate(zip(scalars, loop.scalars)):
        given[k : k + 1].view(np.float64 if dtype.is_floating_point or dtype is D.bool else np.int64)[0] = number
    if loop.scalars:
        block[len(accesses)] = given.ctypes.data
    block[len(block) - len(words) :] = words
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(forms.form_kernel(form, session))(block.ctypes.data)
    return form


def fresh(loop):
    outputs = []
    for _, access in loop.outputs:
        out = np.zeros(room(loop.shape, access) + 8, access.dtype.np)
        out.view(np.uint8)[...] = 0xA5 if access.dtype is not D.bool else 1
        outputs.append(out)
    return outputs


def same(loop, session, rng):
    """Both kernels on random numbers, which are to give the same bytes everywhere; the key of the loop's form."""
    arrays = [(rng.standard_normal(room(loop.shape, a)) * 3).astype(a.dtype.np) for a in loop.inputs]
    specialised, general = fresh(loop), fresh(loop)
    call(loop, arrays, specialised, (), session)
    form = call_form(loop, arrays, general, (), session)
    for a, b in zip(specialised, general):
        np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8), str(loop))
    return form.key


@pytest.mark.parametrize("seed", range(60))
def test_random_loops(session, seed):
    rng = np.random.default_rng(seed)
    same(collapse(random_loop(rng)), session, rng)


SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 257, 640, 1000, 4097]


class Structure:
    """A loop without its sizes: which dims lie how in memory, what is broadcast, what is reduced, what is computed."""

    def __init__(self, rng) -> None:
        self.rank = int(rng.integers(1, 4))
        self.reduce = int(rng.integers(-self.rank, self.rank + 1))
        self.dtype = f32 if rng.random() < 0.7 else f64
        self.layouts = [self._layout(rng, broadcast=True) for _ in range(rng.integers(1, 4))]
        self.results = [self._layout(rng, broadcast=False) for _ in range(2)]
        d, body = self.dtype, []
        for k in range(len(self.layouts)):
            body.append(Instr("input", d, (), k))
        for _ in range(rng.integers(1, 5)):
            a, b = (int(n) for n in rng.integers(0, len(body), 2))
            op = str(rng.choice(["add", "mul", "max", "exp", "sum", "amax", "prod"]))
            if op in ("sum", "amax", "prod"):
                if self.reduce:
                    body.append(Instr({"amax": "max"}.get(op, op), d, (a,)))
            elif op == "exp":
                body.append(Instr("neg", d, (a,)))
                body.append(Instr("exp", d, (len(body) - 1,)))
            else:
                body.append(Instr(op, d, (a, b)))
        if self.reduce and rng.random() < 0.5:
            body.append(Instr("sum", d, (len(body) - 1,)))
        self.body = tuple(body)
        self.once = self.reduce and body[-1].op in ("sum", "max", "prod") and len(body[-1].args) == 1

    def _layout(self, rng, broadcast):
        order = [int(d) for d in (rng.permutation(self.rank) if rng.random() < 0.4 else reversed(range(self.rank)))]
        return order, [broadcast and rng.random() < 0.2 for _ in order], int(rng.choice([1, 1, 1, 3]))

    def loop(self, shape):
        """The loop of these sizes."""
        reduced = Loop(shape, self.reduce, (), (), (), ()).reduced

        def access(layout, dims):
            order, missing, step = layout
            strides = [0] * self.rank
            for d in order:
                if d in dims and not missing[d]:
                    strides[d] = step
                    step *= max(1, shape[d])
            return Access(self.dtype, tuple(strides))

        every = set(range(self.rank))
        inputs = tuple(access(layout, every) for layout in self.layouts)
        last = len(self.body) - 1
        outputs = [(last, access(self.results[0], every - set(reduced) if self.once else every))]
        if not self.once and last:
            outputs.append((last - 1, access(self.results[1], every)))
        return collapse(Loop(shape, self.reduce, inputs, (), self.body, tuple(outputs)))


@pytest.mark.parametrize("seed", range(40))
def test_all_sizes(session, seed):
    """One structure at many sizes: what is written is the same as by a kernel for that size alone, and kernels are few."""
    rng = np.random.default_rng(1000 + seed)
    structure = Structure(rng)
    keys, tried = set(), 0
    while tried < 12:
        shape = tuple(int(n) for n in rng.choice(SIZES, structure.rank))
        if np.prod(shape) > 70_000:
            continue
        loop = structure.loop(shape)
        verify(loop)
        keys.add(same(loop, session, rng))
        tried += 1


LARGE = [
    ((1 << 20,), 1, (0,)),  # a sum in parts
    ((3, 100_000), 1, (1, 0)),
    ((100_000, 3), -1, (1, 0)),
    ((5000, 40), -1, (1, 0)),
    ((40, 5000), -1, (1, 0)),
    ((700, 300), 1, (1, 0)),
    ((700, 300), 0, (0, 1)),  # a transpose, in tiles
    ((17, 40, 333), 2, (2, 1, 0)),
    ((2, 50_001), 0, (1, 0)),
    ((301_007,), 0, (0,)),
]


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_divided(session, case):
    """Loops that threads divide among them, or that are summed in parts, at sizes around these."""
    shape, reduce, order = case
    rng = np.random.default_rng(len(shape) + reduce)
    for more in (0, 1, 37):
        extents = tuple(n + more for n in shape)
        steps = dict(zip(order, contiguous(tuple(extents[d] for d in reversed(order)))[::-1]))
        read = Access(f32, tuple(steps[d] for d in range(len(shape))))
        body = [Instr("input", f32, (), 0), Instr("mul", f32, (0, 0))]
        written = Access(f32, contiguous(extents))
        if reduce:
            reduced = Loop(extents, reduce, (), (), (), ()).reduced
            kept = iter(contiguous(tuple(n for d, n in enumerate(extents) if d not in reduced)))
            written = Access(f32, tuple(0 if d in reduced else next(kept) for d in range(len(extents))))
            body.append(Instr("sum", f32, (1,)))
        loop = collapse(Loop(extents, reduce, (read,), (), tuple(body), ((len(body) - 1, written),)))
        same(loop, session, rng)


def numbers_of(rng, count, dtype):
    if dtype is D.bool:
        return rng.integers(0, 2, count).astype(bool)
    if dtype.is_floating_point:
        return (rng.standard_normal(count) * 3).astype(dtype.np)
    return rng.integers(0, 100, count).astype(dtype.np)


def test_loops_of_plans(monkeypatch):
    """Whatever loops plans are made of, in training a transformer, images in half precision, embeddings."""
    import flambeau as torch
    from flambeau.core import config
    from flambeau.engine import plans
    from flambeau.nn import functional as F

    monkeypatch.setattr(config, "compile_after", 0)
    monkeypatch.setattr(config, "compiled", True)
    plans.clear()
    torch.manual_seed(0)
    for batch, length in ((3, 9), (4, 70)):
        encoder = torch.nn.TransformerEncoderLayer(32, 2, 48, 0.1, batch_first=True)
        table, head = torch.nn.Embedding(50, 32), torch.nn.Linear(32, 50)
        x = torch.randint(0, 50, (batch, length))
        loss = F.cross_entropy(head(encoder(table(x))).flatten(0, 1), x.flatten())
        loss.backward()
        torch.optim.AdamW([*encoder.parameters(), *table.parameters(), *head.parameters()]).step()
        images = torch.randn(batch, 3, 12, 12, dtype=torch.bfloat16, requires_grad=True)
        (F.batch_norm(images, None, None, training=True).relu().softmax(1).amax((2, 3)) > 0.3).sum().item()
        F.gelu(F.avg_pool2d(images, 3)).cumsum(1).square().mean().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())
    found = {str(step.loop): step.loop for plan in plans.plans.values() for step in plan.steps if step.loop is not None}
    assert len(found) > 40
    rng, on = np.random.default_rng(0), compiler.session()
    keys = set()
    for loop in found.values():
        arrays = [numbers_of(rng, room(loop.shape, a), a.dtype) for a in loop.inputs]
        scalars = [float(n) if d.is_floating_point else 3 for n, d in zip(rng.random(len(loop.scalars)), loop.scalars)]
        specialised, general = fresh(loop), fresh(loop)
        call(loop, arrays, specialised, scalars, on)
        keys.add(call_form(loop, arrays, general, scalars, on).key)
        for a, b in zip(specialised, general):
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8), str(loop))
    assert len(keys) < len(found)


def test_given_constants_are_no_scalars():
    """They are found in another place among the arguments, though a body of either reads alike."""
    access = Access(D.float32, (1,))
    bodies = [
        (Instr("input", D.float32, (), 0), divisor, Instr("div", D.float32, (0, 1)))
        for divisor in (Instr("const", D.float32, (), 42.0), Instr("scalar", D.float32, (), 0))
    ]
    loops = [Loop((50,), 0, (access,), scalars, body, ((2, access),)) for scalars, body in zip(((), (D.float32,)), bodies)]
    keys = {forms.bind(loop, compiler.session().machine).form.key for loop in loops}
    assert len(keys) == 2


def test_sizes_that_are_put_in_are_those_of_the_loop():
    """What a loop of symbols tells its kernel of some numbers is what it would be told of a loop with these numbers."""
    on = compiler.Session(compiler.machine(""))
    rng = np.random.default_rng(0)
    body = (Instr("input", f32, (), 0), Instr("input", f32, (), 1), Instr("add", f32, (0, 1)))
    for rank in (1, 2, 3):
        access = Access(f32, (1,) * rank)
        loop = Loop((2,) * rank, 0, (access, access), (), body, ((2, access),))
        sized = forms.sized(loop, on)
        for _ in range(400):
            shape = tuple(int(n) for n in rng.integers(2, 6, rank))
            own = contiguous(shape)
            kept = [rng.random(rank) < 0.6 for _ in range(2)]  # an operand is the same along other dims, and counts its own
            strides = [tuple(np.array(contiguous([n if k else 1 for n, k in zip(shape, some)])) * some) for some in kept]
            numbers = (*shape, *[int(s) for row in (*strides, own) for s in row])
            _, words = sized.kernel(numbers)
            assert list(words) == list(forms.bind(forms._with_numbers(loop, numbers), on.machine).words)
