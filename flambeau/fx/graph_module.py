"""GraphModule: a module whose ``forward`` is the code of a graph."""

from __future__ import annotations

import copy
import itertools
import linecache
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from flambeau.fx.codegen import _GLOBALS, PythonCode
from flambeau.fx.graph import Graph, _PyTreeCodeGen
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["GraphModule", "reduce_graph_module"]

_USER_PRESERVED_ATTRIBUTES_KEY = "_user_preserved_attributes"
_numbers = itertools.count()


def _exec_with_source(src: str, globals: dict[str, Any]) -> str:
    """Runs code that flambeau wrote, whose lines error messages can show; returns its file name."""
    name = f"<eval_with_key>.{next(_numbers)}"
    linecache.cache[name] = (len(src), None, src.splitlines(True), name)  # None: it is no file that could change
    exec(compile(src, name, "exec"), globals)
    return name


def _forward_from_src(src: str, globals: dict[str, Any], co_fields: Any = None) -> Any:
    names = {**_GLOBALS, **globals}
    _exec_with_source(src, names)
    return names["forward"]


class _CodeOnlyModule(Module):
    """What is left of a GraphModule for a pickle: its attributes; the graph is traced again."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__()
        self.__dict__ = body


def _copy_attr(from_module: Module, to_module: Module, target: str) -> None:
    """Gives ``to_module`` the attribute ``target`` (``a.b.weight``) of ``from_module``, with modules on the way."""
    *prefix, field = target.split(".")
    for part in prefix:
        source, place = getattr(from_module, part), getattr(to_module, part, None)
        if source is place:
            return  # the whole module is shared
        if place is None:
            place = Module()
            setattr(to_module, part, place)
        from_module, to_module = source, place
    _put(to_module, field, getattr(from_module, field))


def _put(module: Module, name: str, value: Any) -> None:
    if isinstance(value, Tensor) and name not in module._parameters and not _is_parameter(value):
        module.register_buffer(name, value)
    else:
        setattr(module, name, value)


def _is_parameter(value: Any) -> bool:
    from flambeau.nn.parameter import Parameter

    return isinstance(value, Parameter)


def _assign_attr(from_obj: Any, to_module: Module, target: str) -> None:
    """Puts a value at ``target`` of a module, with modules on the way."""
    *prefix, field = target.split(".")
    for part in prefix:
        if not hasattr(to_module, part):
            setattr(to_module, part, Module())
        to_module = getattr(to_module, part)
    _put(to_module, field, from_obj)


class GraphModule(Module):
    """A module whose ``forward`` is the code of a graph; ``root`` has the submodules and parameters that the graph names.

    Each GraphModule has a class of its own. Assigning ``graph`` writes the code anew; after changing the graph call
    :meth:`recompile`.

    >>> import flambeau as torch
    >>> traced = torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()))
    >>> print(traced.code.strip())
    def forward(self, input):
        input_1 = input
        _0 = getattr(self, "0")(input_1);  input_1 = None
        _1 = getattr(self, "1")(_0);  _0 = None
        return _1

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.GraphModule
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> GraphModule:
        base = next(c for c in cls.__mro__ if "_is_graph_module_impl" not in c.__dict__)

        class GraphModuleImpl(base):  # type: ignore[misc, valid-type]
            _is_graph_module_impl = True

        return super().__new__(GraphModuleImpl)

    def __init__(self, root: Module | dict[str, Any], graph: Graph, class_name: str = "GraphModule") -> None:
        super().__init__()
        type(self).__name__ = type(self).__qualname__ = class_name
        targets = [node.target for node in graph.nodes if node.op in ("get_attr", "call_module")]
        if isinstance(root, Module):
            if hasattr(root, "training"):
                self.training = root.training
            for target in targets:
                _copy_attr(root, self, target)
        elif isinstance(root, dict):
            for target in targets:
                if target not in root:
                    raise RuntimeError(f"Node in graph referenced target {target} but that target was not provided in ``root``!")
            for target in sorted(targets, key=lambda t: t.count(".")):
                _assign_attr(root[target], self, target)
        else:
            raise RuntimeError("Unsupported type " + str(root) + " passed for root!")
        self.meta: dict[str, Any] = dict(getattr(root, "meta", None) or {})
        self.graph = graph
        self._tracer_cls = graph._tracer_cls if graph._tracer_cls and "<locals>" not in graph._tracer_cls.__qualname__ else None
        self._tracer_extras = graph._tracer_extras or {}

    __jit_unused_properties__ = ["graph"]

    @property
    def graph(self) -> Graph:
        """The graph that ``forward`` is made of."""
        return self._graph

    @graph.setter
    def graph(self, g: Graph) -> None:
        if not isinstance(g, Graph):
            raise AssertionError(f"Expected a Graph instance, but got {type(g)}")
        self._graph = g
        g.owning_module = self
        self.recompile()

    @property
    def code(self) -> str:
        """The code of ``forward``."""
        if "_code" not in self.__dict__:
            raise RuntimeError("Code has not been generated! Please report a bug to PyTorch")
        return self._code

    def recompile(self) -> PythonCode:
        """Writes ``forward`` anew, after the graph has been changed."""
        style = self._graph._codegen
        if isinstance(style, _PyTreeCodeGen):
            self._in_spec, self._out_spec = style.pytree_info.in_spec, style.pytree_info.out_spec
        made = self._graph.python_code(root_module="self")
        self._code, self._lineno_map = made.src, made._lineno_map
        cls: Any = type(self)
        cls.forward = _forward_from_src(made.src, made.globals)
        if "_graph_call" not in cls.__dict__ and "__call__" not in {
            n for c in cls.__mro__[1:] if c is not GraphModule and issubclass(c, GraphModule) for n in c.__dict__
        }:
            cls._graph_call = True
            cls.__call__ = _call_with_lines
        return made

    # --- submodules -------------------------------------------------------------------------------------------

    def add_submodule(self, target: str, m: Module) -> bool:
        """Puts a module at ``target``, with modules on the way; False where something else is there."""
        *prefix, field = target.split(".")
        place: Module = self
        for part in prefix:
            inner = getattr(place, part, None)
            if inner is None:
                inner = Module()
                setattr(place, part, inner)
            if not isinstance(inner, Module):
                return False
            place = inner
        place.add_module(field, m)
        return True

    def delete_submodule(self, target: str) -> bool:
        """Takes a submodule out; False where there is none. Do so after the nodes that call it are gone."""
        *prefix, field = target.split(".")
        place: Any = self
        for part in prefix:
            place = getattr(place, part, None)
            if not isinstance(place, Module):
                return False
        if not isinstance(getattr(place, field, None), Module):
            return False
        delattr(place, field)
        return True

    def delete_all_unused_submodules(self) -> None:
        """Takes out the submodules that no node calls or reads from."""
        used: set[str] = set()
        for node in self.graph.nodes:
            if node.op in ("call_module", "get_attr"):
                parts = node.target.split(".")
                used.update(".".join(parts[:i]) for i in range(1, len(parts) + 1))
                if node.op == "call_module":
                    used.update(
                        f"{node.target}.{name}" if name else node.target
                        for name, _ in self.get_submodule(node.target).named_modules()
                    )
        for name in [name for name, _ in self.named_modules()]:
            if name and name not in used:
                self.delete_submodule(name)

    # --- copies and files -------------------------------------------------------------------------------------

    def __reduce__(self) -> tuple:
        body = self.__dict__.copy()
        code = self._graph.python_code(root_module="self")
        for name in ("_graph", "_code", "_lineno_map"):
            body.pop(name, None)
        body["_graphmodule_cls_name"] = type(self).__name__
        imports = {k: v for k, v in code.globals.items() if k not in _GLOBALS}
        return reduce_graph_module, (body, code.src, imports)

    __reduce_ex__ = lambda self, protocol: self.__reduce__()  # noqa: E731

    def _deepcopy_init(self) -> Any:
        return GraphModule.__init__

    def __deepcopy__(self, memo: dict) -> GraphModule:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        body = {k: v for k, v in self.__dict__.items() if k not in ("_graph", "_code", "_lineno_map")}
        parts = _CodeOnlyModule({})
        parts.__dict__ = copy.deepcopy(body, memo)
        self._deepcopy_init()(made, parts, copy.deepcopy(self._graph, memo))
        for name, value in parts.__dict__.items():
            if name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
                for key, inner in value.items() if isinstance(value, dict) else ():
                    made.__dict__[name].setdefault(key, inner)
            else:
                made.__dict__[name] = value
        return made

    def __copy__(self) -> GraphModule:
        made = GraphModule(self, copy.copy(self.graph), type(self).__name__)
        made.meta = self.meta
        return made

    def __str__(self) -> str:
        return "\n".join([super().__str__(), self._code, "# To see more debug info, please use `graph_module.print_readable()`"])

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), "graph", "code"})

    def print_readable(self, print_output: bool = True, *args: Any, **settings: Any) -> str:
        """The code as a class, with the graph modules inside of it; printed too unless ``print_output`` is False."""
        code = self._graph.python_code("self", verbose=True).src.strip("\n").rstrip()
        text = f"class {type(self).__name__}(torch.nn.Module):\n" + "\n".join(
            "    " + line if line else "" for line in code.splitlines()
        )
        for name, child in self.named_children():
            if isinstance(child, GraphModule):
                inner = child.print_readable(print_output=False).replace(f"class {type(child).__name__}(", f"class {name}(", 1)
                text += "\n\n" + "\n".join("    " + line if line else "" for line in inner.splitlines())
        text += "\n"
        if print_output:
            print(text)
        return text

    def to_folder(self, folder: str | os.PathLike, module_name: str = "FxModule") -> None:
        """Writes the code as a package: ``module.py`` with a class, and the state that it loads."""
        from flambeau.serialization import save

        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        save(self.state_dict(), place / "state_dict.pt")
        lines = []
        for name, module in self.named_children():
            file = place / f"{name}.pt"
            save(module, file)
            lines.append(f"self.{name} = torch.load(r'{file}', weights_only=False)  # {type(module).__name__}")
        for name, value in self._buffers.items():
            if value is not None:
                lines.append(f"self.register_buffer('{name}', torch.empty({list(value.shape)}, dtype={value.dtype}))")
        for name, value in self._parameters.items():
            if value is not None:
                lines.append(f"self.{name} = torch.nn.Parameter(torch.empty({list(value.shape)}, dtype={value.dtype}))")
        lines.append(f"self.load_state_dict(torch.load(r'{place / 'state_dict.pt'}'))")
        init = "\n".join("        " + line for line in lines)
        body = "\n".join("    " + line if line else "" for line in self.code.strip("\n").splitlines())
        (place / "module.py").write_text(
            f"import torch\nfrom torch.nn import *\n\n\nclass {module_name}(torch.nn.Module):\n    def __init__(self):\n"
            f"        super().__init__()\n{init}\n\n{body}\n"
        )
        (place / "__init__.py").write_text("from .module import *\n")

    def _replicate_for_data_parallel(self) -> GraphModule:
        return self.__copy__()


