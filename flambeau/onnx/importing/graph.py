"""A graph of ONNX's: nodes that run one after the other, on values by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.onnx.importing.host import HOST, LARGEST
from flambeau.onnx.importing.registry import RULES, OnnxError, dtype_of, to_host, to_tensor

Values = dict[str, Any]
"""Tensors; arrays of NumPy's (see ``host``); lists, which are ONNX's sequences; ``None``, an optional that is not there."""


class Step:
    """A node, read once: which values it takes and makes, and what makes them."""

    def __init__(self, node: Any, opsets: dict[str, int], functions: dict[tuple[str, str], Any]) -> None:
        self.kind, self.domain, self.name = node.op_type, node.domain if node.domain != "ai.onnx" else "", node.name
        self.inputs, self.outputs = list(node.input), list(node.output)
        self.opset = opsets.get(self.domain, 0)
        self.attributes = {a.name: _attribute(a, opsets, functions) for a in node.attribute if not a.ref_attr_name}
        self.references = {a.name: a.ref_attr_name for a in node.attribute if a.ref_attr_name}
        self.function: Function | None = None
        self.control = _CONTROLS.get(self.kind) if not self.domain else None
        self.host = HOST.get(self.kind) if not self.domain else None
        self.rule = RULES.get(self.kind) if not self.domain else None
        defined = functions.get((self.domain, self.kind))
        if defined is not None:
            self.function = Function(defined, functions)
        elif self.rule is None and self.control is None:
            self.function = _as_function(node, self.domain, self.opset, functions)

    def run(self, values: Values, given: dict[str, Any]) -> None:
        """Puts the results into ``values``; ``given``: the attributes of the function that this is a part of."""
        inputs = [values[name] if name else None for name in self.inputs]
        attributes = self.attributes if not self.references else self._with(given)
        try:
            if self.control is not None:
                results = self.control(inputs, attributes, values)
            elif self.host is not None and inputs and all(isinstance(x, np.ndarray) or x is None for x in inputs):
                results = np.asarray(self.host(*inputs, **attributes))
            elif self.function is not None:
                results = self.function(inputs, attributes)
            else:
                assert self.rule is not None
                while inputs and inputs[-1] is None:
                    inputs.pop()
                results = self.rule(inputs, attributes, self.opset, len(self.outputs))
        except Exception as error:
            error.add_note(f"It was raised by the ONNX node {self.name or self.outputs[0]!r}, {self.kind} of opset {self.opset}.")
            raise
        if len(self.outputs) == 1 and not isinstance(results, tuple):
            values[self.outputs[0]] = results
        else:
            for name, result in zip(self.outputs, results):
                if name:
                    values[name] = result

    def _with(self, given: dict[str, Any]) -> dict[str, Any]:
        return self.attributes | {name: given[source] for name, source in self.references.items() if source in given}


class Graph:
    """Nodes in order, with the names of what goes in and out, and the constants.

    A value is forgotten after the last node that reads it, so that its memory can be used again.
    """

    def __init__(self, proto: Any, opsets: dict[str, int], functions: dict[tuple[str, str], Any]) -> None:
        import onnx

        self.inputs = [x.name for x in proto.input]
        self.outputs = [x.name for x in proto.output]
        self.constants: dict[str, np.ndarray] = {t.name: onnx.numpy_helper.to_array(t) for t in proto.initializer}
        for t in proto.sparse_initializer:
            self.constants[t.values.name] = _dense(t)
        self.steps = [Step(node, opsets, functions) for node in proto.node]
        self._last = _last_uses(self.steps, self.outputs)

    def run(self, values: Values, given: dict[str, Any] | None = None) -> list[Any]:
        """The outputs; ``values`` holds the inputs, and what is around where this is a part of another graph."""
        for step, over in zip(self.steps, self._last, strict=True):
            step.run(values, given or {})
            for name in over:
                values.pop(name, None)
        return [values[name] for name in self.outputs]

    def inner(self, values: Values, inputs: Iterable[Any] = ()) -> list[Any]:
        """Runs as the body of a node: it sees what is around it, and leaves nothing behind."""
        return self.run({**values, **{k: held(v) for k, v in self.constants.items()}, **dict(zip(self.inputs, inputs))})

    def operators(self) -> set[str]:
        """The operators in it, those of bodies included, that nothing here can run."""
        missing = set()
        for step in self.steps:
            if step.rule is None and step.control is None and step.function is None:
                missing.add(f"{step.domain}.{step.kind}".lstrip("."))
            for value in step.attributes.values():
                if isinstance(value, Graph):
                    missing |= value.operators()
            if step.function is not None:
                missing |= step.function.operators()
        return missing


class Function:
    """An operator that is made of others: of the file's own, or one that ONNX itself describes so."""

    def __init__(self, proto: Any, functions: dict[tuple[str, str], Any]) -> None:
        opsets = {o.domain if o.domain != "ai.onnx" else "": o.version for o in proto.opset_import}
        self._inputs, self._outputs = list(proto.input), list(proto.output)
        self._steps = [Step(node, opsets, functions) for node in proto.node]
        self._defaults = {a.name: _attribute(a, opsets, functions) for a in proto.attribute_proto}

    def __call__(self, inputs: list[Any], attributes: dict[str, Any]) -> tuple[Any, ...]:
        values: Values = dict(zip(self._inputs, [*inputs, *[None] * len(self._inputs)]))
        for step in self._steps:
            step.run(values, self._defaults | attributes)
        return tuple(values[name] for name in self._outputs)

    def operators(self) -> set[str]:
        return {s.kind for s in self._steps if s.rule is None and s.control is None and s.function is None}


