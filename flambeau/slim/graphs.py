"""What a model calls, as JSON: the part of a slim file that flambeau reads as a program again.

Machine code is for machines that are known today, and cannot be changed. The graph is the same model as calls of flambeau's
functions, so that it becomes a module again, which can be trained further, and a file of ONNX's. It is what
:func:`torch.export.export` traces:

``calls``      ``{"result": name, "op": "nn.functional.linear", "args": [...], "kwargs": {...}}``, one behind the other; ``result``
               is missing where a call changes its argument
``returned``   what comes out, and ``out_spec`` how that is nested
``arguments``  the names of the arguments, and ``in_spec`` how they are nested; ``leaves`` the names of all that is in them,
               ``sizes`` what shapes these have, with ``[symbol, factor, shift]`` where a size is free; ``bounds`` of the symbols;
               ``values`` of those that are no tensors
``weights``    parameters, buffers and constants: where their bytes are among the file's weights, dtype and shape

A value is a number, a text, ``null``, a list, or an object of one entry: ``{"ref": name}`` of a result or an argument,
``{"weight": name}``, ``{"item": [value, i]}`` of several results, ``{"size": [value, dim]}``, ``{"add": [a, b]}`` and its like of
sizes, ``tuple``, ``dict``, ``slice``, ``dtype``, ``format``, ``device``, ``float`` (infinities and NaN), ``complex``, ``ellipsis``.

Such a graph may come from anybody. What is read must have this form; names are names, operators those of flambeau's records, and
results are used after they were made. Nothing else of it reaches the code that is made of it.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from flambeau.core import dtypes
from flambeau.engine.graph import strided
from flambeau.export.exported_program import LIFTED, ExportedProgram, Recipe, plain_spec, spec_of
from flambeau.jit.operators import find_operator
from flambeau.jit.tracing import text_of_path
from flambeau.nn import Module, Parameter
from flambeau.slim.recording import Weight, Weights
from flambeau.tensor import Tensor
from flambeau.tensor.exchange import from_numpy

VERSION = 1
_SPACE = "ops.flambeau."
_ARITHMETIC: dict[type, str] = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "floordiv", ast.Mod: "mod"}
_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "mod": "%"}
_SETTINGS = ("dtype", "format", "device")
_DTYPES = {dtype.name: dtype for dtype in dtypes.ALL}


# --- writing -----------------------------------------------------------------------------------------------------


def graph_of(program: ExportedProgram, weights: Weights) -> dict[str, Any]:
    """The graph of an exported program; what it needs besides the ``weights`` of the plans is added to these."""
    recipe = program._recipe
    state = {**program._state_dict, **program._tensors}
    writer = _Writer({_text_of_weight(name): name for name in state})
    code = ast.parse(recipe.source).body[0]
    assert isinstance(code, ast.FunctionDef)
    for statement in code.body:
        writer.statement(statement)
    return {
        "version": VERSION, "arguments": recipe.names, "leaves": recipe.leaves, "values": [[i, writer.plain(x)] for i, x in recipe.constants.items()],
        "sizes": recipe.fixed, "bounds": recipe.bounds, "in_spec": plain_spec(recipe.in_spec), "out_spec": plain_spec(recipe.out_spec),
        "weights": {name: _stored(name, state[name], weights) for name in writer.used}, "calls": writer.calls, "returned": writer.returned,
    }  # fmt: skip


def _text_of_weight(name: str) -> str:
    """What the code of a trace calls a parameter, buffer or constant."""
    return f"CONSTANTS.c{name.removeprefix(LIFTED)}" if name.startswith(LIFTED) else text_of_path(name)


def _stored(name: str, t: Tensor, weights: Weights) -> dict[str, Any]:
    """Where a tensor's bytes are: those that the plans read too, or bytes of its own."""
    known = next((w for w in weights.all if w.name == name), None)
    value = strided(t._storage.array(), t._shape, t.stride(), t._offset, t._dtype) if t.numel() else np.empty(t._shape, t._dtype.np)
    if known is None or known.value.shape != value.shape or known.dtype is not t.dtype or known.value.tobytes() != value.tobytes():
        known = weights.all[weights.place(Weight("", value, t.dtype))]
    return {"bytes": known.name, "dtype": t.dtype.name, "shape": list(t.shape), "parameter": isinstance(t, Parameter)}


