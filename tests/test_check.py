"""``flambeau check``: checkers accept right answers, say what is wrong with others and where, and stand in the book."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.cli.check import tried
from flambeau.diagnosis.doctor import doctor
from flambeau.exercises import EXERCISES, Exercise, Step
from flambeau.exercises.answer import Answer
from tests.answers import SOLUTIONS, Slip
from tools.book import CHAPTERS, chinese
from tools.pages import prose

SLIPS = [(name, i, "en") for name, solution in SOLUTIONS.items() for i in range(len(solution.slips))] + [
    (name, 0, "zh") for name in SOLUTIONS
]


def steps(exercise: Exercise, program: str, file: Path) -> list[Step]:
    """What the checker says of a program, which runs here."""
    file.write_text(program, encoding="utf-8")  # the doctor reads it
    source = program.replace("import torch\n", "import flambeau as torch\n").replace("from torch", "from flambeau")
    names: dict = {"__name__": "__main__"}
    watched = doctor(source=str(file), quiet=True) if exercise.watched else contextlib.nullcontext()
    with watched:
        exec(compile(source, str(file), "exec"), names)
    found = watched.findings if isinstance(watched, doctor) else ()
    return list(exercise.steps(Answer(str(file), source, names, exercise.wants, found)))


def check(*words: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parent.parent)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLAMBEAU_")} | {
        "PYTHONPATH": root,
        "FLAMBEAU_LANG": "en",
        **settings,
    }
    command = [sys.executable, "-m", "flambeau", "check", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=cwd, env=environment)


def test_every_exercise_has_solutions() -> None:
    assert SOLUTIONS.keys() == EXERCISES.keys()
    assert all(len(solution.slips) >= 3 for solution in SOLUTIONS.values())
    assert {e.place[0] for e in EXERCISES.values()} == set(range(1, len(CHAPTERS) + 1))


@pytest.mark.parametrize("name", EXERCISES)
def test_right_answer(name: str, tmp_path: Path) -> None:
    said = steps(EXERCISES[name], SOLUTIONS[name].program, tmp_path / "answer.py")
    assert [step for step in said if not step.holds] == []
    assert len(said) > len(EXERCISES[name].wants)


@pytest.mark.parametrize("name, number, language", SLIPS)
def test_slip(name: str, number: int, language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_LANG", language)
    slip: Slip = SOLUTIONS[name].slips[number]
    program = SOLUTIONS[name].program
    assert slip.old in program
    file = tmp_path / "answer.py"
    *before, last = steps(EXERCISES[name], program.replace(slip.old, slip.new), file)
    assert all(step.holds for step in before) and not last.holds
    assert last.where.startswith(str(file)) and last.wrong
    if language == "en":
        assert slip.said in last.wrong + "\n" + last.fix
    else:
        assert re.search(r"[\u4e00-\u9fff]", last.what) and re.search(r"[\u4e00-\u9fff]", last.wrong + last.fix)


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda p: p.stem)
def test_book_names_its_checkers(page: Path) -> None:
    chapter = int(page.stem.partition("-")[0])
    for text in (prose(page), prose(chinese(page))):
        _, _, tasks = re.split(r"^## (Try it|练习)$", text, flags=re.MULTILINE)
        for number, task in re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^\n|\Z)", tasks, re.MULTILINE | re.DOTALL):
            exercise = EXERCISES.get(f"{chapter}-{number}")
            named = re.findall(r"`flambeau check ([\d-]+) ", task)
            assert named == ([exercise.name] if exercise else [])
            for want in exercise.wants if exercise else ():
                assert f"`{want}`" in " ".join(task.split()), want


def test_command_tells_right_and_wrong(tmp_path: Path) -> None:
    solution = SOLUTIONS["1-3"]
    (tmp_path / "answer.py").write_text(solution.program)
    good = check("1-3", "answer.py", cwd=tmp_path)
    assert (good.returncode, good.stderr) == (0, "") and "All of it holds." in good.stdout
    (tmp_path / "answer.py").write_text("print('mine')\n" + solution.program.replace("samples * outputs", "samples"))
    bad = check("ch01", "answer.py", cwd=tmp_path)
    assert (bad.returncode, bad.stderr) == (1, "")
    assert (
        bad.stdout.splitlines()[1] == "mine" and "answer.py:2 (factor)" in bad.stdout and "over samples and outputs" in bad.stdout
    )


def test_command_tells_errors_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "answer.py").write_text("import torch\nx = torch.ones(2, 3).mm(torch.ones(2, 4))\n")
    told = check("2-2", "answer.py", cwd=tmp_path)
    assert (
        told.returncode == 1
        and "answer.py:2\n" in told.stdout
        and "cannot be multiplied" in told.stdout
        and "fix: rows times columns" in told.stdout
    )


@pytest.mark.parametrize(
    "program, said",
    [
        ("def factor(samples, outputs):\n    while True: pass\n", "not come to its end in 15 seconds"),
        ("import os\ndef factor(samples, outputs):\n    os._exit(7)\n", "status 7"),
        ("import os\ndef factor(samples, outputs):\n    os._exit(0)\n", "status 0"),
        ("import sys\ndef factor(samples, outputs):\n    sys.exit()\n", "by return"),
        ("def factor(samples, outputs)\n    return 1\n", "SyntaxError"),
        ("import sys\ndef factor(a, b):\n    return a * b\nsys.exit()\n", ""),
    ],
)
def test_process_survives_the_file(program: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "answer.py"
    file.write_text(program)
    *_, last = tried(EXERCISES["1-3"], str(file), 15.0 if "while" in program else 60.0)
    assert last.holds == (said == "") and said in last.wrong
    if "while" in program:
        assert last.where == f"{file}:2"


def test_command_runs_nothing_but_the_file(tmp_path: Path) -> None:
    (tmp_path / "answer.py").write_text(SOLUTIONS["1-3"].program)
    for name in ("flambeau.py", "json.py", "sitecustomize.py", "answer2.py"):
        (tmp_path / name).write_text("raise SystemExit('run')\n")
    flambeau = Path(sys.executable).parent / "flambeau"
    command = [flambeau] if flambeau.exists() else [sys.executable, "-P", "-m", "flambeau"]
    told = subprocess.run([*command, "check", "1-3", "answer.py"], capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr


def test_command_lists_exercises(tmp_path: Path) -> None:
    listed = check(cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in listed[2:]] == sorted(EXERCISES, key=lambda name: EXERCISES[name].place)
    assert len(check("ch05", cwd=tmp_path).stdout.splitlines()) == 2 + sum(e.place[0] == 5 for e in EXERCISES.values())
    assert check("99-1", "x.py", cwd=tmp_path).returncode == 2
    assert "没有这个文件" in check("1-1", "nowhere.py", cwd=tmp_path, FLAMBEAU_LANG="zh").stderr
