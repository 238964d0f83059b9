"""In-place writes and ``out=``: what a call makes becomes the content of a tensor that is there already."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import prod

import numpy as np

from flambeau import dispatch
from flambeau.core import config, dtypes
from flambeau.core.dtypes import c_name, scalar_name
from flambeau.core.errors import describe, raise_first
from flambeau.core.results import ReturnType, written_type
from flambeau.core.size import Size, contiguous_strides, may_overlap
from flambeau.dispatch import grad_mode
from flambeau.engine import graph
from flambeau.engine.graph import VIEW, Node, leaf
from flambeau.engine.run import after_record, is_short, run_ahead
from flambeau.ops.indexing import expand_masks, index_copy, is_filling
from flambeau.ops.wrong_tensors import wrong_tensor
from flambeau.tensor.attributes import contents_of
from flambeau.tensor.overlap import PARTLY, SAME_EVERYWHERE, in_memory, refuse_overlap, refuse_repeated, shows_twice
from flambeau.tensor.reading import geometry_of, is_plain, read, values_of
from flambeau.tensor.record import cast_node, flipped
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor


def inplace(function, input: Tensor, args: tuple, kwargs: dict) -> Tensor:
    """Computes ``function(input, ...)`` and writes it into ``input``."""
    name = function.op.short_name
    if args and (len(args) > 1 or args[0].__class__ is Tensor and args[0]._storage is input._storage):
        fills = name == "index_put" and len(args) == 2 and not kwargs and is_filling(*args)
        refuse_overlap(function.op, input, args[:1] if fills else args)
    if name == "index_put" and shows_twice(input):
        return _put_in_memory(function, input, *args, **kwargs)
    # An alias stands for the old value: what the tape saves of it does not change with ``input``.
    on_tape = grad_mode.enabled and input._dtype.kind >= dtypes.FLOATING
    if on_tape and not kwargs and _is_off_tape(input):
        on_tape = not all([_is_off_tape(x) for x in args if isinstance(x, Tensor)])
    try:
        result = function(input._alias() if on_tape else input, *args, **kwargs)
    except TypeError as error:
        if "invalid combination" not in str(error):
            raise_first([wrong_tensor(function, (input, *args), kwargs, name + "_")], hides=True)
        if str(error).startswith(name + "()"):
            raise TypeError(str(error).replace(name, name + "_", 1)) from None
        raise
    if not grad_mode.enabled and dispatch.watch is None and _fills(result, input):
        input._storage.write(result._storage.node)
        return input
    if result._shape != input._shape:
        raise RuntimeError(
            f"output with shape {list(input._shape)} doesn't match the broadcast shape {list(result._shape)}: "
            f"{function.__name__}_ cannot change the shape of the tensor that it writes to"
        )
    if result._dtype is not input._dtype:
        if not dtypes.can_cast(result._dtype, input._dtype):
            raise cast_error(result._dtype, input._dtype)
        if input._dtype.kind == dtypes.COMPLEX and result._dtype.kind == dtypes.FLOATING:
            raise RuntimeError(f"In-place {name} is not supported for complex tensors.")
    return assign(input, result, name in SAME_EVERYWHERE, name in PARTLY)


def _put_in_memory(function, input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """``input.index_put_(...)`` for windows that overlap."""
    memory, places = in_memory(input, expand_masks(input, indices))
    inplace(function, memory, (places, values, accumulate), {})
    return input


def cast_error(source: dtypes.dtype, target: dtypes.dtype) -> RuntimeError:
    return RuntimeError(f"result type {scalar_name(source)} can't be cast to the desired output type {scalar_name(target)}")


def assign(input: Tensor, result: Tensor, repeated: bool = False, partly: bool = False) -> Tensor:
    """Writes ``result``, a fresh tensor of ``input``'s shape, into ``input``; the tape follows.

    ``repeated``: it may be written to the same memory more than once. ``partly``: elements that are what they were are not written.
    """
    if dispatch.watch is not None:
        dispatch.watch.note_write(input, result)
    if not grad_mode.enabled and _fills(result, input):
        input._storage.write(result._storage.node)
        return input
    if input._strides is not None and not repeated:
        refuse_repeated(input)
    partly = partly and input._strides is not None and may_overlap(input._shape, input._strides)
    if not grad_mode.enabled:
        return _write(input, result, partly)
    storage, base = input._storage, input._base
    if base is None and not (_may_be_on_tape(input) or _may_be_on_tape(result)):  # dispatch.rebase has nothing to do
        if input._from_data:
            storage.unseen += 1
        if not _fills(result, input) or config.eager:
            return _write(input, result, partly)
        storage.write(result._storage.node)
        return input
    if base is not None and _is_off_tape(input) and _is_off_tape(base) and not result.requires_grad:  # nor here
        if base._from_data:
            storage.unseen += 1
        return _write(input, result, partly)
    content, history = storage.node, storage.history
    places = [(t, dict(contents_of(t))) for t in (input, base) if t is not None]
    try:
        dispatch.rebase(input, result)
        return _write(input, result, partly)
    except BaseException:
        if storage.node is content:  # not written: the tape is as before
            for t, before in places:
                contents_of(t).clear()
                contents_of(t).update(before)
            storage.history = history
        raise


def _may_be_on_tape(t: Tensor) -> bool:
    return t._grad_fn is not None or t._requires_grad or t._base is not None


def _is_off_tape(t: Tensor) -> bool:
    """Whether the tape knows nothing of a tensor; ``False`` for a view where that must be found out."""
    return (
        t._grad_fn is None and not t._requires_grad and t._tangent is None and (t._base is None or t._history == t._storage.history)
    )


MANY_WRITTEN = 4096
"""With so many elements a write to a part may wait, like anything else."""


MOST_PARTS = 8
"""After so many writes to parts of memory off the tape what is pending runs: with the content there, the next are done at once."""


def _written_now(input: Tensor, result: Tensor) -> bool:
    """Writes a result to a part of some memory, whose content is there, at once, if little else is pending; whether it did."""
    storage = input._storage
    if storage.node.value.__class__ is not np.ndarray or not input._dtype is storage.node.dtype is result._dtype:
        return False
    watch = dispatch.watch
    if watch is not None and not getattr(watch, "learns", False):
        return False
    if input._bits or not Storage.windowed or is_plain(input) or grad_mode.enabled and not _is_off_tape(input):
        return False
    if result._storage.node.value is None:
        if not is_short(graph.trace) or input._shape.numel() > MANY_WRITTEN:
            return False
        run_ahead(result._storage.node)
    values = values_of(result)
    if values is None or not storage.put(values, input._shape, input._strides, input._offset):
        return False
    if watch is not None:  # which knows of writes that wait. What has been pending shall not depend on whether somebody watches.
        watch.abandon()
    return True


def _write(input: Tensor, result: Tensor, partly: bool = False) -> Tensor:
    if result._storage.is_meta or input._storage.is_meta:
        if not input._storage.is_meta:
            result._storage.array()  # raises
        input._storage.check_write()
        input._storage.version += 1
        return input
    if input._base is not None and not partly and _written_now(input, result):
        return input
    node = read(result)
    if node.dtype is not input._dtype:
        node = cast_node(node, input._dtype)
    if input._bits:
        node = flipped(node, input._bits)
    storage = input._storage
    whole = input._strides is None and input._offset == 0 and input._shape.numel() == storage.size
    content = storage.node
    same = content.shape == node.shape  # recipes rely on that a storage's content keeps its shape
    if whole and content.dtype is input._dtype and (same or node.op is not VIEW):
        if not same:
            strides = contiguous_strides(content.shape)
            geometry = {"shape": content.shape, "strides": strides, "offset": 0, "dtype": content.dtype}
            node = Node(VIEW, (node,), geometry, content.shape, content.dtype)
        storage.write(node)
    elif storage.segment is not None:
        storage.store(node, geometry_of(input))
    else:  # part of the memory, or all of it seen as another dtype (``x.view(torch.int32)``, ``view_as_real``)
        op = graph.WRITE_CHANGED if partly else graph.WRITE
        written = _rows_written(input, content, node) if Storage.windowed else None
        waiting = content.value is None
        storage.write(written or Node(op, (content, node), geometry_of(input), content.shape, content.dtype))
        del written, node, content
        storage.parts = storage.parts + 1 if waiting else 1
        if storage.parts >= MOST_PARTS and Storage.windowed and dispatch.watch is None and _is_off_tape(input):
            storage.parts = 0
            run_ahead()
    if config.eager or len(graph.trace) >= config.max_pending_nodes:
        after_record()
    return input


MAX_MOVING = 1 << 20
"""Elements of memory of which a few rows are written by index; the interpreter copies all of it."""


def _rows_written(input: Tensor, content: Node, node: Node) -> Node | None:
    """A write to some rows of memory whose content is there: by index, since a program that goes on from row to row writes to
    others each time. ``None`` for other parts."""
    shape, written = content.shape, tuple(node.shape)
    if content.value is None or input._strides is not None or content.dtype is not input._dtype or not shape:
        return None
    inner = tuple(shape[1:])
    row = prod(inner)
    if written != inner and (len(written) != len(shape) or written[1:] != inner):
        return None
    if not row or input._offset % row or row * shape[0] > MAX_MOVING:
        return None
    rows = prod(written) // row
    if written == inner:
        whole = Size((1, *inner))
        geometry = {"shape": whole, "strides": contiguous_strides(whole), "offset": 0, "dtype": node.dtype}
        node = Node(VIEW, (node,), geometry, whole, node.dtype)
    start = input._offset // row
    index = leaf(np.arange(start, start + rows), (rows,), dtypes.int64)
    return Node(index_copy.op.verified, (content, index, node), {"dim": 0}, shape, content.dtype)


def put(input: Tensor, src: Tensor) -> bool:
    """Writes the values of ``src`` into ``input``, a part of some memory, at once; whether that could be."""
    node = input._storage.node
    if src._storage.node.value is None or src._dtype is not input._dtype or is_plain(input) or not Storage.windowed:
        return False
    if grad_mode.enabled and (src.requires_grad or input.requires_grad or input._base is not None and input._base.requires_grad):
        return False
    if input._bits or src._bits or node.dtype is not input._dtype:
        return False
    del node
    values = values_of(src, src._storage is input._storage)
    return values is not None and input._storage.put(values, input._shape, input._strides, input._offset)


def _fills(result: Tensor, input: Tensor) -> bool:
    """Whether both are all of their storages, and known to be so, and of the same shape and dtype."""
    old, new = input._layout, result._layout
    return (
        old is not None and old.memory is None and new is not None and new.memory is None
        and old.dtype is new.dtype and old.shape == new.shape
    )  # fmt: skip


def write_out(op, result, out):
    """Writes the result of an op into the tensor, or tensors, given as ``out=``."""
    if isinstance(result, tuple):
        for r, o in zip(result, out, strict=True):
            write_out(op, r, o)
        return written_type(type(result))(out) if isinstance(result, ReturnType) else out
    name = op.short_name
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {describe(out)}")
    if grad_mode.enabled and (result.requires_grad or out.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, "
            "but one of the arguments requires grad."
        )
    if op.out == "same" and result._dtype is not out._dtype:
        raise RuntimeError(f"Expected out tensor to have dtype {c_name(result._dtype)}, but got {c_name(out._dtype)} instead")
    if op.out != "any" and not dtypes.can_cast(result._dtype, out._dtype):
        raise cast_error(result._dtype, out._dtype)
    if op.out == "row" and out._shape.numel() == result._shape.numel():
        result = result.reshape(out._shape)
    if out._shape != result._shape:
        if out._shape.numel() and op.tensors:
            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(out._shape)}, which does not match "
                f"the required output shape {list(result._shape)}. This behavior is deprecated, and in a future PyTorch "
                "release outputs will not be resized unless they have zero elements. You can explicitly reuse an out tensor "
                "t by resizing it, inplace, to zero elements with t.resize_(0).",
                UserWarning,
                stacklevel=3,
            )
        out.resize_(result._shape)
    return assign(out, result)


dispatch.inplace = inplace
dispatch.write_out = write_out
dispatch.assign = assign
dispatch.put = put
