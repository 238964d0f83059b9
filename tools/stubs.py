"""Writes what type checkers and editors see of names that are derived from the records of ops, as ``.pyi`` files beside the
modules.

    python -m tools.stubs            writes them
    python -m tools.stubs --check    fails where they are not what it would write

A record's function says the types of its arguments; what an op returns is seen by running its samples. What a module makes by hand
is imported there from where it stands.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import flambeau
from flambeau.core.dtypes import dtype
from flambeau.core.memory_format import layout, memory_format
from flambeau.ops.record import Op, registry
from flambeau.ops.samples import Make

ROOT = Path(flambeau.__file__).parent
HEAD = '"""Written by tools/stubs.py from the records of ops: do not edit."""\n\n'
IMPORTS = """from builtins import bool as _bool
from builtins import complex as _complex
from builtins import float as _float
from builtins import int as _int
from builtins import str as _str
from collections.abc import Callable, Sequence
from typing import Any, overload

from flambeau import return_types
from flambeau.core.dtypes import dtype as _dtype
from flambeau.core.memory_format import layout as _layout
from flambeau.core.memory_format import memory_format as _memory_format
from flambeau.core.random import Generator as _Generator
from flambeau.tensor.tensor import Tensor as Tensor
from flambeau.tensor.types import Device as _Device
"""
_WORDS = {
    "Number | complex": "_complex",
    **{n: "_" + n for n in ("bool", "complex", "float", "int", "str", "dtype", "layout", "memory_format", "Generator", "Device")},
}
"""Names of types that are also names of functions, of dtypes or of methods where the stubs use them."""
_KNOWN = frozenset(["Tensor", "Sequence", "Callable", "Any", "None", "Number", "tuple", "list", "Self", *_WORDS, "Size"])
_NOT_LISTED = frozenset(["annotations", "Any", "Tensor", "namespace", "inplace_function", "importlib", "math"])
_RETURNS = {
    "allclose": "_bool", "equal": "_bool", "is_same_size": "_bool", "lu_unpack": "tuple[Tensor, Tensor, Tensor]", "broadcast_tensors": "tuple[Tensor, ...]", "meshgrid": "tuple[Tensor, ...]",
    "einsum": "Tensor", "Tensor.type": "Any", "lstm": "tuple[Tensor, Tensor, Tensor]", "histogramdd": "tuple[Tensor, tuple[Tensor, ...]]",
    "nn.functional.multi_head_attention_forward": "tuple[Tensor, Tensor | None]", "nn.functional.max_pool2d": "Tensor", "tensor_split": "tuple[Tensor, ...]",
    "unique": "Any", "unique_consecutive": "Any", "nonzero": "Any", "nn.functional.adaptive_max_pool2d": "Tensor",
}  # fmt: skip
"""Results that samples do not tell, or not all about."""
_ARGUMENTS = {"nn.functional.interpolate": {"size": "_int | Sequence[_int] | None"}}
"""Arguments whose annotations say less than is allowed: by them an op knows which tensors stand for numbers (see
``ops/numbers.py``)."""
_SEVERAL = {
    name: (("", "Tensor"), ("dim: _int, keepdim: _bool = False", f"return_types.{name}"), *more)
    for name, more in {
        "max": (("other: Tensor", "Tensor"),), "min": (("other: Tensor", "Tensor"),), "median": (), "nanmedian": (),
    }.items()
}  # fmt: skip
"""Ops whose result has another type for other arguments: the further arguments and the result of each form."""


def annotation(text: Any) -> str:
    """A type as a stub says it."""
    if text is inspect.Parameter.empty:
        return "Any"
    text = text if isinstance(text, str) else getattr(text, "__name__", "Any")
    text = text.replace("Number | complex", "complex").replace("Number", "float")
    words = re.findall(r"[\w.]+", text)
    if any(word not in _KNOWN for word in words):
        return "Any"
    return re.sub(r"\w+", lambda word: _WORDS.get(word[0], word[0]), text)


def default(value: Any) -> str:
    """A default as a stub says it."""
    return (
        repr(value)
        if type(value) in (int, bool, str, type(None)) or type(value) is float and value == value and abs(value) < 1e300
        else "..."
    )


def parameters(
    found: Iterable[inspect.Parameter], method: bool = False, out: str = "", said: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The arguments of a function, without the first of a method, and with ``out``; ``said`` has types that annotations do not say."""
    parts, starred = ["self"] if method else [], False
    listed = list(found)[method:]
    for p in listed:
        if p.kind is p.VAR_KEYWORD:
            continue
        star = "*" if p.kind is p.VAR_POSITIONAL else ""
        if p.kind is p.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or bool(star) or p.kind is p.KEYWORD_ONLY
        parts.append(
            f"{star}{p.name}: {said.get(p.name) or annotation(p.annotation)}"
            + ("" if p.default is p.empty else f" = {default(p.default)}")
        )
    if out and all(p.name != "out" for p in listed):
        parts += [*(() if starred else ["*"]), f"out: {out} | None = None"]
    parts += [f"**{p.name}: Any" for p in listed if p.kind is p.VAR_KEYWORD]
    return ", ".join(parts)


