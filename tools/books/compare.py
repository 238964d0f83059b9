"""What two runs of a section printed, number by number."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w])|(?<!\w)[-+]?(?:nan|inf)(?!\w)")
# addresses (an `id` is one too), and times in English and Chinese
UNCOMPARED = re.compile(
    r"0x[0-9a-fA-F]+|(?<![\w.])\d{14,16}(?![\w.])|[-+.\de]+ *(?:(?:examples|tokens|steps)/)?(?:sec\b|seconds\b|ms\b|[uµ]s\b|词元/秒)"
)

RELATIVE, ABSOLUTE = 1e-3, 2e-6
UNSTEADY = 0.1  # a number that PyTorch itself changes by more than this part of it is left out


@dataclass
class Verdict:
    """How far one section came: cells that PyTorch runs, those that run here, and the numbers that they print.

    ``rounding`` says that all cells ran, and that in float64 all of their numbers agree.
    """

    cells: int = 0
    ran: int = 0
    numbers: int = 0
    equal: int = 0
    unsteady: int = 0
    rounding: bool = False
    why: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return self.ran == self.cells and self.equal == self.numbers and not self.why


def numbers(text: str) -> list[str]:
    """The numbers in a text as it has them, but for addresses and times.

    >>> numbers("loss 0.25, step 3 on cpu:0, 12.5 sec <Net at 0x7f3a> [1., -2e-05]")
    ['0.25', '3', '0', '1.', '-2e-05']
    """
    return NUMBER.findall(UNCOMPARED.sub("", text))


def unit(number: str) -> float:
    """One unit of a number's last printed digit.

    >>> unit("0.25"), unit("-2.0e-05"), unit("7")
    (0.01, 1e-06, 0.0)
    """
    mantissa, _, exponent = number.lower().partition("e")
    _, point, digits = mantissa.partition(".")
    return float(f"1e{int(exponent or 0) - len(digits)}") if point else 0.0


def compare(theirs: list[dict], ours: list[dict], again: list[dict] | None = None) -> Verdict:
    """Holds the records of a section under flambeau against PyTorch's.

    Args:
        again: PyTorch's records of a second run, with gradients changed in their last bits: how far they drive a
            number is added to its tolerance, and what that run changes (times, chaotic losses) is left out.
    """
    verdict = Verdict()
    here = {record["cell"]: record for record in ours}
    repeated = {record["cell"]: record for record in again or []}
    for record in theirs:
        number = record["cell"]
        if record["error"]:
            continue
        verdict.cells += 1
        mine = here.get(number)
        if mine is None or mine["error"]:
            verdict.why.append(f"cell {number}: {mine['error'] if mine else 'not reached'}")
            continue
        verdict.ran += 1
        second = repeated.get(number)
        _numbers(verdict, number, record["text"], mine["text"], second["text"] if second else record["text"])
    return verdict


def _numbers(verdict: Verdict, cell: int, theirs: str, ours: str, again: str) -> None:
    expected, got, repeated = numbers(theirs), numbers(ours), numbers(again)
    if len(repeated) != len(expected):
        verdict.unsteady += len(expected)
        return
    if len(got) != len(expected):
        verdict.numbers += len(expected)
        verdict.why.append(f"cell {cell}: {len(got)} numbers, expected {len(expected)}")
        return
    for here, there, then in zip(got, expected, repeated):
        x, y = float(here), float(there)
        spread = abs(float(then) - y) if then != there else 0.0
        if not spread <= UNSTEADY * abs(y):
            verdict.unsteady += 1
            continue
        verdict.numbers += 1
        if x == y or x != x and y != y or abs(x - y) <= RELATIVE * abs(y) + ABSOLUTE + unit(there) + 10 * spread:
            verdict.equal += 1
        else:
            verdict.why.append(f"cell {cell}: {here}, expected {there}")