def held(array: np.ndarray) -> Any:
    """A constant: sizes and indices stay here, all else becomes a tensor."""
    return array if array.dtype in (np.int64, np.int32, np.bool_) and array.size <= LARGEST else to_tensor(array)


def _last_uses(steps: list[Step], outputs: list[str]) -> list[list[str]]:
    """For each step the names of its graph that nothing reads any more."""
    made = {name for step in steps for name in step.outputs if name}
    kept = set(outputs)
    over: list[list[str]] = []
    for step in reversed(steps):
        read = {name for name in (*step.inputs, *step.outputs, *_read_inside(step)) if name in made and name not in kept}
        kept |= read
        over.append(sorted(read))
    return over[::-1]


def _read_inside(step: Step) -> Iterable[str]:
    for value in step.attributes.values():
        if isinstance(value, Graph):
            yield from value.outputs
            for inner in value.steps:
                yield from inner.inputs
                yield from _read_inside(inner)


def _attribute(attribute: Any, opsets: dict[str, int], functions: dict[tuple[str, str], Any]) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, onnx.GraphProto):
        return Graph(value, opsets, functions)
    if isinstance(value, onnx.SparseTensorProto):
        return _dense(value)
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [one.decode() for one in value]
    return value if isinstance(value, (int, float, onnx.TypeProto)) else list(value)


def _dense(sparse: Any) -> np.ndarray:
    import onnx

    values, indices = onnx.numpy_helper.to_array(sparse.values), onnx.numpy_helper.to_array(sparse.indices)
    array = np.zeros(tuple(sparse.dims), values.dtype)
    array[tuple(indices.T) if indices.ndim == 2 else np.unravel_index(indices, array.shape)] = values
    return array


def _as_function(node: Any, domain: str, opset: int, functions: dict[tuple[str, str], Any]) -> Function | None:
    """The operator as ONNX describes it by others, if it does."""
    import onnx

    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opset, domain)  # its stubs lack what describes it by others
    except onnx.defs.SchemaError:
        return None
    if not schema.has_function:
        return None
    body = schema.function_body
    made = Function(body, functions)
    made._defaults |= {
        name: _attribute(a.default_value, {}, functions) for name, a in schema.attributes.items() if a.default_value.name
    }
    return made


