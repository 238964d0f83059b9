"""The tape: a graph of nodes that know how to turn gradients of results into gradients of inputs.

``edges[i]`` of a node says where the gradient of its i-th input goes: ``(node, output number)``, or ``None``.
"""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau import dispatch
from flambeau.autograd.accumulation import add_all, laid_out_as
from flambeau.autograd.saving import (
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    save_on_cpu,
    saved_tensors_hooks,
)
from flambeau.core import config
from flambeau.core.hooks import RemovableHandle
from flambeau.core.memory_format import strided
from flambeau.dispatch import grad_mode
from flambeau.engine.graph import Node as Value
from flambeau.engine.graph import shared_leaf, trace
from flambeau.engine.run import after_record
from flambeau.tensor.reading import read
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor, make_tensor

if TYPE_CHECKING:
    from flambeau.autograd.entries import Pattern

__all__ = [
    "GradientEdge", "Node", "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version", "register_multi_grad_hook", "save_on_cpu",
    "saved_tensors_hooks",
]  # fmt: skip

_sequence = itertools.count()
_new = object.__new__

next_sequence = _sequence.__next__
"""A number above those of all entries that the tape has, and below those of all that it will get."""


class Node:
    """One entry on the tape (``tensor.grad_fn``).

    ``metas``  shape and dtype of each output, which is what their gradients must have
    """

    tensor_hooks: dict[int, dict] | None = None  # by output number: Tensor.register_hook
    retaining: dict[int, weakref.ref] | None = None  # by output number: the tensor that keeps its gradient
    pre_hooks: OrderedDict | None = None
    post_hooks: OrderedDict | None = None
    namespace = ""  # PyTorch's, of the entries that are not an op's
    hooked = False  # whether any of these has been used
    pattern: Pattern | None = None  # of an op's entry: what it has in common with others
    edges: Sequence
    metas: tuple
    sequence: int

    def __init__(self, edges: Sequence, metas: tuple) -> None:
        self.edges = edges
        self.metas = metas
        self.sequence = next_sequence()

    def apply(self, grads: list) -> tuple:
        """The gradients of the inputs, one for each edge; ``None`` where there is none."""
        raise NotImplementedError

    def release(self) -> None:
        """Lets go of saved values; the node cannot run again."""

    def name(self) -> str:
        return self.namespace + type(self).__name__

    @property
    def shown(self) -> Sequence[int]:
        """Which of the edges, and of the gradients that go there, are seen from outside."""
        return range(len(self.edges))

    @property
    def next_functions(self) -> tuple:
        edges = [self.edges[i] for i in self.shown]
        return tuple(
            [(None, 0) if e is None or e[0].__class__ is AccumulateGrad and not e[0].leads_somewhere() else e for e in edges]
        )

    @property
    def metadata(self) -> dict:
        return self.__dict__.setdefault("_metadata", {})

    def _sequence_nr(self) -> int:
        return self.sequence

    def register_hook(self, hook):
        """Calls ``hook(grad_inputs, grad_outputs)`` after the node has run; a tuple that it returns replaces the first."""
        self.hooked = True
        if self.post_hooks is None:
            self.post_hooks = OrderedDict()
        return RemovableHandle.add(self.post_hooks, hook)

    def register_prehook(self, hook):
        """Calls ``hook(grad_outputs)`` before the node runs; a tuple that it returns replaces them."""
        self.hooked = True
        if self.pre_hooks is None:
            self.pre_hooks = OrderedDict()
        return RemovableHandle.add(self.pre_hooks, hook)

    def __call__(self, *grads):
        if len(grads) != len(self.metas):
            raise TypeError(f"{type(self).__name__} expected {len(self.metas)} arguments, got {len(grads)} instead")
        result = self.apply(list(grads))
        return result[0] if len(result) == 1 else result

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {hex(id(self))}>"


Node.__module__ = "torch.autograd.graph"


def edge_of(t: Tensor) -> tuple | None:
    """Where a gradient of ``t`` goes; ``None`` where it needs none."""
    fn = t.grad_fn
    if fn is not None:
        return (fn, t._output_nr)
    return (accumulator(t), 0) if t._requires_grad or t._base is not None and t._base.requires_grad else None


def move(t: Tensor, node: Node, number: int) -> None:
    """Gives ``t`` another place on the tape, where its gradient is kept from now on if it was."""
    t._grad_fn, t._output_nr, t._layout = node, number, None
    if t.retains_grad:  # type: ignore[attr-defined]
        node.hooked = True
        node.retaining = {**(node.retaining or {}), number: weakref.ref(t)}


