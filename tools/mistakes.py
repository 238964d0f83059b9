"""Writes the pages of docs/ about mistakes: what PyTorch says of each program in examples/mistakes and what flambeau says, and the
codes.

    python tools/mistakes.py            # the pages of codes
    python tools/mistakes.py --torch    # the tables too; this runs the programs, and needs PyTorch beside flambeau
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from pathlib import Path

from flambeau.diagnosis.codes import CODES
from flambeau.diagnosis.samples import samples

ROOT = Path(__file__).parent.parent

_PYTORCH = """
import contextlib, io, json, sys, warnings
warnings.simplefilter("ignore")
for name, source in json.load(sys.stdin):
    said = ""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(source, name, "exec"), {"__name__": "__main__"})
    except Exception as error:
        said = type(error).__name__ + ": " + str(error)
    print(json.dumps([name, said]))
"""

_HEAD = {
    "en": "# Mistakes, and what is said of them\n\n"
    "The {count} programs of [examples/mistakes](../examples/mistakes), each with one mistake, as PyTorch {torch} and flambeau answer them. "
    "Those that raise nothing are found by `flambeau doctor`. Written by `python tools/mistakes.py --torch`.\n\n"
    "PyTorch says something about {loud} of them; it is silent about {silent}. [The codes](codes.md) explain what is behind each. "
    "[中文](mistakes.zh.md)\n\n| program | PyTorch {torch} | flambeau |\n|---|---|---|\n",
    "zh": "# 常见错误,以及各自的诊断\n\n"
    "[examples/mistakes](../examples/mistakes) 中的 {count} 个程序,每个有一处错误;下表是 PyTorch {torch} 与 flambeau 的回答。"
    "不报错的由 `flambeau doctor` 找出。本页由 `python tools/mistakes.py --torch` 生成。\n\n"
    "PyTorch 对其中 {loud} 个报错,对 {silent} 个不作声。各代码的含义见[代码表](codes.zh.md)。[English](mistakes.md)\n\n"
    "| 程序 | PyTorch {torch} | flambeau |\n|---|---|---|\n",
}
_NOTHING = {"en": "nothing", "zh": "(没有提示)"}
_CODES_HEAD = {
    "en": "# Codes\n\nEvery error that flambeau explains, and everything that its doctor finds, has a code that stays. `flambeau explain CODE` shows what "
    "is here. The programs stand in [examples/mistakes](../examples/mistakes); tests run each, wrong and mended. Written by `python tools/mistakes.py`. "
    "[中文](codes.zh.md)\n",
    "zh": "# 代码表\n\nflambeau 解释的每种错误,以及它的 doctor 找出的每种问题,都有固定的代码。`flambeau explain CODE` 显示这里的内容。程序在 "
    "[examples/mistakes](../examples/mistakes),测试会运行每一个,改前和改后。本页由 `python tools/mistakes.py` 生成。[English](codes.md)\n",
}
_FIX = {"en": "fix: ", "zh": "改法: "}


def codes_page(language: str) -> str:
    """The page of all codes in a language, ``"en"`` or ``"zh"``."""
    parts = [_CODES_HEAD[language]]
    for code, (title, rule) in sorted(CODES.items()):
        parts.append(f"## {code}\n\n**{getattr(title, language)}.** {getattr(rule, language)}\n")
        for sample in samples():
            if sample.code == code:
                diff = list(difflib.unified_diff(sample.program.splitlines(), sample.mended.splitlines(), lineterm="", n=100))[3:]
                parts.append(f"`{sample.path.name}`\n\n```diff\n" + "\n".join(line.rstrip() for line in diff) + "\n```\n")
    return "\n".join(parts)


def _said_by_pytorch() -> tuple[str, dict[str, str]]:
    programs = json.dumps([(s.path.stem, s.program) for s in samples()])
    done = subprocess.run([sys.executable, "-c", _PYTORCH], input=programs, capture_output=True, text=True, check=True)
    version = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True, check=True
    )
    return version.stdout.partition("+")[0].strip(), dict(map(json.loads, done.stdout.splitlines()))


def _said_by_flambeau(language: str) -> dict[str, str]:
    environment = {**os.environ, "FLAMBEAU_LANG": language, "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.mistakes"], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    answers = {}
    for result in map(json.loads, done.stdout.splitlines()):
        wrong = result["wrong"]
        if wrong["error"]:
            fixes = [line.removeprefix(_FIX[language]) for line in wrong["notes"].splitlines() if line.startswith(_FIX[language])]
            code = wrong["code"]
        else:
            fixes = ["; ".join(line.strip() for line in found["text"].splitlines()[1:]) for found in wrong["found"]]
            code = wrong["found"][0]["code"] if wrong["found"] else ""
        answers[result["name"]] = f"{' '.join(fixes)} ({code})".replace(str(ROOT), "~/flambeau")
    return answers


def _cell(text: str, most: int = 260) -> str:
    flat = (
        " ".join(text.split())
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("*", "\\*")
        .replace("_", "\\_")
        .replace("[", "&#91;")
        .replace("]", "&#93;")
    )
    return flat if len(flat) <= most else flat[:most].rstrip("\\ ") + " ..."


def mistakes_page(language: str, version: str, pytorch: dict[str, str], ours: dict[str, str]) -> str:
    """The table of all programs in a language."""
    loud = sum(bool(said) for said in pytorch.values())
    rows = [
        f"| [{s.path.stem}](../examples/mistakes/{s.path.name}) | {_cell(pytorch[s.path.stem]) or _NOTHING[language]} | {_cell(ours[s.path.stem], 600)} |"
        for s in samples()
    ]
    return _HEAD[language].format(count=len(rows), torch=version, loud=loud, silent=len(rows) - loud) + "\n".join(rows) + "\n"


def main() -> None:
    docs = ROOT / "docs"
    (docs / "codes.md").write_text(codes_page("en"), encoding="utf-8")
    (docs / "codes.zh.md").write_text(codes_page("zh"), encoding="utf-8")
    if "--torch" in sys.argv[1:]:
        version, pytorch = _said_by_pytorch()
        for language, name in (("en", "mistakes.md"), ("zh", "mistakes.zh.md")):
            (docs / name).write_text(mistakes_page(language, version, pytorch, _said_by_flambeau(language)), encoding="utf-8")


if __name__ == "__main__":
    main()