def _call_with_lines(self: GraphModule, *args: Any, **kwargs: Any) -> Any:
    """Calls the module; where that fails in its code, says at which line."""
    try:
        return super(type(self), self).__call__(*args, **kwargs)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        last = frames[-1] if frames else None
        if last is not None and last.filename.startswith("<eval_with_key>") and last.lineno:
            lines = self._code.splitlines()
            at = last.lineno - 1
            text = "\n".join([*lines[max(0, at - 2) : at + 1], "~" * 60 + " <--- HERE", *lines[at + 1 : at + 3]])
            print(
                f"Call using an FX-traced Module, line {last.lineno} of the traced Module's generated forward function:\n{text}",
                file=sys.stderr,
            )
        raise


def reduce_graph_module(body: dict[str, Any], src: str, imports: dict[str, Any]) -> GraphModule:
    """A GraphModule of a pickle: its code is traced again."""
    from flambeau.fx._symbolic_trace import Tracer

    name = body.pop("_graphmodule_cls_name", "GraphModule")
    forward = _forward_from_src(src, imports)
    root = _CodeOnlyModule(body)
    type_of_root = type(name, (_CodeOnlyModule,), {"forward": forward})
    root.__class__ = type_of_root

    class KeepModules(body.get("_tracer_cls") or Tracer):  # type: ignore[misc]
        def is_leaf_module(self, _: Module, __: str) -> bool:
            return True

    graph = KeepModules().trace(root, **(body.get("_tracer_extras") or {}))
    graph._tracer_cls = body.get("_tracer_cls")
    made = GraphModule(root, graph, class_name=name)
    for key, value in body.items():
        if key not in made.__dict__:
            made.__dict__[key] = value
    return made
