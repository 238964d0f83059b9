"""While a level is open: which calls come here, and what is done with them.

A level fills slots of :mod:`flambeau.dispatch`, so while there is none nothing here is called. Primitives come through
``watch``; a composite runs its own Python, and comes here by its primitives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from flambeau import dispatch, ops
from flambeau.batching.batched import Batched, Level, innermost, over, under
from flambeau.batching.rules.families import COMPOSED, RULES, call_each, pointwise
from flambeau.core import dtypes
from flambeau.ops.record import Op
from flambeau.tensor.assignment import cast_error
from flambeau.tensor.tensor import Tensor


class _Open(threading.local):
    """The levels that are open, from the outermost to the innermost, per thread."""

    levels: list[Level] = []


class Interception:
    """What fills the slots.

    These are one set for all threads, so one thread has levels at a time, and others that want some wait. What else they call
    meanwhile comes here too, and goes on to where it would have gone.
    """

    def __init__(self) -> None:
        self._open_levels = _Open()
        self._lock = threading.Lock()
        self.thread = 0  # whose levels are open
        self.outer: dict[str, Any] = {}  # what was in the slots before
        self.own: dict[str, Any] = {
            "watch": self, "compose": self.compose, "inplace": self.inplace, "assign": self.assign, "put": self.put,
            "record_in_order": self.record_in_order, "known": self.known, "refuse_overlap": self.refuse_overlap,
            "refuse_out": self.refuse_out, "batched_grad": self.grad, "apply_batched": self.apply,
        }  # fmt: skip

    @property
    def before(self) -> Any:
        """Who is told of calls after this one."""
        return self.outer.get("watch")

    @property
    def levels(self) -> list[Level]:
        return self._open_levels.levels

    @contextmanager
    def level(self, size: int, randomness: str) -> Iterator[Level]:
        """Opens a level inside of those that are open."""
        level = Level(size, randomness, len(self.levels) + 1)
        with self.within([*self.levels, level]):
            yield level

    @contextmanager
    def within(self, levels: list[Level]) -> Iterator[None]:
        """Inside, just these levels are open: all but the innermost, say, or those that were open when a hook was registered."""
        before = self.levels
        self._open(levels)
        try:
            yield
        finally:
            self._open(before)

    def _open(self, levels: list[Level]) -> None:
        if levels and not self.levels:
            self._lock.acquire()
            self.thread, self.outer = get_ident(), {name: getattr(dispatch, name) for name in self.own}
            fill(self.own)
        elif self.levels and not levels:
            fill(self.outer)
            self._lock.release()
        self._open_levels.levels = levels

    def grad(self, run: Callable, outputs: tuple, inputs: tuple, weights: Any, **settings: Any) -> Any:
        """``autograd.grad`` of batched tensors by batched tensors: each sample's; ``NotImplemented`` where none is batched."""
        level = innermost((*outputs, *inputs))
        if level is None:
            return NotImplemented
        levels = self.levels[: level.depth]
        own = []
        for x in inputs:
            for level in reversed(levels):
                if not level.has(x):
                    raise RuntimeError(
                        "element 0 of tensors does not require grad and does not have a grad_fn: the samples share it"
                    )
                x = x._value
            own.append(x)
        roots, given = [], []
        for o, w in zip(outputs, weights or [None] * len(outputs)):
            if w is None and o.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            roots.append(under(o, levels))
            given.append(ops.ones_like(roots[-1]) if w is None else under(w, levels))
        return tuple([g if g is None else over(g, levels) for g in self.backward(run, roots, own, given, **settings)])

    def backward(self, run: Callable, outputs: list, inputs: Any, weights: list, **settings: Any) -> Any:
        """A pass over a tape of tensors with all samples (see ``under``): batched only where the gradients that go in are."""
        if self.levels and not any([w.__class__ is Batched for w in weights]):
            with self.within([]):
                return run(outputs, inputs, weights, **settings)
        return run(outputs, inputs, weights, **settings)

    # --- calls -----------------------------------------------------------------------------------------------------

    def __call__(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        """A primitive's call: by its rule, if a batched tensor is among the arguments."""
        level = innermost(args)
        if kwargs:
            more = innermost(kwargs.values())
            if more is not None and (level is None or more.depth > level.depth):
                level = more
        op: Op = function.op  # type: ignore[attr-defined]
        if get_ident() != self.thread:
            return getattr(dispatch, _SLOT[op.form])(op, args, kwargs)
        if level is not None and kwargs.get("out") is not None:
            raise RuntimeError(
                f"Batching rule not implemented for aten::{op.short_name}.out; the fallback path doesn't work on out= or view ops."
            )
        # What a rule of the outermost level calls has no batched tensors among its arguments any more.
        outermost = level is None or level.depth == 1
        if outermost:
            dispatch.watch = self.outer["watch"]
        try:
            if level is None:
                return function(*args, **kwargs)
            if op.form == "pointwise":
                return pointwise(level, function, args, kwargs)
            return RULES.get(op.name, call_each)(level, function, args, kwargs)
        finally:
            if outermost:
                dispatch.watch = self

    def compose(self, op: Op, args: tuple, kwargs: dict) -> Any:
        """A composite: as it is written, unless it is one whose meaning for a batch does not follow from its primitives'."""
        rule = COMPOSED.get(op.name)
        if rule is not None and self.levels:
            return rule(self, op, args, kwargs)
        return self.as_written(op, args, kwargs)

    def as_written(self, op: Op, args: tuple, kwargs: dict) -> Any:
        if innermost((*args, *kwargs.values())) is not None:
            return op.check(*args, **kwargs)
        return self.outer["compose"](op, args, kwargs)

    def record_in_order(self, op: Op, input: Tensor, attrs: dict, dtype: dtypes.dtype, order: Any) -> Tensor:
        """A copy of each sample with its dims in an order in memory."""
        if input.__class__ is not Batched:
            return self.outer["record_in_order"](op, input, attrs, dtype, order)
        inner = None if order is None else (0, *[d + 1 for d in order])
        return input._level.wrap(self.record_in_order(op, input._value, attrs, dtype, inner))

    def known(self, tensor: Tensor) -> Any:
        """The values of a batched tensor are not those of a sample, so they are not known."""
        return None if tensor.__class__ is Batched else self.outer["known"](tensor)

    def apply(self, function: type, args: tuple, kwargs: dict) -> Any:
        from flambeau.batching.functions import apply  # which opens levels

        return apply(function, args, kwargs)

    # --- writes ----------------------------------------------------------------------------------------------------

    def inplace(self, function: Callable, input: Tensor, args: tuple, kwargs: dict) -> Tensor:
        """Computes ``function(input, ...)`` and writes it into each sample of ``input``."""
        level = innermost((input, *args, *kwargs.values()))
        if level is None:
            return self.outer["inplace"](function, input, args, kwargs)
        name = function.op.short_name  # type: ignore[attr-defined]
        if not level.has(input):
            shape = input._shape
            if name in _OF_TWO:
                raise RuntimeError(f"output with shape {list(shape)} doesn't match the broadcast shape {[level.size, *shape]}")
            raise not_batched(name, level)
        result = function(input, *args, **kwargs)
        if result._shape != input._shape:
            raise RuntimeError(
                f"output with shape {list(input._shape)} doesn't match the broadcast shape {list(result._shape)}: "
                f"{name}_ cannot change the shape of the tensor that it writes to"
            )
        if result._dtype is not input._dtype and not dtypes.can_cast(result._dtype, input._dtype):
            raise cast_error(result._dtype, input._dtype)
        return self.assign(input, result)

    def assign(self, input: Tensor, result: Tensor, repeated: bool = False) -> Tensor:
        """Writes ``result`` into ``input``, which must hold the samples that ``result`` has."""
        level = innermost((input, result))
        if level is None:
            return self.outer["assign"](input, result, repeated)
        if not level.has(input):
            raise not_batched("index_put" if repeated else "copy", level)
        value = level.expanded(result)
        self.assign(input._value, value if level.has(result) else value.clone(), repeated)
        return input

    def note_write(self, input: Tensor, result: Tensor) -> None:
        """What is written to tensors that are not batched is no concern of a level's."""

    def put(self, input: Tensor, src: Tensor) -> bool:
        """Values that are there are written at once only where no batched tensor has a part in it."""
        return innermost((input, src)) is None and self.outer["put"](input, src)

    def refuse_overlap(self, op: Op, written: Any, arguments: tuple) -> None:
        """Whether samples overlap in memory is looked at where they are written."""
        if innermost((written, *arguments)) is None:
            self.outer["refuse_overlap"](op, written, arguments)

    def refuse_out(self, op: Op, out: Any, arguments: tuple) -> None:
        if innermost((out, *arguments)) is None:
            self.outer["refuse_out"](op, out, arguments)


_SLOT = {"op": "record", "pointwise": "record_pointwise", "view": "view"}
_OF_TWO = ("add", "atan2", "bitwise_and", "bitwise_or", "bitwise_xor", "hypot", "fmod", "nextafter")
"""Of these PyTorch says that the shape does not fit, rather than why."""
_ARITHMETIC = ("sub", "mul", "div", "true_divide", "copy", "logical_and", "logical_or", "logical_xor", "masked_fill")
_OWN_NAME = ("fill", "index_put", "index_add", "index_copy", "index_fill")


def not_batched(name: str, level: Level) -> RuntimeError:
    """The error for a write of batched values into a tensor that is the same for all samples."""
    told = "inplace arithmetic" if name in _ARITHMETIC else f"{name}_" if name in _OWN_NAME else f"aten::{name}_"
    where = f"at level {level.depth}" if told.startswith("aten") else "in a vmap"
    return RuntimeError(
        f"vmap: {told}(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args that has more elements "
        f"than `self`. This happened due to `other` being vmapped over but `self` not being vmapped over {where}. Please try to use "
        f"out-of-place operators instead of {told}. If said operator is being called inside the PyTorch framework, please file a bug "
        "report instead."
    )


def fill(slots: dict[str, Any]) -> None:
    for name, value in slots.items():
        setattr(dispatch, name, value)


interception = Interception()
