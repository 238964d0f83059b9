"""Beginners' slips: those that raise say what was expected and what came; those that are silent stay so.

Each script in ``examples/mistakes`` says on its first line which kind it is: "Seen: SomeError ..." or "Seen: no error".
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent.parent / "examples" / "mistakes").glob("*.py"))

# What the message must hold: what was expected, what came, and the likely fix.
SAYS = {
    "bias_is_none": ["type(s) for +: 'Tensor' and 'NoneType'", "expected a Tensor", "self.bias is None"],
    "forward_inside_init": [
        'Module [TwoLayerNet] is missing the required "forward" function',
        "expected a method forward(self, ...) in class TwoLayerNet, got none",
    ],
    "forward_unknown_name": ["'x'", "forward() was given (self, input, w1, w2)"],
    "le_6": ["name 'le' is not defined", "1e-6"],
    "loss_data_0": ["invalid index of a 0-dim tensor", "tensor.item()"],
    "misspelt_optimizer": ["name 'optimer' is not defined", "optimzer"],
    "module_in_lower_case": ["module 'torch.nn' has no attribute 'module'", "Module"],
    "no_backward": ["'float' and 'NoneType'", "w1.grad is None", "loss.backward()"],
    "no_super_init": ["cannot assign module before Module.__init__() call", "super().__init__()"],
    "semicolon_in_call": ["torch.nn.ReLU();"],
    "single_underscore_init": ["TwoLayerNet.__init__() takes 1 positional argument but 4 were given", "_init_"],
    "super_of_module": ["name 'Module' is not defined", "super().__init__()"],
    "super_skips_init": ["cannot assign module before Module.__init__() call", "super().__init__()"],
    "w2_wrong_shape": ["mat1 and mat2 shapes cannot be multiplied (64x100 and 64x10)", "100 rows"],
    "zero_without_underscore": ["'Tensor' object has no attribute 'zero'", "zero_"],
}


def seen(script: Path) -> str:
    """The exception's class that the script's first line announces, or "no error"."""
    found = re.match(r"# Wrong: .* Seen: (\w+Error|no error)\b", script.read_text(encoding="utf-8"))
    assert found, f"{script.name}: its first line must say what is wrong and what is seen"
    return found[1]


def run(script: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flambeau", "run", *options, str(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("script", [s for s in SCRIPTS if seen(s) != "no error"], ids=lambda s: s.stem)
def test_raises_and_explains(script: Path) -> None:
    result = run(script)
    assert result.returncode == 1
    assert re.search(rf"^{seen(script)}: ", result.stderr, re.MULTILINE), result.stderr
    for words in SAYS[script.stem]:
        assert words in result.stderr
    frames = re.findall(r'^ +File "(.+)", line \d+', result.stderr, re.MULTILINE)
    assert set(frames) == {str(script)}, "the traceback shows the user's lines and nothing else"


@pytest.mark.parametrize("script", [s for s in SCRIPTS if seen(s) == "no error"], ids=lambda s: s.stem)
def test_is_silent(script: Path) -> None:
    result = run(script)
    assert (result.returncode, result.stderr) == (0, "")


def test_item_not_called_prints_a_method() -> None:
    result = run(next(s for s in SCRIPTS if s.stem == "item_not_called"))
    assert re.fullmatch(r"0 <.*method.*item.*>\n", result.stdout, re.DOTALL)


def test_every_message_belongs_to_a_script_that_raises() -> None:
    assert set(SAYS) == {s.stem for s in SCRIPTS if seen(s) != "no error"}


def test_legacy_lets_loss_data_0_work() -> None:
    result = run(next(s for s in SCRIPTS if s.stem == "loss_data_0"), "--legacy")
    assert result.returncode == 0
    assert re.fullmatch(r"Loss:\d+\.\d{4}\n", result.stdout)
    assert "DeprecationWarning" in result.stderr
