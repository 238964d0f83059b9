"""Iteration shapes made as simple as the accesses allow."""

from __future__ import annotations

from flambeau.engine.loops import Access, Loop


def collapse(loop: Loop) -> Loop:
    """The same loop with dims of size 1 dropped and neighbours joined that every access walks as one."""
    ndim = len(loop.shape)
    boundary = ndim - loop.reduce if loop.reduce >= 0 else -loop.reduce
    accesses = [*loop.inputs, *(a for _, a in loop.outputs)]
    groups: list[list[int]] = []  # dims that are walked as one
    sides: list[bool] = []  # whether they lie behind the boundary
    for d in range(ndim):
        if loop.shape[d] == 1:
            continue
        behind = d >= boundary
        if groups and sides[-1] == behind:
            last = groups[-1][-1]
            if all(a.strides[last] == a.strides[d] * loop.shape[d] for a in accesses):
                groups[-1].append(d)
                continue
        groups.append([d])
        sides.append(behind)
    if any(i.op == "index" for i in loop.body):
        return loop
    if loop.reduce and sides.count(loop.reduce > 0) == 0:  # only dims of size 1 are reduced: keep one of them
        groups.insert(len(groups) if loop.reduce > 0 else 0, [boundary if loop.reduce > 0 else boundary - 1])
        sides.insert(len(sides) if loop.reduce > 0 else 0, loop.reduce > 0)
    if not groups:
        groups, sides = [[]], [False]
    shape = []
    for dims in groups:
        extent = 1
        for d in dims:
            extent *= loop.shape[d]
        shape.append(extent)

    def strides(access: Access) -> tuple[int, ...]:
        return tuple(access.strides[dims[-1]] if dims else 0 for dims in groups)

    inputs = tuple(Access(a.dtype, strides(a)) for a in loop.inputs)
    outputs = tuple((v, Access(a.dtype, strides(a))) for v, a in loop.outputs)
    inner = sides.count(True)
    reduce = 0 if loop.reduce == 0 else inner if loop.reduce > 0 else -(len(sides) - inner)
    return Loop(tuple(shape), reduce, inputs, loop.scalars, loop.body, outputs)
