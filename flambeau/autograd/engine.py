"""Running the tape backwards."""

from __future__ import annotations

import heapq
import itertools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from flambeau import dispatch, ops
from flambeau.autograd import repetition, rules
from flambeau.autograd.anomaly import anomaly, forward_call, warn_of_error
from flambeau.autograd.entries import OpBackward
from flambeau.autograd.function import BackwardNode
from flambeau.autograd.graph import (
    AccumulateGrad,
    GradientEdge,
    Node,
    Task,
    check_replacement,
    edge_of,
    finishing,
    full_of,
    meta_of,
    name_of,
    next_sequence,
    sum_of_gradients,
    tell_finished,
)
from flambeau.autograd.graph import accumulate as add_to_leaves
from flambeau.core import config, dtypes
from flambeau.dispatch import grad_mode
from flambeau.engine.graph import Node as Value
from flambeau.tensor.meta import run_inside
from flambeau.tensor.overriding import told
from flambeau.tensor.reading import placeless, read
from flambeau.tensor.tensor import Tensor


def run_backward(
    roots: Sequence[tuple[Node, int]],
    grads: Sequence[Tensor],
    *,
    retain_graph: bool,
    create_graph: bool,
    inputs: Sequence[tuple[Node, int]] | None = None,
    accumulate: bool = True,
) -> list[Tensor | None]:
    """Sends ``grads`` from ``roots`` down the tape.

    Nodes run newest first, each once all gradients of its outputs have come together. With ``inputs`` only the
    nodes on the way to these run, and unless ``accumulate`` their gradients are returned instead of added up.
    """
    previous = grad_mode.enabled
    grad_mode.enabled = create_graph
    try:
        opaque = any([g._opaque for g in grads])
        if anomaly.enabled or (accumulate if inputs is not None else create_graph) or dispatch.watch is not None or opaque:
            return run_inside(_run, (roots, grads, retain_graph, inputs, accumulate, None), {"in_full": opaque})
        found = repetition.survey(roots, grads, inputs)
        done = None if found is None else repetition.repeat(found, retain_graph)
        if done.__class__ is list:
            return done  # type: ignore[return-value]
        if done or found is None or not repetition.is_worth_watching(found):
            return _run(roots, grads, retain_graph, inputs, accumulate, None, done or {})  # type: ignore[arg-type]
        watcher = repetition.Watcher(found)
        results = _run(roots, grads, retain_graph, inputs, accumulate, watcher)
        watcher.remember(results)
        add_to_leaves(watcher.gradients)
        return results
    finally:
        grad_mode.enabled = previous
        repetition.begin()


