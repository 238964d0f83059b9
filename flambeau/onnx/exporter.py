"""``torch.onnx.export``: what a module computes as a file of ONNX's, by the package ``onnx``.

The module runs once, in evaluation mode unless ``training`` says otherwise; the graph of its operators (:mod:`flambeau._C.graph`) is written with the nodes of
:mod:`flambeau.onnx.translations`. Where dims are to be free (``dynamic_axes``, ``dynamic_shapes``) it runs a second time with other sizes there, and what a
size went into has to be a shape with one unknown, which ONNX writes as -1; anything else is refused, so that no file computes something else than the module.

Source: https://docs.pytorch.org/docs/stable/onnx.html
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

import flambeau
from flambeau._C.graph import Graph, Node, Value, _get_trace_graph
from flambeau.core import nests
from flambeau.export import ExportedProgram
from flambeau.nn.modules.module import Module
from flambeau.onnx.translations import TRANSLATIONS
from flambeau.tensor import Tensor

__all__ = ["ONNXProgram", "OnnxExporterError", "UnsupportedOperatorError", "export"]

OPSET = 18


class OnnxExporterError(RuntimeError):
    """A module that cannot be written as it is."""


class UnsupportedOperatorError(OnnxExporterError):
    """An operator for which there is no translation."""


class Ref(str):
    """A value of the graph, by its name, with its shape and dtype."""

    shape: list[int]
    dtype: str


def _ref(name: str, value: Value) -> Ref:
    ref = Ref(name)
    ref.shape, ref.dtype = value.type().sizes() or [], _name_of(value.type().dtype())
    return ref


def _name_of(dtype: Any) -> str:
    return getattr(dtype, "name", "float32")


class Writer:
    """Writes the nodes for one operator after the other; translations see its ``name``, ``results`` and their first, ``result``."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.name = ""
        self.results: list[Ref] = []
        self.free: dict[Node, list[int]] = {}  # shapes with an unknown, of nodes that make them
        self.node: Any = None

    @property
    def result(self) -> Ref:
        return self.results[0]

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; the name of its result, or the names of several."""
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), names, **attributes))
        made = []
        for name, result in zip(names, [*self.results, *[self.results[0]] * outputs], strict=False):
            ref = Ref(name)
            ref.shape, ref.dtype = result.shape, result.dtype
            made.append(ref)
        return made[0] if outputs == 1 else tuple(made)

    def constant(self, value: Any, dtype: str | None = None) -> Ref:
        """A tensor that is part of the file."""
        array = np.asarray(value, None if dtype is None else _numpy(dtype))
        name = Ref(f"c{len(self.initializers)}")
        name.shape, name.dtype = list(array.shape), str(array.dtype)
        self.initializers.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def alike(self, x: Any, y: Any, dtype: str | None = None) -> tuple[Any, Any]:
        """Both operands as tensors of one dtype: that of PyTorch's promotion."""
        if dtype is None:
            given = [v for v in (x, y) if isinstance(v, Ref)]
            dtype = self.result.dtype if self.result.dtype != "bool" else np.result_type(*[np.zeros((1,) * bool(v.shape), _numpy(v.dtype)) for v in given]).name
        found = []
        for v in (x, y):
            if not isinstance(v, Ref):
                found.append(self.constant(v, dtype))
            else:
                found.append(v if v.dtype == dtype else self.cast(v, dtype))
        return found[0], found[1]

    def cast(self, x: Ref, dtype: str) -> Ref:
        """``x`` in another dtype."""
        out = self.op("Cast", x, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(_numpy(dtype))))
        out.shape, out.dtype = x.shape, dtype
        return out

    def sizes_of_result(self, known: Sequence[int] | None = None) -> list[int]:
        """The shape of the result, with -1 (or, where it is not to be known, 1) for a size that is free."""
        sizes = self.free.get(self.node, self.result.shape)
        return list(sizes) if known is None else [1 if s == -1 else s for s in sizes]

    def reshape(self, x: Ref, sizes: Sequence[int]) -> Ref:
        """``x`` in another shape; 0 stands for the size that it has there, -1 for what is left."""
        return self.op("Reshape", x, self.constant(np.array(sizes, np.int64)))

    def refuse(self, what: str) -> NoReturn:
        """Says that something has no form in ONNX, or none here."""
        raise OnnxExporterError(f"torch.onnx.export: {what}")


