"""What an exercise is: what the reader's file must define, and the properties that it must have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from flambeau.diagnosis.language import Text
from flambeau.exercises.answer import Answer, Wrong


class Step(NamedTuple):
    """One property, in the reader's language: whether it holds, and if not, where, what is wrong and what would help."""

    what: str
    holds: bool
    where: str = ""
    wrong: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Exercise:
    """An exercise of the book: ``name`` is chapter and number, ``wants`` what the file must define, as signatures."""

    name: str
    title: Text
    wants: tuple[str, ...]
    check: Callable[[Answer], Iterator[Text]]
    """Yields the name of each property before it looks at it, and raises ``Wrong`` where it does not hold."""
    watched: bool = False
    """Whether the doctor watches while the file runs."""

    @property
    def place(self) -> tuple[int, int]:
        """Chapter and number."""
        chapter, _, number = self.name.partition("-")
        return int(chapter), int(number)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the file must define."""
        return tuple(re.match(r"\w+", want)[0] for want in self.wants)  # type: ignore[index]

    def steps(self, answer: Answer) -> Iterator[Step]:
        """The properties one after the other, up to the first that does not hold.

        >>> import flambeau
        >>> from flambeau.exercises import EXERCISES
        >>> from flambeau.exercises.answer import Answer
        >>> answer = Answer.of_source("def factor(samples, outputs):\\n    return samples\\n", EXERCISES["1-3"].wants)
        >>> for step in EXERCISES["1-3"].steps(answer):
        ...     print(step.holds, step.what)
        True factor is defined
        False factor(64, 10) is by how much the gradient shrinks
        """
        what: Text | None = None
        try:
            for want in self.names:
                what = Text(f"{want} is defined", f"定义了 {want}")
                answer.get(want)
                yield Step(str(what), True)
            what = None
            for following in self.check(answer):
                if what is not None:
                    yield Step(str(what), True)
                what = following
            if what is not None:
                yield Step(str(what), True)
        except Wrong as wrong:
            fix = f"{Text('fix', '改法')}: {wrong.fix}" if wrong.fix else ""
            yield Step(str(what), False, wrong.where, str(wrong.what), fix)
        except (Exception, SystemExit) as error:  # raised by the reader's own code
            yield Step(str(what), False, *answer.failed(error))


EXERCISES: dict[str, Exercise] = {}
"""All exercises that have a checker, by name."""


def exercise(
    name: str, title: Text, *wants: str, watched: bool = False
) -> Callable[[Callable[[Answer], Iterator[Text]]], Exercise]:
    """Puts a checker into the table."""

    def enter(check: Callable[[Answer], Iterator[Text]]) -> Exercise:
        EXERCISES[name] = Exercise(name, title, wants, check, watched)
        return EXERCISES[name]

    return enter
