"""``flambeau explain``: what a code of an error or of the doctor means, or one step of a program as a page."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence

from flambeau import compat
from flambeau.cli.run import run_script
from flambeau.core import uncaught
from flambeau.diagnosis.codes import CODES
from flambeau.diagnosis.language import Text
from flambeau.diagnosis.samples import samples


def main(arguments: Sequence[str]) -> int:
    """``flambeau explain [CODE ...]`` or ``flambeau explain [--step N] [-o FILE] script.py [args ...]``"""
    if any(word.endswith(".py") or word in ("-o", "--output", "--step") for word in arguments):
        return _explain_program(arguments)
    parser = argparse.ArgumentParser(
        prog="flambeau explain",
        description=str(
            Text(
                "Say what a code means: the rule behind it, a program with the mistake, and the program without. Without a code, list all.",
                "说明代码的含义:背后的规则、有错的程序、改好的程序。不给代码则列出全部。",
            )
        ),
        epilog=str(
            Text(
                "flambeau explain script.py makes a page of one step of a program: --help behind it says more.",
                "flambeau explain script.py 把程序的一步做成网页:在其后加 --help 有详细说明。",
            )
        ),
    )
    parser.add_argument("codes", metavar="CODE", nargs="*", help="FB-SHAPE-01")
    wanted = [code.upper() for code in parser.parse_args(arguments).codes]
    for code in wanted:
        if code not in CODES:
            close = difflib.get_close_matches(code, CODES, n=3)
            parser.error(f"no code {code}" + (f": did you mean {', '.join(close)}?" if close else ""))
    if wanted:
        print("\n\n".join(map(explanation, wanted)))
    else:
        print("\n".join(f"{code:13} {title}" for code, (title, _) in sorted(CODES.items())))
    return 0


def _explain_program(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="flambeau explain",
        description=str(
            Text(
                "Run a program up to the end of its first backward pass, and write a page that explains that step: values, gradients, formulas, lines.",
                "运行程序到第一次反向传播结束,写出解释这一步的网页:值、梯度、公式、代码行。",
            )
        ),
    )
    parser.add_argument(
        "--step", type=int, default=1, metavar="N", help=str(Text("which backward pass (default: 1)", "第几次反向传播(默认 1)"))
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help=str(Text("the page (default: script.explain.html)", "网页文件(默认 script.explain.html)")),
    )
    parser.add_argument("script", help=str(Text("a Python program", "Python 程序")))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=str(Text("the program's own arguments", "程序自己的参数")))
    options = parser.parse_args(arguments)
    if not os.path.isfile(options.script):
        parser.error(f"can't open file '{options.script}': there is no such file")
    from flambeau.pictures.stepping import Step

    compat.install()
    output = options.output or os.path.splitext(os.path.basename(options.script))[0] + ".explain.html"
    file = os.path.abspath(output)  # the program may go elsewhere
    step, status = Step(options.step), 0
    try:
        with step:
            run_script(options.script, options.arguments)
    except SystemExit:
        pass
    except BaseException as error:
        uncaught.explain(error)
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    if step.explanation is None:
        print(
            Text(
                "the program has computed nothing with tensors: there is nothing to explain",
                "程序没有用张量计算任何东西:没有可解释的内容",
            ),
            file=sys.stderr,
        )
        return 1
    step.explanation.save(file)
    print(Text(f"{output}: open it in a browser", f"{output}:请用浏览器打开"))
    return status


def explanation(code: str) -> str:
    """What a code means, and its programs, wrong and mended."""
    title, rule = CODES[code]
    parts = [f"{code}: {title}", str(rule)]
    for sample in samples():
        if sample.code == code:
            diff = difflib.unified_diff(sample.program.splitlines(), sample.mended.splitlines(), lineterm="", n=100)
            parts.append(f"{sample.path.name}: {sample.wrong}\n\n" + "\n".join("  " + line for line in list(diff)[3:]))
    return "\n\n".join(parts)
