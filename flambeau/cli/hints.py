"""A word on top of Python's own errors, where the slip behind them is a common one in PyTorch programs."""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Mapping
from types import FrameType
from typing import Any

from flambeau.tensor import Tensor


def hint(error: BaseException) -> str | None:
    """What was probably meant where `error` was raised, if that can be told."""
    traceback = error.__traceback__
    if traceback is None:
        return None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame
    line = linecache.getline(frame.f_code.co_filename, traceback.tb_lineno, frame.f_globals).strip()
    match error:
        case UnboundLocalError():
            return _unbound_local(str(error), frame)
        case NameError():
            return _unknown_name(error.name or "", line)
        case ImportError():
            return _missing_import(error)
        case AttributeError():
            return _missing_method(error)
        case NotImplementedError():
            return _no_forward(str(error))
        case TypeError() if "'NoneType'" in str(error):
            return _none_in_arithmetic(line, {**frame.f_globals, **frame.f_locals})
    return None


def _unbound_local(message: str, frame: FrameType) -> str | None:
    name = re.search(r"'(\w+)'", message)
    if name is None:
        return None
    code = frame.f_code
    given = ", ".join(inspect.getargs(code).args)
    return (
        f"{code.co_name}() was given ({given}). It assigns {name[1]!r} itself, so {name[1]!r} is local and valueless "
        f"before that: expected one of the names it was given, or {name[1]!r} among its parameters."
    )


def _unknown_name(name: str, line: str) -> str | None:
    if re.fullmatch(r"le\d*", name) and re.search(rf"\b{name}-?\d", line):
        return "A number starts with a digit: expected 1e-6 (one), got le-6 (the letter l), which is `le` minus 6."
    if f"super({name}, self)" in line:
        return f"super() takes the class it stands in, not {name!r}: write super().__init__()."
    return None


def _missing_import(error: ImportError) -> str | None:
    if (error.name or "").partition(".")[0] in ("flambeau", "torch"):  # which is flambeau under the disguise
        return "flambeau does not have this name of PyTorch's yet; dir() of the module lists what it has."
    return None


def _missing_method(error: AttributeError) -> str | None:
    if isinstance(error.obj, Tensor):
        return f"flambeau's Tensor has no {error.name!r}; dir(torch.Tensor) lists what it has."
    return None


def _no_forward(message: str) -> str | None:
    module = re.match(r'Module \[(\w+)\] is missing the required "forward" function', message)
    if module is None:
        return None
    return f"expected a method forward(self, ...) in class {module[1]}, got none: is it misspelt, or indented too far?"


def _none_in_arithmetic(line: str, names: Mapping[str, Any]) -> str | None:
    for path in re.findall(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", line):
        owner, _, last = path.rpartition(".")
        if _look_up(path, names) is not None:
            continue
        if last == "grad":
            return (
                f"expected a Tensor, got None: {path} is None until a backward() has reached {owner}. Is "
                f"loss.backward() called before this line, and has {owner} requires_grad=True?"
            )
        return f"expected a Tensor, got None: {path} is None. Was it registered without a value?"
    return None


def _look_up(path: str, names: Mapping[str, Any]) -> Any:
    """The value of a dotted name; something not None where it cannot be told."""
    first, *rest = path.split(".")
    value = names.get(first, path)
    for name in rest:
        value = getattr(value, name, path)
    return value
