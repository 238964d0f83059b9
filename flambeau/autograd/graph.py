"""The tape: a graph of nodes that know how to turn gradients of results into gradients of inputs.

``edges[i]`` of a node says where the gradient of its i-th input goes: ``(node, output number)``, or ``None``.
"""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.size import Size, contiguous_strides
from flambeau.dispatch import grad_mode
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor, make_tensor, read

_sequence = itertools.count()
_new = object.__new__


class Node:
    """One entry on the tape (``tensor.grad_fn``).

    ``metas``  shape and dtype of each output, which is what their gradients must have
    """

    __slots__ = ("__dict__", "__weakref__", "edges", "metas", "post_hooks", "pre_hooks", "sequence", "tensor_hooks")

    def __init__(self, edges: tuple, metas: tuple) -> None:
        self.edges = edges
        self.metas = metas
        self.sequence = next(_sequence)
        self.tensor_hooks: dict[int, OrderedDict] | None = None  # by output number: Tensor.register_hook
        self.pre_hooks: OrderedDict | None = None
        self.post_hooks: OrderedDict | None = None

    def apply(self, grads: list) -> tuple:
        """The gradients of the inputs, one for each edge; ``None`` where there is none."""
        raise NotImplementedError

    def release(self) -> None:
        """Lets go of saved values; the node cannot run again."""

    def name(self) -> str:
        return type(self).__name__

    @property
    def next_functions(self) -> tuple:
        return tuple((None, 0) if e is None else e for e in self.edges)

    @property
    def metadata(self) -> dict:
        return self.__dict__.setdefault("_metadata", {})

    def _sequence_nr(self) -> int:
        return self.sequence

    def register_hook(self, hook):
        """Calls ``hook(grad_inputs, grad_outputs)`` after the node has run; a tuple that it returns replaces the first."""
        if self.post_hooks is None:
            self.post_hooks = OrderedDict()
        return RemovableHandle.add(self.post_hooks, hook)

    def register_prehook(self, hook):
        """Calls ``hook(grad_outputs)`` before the node runs; a tuple that it returns replaces them."""
        if self.pre_hooks is None:
            self.pre_hooks = OrderedDict()
        return RemovableHandle.add(self.pre_hooks, hook)

    def __call__(self, *grads):
        result = self.apply(list(grads))
        return result[0] if len(result) == 1 else result

    def __repr__(self) -> str:
        return f"<{self.name()} object at {hex(id(self))}>"


Node.__module__ = "torch.autograd.graph"


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away again; also a context manager."""

    _ids = itertools.count()

    def __init__(self, hooks_dict, *, extra_dict=None) -> None:
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.id = next(RemovableHandle._ids)
        extras = extra_dict if isinstance(extra_dict, list) else [extra_dict] if extra_dict is not None else []
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extras)

    @staticmethod
    def add(hooks: OrderedDict, hook) -> RemovableHandle:
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle

    def remove(self) -> None:
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = ref()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc) -> None:
        self.remove()


# --- saved values --------------------------------------------------------------------------------------------


class Saved:
    """A tensor's value at the time it was saved, whatever is written into the tensor later.

    ``index`` is the input's, or ``-1 - index`` for an output of the node that saves it.
    """

    __slots__ = ("index", "node", "packed", "shape", "tensor")

    def __init__(self, tensor: Tensor, index: int) -> None:
        storage = tensor._storage
        if storage.exposed and storage.is_shared():
            node = read(tensor)
            keep = make_tensor(Storage(node), tensor._shape, tensor._dtype)
            keep._grad_fn, keep._output_nr, keep._requires_grad = tensor._grad_fn, tensor._output_nr, tensor._requires_grad
            tensor = keep
        self.tensor = tensor
        self.node = tensor._storage.node
        self.shape = tensor._shape
        self.index = index

    def unpack(self, owner: Node) -> Tensor:
        t = self.tensor
        index = self.index
        same = t._storage.node is self.node and t._shape is self.shape
        if index < 0:
            out = t._alias() if same else self._restore(t)
            out._grad_fn, out._output_nr = owner, -1 - index
            return out
        edge = owner.edges[index]
        if same and (t._grad_fn is None if edge is None else t._requires_grad or t._grad_fn is edge[0]):
            return t
        out = t._alias() if same else self._restore(t)
        out._base = None
        out._requires_grad = False
        out._grad_fn, out._output_nr = edge or (None, 0)
        return out

    def _restore(self, t: Tensor) -> Tensor:
        """The saved value, after its tensor has been written to or has got other memory."""
        out = make_tensor(Storage(self.node), self.shape, self.node.dtype)
        if t._shape is self.shape:
            out._strides, out._offset, out._dtype = t._strides, t._offset, t._dtype
        elif self.node.shape != self.shape:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"a tensor of shape {list(self.shape)} was resized or given other data after it was used"
            )
        return out


# --- nodes of ops --------------------------------------------------------------------------------------------


class Rule:
    """How the gradient of one input is made: the function, and for each of its arguments where its value comes from."""

    __slots__ = ("captures", "function", "names")

    def __init__(self, op, function) -> None:
        code = function.__code__
        self.function = function
        self.names = code.co_varnames[: code.co_argcount]
        self.captures = [(name, *_source(op, name)) for name in self.names if name not in ("g", "gs", "needs")]


def _source(op, name: str) -> tuple[str, int]:
    plain = [t.lstrip("*") for t in op.tensors]
    if name in plain:
        i = plain.index(name)
        return ("inputs" if op.tensors[i].startswith("*") else "input", i)
    if name == "out":
        return ("output", 0)
    if name in op.outputs:
        return ("output", op.outputs.index(name))
    for suffix in ("_shape", "_dtype"):
        if name.endswith(suffix) and name[: -len(suffix)] in plain:
            return (suffix[1:], plain.index(name[: -len(suffix)]))
    return ("attr", 0)


class OpBackward(Node):
    """The tape's entry for one op; each op has a subclass of its own, named as PyTorch names it."""

    __slots__ = ("needs", "saved")
    op = None

    def apply(self, grads: list) -> tuple:
        saved = self.saved
        if saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have "
                "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
                "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or "
                "if you need to access saved tensors after calling backward."
            )
        first = grads[0]
        values = {"g": zeros_for(self.metas[0]) if first is None else first, "gs": grads, "needs": self.needs}
        for name, value in saved.items():
            if value.__class__ is Saved:
                value = value.unpack(self)
            elif value.__class__ is list:
                value = tuple([v.unpack(self) if v.__class__ is Saved else v for v in value])
            values[name] = value
        rules = self.op.rules
        joint = rules.get("*")
        if joint is not None:
            return tuple(joint.function(*[values[n] for n in joint.names]))
        return tuple(
            [
                None if edge is None or (rule := rules.get(i)) is None else rule.function(*[values[n] for n in rule.names])
                for i, edge in enumerate(self.edges)
            ]
        )

    def release(self) -> None:
        self.saved = None


