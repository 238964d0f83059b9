"""Errors whose cause is known: one small rule for each, which looks at the error and at where it was raised.

A rule is a function of a :class:`~flambeau.diagnosis.scene.Scene`. It says what was expected, what came and what to write instead,
or None where the cause is another one. Rules are tried in the order in which they are registered.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import NamedTuple

from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene

Advise = Callable[[Scene], "Text | None"]


class Slip(NamedTuple):
    """A rule for errors of ``kinds`` whose message has ``pattern`` in it."""

    code: str
    kinds: tuple[type[BaseException], ...]
    pattern: re.Pattern[str]
    advise: Advise


SLIPS: list[Slip] = []


def slip(code: str, kinds: type[BaseException] | tuple[type[BaseException], ...], pattern: str = "") -> Callable[[Advise], Advise]:
    """Registers a rule."""

    def register(advise: Advise) -> Advise:
        SLIPS.append(Slip(code, kinds if isinstance(kinds, tuple) else (kinds,), re.compile(pattern), advise))
        return advise

    return register


def recognized(scene: Scene) -> tuple[str, Text] | None:
    """The code of the slip behind an error, and what to do."""
    for family in (
        "layers",
        "data",
        "functions",
        "python",
        "calls",
        "shapes",
        "training",
        "types",
    ):  # read when there is an error; the first rule counts
        importlib.import_module(f"flambeau.diagnosis.slips_of_{family}")
    for rule in SLIPS:
        if isinstance(scene.error, rule.kinds) and rule.pattern.search(scene.message):
            advice = rule.advise(scene)
            if advice is not None:
                return rule.code, advice
    return None