def _numpy(dtype: str) -> Any:
    if dtype == "bfloat16":
        raise OnnxExporterError("torch.onnx.export: bfloat16 is not written; call model.float() first")
    return np.dtype(dtype)


def _argument(value: Value, names: Mapping[Value, Ref]) -> Any:
    """What a translation gets for an argument of an operator."""
    if value in names:
        return names[value]
    node = value.node()
    if node.kind() == "prim::ListConstruct":
        return [_argument(v, names) for v in node.inputs()]
    return value.toIValue()


class ONNXProgram:
    """A module as ONNX's model: ``model_proto``, which :meth:`save` writes; called, it computes by ONNX's reference implementation."""

    def __init__(self, model_proto: Any) -> None:
        self.model_proto = model_proto

    def save(self, destination: str | os.PathLike, **settings: Any) -> None:
        """Writes it to a file."""
        with open(destination, "wb") as file:
            file.write(self.model_proto.SerializeToString())

    def __call__(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """Its results for some arguments."""
        from onnx.reference import ReferenceEvaluator

        from flambeau.tensor.exchange import from_numpy

        given = [t.detach().numpy() for t in nests.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        feeds = dict(zip([i.name for i in self.model_proto.graph.input], given, strict=True))
        return [from_numpy(np.array(out)) for out in ReferenceEvaluator(self.model_proto).run(None, feeds)]

    def __repr__(self) -> str:
        return f"ONNXProgram({len(self.model_proto.graph.node)} nodes)"


def export(
    model: Any, args: Any = (), f: Any = None, *, kwargs: dict[str, Any] | None = None, verbose: bool | None = None, input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None, opset_version: int | None = None, dynamo: bool = True, external_data: bool = True, dynamic_shapes: Any = None,
    dynamic_axes: Mapping[str, Any] | None = None, export_params: bool = True, keep_initializers_as_inputs: bool = False, training: Any = None,
    do_constant_folding: bool = True, **settings: Any,
) -> ONNXProgram | None:  # fmt: skip
    """Writes what a module computes for arguments like ``args`` to ``f``, a path or an open file; without one it gives an :class:`ONNXProgram`.

    Args:
        model: a module, a function of tensors, or a program of ``torch.export``, which brings arguments, names and free dims.
        input_names, output_names: the names of the file's inputs, its tensors among ``args`` and ``kwargs``, and of its outputs.
        dynamic_axes: which of their dims are free: name -> dims, or dims with names.
        opset_version: 18, or a later one.

    >>> import flambeau as torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU()).eval()
    >>> program = torch.onnx.export(net, (torch.ones(1, 4),), dynamic_axes={"input_0": [0]})  # doctest: +SKIP
    >>> program.save("net.onnx")                                                             # doctest: +SKIP

    Raises:
        ImportError: the package ``onnx`` is not installed.
        UnsupportedOperatorError: there is no translation of an operator.
        OnnxExporterError: something of the module has no form in ONNX.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError("torch.onnx.export writes files by the package onnx: pip install onnx") from None
    args = args if isinstance(args, tuple) else (args,)
    if isinstance(model, ExportedProgram):
        recipe = model._recipe
        leaves = [name for name in recipe.leaves if name in recipe.fixed]
        input_names = input_names or leaves
        if dynamic_axes is None and dynamic_shapes is None:
            free = {new: _free_dims(recipe.fixed[name]) for new, name in zip(input_names, leaves)}
            dynamic_axes = {name: dims for name, dims in free.items() if dims}
        if not args and not kwargs and model.example_inputs is not None:
            args, kwargs = model.example_inputs
        model = model.module()
    if opset_version is not None and opset_version < OPSET:
        raise ValueError(f"torch.onnx.export writes operators of opset {OPSET} or later, got opset_version={opset_version}")
    if settings.get("custom_opsets") or settings.get("custom_translation_table"):
        raise NotImplementedError("torch.onnx.export: custom operators are not written")
    graph, out = _trace(model, args, kwargs, training)
    tensors = [t for t in nests.tree_leaves((args, kwargs or {})) if isinstance(t, Tensor)]
    names = _names("input", input_names, len(tensors))
    outputs = _names("output", output_names, len([t for t in nests.tree_leaves(out) if isinstance(t, Tensor)]))
    axes = _axes(dynamic_axes if dynamic_axes is not None else _by_name(dynamic_shapes, names), [*names, *outputs])
    writer = Writer(onnx)
    if any(axes.get(name) for name in names):
        writer.free = _free_shapes(graph, model, args, kwargs, training, [list(axes.get(name, ())) for name in names])
    proto = _model(writer, graph, model, names, outputs, axes, opset_version or OPSET)
    if verbose:
        print(onnx.printer.to_text(proto))
    program = ONNXProgram(proto)
    if f is None:
        return program
    if hasattr(f, "write"):
        f.write(proto.SerializeToString())
    else:
        program.save(f)
    return program if dynamo else None


def _trace(model: Any, args: tuple, kwargs: Any, training: Any) -> tuple[Graph, Any]:
    stays = training is not None and getattr(training, "name", "") in ("TRAINING", "PRESERVE")
    modes = {m: m.training for m in model.modules()} if isinstance(model, Module) and not stays else {}
    for m in modes:
        m.training = False
    try:
        return _get_trace_graph(model, args, kwargs)
    finally:
        for m, mode in modes.items():
            m.training = mode


def _free_dims(sizes: Sequence[Any]) -> dict[int, str]:
    """The free dims of an argument of an exported program, of which a size is a number or (symbol, factor, shift)."""
    free = {}
    for d, n in enumerate(sizes):
        if not isinstance(n, int):
            symbol, factor, shift = n
            free[d] = f"{f'{factor}*' * (factor != 1)}{symbol}{f' + {shift}' * (shift > 0)}{f' - {-shift}' * (shift < 0)}"
    return free


def _names(kind: str, given: Sequence[str] | None, n: int) -> list[str]:
    given = list(given or ())
    return [*given[:n], *[f"{kind}_{i}" for i in range(len(given), n)]]


def _by_name(shapes: Any, names: Sequence[str]) -> Mapping[str, Any] | None:
    """``dynamic_shapes`` in the form of ``dynamic_axes``."""
    if shapes is None:
        return None
    parts = shapes.values() if isinstance(shapes, Mapping) else shapes
    return {name: {i: str(getattr(dim, "__name__", dim)) for i, dim in dims.items()} for name, dims in zip(names, parts, strict=False) if dims}


def _axes(given: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, dict[int, str]]:
    """Of each input and output, which dims are free, and what they are called."""
    found = {}
    for name, dims in (given or {}).items():
        if name not in names:
            raise ValueError(f"dynamic_axes: there is no input or output {name!r} among {list(names)}")
        found[name] = dict(dims) if isinstance(dims, Mapping) else {d: f"{name}_dim_{d}" for d in dims}
    return found


def _free_shapes(graph: Graph, model: Any, args: tuple, kwargs: Any, training: Any, free: Sequence[Sequence[int]]) -> dict[Node, list[int]]:
    """The shapes of results, with -1 for the size that is another one where the free dims of the arguments are longer."""
    it = iter(free)

    def longer(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        for dim in next(it):
            x = x.repeat_interleave(2, dim)  # the same values, so that indices stay what they may be
        return x

    args, kwargs = nests.tree_map(longer, (args, kwargs or {}))
    other, _ = _trace(model, args, kwargs, training)
    first, second = list(graph.nodes()), list(other.nodes())
    if [n.kind() for n in first] != [n.kind() for n in second]:
        raise OnnxExporterError("torch.onnx.export: the module calls other operators where a dim that shall be free has another size")
    shapes = {}
    for a, b in zip(first, second, strict=True):
        if a.kind() == "prim::Constant":
            if isinstance(a.output().toIValue(), Tensor) and a.output().type().sizes() != b.output().type().sizes():
                raise OnnxExporterError("torch.onnx.export: a constant of the module depends on the size of a dim that shall be free")
            continue
        for x, y in zip(a.outputs(), b.outputs(), strict=True):
            sizes, others = x.type().sizes(), y.type().sizes()
            if sizes is None or others is None or sizes == others:
                continue
            shapes[a] = [s if s == o else -1 for s, o in zip(sizes, others, strict=True)]
            if shapes[a].count(-1) > 1 and a.kind() in ("aten::view", "aten::reshape", "aten::unflatten"):
                raise OnnxExporterError(f"torch.onnx.export: {a.kind()} to {shapes[a]}, where two sizes are free, is not written")
    return shapes


def _model(writer: Writer, graph: Graph, model: Any, names: Sequence[str], outputs: Sequence[str], axes: Mapping[str, Mapping[int, str]], opset: int) -> Any:
    helper = writer.onnx.helper
    state = {id(t): (name, t) for name, t in model.state_dict(keep_vars=True).items()} if isinstance(model, Module) else {}
    known: dict[Value, Ref] = {}
    inputs = []
    left = iter(names)
    for value in graph.inputs():
        if value.identity in state:
            if value.uses():
                name, tensor = state[value.identity]
                known[value] = _ref(name, value)
                writer.initializers.append(writer.onnx.numpy_helper.from_array(np.array(tensor.detach().numpy()), name))
            continue
        known[value] = _ref(next(left), value)
        inputs.append(_info(helper, known[value], axes.get(known[value], {})))
    for node in graph.nodes():
        _write(writer, node, known)
    (out,) = graph.outputs()
    results = list(out.node().inputs()) if out.node().kind() == "prim::TupleConstruct" else [out]
    infos = []
    for name, value in zip(outputs, results, strict=True):
        writer.results = [known[value]]
        writer.nodes.append(helper.make_node("Identity", [known[value]], [name]))
        infos.append(_info(helper, _ref(name, value), axes.get(name, {i: f"{name}_dim_{i}" for i, s in enumerate(writer.free.get(value.node(), [])) if s == -1})))
    made = helper.make_graph(writer.nodes, "main_graph", inputs, infos, writer.initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], producer_name="flambeau", ir_version=10)


def _info(helper: Any, ref: Ref, free: Mapping[int, str]) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(_numpy(ref.dtype)))
    return helper.make_tensor_value_info(ref, kind, [free.get(i, size) for i, size in enumerate(ref.shape)])


def _write(writer: Writer, node: Node, known: dict[Value, Ref]) -> None:
    kind = node.kind()
    if kind == "prim::Constant":
        value = node.output().toIValue()
        if isinstance(value, Tensor):
            known[node.output()] = writer.constant(np.array(value.numpy()), _name_of(value.dtype))
        return
    if kind.startswith("prim::"):
        return
    writer.node, writer.name = node, kind.partition("::")[2]
    writer.results = [_ref("", value) for value in node.outputs()]
    translate: Callable | None = TRANSLATIONS.get(writer.name)
    given = [_argument(value, known) for value in node.inputs()]
    if node not in writer.free and node._schema is not None and not any(isinstance(x, Ref) for x in nests.tree_leaves(given)):  # of numbers alone
        arguments = list(zip(node._schema.arguments, given, strict=True))
        named = {a.name: x for a, x in arguments if a.kwarg_only}
        made = getattr(flambeau.ops.aten, writer.name)(*[x for a, x in arguments if not a.kwarg_only], **named)
        known[node.output()] = writer.constant(np.array(made.numpy()), writer.result.dtype)
        return
    if translate is None:
        raise UnsupportedOperatorError(f"torch.onnx.export: there is no translation of {kind}, which is called as\n  {node}")
    made = translate(writer, *given)
    for value, name in zip(node.outputs(), made if isinstance(made, tuple) else (made,), strict=True):
        known[value] = _ref(name, value)