def _prepare(op) -> dict:
    """The rules of ``op``, by input number or ``"*"``, and its class of node."""
    plain = [t.lstrip("*") for t in op.tensors]
    op.node_type = type(op.backward_name, (OpBackward,), {"__slots__": (), "op": op, "__module__": "torch.autograd.graph"})
    op.rules = {"*" if k == "*" else plain.index(k): Rule(op, f) for k, f in op.grads.items()}
    return op.rules


def attach(op, results, inputs: tuple, attrs: dict) -> None:
    """Puts ``results = op(*inputs)`` on the tape, where an input needs a gradient."""
    edges = []
    wanted = False
    for x in inputs:
        edge = None
        if isinstance(x, Tensor):
            if x._grad_fn is not None and x._base is None:
                edge = (x._grad_fn, x._output_nr)
                wanted = True
            elif (edge := edge_of(x)) is not None:
                wanted = True
        edges.append(edge)
    if not wanted:
        return
    rules = op.rules or _prepare(op)
    joint = rules.get("*")
    if joint is not None:
        active = (joint,)
    else:
        active = [rule for i, rule in rules.items() if i < len(edges) and edges[i] is not None]
        if not active:
            return
    if op.outputs and not results:
        return
    first = results[0] if op.outputs else results
    if not op.outputs and first._dtype.kind < dtypes.FLOATING:
        return
    node = op.node_type.__new__(op.node_type)
    saved: dict = {}
    for rule in active:
        for name, source, i in rule.captures:
            if name in saved:
                continue
            if source == "input":
                x = inputs[i] if i < len(inputs) else None
                saved[name] = Saved(x, i) if isinstance(x, Tensor) else x
            elif source == "attr":
                saved[name] = attrs[name]
            elif source == "shape":
                x = inputs[i] if i < len(inputs) else None
                saved[name] = x._shape if isinstance(x, Tensor) else None
            elif source == "dtype":
                x = inputs[i] if i < len(inputs) else None
                saved[name] = x._dtype if isinstance(x, Tensor) else None
            elif source == "output":
                result = results[i] if op.outputs else results
                saved[name] = Saved(result.detach(), -1 - i)
            else:
                saved[name] = [Saved(x, j) if isinstance(x, Tensor) else x for j, x in enumerate(inputs) if j >= i]
    node.saved = saved
    node.edges = edges
    node.needs = tuple([e is not None for e in edges])
    node.sequence = next(_sequence)
    node.tensor_hooks = node.pre_hooks = node.post_hooks = None
    if op.outputs:
        node.metas = tuple([(r._shape, r._dtype) for r in results])
        for i, r in enumerate(results):
            if r._dtype.kind >= dtypes.FLOATING and not (op.nondifferentiable and op.outputs[i] in op.nondifferentiable):
                r._grad_fn, r._output_nr = node, i
    else:
        node.metas = ((first._shape, first._dtype),)
        first._grad_fn = node


def edge_of(t: Tensor) -> tuple | None:
    """Where a gradient of ``t`` goes; ``None`` where it needs none."""
    fn = t.grad_fn
    if fn is not None:
        return (fn, t._output_nr)
    return (accumulator(t), 0) if t._requires_grad else None


