"""Statements of random programs about memory: updates from views of what is updated, errors that are caught, geometry and
indices far outside; and programs whose tensors are large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.programs import Generator

LARGE = [
    (1, 2_000_000),
    (2_000_000, 1),
    (1, 1, 300_000),
    (1, 200_000, 1),
    (300_000,),
    (3, 100_000),
    (100_000, 3),
    (1, 512, 512),
    (1 << 21,),
]
"""Shapes with extents of 1 beside large ones."""
MOST = 1 << 22
"""Elements of a tensor in a program with such shapes."""
FAR = ["-7", "-2", "-1", "0", "1", "2", "3", "5", "100_000", "2**40", "2**63 - 1", "-2**63"]


def update(g: Generator) -> str | None:
    """``x.op_(view of x)``: no element may be read after it was written."""
    name = g.tensor(lambda t: t.dim() > 0 and t.is_floating_point())
    t = g.names[name]
    if not t.dim():
        return None
    n = t.shape[0]
    views = [f"{name}.mT", f"{name}.t()", f"{name}[0]", f"{name}[..., :1]", f"{name}.flip(0)", f"{name}[[0] * {max(n, 1)}]", f"{name}.diagonal()",
             f"{name}.unfold(0, 1, 1)[..., 0]", f"{name}.roll(1, 0)", f"{name}.sum(0)", f"{name}.view(-1)[0]", name, f"{name}.expand_as({name})",
             f"{name}.as_strided({tuple(t.shape)}, {tuple(t.stride()[::-1])})", f"{name}.detach().transpose(0, -1)", f"{name}.softmax(-1).mT"]  # fmt: skip
    ops = ["{0}.add_({1})", "{0}.sub_({1}, alpha=2)", "{0}.mul_({1})", "{0}.copy_({1})", "{0}.addcmul_({1}, {1})", "{0}.lerp_({1}, 0.5)",
           "{0}.maximum({1}, out={0})", "{0} += {1}", "{0}.mT.add_({1})", "{0}[1:].add_({1}[:-1])", "{0}[..., ::2].mul_({1}[..., ::2])",
           "{0}.add_({1}).mul_({1})", "torch.sub({0}, {1}, out={0})"]  # fmt: skip
    view = g.random.choice(views)
    if g.random.random() < 0.7:  # most views themselves are refused, as in PyTorch
        view = f"({view} * 1)"
    statement = g.random.choice(ops).format(name, view)
    if g.random.random() < 0.6:
        statement = f"with torch.no_grad():\n    {statement}"
    return statement


def caught(g: Generator) -> str:
    """Something that may well be refused, and goes on: what came before it, and what comes after, is as if it had not been."""
    name, other = g.tensor(), g.tensor()
    a, b, c = (g.random.choice(FAR) for _ in range(3))
    places = f"torch.tensor([0, {a}, {b}])"
    if g.random.random() < 0.6:
        places = f"({places} + 0)"
    expression = g.random.choice([
        f"{name}.as_strided(({a}, {b}), (1, {c})) * 2", f"{name}.unfold(0, {a}, {b}).sum()", f"{name}.expand({a}, {b}) + 1", f"{name}.narrow(0, {a}, {b}) * 2",
        f"{name}[{a}] + {other}", f"{name}[{places}] * 2", f"{name}.index_select(0, {places})", f"{name}.gather(0, {places})", f"F.embedding({places}, {name})",
        f"{name}.scatter(0, {places}, 1)", f"{name}.index_add(0, {places}, {name}[:3])", f"{name}.take({places}) + 1", f"F.one_hot({places}, 3)",
        f"F.cross_entropy({name}, {places})", f"{name}.index_put(({places},), {name}[:3], True)", f"{name}.view({a}, {b})", f"{name} @ {other}",
        f"{name}.diagonal({a}).sum()", f"torch.cat([{name}, {other}])", f"{name}.select({a}, {b}) * 1", f"{name}.set_({other}, {a})" if a == "100_000" else f"{name}.split({a})[0] * 2",
        f"{name} // 0", f"{name}.long() // {other}.long()", f"F.nll_loss({name}, {places}, {name}[0])",
    ])  # fmt: skip
    new = g.fresh()
    return f"{new} = {other} * 2\ntry:\n    {new} = {expression}\n    sync()\nexcept (IndexError, RuntimeError, ValueError, TypeError, ZeroDivisionError, NotImplementedError):\n    {new} = {other} * 2"
