"""Exported programs: a graph whose arguments are the parameters, the buffers and the user's arguments; and how it is called."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from flambeau.core import nests
from flambeau.core.nests import TreeSpec
from flambeau.export.graph_signature import (
    ConstantArgument,
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from flambeau.fx.codegen import _PyTreeCodeGen, _PyTreeInfo
from flambeau.fx.conversion import graph_of
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule, _assign_attr
from flambeau.fx.node import Node
from flambeau.jit.tracing import text_of_path
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor

__all__ = ["ExportedProgram", "Recipe"]

LIFTED = "lifted_tensor_"
"""What the constants of a program are called that have no name in it."""


class Recipe:
    """What a program was traced to, as plain values: what :func:`torch.export.save` writes.

    ``source`` is the code of a trace; ``leaves`` its arguments, by the names of the leaves of ``(args, kwargs)``; ``fixed`` the
    sizes that they must have, with names for those that are free; ``in_spec`` and ``out_spec`` how arguments and result are nested.
    """

    def __init__(
        self, source: str, leaves: list[str], names: list[str], constants: dict[int, Any], fixed: dict[str, list[Any]], bounds: dict[str, tuple[int, int]], in_spec: TreeSpec,
        out_spec: TreeSpec, training: bool,
    ) -> None:  # fmt: skip
        self.source, self.leaves, self.names, self.constants, self.fixed, self.bounds = (
            source,
            leaves,
            names,
            constants,
            fixed,
            bounds,
        )
        self.in_spec, self.out_spec, self.training = in_spec, out_spec, training


def _readable(path: str) -> str:
    return path.replace(".", "_")


class ExportedProgram:
    """What :func:`torch.export.export` makes.

    ``graph_module`` and ``graph`` take parameters, buffers and the leaves of the arguments in the order of ``graph_signature``;
    :meth:`module` is called as the program was.

    Source: https://docs.pytorch.org/docs/stable/export/api_reference.html#torch.export.ExportedProgram
    """

    def __init__(
        self,
        recipe: Recipe,
        state: dict[str, Tensor],
        constants: dict[str, Tensor],
        transient: set[str],
        example: Any = None,
        shapes: dict[str, Any] | None = None,
    ) -> None:
        self._recipe, self._state_dict, self._tensors, self._transient = recipe, state, constants, transient
        self._example_inputs = example
        graph = Graph()
        self._specs: list[InputSpec] = []
        lifted = self._lift(graph)
        user: dict[str, Node] = {}
        for i, name in enumerate(recipe.leaves):
            node = graph.placeholder(name)
            node.name = name
            user[name] = node
            constant = i in recipe.constants
            self._specs.append(
                InputSpec(
                    InputKind.USER_INPUT,
                    ConstantArgument(node.name, recipe.constants[i]) if constant else TensorArgument(node.name),
                    None,
                )
            )
        returned, nodes = graph_of(recipe.source, graph, lambda name: lifted[name] if name in lifted else user[name])
        flat = nests.tree_leaves(returned)
        graph.output(tuple(flat))
        for name, value in (shapes or {}).items():
            sized = nodes.get(name) or user.get(name) or lifted.get(name)
            if isinstance(sized, Node):
                sized.meta["val"] = value
        graph.eliminate_dead_code(lambda n: n.is_impure() or _changes(n))
        outputs = [
            OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(x.name) if isinstance(x, Node) else ConstantArgument("", x), None)
            for x in flat
        ]
        self.graph_signature = ExportGraphSignature(self._specs, outputs)
        self.graph_module = GraphModule(Module(), graph, "GraphModule")
        self.range_constraints = dict(recipe.bounds)

    def _lift(self, graph: Graph) -> dict[str, Node]:
        """Arguments for the parameters, buffers and constants."""
        found: dict[str, Node] = {}
        order = sorted(self._state_dict.items(), key=lambda item: not isinstance(item[1], Parameter))
        for path, value in order:
            kind = InputKind.PARAMETER if isinstance(value, Parameter) else InputKind.BUFFER
            node = graph.placeholder(("p_" if kind is InputKind.PARAMETER else "b_") + _readable(path))
            found[text_of_path(path)] = node
            persistent = None if kind is InputKind.PARAMETER else path not in self._transient
            self._specs.append(InputSpec(kind, TensorArgument(node.name), path, persistent))
        for path in self._tensors:
            node = graph.placeholder(f"c_{_readable(path)}")
            found[f"CONSTANTS.c{path.rpartition('_')[2]}" if path.startswith(LIFTED) else text_of_path(path)] = node
            self._specs.append(InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(node.name), path))
        return found

    # --- what it has ------------------------------------------------------------------------------------------

    @property
    def graph(self) -> Graph:
        return self.graph_module.graph

    @property
    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        return {k: v for k, v in self._state_dict.items() if k not in self._transient}

    @property
    def constants(self) -> dict[str, Tensor]:
        """Tensors that are neither: those that the program made, and buffers that are not saved."""
        return {**self._tensors, **{k: v for k, v in self._state_dict.items() if k in self._transient}}

    tensor_constants = constants

    @property
    def example_inputs(self) -> Any:
        return self._example_inputs

    @property
    def call_spec(self) -> Any:
        return _CallSpec(self._recipe.in_spec, self._recipe.out_spec)

    @property
    def dialect(self) -> str:
        return "ATEN"

    def parameters(self) -> Iterator[Parameter]:
        for _, p in self.named_parameters():
            yield p

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for k, v in self._state_dict.items():
            if isinstance(v, Parameter):
                yield k, v

    def buffers(self) -> Iterator[Tensor]:
        for _, b in self.named_buffers():
            yield b

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        for k, v in self._state_dict.items():
            if not isinstance(v, Parameter):
                yield k, v

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("Unable to call ExportedProgram directly. You should use `exported_program.module()` instead.")

    def module(self, check_guards: bool = True) -> GraphModule:
        """A module that is called as the program was, with the parameters and buffers of the state.

        Arguments must have the shapes with which the program was exported, but for dims that were said to be dynamic.
        """
        graph = Graph()
        held = Module()
        env: dict[Node, Node] = {}
        specs = {s.arg.name: s for s in self.graph_signature.input_specs}
        for node in self.graph.nodes:
            spec = specs.get(node.name) if node.op == "placeholder" else None
            if spec is not None and spec.kind is not InputKind.USER_INPUT:
                target = str(spec.target)
                if spec.kind is InputKind.CONSTANT_TENSOR:
                    value = self._tensors[target]
                else:
                    value = self._state_dict[target]
                _assign_attr(value, held, target)
                if node.users:
                    env[node] = graph.get_attr(target)
            elif node.op == "output":
                graph.output([env[x] if isinstance(x, Node) else x for x in node.args[0]])
            else:
                env[node] = graph.node_copy(node, lambda n: env[n])
        recipe = self._recipe
        graph.set_codegen(_PyTreeCodeGen(_PyTreeInfo(["self", *recipe.names], recipe.in_spec, recipe.out_spec)))
        made: Any = _Exported(held, graph, "GraphModule")
        for name, value in held.named_buffers():
            _keep(made, name, value)
        for name, param in held.named_parameters():
            _keep(made, name, param)
        for path in (*self._transient, *self._tensors):
            prefix, _, last = path.rpartition(".")
            made.get_submodule(prefix)._non_persistent_buffers_set.add(last)
        made.__dict__["_recipe"] = recipe if check_guards else None
        made.training = recipe.training
        return made  # type: ignore[no-any-return]

    def run_decompositions(self, decomp_table: Any = None, **settings: Any) -> ExportedProgram:
        """A copy of the program: flambeau's graphs have its own ops, which are not decomposed."""
        return copy.copy(self)

    def __str__(self) -> str:
        code = self.graph_module.print_readable(print_output=False).replace("\n", "\n    ")
        return (
            f"ExportedProgram:\n    {code}\nGraph signature: {self.graph_signature}\nRange constraints: {self.range_constraints}\n"
        )


