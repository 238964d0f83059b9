"""``torch._C.Graph``: what a call of a module computes, as a graph of operators of ATen. Tools count and draw by it.

:func:`_get_trace_graph` runs the module once and listens to the calls of ops. One whose name is an operator's is a node with that
operator's arguments; any other one is looked into, if it is made of others. Parameters, buffers and the arguments are the graph's
inputs, other tensors constants.

Source: https://github.com/pytorch/pytorch/blob/main/torch/csrc/jit/OVERVIEW.md
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from flambeau.core import dtypes, nests
from flambeau.library.operators import OpOverload, find_packet
from flambeau.library.schema import FunctionSchema
from flambeau.nn import Module
from flambeau.ops.record import Op
from flambeau.tensor import Tensor
from flambeau.tensor.observing import Observer

__all__ = ["Graph", "Node", "Type", "Use", "Value"]

_SCALARS = {
    dtypes.float32: "Float", dtypes.float64: "Double", dtypes.float16: "Half", dtypes.bfloat16: "BFloat16", dtypes.int64: "Long", dtypes.int32: "Int", dtypes.int16: "Short",
    dtypes.int8: "Char", dtypes.uint8: "Byte", dtypes.bool: "Bool", dtypes.complex64: "ComplexFloat", dtypes.complex128: "ComplexDouble",
}  # fmt: skip


class Type:
    """The type of a value: that of a tensor tells its dtype, sizes and strides."""

    def __init__(self, name: str, kind: str, tensor: Tensor | None = None, elements: Sequence[Type] = ()) -> None:
        self._name, self._kind, self._elements = name, kind, list(elements)
        if tensor is not None:
            self._dtype, self._sizes, self._strides = tensor.dtype, list(tensor.shape), list(tensor.stride())
            self._requires_grad, self._device = tensor.requires_grad, tensor.device

    def kind(self) -> str:
        """``"TensorType"``, ``"IntType"``, ``"ListType"``, ..."""
        return self._kind

    def sizes(self) -> list[int] | None:
        """The shape of a tensor; ``None`` of anything else."""
        return list(self._sizes) if self._kind == "TensorType" else None

    def strides(self) -> list[int] | None:
        """The strides of a tensor."""
        return list(self._strides) if self._kind == "TensorType" else None

    def dim(self) -> int | None:
        """How many dims a tensor has."""
        return len(self._sizes) if self._kind == "TensorType" else None

    def dtype(self) -> Any:
        """The dtype of a tensor."""
        return self._dtype if self._kind == "TensorType" else None

    def scalarType(self) -> str | None:
        """Its name: ``"Float"``."""
        return _SCALARS.get(self._dtype) if self._kind == "TensorType" else None

    def device(self) -> Any:
        """Where a tensor is."""
        return self._device if self._kind == "TensorType" else None

    def requires_grad(self) -> bool:
        """Whether a tensor needs a gradient."""
        return self._kind == "TensorType" and self._requires_grad

    def getElementType(self) -> Type:
        """The type of a list's elements."""
        return self._elements[0]

    def elements(self) -> list[Type]:
        """The types of a tuple's elements."""
        return list(self._elements)

    def _text(self) -> str:
        """As in the text of a graph."""
        if self._kind == "ListType":
            return f"{self._elements[0].annotation_str()}[]"
        if self._kind == "TupleType":
            return f"({', '.join(t._text() for t in self._elements)})"
        if self._kind != "TensorType":
            return self._name
        sizes = [str(n) for n in self._sizes]
        strides = [f"strides=[{', '.join(str(n) for n in self._strides)}]"] if sizes else []
        return f"{self.scalarType()}({', '.join([*sizes, *strides, f'requires_grad={int(self._requires_grad)}', f'device={self._device}'])})"

    def annotation_str(self) -> str:
        """As in Python."""
        if self._elements:
            return f"{'List' if self._kind == 'ListType' else 'Tuple'}[{', '.join(t.annotation_str() for t in self._elements)}]"
        return self._name

    __str__ = annotation_str
    __repr__ = _text


