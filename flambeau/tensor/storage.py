"""Storage: the memory that tensors are views of."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from flambeau.core import device as devices
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.dtypes import uint8
from flambeau.core.errors import out_of_memory
from flambeau.core.size import contiguous_strides
from flambeau.core.weak import WeakValues
from flambeau.dispatch import grad_mode
from flambeau.engine import flight, graph
from flambeau.engine.flight import lock
from flambeau.engine.graph import Node, leaf
from flambeau.engine.interpreter import ONE_HOLDER, Failed
from flambeau.engine.run import run_pending

if TYPE_CHECKING:
    from flambeau.core.shared_memory import Segment

MOST_BUSY = 256


class _Looks:
    """How often anybody has looked at the values of any storage. No attribute of the class, which would forget all that Python
    knows about attributes of storages each time that it changed."""

    count = 0


looks = _Looks()


class Storage:
    """A flat run of elements. Its content is ``node``; once somebody needs an address it also has a ``buffer``.

    ``node``     the newest content, perhaps not computed yet
    ``buffer``   a flat NumPy array, the memory; it never moves
    ``leaf``     the node whose value is what the buffer holds now
    ``exposed``  memory that NumPy or another library may also see: it is read and written immediately; ``resizable``: nobody ever
                 did
    ``segment``  what other processes map this memory by, if they may; see :meth:`share`
    ``version``  counts the writes, ``unseen`` those through ``.data``; ``history`` counts those that the tape had to know of
    ``windows``  leaves that show parts of the content, by where these begin and their shape; see :meth:`window`
    ``untyped``  what programs see of it, while they do; see ``storages.py``
    ``parts``    how many writes to parts of it wait, one on the other
    ``busy``     so many views are read as such before there are windows again: ``meetings`` counts the writes that met some
    """

    windowed = True
    """Whether there are windows: not while calls are captured, which must know where each value comes from."""

    buffer: np.ndarray | None = None
    leaf: Node | None = None
    exposed = False
    resizable = True
    segment: Segment | None = None
    version = 0
    unseen = 0
    history = 0
    windows: WeakValues[Node] | None = None
    untyped: weakref.ref | None = None
    busy = meetings = 0
    parts = 0
    is_inference = is_meta = False
    device = devices.CPU

    def __init__(self, node: Node) -> None:
        self.node = node

    @staticmethod
    def from_numpy(array: np.ndarray, dtype: Dtype, exposed: bool = False) -> Storage:
        """A storage over the memory of a C-contiguous ``array``."""
        buffer = array.reshape(-1)  # these two views hold the array, as in _adopt
        content = leaf(buffer.reshape(array.shape), array.shape, dtype)
        content.is_buffer = True
        storage = storage_of(content)
        storage.buffer, storage.leaf = buffer, content
        if exposed:
            storage.exposed, storage.resizable = True, False
        return storage

    @property
    def dtype(self) -> Dtype:
        return self.node.dtype

    @property
    def seen_writes(self) -> int:
        """The version that programs see."""
        return self.version - self.unseen

    @property
    def size(self) -> int:
        """Number of elements."""
        if self.buffer is not None:
            return self.buffer.size
        n = 1
        for extent in self.node.shape:
            n *= extent
        return n

    def array(self) -> np.ndarray:
        """The memory as a flat array, up to date. Runs what is pending."""
        if flight.aloft is not None:
            flight.land()
        return self._memory()

    def _memory(self) -> np.ndarray:
        """The memory as a flat array, for who reads it once what runs has come to its end."""
        looks.count += 1
        if self.node is not self.leaf:
            if self.node.value is None:
                run_pending(self.node)
            with lock:
                if self.buffer is None:
                    self._adopt()
                elif self.node is not self.leaf:
                    self.commit(self.node)
        return self.buffer  # type: ignore[return-value]

    def _adopt(self) -> None:
        node = self.node
        if node.value.__class__ is Failed:
            raise node.value.again()
        if node.is_buffer:  # another storage's memory: this one starts as a copy
            flight.settle(node.value)
            node = leaf(node.value.copy(), node.shape, node.dtype)
        # Exactly these two views hold the array that owns the memory; see is_shared().
        buffer = node.value.reshape(-1)
        value = buffer.reshape(node.shape)
        if self.buffer is None:  # no call from here on
            self.buffer, self.node, self.leaf = buffer, node, node
            node.value, node.is_buffer = value, True

    def check_write(self) -> None:
        """Raises where the memory may not be written to now."""

    def check_gradient(self) -> None:
        """Raises where a tensor on this memory may not begin to require a gradient now."""

    def prepare(self) -> tuple[weakref.ref, ...]:
        """Makes ready for a write. What this gives belongs to ``graph.written`` then."""
        if self.windows is not None:
            self._part()
        if self.node.value is None:
            if graph.fallible:
                graph.history.append((weakref.ref(self), self.node))
        elif self.buffer is None:
            self._adopt()
        return () if self.buffer is None else (weakref.ref(self),)

    def write(self, node: Node) -> None:
        """Makes ``node`` the content. The memory follows when the trace runs."""
        ready = self.buffer is not None and not self.windows and not graph.fallible
        written = (weakref.ref(self),) if ready else self.prepare()
        self.node = node  # no call from here on: a signal handler runs before or after (see engine/run.py)
        self.version += 1
        graph.written += written
        if self.exposed and self.is_shared():
            run_pending()

    def window(self, start: int, shape, size: int) -> Node:
        """A leaf that shows the ``size`` elements from ``start`` on of the content, which has its value and is all of the memory.

        So that it does not matter in a trace which rows of some data a step reads, as it would with a view of the whole.
        """
        if self.buffer is None:
            with lock:
                self._adopt()
        while True:
            windows = self.windows
            if windows is None:
                windows = WeakValues()
                if self.windows is None:  # and nobody has made some meanwhile
                    self.windows = windows
                continue
            found = windows.get((start, shape))
            if found is None:
                value = self.buffer[start : start + size].reshape(shape)  # type: ignore[index]
                found = leaf(value, shape, self.node.dtype)
                found.is_buffer = True
                found = windows.add((start, shape), found)
            if self.windows is windows:  # else a write has come between, and does not know of it
                return found

    def _part(self) -> None:
        """Gives windows a copy of what they show, before the memory is written to."""
        windows = self.windows
        held = [] if windows is None else windows.values()
        for node in held:
            flight.settle(node.value)
            try:
                node.value, node.is_buffer, node.address = node.value.copy(), False, 0
            except MemoryError as short:
                raise out_of_memory(short) from None
        if held:
            self.meetings += 1
            self.busy = min(MOST_BUSY, 2 << 2 * self.meetings)
        self.windows = None

    def put(self, values, shape, strides: tuple[int, ...] | None, offset: int, where: tuple | None = None) -> bool:
        """Writes to a part of the memory at once, if its content is there and nobody else looks at it; whether it did.

        ``values`` is a number or an array of the content's dtype, ``where`` are index arrays if not all of the part is written to.
        A node would make each place that a program writes to, such as the next of a replay buffer, a trace of its own.
        """
        if self.node.value.__class__ is not np.ndarray:
            return False
        if self.buffer is None:
            with lock:
                self._adopt()
        if self.windows is not None:
            self._part()
        if flight.aloft is not None:
            flight.land()
        memory: np.ndarray = self.buffer  # type: ignore[assignment]
        if offset >= memory.size:
            return False
        part = memory
        place: Any = where or offset
        if shape or where:
            if strides is None:
                strides = contiguous_strides(shape)
            elif 0 in strides:
                return False
            part, place = graph.strided(memory, shape, strides, offset, self.node.dtype), where or ...
        if self.node is not self.leaf or sys.getrefcount(self.leaf) > ONE_HOLDER + 1:
            return False
        part[place] = values  # no call from here on
        self.version += 1
        return True

    def resize(self, nbytes: int) -> None:
        """Gives the memory so many bytes: what is new holds zeros. Whoever knows that a tensor is all of the memory must forget it."""
        dtype, old = self.dtype, self.array().view(np.uint8)
        if nbytes % dtype.itemsize:
            dtype = uint8
        memory = np.zeros(nbytes // dtype.itemsize, dtype.np)
        kept = min(nbytes, old.size)
        memory.view(np.uint8)[:kept] = old[:kept]
        if self.windows is not None:
            self._part()
        self.node, self.buffer, self.leaf = leaf(memory, memory.shape, dtype), None, None
        self.exposed = False
        self._adopt()

    def commit(self, node: Node) -> None:
        """Brings the memory up to date with ``node``, which has run; usually it is the newest."""
        old = self.leaf
        if node is old or node.value is None:
            return
        newest = self.node is node
        if node.value.__class__ is Failed:
            if newest:
                self.node = old  # type: ignore[assignment]
            return
        if node.value is old.value:  # type: ignore[union-attr]
            node.is_buffer, self.leaf = True, node
            return
        del old
        flight.land()  # it may read what is written over here
        if sys.getrefcount(self.leaf) > ONE_HOLDER:
            self.release_leaf()
        old, fresh = self.leaf, node
        source = node.value.reshape(-1)
        if node.is_buffer:  # of another storage: both have the same content, each in memory of its own
            fresh = leaf(node.value, node.shape, node.dtype)
        buffer, value = self.buffer, self.buffer.reshape(node.shape)  # type: ignore[union-attr]
        if self.leaf is old:  # no call from here on
            buffer[...] = source  # type: ignore[index]
            fresh.value, fresh.address, fresh.is_buffer = value, old.address, True  # type: ignore[union-attr]
            self.leaf = fresh
            if self.node is node:
                self.node = fresh

    def release_leaf(self) -> None:
        """Gives whoever still looks at the present content a copy of it, before the memory is written to."""
        old: Node = self.leaf  # type: ignore[assignment]
        fresh = leaf(old.value, old.shape, old.dtype)
        fresh.is_buffer, fresh.address = True, old.address
        copy = old.value.copy()
        if self.leaf is old:  # no call from here on
            self.leaf = fresh
            old.value, old.is_buffer, old.address = copy, False, 0

    def expose(self) -> None:
        """Lets somebody outside write to the memory from now on; what was recorded on its present content runs first."""
        if self.windows is not None:
            self._part()
        if sys.getrefcount(self.leaf) > ONE_HOLDER + 1:  # held by more than ``leaf`` and ``node``
            run_pending()
        self.exposed, self.resizable = True, False

    def share(self) -> Segment:
        """Moves the content into memory that other processes may map. It is read and written at once from then on."""
        with lock:
            if self.segment is None:
                from flambeau.core.shared_memory import Segment  # ctypes, which most programs do without

                self.array()
                self.expose()
                old = self.leaf
                segment = Segment.create(self.buffer.nbytes)  # type: ignore[union-attr]
                memory = segment.map().view(self.buffer.dtype)  # type: ignore[union-attr]
                np.copyto(memory, self.buffer)  # type: ignore[arg-type]
                self.buffer = memory
                self.leaf = leaf(memory.reshape(old.shape), old.shape, old.dtype)  # type: ignore[union-attr]
                self.leaf.is_buffer = True
                if self.node is old:  # and not what another thread has recorded meanwhile
                    self.node = self.leaf
                self.segment = segment
            return self.segment

    @staticmethod
    def on_segment(segment: Segment, shape: tuple[int, ...], dtype: Dtype) -> Storage:
        """A storage on memory that another process has shared."""
        storage = Storage.from_numpy(segment.map().view(dtype.np).reshape(shape), dtype, exposed=True)
        storage.segment = segment
        return storage

    def copied(self) -> Storage:
        """Another one with the same content."""
        return Storage.from_numpy(self.array().copy(), self.dtype)

    def store(self, node: Node, geometry: dict) -> None:
        """Writes the value of ``node`` to a part of memory that others may write to elsewhere meanwhile, and touches no more."""
        self.array()
        run_pending()
        if node.value.__class__ is Failed:
            raise node.value.again()
        graph.strided(self.buffer, **geometry)[...] = node.value  # type: ignore[arg-type]
        self.version += 1

    def is_shared(self) -> bool:
        """Whether somebody outside still holds the memory; clears ``exposed`` where nobody does."""
        owner_has_base = self.buffer.base.base is not None  # type: ignore[union-attr]
        if not owner_has_base and sys.getrefcount(self.buffer.base) - ONE_HOLDER == 1:  # type: ignore[union-attr]
            self.exposed = False
        return self.exposed

    def snapshot(self, shape, strides, offset: int, dtype: Dtype) -> Node:
        """A leaf with a copy of the elements of a view, as they are now."""
        memory = self._memory()
        if flight.aloft is not None:
            flight.settle(memory)
        node = self.node
        if node.shape == shape and node.dtype is dtype and not offset and strides == contiguous_strides(shape):
            return leaf(node.value.copy(), shape, dtype)
        view = graph.strided(memory, shape, strides, offset, dtype)
        return leaf(np.array(view, order="C"), shape, dtype)


class InferenceStorage(Storage):
    """The memory of tensors that were made in inference mode: it is written to only there, and the tape keeps none of it."""

    is_inference = True

    @property
    def seen_writes(self) -> int:
        raise RuntimeError("Inference tensors do not track version counter.")

    def check_write(self) -> None:
        if not grad_mode.inference:
            raise RuntimeError(
                "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a normal tensor "
                "before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more details."
            )

    def check_gradient(self) -> None:
        if not grad_mode.inference:
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")

    def write(self, node: Node) -> None:
        self.check_write()
        super().write(node)

    def put(self, values, shape, strides: tuple[int, ...] | None, offset: int, where: tuple | None = None) -> bool:
        self.check_write()
        return super().put(values, shape, strides, offset, where)

    def store(self, node: Node, geometry: dict) -> None:
        self.check_write()
        super().store(node, geometry)

    def resize(self, nbytes: int) -> None:
        self.check_write()
        super().resize(nbytes)


_NO_DATA = "Cannot copy out of meta tensor; no data!"


class MetaStorage(Storage):
    """What tensors on the device ``meta`` have in place of memory: a size. Its content is one that could not be computed."""

    is_meta = True
    device = devices.META
    exposed = True  # so that nobody takes a short way to values
    some = False
    """Whether there has been one."""
    shown = "tensor"
    """What its tensors are called when they are printed."""

    def __init__(self, size: int, dtype: Dtype) -> None:
        MetaStorage.some = True
        self.node = _without_value(None, dtype)  # no tensor is known to be all of it
        self._size = size
        self.is_inference = grad_mode.enabled is None

    @property
    def size(self) -> int:
        return self._size

    def another(self, size: int, dtype: Dtype) -> MetaStorage:
        """Of a result that is computed with a tensor on this one."""
        return MetaStorage(size, dtype)

    def refuse_value(self) -> NoReturn:
        """Raises where the number in a tensor is asked for."""
        raise RuntimeError("Tensor.item() cannot be called on meta tensors")

    def refuse_shape(self, name: str) -> NoReturn:
        """Raises where the shape of a result depends on values."""
        raise NotImplementedError(
            f"aten::{name}: attempted to run this operator with Meta tensors, but there was no fake impl or Meta kernel registered: "
            "the shape of its result depends on values"
        )

    def refuse_others(self, tensors: list) -> None:
        """Raises where some of these, which are computed with together, have values."""
        for t in tensors[1:]:
            if t._storage.is_meta is not tensors[0]._storage.is_meta:
                raise RuntimeError(f"Tensor on device {t.device} is not on the expected device {tensors[0].device}!")

    def is_shared(self) -> bool:
        return True

    def array(self) -> np.ndarray:
        raise NotImplementedError(_NO_DATA)

    _memory = array

    def snapshot(self, shape, strides, offset: int, dtype: Dtype) -> Node:
        return _without_value(shape, dtype)

    def write(self, node: Node) -> None:
        self.version += 1

    def put(self, values, shape, strides: tuple[int, ...] | None, offset: int, where: tuple | None = None) -> bool:
        self.version += 1
        return True

    def resize(self, nbytes: int) -> None:
        self._size = -(-nbytes // self.dtype.itemsize)

    def copied(self) -> Storage:
        return self.another(self.size, self.dtype)

    def share(self) -> Segment:
        raise RuntimeError("_share_fd_: only available on CPU")

    def expose(self) -> None:
        raise NotImplementedError(_NO_DATA)


def _without_value(shape, dtype: Dtype) -> Node:
    return leaf(Failed(NotImplementedError(_NO_DATA)), shape, dtype)  # type: ignore[arg-type]


def storage_of(node: Node) -> Storage:
    """A storage for what an operation makes now."""
    return (InferenceStorage if grad_mode.enabled is None else Storage)(node)
