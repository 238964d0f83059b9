"""``flambeau run``: a PyTorch program as ``python`` would run it, with flambeau as its torch."""

from __future__ import annotations

import argparse
import contextlib
import importlib.machinery
import os
import runpy
import sys
from collections.abc import Sequence
from types import ModuleType

from flambeau import compat
from flambeau.core import config
from flambeau.core.uncaught import explain


def main(arguments: Sequence[str]) -> int:
    """``flambeau run [--legacy] [--check] (script.py | -m module | -c code) [args ...]``"""
    ours, program, theirs = _split(arguments)
    parser = argparse.ArgumentParser(
        prog="flambeau run",
        usage="flambeau run [--legacy] [--check] [--full-traceback] (script.py | -m MODULE | -c CODE) [ARGUMENTS ...]",
        description="Run a PyTorch program, unmodified: `import torch` gives flambeau.",
    )
    parser.add_argument("--legacy", action="store_true", help="let spellings of PyTorch before 0.4 work (loss.data[0])")
    parser.add_argument("--full-traceback", action="store_true", help="show flambeau's own lines in tracebacks too")
    parser.add_argument(
        "--check", action="store_true", help="look for mistakes that raise nothing, and report them at the end (flambeau doctor)"
    )
    parser.add_argument("-m", metavar="MODULE", help="run a module by its name, as python -m does")
    parser.add_argument("-c", metavar="CODE", help="run the code given here, as python -c does")
    options = parser.parse_args(ours)
    if not program:
        parser.error("which program? Give a script.py, -m MODULE or -c CODE")
    if program[0] not in ("-m", "-c") and not os.path.isfile(program[0]):
        parser.error(f"can't open file '{program[0]}': there is no such file")
    if program[0] in ("-m", "-c") and len(program) == 1:
        parser.error(f"argument {program[0]}: expected one argument")

    config.legacy = options.legacy
    if options.full_traceback:
        os.environ["FLAMBEAU_TRACEBACK"] = "full"
    compat.install()
    checked = _Checked(program[0]) if options.check else contextlib.nullcontext()
    try:
        with checked:
            if program[0] == "-m":
                _run_module(program[1], theirs)
            elif program[0] == "-c":
                _run_code(program[1], theirs)
            else:
                run_script(program[0], theirs)
    except SystemExit:
        raise
    except BaseException as error:
        explain(error)  # the program may have put another hook in place
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


class _Checked:
    """The doctor beside a whole program: what he finds is reported when it ends, however it does."""

    def __init__(self, program: str) -> None:
        from flambeau.diagnosis.doctor import doctor

        self._doctor = doctor(source=os.path.abspath(program) if os.path.isfile(program) else "", quiet=True)

    def __enter__(self) -> None:
        self._doctor.__enter__()

    def __exit__(self, *error: object) -> None:
        self._doctor.__exit__(*error)
        self._doctor.report()


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Our options, the program (a path, or -m/-c and its word), and the program's own arguments."""
    words = list(arguments)
    for i, word in enumerate(words):
        if word in ("-m", "-c"):
            return words[:i], words[i : i + 2], words[i + 2 :]
        if not word.startswith("-"):
            return words[:i], [word], words[i + 1 :]
    return words, [], []


def _new_main() -> ModuleType:
    """A fresh ``__main__``, in place of the command's own, for pickling and ``inspect`` to find the program in."""
    module = ModuleType("__main__")
    module.__annotations__ = {}
    sys.modules["__main__"] = module
    return module


def _set_path(first: str) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = first


def run_script(path: str, arguments: list[str]) -> None:
    """Runs a file as ``python path arguments`` would."""
    module = _new_main()
    file = os.path.abspath(path)
    loader = importlib.machinery.SourceFileLoader("__main__", file)
    module.__file__ = file
    module.__loader__ = loader
    sys.argv[:] = [path, *arguments]
    _set_path(os.path.dirname(os.path.realpath(path)))
    exec(loader.source_to_code(loader.get_data(file), file), module.__dict__)


def _run_code(code: str, arguments: list[str]) -> None:
    module = _new_main()
    sys.argv[:] = ["-c", *arguments]
    _set_path("")
    exec(compile(code, "<string>", "exec"), module.__dict__)


def _run_module(name: str, arguments: list[str]) -> None:
    sys.argv[:] = [name, *arguments]
    _set_path(os.getcwd())
    runpy.run_module(name, run_name="__main__", alter_sys=True)