class _Writer:
    """From the code of a trace to JSON."""

    def __init__(self, weights: dict[str, str]) -> None:
        self.weights = weights  # text in the code -> name
        self.used: dict[str, None] = {}
        self.calls: list[dict[str, Any]] = []
        self.returned: Any = None

    def statement(self, s: ast.stmt) -> None:
        if isinstance(s, ast.Return) and s.value is not None:
            self.returned = self.value(s.value)
        elif isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name):
            self.calls.append({"result": s.targets[0].id, **self.call(s.value)})
        elif isinstance(s, ast.Expr):
            self.calls.append(self.call(s.value))
        else:
            raise ValueError(f"a {type(s).__name__} in a trace")

    def call(self, e: ast.expr) -> dict[str, Any]:
        assert isinstance(e, ast.Call)
        op = ast.unparse(e.func).removeprefix(_SPACE)
        return {"op": op, "args": [self.value(a) for a in e.args], "kwargs": {str(k.arg): self.value(k.value) for k in e.keywords}}

    def value(self, e: ast.expr) -> Any:
        if isinstance(e, ast.Name):
            return {"float": e.id} if e.id in ("inf", "nan") else {"ref": e.id}
        if (name := self.weights.get(ast.unparse(e))) is not None:
            self.used[name] = None
            return {"weight": name}
        if isinstance(e, ast.Constant):
            return {"ellipsis": True} if e.value is ... else e.value
        if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
            inner = self.value(e.operand)
            return {"float": "-inf"} if inner == {"float": "inf"} else -inner
        if isinstance(e, (ast.Tuple, ast.List)):
            parts = [self.value(x) for x in e.elts]
            return {"tuple": parts} if isinstance(e, ast.Tuple) else parts
        if isinstance(e, ast.Dict):
            return {"dict": [[self.value(k), self.value(v)] for k, v in zip(e.keys, e.values) if k is not None]}
        if isinstance(e, ast.BinOp):
            return {_ARITHMETIC[type(e.op)]: [self.value(e.left), self.value(e.right)]}
        if isinstance(e, ast.Subscript):
            return {"item": [self.value(e.value), self.value(e.slice)]}
        if isinstance(e, ast.Call):
            kind = ast.unparse(e.func).removeprefix(_SPACE)
            args = [self.value(a) for a in e.args]
            if kind in ("slice", "size", "complex"):
                return {kind: args}
            if kind in _SETTINGS:
                return {kind: args[0]}
        raise ValueError(f"{ast.unparse(e)} in a trace")

    def plain(self, x: Any) -> Any:
        """An argument that is no tensor."""
        return self.value(ast.parse(repr(x), mode="eval").body)


# --- reading -----------------------------------------------------------------------------------------------------


def program_of(graph: Any, content: Mapping[str, memoryview], inputs: Mapping[str, str]) -> ExportedProgram:
    """The program of a graph. ``content`` are the bytes of the weights, ``inputs`` the dtypes of the arguments that are tensors.

    ``ValueError``, or another of the errors for values that are not as they should be, where the graph is not as described above.
    """
    if graph["version"] != VERSION:
        raise ValueError(f"the graph is of version {graph['version']!r}, and not {VERSION}")
    weights = {_path(name): _weight(entry, content) for name, entry in graph["weights"].items()}
    leaves, names = [_name(x) for x in graph["leaves"]], [_name(x) for x in graph["arguments"]]
    reader = _Reader({name: _text_of_weight(name) for name in weights}, leaves)
    lines = [reader.call(entry) for entry in graph["calls"]]
    lines.append(f"return {reader.value(graph['returned'])}")
    source = "\n  ".join([f"def forward({', '.join(['self', *leaves])}):", *lines]) + "\n"
    values = {_whole(i): ast.literal_eval(_Reader({}, []).value(x)) for i, x in graph["values"]}
    bounds = {_name(symbol): (_whole(low), _whole(high)) for symbol, (low, high) in graph["bounds"].items()}
    sizes = {_name(leaf): [_size(n, bounds) for n in shape] for leaf, shape in graph["sizes"].items()}
    in_spec, out_spec = spec_of(graph["in_spec"]), spec_of(graph["out_spec"])
    given = [spec.children_specs for spec in in_spec.children_specs] if in_spec.type is tuple else []
    if (
        in_spec.num_leaves != len(leaves)
        or len(set(leaves)) != len(leaves)
        or [len(x) for x in given] != [len(names) - len(given[-1]), len(given[-1])]
    ):
        raise ValueError("the arguments of the graph are not nested as it says")
    state = {name: t for name, t in weights.items() if not name.startswith(LIFTED)}
    constants = {name: t for name, t in weights.items() if name.startswith(LIFTED)}
    example = in_spec.unflatten([_example(sizes[x], bounds, inputs[x]) if x in sizes else values[i] for i, x in enumerate(leaves)])
    return ExportedProgram(
        Recipe(source, leaves, names, values, sizes, bounds, in_spec, out_spec, False), state, constants, set(), example
    )


def _weight(entry: dict[str, Any], content: Mapping[str, memoryview]) -> Tensor:
    dtype, shape = _DTYPES[entry["dtype"]], tuple([_whole(n) for n in entry["shape"]])
    t = from_numpy(np.frombuffer(content[entry["bytes"]], dtype.np).reshape(shape).copy())
    return Parameter(t, requires_grad=t.is_floating_point()) if entry["parameter"] is True else t