# --- leaves --------------------------------------------------------------------------------------------------


class AccumulateGrad(Node):
    """The end of the tape: adds the gradient to a leaf's ``.grad``."""

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor) -> None:
        super().__init__((), ((variable._shape, variable._dtype),))
        self.variable = variable

    def apply(self, grads: list) -> tuple:
        variable, g = self.variable, grads[0]
        for hook in list((variable._hooks or {}).values()):
            replaced = hook(g)
            if replaced is not None:
                g = replaced
        if variable._grad is None:
            if grad_mode.enabled:
                variable._grad = g.clone()
            else:  # shares the value, not the memory: a storage copies when somebody else's memory holds it
                variable._grad = make_tensor(Storage(read(g)), g._shape, g._dtype)
        elif grad_mode.enabled:
            variable._grad = variable._grad + g
        else:
            variable._grad.add_(g)
        for hook in list(variable.__dict__.get("_post_accumulate_grad_hooks", {}).values()):
            hook(variable)
        return ()


def accumulator(t: Tensor) -> AccumulateGrad:
    """The node that adds to ``t.grad``. The tape keeps it alive, and it keeps ``t``."""
    node = t._accumulator and t._accumulator()
    if node is None:
        node = AccumulateGrad(t)
        t._accumulator = weakref.ref(node)
    return node


# --- in-place writes -----------------------------------------------------------------------------------------


class ZeroBackward0(Node):
    """The result of an in-place op that does not depend on any input that needs a gradient."""

    __slots__ = ()

    def apply(self, grads: list) -> tuple:
        return ()


class CopySlices(Node):
    """A write into a view, seen from its base: the base's gradient less the slice, and the slice's for what was written."""

    __slots__ = ("base_geometry", "view_geometry")

    def apply(self, grads: list) -> tuple:
        base = _laid_out(grads[0], *self.base_geometry)
        shape, strides, offset = self.view_geometry
        written = base.as_strided(shape, strides, offset).clone()
        if self.edges[0] is None:
            return None, written
        base.as_strided(shape, strides, offset).zero_()
        return base, written


class AsStridedBackward0(Node):
    """A view of a base that has been written to since the view was made."""

    __slots__ = ("base_geometry", "view_geometry")

    def apply(self, grads: list) -> tuple:
        base = _laid_out(grads[0].new_zeros(self.base_geometry[0]), *self.base_geometry)
        shape, strides, offset = self.view_geometry
        base.as_strided(shape, strides, offset).add_(grads[0])
        return (base,)


def _geometry(t: Tensor) -> tuple:
    return t._shape, t.stride(), t._offset


def _laid_out(g: Tensor, shape: Size, strides: tuple, offset: int) -> Tensor:
    """A copy of ``g`` whose strides and offset are the given ones."""
    if strides == contiguous_strides(shape) and offset == 0:
        return g.clone().contiguous()
    extent = offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    out = g.new_zeros(extent).as_strided(shape, strides, offset)
    out.copy_(g)
    return out


def rebase(input: Tensor, result: Tensor) -> None:
    """Moves ``input`` to ``result``'s place on the tape, which is about to be written into it."""
    base = input._base
    if input._requires_grad and input.grad_fn is None:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation. Write to it under "
            "torch.no_grad(), or make a new tensor instead (w = w - ... instead of w -= ...)."
        )
    if base is not None and base._requires_grad:
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place operation. Write to it under "
            "torch.no_grad(), or work on a clone()."
        )
    edge = edge_of(result)
    if base is not None:
        if edge is None and not base.requires_grad:
            return
        node: Node = CopySlices((edge_of(base), edge), ((base._shape, base._dtype),))
        node.base_geometry, node.view_geometry = _geometry(base), _geometry(input)  # type: ignore[attr-defined]
        base._grad_fn, base._output_nr = node, 0
    elif edge is not None:
        input._grad_fn, input._output_nr = edge
    elif input._grad_fn is not None:
        input._grad_fn, input._output_nr = ZeroBackward0((), ((input._shape, input._dtype),)), 0
    else:
        return
    input._storage.history += 1


def regenerate(view: Tensor) -> None:
    """Brings a view's place on the tape up to date after its base has been written to."""
    base = view._base
    view._history = view._storage.history
    edge = edge_of(base) if base is not None else None
    if edge is None:
        view._grad_fn = None
        return
    node = AsStridedBackward0((edge,), ((view._shape, view._dtype),))
    node.base_geometry, node.view_geometry = _geometry(base), _geometry(view)  # type: ignore[arg-type]
    view._grad_fn, view._output_nr = node, 0


def zeros_for(meta: tuple) -> Tensor:
    """A gradient of zeros for an output of this shape and dtype."""
    shape, dtype = meta
    return dispatch.wrap(np.zeros(shape, dtype.np), dtype)


dispatch.attach = attach
dispatch.accumulator = accumulator
dispatch.rebase = rebase
dispatch.regenerate = regenerate
