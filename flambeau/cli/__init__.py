"""The ``flambeau`` command. Each subcommand is a module of this package with a ``main(arguments)``."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "run": "run a PyTorch script, unmodified, on flambeau",
    "doctor": "run a script and find its mistakes that raise no error",
    "explain": "say what a code of an error (FB-SHAPE-01) means, with an example",
    "ladder": "train one small net in many ways, from NumPy by hand to an own layer, and compare them",
    "demo": "train a classifier of handwritten digits and show how well it does",
    "export": "write a model to a file that runs with NumPy alone",
    "serve": "answer requests for models over HTTP (KServe's and Triton's protocol)",
    "info": "say what flambeau runs on here",
    "torchrun": "run a program in several processes, which find each other by torch.distributed",
    "shim": "make plain `import torch` mean flambeau in this environment",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (``sys.argv[1:]`` if not given); the result is the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] not in COMMANDS and _is_program(words[0]):
        words.insert(0, "run")

    parser = argparse.ArgumentParser(
        prog="flambeau",
        description="PyTorch programs, unmodified, in Python you can read.",
        epilog="commands:\n"
        + "\n".join(f"  {name:8} {summary}" for name, summary in COMMANDS.items())
        + "\n\n`flambeau COMMAND --help` says more; `flambeau script.py` is short for `flambeau run script.py`.",
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
