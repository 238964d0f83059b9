"""Writes ``tests/parity/overloads.txt``: calls of PyTorch's functions and methods, by all keywords of each overload. Needs
PyTorch; takes minutes.

    python -m tests.overloads

Arguments are tried until PyTorch takes them, so that each line is a call that works there: with everything positional that may be,
with a keyword for each argument, and with NumPy's names.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

FILE = Path(__file__).parent / "parity" / "overloads.txt"
PRELUDE = """
f0 = torch.tensor(0.5); f1 = torch.tensor([0.3, 0.1, 0.7]); s = torch.tensor([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 3.0]])
b = torch.arange(24.0).view(2, 3, 4) / 24; b3 = torch.arange(18.0).view(2, 3, 3) / 18; q = torch.arange(16.0).view(1, 1, 4, 4) / 16
i0 = torch.tensor(1); i1 = torch.tensor([0, 2, 1]); i2 = torch.tensor([[0, 1, 2], [2, 1, 0], [0, 0, 1]])
m = torch.tensor([[True, False, True], [False, True, True], [True, True, False]]); m1 = torch.tensor([True, False, True])
c = torch.tensor([1 + 2j, 3 - 1j, 0.5j]); r2 = torch.tensor([[0.3, 0.7], [0.2, 0.9]])
"""
_TENSORS = ["s", "f1", "b", "f0", "i1", "i2", "m", "b3", "q", "m1", "c", "i0", "r2"]
_VALUES = {
    "int": ["1", "0", "2", "-1"], "float": ["0.5", "1.0", "2.0"], "number": ["2", "0.5"], "bool": ["True", "False"],
    "str": "'none' 'mean' 'sum' 'floor' 'trunc' 'ij' 'linear' 'reflect' 'amax' 'prod' 'L' 'right' 'left' 'fro'".split(),
    "dtype": ["torch.float64", "torch.float32", "torch.int64", "None"], "layout": ["torch.strided", "None"], "device": ["torch.device('cpu')", "None"],
    "memory_format": ["torch.contiguous_format", "None"], "int[]": ["(0,)", "(1,)", "(0, 1)", "(2, 2)", "(3, 3)", "(1, 0)", "(1, 1)", "(3,)", "(1, 2)", "(9,)"],
    "number[]": ["(0.5, 0.3)"], "float[]": ["(0.0, 1.0)"], "bool[]": ["(True, False)"], "Tensor[]": ["(s, s)", "(f1, f1)", "[m, i1]", "(i1,)"], "Tensor?[]": ["(i1,)", "(i1, i1)"],
}  # fmt: skip
_LEFT_OUT = {
    "of other devices, builds and layouts, or inside of PyTorch": "^_|cudnn|miopen|mkldnn|fbgemm|quantize|sym_|pin|record_stream|^q_|int_repr|dequantize|sparse|fake_quant|choose_q|"
    "nested|crow|col_ind|ccol|row_ind|indices$|values$|coalesce|segment|from_file|hash_tensor|slice_inverse|conv_tbc",
    "random, or of what memory held before": "rand|normal|bernoulli|poisson|multinomial|dropout|exponential|geometric|cauchy|uniform|rrelu|empty|resize|seed|Generator",
    "several results are right: signs, phases, ties, matrices without an inverse": "lobpcg|svd|eig|qr|geqrf|lstsq|ldl|pinverse|logdet|slogdet|kthvalue",
    "change what they are called on, or its place on the tape": "set_|retain_grad|data$|backward|apply_|map_|storage",
    "crash PyTorch, or spoil its memory, with arguments like these": "embedding_bag|native_batch_norm|batch_norm_update_stats|masked_scatter_|adaptive",
    "wrong in PyTorch": "unique_consecutive",  # the places of slices along a dim
}
"""Functions without calls in the table, by the reason."""
_IS_LEFT_OUT = re.compile("|".join(_LEFT_OUT.values()))
_OTHER_NAMES = {"dim": "axis", "keepdim": "keepdims", "input": "x", "other": "x2"}


def _kind(argument) -> str:
    if argument.name in ("dtype", "layout", "device", "memory_format"):
        return argument.name
    text = str(argument.type)
    while found := re.match(r"(Optional|List)\[(.*)\]$", text):
        text = found[2] + ("?" if found[1] == "Optional" else "[]")
    return text.lower() if text == "Int" else text


def _values(argument) -> list[str]:
    if argument.name == "reduction":
        return ["0", "1", "2"]
    if argument.name == "target":  # of a loss, which is no complex number
        return ["f1", "s", "b", "i1", "i2"]
    kind = _kind(argument)
    plain = kind.rstrip("?")
    found = _TENSORS if plain == "Tensor" else _VALUES.get(plain, [])
    return [*found, "None"] if found and kind.endswith("?") else found


def _works(torch, call: str) -> bool:
    names = {"torch": torch}
    exec(PRELUDE, names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            eval(call, names)
    except Exception:
        return False
    return True


def _call(
    name: str, arguments: list, values: tuple[str, ...], method: bool, by_name: bool, whole: bool, numpy: bool = False
) -> str:
    parts = []
    for place, (argument, value) in enumerate(zip(arguments, values, strict=True)):
        if method and not place or argument.has_default_value() and not whole:
            continue
        key = "input" if argument.name == "self" else argument.name
        key = _OTHER_NAMES.get(key, key) if numpy else key
        parts.append(f"{key}={value}" if by_name or argument.kwarg_only else value)
    return f"{values[0] if method else 'torch'}.{name}({', '.join(parts)})"


def calls() -> Iterator[str]:
    """For each overload one choice of arguments, in all forms that PyTorch takes."""
    import torch

    torch.set_num_threads(1)  # others would not be there after a fork
    schemas = [s for s in torch._C._jit_get_all_schemas() if s.name.startswith("aten::") and not _IS_LEFT_OUT.search(s.name[6:])]
    seen = set()
    for schema in sorted(schemas, key=lambda s: (s.name, s.overload_name)):
        name, arguments = schema.name[6:], schema.arguments
        function, of_tensors = (
            callable(getattr(torch, name, None)),
            hasattr(torch.Tensor, name) and bool(arguments) and _kind(arguments[0]) == "Tensor",
        )
        signature = name, tuple((a.name, a.kwarg_only) for a in arguments)
        choices = [_values(a) for a in arguments]
        if (
            signature in seen
            or not arguments
            or not all(choices)
            or any(a.is_out for a in arguments)
            or not (function or of_tensors)
        ):
            continue
        seen.add(signature)
        yield from _in_child(functools.partial(_forms, torch, name, arguments, choices, [False] * function + [True] * of_tensors))


def _forms(torch, name: str, arguments: list, choices: list[list[str]], methods: list[bool]) -> list[str]:
    source = random.Random(name)
    for _ in range(400):
        values = tuple(source.choice(values) for values in choices)
        if _works(torch, _call(name, arguments, values, methods[0], False, False)):
            forms = itertools.product(
                methods, [(False, False, False), (True, True, False), (True, False, True), (True, True, True)]
            )
            return sorted({call for method, form in forms if _works(torch, call := _call(name, arguments, values, method, *form))})
    return []


def _in_child(function: Callable[[], list[str]]) -> list[str]:
    """What a function says in a process of its own: wrong arguments crash PyTorch here and there."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(60)
        with os.fdopen(writing, "w") as file:
            file.write("\n".join(function()))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        found = file.read().splitlines()
    return found if os.waitpid(child, 0)[1] == 0 else []


if __name__ == "__main__":
    FILE.write_text("".join([call + "\n" for call in calls()]), encoding="utf-8")