# --- leaves --------------------------------------------------------------------------------------------------


def sum_of_gradients(before: Tensor, g: Tensor) -> Tensor:
    """Two gradients added. Of a dense and a sparse one, the sum is dense, and the dense one comes first."""
    return g + before if before.layout is not strided and g.layout is strided else before + g


class AccumulateGrad(Node):
    """The end of the tape: adds the gradient to a leaf's ``.grad``."""

    edges = ()
    namespace = "torch::autograd::"
    variable: Tensor

    def leads_somewhere(self) -> bool:
        """False where the variable is a view that was made under ``no_grad``: what was made of it is on the tape, it is not."""
        return self.variable._requires_grad or self.variable._base is None

    @property
    def tensor_hooks(self) -> dict[int, dict] | None:  # type: ignore[override]  # they stay with the leaf
        return {0: self.variable._hooks} if self.variable._hooks else None

    def apply(self, grads: list) -> tuple:
        variable, g = self.variable, grads[0]
        if g._storage.is_meta:
            if not variable._storage.is_meta:
                g._storage.array()  # raises
            variable._grad = g if variable._grad is None else variable._grad + g
            self._tell()
        elif not grad_mode.enabled:
            accumulate([(self, read(g))])
        elif variable._requires_grad:
            variable._grad = laid_out_as(variable, g.clone()) if variable._grad is None else variable._grad + g
            self._tell()
        return ()

    def is_special(self, g: Tensor) -> bool:
        """Whether a gradient, or what it is added to, is not what ops compute with: sparse, or masked."""
        return hasattr(type(g), "_intercept") or hasattr(type(self.variable._grad), "_intercept")

    def add(self, g: Tensor) -> None:
        """Adds a gradient where one of both is special."""
        variable = self.variable
        if variable._requires_grad:
            before = variable._grad
            if before is None or grad_mode.enabled or before.layout is not g.layout and g.layout is strided:
                variable._grad = g if before is None else sum_of_gradients(before, g)
            else:
                before.add_(g)
            self._tell()

    def _tell(self) -> None:
        hooks = self.variable._post_accumulate_grad_hooks
        if hooks:
            for hook in list(hooks.values()):
                replaced = hook(self.variable)
                if replaced is not None:  # nothing takes its place, but what a hook may return is the same for all hooks
                    check_replacement(hook, self.variable, replaced)


def check_replacement(hook: Callable, g: Tensor | None, replaced: Any) -> Tensor:
    """``replaced``, what ``hook`` has returned for ``g``; an error where it cannot take the place of ``g``."""
    if g is None:
        raise RuntimeError("can't replace a None gradient with a non-None value")
    if not isinstance(replaced, Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(replaced).__name__}'")
    if replaced.shape != g.shape:
        raise RuntimeError(f"hook '{name_of(hook)}' has changed the size of value: from {list(g.shape)} to {list(replaced.shape)}")
    return replaced


def name_of(hook: Callable) -> str:
    """The name of a hook in errors."""
    return getattr(hook, "__name__", type(hook).__name__)


def accumulate(gradients: Sequence[tuple[AccumulateGrad, Value]]) -> None:
    """Adds gradients, given as the nodes of their values, to the leaves' ``.grad``, all at once."""
    wanted = [(leaf.variable, value) for leaf, value in gradients if leaf.variable._requires_grad]  # not those that no longer do
    add_all(wanted)
    if config.eager or len(trace) >= config.max_pending_nodes:
        after_record()
    for leaf, _ in gradients:
        if leaf.variable._post_accumulate_grad_hooks and leaf.variable._requires_grad:
            leaf._tell()


finishing: list[weakref.WeakMethod] = []
"""Methods that are called at the end of each backward pass that adds to ``.grad``, as long as their objects are there."""


def tell_finished() -> None:
    """Calls the methods in ``finishing``, unless the pass is part of another one."""
    if _running.task is not None:
        return
    for ref in list(finishing):
        method = ref()
        if method is None:
            finishing.remove(ref)
        else:
            method()


def accumulator(t: Tensor) -> AccumulateGrad:
    """The node that adds to ``t.grad``. The tape keeps it alive, and it keeps ``t``."""
    ref = t._accumulator
    node = None if ref is None else ref()
    if node is None:
        node = _new(AccumulateGrad)
        node.variable, node.metas, node.sequence = t, (meta_of(t),), next_sequence()
        t._accumulator = weakref.ref(node)
    return node