setattr(Type, "str", Type._text)  # noqa: B010  (in the class it would hide the type of the methods' results)


def _type_of(value: Any) -> Type:
    if isinstance(value, Tensor):
        return Type("Tensor", "TensorType", value)
    for cls, name, kind in (
        (bool, "bool", "BoolType"),
        (int, "int", "IntType"),
        (float, "float", "FloatType"),
        (complex, "complex", "ComplexType"),
        (str, "str", "StringType"),
    ):
        if isinstance(value, cls):
            return Type(name, kind)
    if value is None:
        return Type("NoneType", "NoneType")
    return Type("int", "IntType")  # dtypes, layouts and formats are numbers to PyTorch


class Use(NamedTuple):
    """Where a value is used: by which node, as which of its inputs."""

    user: Node
    offset: int


class Value:
    """What a node gives, or an input of the graph."""

    def __init__(self, graph: Graph, node: Node, type: Type, constant: Any = None) -> None:
        self._graph, self._node, self._type, self._constant = graph, node, type, constant
        self._name = str(graph._next_name())
        self.identity: int | None = None
        """Of an input: the ``id`` of the tensor that it stands for."""
        self._uses: list[Use] = []

    def debugName(self) -> str:
        """Its name in the text of the graph."""
        return self._name

    def setDebugName(self, name: str) -> Value:
        self._name = name
        return self

    def unique(self) -> int | str:
        """Its number."""
        return int(self._name) if self._name.isdigit() else self._name

    def node(self) -> Node:
        """The node that gives it."""
        return self._node

    def offset(self) -> int:
        """Which of the node's outputs it is."""
        return self._node._outputs.index(self)

    def type(self) -> Type:
        """Its type."""
        return self._type

    def uses(self) -> list[Use]:
        """Who uses it."""
        return list(self._uses)

    def isCompleteTensor(self) -> bool:
        """Whether it is a tensor: all of it is known then."""
        return self._type.kind() == "TensorType"

    def requires_grad(self) -> bool:
        """Whether it needs a gradient."""
        return self._type.requires_grad()

    def toIValue(self) -> Any:
        """The value of a constant; ``None`` of any other."""
        return self._constant

    def __repr__(self) -> str:
        return f"{self._name} defined in ({str(self._node).strip()})"


class Node:
    """The call of an operator (``aten::linear``), or what makes its arguments: ``prim::Constant``, ``prim::ListConstruct``."""

    def __init__(
        self,
        graph: Graph,
        kind: str,
        inputs: Sequence[Value] = (),
        scope: str = "",
        schema: FunctionSchema | None = None,
        constant: Any = None,
    ) -> None:
        self._graph, self._kind, self._scope, self._schema = graph, kind, scope, schema
        self._inputs, self._outputs = list(inputs), []  # type: list[Value], list[Value]
        self._constant = constant
        for i, value in enumerate(inputs):
            value._uses.append(Use(self, i))

    def kind(self) -> str:
        """The operator's name."""
        return self._kind

    def inputs(self) -> Iterator[Value]:
        """Its arguments, in the order of the operator's schema."""
        return iter(self._inputs)

    def outputs(self) -> Iterator[Value]:
        """Its results."""
        return iter(self._outputs)

    def inputsSize(self) -> int:
        return len(self._inputs)

    def outputsSize(self) -> int:
        return len(self._outputs)

    def input(self) -> Value:
        """Its only argument."""
        (value,) = self._inputs
        return value

    def output(self) -> Value:
        """Its only result."""
        (value,) = self._outputs
        return value

    def inputsAt(self, i: int) -> Value:
        return self._inputs[i]

    def outputsAt(self, i: int) -> Value:
        return self._outputs[i]

    def scopeName(self) -> str:
        """Where it was called: names that were pushed on ``torch._C._get_tracing_state()``, with ``/`` in between."""
        return self._scope

    def schema(self) -> str:
        """The operator's schema; empty for other nodes."""
        return "" if self._schema is None else str(self._schema)

    def hasUses(self) -> bool:
        """Whether a result is used."""
        return any(value._uses for value in self._outputs)

    def hasMultipleOutputs(self) -> bool:
        return len(self._outputs) > 1

    def attributeNames(self) -> list[str]:
        """``["value"]`` of a constant."""
        return ["value"] if self._kind == "prim::Constant" and self._constant is not None else []

    def hasAttribute(self, name: str) -> bool:
        return name in self.attributeNames()

    def kindOf(self, name: str) -> str:
        """The method that gives an attribute: ``i`` of integers, ``f``, ``s``, ``t`` of tensors."""
        if not self.hasAttribute(name):
            raise RuntimeError(f"required keyword attribute '{name}' is undefined")
        value = self._constant
        return (
            "t"
            if isinstance(value, Tensor)
            else "s"
            if isinstance(value, str)
            else "f"
            if isinstance(value, float)
            else "c"
            if isinstance(value, complex)
            else "i"
        )

    def _attribute(self, name: str) -> Any:
        self.kindOf(name)
        return self._constant

    i = f = s = t = c = ival = _attribute

    def __str__(self) -> str:
        left = ", ".join(f"%{v.debugName()} : {v.type()._text()}" for v in self._outputs)
        value = self._constant
        shown = (
            "<Tensor>"
            if isinstance(value, Tensor)
            else repr(int(value))
            if isinstance(value, bool)
            else repr(value).replace("'", '"')
        )
        attribute = f"[value={shown}]" if self.attributeNames() else ""
        scope = f", scope: {self._scope}" if self._scope else ""
        return f"{left} = {self._kind}{attribute}({', '.join('%' + v.debugName() for v in self._inputs)}){scope}\n"

    __repr__ = __str__


