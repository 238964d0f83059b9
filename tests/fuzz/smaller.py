"""Making programs smaller."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.programs import Program, Repeat


def shrink(program: Program, fails: Callable[[Program], bool], budget: int = 400) -> Program:
    """A smaller program that still ``fails``: whole runs of statements are left out, then single ones, then repeats."""
    size = max(1, len(program) // 2)
    while size:
        start = 0
        while start < len(program) and budget:
            shorter = program[:start] + program[start + size :]
            budget -= 1
            if shorter and fails(shorter):
                program = shorter
            else:
                start += size
        size //= 2
    for i, statement in reversed(list(enumerate(program))):
        if not isinstance(statement, Repeat):
            continue
        simpler = [program[:i] + statement.body + program[i + 1 :]]
        simpler += [
            (*program[:i], Repeat(n, body), *program[i + 1 :])
            for n in (2, statement.times)
            for body in [statement.body[:j] + statement.body[j + 1 :] for j in range(len(statement.body))]
            if body
        ]
        for candidate in simpler:
            if budget and fails(candidate):
                budget -= 1
                return shrink(candidate, fails, budget)
    return program
