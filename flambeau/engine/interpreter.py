"""The interpreter: the NumPy meaning of a trace. The reference for every other tier, and the first tier.

Whether somebody can still see a node's result is read off CPython's reference counts: a node that only the trace
and its consumers in the trace refer to is an intermediate, and one without consumers is dead and never computed.
"""

from __future__ import annotations

import sys
from collections.abc import Collection

import numpy as np

from flambeau.core.dtypes import bfloat16, cast, complex32, float16, widened
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.errors import fresh, is_passing, out_of_memory
from flambeau.engine import graph
from flambeau.engine.graph import NO_ATTRS, PROJECT, VIEW, WRITE, WRITE_CHANGED, Node, strided


class Failed:
    """The value of a node that could not be computed; whoever reads it gets the error again."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def again(self) -> Exception:
        """The error, once more; that of before knows the frames that it went through, and so all tensors in them."""
        return fresh(self.error)


def _references_by_one_holder() -> int:
    holder = (object(),)
    return sys.getrefcount(holder[0])


ONE_HOLDER = _references_by_one_holder()
"""What ``sys.getrefcount(holder[i])`` gives for an object that nothing but ``holder`` refers to."""


def forget_uses(todo: list) -> None:
    """Forgets what has been counted in a run that was interrupted."""
    for node in todo:
        node.uses = 0
        for x in node.inputs:
            if x.__class__ is Node:
                x.uses = 0


def mark_needed(todo: list) -> None:
    """Counts each node's consumers and marks what must be kept; a dead node lets go of its inputs.

    Nodes that may refuse their values run, dead or not: their error is a result too.
    """
    x = None
    for node in todo:
        for x in node.inputs:
            if x.__class__ is Node:
                x.uses += 1
    count = sys.getrefcount
    i = len(todo)
    while i:
        i -= 1
        node = x = None
        references = count(todo[i]) - ONE_HOLDER
        node = todo[i]
        node.kept = references > node.uses
        if not (node.kept or node.uses or node.op.checked):
            for x in node.inputs:
                if x.__class__ is Node:
                    x.uses -= 1
            node.inputs = ()
            todo[i] = None


def interpret(todo: list, contents: Collection[Node] = ()) -> list[tuple[Exception, int]]:
    """Runs marked nodes in order and returns errors, each with the thread that recorded what failed (0: any, -1: not known yet).

    What does not depend on a failed node still runs.

    ``contents`` are the nodes that storages' memory will take: they may be written right into it. Nodes for which there is
    no memory stay in ``todo``, as do those that read them. A signal handler may take what is left out of ``todo`` meanwhile.
    """
    errors: list[tuple[Exception, int]] = []
    short = False
    with np.errstate(all="ignore"):
        for i, node in enumerate(todo):
            if node is None or short and _waits(node):
                continue
            args = [x.value if x.__class__ is Node else x for x in node.inputs]
            value = next((a for a in args if a.__class__ is Failed), None)
            if value is None:
                try:
                    if node.op is WRITE and _is_last_reader(node, contents):
                        value, content = args
                        part = strided(value, **node.attrs)
                        if todo[i] is node:  # no call between this and the next line
                            part[...] = content
                    else:
                        value = compute(node, args)
                except Exception as raised:
                    if isinstance(raised, MemoryError):
                        if node.shortage is None:  # else it has been told before
                            shortage = out_of_memory(raised)
                            node.shortage = str(shortage)
                            errors.append((_noted(shortage, node), 0))
                            del shortage
                        short = True
                        continue
                    if is_passing(raised, node.op.kernel):
                        raise
                    error = _noted(raised, node)
                    value = Failed(fresh(error))
                    # Another thread may have recorded the node and not said yet that it is its own.
                    errors.append((error, node.thread or -1 if node.op.checked else 0))
                    del error
            if todo[i] is node:  # no call between this and the next line
                node.value = value
                args.clear()
                _release(node)
                todo[i] = None
    return errors


def interpret_alone(wanted: Node) -> None:
    """Runs what ``wanted`` is made of, and leaves all else pending: for traces in which there are values that nobody knows.

    Raises the error of the first node that cannot be computed, which then is its value.
    """
    needed = {wanted}
    for node in reversed(graph.trace):
        if node in needed:
            needed.update([x for x in node.inputs if x.__class__ is Node])
    needed.update([node for node in graph.trace if node.op is PROJECT and node.inputs[0] in needed])
    with np.errstate(all="ignore"):
        for node in [node for node in graph.trace if node in needed]:
            args = [x.value if x.__class__ is Node else x for x in node.inputs]
            node.kept = True
            try:
                node.value = compute(node, args)
            except Exception as error:
                node.value = Failed(fresh(error))
                raise
            node.op, node.inputs, node.attrs = None, (), NO_ATTRS
            graph.trace.remove(node)


def _noted(error: Exception, node: Node) -> Exception:
    if node.site:
        error.add_note(f"The operation was recorded at {node.site}")
    return error


def _waits(node: Node) -> bool:
    """Whether an input of ``node`` could not be computed for lack of memory."""
    return any([x.value is None for x in node.inputs if x.__class__ is Node])


def why_pending(node: Node) -> Exception | None:
    """The error for ``node`` if there was no memory for it, or for what it is made of."""
    stack, seen = [node], set()
    while stack:
        x = stack.pop()
        if x.__class__ is Node and x not in seen:
            if x.shortage is not None:
                return RuntimeError(x.shortage)
            seen.add(x)
            stack += x.inputs
    return None


def _release(node: Node) -> None:
    """Lets go of what ``node`` no longer needs, and of inputs that have no further use.

    A view shares memory with its input, so it holds on to it until the view itself is done with.
    """
    if node.op is VIEW and node.uses and not node.kept:
        return
    inputs, node.inputs = node.inputs, ()
    if node.kept:
        node.op, node.attrs = None, NO_ATTRS
    for x in inputs:
        if x.__class__ is Node:
            x.uses -= 1
            if not x.uses and not x.kept and x.op is not None:
                x.value = None
                _release(x)


def compute(node, args: list):
    """The value of ``node`` by its meaning in NumPy, given those of its inputs."""
    op = node.op
    if op is VIEW:
        base = args[0]  # itself a view, where such a one is the content of a storage
        value = op.kernel(base if base.flags.c_contiguous else base.copy(), **node.attrs)
        return value.copy() if node.kept else value
    if op is PROJECT:
        return args[0][node.attrs["index"]]
    if op is WRITE or op is WRITE_CHANGED:  # elements as they are
        return op.kernel(*args, **node.attrs)
    value = op.kernel(*_widened(args), **node.attrs)
    if value.__class__ is tuple:
        return tuple(_owned(v, s, d, args, op) for v, s, d in zip(value, node.shape, node.dtype, strict=True))
    return _owned(value, node.shape, node.dtype, args, op)


def _widened(args: list) -> list:
    """Half-precision values as float32 or complex64: kernels compute in them and round once, as PyTorch's do on the CPU."""
    return [widened(a) if a.__class__ is np.ndarray and a.dtype.num in _HALF else a for a in args]