class Graph:
    """Nodes in the order of their calls, the graph's inputs and its outputs."""

    def __init__(self) -> None:
        self._names = 0
        self._input = Node(self, "prim::Param")
        self._return = Node(self, "prim::Return")
        self._nodes: list[Node] = []

    def _next_name(self) -> int:
        self._names += 1
        return self._names - 1

    def inputs(self) -> Iterator[Value]:
        """Arguments, then parameters and buffers."""
        return iter(self._input._outputs)

    def outputs(self) -> Iterator[Value]:
        """The results: one, a tuple where there are several."""
        return iter(self._return._inputs)

    def nodes(self) -> Iterator[Node]:
        """The nodes."""
        return iter(list(self._nodes))

    def param_node(self) -> Node:
        return self._input

    def return_node(self) -> Node:
        return self._return

    def findNode(self, kind: str, recurse: bool = True) -> Node | None:
        """The first node of an operator."""
        return next((node for node in self._nodes if node._kind == kind), None)

    def findAllNodes(self, kind: str, recurse: bool = True) -> list[Node]:
        """All nodes of an operator."""
        return [node for node in self._nodes if node._kind == kind]

    def __str__(self) -> str:
        inputs = ",\n      ".join(f"%{v.debugName()} : {v.type()._text()}" for v in self.inputs())
        body = "".join(f"  {node}" for node in self._nodes)
        return f"graph({inputs}):\n{body}  return ({', '.join('%' + v.debugName() for v in self.outputs())})\n"

    __repr__ = __str__

    # --- making one ----------------------------------------------------------------------------------------------

    def _add(
        self,
        kind: str,
        inputs: Sequence[Value],
        types: Sequence[Type],
        scope: str = "",
        schema: FunctionSchema | None = None,
        constant: Any = None,
    ) -> list[Value]:
        node = Node(self, kind, inputs, scope, schema, constant)
        node._outputs = [Value(self, node, type, constant) for type in types]
        self._nodes.append(node)
        return node._outputs


# --- listening to a call ---------------------------------------------------------------------------------------------

CONVOLUTIONS = frozenset(f"conv{'_transpose' * transposed}{n}d" for n in (1, 2, 3) for transposed in (False, True))
_OTHER_NAMES = {
    "train": "training",
    "indices": "input",
    "input": "self",
    "self": "input",
    "end": "stop",
    "cudnn_enabled": "",
    "cudnn_enable": "",
}
"""Arguments that operators and functions call differently."""

