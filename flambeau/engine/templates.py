"""A trace without its values: the nodes as a plan sees them."""

from __future__ import annotations

from flambeau.core import dtypes
from flambeau.engine.graph import NO_ATTRS, VIEW, EngineOp, Node
from flambeau.engine.grouping import Ref, Static, is_native
from flambeau.engine.trace import Trace

COPY = EngineOp("copy", lambda x: x, lambda b, x: x)


class Template:
    """A node without its values: what a plan needs to know of it."""

    __slots__ = ("attrs", "compute", "dtype", "inputs", "is_view", "kept", "native", "op", "shape")

    def __init__(self, node: Node, inputs: list) -> None:
        self.op, self.attrs = node.op, node.attrs
        self.shape, self.dtype = node.shape, node.dtype
        self.kept = node.kept
        self.inputs = inputs
        self.is_view = node.op is VIEW
        self.finish()

    def finish(self) -> None:
        self.native = not self.is_view and is_native(self.op, self.inputs, self.attrs, self.shape, self.dtype)
        compute = self.dtype
        if compute is dtypes.bool:  # a comparison computes in the dtype of what it compares
            compute = next((r.dtype for r in self.inputs if isinstance(r, Ref)), compute)
        self.compute = dtypes.float32 if compute in (dtypes.float16, dtypes.bfloat16) else compute

    def materialize(self) -> None:
        """Turns a view into a copy with memory of its own."""
        source = self.inputs[0].source
        self.inputs = [Ref(source, self.attrs["shape"], self.attrs["dtype"], self.attrs["strides"], self.attrs["offset"], True)]
        self.op, self.attrs, self.is_view = COPY, NO_ATTRS, False
        self.finish()


def templates(trace: Trace) -> list[Template]:
    """The trace without its values; views are replaced by how their readers see what they show."""
    slots = {x: ~i for i, x in enumerate(trace.leaves)}
    found: list[Template] = []
    count = 0
    for node in trace.nodes:
        inputs: list = []
        for x in node.inputs:
            if x.__class__ is not Node:
                static = x is not None and node.op.static
                inputs.append(None if x is None else Static(x) if static else count)
                count += x is not None
                continue
            source = x.number if x.op is not None else slots[x]
            if x.op is VIEW and not found[source].is_view:
                inputs.append(Ref(source, x.shape, x.dtype))  # a view that became a copy
            elif x.op is VIEW:
                if node.op is VIEW:
                    found[source].materialize()
                    inputs.append(Ref(source, x.shape, x.dtype))
                else:
                    base, a = found[source].inputs[0].source, found[source].attrs
                    inputs.append(Ref(base, a["shape"], a["dtype"], a["strides"], a["offset"], True))
            else:
                inputs.append(Ref(source, x.shape if x.dtype.__class__ is not tuple else (), x.dtype))
        template = Template(node, inputs)
        if template.is_view and template.kept:
            template.materialize()
        found.append(template)
    return found