_HALF = frozenset([d.np.num for d in (float16, bfloat16, complex32)])


def _owned(value, shape: tuple, dtype: Dtype, args: list, op) -> np.ndarray:
    """``value`` as a contiguous array of its own, of the shape and dtype that were promised."""
    if value.__class__ is not np.ndarray:
        value = np.asarray(value)
    if value.dtype != dtype.np:
        value = cast(value, dtype)
    if value.shape != shape:
        raise AssertionError(f"{op.name}: the kernel made shape {value.shape} where {tuple(shape)} was recorded")
    if not (value.flags.c_contiguous and value.flags.writeable):  # one element broadcast to one is read-only
        return value.copy("C")
    for a in args:
        if a.__class__ is np.ndarray and (a is value or value.base is not None and np.may_share_memory(a, value)):
            return value.copy()
    return value


def _is_last_reader(node: Node, contents: Collection[Node]) -> bool:
    """Whether nobody reads the old value of what ``node`` writes to after it, so that its memory may be reused."""
    base = node.inputs[0]
    if base.uses != 1 or base.value.__class__ is not np.ndarray or not base.value.flags.writeable:
        return False
    if node.kept and node not in contents:  # an older content that somebody kept: the memory will be written over, also where
        return False  # it is that of the base only since an earlier write has taken it
    if base.op is not None:
        return not base.kept
    del base
    # A leaf: besides ``node.inputs``, only the storage whose memory it is may refer to it.
    return node.inputs[0].is_buffer and sys.getrefcount(node.inputs[0]) - ONE_HOLDER == 1


def compute_now(op, nodes: tuple, attrs: dict, dtype):
    """The value of ``op`` on nodes that have run; shapes follow from the values."""
    args = [x.value if x.__class__ is Node else x for x in nodes]
    for a in args:
        if a.__class__ is Failed:
            raise a.again()
    with np.errstate(all="ignore"):
        value = op.kernel(*_widened(args), **attrs)
    if value.__class__ is tuple:
        return tuple(_owned(v, v.shape, d, args, op) for v, d in zip(value, dtype, strict=True))
    return _owned(value, value.shape, dtype, args, op)
