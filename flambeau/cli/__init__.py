"""The ``flambeau`` command. Each subcommand is a module of this package with a ``main(arguments)``."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from flambeau.diagnosis.language import Text

COMMANDS = {
    "run": Text("run a PyTorch script, unmodified, on flambeau", "不加修改地运行 PyTorch 脚本"),
    "doctor": Text("run a script and find its mistakes that raise no error", "运行脚本,找出不报错的错误"),
    "explain": Text(
        "say what a code of an error (FB-SHAPE-01) means, or make a page of a step of script.py",
        "说明错误代码(如 FB-SHAPE-01)的含义,或把 script.py 的一步做成网页",
    ),
    "ladder": Text(
        "train one small net in many ways, from NumPy by hand to an own layer, and compare them",
        "用多种写法训练同一个小网络(从 NumPy 手写到自定义层)并比较",
    ),
    "check": Text(
        "check an answer to an exercise of the book (flambeau check 1-2 answer.py)",
        "检查书中习题的答案(flambeau check 1-2 answer.py)",
    ),
    "demo": Text("train a classifier of handwritten digits and show how well it does", "训练手写数字分类器并展示效果"),
    "export": Text("write a model to a file that runs with NumPy alone", "把模型写成只需 NumPy 即可运行的文件"),
    "serve": Text(
        "answer requests for models over HTTP (KServe's and Triton's protocol)", "通过 HTTP 提供模型服务(KServe 和 Triton 的协议)"
    ),
    "board": Text(
        "show what SummaryWriter has written, of several runs, live, in the browser",
        "在浏览器里实时显示 SummaryWriter 写入的各次运行",
    ),
    "info": Text("say what flambeau runs on here", "显示 flambeau 的运行环境"),
    "torchrun": Text(
        "run a program in several processes, which find each other by torch.distributed",
        "用多个进程运行程序,它们通过 torch.distributed 相互找到",
    ),
    "shim": Text("make plain `import torch` mean flambeau in this environment", "让此环境中的 `import torch` 得到 flambeau"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (``sys.argv[1:]`` if not given); the result is the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] not in COMMANDS and _is_program(words[0]):
        words.insert(0, "run")

    parser = argparse.ArgumentParser(
        prog="flambeau",
        description=str(
            Text("PyTorch programs, unmodified, in Python you can read.", "不加修改地运行 PyTorch 程序,用读得懂的 Python 写成。")
        ),
        epilog=f"{Text('commands', '命令')}:\n"
        + "\n".join(f"  {name:8} {summary}" for name, summary in COMMANDS.items())
        + "\n\n"
        + str(
            Text(
                "`flambeau COMMAND --help` says more; `flambeau script.py` is short for `flambeau run script.py`.",
                "`flambeau COMMAND --help` 有详细说明;`flambeau script.py` 是 `flambeau run script.py` 的简写。",
            )
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="flambeau COMMAND ...",
    )
    parser.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
    if not words:
        parser.print_help()
        return 0
    command = parser.parse_args(words[:1]).command
    if command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"commands are {', '.join(COMMANDS)}"
        parser.error(f"no command and no file named '{command}': {hint}")
    try:
        status: int = importlib.import_module(f"flambeau.cli.{command}").main(words[1:])
    except BrokenPipeError:  # `flambeau ladder | head`: the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"flambeau {command}: {error}", file=sys.stderr)
        return 1
    return status


def _is_program(word: str) -> bool:
    return word in ("-m", "-c", "--legacy", "--check", "--full-traceback") or word.endswith(".py") or os.path.isfile(word)
