"""``torch.onnx.export``: what a module computes as a file of ONNX's, by the package ``onnx``.

The module runs once, in evaluation mode unless ``training`` says otherwise; the graph of its operators
(:mod:`flambeau.onnx.tracing`) is written with the nodes of :mod:`flambeau.onnx.translations`. Where dims are to be free
(``dynamic_axes``, ``dynamic_shapes``) it runs again with other sizes there, and shapes and numbers that differ then are computed
of the inputs' shapes (:mod:`flambeau.onnx.freedom`). What cannot be said so is refused: no file computes something else than the
module.

Source: https://docs.pytorch.org/docs/stable/onnx.html
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flambeau._C.graph import Node, Value
from flambeau.autograd import no_grad
from flambeau.core import nests
from flambeau.export import Dim, ExportedProgram
from flambeau.export.dims import places
from flambeau.export.unknown import names_of_arguments
from flambeau.nn.modules.module import Module
from flambeau.onnx.freedom import Call, free_values
from flambeau.onnx.sizes import Size
from flambeau.onnx.tracing import Listener, evaluation, tensors_of, trace
from flambeau.onnx.translations import TRANSLATIONS
from flambeau.onnx.writer import OnnxExporterError, Ref, UnsupportedOperatorError, Writer, name_of, numpy_of
from flambeau.tensor import Tensor
from flambeau.tensor.exchange import from_numpy

__all__ = ["ONNXProgram", "OnnxExporterError", "UnsupportedOperatorError", "export"]

OPSET = 18
_SETTINGS = frozenset(
    "artifacts_dir autograd_inlining custom_opsets custom_translation_table dump_exported_program export_modules_as_functions fallback operator_export_type "
    "optimize profile report".split()
)
"""What PyTorch's exporters take besides, which changes no file here."""


def _argument(value: Value, names: Mapping[Value, Ref], writer: Writer) -> Any:
    """What a translation gets for an argument of an operator."""
    if value in names:
        return names[value]
    if value in writer.free:
        return writer.size(writer.free[value])
    node = value.node()
    if node.kind() == "prim::ListConstruct":
        return [_argument(v, names, writer) for v in node.inputs()]
    return value.toIValue()