class Valueless(tuple):
    """Shape and dtype of an output without values, and what that has in place of memory."""

    like: Any


def meta_of(t: Tensor) -> tuple:
    """What a gradient of ``t`` must have: its shape and dtype."""
    if not t._storage.is_meta:
        return t._shape, t._dtype
    meta = Valueless((t._shape, t._dtype))
    meta.like = t._storage
    return meta


def full_of(number: float, meta: tuple) -> Tensor:
    """A gradient full of one number, for an output of this shape and dtype."""
    shape, dtype = meta
    if meta.__class__ is Valueless:
        return dispatch.valueless(shape, dtype, None, meta.like)  # type: ignore[attr-defined]
    return make_tensor(Storage(shared_leaf(number, shape, dtype)), shape, dtype)


def zeros_for(meta: tuple) -> Tensor:
    """A gradient of zeros for an output of this shape and dtype."""
    return full_of(0, meta)


# --- looking at the tape -------------------------------------------------------------------------------------


class GradientEdge(NamedTuple):
    """A place on the tape: one output of a node."""

    node: Node
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The place on the tape where the gradient of ``tensor`` is made."""
    edge = edge_of(tensor)
    if edge is None:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(*edge)


class Task:
    """A backward pass on its way: which nodes it runs, and what hooks keep as long as it lasts."""

    def __init__(self, roots: Sequence[tuple[Node, int]], reached: Mapping[Node, Any]) -> None:
        self.roots, self.nodes = {node for node, _ in roots}, reached
        self.notes: dict[object, dict[int, Tensor]] = {}
        self.callbacks: list[Callable[[], Any]] = []

    def executes(self, node: Node) -> bool:
        return node in self.nodes or node in self.roots

    def __enter__(self) -> Task:
        self.outer, _running.task = _running.task, self
        return self

    def __exit__(self, *exc) -> None:
        try:
            while self.callbacks and exc[0] is None:
                self.callbacks.pop(0)()
        finally:
            _running.task = self.outer


class _Running(threading.local):
    """The innermost backward pass of a thread."""

    task: Task | None = None


_running = _Running()


def current_task() -> Task | None:
    """The backward pass that runs now in this thread, the innermost one."""
    return _running.task


def queue_callback(callback: Callable[[], Any]) -> None:
    """Calls ``callback()`` at the end of the backward pass that runs now.

    Raises:
        RuntimeError: none does.
    """
    if _running.task is None:
        raise RuntimeError("Final callbacks can only be installed during backward pass.")
    _running.task.callbacks.append(callback)


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable, *, mode: str = "all") -> MultiHandle:
    """Calls ``fn(grads)`` in each backward pass once the gradients of ``tensors`` are made, ``fn(grad)`` with the first of them
    under ``mode="any"``. Where a pass makes none for a tensor, ``grads`` has ``None``.

    >>> import flambeau as torch
    >>> a, b, c = [torch.ones(1, requires_grad=True) for _ in range(3)]
    >>> handle = torch.autograd.graph.register_multi_grad_hook((a, b, c), print)
    >>> (a * b).sum().backward()
    [tensor([1.]), tensor([1.]), None]

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.register_multi_grad_hook
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    nodes = [edge[0] for edge in map(edge_of, tensors) if edge is not None]
    key = object()

    def seen(i: int, g: Tensor) -> None:
        task = _running.task
        assert task is not None
        grads = task.notes.setdefault(key, {})
        grads[i] = g
        if mode == "any":
            if len(grads) == 1:
                fn(g)
        elif len(grads) == sum(map(task.executes, nodes)):
            fn([grads.get(j) for j in range(len(tensors))])

    return MultiHandle([t.register_hook(functools.partial(seen, i)) for i, t in enumerate(tensors)])


class MultiHandle:
    """The handles of a hook on several tensors, removed together."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> MultiHandle:
        return self

    def __exit__(self, *exc) -> None:
        self.remove()


dispatch.accumulator = accumulator


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Says that the memory of a tensor, or of several, has been written to by something else than torch.

    >>> import flambeau as torch
    >>> x = torch.ones(2)
    >>> torch.autograd.graph.increment_version(x)
    >>> x._version
    1
    """
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        if not t._storage.is_inference:
            t._storage.version += 1
