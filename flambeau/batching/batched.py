"""Batched tensors, and the levels that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeGuard

from flambeau.core.device import device
from flambeau.core.size import Size
from flambeau.tensor.attributes import contents_of
from flambeau.tensor.order import normal_strides
from flambeau.tensor.printing import tensor_repr
from flambeau.tensor.tensor import Tensor, disabled_torch_function

_new = object.__new__

_ITEM = (
    "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a Tensor, please try to "
    "rewrite what you're doing with other operations. If error is occurring somewhere inside PyTorch internals, please file a bug "
    "report."
)
_BOOL = (
    "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that yet, please "
    "file an issue at https://github.com/pytorch/pytorch/issues ."
)
_NO_MEMORY = "Cannot access data pointer of Tensor that doesn't have storage"
_LEAF = (
    "You are attempting to call Tensor.{}() (or perhaps using torch.autograd.functional.* APIs) inside of a function being "
    "transformed by a functorch transform. This is unsupported, please attempt to use the functorch transforms (e.g. grad, vjp, "
    "jacrev, jacfwd, hessian) or call {}() outside of a function being transformed instead."
)


class _NoStorage:
    """In place of a batched tensor's storage: whatever reads memory without knowing of batches fails here."""

    history, exposed, is_inference, is_meta = 0, True, False, False

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(_NO_MEMORY)

    def is_shared(self) -> NoReturn:
        raise RuntimeError(_NO_MEMORY)


class Level:
    """One ``vmap`` that is running: how many samples there are, and what random numbers do (see ``rules/random.py``).

    ``depth`` counts the levels from 1; a level's tensors may hold tensors of those with smaller numbers.
    """

    __slots__ = ("depth", "randomness", "size")

    def __init__(self, size: int, randomness: str, depth: int) -> None:
        self.size, self.randomness, self.depth = size, randomness, depth

    def wrap(self, values: Any) -> Any:
        """Batched tensors, of tensors whose first dim is the samples'."""
        if isinstance(values, Tensor):
            return batched(values, self)
        return values.__class__([v if v is None else batched(v, self) for v in values])

    def has(self, x: Any) -> TypeGuard[Batched]:
        """Whether ``x`` is a batched tensor of this level."""
        return x.__class__ is Batched and x._level is self

    def expanded(self, x: Any) -> Any:
        """The values of all samples: of a tensor that is no batched one, the same for each of them. Settings stay as they are."""
        if x.__class__ is Batched and x._level is self:
            return x._value
        return x.expand(self.size, *x._shape) if isinstance(x, Tensor) else x

    def aligned(self, x: Any, n: int) -> Any:
        """The values of ``x`` in a shape that broadcasts against those of samples with ``n`` dims."""
        if x.__class__ is not Batched or x._level is not self:
            return x
        value = x._value
        missing = n - len(x._shape)
        return value if missing <= 0 else value.reshape((self.size, *(1,) * missing, *x._shape))


