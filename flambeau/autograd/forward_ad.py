"""Forward-mode differentiation: dual tensors, which carry a tangent along.

Inside a level (:class:`dual_level`) each op on dual tensors also makes the tangent of its result, ``J t``. Records have rules
for ``J^T u`` only, which are linear in ``u``; so ``J t`` is the derivative of ``<J^T u, t>`` by ``u``: what the tape gives for
one op on inputs of its own, differentiated once more. A view's tangent is the same view of the tangent, and a write to a dual
tensor is a write to its tangent.

A level fills slots of :mod:`flambeau.dispatch`; while there is none, nothing here is called.

Source: https://docs.pytorch.org/docs/stable/autograd.html#forward-mode-automatic-differentiation
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakSet

from flambeau import dispatch, ops
from flambeau.autograd.engine import grad
from flambeau.autograd.entries import OpBackward
from flambeau.autograd.modes import enable_grad
from flambeau.autograd.saving import Saved
from flambeau.core import dtypes
from flambeau.core.contexts import _DecoratorContextManager
from flambeau.core.random import default_generator
from flambeau.core.size import contiguous_strides
from flambeau.dispatch import grad_mode
from flambeau.tensor.record import make_view
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.watching import tensors_in

_SLOTS = ("watch", "put", "record_in_order", "refuse_out")
_LINEAR = {"_embedding"}
"""Ops that are linear in their first argument and whose gradient is not their derivative: it leaves rows out, or scales them."""
_NOT_SUPPORTED = "Trying to use forward AD with {} that does not support it because {}"


class Tangent:
    """What a tensor carries. ``alone``: the tensor is a view, but not for forward-mode: it has nothing to do with its base."""

    __slots__ = ("__weakref__", "alone", "value")

    def __init__(self, value: Tensor | None, alone: bool = False) -> None:
        self.value, self.alone = value, alone


class _Level:
    """The open level. It makes the calls of primitives (see ``dispatch.watch``) and is told of writes."""

    def __init__(self) -> None:
        self.carried: WeakSet[Tangent] = WeakSet()
        self.slots = {name: getattr(dispatch, name) for name in _SLOTS}
        self.own = {"watch": self, "put": self.put, "record_in_order": self.record_in_order, "refuse_out": self.refuse_out}

    def __call__(self, function: Callable, args: tuple, kwargs: dict):
        duals = _duals((*args, *kwargs.values()))
        with paused():
            return self.propagate(function, args, kwargs, duals)

    def propagate(self, function: Callable, args: tuple, kwargs: dict, duals: dict[int, tuple[Tensor, Tensor]]):
        """``function(*args, **kwargs)``, a primitive's call, with the tangents of its results."""
        is_view = function.op.form == "view"  # type: ignore[attr-defined]
        if not duals:
            result = function(*args, **kwargs)
            if is_view and args and (carried := args[0]._tangent) is not None and carried.alone:
                for r in _listed(result):
                    r._tangent = carried
            return result
        if kwargs.get("out") is not None:
            self.refuse_out(function.op, kwargs["out"], args)  # type: ignore[attr-defined]
        state = default_generator.get_state()
        result = function(*args, **kwargs)
        if is_view or function.op.name in _LINEAR:  # type: ignore[attr-defined]
            input = args[0]
            self.set(input, duals[id(input)][1])  # a layout has moved it
            for r, t in zip(_listed(result), _listed(function(input._tangent.value, *args[1:], **kwargs)), strict=True):
                self.set(r, t)
            return result
        default_generator.set_state(state)  # an op that draws numbers draws the same again
        tangents = _pushed(function, args, kwargs, duals)
        used = {id(t._storage) for pair in duals.values() for t in pair}
        for r, t in zip(_listed(result), tangents, strict=True):
            if t is not None:
                self.set(r, t.clone() if id(t._storage) in used else t)
        entry = next((r._grad_fn for r in _listed(result) if isinstance(r._grad_fn, OpBackward)), None)
        if entry is not None:
            self.remember(entry, _listed(result), duals)
        return result

    def remember(self, entry: OpBackward, results: Sequence[Tensor], duals: dict[int, tuple[Tensor, Tensor]]) -> None:
        """Lets an entry on the tape find its saved values with the tangents that they have now, so that its gradients get theirs."""
        found: list[Tangent | None] = []
        for item, (_, index, _layout) in zip(entry.saved or (), entry.pattern.kept, strict=True):
            holder = item[0] if item.__class__ is tuple else item.tensor if item.__class__ is Saved else None
            t = None
            if index is not None and index < 0:
                t = tangent_of(results[-1 - index])
            elif id(holder) in duals:
                t = duals[id(holder)][1]
            found.append(None if t is None else Tangent(t.clone(), alone=True))
        self.carried.update([t for t in found if t is not None])

        refused = _NOT_SUPPORTED.format(entry.name(), "it is made of lists of tensors.") if entry.pattern.lists else ""

        def carrying(values: list) -> list:
            if refused and is_active():
                raise NotImplementedError(refused)
            for i, t in enumerate(found, len(values) - len(found)):
                if t is not None and t.value is not None and is_active():
                    values[i] = values[i]._alias()
                    values[i]._tangent = t
            return values

        entry.hooked, entry.carrying = True, carrying  # a backward pass that repeats another's nodes would know no tangents

    def set(self, tensor: Tensor, value: Tensor | None) -> None:
        """Gives a tensor a tangent, laid out in memory as the tensor is, so that views of one are views of the other."""
        if value is not None:
            value = _laid_out(value, tensor)
        before = tensor._tangent
        tensor._tangent = carried = Tangent(value, before is not None and before.alone)
        self.carried.add(carried)

    def note_write(self, input: Tensor, result: Tensor) -> None:
        """Writes the tangent of ``result``, which is about to be written into ``input``."""
        new, old = tangent_of(result), tangent_of(input)
        if new is None and old is None or input._dtype.kind < dtypes.FLOATING:
            return
        with paused():
            if old is None:
                old = self._zeros(input)
            if new is None:
                old.zero_()
            else:
                old.copy_(new)

    def _zeros(self, tensor: Tensor) -> Tensor:
        """A tangent for a tensor that is written to: of a view, that part of its base's."""
        base, carried = tensor._base, tensor._tangent
        if base is None or carried is not None and carried.alone:
            self.set(tensor, ops.zeros_like(tensor))
        else:
            self.set(base, ops.zeros_like(base))
        return tangent_of(tensor)  # type: ignore[return-value]

    def put(self, input: Tensor, src: Tensor) -> bool:
        return False  # writes are recorded, and noted

    def record_in_order(self, op, input: Tensor, attrs: dict, dtype: dtypes.dtype, order) -> Tensor:
        """A copy, or a conversion: linear, so the tangent's is that of the tangent."""
        record = self.slots["record_in_order"]
        result, t = record(op, input, attrs, dtype, order), tangent_of(input)
        if t is not None and dtype.kind >= dtypes.FLOATING:
            self.set(result, record(op, t, attrs, dtype, order))
        return result

    def refuse_out(self, op, out, arguments: tuple) -> None:
        if _duals((*arguments, out)):
            raise NotImplementedError(_NOT_SUPPORTED.format(f"{op.short_name}_out", "it is an out= function"))
        self.slots["refuse_out"](op, out, arguments)