def _run(
    roots: Sequence[tuple[Node, int]],
    grads: Sequence[Tensor],
    retain_graph: bool,
    inputs: Sequence[tuple[Node, int]] | None,
    accumulate: bool,
    watcher: repetition.Watcher | None,
    returned: Mapping[Node, Sequence] = MappingProxyType({}),
    in_full: Any = False,
) -> list[Tensor | None]:
    """Runs the entries. A watcher takes the gradients of leaves, which else are accumulated at once.

    ``returned`` has the results of entries that have run already. ``in_full``: no rule is repeated.
    """
    waiting = _count_dependencies(roots)
    task = Task(roots, waiting)
    captured: dict[tuple[Node, int], Tensor] = {}
    wanted: dict[Node, list[int]] = {}
    needed: dict[Node, bool] | None = None
    if inputs is not None:
        for node, number in inputs:
            wanted.setdefault(node, []).append(number)
        task.nodes = needed = _on_the_way(roots, wanted)
    buffers: dict[Node, list[Any]] = {}  # for each of its results a tensor, or None
    ready: list[tuple[int, int, Node]] = []
    reached: list[tuple[AccumulateGrad, Value]] = []  # leaves get their gradients at once, or before code of the user's runs
    begun = next_sequence() if watcher is None else None
    push, pop = heapq.heappush, heapq.heappop
    in_full = (
        in_full
        or grad_mode.enabled
        or grad_mode.inference
        or anomaly.enabled
        or config.eager
        or dispatch.watch
        or dispatch.autocast.cast
    )
    for (node, number), g in zip(roots, grads, strict=True):
        _send(buffers, node, number, g)
    for node in buffers:
        if node not in waiting:
            push(ready, (_priority(node), node.sequence, node))
    with task:
        while ready:
            node = pop(ready)[2]
            gs = buffers.pop(node, None)
            results: Sequence | None = None
            if gs is not None and (needed is None or node in needed):
                run = True
                if node.pattern is None or node.hooked or needed is not None:
                    if reached and (node.hooked or isinstance(node, BackwardNode)):
                        gradients, reached = reached, []
                        add_to_leaves(gradients)
                    if node.tensor_hooks or node.retaining:
                        gs = _tensor_hooks(node, gs)
                    if needed is not None:
                        for number in wanted.get(node, ()):
                            if gs[number] is not None:
                                captured[node, number] = gs[number]
                        run = accumulate and node in wanted or needed[node]
                    if run and node.pre_hooks:
                        gs = _pre_hooks(node, gs)
                if not run:
                    pass
                elif watcher is not None and isinstance(node, AccumulateGrad):
                    watcher.gradients.append((node, read(gs[0])))
                elif dispatch.watch is not None and isinstance(node, AccumulateGrad) and node.is_special(gs[0]):
                    gradients, reached = reached, []
                    add_to_leaves(gradients)
                    node.add(gs[0])
                elif (
                    isinstance(node, AccumulateGrad)
                    and not grad_mode.enabled
                    and not node.post_hooks
                    and not gs[0]._storage.is_meta
                ):
                    reached.append((node, read(gs[0])))
                    if node.variable._post_accumulate_grad_hooks:
                        gradients, reached = reached, []
                        add_to_leaves(gradients)
                else:
                    if watcher is not None:
                        watcher.ran.append(node)
                    if not in_full and isinstance(node, OpBackward):
                        results = rules.run(node, gs, begun)
                    else:
                        if anomaly.enabled:
                            results = _watched(node, gs)
                        elif node in returned:
                            results = returned[node]
                        elif needed is not None and isinstance(node, OpBackward):
                            results = node.apply(gs, needed)
                        else:
                            results = watcher.call(node, gs) if watcher and isinstance(node, BackwardNode) else node.apply(gs)
                        if node.edges:
                            results = rules.fitted(node, results)
                    if node.post_hooks:
                        if needed is not None:  # what nobody asks for is not seen
                            results = [g if edge and edge[0] in needed else None for g, edge in zip(results, node.edges)]
                        results = _post_hooks(node, results, gs)
                    if not retain_graph:
                        node.release()
                    if anomaly.enabled and anomaly.check_nan:
                        _check_nan(node, results)
            for edge, g in zip(node.edges, results or _NOTHING):
                if edge is None:
                    continue
                target, number = edge
                if g is not None:
                    _send(buffers, target, number, g)
                left = waiting[target] = waiting[target] - 1
                if not left:
                    push(ready, (_priority(target), target.sequence, target))
        add_to_leaves(reached)
    return [captured.get(key) for key in inputs or ()]


_NOTHING: Iterable = itertools.repeat(None)


def _send(buffers: dict, node: Node, number: int, g: Tensor) -> None:
    """Adds ``g`` to the gradient of one of ``node``'s outputs."""
    buffer = buffers.get(node)
    if buffer is None:
        buffer = buffers[node] = [None] * len(node.metas)
    before = buffer[number]
    buffer[number] = g if before is None else before + g if before.__class__ is Tensor else sum_of_gradients(before, g)


def _priority(node: Node) -> int:
    return -1 << 62 if isinstance(node, AccumulateGrad) else -node.sequence


def _count_dependencies(roots: Sequence[tuple[Node, int]]) -> dict[Node, int]:
    """For every node that can be reached, how many edges lead to it."""
    counts: dict[Node, int] = {}
    seen = {node for node, _ in roots}
    stack = list(seen)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None:
                target = edge[0]
                counts[target] = counts.get(target, 0) + 1
                if target not in seen:
                    seen.add(target)
                    stack.append(target)
    return counts


