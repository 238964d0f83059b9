"""Values that the tape keeps for the backward pass, and hooks that store them in another way.

Source: https://docs.pytorch.org/docs/stable/autograd.html#saved-tensors-hooks-doc
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from flambeau.dispatch import grad_mode
from flambeau.tensor.reading import WINDOW, is_window, read
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor, make_tensor

SECOND_TIME = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)

OF_INFERENCE = (
    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation tracked by "
    "autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use `torch.no_grad()` "
    "instead of `torch.inference_mode()`."
)

saving_hooks: list[tuple[Callable, Callable]] = []
"""The hooks that are on in any thread: while there are none, nobody has to look at the thread's own."""


class _Own(threading.local):
    """What is on in this thread: of both the last one counts."""

    def __init__(self) -> None:
        self.hooks: list[tuple[Callable, Callable]] = []  # how saved values are stored and read
        self.refusals: list[str] = []


_own = _Own()


def own_hooks() -> tuple[Callable, Callable] | None:
    """How this thread stores and reads saved values; ``None``: as they are."""
    return _own.hooks[-1] if saving_hooks and _own.hooks else None


class Saved:
    """A tensor's value at the time it was saved, whatever is written into the tensor later.

    ``index`` is the input's, or ``-1 - index`` for an output of the node that saves it.
    """

    __slots__ = ("geometry", "index", "node", "shape", "tensor", "unpack_hook")

    def __init__(self, tensor: Tensor, index: int) -> None:
        self.index = index
        if tensor._storage.is_inference:
            raise RuntimeError(OF_INFERENCE)
        hooks = own_hooks()
        if hooks is not None:
            pack, self.unpack_hook = hooks
            given = tensor.detach()
            version = given._version
            self.node, self.tensor = None, _without_tape(pack, given)
            if given._version != version:
                raise RuntimeError(
                    "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook cannot be modified by "
                    "in-place operations as this can lead to unexpected side-effects. Please open an issue if you need to perform in-place "
                    "operations on the input to a pack hook."
                )
            return
        storage = tensor._storage
        if not storage.is_meta and (storage.exposed and storage.is_shared() or is_window(tensor) or tensor._bits):
            node = read(tensor)
            keep = make_tensor(Storage(node), tensor._shape, tensor._dtype)
            keep._grad_fn, keep._output_nr = (
                tensor._grad_fn,
                tensor._output_nr,
            )  # of a leaf it is no other leaf: the entry's edge leads there
            tensor = keep
        self.tensor = tensor
        self.node = node = tensor._storage.node
        self.shape = tensor._shape
        plain = tensor._strides is None and not tensor._offset and tensor._dtype is node.dtype
        self.geometry = None if plain else (tensor._strides, tensor._offset, tensor._dtype)

    @classmethod
    def again(cls, tensor: Tensor, node, layout, index: int) -> Saved:
        """What a ``Saved`` would be that had been made when ``node`` was the content of ``tensor``."""
        self = object.__new__(cls)
        self.tensor, self.node, self.index = tensor, node, index
        self.shape = tensor._shape if tensor._layout is layout else layout.shape
        apart = layout.memory is not None and layout.memory is not WINDOW  # a window's node is all of it
        self.geometry = (layout.strides, layout.offset, layout.dtype) if apart else None
        return self

    def unpack(self, owner) -> Tensor:
        """The saved tensor, at its place on the tape; ``owner`` is the node that saved it."""
        t = self.tensor
        index = self.index
        if self.node is None:
            t = _without_tape(self.unpack_hook, t)
            if not isinstance(t, Tensor):
                raise TypeError(
                    f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(t).__name__}"
                )
            same = True
        else:
            same = t._storage.node is self.node and t._shape is self.shape
        if index < 0:
            out = t._alias() if same else self.restored()
            out._grad_fn, out._output_nr = owner, -1 - index
            return out
        edge = owner.edges[index]
        if edge is not None and t._grad_fn is None and not t._requires_grad and self.node is not None and edge[0].edges:
            raise RuntimeError(
                "Trying to use a saved tensor that has been detached in-place, i.e. with .detach_(). This is not supported, "
                "please use out-of-place `.detach()` instead"
            )
        if same and (t._grad_fn is None if edge is None else t._requires_grad or t._grad_fn is edge[0]):
            return t
        out = t._alias() if same else self.restored()
        out._base = None
        out._requires_grad = False
        out._grad_fn, out._output_nr = edge or (None, 0)
        return out

    def restored(self) -> Tensor:
        """The saved value, after its tensor has been written to or has got other memory."""
        assert self.node is not None
        out = make_tensor(Storage(self.node), self.shape, self.node.dtype)
        if self.geometry is not None:
            out._strides, out._offset, out._dtype = self.geometry
        return out


def sort_of(x) -> tuple | None:
    """What matters in an element of a saved list, of which the entry's pattern says nothing; ``None`` where that is not known."""
    kind = x.__class__
    if kind is Saved:
        return None if x.node is None else (x.shape, x.geometry, x.node.shape, x.node.dtype)
    return (kind, repr(x)) if kind is int or kind is float or x is None else None


def _without_tape(hook: Callable, value):
    previous = grad_mode.enabled
    try:
        grad_mode.off()
        return hook(value)
    finally:
        grad_mode.enabled = previous


class saved_tensors_hooks:
    """Inside, each tensor that the tape saves is stored as ``pack_hook(tensor)`` and read by ``unpack_hook``.

    >>> import flambeau as torch
    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy().tolist(), torch.tensor):
    ...     y = x * x
    >>> y.backward()
    >>> x.grad
    tensor([4.])
    """

    def __init__(self, pack_hook: Callable, unpack_hook: Callable) -> None:
        self.hooks = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if _own.refusals:
            raise RuntimeError(_own.refusals[-1])
        _own.hooks.append(self.hooks)
        saving_hooks.append(self.hooks)

    def __exit__(self, *exc) -> None:
        saving_hooks.remove(_own.hooks.pop())


class save_on_cpu(saved_tensors_hooks):
    """Inside, saved tensors are kept on the CPU: where flambeau has them anyway."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: t, lambda t: t)


class allow_mutation_on_saved_tensors:
    """Inside, tensors that are saved for the backward pass may be written to. Here they may be anywhere: what is saved is the
    value when it was saved, and a write makes a new one.

    >>> import flambeau as torch
    >>> with torch.autograd.graph.allow_mutation_on_saved_tensors():
    ...     a = torch.ones(2, requires_grad=True)
    ...     b = a.clone()
    ...     out = (b ** 2).sum()
    ...     b = b.sin_()
    ...     out.backward()
    >>> a.grad
    tensor([2., 2.])

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.allow_mutation_on_saved_tensors
    """

    _active = False

    def __enter__(self) -> allow_mutation_on_saved_tensors:
        if allow_mutation_on_saved_tensors._active:
            raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
        allow_mutation_on_saved_tensors._active = True
        return self

    def __exit__(self, *exc) -> None:
        allow_mutation_on_saved_tensors._active = False

    def clear(self) -> None:
        """Lets go of copies: there are none."""


class disable_saved_tensors_hooks:
    """Inside, :class:`saved_tensors_hooks` raises a ``RuntimeError`` with this message."""

    def __init__(self, error_message: str) -> None:
        self.message = error_message

    def __enter__(self) -> None:
        if _own.hooks:
            raise RuntimeError(self.message)
        _own.refusals.append(self.message)

    def __exit__(self, *exc) -> None:
        _own.refusals.pop()
