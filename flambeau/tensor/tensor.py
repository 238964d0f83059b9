"""The Tensor: a view (shape, strides, offset, dtype) of a storage, with a place on the tape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from flambeau import dispatch
from flambeau.core import config, dtypes, memory_format
from flambeau.core import device as devices
from flambeau.core.size import Size, contiguous_strides, wrap_dim
from flambeau.dispatch import grad_mode
from flambeau.engine import flight
from flambeau.engine.graph import VIEW
from flambeau.engine.run import run_ahead
from flambeau.tensor.attributes import TensorBase, contents_of, show_part, shown
from flambeau.tensor.storage import Storage, looks

_new = object.__new__


if TYPE_CHECKING:
    from flambeau.tensor.derived import Derived
else:
    Derived = TensorBase


def disabled_torch_function(func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None) -> Any:
    """In place of ``__torch_function__`` it says that a class is not asked: its tensors are computed with as plain ones.

    Called by the one of another class, it makes the call with no class asked.
    """
    from flambeau.tensor.overriding import DisableTorchFunctionSubclass

    with DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


_Kind = TypeVar("_Kind")


class Tensor(Derived):
    """A multi-dimensional array of one dtype, as ``torch.Tensor``.

    Operations on tensors are recorded when they are called and run when a value is asked for. Make tensors with
    :func:`flambeau.tensor`, :func:`flambeau.zeros` and their like.

    >>> import flambeau as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])

    Source: https://docs.pytorch.org/docs/stable/tensors.html
    """

    # What most tensors share stands on the class; an instance has only what differs.
    _strides: tuple[int, ...] | None = None  # None: row-major
    _offset = 0
    _requires_grad = False  # asked for by the user, on a leaf
    _grad_fn: Any = None  # the tape's node that it comes from
    _output_nr = 0
    _grad: Tensor | None = None
    _base: Tensor | None = None  # of a view, the tensor that it is a view of
    _history = 0  # of a view, the storage's history that _grad_fn belongs to
    _creation: str | None = None  # of a view, why the tape may not follow a write through it (see autograd/writes.py)
    _bits: frozenset[str] = frozenset()  # "conj", "neg": what is done to the elements when they are read; then _strides is set
    _hooks: dict | None = None
    _from_data = False  # made by .data: writes through it do not count in the versions of others
    _version_before = 0  # how much of its version it brings along from a storage that it was on before
    _layout: Any = None  # what recipes know it by (see tensor/recipes.py); None: not known, or no longer
    _tangent: Any = None  # what it carries inside of a dual level (see autograd/forward_ad.py)
    _accumulator: Any = None  # weak reference to the tape's node that adds to .grad
    _presence: Any  # of a tensor of another class, what tells that there are such
    _storage: Storage
    _shape: Size
    _dtype: dtypes.dtype

    __array_priority__ = 1000

    __dict__ = shown  # type: ignore[assignment]

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        show_part(cls)
        dispatch.adopt(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return dispatch.legacy_tensor(cls, None, args, kwargs)

    @staticmethod
    def _make_wrapper_subclass(cls: type, size: Any, **settings: Any) -> Tensor:
        """A tensor of a class with a ``__torch_dispatch__``, which knows what it is made of; it has no values itself.

        Args:
            size: its shape.
            strides, storage_offset, dtype, layout, device, requires_grad: what it says that it has.
        """
        from flambeau.tensor.dispatched import make_wrapper

        return make_wrapper(cls, size, settings)

    @staticmethod
    def _make_subclass(cls: type[_Kind], data: Tensor, require_grad: bool = False) -> _Kind:
        """A tensor of class ``cls`` that shares ``data``'s storage and is a leaf."""
        if require_grad:
            data._storage.check_gradient()
        self: Any = data._alias(cls)
        self._grad_fn, self._base, self._requires_grad, self._layout = None, None, require_grad, None
        return self

    @staticmethod
    def _from_storage(storage: Storage, dtype: dtypes.dtype, shape, strides, offset: int) -> Tensor:
        """A tensor over any part of a storage; strides and offset in elements."""
        self = make_tensor(storage, Size(shape), dtype)
        strides = tuple(strides)
        if strides != contiguous_strides(self._shape):
            self._strides = strides
        self._offset = offset
        return self

    def _alias(self, cls: type | None = None) -> Tensor:
        """Another tensor object with the same storage, geometry and place on the tape."""
        out: Tensor = _new(cls or Tensor)
        if hasattr(cls, "__torch_dispatch__"):
            from flambeau.tensor.interception import Presence

            out._presence = Presence()
        out._storage, out._shape, out._dtype = self._storage, self._shape, self._dtype
        out._strides, out._offset = self._strides, self._offset
        if self._base is not None and self._history != self._storage.history:
            dispatch.regenerate(self)
        out._grad_fn, out._output_nr = self._grad_fn, self._output_nr
        out._base, out._history = self._base, self._history
        if self._creation is not None:
            out._creation = self._creation
        if self._bits:
            out._bits = self._bits
        if self._tangent is not None:
            out._tangent = self._tangent
        if self._requires_grad:
            out._grad_fn = dispatch.accumulator(self)
        return out

    # --- geometry ------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return self._shape

    @property
    def dtype(self) -> dtypes.dtype:
        return self._dtype

    @property
    def device(self) -> devices.device:
        return self._storage.device

    @property
    def is_meta(self) -> bool:
        """Whether it is on the device ``meta``: it has a shape and a dtype, and no values."""
        return self._storage.device is devices.META

    @property
    def is_cpu(self) -> bool:
        return self._storage.device is devices.CPU

    @property
    def _opaque(self) -> bool:
        """Whether it has no values of its own, as on the device ``meta``, or stands for those of many samples (see
        flambeau/batching)."""
        return self._storage.is_meta

    @property
    def _on_tape(self) -> Tensor:
        """The tensor whose place on the tape this one's is: of a sparse tensor, its values."""
        return self

    @property
    def layout(self) -> memory_format.layout:
        """``torch.strided``: elements lie at multiples of strides."""
        return memory_format.strided

    @property
    def ndim(self) -> int:
        return len(self._shape)

    def dim(self) -> int:
        return len(self._shape)

    ndimension = dim

    @overload
    def size(self, dim: None = None, *, axis: None = None) -> Size: ...
    @overload
    def size(self, dim: int | None = None, *, axis: int | None = None) -> int: ...
    def size(self, dim: int | None = None, *, axis: int | None = None) -> Size | int:
        dim = axis if dim is None else dim
        return self._shape if dim is None else self._shape[self._dim(dim)]

    def _dim(self, dim: int) -> int:
        """``dim`` counted from the front; a tensor without dims has none."""
        if not self._shape:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        return wrap_dim(dim, len(self._shape))

    @overload
    def stride(self, dim: None = None, *, axis: None = None) -> tuple[int, ...]: ...
    @overload
    def stride(self, dim: int | None = None, *, axis: int | None = None) -> int: ...
    def stride(self, dim: int | None = None, *, axis: int | None = None) -> tuple[int, ...] | int:
        dim = axis if dim is None else dim
        strides = self._strides if self._strides is not None else contiguous_strides(self._shape)
        return strides if dim is None else strides[self._dim(dim)]

    def storage_offset(self) -> int:
        return self._offset

    def numel(self) -> int:
        return self._shape.numel()

    nelement = numel

    @property
    def itemsize(self) -> int:
        return self._dtype.itemsize

    def element_size(self) -> int:
        return self._dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self._shape.numel() * self._dtype.itemsize

    def is_contiguous(self, memory_format=None) -> bool:
        if memory_format is not None and memory_format.name != "contiguous_format":
            return memory_format.matches(self._shape, self.stride())
        if self._strides is None:
            return True
        expected = contiguous_strides(self._shape)
        return 0 in self._shape or all(n == 1 or s == e for n, s, e in zip(self._shape, self._strides, expected, strict=True))

    def data_ptr(self) -> int:
        """The address of the first element."""
        if not self._shape.numel() or self._storage.is_meta:
            return 0
        return self._storage.array().ctypes.data + self._offset * self._dtype.itemsize

    # --- values --------------------------------------------------------------------------------------------

    def _array(self) -> np.ndarray:
        """The values as a NumPy view of the memory. Runs what is pending; not for writing."""
        from_storage = self._storage.array()
        if self._strides is None and self._offset == 0 and from_storage.dtype == self._dtype.np:
            size = self._shape.numel()
            return (from_storage if size == from_storage.size else from_storage[:size]).reshape(self._shape)
        values = VIEW.kernel(from_storage, self._shape, self.stride(), self._offset, self._dtype)
        if self._bits:
            stored = values.dtype == dtypes.complex32.np
            values = dtypes.widened(values) if stored else values
            values = values.conj() if "conj" in self._bits else values
            values = -values if "neg" in self._bits else values
            values = dtypes.stored(values, self._dtype) if stored else values
        return values

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        if self._shape and self._shape.numel() != 1:
            raise RuntimeError(
                f"a Tensor with {self._shape.numel()} elements cannot be converted to Scalar: item() takes a tensor "
                f"with one element, this one has shape {list(self._shape)}"
            )
        looks.count += 1
        node = self._storage.node
        if node.value is None:
            run_ahead(node)
            node = self._storage.node
        value = node.value
        dtype = self._dtype
        if (
            value.__class__ is not np.ndarray
            or dtype is not node.dtype
            or self._bits
            or dtype.is_extension
            or self._offset >= value.size
        ):
            if self._opaque:
                storage: Any = self._storage
                storage.refuse_value()
            value = self._array().reshape(())  # one that could not be computed, or is not what is in memory
            return dtypes.widened(value).item() if dtype.is_extension else value.item()
        if flight.aloft is not None:
            flight.settle(value)
        return value.item(self._offset)

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        node = self._storage.node
        if node.value is None:
            run_ahead(node)
            node = self._storage.node
        value, shape = node.value, self._shape
        if (
            value.__class__ is np.ndarray and node.shape == shape and self._strides is None and self._dtype is node.dtype
            and not self._offset and not self._dtype.is_extension
        ):  # fmt: skip
            looks.count += 1
            if flight.aloft is not None:
                flight.settle(value)
            return value.tolist()
        array = self._array()
        return (dtypes.widened(array) if self._dtype.is_extension else array).tolist()

    def __bool__(self) -> bool:
        n = self._shape.numel() if self._shape else 1
        if n == 1:
            return bool(self.item())
        if n == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError(
            f"Boolean value of Tensor with more than one value is ambiguous: use .any() or .all() (shape {list(self._shape)})"
        )

    def _scalar(self) -> Any:
        if self._shape and self._shape.numel() != 1:
            raise ValueError(f"only one element tensors can be converted to Python scalars: this one has shape {list(self._shape)}")
        return self.item()

    def __int__(self) -> int:
        value = self._scalar()
        return value if value.__class__ is int else int(_real(value, "int64_t"))

    def __float__(self) -> float:
        value = self._scalar()
        return value if value.__class__ is float else float(_real(value, "double"))

    def __complex__(self) -> complex:
        return complex(self._scalar())

    def __index__(self) -> int:
        if self._dtype.kind > dtypes.INTEGRAL or self._shape.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("len() of a 0-d tensor")
        return self._shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.dim():
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element) -> bool:
        if isinstance(element, (Tensor, int, float, complex, bool)):
            equal: Any = element == self
            return bool(equal.any().item())
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")

    def __hash__(self) -> int:
        return id(self)

    # --- the tape ------------------------------------------------------------------------------------------

    @property
    def grad_fn(self) -> Any:
        """The node of the tape that made this tensor; ``None`` for a leaf."""
        if self._base is not None and self._history != self._storage.history:
            dispatch.regenerate(self)
        return self._grad_fn

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows to this tensor, or to the memory that it is a view of: also a view made under ``no_grad``, which
        has no place on the tape, says so."""
        if self._base is None:
            return self._requires_grad or self._grad_fn is not None
        return self._requires_grad or self._grad_fn is not None or self._base.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.grad_fn is not None:
            if value:
                return
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in "
                "a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            )
        if value and self._dtype.kind < dtypes.FLOATING:
            raise RuntimeError(f"only Tensors of floating point and complex dtype can require gradients, this one is {self._dtype}")
        if value:
            self._storage.check_gradient()
        if self._requires_grad != bool(value):
            self._requires_grad, self._layout = bool(value), None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        return self._grad_fn is None

    @property
    def output_nr(self) -> int:
        return self._output_nr

    @property
    def grad(self) -> Tensor | None:
        """The gradient that :meth:`backward` accumulated; ``None`` before."""
        if self._grad is None and self._grad_fn is not None and not self.retains_grad:
            dispatch.warn_grad_of_non_leaf()
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}")
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._shape != self._shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(value._shape)}' to a tensor of size "
                    f"'{list(self._shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
            if value._dtype is not self._dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{dtypes.c_name(value._dtype)}' to a tensor with grad_dtype "
                    f"'{dtypes.scalar_name(self._dtype)}'. The gradient must match the tensor's dtype: convert it with "
                    f".to({self._dtype})"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def data(self) -> Tensor:
        """A tensor on the same memory, off the tape, and with a version of its own."""
        out = self.detach()
        out._from_data = True
        return out

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self.requires_grad and value._dtype.kind < dtypes.FLOATING:
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        if type(value)._opaque is True:  # sparse, or of many samples
            raise RuntimeError(
                "Attempted to call `variable.set_data(tensor)`, but `variable` and `tensor` have incompatible tensor type."
            )
        if value._dtype is not self._dtype or value._shape != self._shape:
            self._accumulator = None  # gradients will have that dtype and shape from now on
        self._bring_version(value._storage)
        self._storage, self._shape, self._dtype = value._storage, value._shape, value._dtype
        self._strides, self._offset, self._bits, self._layout = value._strides, value._offset, value._bits, None

    @data.deleter
    def data(self) -> None:
        raise RuntimeError("Deleting tensor data is not allowed. Delete tensor instead!")

    _asked_to_detach: Callable | None = None
    """Of classes with a ``__torch_dispatch__``: what they make of :meth:`detach`; see :mod:`flambeau.tensor.dispatched`."""

    def detach(self) -> Tensor:
        """A tensor on the same memory, off the tape: gradients do not flow through it."""
        if self._asked_to_detach is not None and (answer := self._asked_to_detach()) is not NotImplemented:
            return answer
        out = make_tensor(self._storage, self._shape, self._dtype)
        if self._strides is not None:
            out._strides, out._bits = self._strides, self._bits
        if self._offset:
            out._offset = self._offset
        return out

    def detach_(self) -> Tensor:
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        if self._grad_fn is not None:
            self._grad_fn.hooked = True  # backward passes look whether an op has saved this tensor
        self._grad_fn, self._output_nr, self._requires_grad, self._layout, self._tangent = None, 0, False, None, None
        return self

    def _bring_version(self, storage: Storage) -> None:
        """The version stays what it is when the tensor moves to another storage."""
        if not (self._storage.is_inference or storage.is_inference):
            self._version_before += self._storage.seen_writes - storage.seen_writes

    @property
    def _version(self) -> int:
        return self._version_before + self._storage.seen_writes

    def _is_view(self) -> bool:
        return self._base is not None

    # --- kind ----------------------------------------------------------------------------------------------

    def is_floating_point(self) -> bool:
        return self._dtype.is_floating_point

    def is_complex(self) -> bool:
        return self._dtype.is_complex

    def is_signed(self) -> bool:
        return self._dtype.is_signed

    def is_conj(self) -> bool:
        """Whether the elements are the conjugates of those in memory."""
        return "conj" in self._bits

    def is_neg(self) -> bool:
        """Whether the elements have the other sign in memory."""
        return "neg" in self._bits

    def is_inference(self) -> bool:
        """Whether its memory was made in inference mode."""
        return self._storage.is_inference

    def get_device(self) -> int:
        return -1

    def untyped_storage(self) -> Any:
        return dispatch.untyped_storage(self)

    # --- display and copies --------------------------------------------------------------------------------

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from flambeau.tensor.printing import tensor_repr

        return tensor_repr(self, tensor_contents)

    def _repr_html_(self) -> str | None:
        """What notebooks show."""
        return dispatch.picture(self)

    def __format__(self, spec: str) -> str:
        return self.item().__format__(spec) if not self._shape and type(self) is Tensor else object.__format__(self, spec)

    def __deepcopy__(self, memo: dict) -> Tensor:
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
                "moment. If you were attempting to deepcopy a module, this may be because of a tensor that the module "
                "keeps from an earlier forward; detach() it before it is stored."
            )
        storage = memo.get(id(self._storage))
        if storage is None:
            storage = memo[id(self._storage)] = self._storage.copied()
        out = _new(type(self))
        contents_of(out).update(
            {
                k: v
                for k, v in contents_of(self).items()
                if k in ("_shape", "_dtype", "_strides", "_offset", "_bits", "_requires_grad")
            }
        )
        out._storage = storage
        memo[id(self)] = out
        if self._grad is not None:
            out._grad = self._grad.__deepcopy__(memo)
        from copy import deepcopy

        for name, value in self.__dict__.items():
            contents_of(out)[name] = deepcopy(value, memo)
        if type(self) is not Tensor:
            from copyreg import _slotnames  # type: ignore[attr-defined]

            for name in _slotnames(type(self)):
                if hasattr(self, name):
                    setattr(out, name, deepcopy(getattr(self, name), memo))
        return out

    def __reduce_ex__(self, protocol: Any) -> Any:
        if config.pickled is not None:
            return config.pickled(self)
        from flambeau.tensor.pickling import reduce_tensor

        return reduce_tensor(self)


Tensor.__module__ = "torch"


def _real(value, kind: str):
    """A number that is converted to a real one of C's type ``kind``."""
    if value.__class__ is complex:
        if value.imag:
            raise RuntimeError(f"value cannot be converted to type {kind} without overflow: {value} has an imaginary part")
        return value.real
    return value


MANY, NO_GRAD, INFERENCE, CUSTOM = "many", "no_grad", "inference", "custom"
"""Why the tape may not follow a write through a view: it is one of several results, was made where nothing was on the tape, or is
the result of a user's Function."""


def creation_of(input: Tensor, several: bool) -> str | None:
    """Why the tape may not follow a write through a view of ``input`` that is made now; ``None`` where it may."""
    if not grad_mode.enabled:
        return INFERENCE if grad_mode.inference else NO_GRAD
    return MANY if several else input._creation


def make_tensor(storage: Storage, shape: Size, dtype: dtypes.dtype) -> Tensor:
    """A row-major tensor at the start of ``storage``."""
    self = _new(Tensor)
    self._storage = storage
    self._shape = shape
    self._dtype = dtype
    return self