def _example(sizes: list, bounds: dict[str, tuple[int, int]], dtype: str) -> Tensor:
    """An argument that the program takes: zeros, of two rows where there may be two."""
    shape = []
    for n in sizes:
        if type(n) is not int:
            low, high = bounds[n[0]]
            n = n[1] * min(max(low, 2), high) + n[2]
        shape.append(n)
    return from_numpy(np.zeros(shape, _DTYPES[dtype].np))


class _Reader:
    """From JSON to the code of a trace, of which each part has been looked at."""

    _DEEPEST = 64

    def __init__(self, weights: dict[str, str], leaves: list[str]) -> None:
        self.weights, self.known = weights, set(leaves)

    def call(self, entry: dict[str, Any]) -> str:
        op, result = entry["op"], entry.get("result")
        if not isinstance(op, str) or not re.fullmatch(r"\w+(\.\w+)*", op, re.ASCII) or not callable(find_operator(_SPACE + op)):
            _refuse("an operator", op)
        parts = [self.value(x) for x in entry["args"]] + [f"{_name(k)}={self.value(x)}" for k, x in entry["kwargs"].items()]
        if result is not None:
            self.known.add(_name(result))
        return f"{'' if result is None else f'{result} = '}{_SPACE}{op}({', '.join(parts)})"

    def value(self, x: Any, depth: int = 0) -> str:
        """The code for a value."""
        if depth > self._DEEPEST:
            _refuse("so deep a nest", "...")
        if x is None or isinstance(x, (bool, int, str)):
            return repr(x)
        if isinstance(x, float):
            return repr(x) if x - x == 0 else _refuse("a number", x)
        if isinstance(x, list):
            return f"[{', '.join(self.values(x, depth))}]"
        ((kind, inner),) = x.items()
        if kind == "ref":
            return inner if inner in self.known else _refuse("a result that has been made", inner)
        if kind == "weight":
            return self.weights[inner]
        if kind == "tuple":
            return f"({''.join(f'{part}, ' for part in self.values(inner, depth))})"
        if kind == "dict":
            return f"{{{', '.join(f'{a}: {b}' for a, b in [self.values(pair, depth, 2) for pair in inner])}}}"
        if kind == "item":
            value, i = self.values(inner, depth, 2)
            return f"{value}[{i}]"
        if kind in _SYMBOLS:
            if not all(type(part) is int or part.keys() <= {"size", *_SYMBOLS} for part in inner):
                _refuse("a size", inner)
            a, b = self.values(inner, depth, 2)
            return f"({a} {_SYMBOLS[kind]} {b})"
        if kind in ("slice", "size"):
            return f"{_SPACE}{kind}({', '.join(self.values(inner, depth, 3 if kind == 'slice' else 2))})"
        if kind == "complex":
            real, imag = self.values(inner, depth, 2)
            return f"complex({real}, {imag})"
        if kind in _SETTINGS:
            return f"{_SPACE}{kind}({str(inner)!r})"
        if kind == "float" and inner in ("inf", "-inf", "nan"):
            return f"({inner})"
        return "..." if kind == "ellipsis" else _refuse("a value", kind)

    def values(self, parts: Any, depth: int, count: int | None = None) -> list[str]:
        if not isinstance(parts, list) or count not in (None, len(parts)):
            _refuse("a list of values", parts)
        return [self.value(part, depth + 1) for part in parts]


def _refuse(what: str, x: Any) -> NoReturn:
    raise ValueError(f"{str(x)[:40]!r} is no {what.removeprefix('a ').removeprefix('an ')}")


def _name(x: Any) -> str:
    """``x``, which must be a name that code may have."""
    return (
        x
        if isinstance(x, str)
        and re.fullmatch(r"[A-Za-z_]\w*", x, re.ASCII)
        and not keyword.iskeyword(x)
        and x not in ("self", "ops", "inf", "nan")
        else _refuse("a name", x)
    )


_TAKEN = frozenset(dir(Module()))


def _path(x: Any) -> str:
    """``x``, which must be a place for a tensor in a tree of modules, and not what modules have anyhow."""
    parts = x.split(".") if isinstance(x, str) else [""]
    return (
        x
        if all(re.fullmatch(r"\w+", part, re.ASCII) and part not in _TAKEN and not part.startswith("__") for part in parts)
        else _refuse("a name of a weight", x)
    )


def _whole(x: Any) -> int:
    return x if type(x) is int and 0 <= x <= 1 << 62 else _refuse("a size", x)


def _size(x: Any, bounds: dict[str, tuple[int, int]]) -> Any:
    """A size, or (symbol, factor, shift)."""
    if type(x) is int:
        return _whole(x)
    symbol, factor, shift = x
    if symbol not in bounds or type(factor) is not int or type(shift) is not int or factor < 1:
        _refuse("a size", x)
    return symbol, factor, shift