@cache
def result(op: Op) -> str:
    """The type of an op's result."""
    if op.name in _RETURNS:
        return _RETURNS[op.name]
    kinds = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in op.samples(Make(requires_grad=False)) if op.samples else ():
            kinds.add(_kind(op.function(*sample.args, **sample.kwargs)))
    if not kinds and op.outputs:
        return f"tuple[{', '.join(['Tensor'] * len(op.outputs))}]"
    pieces = any(word in op.short_name for word in ("split", "chunk", "unbind"))
    if (len(kinds) > 1 or pieces) and all(kind.startswith("tuple[Tensor") for kind in kinds):
        return "tuple[Tensor, ...]"
    return kinds.pop() if len(kinds) == 1 else "Any" if kinds else "Tensor"


def _kind(value: Any) -> str:
    if isinstance(value, flambeau.Tensor):
        return "Tensor"
    if isinstance(value, tuple) and type(value) is not tuple:
        return f"return_types.{type(value).__name__}"
    if isinstance(value, tuple):
        return f"tuple[{', '.join(map(_kind, value))}]"
    return {bool: "_bool", int: "_int", float: "_float"}.get(type(value), "Any")


def of_op(name: str, op: Op, method: bool = False, inplace: bool = False) -> list[str]:
    """An op as a function or a method."""
    if op.name in _SEVERAL and not inplace:
        first = "self" if method else "input: Tensor"
        return [
            line
            for more, kind in _SEVERAL[op.name]
            for line in ("@overload", f"def {name}({', '.join(filter(None, [first, more]))}) -> {kind}: ...")
        ]
    kind = "Tensor" if inplace else result(op)
    out = "" if method or inplace or not op.out else kind if kind == "Tensor" else "Sequence[Tensor]"
    return [
        f"def {name}({parameters(inspect.signature(op.check).parameters.values(), method, out, _ARGUMENTS.get(op.name, {}))}) -> {kind}: ..."
    ]


def of_function(name: str, function: Callable, method: bool = False) -> list[str]:
    """A function that is written by hand."""
    signature = inspect.signature(function)
    kind = annotation(signature.return_annotation)
    return [f"def {name}({parameters(signature.parameters.values(), method)}) -> {kind}: ..."]


def home(name: str, value: Any) -> str | None:
    """The module in which a function or class stands."""
    codes = (
        [value]
        if isinstance(value, types.FunctionType)
        else [f for f in vars(value).values() if isinstance(f, types.FunctionType)]
        if isinstance(value, type)
        else []
    )
    for function in codes:
        path = Path(function.__code__.co_filename)
        if path.is_relative_to(ROOT) and path != ROOT / "__init__.py":
            module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
            if getattr(importlib.import_module(module), name, None) is value:
                return module
    if isinstance(value, type) and not codes and value.__module__.startswith("flambeau."):  # all that it has is its base's
        return value.__module__ if getattr(importlib.import_module(value.__module__), name, None) is value else None
    return None


def module_stub(module: types.ModuleType, own: str) -> str:
    """The stub of a module that is filled from the records."""
    lines, imports = [], [IMPORTS]
    private = [name for name in getattr(module, "_LAZY_NAMES", ()) if name.startswith("_")]
    for name in sorted({*dir(module), *private}):
        value = getattr(module, name)
        if name.startswith("_") and name not in ("__version__", *private) or name in _NOT_LISTED:
            continue
        op = getattr(value, "op", None)
        if isinstance(op, Op):
            lines += of_op(name, op, inplace=name.endswith("_") and not op.short_name.endswith("_"))
        elif isinstance(value, types.ModuleType):
            parent, _, last = value.__name__.rpartition(".")
            listed = last == name and value.__name__ in sys.modules and parent.startswith("flambeau")
            imports += [f"from {parent} import {name} as {name}\n"] if listed else []
            lines += [] if listed or value.__name__.startswith("flambeau") else [f"{name}: Any"]
        elif (where := home(name, value)) is not None:
            imports.append(f"from {where} import {name} as {name}\n")
        elif isinstance(value, (dtype, layout, memory_format)):
            lines.append(f"{name}: _{type(value).__name__}")
        elif isinstance(value, types.FunctionType):
            lines += of_function(name, value)
        elif isinstance(value, type) and issubclass(value, Exception):
            lines.append(f"class {name}({value.__base__.__name__}): ...")
        else:
            lines.append(f"{name}: {_kind(value)}" if not isinstance(value, type) else f"{name}: Any")
    return HEAD + "".join(imports) + "\n" + "\n".join(lines) + "\n"


