"""``flambeau.explain``: a computation as a page that tells what happens at each step, forwards and backwards."""

from __future__ import annotations

import inspect
import os
import webbrowser
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from flambeau import autograd
from flambeau.diagnosis import explain_error
from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene
from flambeau.nn import Module
from flambeau.ops.creation import ones_like
from flambeau.pictures.fusion import fused
from flambeau.pictures.page import page
from flambeau.pictures.record import Record
from flambeau.pictures.recording import MOST, Full, Recorder
from flambeau.pictures.restoring import restored
from flambeau.tensor import Tensor
from flambeau.utils._pytree import tree_leaves

__all__ = ["Explanation", "explain"]


class Explanation:
    """A page about a computation: one file without anything from elsewhere. Notebooks show it in place."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @property
    def html(self) -> str:
        """The page."""
        return page(self.record)

    def save(self, path: str | os.PathLike) -> Path:
        """Writes the page to a file, and says where it is."""
        file = Path(path)
        file.write_text(self.html, encoding="utf-8")
        return file

    def show(self, path: str | os.PathLike = "explanation.html") -> None:
        """Writes the page and opens it in a browser."""
        webbrowser.open(self.save(path).resolve().as_uri())

    def _repr_html_(self) -> str:
        """The page in a frame of its own, whose script can reach nothing of the notebook's."""
        return f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts" style="width:100%;height:640px;border:1px solid #ccc"></iframe>'

    def __repr__(self) -> str:
        ops = sum(1 for item in self.record.items if item.op)
        return f"<Explanation of {self.record.title}: {ops} operations; save(path) writes it as a page, show() opens it>"


def explain(x: Any, /, *args: Any, fusion: bool = True, **kwargs: Any) -> Explanation:
    r"""A page that explains a computation: each operation with its formula, line, values and gradients, how they hang together,
    how gradients flow back (:math:`\partial L / \partial x` at each step, by the rule of the op), and what was fused.

    Args:
        x: what is explained:

            - a module or a function, which is called with ``args`` and ``kwargs``. If it fails, the page shows where;
            - a tensor: how it came about, as far as the tape knows;
            - an exception: the call that raised it, with the tensors that it was given.
        fusion: whether a module or a function is called twice more, to see how it is fused. Buffers (running means) and the random
            stream are put back after each call; what else a function does, such as printing, happens again. One that calls
            ``backward`` itself is called once, and the gradients shown are those of its own passes.

    Gradients are those of the result, of the sum of its elements where there are several; ``.grad`` is left alone. In a notebook
    the page appears in place; elsewhere ``explain(...).show()`` opens it and ``save(path)`` writes it. Values of more than 64
    elements are shown as statistics and histograms, and there are at most 5,000 operations.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> explanation = torch.explain(lambda x: ((w * x) ** 2).sum(), torch.ones(2))
    >>> [item.title for item in explanation.record.items if item.op]
    ['mul', 'pow', 'sum']
    >>> w.grad is None
    True

    Raises:
        TypeError: ``x`` is none of these.
    """
    if isinstance(x, Tensor):
        return Explanation(_of_tensor(x))
    if isinstance(x, BaseException):
        return Explanation(_of_error(x))
    if not callable(x):
        raise TypeError(
            f"explain(): expected a tensor, a module or function with its arguments, or an exception, got {type(x).__name__}"
        )
    return Explanation(_of_call(x, args, kwargs, fusion))


def _title(x: Any) -> str:
    return type(x).__name__ if isinstance(x, Module) else str(getattr(x, "__qualname__", type(x).__name__))


# --- calls -----------------------------------------------------------------------------------------------------


def _of_call(function: Callable, args: tuple, kwargs: dict[str, Any], fusion: bool) -> Record:
    recorder = Recorder(_title(function))
    for name, value in _named_arguments(function, args, kwargs):
        recorder.names[id(value)] = name
    record, result = recorder.record, None
    with restored(_modules(function, {})):
        recorder.open()
        try:
            try:
                result = function(*args, **kwargs)
            except Full:
                record.notes.append(Text(f"Only the first {MOST} operations are shown.", f"只显示前 {MOST} 个运算。"))
            except Exception as error:
                _note_failure(record, error)
            trains = bool(record.backward)  # it has made a backward pass itself, and may have updated parameters: once is enough
            outputs = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
            record.outputs = [recorder.source(t) for t in outputs]
            _go_back(recorder, outputs)
        finally:
            recorder.close()
            record.settle()
    if fusion and outputs and record.calls and not trains and not any(item.error for item in record.items):
        leaves = [t for _, t in recorder.leaves()]
        del result, outputs
        record.groups = fused(lambda: _again(function, args, kwargs, leaves))
    return record


