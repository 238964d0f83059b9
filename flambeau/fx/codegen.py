"""Code from graphs: the text of ``forward``, and the names that it uses."""

from __future__ import annotations

import builtins
import keyword
import math
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any, NamedTuple

import flambeau
from flambeau.core import nests
from flambeau.core.device import device
from flambeau.core.nests import TreeSpec
from flambeau.fx.node import Node, _get_qualified_name, _own_name, _type_repr

__all__ = ["CodeGen", "Namespace", "PythonCode"]

_GLOBALS: dict[str, Any] = {
    "inf": math.inf, "nan": math.nan, "NoneType": type(None), "torch": flambeau, "device": device, "pytree": nests, "fx_pytree": nests,
}  # fmt: skip
"""What code may name without being told."""

_SYMBOLS = {
    "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "floordiv": "{} // {}", "truediv": "{} / {}", "mod": "{} % {}", "pow": "{} ** {}",
    "lshift": "{} << {}", "rshift": "{} >> {}", "and_": "{} & {}", "or_": "{} | {}", "xor": "{} ^ {}", "getitem": "{}[{}]", "matmul": "{} @ {}",
    "eq": "{} == {}", "ne": "{} != {}", "lt": "{} < {}", "gt": "{} > {}", "le": "{} <= {}", "ge": "{} >= {}", "pos": "+{}", "neg": "-{}",
    "invert": "~{}",
}  # fmt: skip
_IN_PLACE = {
    "iadd": "{} += {}", "iand": "{} &= {}", "ifloordiv": "{} //= {}", "ilshift": "{} <<= {}", "imod": "{} %= {}", "imul": "{} *= {}",
    "imatmul": "{} @= {}", "ior": "{} |= {}", "ipow": "{} **= {}", "irshift": "{} >>= {}", "isub": "{} -= {}", "itruediv": "{} /= {}",
    "ixor": "{} ^= {}", "setitem": "{}[{}] = {}",
}  # fmt: skip


@dataclass
class PythonCode:
    """Code that was made of a graph: its text, the objects that it names, and lines of it -> numbers of nodes."""

    src: str
    globals: dict[str, Any]
    _lineno_map: dict[int, int | None] | None = None
    _prologue_start: int = 0


class Namespace:
    """Names that are taken, each for one object at most."""

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}
        self._used: set[str] = set()
        self._counts: dict[str, int] = defaultdict(int)

    def create_name(self, candidate: str, obj: Any | None) -> str:
        """A name that is free, like ``candidate``."""
        if obj is not None and obj in self._names:
            return self._names[obj]
        name = re.sub("[^0-9a-zA-Z_]+", "_", candidate) or "_unnamed"
        if name[0].isdigit():
            name = f"_{name}"
        match = re.match(r"(.*)_(\d+)$", name)
        base, number = (match[1], int(match[2])) if match else (name, 0)
        name = f"{base}_{number}" if match else base
        number = number or self._counts[base]
        while name in self._used or self._is_illegal(name):
            number += 1
            name = f"{base}_{number}"
        self._used.add(name)
        self._counts[base] = number
        if obj is not None:
            self._names[obj] = name
        return name

    def associate_name_with_obj(self, name: str, obj: Any) -> None:
        """Takes a name for an object."""
        self._names.setdefault(obj, name)
        self._used.add(name)

    def _is_illegal(self, name: str) -> bool:
        return keyword.iskeyword(name) or name in builtins.__dict__ or name in _GLOBALS

    def _rename_object(self, obj: Any, name: str) -> None:
        self._names[obj] = name
        self._used.add(name)


def _hashable(x: Any) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True


def _target_text(base: str, target: str) -> str:
    """The text of an attribute of an attribute: ``getattr(self.layers, "0").weight``."""
    text = base
    for part in target.split("."):
        text = f"{text}.{part}" if part.isidentifier() else f'getattr({text}, "{part}")'
    return text


class CodeGen:
    """How a graph is written as a function; subclasses change its signature or what it returns.

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.Graph.set_codegen
    """

    def __init__(self) -> None:
        self._body_transformer: Callable[[list[str]], list[str]] | None = None
        self._func_name = "forward"

    def gen_fn_def(self, free_vars: list[str], maybe_return_annotation: str) -> str:
        """The first lines of the function."""
        names = free_vars if free_vars and free_vars[0] == "self" else ["self", *free_vars]
        return f"def {self._func_name}({', '.join(names)}){maybe_return_annotation}:"

    def generate_output(self, output_args: Any) -> str:
        """The last line."""
        return f"return {repr(output_args)}"

    def process_inputs(self, *args: Any) -> Any:
        """The values of the placeholders of a call's arguments."""
        return args

    def process_outputs(self, outputs: Any) -> Any:
        """What a call returns of the value of the output node."""
        return outputs

    def additional_globals(self) -> list[tuple[str, Any]]:
        """More names that the code uses."""
        return []

    def _gen_python_code(self, nodes: Any, root_module: str, namespace: Namespace, *, verbose: bool = False) -> PythonCode:
        writer = _Writer(self, list(nodes), root_module, namespace, verbose)
        return writer.write()


