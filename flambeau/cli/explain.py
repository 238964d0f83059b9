"""``flambeau explain CODE``: what a code of an error or of the doctor means, with a program that shows it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence

from flambeau.diagnosis.codes import CODES
from flambeau.diagnosis.language import Text
from flambeau.diagnosis.samples import samples


def main(arguments: Sequence[str]) -> int:
    """``flambeau explain [CODE ...]``"""
    parser = argparse.ArgumentParser(
        prog="flambeau explain",
        description=str(
            Text(
                "Say what a code means: the rule behind it, a program with the mistake, and the program without. Without a code, list all.",
                "说明代码的含义:背后的规则、有错的程序、改好的程序。不给代码则列出全部。",
            )
        ),
    )
    parser.add_argument("codes", metavar="CODE", nargs="*", help="FB-SHAPE-01")
    wanted = [code.upper() for code in parser.parse_args(arguments).codes]
    for code in wanted:
        if code not in CODES:
            close = difflib.get_close_matches(code, CODES, n=3)
            parser.error(f"no code {code}" + (f": did you mean {', '.join(close)}?" if close else ""))
    if wanted:
        print("\n\n".join(map(explanation, wanted)))
    else:
        print("\n".join(f"{code:13} {title}" for code, (title, _) in sorted(CODES.items())))
    return 0


def explanation(code: str) -> str:
    """What a code means, and its programs, wrong and mended."""
    title, rule = CODES[code]
    parts = [f"{code}: {title}", str(rule)]
    for sample in samples():
        if sample.code == code:
            diff = difflib.unified_diff(sample.program.splitlines(), sample.mended.splitlines(), lineterm="", n=100)
            parts.append(f"{sample.path.name}: {sample.wrong}\n\n" + "\n".join("  " + line for line in list(diff)[3:]))
    return "\n\n".join(parts)