_tracing: Recorder | None = None


def tracing_state() -> Any:
    """Who listens; ``None``: nobody."""
    return _tracing


class Recorder(Observer):
    """Writes calls into ``graph`` while it is open."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph, self.scopes = graph, []  # type: Graph, list[str]
        self.values: dict[int, Value] = {}
        self.kept: list[Tensor] = []  # so that no other tensor gets the identity of one that is known
        self.busy = False

    def push_scope(self, name: str) -> None:
        """What is called from now on is called in ``name``."""
        self.scopes.append(name)

    def pop_scope(self) -> None:
        """Leaves the scope that was entered last."""
        self.scopes.pop()

    @property
    def scope(self) -> str:
        return "/".join(self.scopes)

    def know(self, tensor: Tensor, value: Value) -> None:
        """``tensor`` is the graph's ``value``."""
        self.values[id(tensor)] = value
        self.kept.append(tensor)

    def argument(self, x: Any) -> Value:
        """The value of an argument, which is made of constants if it has none."""
        if isinstance(x, Tensor):
            known = self.values.get(id(x))
            if known is None:
                (known,) = self.graph._add("prim::Constant", (), [_type_of(x)], self.scope, constant=x.detach())
                self.know(x, known)
            return known
        if isinstance(x, (list, tuple)):
            parts = [self.argument(part) for part in x]
            element = parts[0].type() if parts else Type("int", "IntType")
            list_type = Type("List", "ListType", elements=[element])
            return self.graph._add("prim::ListConstruct", parts, [list_type], self.scope)[0]
        return self.graph._add("prim::Constant", (), [_type_of(x)], self.scope, constant=x)[0]

    def is_apart(self, op: Op) -> bool:
        """Whether a call is written as those that it is made of: it is no operator."""
        return op.form == "composite" and _operator(op) is None

    def called(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        if self.busy or self.is_apart(op):
            return self.run(op, args, kwargs)
        overload = _operator(op)
        self.busy = True
        try:
            result = self.run(op, args, kwargs)
        finally:
            self.busy = False
        kind, schema, given = _arguments(op, overload, args, kwargs)
        inputs = [self.argument(x) for x in given]
        results = [r for r in nests.tree_leaves(result) if isinstance(r, Tensor)]
        outputs = self.graph._add(kind, inputs, [_type_of(r) for r in results], self.scope, schema)
        for tensor, value in zip(results, outputs, strict=True):
            self.know(tensor, value)
        return result


def _operator(op: Op) -> Any:
    """The operator that is called as ``op``; ``None``: there is none. What indexing is made of has its name behind a ``_``."""
    name = op.short_name
    return find_packet(f"aten::{name}", None) or (find_packet(f"aten::{name[1:]}", None) if op.form == "view" else None)


def _arguments(op: Op, packet: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[str, FunctionSchema | None, list]:
    """The operator that a call is, and what it gets: for each argument of its schema what the function was given for it, or the
    default."""
    if packet is None:
        return f"aten::{op.short_name}", None, [*args, *kwargs.values()]
    try:
        bound = inspect.signature(op.check).bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
    except TypeError:
        return f"aten::{op.short_name}", None, [*args, *kwargs.values()]
    if op.short_name in CONVOLUTIONS:
        return _convolution(op.short_name, given)
    parameters = bound.signature.parameters.values()
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:  # sizes that programs give one by one
            row = given[p.name]
            given[p.name] = row[0] if len(row) == 1 and isinstance(row[0], (tuple, list)) else list(row)
    said = {p.name for p in parameters if p.name[0] != "_" and not _is_default(given[p.name], p.default)}
    overloads: list[OpOverload] = [packet._overloads[name] for name in packet._overloads if "out" not in name]
    for overload in overloads:
        found = _fitted(overload._schema, given, said)
        if found is not None:
            return overload._schema.name, overload._schema, found
    return f"aten::{op.short_name}", None, list(given.values())


def _is_default(value: Any, default: Any) -> bool:
    return value is None or value is default or type(value) is type(default) and not isinstance(value, Tensor) and value == default


def _fitted(schema: FunctionSchema, given: dict[str, Any], said: set[str]) -> list | None:
    """The arguments of an overload, of those that a function was given; ``None``: they, or those that were ``said``, are none of
    its."""
    found, used, order = [], set(), list(given)
    for place, a in enumerate(schema.arguments):
        name = a.name if a.name in given else _OTHER_NAMES.get(a.name, None)
        if (
            name not in given
            and place < len(order)
            and order[place] not in used
            and not any(b.name == order[place] for b in schema.arguments)
        ):
            name = order[place]
        if name in given:
            value = given[name]
            used.add(name)
            if value is None and a.has_default_value():
                value = a.default_value
        elif a.has_default_value():
            value = a.default_value
        elif name == "":
            value = True
        else:
            return None
        if not a.type.accepts(value):
            return None
        found.append(a.type.convert(value))
    return found if said <= used else None


def _convolution(name: str, given: dict[str, Any]) -> tuple[str, FunctionSchema | None, list]:
    """PyTorch traces all convolutions as one operator."""
    n = int(name[-2])
    padding = given["padding"]

    def each(x: Any) -> list[int]:
        return list(x) if isinstance(x, (tuple, list)) else [x] * n

    if isinstance(padding, str):
        kernel = given["weight"].shape[2:]
        padding = (
            [0] * n if padding == "valid" else [d * (k - 1) // 2 for d, k in zip(each(given["dilation"]), kernel, strict=True)]
        )
    schema = find_packet("aten::_convolution")._overloads["default"]._schema
    settings = (
        each(given["stride"]),
        each(padding),
        each(given["dilation"]),
        "transpose" in name,
        each(given.get("output_padding", 0)),
        given["groups"],
    )
    return "aten::_convolution", schema, [given["input"], given["weight"], given["bias"], *settings, False, False, True, True]


def _get_trace_graph(
    f: Any,
    args: Any = (),
    kwargs: Any = None,
    strict: bool = True,
    _force_outplace: bool = False,
    return_inputs: bool = False,
    _return_inputs_states: bool = False,
) -> tuple:
    """The graph of a call of a module or a function, and what the call gave.

    >>> import flambeau as torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    >>> graph, out = torch.jit._get_trace_graph(net, torch.ones(1, 2))
    >>> [node.kind() for node in graph.nodes()]
    ['aten::linear', 'aten::relu']
    >>> graph.findNode("aten::linear").output().type().sizes()
    [1, 3]
    """
    args = args if isinstance(args, tuple) else (args,)
    recorder, out = record_graph(Recorder, f, args, kwargs)
    return (recorder.graph, out, list(args)) if return_inputs else (recorder.graph, out)


def record_graph(kind: type[Recorder], f: Any, args: tuple, kwargs: dict[str, Any] | None) -> tuple[Any, Any]:
    """A call of ``f``, which a recorder of this kind listens to; the recorder, and what the call gave."""
    global _tracing
    graph = Graph()
    recorder = kind(graph)
    state = f.state_dict(keep_vars=True) if isinstance(f, Module) else {}
    for tensor in [*nests.tree_leaves((args, kwargs or {})), *state.values()]:
        if isinstance(tensor, Tensor) and id(tensor) not in recorder.values:
            value = Value(graph, graph._input, _type_of(tensor))
            value.identity = id(tensor)
            graph._input._outputs.append(value)
            recorder.know(tensor, value)
    recorder.open()
    before, _tracing = _tracing, recorder
    try:
        out = f(*args, **(kwargs or {}))
    finally:
        _tracing = before
        recorder.close()
    results = [recorder.argument(t) for t in nests.tree_leaves(out) if isinstance(t, Tensor)]
    if not isinstance(out, Tensor):
        types = [value.type() for value in results]
        results = graph._add("prim::TupleConstruct", results, [Type("Tuple", "TupleType", elements=types)])
    graph._return = Node(graph, "prim::Return", results)
    return recorder, out