class _PyTreeInfo(NamedTuple):
    """How the arguments of a function are nested: their names, the structure of ``(args, kwargs)`` and of the result."""

    orig_args: list[str]
    in_spec: TreeSpec
    out_spec: TreeSpec | None


class _PyTreeCodeGen(CodeGen):
    """A function whose arguments and result are nests; the placeholders are their leaves."""

    def __init__(self, pytree_info: _PyTreeInfo) -> None:
        super().__init__()
        self.pytree_info = pytree_info

    def process_inputs(self, *inputs: Any, **kwargs: Any) -> Any:
        return nests.tree_leaves((inputs, kwargs) if self._by_name() else list(inputs))

    def process_outputs(self, out: Any) -> Any:
        spec = self.pytree_info.out_spec
        if not isinstance(out, (list, tuple)):
            out = [out]
        return out if spec is None else nests.tree_unflatten(out, spec)

    def _by_name(self) -> bool:
        return self.pytree_info.in_spec.type is tuple

    def gen_fn_def(self, free_vars: list[str], maybe_return_annotation: str) -> str:
        names = self.pytree_info.orig_args
        text = super().gen_fn_def(list(names), maybe_return_annotation)
        given = [n for n in names if n != "self"]
        if self._by_name():
            spec = self.pytree_info.in_spec.children_specs
            n = len(spec[0].children_specs)
            inner = ", ".join(f"'{key}':{key}" for key in given[n:])
            nest = f"([{', '.join(given[:n])}], {{{inner}}})"
            nest = nest.replace("([", "((").replace("],", ",)," if n else "),", 1)
        else:
            nest = f"[{', '.join(given)}]"
        if free_vars:
            bound = [name.split(":")[0].split("=")[0].strip() for name in free_vars]
            text += f"\n    {', '.join(bound)}{',' if len(bound) == 1 else ''} = pytree.tree_leaves({nest})"
        return text

    def generate_output(self, output_args: Any) -> str:
        spec = self.pytree_info.out_spec
        if spec is None:
            return super().generate_output(output_args)
        return f"return pytree.tree_unflatten({repr(output_args)}, self._out_spec)"

    def additional_globals(self) -> list[tuple[str, Any]]:
        return [("pytree", nests)]