_level: _Level | None = None
_current_level = -1


def is_active() -> bool:
    """Whether tangents are carried along now."""
    return _level is not None and dispatch.watch is _level


@contextmanager
def paused() -> Iterator[None]:
    """Ops inside take dual tensors for what they are without their tangents."""
    filled = {name: getattr(dispatch, name) for name in _SLOTS}
    if _level is not None:
        _fill(_level.slots)
    try:
        yield
    finally:
        if _level is not None:
            _fill(filled)


def _fill(slots: dict[str, Any]) -> None:
    for name, value in slots.items():
        setattr(dispatch, name, value)


def tangent_of(tensor: Tensor) -> Tensor | None:
    """The tangent that a tensor has, itself or as a part of its base; ``None`` where there is none."""
    carried = tensor._tangent
    if carried is not None and (carried.value is not None or carried.alone) or _level is None:
        return None if carried is None else carried.value
    base = tensor._base
    carried = None if base is None else base._tangent
    if carried is None or carried.value is None:
        return None
    with paused():
        _level.set(tensor, _part(carried.value, tensor))
    return tensor._tangent.value


def give(tensor: Tensor, value: Tensor | None) -> None:
    """Gives a tensor a tangent that was made elsewhere."""
    if _level is not None:
        if value is not None:
            _check_size(tensor, value)
        _level.set(tensor, value)


def _part(value: Tensor, view: Tensor) -> Tensor:
    """What ``view`` is of its base, of the base's tangent."""
    if view._dtype is value._dtype and view._bits == value._bits:
        return value.as_strided(view._shape, view.stride(), view._offset)
    if value.requires_grad:
        raise NotImplementedError(
            _NOT_SUPPORTED.format("a view of another dtype", "its base was written to and its tangent requires grad.")
        )
    part = make_view(value, view._shape, view.stride(), view._offset, view._dtype)
    part._bits, part._strides = view._bits, view.stride()
    return part


