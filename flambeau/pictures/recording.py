"""Watching a computation, forwards and backwards, for a picture of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any, cast

from flambeau.autograd.graph import Node, edge_of
from flambeau.core.errors import caller_frame
from flambeau.nn import Module
from flambeau.nn.modules._hooks import register_module_forward_hook, register_module_forward_pre_hook
from flambeau.ops.record import Op
from flambeau.pictures.formulas import formula_of
from flambeau.pictures.record import Item, Record, Site, is_leaf
from flambeau.pictures.tape import read_tape
from flambeau.pictures.values import copied, short_dtype
from flambeau.tensor import Tensor
from flambeau.tensor.observing import Observer

MOST = 5000
"""How many operations a picture has at most."""


class Full(BaseException):
    """There are more operations than a picture can have. No error of the program's: its handlers shall not take it."""


class Recorder(Observer):
    """Makes a :class:`~flambeau.pictures.record.Record` of the calls while it is open.

    Calls of primitives and views become items, calls of composites and of modules the boxes around them. Where each tensor
    comes from is known by identity, as a tensor that is written to in place comes from what was written.
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self.record = Record(title)
        self.names: dict[int, str] = {}
        """Names of tensors from outside, by id: parameters, arguments."""
        self._parameters: set[int] = set()
        """Those of modules by id, which stand in the box that reads them first."""
        self.quiet = 0
        self._made: dict[int, tuple[Tensor, int]] = {}
        self._wrote: dict[int, tuple[Any, int]] = {}
        """By the id of a storage: the storage, and the item that wrote to it last."""
        self._open: list[int] = [-1]
        self._modules: list[tuple[Module, int]] = []
        self._paths: dict[int, str] = {}
        self._site: Site | None = None
        self._frame: Any = None
        self._backwards: Item | None = None
        self._in_backward = False
        self._handles: list[Callable[[], Any]] = []
        self._hooked: list[tuple[Node, bool]] = []

    def forget(self) -> None:
        """Begins anew: what was recorded so far is of another step."""
        self.record = Record(self.record.title)
        self._made.clear()
        self._wrote.clear()
        self._open, self._modules = [-1], []

    # --- where tensors come from ---------------------------------------------------------------------------

    def source(self, tensor: Tensor) -> int:
        """The item that ``tensor`` comes from; a new leaf where it comes from outside."""
        known = self._made.get(id(tensor))
        if tensor._requires_grad:  # the tape begins here, whatever the values were made of
            return known[1] if known is not None and not self.record.items[known[1]].op else self.leaf(tensor)
        wrote = self._wrote.get(id(tensor._storage))
        entry = tensor.grad_fn
        of_function = (
            hasattr(type(entry), "_function") and id(entry) not in self.record.by_entry
        )  # its result is that of an op inside
        if not of_function and known is not None:
            return known[1] if wrote is None or wrote[1] <= known[1] else self._rewritten(tensor, known[1], wrote[1])
        if not of_function and wrote is not None:
            return wrote[1]
        if entry is None:
            return self.leaf(tensor)
        if id(entry) not in self.record.by_entry:  # an op of the user's own, or what was computed before
            self.quiet += 1
            try:
                read_tape(self.record, entry, self._open[-1], self._site, self.names)
            finally:
                self.quiet -= 1
        id_ = self.record.by_entry[id(entry)]
        item = self.record.items[id_]
        if not item.values or item.values[0] is None:
            self._note(item, (tensor,))
        if of_function and known is not None:
            item.inputs.append(("forward", known[1]))
        self._made[id(tensor)] = tensor, id_
        return id_

    def _rewritten(self, tensor: Tensor, before: int, written: int) -> int:
        """An item for ``tensor``, which was ``before``, now that something has been written to its memory through another tensor."""
        item = self.record.item(self._open[-1], "write", "write", "", self.record.items[written].site)
        item.inputs = [("memory", before), ("written", written)]
        self._note(item, (tensor,))
        self.record.place(item, tensor.grad_fn)
        self._made[id(tensor)] = tensor, item.id
        return item.id

    def leaf(self, tensor: Tensor) -> int:
        """An item for a tensor from outside."""
        parent = self._open[-1] if id(tensor) in self._parameters else -1
        item = self.record.item(parent, "", self.names.get(id(tensor)) or self._variable(tensor) or "")
        edge = None if tensor.grad_fn is not None else edge_of(tensor)
        self._note(item, (tensor,))
        if edge is not None:
            self.record.place(item, edge[0])
        self._made[id(tensor)] = tensor, item.id
        return item.id

    def _variable(self, tensor: Tensor) -> str | None:
        """What the user's line calls a tensor."""
        if self._frame is None:
            return None
        for names in (self._frame.f_locals, self._frame.f_globals):
            for name, value in names.items():
                if value is tensor and not name.startswith("_"):
                    return str(name)
        owner = next((id for t, id in self._made.values() if t._grad is tensor), None)
        return None if owner is None else f"{self.record.items[owner].title}.grad"

    def _note(self, item: Item, results: tuple) -> None:
        self.quiet += 1
        try:
            item.values = [copied(r) for r in results]
        finally:
            self.quiet -= 1
        item.shapes = [(list(r.shape), short_dtype(r.dtype)) for r in results]

    def note_write(self, input: Tensor, result: Tensor) -> None:
        known = self._made.get(id(result))
        if known is not None:
            self._made[id(input)] = input, known[1]
            self._wrote[id(input._storage)] = input._storage, known[1]
        super().note_write(input, result)

    # --- calls ---------------------------------------------------------------------------------------------

    def called(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        if self.quiet:
            return self.run(op, args, kwargs)
        if self._in_backward:
            if op.form != "composite" and self._backwards is not None:
                self._backwards.made.append(op.short_name)
            return self.run(op, args, kwargs)
        outermost = self._frame is None
        if outermost:
            self._frame = caller_frame()
            self._site = (self._frame.f_code.co_filename, self._frame.f_lineno) if self._frame is not None else None
        try:
            return self._composite(op, args, kwargs) if op.form == "composite" else self._primitive(op, args, kwargs)
        finally:
            if outermost:
                self._frame = None

    def _composite(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        box = self.record.box(self._open[-1], "call", op.short_name, op.name, formula_of(op.check), self._site)
        self._open.append(box.id)
        try:
            return self.run(op, args, kwargs)
        finally:
            self._open.pop()

    def _primitive(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        if len(self.record.items) >= MOST:
            raise Full
        inputs = [(name, self.source(x) if isinstance(x, Tensor) else _shown(x)) for name, x in _arguments(op, args, kwargs)]
        item = self.record.item(self._open[-1], op.short_name, op.name, formula_of(op.check), self._site)
        item.inputs = inputs
        self.record.calls.append(item.id)
        try:
            result = self.run(op, args, kwargs)
        except Exception as error:
            item.error = f"{type(error).__name__}: {error}"
            raise
        results = tuple(r for r in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(r, Tensor))
        for r in results:
            self._made[id(r)] = r, item.id
        self._note(item, results)
        if results:
            self.record.place(item, results[0].grad_fn)
        return result

    # --- modules -------------------------------------------------------------------------------------------

    def _entered(self, module: Module, args: tuple) -> None:
        if self.quiet:
            return
        if not self._modules or id(module) not in self._paths:
            for path, part in module.named_modules():
                self._paths.setdefault(id(part), path or type(module).__name__)
            for path, value in (*module.named_parameters(), *module.named_buffers()):
                self.names.setdefault(id(value), path)
                self._parameters.add(id(value))
        frame = caller_frame()
        site = None if frame is None else (frame.f_code.co_filename, frame.f_lineno)
        name, kind = self._paths[id(module)], type(module).__name__
        extra = _guarded(module.extra_repr)
        box = self.record.box(self._open[-1], "module", name, f"{kind}({extra})", formula_of(cast(Hashable, type(module))), site)
        self._modules.append((module, len(self._open)))
        self._open.append(box.id)

    def _left(self, module: Module, args: tuple, output: Any) -> None:
        if self.quiet or not any(m is module for m, _ in self._modules):
            return
        while self._modules:
            last, depth = self._modules.pop()
            del self._open[depth:]
            if last is module:
                break

    # --- backwards -----------------------------------------------------------------------------------------

    def before_backward(self) -> None:
        """Has the gradients written down that arrive at the items from now on."""
        self.record.link()
        self._in_backward = True
        for item in self.record.items:
            if item.entry is not None and self.record.by_entry.get(id(item.entry)) == item.id:
                self._hooked.append((item.entry, item.entry.hooked))
                self._handles.append(item.entry.register_prehook(self._arriving(item)).remove)

    def _arriving(self, item: Item) -> Callable[[Any], None]:
        def arrived(grads: Any) -> None:
            self.quiet += 1
            try:
                item.grads = [None if g is None else copied(g) for g in grads]
            finally:
                self.quiet -= 1
            self.record.backward.append(item.id)
            self._backwards = item

        return arrived

    def after_backward(self) -> None:
        self._in_backward, self._backwards = False, None
        for remove in self._handles:
            remove()
        for entry, hooked in self._hooked:
            entry.hooked = hooked
        self._handles, self._hooked = [], []

    # --- beginning and end ---------------------------------------------------------------------------------

    def watch_backward(self, tensor: Tensor, run: Callable[[], Any]) -> Any:
        """A call of ``backward`` by the program."""
        self.before_backward()
        try:
            return run()
        finally:
            self.after_backward()

    def open(self) -> None:
        super().open()
        self._replaced = before = Tensor.__dict__["backward"]
        recorder = self

        def backward(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            run = functools.partial(before.__get__(tensor, type(tensor)), *args, **kwargs)
            return run() if recorder.quiet or recorder._in_backward else recorder.watch_backward(tensor, run)

        Tensor.backward = backward  # type: ignore[method-assign,assignment]
        self._hooks = [register_module_forward_pre_hook(self._entered), register_module_forward_hook(self._left, always_call=True)]

    def close(self) -> None:
        Tensor.backward = self._replaced  # type: ignore[method-assign]
        for hook in self._hooks:
            hook.remove()
        super().close()

    def leaves(self) -> Iterator[tuple[Item, Tensor]]:
        """Tensors from outside that want a gradient."""
        for tensor, id in list(self._made.values()):
            item = self.record.items[id]
            if not item.op and tensor.requires_grad and item.entry is not None and is_leaf(item.entry):
                yield item, tensor


def _guarded(function: Callable[[], str]) -> str:
    try:
        return str(function())
    except Exception:
        return ""


def _arguments(op: Op, args: tuple, kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The arguments of a call with their names, lists of tensors one by one."""
    code = op.check.__code__
    names = code.co_varnames[: code.co_argcount]
    for i, x in enumerate(args):
        name = names[i] if i < len(names) else ""
        if isinstance(x, (list, tuple)) and any(isinstance(e, Tensor) for e in x):
            yield from ((f"{name}[{k}]", e) for k, e in enumerate(x))
        else:
            yield name, x
    yield from kwargs.items()


def _shown(x: Any) -> str:
    """A setting as text, short."""
    try:
        text = repr(x)
    except Exception:
        text = type(x).__name__
    return text if len(text) <= 60 else text[:57] + "..."