# --- operators that hold graphs ---------------------------------------------------------------------------------


def _if(inputs: list[Any], attributes: dict[str, Any], values: Values) -> tuple[Any, ...]:
    branch = attributes["then_branch" if bool(to_host(inputs[0]).reshape(())) else "else_branch"]
    return tuple(branch.inner(values))


def _loop(inputs: list[Any], attributes: dict[str, Any], values: Values) -> tuple[Any, ...]:
    count, going, *carried = [*inputs, None, None][: max(2, len(inputs))]
    body: Graph = attributes["body"]
    rounds = None if count is None else int(to_host(count).reshape(()))
    here = True if going is None else bool(to_host(going).reshape(()))
    collected: list[list[Any]] = [[] for _ in body.outputs[1 + len(carried) :]]
    i = 0
    while here and (rounds is None or i < rounds):
        going, *results = body.inner(values, [np.array(i), np.array(True), *carried])
        carried, scanned = results[: len(carried)], results[len(carried) :]
        for kept, one in zip(collected, scanned, strict=True):
            kept.append(to_tensor(one))
        here = bool(to_host(going).reshape(()))
        i += 1
    return (*carried, *(torch.stack(kept) if kept else torch.empty(0) for kept in collected))


def _scan(inputs: list[Any], attributes: dict[str, Any], values: Values) -> tuple[Any, ...]:
    body: Graph = attributes["body"]
    n = attributes["num_scan_inputs"]
    state, scanned = list(inputs[: len(inputs) - n]), [to_tensor(x) for x in inputs[len(inputs) - n :]]
    m = len(body.outputs) - len(state)

    def setting(name: str, count: int) -> list[int]:
        return list(attributes.get(name) or [0] * count)

    axes, back = setting("scan_input_axes", n), setting("scan_input_directions", n)
    columns = [x.unbind(axis)[:: -1 if reverse else 1] for x, axis, reverse in zip(scanned, axes, back, strict=True)]
    collected: list[list[Any]] = [[] for _ in range(m)]
    for row in zip(*columns, strict=True):
        results = body.inner(values, [*state, *row])
        state = results[: len(state)]
        for kept, one in zip(collected, results[len(state) :], strict=True):
            kept.append(to_tensor(one))
    out_axes, out_back = setting("scan_output_axes", m), setting("scan_output_directions", m)
    return (
        *state,
        *(torch.stack(kept[::-1] if b else kept, axis) for kept, axis, b in zip(collected, out_axes, out_back, strict=True)),
    )


def _sequence_map(inputs: list[Any], attributes: dict[str, Any], values: Values) -> tuple[Any, ...]:
    body: Graph = attributes["body"]
    rows = [body.inner(values, [x[i] if isinstance(x, list) else x for x in inputs]) for i in range(len(inputs[0]))]
    return tuple(list(column) for column in zip(*rows)) or tuple([] for _ in body.outputs)


def _constant(inputs: list[Any], attributes: dict[str, Any], values: Values) -> Any:
    ((name, value),) = attributes.items()
    if name in ("value", "sparse_value"):
        return held(value)
    if name in ("value_int", "value_ints"):
        return held(np.array(value, np.int64))
    if name in ("value_float", "value_floats"):
        return to_tensor(np.array(value, np.float32))
    raise OnnxError(f"constants of strings ({name}) are not supported")


def _cast_here(inputs: list[Any], attributes: dict[str, Any], values: Values) -> Any:
    x, kind = inputs[0], dtype_of(attributes["to"])
    if isinstance(x, np.ndarray) and kind in (torch.int64, torch.int32, torch.bool):
        return x.astype(kind.np)
    return RULES["Cast"]([x], attributes, 0, 1)


_CONTROLS = {"If": _if, "Loop": _loop, "Scan": _scan, "SequenceMap": _sequence_map, "Constant": _constant, "Cast": _cast_here}
