"""Runs sections of a book, each in a process of its own, and writes down what their cells print.

    PYTHON session.py SPECIFICATION.json          under PyTorch
    flambeau run session.py SPECIFICATION.json    under flambeau

What is slow to import is imported once, before the processes are forked.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
import types
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tools.books import standins  # noqa: E402

SHOWN = 20_000  # characters of a cell's output that are kept


def main(path: str) -> None:
    specification = json.loads(Path(path).read_text())
    sys.path[:0] = specification["search"]
    standins.before()
    for name in specification["preload"]:
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module(name)
    for section in specification["sections"]:
        with open(section["report"], "w") as report:
            start = _used()
            process = os.fork()
            if not process:
                _child(section, specification, report)
            ended = _wait(process, specification["limit"])
            report.write(json.dumps({"ended": ended, "key": section["key"], "seconds": round(_used() - start, 1)}) + "\n")
        print(section["name"], ended, flush=True)


def _used() -> float:
    """Seconds of processor time that sections have taken so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _wait(process: int, limit: int) -> str:
    """How the process ended: "" where it came to its end, "signal 11", or "after 60 s" of its processor's time.

    Where it sleeps for ever, or the machine is busy with others, twenty times as long on the clock is the end as well.
    """
    end = time.monotonic() + 20 * limit
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            return f"after {limit} s" if number == signal.SIGXCPU else f"signal {number}" if number else ""
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return f"after {20 * limit} s of waiting"


def _child(section: dict, specification: dict, report: io.TextIOBase) -> None:
    """Runs the cells and ends the process; nothing of the parent's is to be cleaned up here."""
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (specification["limit"], specification["limit"] + 5))
        os.chdir(section["folder"])
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        standins.after("\n".join(section["cells"]), specification["variation"])
        _seed()
        for line in run(section["cells"], Path(section["folder"], "program.py")):
            report.write(json.dumps(line) + "\n")
            report.flush()
    except BaseException:
        report.write(json.dumps({"broken": traceback.format_exc()}) + "\n")
    finally:
        report.flush()
        os._exit(0)


def _seed() -> None:
    import numpy as np
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


def run(cells: list[str], file: Path):
    """Runs cells in one namespace, as a notebook does, on after errors too; yields a record of each.

    The program is a file, with each cell on lines of its own, for ``inspect`` and tracebacks to find.
    """
    file.write_text("\n".join(cells) + "\n", "utf-8")
    main = types.ModuleType("__main__")
    main.__file__ = str(file)
    main.__builtins__ = __builtins__  # type: ignore[attr-defined]
    vars(main).update(standins.names())
    sys.modules["__main__"] = main
    sys.argv = [str(file)]
    sys.path.insert(0, str(file.parent))
    line = 0
    for number, cell in enumerate(cells):
        printed = io.StringIO()
        record = {"cell": number, "error": ""}
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            try:
                _execute("\n" * line + cell, str(file), vars(main))
            except SystemExit:
                pass
            except BaseException as error:
                record["error"] = f"{type(error).__name__}: {str(error).strip()[:400]}"
                record["where"] = traceback.format_exc()[-3000:]
        yield {**record, "text": printed.getvalue()[:SHOWN]}
        line += cell.count("\n") + 1


def _execute(source: str, file: str, names: dict) -> None:
    """Runs a cell and prints the value of its last expression."""
    body = ast.parse(source, file).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), file, "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), file, "eval"), names)
        if value is not None and not source.rstrip().endswith(";"):
            print(repr(value))


if __name__ == "__main__":
    main(sys.argv[1])
