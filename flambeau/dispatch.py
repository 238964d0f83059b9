"""The one seam between ops, tensors and the tape.

Ops make tensors, tensors call ops, and gradients are made of ops: this circle of ideas is cut here. The floors above
fill the slots when they are imported: ``tensor/`` gives ``Tensor``, ``record``, ``view`` and ``wrap``; ``autograd/``
gives ``attach``. The floors below call through the module (``dispatch.record(...)``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flambeau.tensor import Tensor


class _GradMode(threading.local):
    """Whether operations are put on the tape, per thread.

    ``enabled`` is ``None`` in inference mode: as ``False``, but calls that are repeated tell them apart. ``asked`` is what
    programs see there.
    """

    enabled: bool | None = True
    inference = False
    asked = True
    threads = True  # whether programs allow a backward pass to use some

    def off(self) -> None:
        """Takes operations off the tape. Inference mode goes on: there ``enabled`` stays ``None``.

        It is called inside of a ``try`` that sets ``enabled`` back: a signal handler may raise when a call has returned.
        """
        self.enabled = self.enabled and False


class _Autocast(threading.local):
    """What is done to the arguments of the ops that automatic mixed precision casts, per thread; ``None`` outside of it."""

    cast: Any = None


grad_mode = _GradMode()
autocast = _Autocast()

if not TYPE_CHECKING:
    Tensor: Any = None

repeat: Callable = None  # type: ignore[assignment]
"""``repeat(op, args, kwargs)``: the result of a call that is like an earlier one; ``None`` where it is not."""

record: Callable = None  # type: ignore[assignment]
"""``record(op, args, kwargs)``: infers, makes the node, and returns the result tensor or tuple of tensors."""

record_pointwise: Callable = None  # type: ignore[assignment]
"""``record_pointwise(op, args, kwargs)``: the same for an elementwise op."""

record_in_order: Callable = None  # type: ignore[assignment]
"""``record_in_order(op, input, attrs, dtype, order)``: the same for a copy with its dims in a given order in memory."""

view: Callable = None  # type: ignore[assignment]
"""``view(op, args, kwargs)``: the same for an op whose results share their input's storage."""

overridden: Callable = None  # type: ignore[assignment]
"""``overridden(function, args, kwargs)``: what a ``__torch_function__`` among the arguments gives; ``NotImplemented`` where none
is."""

offered: Callable = None  # type: ignore[assignment]
"""``offered(function, args, kwargs)``: what a mode makes of a call of a function that is no op; ``None`` where none is on."""

adopt: Callable = None  # type: ignore[assignment]
"""``adopt(cls)``: sees to it that a new subclass of Tensor is asked so."""

compose: Callable = None  # type: ignore[assignment]
"""``compose(op, args, kwargs)``: runs a composite, or makes the calls that it made of like arguments before."""

watch: Any = None
"""``watch(function, args, kwargs)``: makes a primitive's call for a composite that is being learned; ``None`` while none is.
``watch.note_write(input, result)`` is told of what is assigned; one that has ``whole`` makes the calls of composites too."""

inplace: Callable = None  # type: ignore[assignment]
"""``inplace(function, input, args, kwargs)``: computes ``function(input, ...)`` and writes the result into ``input``."""

refuse_overlap: Callable = None  # type: ignore[assignment]
"""``refuse_overlap(op, written, arguments)``: raises where an op would read memory that it writes to, and PyTorch minds."""

refuse_out: Callable = None  # type: ignore[assignment]
"""``refuse_out(op, out, arguments)``: the same for what is given as ``out=``."""

write_out: Callable = None  # type: ignore[assignment]
"""``write_out(name, result, out)``: writes a result into the tensors given as ``out=``."""

flipped: Callable = None  # type: ignore[assignment]
"""``flipped(node, bits)``: the elements of a node with the conjugate and the sign that the bits of a view give them."""

known: Callable = None  # type: ignore[assignment]
"""``known(tensor)``: its values as an array, not for writing, where nothing must run to have them; else ``None``."""

wrap: Callable = None  # type: ignore[assignment]
"""``wrap(array, dtype=None)``: a tensor over a NumPy array of its own."""

legacy_tensor: Callable = None  # type: ignore[assignment]
"""``legacy_tensor(cls, dtype, args, kwargs)``: the tensor that ``cls(*args, **kwargs)`` makes, of sizes or of data."""

untyped_storage: Callable = None  # type: ignore[assignment]
"""``untyped_storage(tensor)``: the bytes of its memory, as programs see them."""

attach: Callable = None  # type: ignore[assignment]
"""``attach(op, results, inputs, attrs)``: puts the operation on the tape."""

enter: Callable = None  # type: ignore[assignment]
"""``enter(pattern, inputs, results)``: the same where an entry of the same pattern was made before."""

warn_grad_of_non_leaf: Callable = None  # type: ignore[assignment]
"""``warn_grad_of_non_leaf()``: the warning for who reads ``.grad`` of a tensor that keeps none."""

tape_parts: Callable = None  # type: ignore[assignment]
"""``tape_parts()``: by name, what code needs that makes entries itself."""

pattern_of: Callable = None  # type: ignore[assignment]
"""``pattern_of(entry)``: what entries of calls like that one have in common; ``None`` where each is different."""

layout_of: Callable = None  # type: ignore[assignment]
"""``layout_of(tensor)``: what recording looks at in a tensor, as one object for all equal ones."""

valueless: Callable = None  # type: ignore[assignment]
"""``valueless(shape, dtype, strides=None, like=None)``: a tensor on the device ``meta``, or of the kind that has ``like`` in place
of memory."""

assign: Callable = None  # type: ignore[assignment]
"""``assign(input, result)``: writes a fresh result of ``input``'s shape into ``input``."""

put: Callable = None  # type: ignore[assignment]
"""``put(input, src)``: writes values that are there into a part of some memory at once, if nobody waits for the old content."""

result_type: Callable = None  # type: ignore[assignment]
"""``result_type(*operands)``: the dtype of arithmetic between tensors and numbers."""

accumulator: Callable = None  # type: ignore[assignment]
"""``accumulator(leaf)``: the tape's node that adds to ``leaf.grad``."""

rebase: Callable = None  # type: ignore[assignment]
"""``rebase(input, result)``: the tape's part of an in-place write."""

refuse_write: Callable = None  # type: ignore[assignment]
"""``refuse_write(input)``: raises where the tape does not allow an in-place change of ``input``."""

picture: Callable = None  # type: ignore[assignment]
"""``picture(x)``: a tensor, a module or an optimizer as HTML, for notebooks (see flambeau/pictures)."""

sparse: Callable = None  # type: ignore[assignment]
"""``sparse()``: the module that makes sparse tensors (see flambeau/sparse), imported when it is first wanted."""

vmap: Callable = None  # type: ignore[assignment]
"""``vmap(function)``: ``function`` of one sample as one of many (see flambeau/batching)."""

apply_batched: Any = None
"""``apply_batched(function, args, kwargs)``: a user's Function inside of ``vmap``; ``NotImplemented`` where nothing is batched, and
``None`` outside."""

batched_grad: Any = None
"""``batched_grad(grad, outputs, inputs, weights, **settings)``: the same for ``autograd.grad``."""

regenerate: Callable = None  # type: ignore[assignment]
"""``regenerate(view)``: brings a view's place on the tape up to date after a write to its base."""
