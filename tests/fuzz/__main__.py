"""Long runs by hand; see :mod:`tests.fuzz`."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import sys
import time
import traceback

from tests.fuzz.modes import check, divide_all
from tests.fuzz.programs import random_program, script
from tests.fuzz.smaller import shrink


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.fuzz")
    parser.add_argument("--programs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first program; the others follow")
    parser.add_argument("--stop", type=int, default=5, help="after so many mismatches")
    parser.add_argument("--shrink", type=int, default=200, help="programs to try when making one smaller; 0: leave it")
    parser.add_argument("--divide", action="store_true", help="divide small kernels among threads, too")
    parser.add_argument("--verbose", action="store_true", help="print seeds as they come")
    options = parser.parse_args()
    if options.divide:
        divide_all()
    start, found, counts = time.perf_counter(), 0, {}
    for seed in range(options.seed, options.seed + options.programs):
        if options.verbose:
            print(seed, file=sys.stderr, flush=True)
        program = random_program(seed)
        mismatch = _checked(program, seed, counts)
        if mismatch:
            found += 1
            if options.shrink:
                kind = mismatch[0]

                def fails(p, seed=seed, kind=kind):
                    m = _checked(p, seed, {})
                    return m is not None and m[0] == kind

                program = shrink(program, fails, options.shrink)
                mismatch = _checked(program, seed, {}) or mismatch
            print(
                f"--- program {seed}: {mismatch[0]}, data of seed {mismatch[1]}\n{script(program, mismatch[1])}\n{mismatch[2]}\n",
                flush=True,
            )
            if found >= options.stop:
                break
    seconds = time.perf_counter() - start
    print(f"{seed + 1 - options.seed} programs from seed {options.seed} in {seconds:.0f} s: {found} mismatches; {counts}")


def _checked(program, seed: int, counts: dict):
    """A mismatch; errors outside of any statement count as one."""
    try:
        return check(program, seed, counts)
    except Exception:
        with contextlib.suppress(Exception):
            from flambeau.engine.run import run_pending

            run_pending()
        return ("crash", seed, traceback.format_exc(limit=-6))


if __name__ == "__main__":
    faulthandler.enable()
    main()
