"""``flambeau check``: is the answer to an exercise of the book right, and if not, what is wrong with it and where?"""

from __future__ import annotations

import _thread
import argparse
import contextlib
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from flambeau import compat
from flambeau.cli.run import run_script
from flambeau.cli.text import table
from flambeau.diagnosis.doctor import doctor
from flambeau.diagnosis.language import Text
from flambeau.exercises import EXERCISES, Exercise, Step
from flambeau.exercises.answer import Answer, places

START = 120.0  # seconds that a process has to begin
GRACE = 5.0  # seconds that it has to say where it was when its time was over
END = None  # what a process sends when it has said everything


def main(arguments: Sequence[str]) -> int:
    """``flambeau check [--seconds N] [EXERCISE [FILE]]``"""
    parser = argparse.ArgumentParser(
        prog="flambeau check",
        usage="flambeau check [--seconds N] [EXERCISE [FILE]]",
        description=str(
            Text(
                "Check an answer to an exercise of the book (docs/book). FILE is run in a process of its own, and nothing else is.",
                "检查书(docs/book)中习题的答案。FILE 在单独的进程里运行,此外不运行任何东西。",
            )
        ),
    )
    parser.add_argument(
        "exercise",
        nargs="?",
        help=str(
            Text(
                "chapter and number (1-2), or a chapter: those that the file answers",
                "章号和题号(1-2);只写章号时检查文件中答了的题",
            )
        ),
    )
    parser.add_argument("file", nargs="?", help=str(Text("the Python file with your answer", "写有答案的 Python 文件")))
    parser.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        help=str(Text("how long the file may run (default: 60)", "文件最多运行多少秒(默认 60)")),
    )
    options = parser.parse_args(arguments)
    if options.exercise is None:
        print(_listed(_in_order()))
        return 0
    chosen = _meant(options.exercise)
    if not chosen:
        parser.error(
            str(
                Text(
                    f"no exercise '{options.exercise}' has a checker: `flambeau check` lists those that have",
                    f"没有习题 '{options.exercise}' 的检查程序:`flambeau check` 列出全部",
                )
            )
        )
    if options.file is None:
        print(_listed(chosen))
        return 0
    if not os.path.isfile(options.file):
        parser.error(str(Text(f"can't open file '{options.file}': there is no such file", f"打不开 '{options.file}':没有这个文件")))
    if len(chosen) > 1:  # a chapter
        defined = places(Path(options.file).read_text(encoding="utf-8", errors="replace"))
        chosen = [e for e in chosen if all(name in defined for name in e.names)] or chosen[:1]
    return 0 if all([_told(each, options.file, options.seconds) for each in chosen]) else 1


def _meant(word: str) -> list[Exercise]:
    """The exercises that ``1-2``, ``ch01-2``, ``1.2`` or ``ch01`` names."""
    found = re.fullmatch(r"(?:ch)?0*(\d+)(?:[-.]0*(\d+))?", word)
    if found is None:
        return []
    chapter, number = found.groups()
    return [e for e in _in_order() if e.place[0] == int(chapter) and number in (None, str(e.place[1]))]


def _in_order() -> list[Exercise]:
    return sorted(EXERCISES.values(), key=lambda e: e.place)


def _listed(exercises: Sequence[Exercise]) -> str:
    head = [str(Text("exercise", "习题")), str(Text("what it is about", "内容")), str(Text("your file defines", "文件里要定义"))]
    return table(head, [[e.name, str(e.title), ", ".join(e.wants)] for e in exercises])


def _told(exercise: Exercise, file: str, seconds: float) -> bool:
    """Prints what holds and what does not; whether all does."""
    print(f"{exercise.name}: {exercise.title}", flush=True)
    all_hold = True
    for step in tried(exercise, file, seconds):
        print(f"  {Text('right', '对') if step.holds else Text('WRONG', '错')}  {step.what}")
        for line in (step.where, step.wrong, *step.fix.splitlines()):
            if not step.holds and line:
                print(f"         {line}")
        all_hold &= step.holds
    if all_hold:
        print(f"  {Text('All of it holds.', '全部正确。')}")
    return all_hold


def tried(exercise: Exercise, file: str, seconds: float) -> list[Step]:
    """The steps of an exercise for a file, which runs in a process of its own for so many seconds at most."""
    context = multiprocessing.get_context("spawn")  # nothing of this process comes along, whatever the platform
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(send, exercise.name, file, seconds))
    sys.stdout.flush()
    process.start()
    send.close()
    runs = Text("the file runs", "文件能运行")
    steps: list[Step] = []
    limit = START
    try:
        while receive.poll(limit):
            limit = seconds + GRACE
            words = receive.recv()
            if words is END:
                return steps
            if words:  # the first are none: it begins
                steps.append(Step(*words))
    except EOFError:
        process.join(GRACE)
        status = process.exitcode
        what = Text(
            f"the file has ended the process, with the status {status}, before all was tried",
            f"文件结束了进程(状态 {status}),检查还没有做完",
        )
        steps.append(Step(str(runs), False, file, str(what)))
    else:
        steps.append(Step(str(runs), False, file, str(_late(seconds))))
    finally:
        receive.close()
        if process.is_alive():
            process.kill()
        process.join()
    return steps


def _late(seconds: float) -> Text:
    return Text(f"it has not come to its end in {seconds:g} seconds", f"{seconds:g} 秒内没有结束")


def _answer(send: Connection, name: str, file: str, seconds: float) -> None:
    """In the process of the file: runs it, and sends the steps of the exercise."""
    exercise = EXERCISES[name]
    path = os.path.abspath(file)
    source = Path(path).read_text(encoding="utf-8", errors="replace")
    answer = Answer(path, source, {}, exercise.wants)
    runs = str(Text("the file runs", "文件能运行"))

    def tell(step: Step) -> None:
        """Sends words alone, with the file as the reader has named it: classes have other names where `import torch` means
        flambeau."""
        send.send(tuple(step._replace(where=step.where.replace(path, file))))

    compat.install()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what the file prints comes before what is said of it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell has ignored for what it runs in the background
    alarm = threading.Timer(seconds, _thread.interrupt_main)
    alarm.daemon = True
    send.send(())
    alarm.start()
    try:
        try:
            watched = doctor(source=path, quiet=True) if exercise.watched else contextlib.nullcontext()
            with watched, _leaving():
                run_script(path, [])
        except Exception as error:
            tell(Step(runs, False, *answer.failed(error)))
        else:
            tell(Step(runs, True))
            findings = watched.findings if isinstance(watched, doctor) else ()
            answer = Answer(path, source, sys.modules["__main__"].__dict__, exercise.wants, findings)
            for step in exercise.steps(answer):
                tell(step)
    except KeyboardInterrupt as late:
        where, _, _ = answer.failed(late)
        tell(Step(str(Text("it comes to its end", "能运行到结束")), False, where, str(_late(seconds))))
    alarm.cancel()
    send.send(END)


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """A file may end by ``sys.exit()``."""
    try:
        yield
    except SystemExit:
        pass
