"""Beginners' mistakes: each program of ``examples/mistakes`` has the diagnosis that it announces, and its fix works.

Those that raise are explained where they raise; those that do not are found by the doctor.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.diagnosis.codes import CODES
from flambeau.diagnosis.samples import Sample, samples

ROOT = Path(__file__).parent.parent
LOUD = [s for s in samples() if s.seen != "no error"]
SILENT = [s for s in samples() if s.seen == "no error"]

# What is said beyond the code, where the words matter.
SAYS = {
    "bias_is_none": ["type(s) for +: 'Tensor' and 'NoneType'", "expected a Tensor", "self.bias is None"],
    "ce_target_column": ["target int64 [8, 1]", "target.squeeze(1)"],
    "channels_last": ["images.*[2, 28, 28, 3]", "permute(0, 3, 1, 2)"],
    "convolution_without_kernel": ["write Conv2d(in_channels, out_channels, kernel_size)"],
    "dense": ["nn.Linear(in_features, out_features)"],
    "float64_data": ["model.weight float32 [2, 4]", ".float()"],
    "forward_inside_init": ["expected a method forward(self, ...) in class TwoLayerNet, got none"],
    "forward_unknown_name": ["'x'", "forward() was given (self, input, w1, w2)"],
    "item_of_many": ["loss.mean().item()"],
    "layer_sizes": ["raised in Sequential.2: Linear", "model.2.weight float32 [2, 64]", "nn.Linear(32, ...)"],
    "layers_in_a_list": ["model.layers is a plain list", "nn.ModuleList"],
    "add_for_append": ["net.append(layer)"],
    "brackets_in_enumerate": ["for i, (x, y) in enumerate(loader):"],
    "comma_after_a_layer": ["self.fc1 is a tuple of one", "take the comma away"],
    "dot_of_matrices": ["write x @ w1"],
    "enumerate_forgotten": ["for i, (x, y) in enumerate(loader):"],
    "function_called_too_early": ["write apply(init_weights)"],
    "import_pytorch": ["write import torch"],
    "int32_classes": ["got int32", "y.long()"],
    "layer_of_a_sequential": ["net[0].weight"],
    "max_for_clamp": ["h_relu.values", "clamp(min=0)"],
    "maximum_with_a_number": ["clamp(min=n)"],
    "minus_of_a_web_page": ["write learning_rate = 1e-6"],
    "numpy_for_torch": ["write torch.square(...)"],
    "number_for_batch": ["for i, (x, y) in enumerate(loader)"],
    "saved_tensors_without_comma": ["x, = ctx.saved_tensors"],
    "sizes_one_by_one": ["normal(mean, std, (n, m))"],
    "state_of_a_larger_batch": ["of 8 sequences, and this batch has 4"],
    "sum_of_methods": ["loss.item()"],
    "le_6": ["name 'le' is not defined", "1e-6"],
    "leaf_replaced": ["w is no leaf any more", "with torch.no_grad(): w -= lr * w.grad"],
    "list_by_tensor": ["[names[k] for k in order.tolist()]"],
    "loss_data_0": ["invalid index of a 0-dim tensor", "loss.item()"],
    "loss_made_of_data": ["MSELoss()(pred, y)"],
    "lstm_gives_a_tuple": ["output, state = lstm(x)", "h[0]"],
    "mask_of_columns": ["x[:, chosen]"],
    "misspelt_optimizer": ["did you mean 'optimzer'?"],
    "module_in_lower_case": ["torch.nn.Module"],
    "module_list_called": ["nn.Sequential(*layers)"],
    "no_backward": ["'float' and 'NoneType'", "w1.grad is None", "loss.backward()"],
    "no_super_init": ["cannot assign module before Module.__init__() call", "super().__init__()"],
    "optimizer_of_model": ["model.parameters()"],
    "size_is_a_float": ["half is 5.0", "//"],
    "single_underscore_init": ["TwoLayerNet.__init__() takes 1 positional argument but 4 were given", "_init_"],
    "w2_wrong_shape": ["mat1 and mat2 shapes cannot be multiplied (64x100 and 64x10)", "w2 with 100 rows"],
    "step_of_model": ["write optimizer.step()"],
    "zero_grad_of_loss": ["write optimizer.zero_grad()"],
    "zero_without_underscore": ["'Tensor' object has no attribute 'zero'", "zero_()"],
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict]:
    """What each program ends with, and what is said of it; of the mended one too."""
    done = subprocess.run([sys.executable, "-m", "tests.mistakes"], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("sample", LOUD, ids=lambda s: s.path.stem)
def test_raises_and_explains(sample: Sample, outcomes: dict[str, dict]) -> None:
    wrong = outcomes[sample.path.stem]["wrong"]
    assert wrong["error"].startswith(sample.seen + ": ")
    assert wrong["code"] == sample.code
    assert f"\nmore: flambeau explain {sample.code}" in wrong["notes"]
    text = wrong["error"] + "\n" + wrong["notes"]
    for words in SAYS.get(sample.path.stem, []):
        assert re.search(re.escape(words).replace(r"\.\*", ".*"), text), text
    assert wrong["strangers"] == [], "the traceback shows the user's lines and nothing else"


@pytest.mark.parametrize("sample", samples(), ids=lambda s: s.path.stem)
def test_the_fix_works(sample: Sample, outcomes: dict[str, dict]) -> None:
    assert sample.mended != sample.program
    mended = outcomes[sample.path.stem]["mended"]
    assert mended["error"] == ""
    assert mended["found"] == []


@pytest.mark.parametrize("sample", SILENT, ids=lambda s: s.path.stem)
def test_raises_nothing(sample: Sample, outcomes: dict[str, dict]) -> None:
    assert outcomes[sample.path.stem]["wrong"]["error"] == ""


def test_codes() -> None:
    assert {s.code for s in samples()} <= set(CODES)
    for title, rule in CODES.values():
        assert all([*title, *rule])


def flambeau(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=120, **settings)  # type: ignore[call-overload]


def sample(name: str) -> Sample:
    return next(s for s in samples() if s.path.stem == name)


def test_plain_programs_are_explained(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(sample("layer_sizes").program.replace("import torch", "import flambeau as torch"))
    result = flambeau(program)
    assert result.returncode == 1
    assert re.findall(r'^ +File "(.+)", line (\d+)', result.stderr, re.MULTILINE) == [(str(program), "8")]
    assert "nn.Linear(32, ...)" in result.stderr and "FB-SHAPE-02" in result.stderr


def test_in_chinese() -> None:
    import os

    result = flambeau(
        "-m", "flambeau", "run", sample("w2_wrong_shape").path, env={**os.environ, "FLAMBEAU_LANG": "zh", "PYTHONUTF8": "1"}
    )
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in result.stderr  # as PyTorch says it
    assert "参与运算的张量:h_relu float32 [64, 100], w2 float32 [64, 10]" in result.stderr
    assert "改法: 矩阵乘法是 (n, m) @ (m, p)" in result.stderr


def test_under_pytest(tmp_path: Path) -> None:
    test = tmp_path / "test_it.py"
    test.write_text("import flambeau as torch\n\ndef test_it():\n    torch.ones(2, 3).mm(torch.ones(2, 4))\n")
    result = flambeau("-m", "pytest", "-q", "-p", "flambeau_pytest", "-p", "no:cacheprovider", test, cwd=ROOT)
    assert "FB-SHAPE-01" in result.stdout
    assert "matmul.py" not in result.stdout


def test_in_ipython() -> None:
    pytest.importorskip("IPython")
    code = (
        "from IPython.core.interactiveshell import InteractiveShell as S\n"
        "s = S.instance(colors='NoColor'); s.run_cell('import flambeau as torch')\n"
        "s.run_cell('torch.ones(2, 3).mm(torch.ones(2, 4))')\n"
        "s.run_cell('%%doctor\\nx = torch.randn(2, 3, 4).view(2, 4, 3)')"
    )
    result = flambeau("-c", code)
    assert "FB-SHAPE-11" in result.stderr
    assert "FB-SHAPE-01" in result.stdout
    assert "matmul.py" not in result.stdout


def test_full_traceback_has_all_lines() -> None:
    result = flambeau("-m", "flambeau", "run", "--full-traceback", sample("w2_wrong_shape").path)
    assert "matmul.py" in result.stderr and "FB-SHAPE-01" in result.stderr


def test_explain() -> None:
    result = flambeau("-m", "flambeau", "explain", "FB-SHAPE-01")
    assert "Matrices that cannot be multiplied" in result.stdout
    assert "-w2 = torch.randn(N, D_out)" in result.stdout and "+w2 = torch.randn(H, D_out)" in result.stdout
    assert flambeau("-m", "flambeau", "explain", "FB-SHAPE-99").returncode == 2


def test_item_not_called_prints_a_method() -> None:
    result = flambeau("-m", "flambeau", "run", sample("item_not_called").path)
    assert re.fullmatch(r"0 <.*method.*item.*>\n", result.stdout, re.DOTALL)


def test_legacy_lets_loss_data_0_work() -> None:
    result = flambeau("-m", "flambeau", "run", "--legacy", sample("loss_data_0").path)
    assert result.returncode == 0
    assert re.fullmatch(r"Loss:\d+\.\d{4}\n", result.stdout)
    assert "DeprecationWarning" in result.stderr


def test_pages_are_current() -> None:
    from tools.mistakes import codes_page

    for language, name in (("en", "codes.md"), ("zh", "codes.zh.md")):
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == codes_page(language), "run python tools/mistakes.py"
    for name in ("mistakes.md", "mistakes.zh.md"):
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert {s.path.name for s in samples()} == set(re.findall(r"\(\.\./examples/mistakes/(\w+\.py)\)", page)), (
            "run python tools/mistakes.py --torch"
        )