def _laid_out(value: Tensor, like: Tensor) -> Tensor:
    """``value``, or a copy that lies in memory as ``like`` does. What stands for many samples lies nowhere."""
    if type(value)._opaque is True:
        return value
    strides, expected = value.stride(), like.stride()
    same = [a == b for a, b, n in zip(strides, expected, like._shape, strict=True) if n > 1]
    size = like._storage.size * like._storage.dtype.itemsize
    if not like.numel() or (
        all(same) and value._offset == like._offset and value._bits == like._bits
        and value._storage.size * value._storage.dtype.itemsize == size
    ):  # fmt: skip
        return value
    room = value.new_zeros(size // like._dtype.itemsize if like._dtype.itemsize else 0, dtype=like._dtype)
    if strides and 0 in expected:
        room = value.new_zeros(like.numel(), dtype=like._dtype)  # elements seen more than once need not be the same
        own = room.as_strided(like._shape, contiguous_strides(like._shape), 0)
    else:
        own = room.as_strided(like._shape, expected, like._offset)
    for name in like._bits:
        own = own.conj() if name == "conj" else own._neg_view()
    own.copy_(value)
    return own


def _listed(result) -> Sequence:
    return (result,) if isinstance(result, Tensor) else result


def _duals(values: Sequence) -> dict[int, tuple[Tensor, Tensor]]:
    """By id the dual tensors among arguments, with their tangents."""
    found = ((x, tangent_of(x)) for x in tensors_in(values))
    return {id(x): (x, t) for x, t in found if t is not None}


def _pushed(function: Callable, args: tuple, kwargs: dict, duals: dict[int, tuple[Tensor, Tensor]]) -> list[Tensor | None]:
    """The tangents of the results of an op's call; ``None`` for what it has no derivative of."""
    recorded = grad_mode.enabled and any(
        t.requires_grad for t in [*tensors_in((*args, *kwargs.values())), *[t for _, t in duals.values()]]
    )
    own = {i: x.view_as(x) if grad_mode.enabled and x.requires_grad else x.detach().requires_grad_() for i, (x, _) in duals.items()}

    def replaced(x):
        if isinstance(x, (tuple, list)):  # named ones too: results of an op may be what another takes as a list
            return list(map(replaced, x)) if isinstance(x, list) else tuple(map(replaced, x))
        return own.get(id(x), x)

    with enable_grad():
        results = _listed(function(*map(replaced, args), **{k: replaced(v) for k, v in kwargs.items()}))
        found: list[Tensor | None] = [None] * len(results)
        places = [i for i, r in enumerate(results) if isinstance(r, Tensor) and r.requires_grad]
        if not places:
            return found
        outputs = [results[i] for i in places]
        dummies = [ops.zeros_like(y).requires_grad_() for y in outputs]
        try:
            products = grad(outputs, list(own.values()), dummies, create_graph=True, allow_unused=True)
            pairs = [
                (p, t.to(p._dtype)) for p, (_, t) in zip(products, duals.values(), strict=True) if p is not None and p.requires_grad
            ]
            tangents: Sequence = [None] * len(dummies)
            if pairs:
                tangents = grad(
                    [p for p, _ in pairs], dummies, [t for _, t in pairs], create_graph=bool(recorded), allow_unused=True
                )
        except NotImplementedError as error:
            reason = "it has not been implemented yet."
            raise NotImplementedError(_NOT_SUPPORTED.format(function.op.short_name, reason)) from error  # type: ignore[attr-defined]
        for i, y, t in zip(places, outputs, tangents, strict=True):
            found[i] = ops.zeros_like(y) if t is None else t if recorded else t.detach()
    return found


# --- the public interface ----------------------------------------------------------------------------------------


class UnpackedDualTensor(NamedTuple):
    """A dual tensor's two parts; ``tangent`` is ``None`` where it has none."""

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> int:
    """Opens a level, in which tensors can be made dual, and returns its number, which is 0: there is one at a time."""
    global _level, _current_level
    if _level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _level, _current_level = _Level(), 0
    _fill(_level.own)
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Closes the level: no tensor has a tangent any more."""
    global _level, _current_level
    if _level is None:
        raise RuntimeError("Dual level must be a positive number.")
    if level not in (None, 0):
        raise RuntimeError("Trying to exit a forward AD level that was not the last one that was created. This is not supported.")
    _fill(_level.slots)
    for carried in list(_level.carried):
        carried.value = None
    _level, _current_level = None, -1


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A view of ``tensor`` that carries ``tangent``, which must be of its size.

    >>> import flambeau as torch
    >>> import flambeau.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0]))
    ...     fwAD.unpack_dual(x * x).tangent
    tensor([2., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.forward_ad.make_dual.html
    """
    if _level is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for name, x in (("primal", tensor), ("tangent", tangent)):
        if not (x.is_floating_point() or x.is_complex()):
            raise ValueError(f"Expected {name} to be floating point or complex, but got: {x.dtype}")
    _check_size(tensor, tangent)
    if tangent_of(tangent) is not None:
        raise RuntimeError("Setting a forward grad that itself has a forward gradient at the same level 0 is not supported.")
    dual = _primal_of(tensor)
    with paused():
        _level.set(dual, tangent)
    return dual


def _check_size(tensor: Tensor, tangent: Tensor) -> None:
    if tensor._shape != tangent._shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. "
            f"Tensor is of size {list(tensor._shape)} while the given forward gradient is of size {list(tangent._shape)}."
        )


def _primal_of(tensor: Tensor) -> Tensor:
    """A view of a tensor that does not carry its tangent, nor that of its base."""
    with paused():
        primal = tensor.view_as(tensor)
    if grad_mode.inference:
        primal._base = None
    primal._tangent = Tangent(None, alone=True)
    return primal


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """A tensor without its tangent (a view), and its tangent."""
    if _level is None:
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(_primal_of(tensor), tangent_of(tensor))


class dual_level(_DecoratorContextManager):
    """Opens a level for the length of a ``with`` block; a decorator too.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.forward_ad.dual_level.html
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc) -> None:
        exit_dual_level()