_OPERATORS = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()


def tensor_stub() -> str:
    """What is given to Tensor when the package is imported."""
    tensor = flambeau.Tensor
    own = re.search(r"^class Tensor\(Derived\):\n(.*?)(?=^\S)", (ROOT / "tensor/tensor.py").read_text() + "\n#", re.M | re.S)
    assert own is not None
    written = set(re.findall(r"^    (?:def )?(\w+)(?: *[:=(])", own[1], re.M))
    lines = []
    for name in sorted(dir(tensor)):
        if name in written or name in dir(object) or name.startswith("__"):
            continue
        value = inspect.getattr_static(tensor, name)
        op = getattr(value, "op", None)
        if isinstance(op, Op):
            lines += of_op(name, op, method=True, inplace=name.endswith("_") and not op.short_name.endswith("_"))
        elif isinstance(value, types.FunctionType):
            lines += of_function(name, value, method=True)
        else:
            try:
                kind = _kind(getattr(flambeau.ones(2, 2), name))
            except Exception:
                kind = "Any"
            lines.append(f"{name}: {kind}" if kind != "Any" else f"{name}: Any")
    for name in _OPERATORS:
        operand = "Tensor" if name == "matmul" else "Tensor | _complex"
        lines += [f"def __{form}{name}__(self, other: {operand}) -> Tensor: ..." for form in ("", "r", "i")]
    for name in ("eq", "ne"):
        lines.append(f"def __{name}__(self, other: Any) -> Tensor: ...  # type: ignore[override]  # elementwise")
    lines += [f"def __{name}__(self, other: Tensor | _complex) -> Tensor: ..." for name in ("lt", "le", "gt", "ge")]
    lines += [f"def __{name}__(self) -> Tensor: ..." for name in ("neg", "pos", "abs", "invert")]
    lines += ["def __getitem__(self, key: Any) -> Tensor: ...", "def __setitem__(self, key: Any, value: Any) -> None: ..."]
    return HEAD + IMPORTS + "\nclass Derived:\n" + "".join(f"    {line}\n" for line in lines)


def results_stub() -> str:
    """The named tuples that ops return."""
    lines = []
    for kind in sorted(
        {op.named_tuple() for op in registry.values() if op.outputs and "*" not in op.outputs}, key=lambda kind: kind.__name__
    ):
        if not kind.__name__.startswith("_"):
            fields = kind.__match_args__  # type: ignore[attr-defined]
            lines += [f"class {kind.__name__}(NamedTuple):", *[f"    {field}: Tensor" for field in fields], ""]
    return (
        HEAD
        + "from typing import Any, NamedTuple\n\nfrom flambeau.tensor.tensor import Tensor\n\n"
        + "\n".join(lines)
        + "\ndef __getattr__(name: str) -> Any: ...\n"
    )


def stubs() -> dict[Path, str]:
    """All stubs by their files."""
    from flambeau import fft, linalg, special
    from flambeau.nn import functional

    made = {
        ROOT / "tensor/derived.pyi": tensor_stub(),
        ROOT / "return_types.pyi": results_stub(),
        ROOT / "__init__.pyi": module_stub(flambeau, "flambeau"),
    }
    for module in (fft, linalg, special, functional):
        assert module.__file__ is not None
        made[Path(module.__file__).with_suffix(".pyi")] = module_stub(module, module.__name__)
    return made


def main() -> None:
    """Writes the stubs, or with ``--check`` compares them."""
    made = stubs()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        names = ", ".join(str(path.relative_to(ROOT.parent)) for path in stale)
        sys.exit(f"not as the records have it: {names}; run python -m tools.stubs" if stale else 0)
    for path in stale:
        path.write_text(made[path])


if __name__ == "__main__":
    main()