class _Writer:
    """One text of a graph."""

    def __init__(self, style: CodeGen, nodes: list[Node], root: str, namespace: Namespace, verbose: bool) -> None:
        self.style, self.nodes, self.root, self.namespace, self.verbose = style, nodes, root, namespace, verbose
        self.globals: dict[str, Any] = {}
        self.wrapped: dict[str, None] = {}
        self.free: list[str] = []
        self.returns = ""
        self.lines: list[str] = []
        self.last_uses = self._last_uses()

    def _last_uses(self) -> dict[Node, list[Node]]:
        """For each node those that are used there for the last time."""
        seen: set[Node] = set()
        found: dict[Node, list[Node]] = defaultdict(list)
        for node in reversed(self.nodes):
            for used in node._input_nodes:
                if used not in seen:
                    seen.add(used)
                    found[node].append(used)
        return found

    # --- names ----------------------------------------------------------------------------------------------

    def name_of(self, qualified: str, obj: Any) -> str:
        """The name in the code of an object that is no builtin."""
        if qualified == "torch" or qualified.startswith("torch.") and self._reached(qualified) is obj:
            self.globals["torch"] = flambeau
            return qualified
        wanted = qualified.replace(".", "_")
        if wanted in self.globals and self.globals[wanted] is obj:
            return wanted
        name = self.namespace.create_name(wanted, obj if _hashable(obj) else None)
        self.globals[name] = obj
        return name

    def _reached(self, qualified: str) -> Any:
        found: Any = flambeau
        for part in qualified.split(".")[1:]:
            try:
                found = getattr(found, part)
            except AttributeError:
                return None
        return found

    def type_text(self, kind: Any) -> str:
        """The text of an annotation."""
        if kind == ():
            return "()"
        if isinstance(kind, str):
            return kind
        text = _type_repr(kind)
        origin = getattr(kind, "__origin__", None)
        if origin is not None:
            name = getattr(kind, "_name", None)
            base = (
                self.name_of(f"typing.{name}", getattr(__import__("typing"), name))
                if name and hasattr(__import__("typing"), name)
                else self.type_text(origin)
            )
            return f"{base}[{', '.join(self.type_text(a) for a in kind.__args__)}]"
        if isinstance(kind, type) and kind.__module__ != "builtins":
            return self.name_of(text, kind)
        return text if isinstance(kind, type) else self.name_of("type_" + re.sub(r"\W", "_", text), kind)

    def text(self, arg: Any) -> str:
        """The text of an argument."""
        if isinstance(arg, Node):
            return repr(arg)
        if isinstance(arg, tuple):
            parts = [self.text(a) for a in arg]
            if hasattr(arg, "_fields"):
                return f"{self.name_of(_get_qualified_name(type(arg)), type(arg))}({', '.join(parts)})"
            return "(" + ", ".join(parts) + ("," if len(parts) == 1 else "") + ")"
        if isinstance(arg, list):
            return "[" + ", ".join([self.text(a) for a in arg]) + "]"
        if isinstance(arg, dict):
            return "{" + ", ".join([f"{k!r}: {self.text(v)}" for k, v in arg.items()]) + "}"
        if isinstance(arg, slice):
            return f"slice({self.text(arg.start)}, {self.text(arg.stop)}, {self.text(arg.step)})"
        if isinstance(arg, Enum):
            return f"{self.name_of(_get_qualified_name(type(arg)), type(arg))}.{arg.name}"
        if isinstance(arg, type) or callable(arg) and hasattr(arg, "__module__") and hasattr(arg, "__qualname__"):
            name = _get_qualified_name(arg)
            return name if getattr(builtins, name, None) is arg else self.name_of(name, arg)
        text = repr(arg)
        if text.startswith("torch."):
            self.globals["torch"] = flambeau
        elif isinstance(arg, device):
            return f"{self.name_of('torch.device', device)}{text[len('device') :]}"
        elif text.startswith("<") or isinstance(arg, ModuleType):
            return self.name_of(f"{_own_name(type(arg).__module__)}.{type(arg).__name__}_value", arg)
        return text

    def call(self, args: tuple, kwargs: dict) -> str:
        return ", ".join([self.text(a) for a in args] + [f"{k} = {self.text(v)}" for k, v in kwargs.items()])

    # --- statements -----------------------------------------------------------------------------------------

    def write(self) -> PythonCode:
        starts = {}
        for i, node in enumerate(self.nodes):
            statement = self.statement(node)
            if statement is None:
                continue
            starts[len(self.lines)] = i
            if self.verbose and node.stack_trace:
                self.lines.append(f"# {node.stack_trace.strip().splitlines()[-1].strip()}")
            self.lines.append(statement + self.deletions(node))
        if not self.lines:
            self.lines.append("pass")
        body = self.lines
        if self.style._body_transformer is not None:
            body = self.style._body_transformer([line + "\n" for line in body])
            body = "".join(body).splitlines()
        for name, value in self.style.additional_globals():
            self.globals[name] = value
        head = self.style.gen_fn_def(self.free, self.returns)
        wraps = "\n".join(f'{self.name_of("torch.fx._symbolic_trace.wrap", flambeau.fx.wrap)}("{name}")' for name in self.wrapped)
        before = f"\n{wraps}\n\n" if wraps else "\n\n\n"
        src = before + head + "\n" + "\n".join("    " + line for line in body) + "\n    "
        first = before.count("\n") + head.count("\n") + 2
        return PythonCode(src, self.globals, {line + first: i for line, i in starts.items()}, first)

    def deletions(self, node: Node) -> str:
        """Lets go of what is used for the last time."""
        if node.op in ("placeholder", "output"):
            return ""
        names = [repr(n) for n in self.last_uses[node]] + ([repr(node)] if not node.users else [])
        return f";  {' = '.join([*names, 'None'])}" if names else ""

    def statement(self, node: Node) -> str | None:
        annotation = "" if node.type is None else f" : {self.type_text(node.type)}"
        name = repr(node)
        if node.op == "placeholder":
            default = f" = {self.text(node.args[0])}" if node.args else ""
            self.free.append(f"{node.target}{annotation}{default}")
            raw = node.target.replace("*", "")
            return f"{name} = {raw}" if raw != name else None
        if node.op == "output":
            if node.type is not None:
                self.returns = f" -> {self.type_text(node.type)}"
            return self.style.generate_output(_Text(self.text(node.args[0])))
        if node.op == "get_attr":
            return f"{name}{annotation} = {_target_text(self.root, node.target)}"
        if node.op == "call_module":
            return f"{name}{annotation} = {_target_text(self.root, node.target)}({self.call(node.args, node.kwargs)})"
        if node.op == "call_method":
            return f"{name}{annotation} = {_target_text(self.text(node.args[0]), node.target)}({self.call(node.args[1:], node.kwargs)})"
        target, short = node.target, getattr(node.target, "__name__", "")
        if getattr(target, "__module__", None) == "_operator":
            if short in _SYMBOLS and not node.kwargs and len(node.args) == _SYMBOLS[short].count("{}"):
                return f"{name}{annotation} = {_SYMBOLS[short].format(*map(self.text, node.args))}"
            if short in _IN_PLACE and not node.kwargs:
                change = _IN_PLACE[short].format(*map(self.text, node.args))
                return f"{change};  {name}{annotation} = {self.text(node.args[0])}"
        qualified = _get_qualified_name(target)
        if qualified == "getattr" and len(node.args) == 2 and isinstance(node.args[1], str) and node.args[1].isidentifier():
            return f"{name}{annotation} = {_target_text(self.text(node.args[0]), node.args[1])}"
        called = qualified if getattr(builtins, qualified, None) is target else self.name_of(qualified, target)
        if node.meta.get("is_wrapped", False):
            self.wrapped.setdefault(called)
        return f"{name}{annotation} = {called}({self.call(node.args, node.kwargs)})"


class _Text(str):
    """A text that stands for itself where the text of an object is asked for."""

    def __repr__(self) -> str:
        return str(self)