def _on_the_way(roots: Sequence[tuple[Node, int]], wanted: dict) -> dict[Node, bool]:
    """The nodes from which a wanted node can be reached, or that are wanted; True where something lies beyond."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(node, False) for node, _ in roots]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((e[0], False) for e in node.edges if e is not None and e[0] not in seen)
    needed: dict[Node, bool] = {}
    for node in order:
        beyond = any(e is not None and e[0] in needed for e in node.edges)
        if beyond or node in wanted:
            needed[node] = beyond
    return needed


def _tensor_hooks(node: Node, gs: list) -> list:
    """What hooks of tensors make of their gradients; they run wherever a gradient has come together."""
    if node.tensor_hooks:
        gs = list(gs)
        for number, hooks in node.tensor_hooks.items():
            for hook in list(hooks.values()):
                replaced = hook(gs[number])
                if replaced is not None:
                    gs[number] = check_replacement(hook, gs[number], replaced)
    for number, ref in (node.retaining or {}).items():  # after the hooks, however late they came
        t, g = ref(), gs[number]
        if t is not None and g is not None and t.grad_fn is node:  # it has not been written to since
            t._grad = g.clone() if t._grad is None else t._grad + g
    return gs


def _pre_hooks(node: Node, gs: list) -> list:
    """What hooks of the node make of the gradients of its outputs; they run where the node does."""
    for hook in list(node.pre_hooks.values()):  # type: ignore[union-attr]
        replaced = hook(tuple(gs))
        if replaced is not None:
            gs = _all_replaced(hook, gs, replaced)
    return gs


def _post_hooks(node: Node, results: Sequence, gs: list) -> Sequence:
    shown, results = node.shown, list(results)
    for hook in list(node.post_hooks.values()):  # type: ignore[union-attr]
        seen = tuple([results[i] for i in shown])
        replaced = hook(seen, tuple(gs))
        if replaced is not None:
            for i, g in zip(shown, _all_replaced(hook, seen, replaced), strict=True):
                results[i] = g
    return results


def _all_replaced(hook: Callable, before: Sequence, replaced) -> list:
    """What a hook of a node has put in the place of gradients, after a look at it."""
    replaced = list(replaced) if isinstance(replaced, (tuple, list)) else [replaced]
    if len(replaced) != len(before):
        raise RuntimeError(
            f"hook '{name_of(hook)}' has returned an incorrect number of values (got {len(replaced)}, but expected {len(before)})"
        )
    for g, new in zip(before, replaced, strict=True):
        if new is not None:
            check_replacement(hook, g, new)
    return replaced


def _watched(node: Node, gs: list) -> tuple:
    try:
        return node.apply(gs)
    except Exception:
        warn_of_error(node)
        raise


def _check_nan(node: Node, results: Sequence) -> None:
    for i, g in enumerate(results):
        if g is not None and g.isnan().any().item():
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output. {forward_call(node)}")


@told
def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors=None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables=None,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Adds the gradients of ``tensors`` with respect to the leaves to the leaves' ``.grad``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.backward.html
    """
    tensors = _listed(tensors)
    targets = None
    if inputs is not None:
        inputs = _listed(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
        targets = _targets(inputs)
    if grad_tensors is None:
        grad_tensors = grad_variables
    if create_graph:
        warnings.warn(
            "Using backward() with create_graph=True will create a reference cycle between the parameter and its gradient "
            "which can cause a memory leak. We recommend using autograd.grad when creating the graph to avoid this. If you "
            "have to use this function, make sure to reset the .grad fields of your parameters to None after use to break "
            "the cycle and avoid the leak.",
            UserWarning,
            stacklevel=3,
        )
    grads = _root_gradients(tensors, grad_tensors)
    retain = create_graph if retain_graph is None else retain_graph
    for t in inputs or ():
        if isinstance(t, Tensor) and t.grad_fn is not None:
            t.retain_grad()  # so it is in PyTorch: it keeps its gradient from now on
    run_backward([_root(t) for t in tensors], grads, retain_graph=retain, create_graph=create_graph, inputs=targets)
    if finishing:
        tell_finished()


def follow(t: Tensor, retain_graph: bool) -> bool:
    """Does ``t.backward()``, and says so, if it is like passes that have repeated often."""
    done = repetition.follow(t, retain_graph)
    if done.__class__ is dict:
        previous = grad_mode.enabled
        try:
            grad_mode.off()
            _run([_root(t)], _root_gradients((t,), None), retain_graph, None, True, None, done)  # type: ignore[arg-type]
        finally:
            grad_mode.enabled = previous
        done = True
    if done and finishing:
        tell_finished()
    return done  # type: ignore[return-value]


@told
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of the sum of ``outputs`` (weighted by ``grad_outputs``) with respect to ``inputs``.

    >>> import flambeau as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> torch.autograd.grad(x ** 2, x)
    (tensor(6.),)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad.html
    """
    outputs = _listed(outputs)
    inputs = _listed(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    if materialize_grads and allow_unused is False:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.")
    allow_unused = bool(allow_unused) or materialize_grads
    if isinstance(grad_outputs, Tensor):
        grad_outputs = (grad_outputs,)
    if is_grads_batched:
        return _batched_grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused)
    if dispatch.batched_grad is not None:
        settings = {"retain_graph": retain_graph, "create_graph": create_graph, "allow_unused": allow_unused}
        found = dispatch.batched_grad(grad, outputs, inputs, grad_outputs, **settings)
        if found is not NotImplemented:
            return found
    grads = _root_gradients(outputs, grad_outputs)
    targets = _targets(inputs)
    retain = create_graph if retain_graph is None else retain_graph
    results: list[Any] = run_backward(
        [_root(t) for t in outputs],
        grads,
        retain_graph=retain,
        create_graph=create_graph,
        inputs=targets,
        accumulate=False,
    )
    for i, (t, g) in enumerate(zip(inputs, results, strict=True)):
        if g is not None and isinstance(t, Tensor) and t._on_tape is not t:
            parted: Any = t
            results[i] = parted._with(g)
        if g is None:
            if not allow_unused:
                raise RuntimeError(
                    f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set "
                    "allow_unused=True if this is the desired behavior."
                    + (f" Its shape is {list(t.shape)}." if isinstance(t, Tensor) else "")
                )
            if materialize_grads:
                if not isinstance(t, Tensor):
                    raise RuntimeError("materialize_grads cannot be used when the given input is a GradientEdge")
                results[i] = ops.zeros_like(t, requires_grad=create_graph)
    return tuple(results)


def _batched_grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused):
    """One gradient for each entry of the first dim of ``grad_outputs``, stacked."""
    for i, (out, g) in enumerate(zip(outputs, grad_outputs or ())):
        if g.shape[1:] != out.shape:
            raise RuntimeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch dimension. The "
                f"sizes of the remaining dimensions are expected to match the shape of corresponding output, but a mismatch "
                f"was detected: grad_output[{i}] has a shape of {g.shape} and output[{i}] has a shape of {out.shape}. If you "
                "only want some tensors in `grad_output` to be considered batched, consider using vmap."
            )
    several: list[bool] = []

    def one(*weights):
        found = grad(outputs, inputs, weights, retain_graph, create_graph, allow_unused=allow_unused)
        several[:] = [g is not None for g in found]
        return tuple([g for g in found if g is not None])

    found = iter(dispatch.vmap(one)(*grad_outputs))
    return tuple([next(found) if there else None for there in several])


def _listed(tensors) -> tuple:
    return (tensors,) if isinstance(tensors, (Tensor, GradientEdge)) else tuple(tensors)


def _targets(inputs: tuple) -> list[tuple[Node, int]]:
    """The places on the tape whose gradients are asked for."""
    found = []
    for i, t in enumerate(inputs):
        edge = t if isinstance(t, GradientEdge) else _place_of(t)
        if edge is None and t.requires_grad:
            edge = Node((), ()), 0  # it wants a gradient, and has no place where one could come to
        if edge is None:
            raise RuntimeError(f"One of the differentiated Tensors does not require grad: inputs[{i}]")
        found.append((edge[0], edge[1]))
    return found


def _place_of(t: Tensor) -> tuple[Node, int] | None:
    """The place on the tape of a tensor that has one: a view made under ``no_grad`` has none, though its base wants a gradient."""
    t = t._on_tape
    edge = edge_of(t)
    return edge if t._requires_grad or t._grad_fn is not None else None


def _root(t: Tensor | GradientEdge) -> tuple[Node, int]:
    edge = (t.node, t.output_nr) if isinstance(t, GradientEdge) else _place_of(t)
    if edge is None:
        raise RuntimeError(
            "element 0 of tensors does not require grad and does not have a grad_fn: no tensor that it was computed "
            "from has requires_grad=True, or it was computed under torch.no_grad() or from a detach()ed tensor"
        )
    return edge


def _root_gradients(outputs: tuple, grads) -> list[Tensor]:
    if grads is None:
        grads = (None,) * len(outputs)
    elif isinstance(grads, Tensor):
        grads = (grads,)
    if len(grads) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(grads)} gradients")
    result = []
    for i, (out, g) in enumerate(zip(outputs, grads, strict=True)):
        if isinstance(out, GradientEdge):
            out = full_of(1, out.node.metas[out.output_nr])
        elif out._on_tape is not out:
            out, g = out._on_tape, g if g is None else out._values_of(g)
        elif g is None:
            _root(out)
            if hasattr(type(out), "_intercept") and out._shape.numel() == 1:  # its class says what that is
                g = ops.ones_like(out)
        if g is None:
            if out._shape.numel() != 1:
                raise RuntimeError(
                    f"grad can be implicitly created only for scalar outputs: this one has shape {list(out._shape)}; "
                    "reduce it to one number (loss.sum() or loss.mean()), or give backward(gradient) of its shape"
                )
            if out._dtype.kind != dtypes.FLOATING:
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {out._dtype}")
            g = full_of(1, meta_of(out))
        elif not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        elif g._shape != out._shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {g._shape} and output[{i}] has a shape of {out._shape}."
            )
        elif g._dtype is not out._dtype:
            if g._dtype.is_complex != out._dtype.is_complex:
                raise RuntimeError(
                    "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in "
                    f"dtype: grad_output[{i}] has a dtype of {g._dtype} and output[{i}] has a dtype of {out._dtype}."
                )
            g = g.to(out._dtype)
        result.append(placeless(g))
    return result