def _changes(node: Node) -> bool:
    """Whether a call writes to one of its arguments: by its name, with ``inplace=True`` or with ``out=``."""
    if node.op != "call_function":
        return False
    name = getattr(node.target, "__name__", "")
    if name.endswith("_") and not name.endswith("__") or name in ("setitem", "batch_norm", "instance_norm", "__setitem__"):
        return True
    given = dict(node.kwargs)
    if node.args and isinstance(node.target, FunctionType):
        given.update(zip(inspect.signature(node.target).parameters, node.args, strict=False))
    return bool(given.get("inplace")) or given.get("out") is not None


def _keep(module: Module, path: str, value: Any) -> None:
    """Puts a parameter or buffer that no node uses into a module too."""
    place: Any = module
    for part in path.split("."):
        place = getattr(place, part, None)
        if place is None:
            _assign_attr(value, module, path)
            return


class _CallSpec:
    def __init__(self, in_spec: TreeSpec, out_spec: TreeSpec) -> None:
        self.in_spec, self.out_spec = in_spec, out_spec


class _Exported(GraphModule):
    """A module of an exported program: checks its arguments first."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        recipe: Recipe | None = self.__dict__.get("_recipe")
        if recipe is not None:
            args, kwargs = _bound(recipe, args, kwargs)
            _check(recipe, args, kwargs)
        return super().__call__(*args, **kwargs)

    def train(self, mode: bool = True) -> Any:
        raise NotImplementedError("Calling train() is not supported yet.")

    def eval(self) -> Any:
        raise NotImplementedError("Calling eval() is not supported yet.")


def _bound(recipe: Recipe, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Arguments by place and by name as they were when the program was exported."""
    n = len(recipe.in_spec.children_specs[0].children_specs)
    given = dict(zip(recipe.names, args))
    if len(args) > len(recipe.names) or set(given) & set(kwargs):
        raise TypeError(f"expected the arguments {recipe.names}")
    given.update(kwargs)
    if set(given) != set(recipe.names):
        raise TypeError(f"expected the arguments {recipe.names}, but got {list(given)}")
    return tuple(given[k] for k in recipe.names[:n]), {k: given[k] for k in recipe.names[n:]}