class Batched(Tensor):
    """A tensor inside of ``vmap``: one sample, as far as one can see, and ``_value`` has all of them along its first dim."""

    __torch_function__ = disabled_torch_function

    _value: Tensor
    _level: Level
    _storage: Any = _NoStorage()
    _opaque = True  # type: ignore[assignment]

    # --- what is known of one sample ---------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return self._value.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> NoReturn:
        raise RuntimeError(_LEAF.format("requires_grad_", "requires_grad_"))

    @property
    def grad_fn(self) -> None:
        """``None``: what is on the tape is the tensor with all samples."""

    @property
    def device(self) -> device:
        return self._value.device

    @property
    def _version(self) -> int:
        return self._value._version

    @property
    def is_meta(self) -> bool:
        return self._value.is_meta

    def is_inference(self) -> bool:
        return self._value.is_inference()

    def register_hook(self, hook: Callable) -> Any:
        """Calls ``hook`` with each sample's gradient."""
        from flambeau.batching.interception import interception

        level, levels = self._level, list(interception.levels)

        def of_all(g: Tensor) -> Tensor | None:
            with interception.within(levels):
                replaced = hook(batched(g, level))
                return None if replaced is None else level.expanded(replaced)

        return self._value.register_hook(of_all)

    def detach(self) -> Tensor:
        return batched(self._value.detach(), self._level)

    def _alias(self, cls: type | None = None) -> Tensor:
        return batched(self._value._alias(), self._level)

    def _become(self, view: Batched) -> Batched:
        """Takes over what ``view`` is a view of."""
        contents_of(self).update({"_strides": None, "_offset": 0, "_bits": frozenset(), **contents_of(view)})
        return self

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # whose keyword mypy forgets
        inner = self._value.__repr__() if self._value.__class__ is Batched else tensor_repr(self._value)
        lines = "\n".join("    " + line for line in inner.split("\n"))
        return f"BatchedTensor(lvl={self._level.depth}, bdim=0, value=\n{lines}\n)"

    # --- what is not known ----------------------------------------------------------------------------------------

    def item(self) -> NoReturn:
        raise RuntimeError(_ITEM)

    def __bool__(self) -> NoReturn:
        raise RuntimeError(_BOOL)

    def _array(self) -> NoReturn:
        raise RuntimeError(_ITEM)

    def __format__(self, spec: str) -> str:
        return self.item().__format__(spec) if not self._shape else object.__format__(self, spec)

    def data_ptr(self) -> NoReturn:
        raise RuntimeError(_NO_MEMORY)

    def numpy(self, *, force: bool = False) -> NoReturn:
        raise RuntimeError(_NO_MEMORY)

    def tolist(self) -> NoReturn:
        raise RuntimeError(_NO_MEMORY)

    def untyped_storage(self) -> NoReturn:
        raise NotImplementedError("Cannot access storage of BatchedTensorImpl")

    def __deepcopy__(self, memo: dict) -> NoReturn:
        raise NotImplementedError("Cannot access storage of BatchedTensorImpl")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise NotImplementedError("Cannot access storage of BatchedTensorImpl")

    @property
    def data(self) -> NoReturn:
        raise RuntimeError("accessing `data` under vmap transform is not allowed")

    @data.setter
    def data(self, value: Tensor) -> NoReturn:
        raise RuntimeError("mutating directly with `.data` inside functorch transform is not allowed.")

    def backward(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            "backward() called inside a functorch transform. This is not supported, please use functorch.grad or functorch.vjp "
            "instead or call backward() outside of functorch transforms."
        )


Batched.__module__ = "torch"


def batched(value: Tensor, level: Level) -> Batched:
    """The batched tensor of ``level`` whose samples lie along the first dim of ``value``."""
    self = _new(Batched)
    self._value, self._level, self._dtype = value, level, value._dtype
    shape = self._shape = Size(value._shape[1:])
    if value._offset:
        self._offset = value._offset
    if value._bits:
        self._bits, self._strides = value._bits, value.stride()[1:]
    elif value._strides is not None:
        self._strides = normal_strides(shape, value._strides[1:])
    return self


def innermost(values: Iterable) -> Level | None:
    """The innermost level that a tensor among arguments belongs to."""
    found = None
    for x in values:
        if x.__class__ is Batched:
            if found is None or x._level.depth > found.depth:
                found = x._level
        elif x.__class__ is tuple or x.__class__ is list:
            for y in x:
                if y.__class__ is Batched and (found is None or y._level.depth > found.depth):
                    found = y._level
    return found


# --- the tape's tensors --------------------------------------------------------------------------------------------
#
# A tape that is made inside of levels 1 to d is made of tensors with the samples of all of them, the dims of the outermost
# first. What inner levels batch (the gradients of a Jacobian's rows, say) stays batched: a pass over the tape is then itself
# one that is batched.


def under(x: Tensor, levels: Sequence[Level]) -> Tensor:
    """``x`` with the samples of ``levels``, the outermost ones, as its first dims."""
    if not levels:
        return x
    if x.__class__ is Batched and x._level.depth > len(levels):
        return batched(under(x._value, levels).movedim(len(levels), 0), x._level)
    for level in reversed(levels):
        x = level.expanded(x)
    return x


def over(x: Tensor, levels: Sequence[Level]) -> Tensor:
    """The tensor that ``x`` holds the samples of: what :func:`under` has undone."""
    if not levels:
        return x
    if x.__class__ is Batched and x._level.depth > len(levels):
        return batched(over(x._value.movedim(0, len(levels)), levels), x._level)
    for level in levels:
        x = batched(x, level)
    return x
