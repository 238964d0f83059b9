"""What translations write nodes with: a :class:`Writer`, and :class:`Ref`, the name of a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from flambeau._C.graph import Node, Value
from flambeau.core import dtypes
from flambeau.onnx.sizes import Size, UnknownSize
from flambeau.tensor.meta import valueless
from flambeau.tensor.record import result_type


class OnnxExporterError(RuntimeError):
    """A module that cannot be written as it is."""


class UnsupportedOperatorError(OnnxExporterError):
    """An operator for which there is no translation."""


class Ref(str):
    """A value of the graph, by its name, with its dtype, and its shape, in which sizes that are free are no numbers."""

    shape: list[Any]
    dtype: str


def named(name: str, shape: Sequence[Any], dtype: str) -> Ref:
    """A name with its shape and dtype."""
    ref = Ref(name)
    ref.shape, ref.dtype = list(shape), dtype
    return ref


def name_of(dtype: Any) -> str:
    """The name of a dtype of tensors."""
    return getattr(dtype, "name", "float32")


def numpy_of(dtype: str) -> Any:
    """NumPy's dtype of that name."""
    if dtype == "bfloat16":
        raise OnnxExporterError("torch.onnx.export: bfloat16 is not written; call model.float() first")
    return np.dtype(dtype)


class Writer:
    """Writes the nodes for one operator after the other; translations see its ``name``, ``results`` and their first, ``result``.

    ``free``      shapes of values that have free sizes, and numbers that depend on them
    ``symbols``   where in the inputs the free sizes are to be read: (input, dim)
    """

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.name = ""
        self.results: list[Ref] = []
        self.free: dict[Value, Any] = {}
        self.symbols: dict[str, tuple[str, int]] = {}
        self.node: Node | None = None
        self._sizes: dict[Size, Ref] = {}

    @property
    def result(self) -> Ref:
        return self.results[0]

    def ref(self, name: str, value: Value) -> Ref:
        """A value of the recorded graph under a name."""
        return named(name, self.free.get(value, value.type().sizes() or []), name_of(value.type().dtype()))

    def op(
        self,
        kind: str,
        *inputs: str,
        outputs: int = 1,
        shape: Sequence[int] | None = None,
        dtype: str | None = None,
        **attributes: Any,
    ) -> Any:
        """A node; the name of its result, or the names of several. They are said to have the shapes and dtypes of the operator's
        results, but for a ``shape`` or ``dtype`` that is given."""
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), names, **attributes))
        made = []
        for name, result in zip(names, [*self.results, *[self.results[0]] * outputs], strict=False):
            made.append(named(name, result.shape if shape is None else shape, dtype or result.dtype))
        return made[0] if outputs == 1 else tuple(made)

    def constant(self, value: Any, dtype: str | None = None) -> Ref:
        """A tensor that is part of the file."""
        array = np.asarray(value, None if dtype is None else numpy_of(dtype))
        name = named(f"c{len(self.initializers)}", array.shape, str(array.dtype))
        self.initializers.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def number(self, value: Any, like: Ref) -> Ref:
        """A number as a tensor of another's dtype; one that is a tensor already is cast."""
        return self.cast(value, like.dtype) if isinstance(value, Ref) else self.constant(value, like.dtype)

    def ints(self, values: Sequence[Any]) -> Ref:
        """Integers as a tensor of one dim; some may be known only when the file is run."""
        if not any(isinstance(v, Ref) for v in values):
            return self.constant(np.array(values, np.int64))
        axis = self.constant(np.array([0], np.int64))
        parts = [
            self.op("Unsqueeze", v, axis, shape=[1], dtype="int64")
            if isinstance(v, Ref)
            else self.constant(np.array([v], np.int64))
            for v in values
        ]
        return self.op("Concat", *parts, axis=0, shape=[len(parts)], dtype="int64")

    def alike(self, x: Any, y: Any, dtype: str | None = None) -> tuple[Any, Any]:
        """Both operands as tensors of one dtype: that of PyTorch's promotion."""
        dtype = dtype or (self.result.dtype if self.result.dtype != "bool" else promoted(x, y))
        return tuple([self.cast(v, dtype) if isinstance(v, Ref) else self.constant(v, dtype) for v in (x, y)])  # type: ignore[return-value]

    def cast(self, x: Ref, dtype: str) -> Ref:
        """``x`` in another dtype."""
        if x.dtype == dtype:
            return x
        return self.op(
            "Cast", x, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(numpy_of(dtype))), shape=x.shape, dtype=dtype
        )

    def size(self, size: Any) -> Any:
        """A size as a number or, where it is free, a 0-dim tensor that is made of the inputs' shapes."""
        if isinstance(size, UnknownSize):
            self.refuse(f"{self.name} needs a size that depends on free ones in a way that is not known")
        if not isinstance(size, Size):
            return size
        if size not in self._sizes:
            parts = []
            for symbol in size.symbols:
                name, dim = self.symbols[symbol]
                shape = self.op("Shape", name, shape=[1], dtype="int64", start=dim, end=dim + 1)
                parts.append(self.op("Squeeze", shape, shape=[], dtype="int64"))
            made = parts[0]
            for kind, other in (
                [("Mul", p) for p in parts[1:]]
                + [("Mul", size.factor)] * (size.factor != 1)
                + [("Add", size.shift)] * (size.shift != 0)
            ):
                made = self.op(
                    kind,
                    made,
                    other if isinstance(other, Ref) else self.constant(np.array(other, np.int64)),
                    shape=[],
                    dtype="int64",
                )
            self._sizes[size] = made
        return self._sizes[size]

    def scalar(self, size: Any) -> Ref:
        """A size as a 0-dim tensor."""
        found = self.size(size)
        return found if isinstance(found, Ref) else self.constant(np.array(found, np.int64))

    def sizes(self) -> list[Any]:
        """The sizes of the result; those that are free as :meth:`size` gives them."""
        return [self.size(s) for s in self.result.shape]

    def to_shape_of_result(self, x: Ref) -> Ref:
        """``x`` with the elements that it has, in the shape of the result."""
        free = [d for d, size in enumerate(self.result.shape) if not isinstance(size, int)]
        if 0 in self.result.shape:
            return self.op("Reshape", x, self.ints(self.sizes()), dtype=x.dtype, allowzero=1)
        sizes = [-1 if [d] == free else self.size(size) for d, size in enumerate(self.result.shape)]
        return self.op("Reshape", x, self.ints(sizes), dtype=x.dtype)

    def reshape(self, x: Ref, sizes: Sequence[Any], shape: Sequence[int] | None = None) -> Ref:
        """``x`` in another shape; 0 stands for the size that it has there, -1 for what is left."""
        return self.op("Reshape", x, self.ints(sizes), shape=shape, dtype=x.dtype)

    def refuse(self, what: str) -> NoReturn:
        """Says that something has no form in ONNX, or none here."""
        raise OnnxExporterError(f"torch.onnx.export: {what}")


def promoted(*operands: Any) -> str:
    """The dtype that an operator computes in, by PyTorch's promotion of tensors and numbers."""
    return result_type(
        *[valueless([1] * len(v.shape), getattr(dtypes, v.dtype)) if isinstance(v, Ref) else v for v in operands]
    ).name