def _note_failure(record: Record, error: Exception) -> None:
    """Says what went wrong at the operation that failed; on the page as a whole where it was none."""
    explain_error(error)
    failed = next((item for item in record.items if item.error), None)
    if failed is None:
        record.notes.append(_told(error))
    else:
        failed.error = _told(error)


def _go_back(recorder: Recorder, outputs: list[Tensor]) -> None:
    """Sends a gradient back from the first output that wants one."""
    root = next((t for t in outputs if t.requires_grad), None)
    record = recorder.record
    if root is None or record.backward:  # the call has done so itself
        return
    if root.numel() != 1:
        record.notes.append(Text("Gradients are those of the sum of the result's elements.", "梯度是结果所有元素之和的梯度。"))
    leaves = list(recorder.leaves())
    found: tuple = ()
    recorder.before_backward()
    try:
        if leaves:
            wanted = [t for _, t in leaves]
            found = autograd.grad(root, wanted, grad_outputs=ones_like(root), retain_graph=True, allow_unused=True)
    except Exception as error:
        explain_error(error)
        record.items[record.backward[-1] if record.backward else record.outputs[0]].error = _told(error)
    finally:
        recorder.after_backward()
    for (item, _), gradient in zip(leaves, found):
        item.grads = [gradient]
        if gradient is not None and item.id not in record.backward:
            record.backward.append(item.id)


def _again(function: Callable, args: tuple, kwargs: dict[str, Any], leaves: list[Tensor]) -> Any:
    """Calls the function once more, with its gradients, while nobody holds what comes in between."""
    with restored(_modules(function, {})):
        result = function(*args, **kwargs)
        tensors = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        root = next((t for t in tensors if t.requires_grad), None)
        if root is None or not leaves:
            return tensors
        return tensors, autograd.grad(root, leaves, grad_outputs=ones_like(root), allow_unused=True)


def _named_arguments(function: Callable, args: tuple, kwargs: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Tensors that a call has: parameters and buffers of a module, and arguments by their names."""
    try:
        bound = dict(
            inspect.signature(function.forward if isinstance(function, Module) else function).bind(*args, **kwargs).arguments
        )
    except (TypeError, ValueError):
        bound = {str(i): a for i, a in enumerate(args)} | kwargs
    for name, value in bound.items():
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, (tuple, list)):
            yield from ((f"{name}[{i}]", e) for i, e in enumerate(value) if isinstance(e, Tensor))
    for module in _modules(function, bound):
        yield from module.named_parameters()
        yield from module.named_buffers()


def _modules(function: Callable, bound: dict[str, Any]) -> list[Module]:
    """The modules that a call may use: itself, its arguments, what its closure and globals name."""
    found = [m for m in (function, getattr(function, "__self__", None), *bound.values()) if isinstance(m, Module)]
    code = getattr(function, "__code__", None)
    if code is not None:
        seen = [getattr(function, "__globals__", {}).get(name) for name in code.co_names]
        for cell in getattr(function, "__closure__", None) or ():
            try:
                seen.append(cell.cell_contents)
            except ValueError:  # an empty one
                continue
        found += [m for m in seen if isinstance(m, Module)]
    return list({id(m): m for m in found}.values())


# --- tensors and errors ----------------------------------------------------------------------------------------


def _of_tensor(x: Tensor) -> Record:
    recorder = Recorder("tensor")
    record = recorder.record
    record.outputs = [recorder.source(x)]
    if x.grad_fn is not None:
        record.notes.append(
            Text(
                "This is what the tape knows: values that no gradient needs are not kept, nor are lines. explain(function, ...) shows all.",
                "这里只有反向图所保存的内容:梯度不需要的值和代码行没有保存。用 explain(函数, ...) 可看到全部。",
            )
        )
        recorder.record.link()
        leaves = [(item, item.entry.variable) for item in record.items if not item.op and item.entry is not None]  # type: ignore[attr-defined]
        recorder._made.update({id(t): (t, item.id) for item, t in leaves})
        _go_back(recorder, [x])
    return record


def _of_error(error: BaseException) -> Record:
    explain_error(error)
    scene = Scene(error)
    recorder = Recorder(type(error).__name__)
    record = recorder.record
    inputs: list[tuple[str, int | str]] = []
    for operand in scene.operands:
        recorder.names[id(operand.value)] = operand.name
        inputs.append((operand.name, recorder.leaf(operand.value)))
    title = scene.line or type(error).__name__
    failed = record.item(-1, title, title, "", scene.site)
    failed.inputs, failed.error = inputs, _told(error)
    return record


def _told(error: BaseException) -> str:
    """An error with its notes."""
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