class ONNXProgram:
    """A module as ONNX's model: ``model_proto``, which :meth:`save` writes; called, it computes by onnxruntime, or by ONNX's
    reference implementation."""

    def __init__(self, model_proto: Any) -> None:
        self.model_proto = model_proto

    def save(self, destination: str | os.PathLike, **settings: Any) -> None:
        """Writes it to a file."""
        with open(destination, "wb") as file:
            file.write(self.model_proto.SerializeToString())

    def __call__(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """Its results for some arguments."""
        return [from_numpy(out) for out in self._computed(tensors_of((args, kwargs)))]

    def verify(self, model: Callable, args: tuple, kwargs: dict[str, Any], training: Any = None) -> None:
        """Compares its results for some arguments with those of the module.

        Raises :class:`OnnxExporterError` where they differ by more than rounding.
        """
        with evaluation(model, training), no_grad():
            wanted = [t.numpy() for t in tensors_of(model(*args, **kwargs))]
        for k, (a, b) in enumerate(zip(self._computed(tensors_of((args, kwargs))), wanted, strict=True)):
            if (
                a.shape != b.shape
                or a.dtype != b.dtype
                or not np.allclose(a, b, rtol=1e-3, atol=1e-4 * max(1.0, np.abs(b).max(initial=0.0)), equal_nan=True)
            ):
                raise OnnxExporterError(
                    f"torch.onnx.export: result {k} of the file, {a.dtype} {a.shape}, is not the module's, {b.dtype} {b.shape}"
                )

    def _computed(self, tensors: Sequence[Tensor]) -> list[np.ndarray]:
        feeds = {i.name: t.detach().numpy() for i, t in zip(self.model_proto.graph.input, tensors, strict=True)}
        if importlib.util.find_spec("onnxruntime"):
            import onnxruntime

            session = onnxruntime.InferenceSession(self.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
            return session.run(None, feeds)
        from onnx.reference import ReferenceEvaluator

        return [np.array(out) for out in ReferenceEvaluator(self.model_proto).run(None, feeds)]

    def __repr__(self) -> str:
        return f"ONNXProgram({len(self.model_proto.graph.node)} nodes)"


def export(
    model: Any, args: Any = (), f: Any = None, *, kwargs: dict[str, Any] | None = None, verbose: bool | None = None, input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None, opset_version: int | None = None, dynamo: bool = True, external_data: bool = True, dynamic_shapes: Any = None,
    dynamic_axes: Mapping[str, Any] | None = None, export_params: bool = True, keep_initializers_as_inputs: bool = False, training: Any = None,
    do_constant_folding: bool = True, verify: bool = False, **settings: Any,
) -> ONNXProgram | None:  # fmt: skip
    """Writes what a module computes for arguments like ``args`` to ``f``, a path or an open file; without one it gives an
    :class:`ONNXProgram`.

    Args:
        model: a module, a function of tensors, or a program of ``torch.export``, which brings arguments, names and free dims.
        input_names, output_names: the names of the file's inputs, its tensors among ``args`` and ``kwargs``, and of its outputs.
        dynamic_axes: which of their dims are free: name -> dims, or dims with names.
        dynamic_shapes: the same for ``torch.export``'s ``Dim``; dims with one name have one size.
        opset_version: 18, or a later one.
        verify: whether the file is run on the arguments, by onnxruntime if it is there, and its results compared with the module's.

    >>> import flambeau as torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU()).eval()
    >>> program = torch.onnx.export(net, (torch.ones(1, 4),), dynamic_axes={"input_0": [0]})  # doctest: +SKIP
    >>> program.save("net.onnx")                                                             # doctest: +SKIP

    Raises:
        ImportError: the package ``onnx`` is not installed.
        UnsupportedOperatorError: there is no translation of an operator.
        OnnxExporterError: something of the module has no form in ONNX, it looks at values or draws random numbers, or, if it was
            to be verified, the file computes something else.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError("torch.onnx.export writes files by the package onnx: pip install onnx") from None
    args = args if isinstance(args, tuple) else (args,)
    free: dict[str, dict[int, Size]] | None = None
    bounds = {d.__name__: (d.min, d.max) for d in nests.tree_leaves(dynamic_shapes) if isinstance(d, Dim)}
    if isinstance(model, ExportedProgram):
        recipe = model._recipe
        leaves = [name for name in recipe.leaves if name in recipe.fixed]
        input_names = input_names or leaves
        if dynamic_axes is None and dynamic_shapes is None:
            free = {new: dims for new, name in zip(input_names, leaves) if (dims := _free_sizes(recipe.fixed[name]))}
            bounds = dict(recipe.bounds)
        if not args and not kwargs and model.example_inputs is not None:
            args, kwargs = model.example_inputs
        model = model.module()
    if opset_version is not None and opset_version < OPSET:
        raise ValueError(f"torch.onnx.export writes operators of opset {OPSET} or later, got opset_version={opset_version}")
    if unknown := settings.keys() - _SETTINGS:
        raise TypeError(f"export() got an unexpected keyword argument {min(unknown)!r}")
    if settings.get("custom_opsets") or settings.get("custom_translation_table"):
        raise NotImplementedError("torch.onnx.export: custom operators are not written")
    traced, out = trace(model, args, kwargs, training)
    names = _names("input", input_names, len(tensors_of((args, kwargs or {}))))
    outputs = _names("output", output_names, len(tensors_of(out)))
    if dynamic_shapes is not None and dynamic_axes is None:
        free = _free_of_shapes(dynamic_shapes, model, args, kwargs or {}, names)
    if free is not None:
        dynamic_axes = {name: {d: _text(size) for d, size in dims.items()} for name, dims in free.items()}
    axes = _axes(dynamic_axes, [*names, *outputs])
    writer = Writer(onnx)
    if free is None:
        free = {name: {d: Size(1, (symbol,), 0) for d, symbol in axes[name].items()} for name in names if axes.get(name)}
    if free:
        call = Call(model, args, kwargs or {}, training)
        writer.symbols, writer.free = free_values(traced.graph, call, names, free, bounds)
    program = ONNXProgram(_model(writer, traced, model, names, outputs, axes, opset_version or OPSET))
    if verbose:
        print(onnx.printer.to_text(program.model_proto))
    if verify:
        program.verify(model, args, kwargs or {}, training)
    if f is None:
        return program
    if hasattr(f, "write"):
        f.write(program.model_proto.SerializeToString())
    else:
        program.save(f)
    return program if dynamo else None


def _free_sizes(sizes: Sequence[Any]) -> dict[int, Size]:
    """The free dims of an argument of an exported program, of which a size is a number or (symbol, factor, shift)."""
    return {d: Size(n[1], (n[0],), n[2]) for d, n in enumerate(sizes) if not isinstance(n, int)}


def _text(size: Size) -> str:
    """The name of a dim."""
    factor = f"{size.factor}*" * (size.factor != 1)
    return f"{factor}{size.symbols[0]}{f' + {size.shift}' * (size.shift > 0)}{f' - {-size.shift}' * (size.shift < 0)}"


def _names(kind: str, given: Sequence[str] | None, n: int) -> list[str]:
    given = list(given or ())
    return [*given[:n], *[f"{kind}_{i}" for i in range(len(given), n)]]


def _free_of_shapes(
    shapes: Any, model: Any, args: tuple, kwargs: dict[str, Any], names: Sequence[str]
) -> dict[str, dict[int, Size]]:
    """Which dims of the inputs ``dynamic_shapes`` says are free."""
    leaves = nests.tree_leaves((args, kwargs))
    dims = [
        d
        for d, x in zip(places(names_of_arguments(model, args, kwargs), args, kwargs, shapes), leaves, strict=True)
        if isinstance(x, Tensor)
    ]

    def size(what: Any, own: str) -> Size:
        if isinstance(what, Dim):
            return Size(what.factor, (what.__name__,), what.shift)
        return Size(1, (what if isinstance(what, str) else own,), 0)

    return {
        name: {d: size(what, f"{name}_dim_{d}") for d, what in free.items()} for name, free in zip(names, dims, strict=True) if free
    }


def _axes(given: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, dict[int, str]]:
    """Of each input and output, which dims are free, and what they are called."""
    found = {}
    for name, dims in (given or {}).items():
        if name not in names:
            raise ValueError(f"dynamic_axes: there is no input or output {name!r} among {list(names)}")
        found[name] = dict(dims) if isinstance(dims, Mapping) else {d: f"{name}_dim_{d}" for d in dims}
    return found


def _model(
    writer: Writer,
    traced: Listener,
    model: Any,
    names: Sequence[str],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
    opset: int,
) -> Any:
    helper, graph = writer.onnx.helper, traced.graph
    state = {id(t): (name, t) for name, t in model.state_dict(keep_vars=True).items()} if isinstance(model, Module) else {}
    known: dict[Value, Ref] = {}
    inputs = []
    left = iter(names)
    for value in graph.inputs():
        if value.identity in state:
            if value.uses():
                name, tensor = state[value.identity]
                known[value] = writer.ref(name, value)
                writer.initializers.append(writer.onnx.numpy_helper.from_array(np.array(tensor.detach().numpy()), name))
            continue
        known[value] = writer.ref(next(left), value)
        inputs.append(_info(helper, known[value], axes.get(known[value], {})))
    for node in graph.nodes():
        _write(writer, node, known, traced)
    (out,) = graph.outputs()
    results = list(out.node().inputs()) if out.node().kind() == "prim::TupleConstruct" else [out]
    infos = []
    for name, value in zip(outputs, results, strict=True):
        writer.results = [known[value]]
        writer.nodes.append(helper.make_node("Identity", [known[value]], [name]))
        infos.append(_info(helper, writer.ref(name, value), axes.get(name, {})))
    made = helper.make_graph(writer.nodes, "main_graph", inputs, infos, writer.initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], producer_name="flambeau", ir_version=10)


def _info(helper: Any, ref: Ref, free: Mapping[int, str]) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(numpy_of(ref.dtype)))
    return helper.make_tensor_value_info(
        ref, kind, [free.get(i, size if isinstance(size, int) else f"{ref}_dim_{i}") for i, size in enumerate(ref.shape)]
    )


def _write(writer: Writer, node: Node, known: dict[Value, Ref], traced: Listener) -> None:
    kind = node.kind()
    if kind == "prim::Constant":
        value = node.output().toIValue()
        if isinstance(value, Tensor):
            known[node.output()] = writer.constant(np.array(value.numpy()), name_of(value.dtype))
        return
    if kind.startswith("prim::"):
        return
    writer.node, writer.name = node, kind.partition("::")[2]
    writer.results = [writer.ref("", value) for value in node.outputs()]
    given = [_argument(value, known, writer) for value in node.inputs()]
    if not any(isinstance(x, Ref) for x in nests.tree_leaves(given)):  # of numbers alone
        for value in node.outputs():
            made = traced.tensors[value].detach()
            known[value] = writer.constant(np.array(made.numpy()), name_of(made.dtype))
        return
    translate: Callable | None = TRANSLATIONS.get(writer.name)
    if translate is None:
        raise UnsupportedOperatorError(f"torch.onnx.export: there is no translation of {kind}, which is called as\n  {node}")
    try:
        made = translate(writer, *given)
    except TypeError as error:
        if not writer.symbols or "Size" not in str(error) and "Ref" not in str(error):
            raise
        raise OnnxExporterError(
            f"torch.onnx.export: {kind} depends on a size that shall be free in a way that is not written ({error})"
        ) from error
    for value, name in zip(node.outputs(), made if isinstance(made, tuple) else (made,), strict=True):
        known[value] = writer.ref(name, value)