def _check(recipe: Recipe, args: tuple, kwargs: dict) -> None:
    """``AssertionError`` where an argument is not as the program was exported for."""
    leaves, spec = nests.tree_flatten((args, kwargs))
    if spec != recipe.in_spec:
        raise ValueError(
            f"Trying to flatten user inputs with exported input tree spec: \n{recipe.in_spec}\nbut actually got inputs with tree spec of: \n{spec}"
        )
    roots: dict[str, int] = {}
    for i, (name, x) in enumerate(zip(recipe.leaves, leaves, strict=True)):
        if i in recipe.constants:
            if x is not recipe.constants[i] and x != recipe.constants[i]:
                raise AssertionError(f"Guard failed: {name} == {recipe.constants[i]!r}, but got {x!r}")
            continue
        sizes = recipe.fixed.get(name)
        if sizes is None:
            continue
        if not isinstance(x, Tensor) or x.dim() != len(sizes):
            raise AssertionError(f"Guard failed: {name} is a tensor with {len(sizes)} dims")
        for d, (want, have) in enumerate(zip(sizes, x.shape)):
            if isinstance(want, int):
                if want != have:
                    raise AssertionError(f"Guard failed: {name}.size()[{d}] == {want}, but got {have}")
                continue
            symbol, factor, shift = want
            root, rest = divmod(have - shift, factor)
            low, high = recipe.bounds[symbol]
            if rest or not low <= root <= high or roots.setdefault(symbol, root) != root:
                raise AssertionError(
                    f"Guard failed: {name}.size()[{d}] is {have}; {symbol} is {roots.get(symbol, root)}, and must lie between {low} and {high}"
                )


def argument_names(function: Any, args: tuple, kwargs: dict) -> list[str]:
    """The names of the arguments that are given, in order."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs)
    except (TypeError, ValueError):
        return [*(f"arg_{i}" for i in range(len(args))), *kwargs]
    names: list[str] = []
    for key, value in bound.arguments.items():
        kind = signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{key}_{i}" for i in range(len(value))]
        elif kind is not inspect.Parameter.VAR_KEYWORD and key not in kwargs:
            names.append(key)
    return [*names, *kwargs]


def leaf_names(names: list[str], args: tuple, kwargs: dict) -> list[str]:
    """The names of all that is nested in the arguments with these names: ``state_0``, ``state_1`` for a pair."""
    given = {**dict(zip(names, args)), **kwargs}
    found: list[str] = []

    def walk(value: Any, name: str) -> None:
        if isinstance(value, (tuple, list)) and not isinstance(value, Tensor):
            for i, part in enumerate(value):
                walk(part, f"{name}_{i}")
        elif isinstance(value, dict):
            for key, part in value.items():
                walk(part, f"{name}_{key}")
        else:
            found.append(name)

    for name, value in given.items():
        walk(value, name)
    return found


def plain_spec(spec: TreeSpec) -> Any:
    """How arguments or results are nested, as plain values."""
    if spec.type is None:
        return None
    if spec.type not in (tuple, list, dict):
        raise ValueError(f"a {spec.type.__name__} among arguments or results; tuples, lists and dicts are saved")
    return [
        spec.type.__name__,
        list(spec.context) if spec.context is not None else None,
        [plain_spec(c) for c in spec.children_specs],
    ]


def spec_of(plain: Any) -> TreeSpec:
    """What :func:`plain_spec` says."""
    if plain is None:
        return TreeSpec()
    name, context, children = plain
    return TreeSpec({"tuple": tuple, "list": list, "dict": dict}[name], context, [spec_of(c) for c in children])
