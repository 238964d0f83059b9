"""The ``flambeau`` command, as a user calls it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def flambeau(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flambeau", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=cwd, env={**os.environ, **(env or {})})


@pytest.fixture
def script(tmp_path: Path):
    def write(code: str, name: str = "script.py") -> str:
        (tmp_path / name).write_text(textwrap.dedent(code), encoding="utf-8")
        return str(tmp_path / name)

    return write


# -- run


def test_run_sees_what_python_shows_a_script(script, tmp_path: Path) -> None:
    path = script(
        """
        import sys, os, torch, neighbour
        assert __name__ == "__main__" and sys.modules["__main__"].__dict__ is globals()
        assert os.path.samefile(__file__, sys.argv[0]) and os.path.isabs(__file__)
        assert os.path.samefile(sys.path[0], os.path.dirname(__file__))
        print(sys.argv[1:], neighbour.value, torch.ones(2).sum().item())
        """
    )
    script("value = 7", "neighbour.py")
    result = flambeau("run", path, "--lr", "3", "-m")
    assert (result.stdout, result.stderr) == ("['--lr', '3', '-m'] 7 2.0\n", "")
    assert flambeau(path).stdout == "[] 7 2.0\n"


def test_run_module(script, tmp_path: Path) -> None:
    script("import sys, torch; print(__name__, sys.argv[1:], torch.zeros(1).item())", "job.py")
    assert flambeau("run", "-m", "job", "--fast", cwd=tmp_path).stdout == "__main__ ['--fast'] 0.0\n"


def test_run_code() -> None:
    assert flambeau("run", "-c", "import sys, torch; print(sys.argv, torch.ones(1).item())", "a").stdout == ("['-c', 'a'] 1.0\n")


def test_pickles_of_classes_of_the_script(script) -> None:
    path = script(
        """
        import pickle
        class Own:
            pass
        print(type(pickle.loads(pickle.dumps(Own()))) is Own)
        """
    )
    assert flambeau(path).stdout == "True\n"


@pytest.mark.parametrize(("code", "status"), [("import sys; sys.exit(3)", 3), ("raise SystemExit", 0), ("1 / 0", 1)])
def test_exit_status(script, code: str, status: int) -> None:
    assert flambeau(script(code)).returncode == status


def test_traceback_shows_the_users_lines_alone(script) -> None:
    path = script(
        """
        import torch
        class Net(torch.nn.Module):
            def forward(self, x):
                return x.mm(torch.ones(3, 4))
        Net()(torch.ones(2, 2))
        """
    )
    result = flambeau(path)
    assert re.findall(r'File "(.+)", line (\d+), in (.+)', result.stderr) == [
        (path, "6", "<module>"),
        (path, "5", "forward"),
    ]
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x2 and 3x4)" in result.stderr
    assert os.path.join("flambeau", "nn") in flambeau("run", "--full-traceback", path).stderr


def test_a_missing_import_is_explained(script) -> None:
    result = flambeau(script("from torch import no_such_thing"))
    assert "cannot import name 'no_such_thing'" in result.stderr
    assert "flambeau does not have this name of PyTorch's yet" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nowhere.py"], "can't open file 'nowhere.py': there is no such file"),
        (["run"], "which program?"),
        (["run", "-m"], "argument -m: expected one argument"),
        (["lader"], "no command and no file named 'lader': did you mean 'ladder'?"),
        (["ladder", "--steps", "0"], "--steps: expected at least 1, got 0"),
        (["demo", "--epochs", "0"], "--epochs: expected at least 1, got 0"),
        (["demo", "--save", "/no/such/folder/model.pt"], "--save: there is no folder /no/such/folder"),
        (["demo", "--out", "/no/such/folder/c.svg"], "cannot write /no/such/folder/c.svg: there is no folder"),
    ],
)
def test_wrong_usage(words: list[str], says: str) -> None:
    result = flambeau(*words)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


# -- ladder


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], str]:
    page = tmp_path_factory.mktemp("ladder") / "ladder.html"
    return flambeau("ladder", "--steps", "120", "--out", str(page)), page.read_text(encoding="utf-8")


def test_ladder_ends_with_a_table(ladder) -> None:
    result, _ = ladder
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("rung "))
    assert re.split(r"  +", lines[head]) == [
        "rung", "what is new on it", "lines", "first loss", "100th", "last", "us a step"
    ]  # fmt: skip
    rows = lines[head + 2 : head + 16]
    assert [row[:2] for row in rows] == [f"{i:02}" for i in range(1, 15)]
    autograd = re.split(r"  +", rows[2])
    assert autograd[0] == "03 Autograd" and len(autograd) == 7
    assert float(autograd[3]) > 1e7 and float(autograd[4]) < 1e3


def test_ladder_says_which_rungs_agree(ladder) -> None:
    result, _ = ladder
    assert len(re.findall(r"^Rungs .* compute the same mathematics .* and agree: ", result.stdout, re.MULTILINE)) == 3


def test_ladder_page_is_self_contained(ladder) -> None:
    _, page = ladder
    assert page.count("<polyline") == 13  # the tensor tour trains nothing
    assert "what is new on it" in page
    assert not re.search(r"(src|href)=", page)


def test_rungs_that_differ_are_called_out() -> None:
    from flambeau.cli.ladder import Rung, agreement

    def rung(number: str, losses: list[float]) -> Rung:
        return Rung(Path(f"{number}_x.py"), "x", "", 1, losses, 0.0)

    agrees, sentence = agreement("sums", [rung("01", [4.0, 2.0]), rung("02", [4.0, 2.1])])
    assert not agrees and "DO NOT AGREE" in sentence and "5.0e-02" in sentence
    assert agreement("sums", [rung("01", [4.0, 2.0]), rung("02", [4.0, 2.000001])])[0]


def test_unknown_picture_format(tmp_path: Path) -> None:
    result = flambeau("ladder", "--steps", "1", "--out", str(tmp_path / "curves.bmp"))
    assert result.returncode == 2 and "a picture is .html, .svg or .png, got '.bmp'" in result.stderr


def test_png_needs_matplotlib_and_says_so(tmp_path: Path) -> None:
    picture = tmp_path / "curves.png"
    (tmp_path / "matplotlib.py").write_text("raise ImportError", encoding="utf-8")
    result = flambeau("ladder", "--steps", "1", "--out", str(picture), env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 2 and "pip install 'flambeau[plot]'" in result.stderr


def test_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from flambeau.cli.picture import save_confusion, save_curves

    for name, draw in (
        ("curves.png", lambda path: save_curves(path, "t", [("a", [[10.0, 1.0, 0.1]])])),
        ("confusion.png", lambda path: save_confusion(path, "t", [[3, 1], [0, 4]])),
    ):
        draw(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


# -- demo, info


def test_demo_reads_digits(tmp_path: Path) -> None:
    result = flambeau("demo", "--out", "confusion.svg", "--save", "model.pt", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    right = re.search(r"(\d+) of 360 test images read correctly", result.stdout)
    assert right and int(right[1]) / 360 >= 0.97
    assert "read back: the same answers" in result.stdout
    assert (tmp_path / "model.pt").stat().st_size > 100_000
    assert (tmp_path / "confusion.svg").read_text(encoding="utf-8").startswith("<svg")


def test_info_names_what_it_runs_on() -> None:
    printed = flambeau("info").stdout
    assert "interface of PyTorch 2.13.0" in printed and "NumPy" in printed


def test_help_lists_the_commands() -> None:
    printed = flambeau("--help").stdout
    for command in ("run", "ladder", "demo", "info"):
        assert re.search(rf"^  {command} ", printed, re.MULTILINE)
    assert flambeau().stdout == printed


def test_ladder_clock_reads_the_step_and_not_the_loss():
    from flambeau.cli.ladder import _Clock

    steps = []
    clock = _Clock(steps.append)
    for step, loss in ((99, 427.8), (199, 27.5)):
        for part in (str(step), " ", str(loss), "\n"):  # as print(step, loss) writes them
            clock.write(part)
    assert steps == [100, 200]
    assert clock.seconds_a_step() is not None
