"""flambeau: a deep-learning framework with PyTorch's API, in Python that can be read.

``import flambeau as torch`` runs PyTorch programs; ``flambeau run script.py`` runs them unmodified.
"""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any

if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
    # Memory is written to in place where reference counts say that nobody else holds it, and steps that belong together rely on
    # that threads take turns.
    raise ImportError("flambeau runs on CPython with its global interpreter lock (python, not python3.13t or PyPy)")

from flambeau.core import config as _config

if _config.guard:  # first of all, so that it has all memory
    from flambeau.engine.cpu import guard as _guard

    _guard.install()

from flambeau import dispatch as _dispatch
from flambeau import ops
from flambeau._names import NAMES as _LAZY_NAMES
from flambeau._names import ROOMS as _LAZY
from flambeau.core import uncaught as _uncaught
from flambeau import tensor as _tensors  # noqa: F401
from flambeau import autograd  # isort: skip  (needs the tensors)
from flambeau.autograd import enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled
from flambeau.autograd import is_anomaly_check_nan_enabled, is_anomaly_enabled
from flambeau.core import device as _devices
from flambeau.core import garbage as _garbage
from flambeau.core import dtypes as _dtypes
from flambeau.core import memory_format as _formats
from flambeau.core.device import device
from flambeau.core.dtypes import can_cast, dtype, finfo, get_default_dtype, iinfo, promote_types, set_default_dtype
from flambeau.core.errors import is_warn_always_enabled, set_warn_always
from flambeau.core.memory_format import layout, memory_format
from flambeau.core.random import Generator, default_generator
from flambeau.core.size import Size, broadcast_shapes
from flambeau.determinism import (
    are_deterministic_algorithms_enabled,
    get_deterministic_debug_mode,
    is_deterministic_algorithms_warn_only_enabled,
)
from flambeau.determinism import set_deterministic_debug_mode, use_deterministic_algorithms
from flambeau import random, version  # isort: skip
from flambeau.random import get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from flambeau.tensor import exchange as _exchange
from flambeau.tensor import storages as _storages
from flambeau.tensor import typed_storages as _typed_storages
from flambeau.tensor.default_device import get_default_device, set_default_device
from flambeau.tensor.exchange import as_tensor, asarray, from_dlpack, from_numpy, frombuffer
from flambeau.tensor.methods import inplace_function as _inplace_function
from flambeau.tensor.overriding import told as _told
from flambeau.tensor.printing import get_printoptions, set_printoptions
from flambeau.core.results import ReturnType
from flambeau.tensor.record import result_type
from flambeau.tensor.tensor import Tensor
from flambeau.threads import get_num_interop_threads, get_num_threads, set_num_interop_threads, set_num_threads
from flambeau.version import __version__

_garbage.relax()

# --- the ops, under their torch names ------------------------------------------------------------------------

globals().update(ops.namespace(""))
for _name, _function in ops.namespace("").items():
    if _function.op.inplace:
        globals()[_name + "_"] = _inplace_function(_function.op, _name)

# --- dtypes, formats, constants ------------------------------------------------------------------------------

globals().update({_d.name: _d for _d in (*_dtypes.ALL, *_dtypes.STORED, *_dtypes.ABSENT)} | _dtypes.ALIASES)
contiguous_format, preserve_format = _formats.contiguous_format, _formats.preserve_format
channels_last, channels_last_3d = _formats.channels_last, _formats.channels_last_3d
strided, sparse_coo, sparse_csr = _formats.strided, _formats.sparse_coo, _formats.sparse_csr
sparse_csc, sparse_bsr, sparse_bsc = _formats.sparse_csc, _formats.sparse_bsr, _formats.sparse_bsc
legacy_contiguous_format = contiguous_format
inf, nan, pi, e, newaxis = math.inf, math.nan, math.pi, math.e, None
has_lapack = has_mkl = has_openmp = has_spectral = True
"""What PyTorch was built with: that there are factorisations, Fourier transforms and threads."""

for _dtype in (*_dtypes.ALL, *_dtypes.STORED):
    if not _dtype.is_complex and _dtype.name not in ("uint16", "uint32", "uint64"):
        _name = _dtypes.scalar_name(_dtype) + "Tensor"
        globals()[_name] = _exchange.legacy_type(_name, _dtype)


def is_tensor(obj) -> bool:
    """Whether ``obj`` is a tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj) -> bool:
    """Whether ``obj`` is a tensor's storage."""
    return isinstance(obj, _storages.AnyStorage)


@_told
def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


@_told
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating-point one."""
    return input.is_floating_point()


@_told
def is_complex(input: Tensor) -> bool:
    """Whether the dtype is a complex one."""
    return input.is_complex()


@_told
def is_nonzero(input: Tensor) -> bool:
    """Whether a tensor with one element is not zero."""
    return input.__bool__()


@_told
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input.is_signed()


@_told
def detach(input: Tensor) -> Tensor:
    """A view of the same memory of which the tape knows nothing; see :meth:`Tensor.detach`."""
    return input.detach()


@_told
def detach_(input: Tensor) -> Tensor:
    """Takes ``input`` off the tape; see :meth:`Tensor.detach_`."""
    return input.detach_()


@_told
def as_strided_(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """Makes ``input`` the view that :func:`as_strided` gives; see :meth:`Tensor.as_strided_`."""
    return input.as_strided_(size, stride, storage_offset)


@_told
def is_conj(input: Tensor) -> bool:
    """Whether ``input`` shows the conjugates of what is in its memory."""
    return input.is_conj()


@_told
def is_neg(input: Tensor) -> bool:
    """Whether ``input`` shows what is in its memory with the other sign."""
    return input.is_neg()


@_told
def is_distributed(input: Tensor) -> bool:
    """False: no tensor is spread over several devices."""
    return False


@_told
def get_device(input: Tensor) -> int:
    """The number of the device, -1 on the CPU."""
    return input.get_device()


@_told
def is_inference(input: Tensor) -> bool:
    """Whether the memory of ``input`` was made in inference mode."""
    return input.is_inference()


def typename(obj) -> str:
    """The name of the type of ``obj``."""
    kind = type(obj)
    if isinstance(obj, Tensor):
        return obj.type()
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def set_default_tensor_type(t) -> None:
    """Sets the default dtype by a legacy type or its name."""
    d = t.dtype if isinstance(t, type) else globals()[t.rpartition(".")[2]].dtype
    set_default_dtype(d)


class OutOfMemoryError(RuntimeError):
    """The memory of a device is full; there is no device but the CPU, whose ``MemoryError`` is Python's."""


class AcceleratorError(RuntimeError):
    """An accelerator has failed: there is none."""


def get_device_module(device: Any = None) -> Any:  # noqa: F811
    """The module of a kind of device: ``torch.cpu``, where none is named."""
    name = "cpu" if device is None else _devices.device(device).type
    return importlib.import_module(f"flambeau.{name}")


tensor = _exchange.tensor
to_dlpack = _exchange.to_dlpack
UntypedStorage, StorageBase = _storages.UntypedStorage, _storages.StorageBase
TypedStorage = _typed_storages.TypedStorage
globals().update(_typed_storages.LEGACY)
Storage = _typed_storages.LEGACY["FloatStorage"]

# --- what is imported when it is asked for -------------------------------------------------------------------

# What the tape needs of a floor above it, and most programs do without.
_dispatch.vmap = lambda function: importlib.import_module("flambeau.batching").vmap(function)
_dispatch.picture = lambda x: importlib.import_module("flambeau.pictures.notebooks").html(x)
_dispatch.sparse = lambda: importlib.import_module("flambeau.sparse.creation")


_uncaught.install()


def _operator(name: str) -> Any:
    """An operator of ATen that PyTorch has as ``torch._name``: libraries call some of them, as ``torch._softmax_backward_data``."""
    if not name.startswith("_") or name.startswith("__"):
        return None
    return getattr(importlib.import_module("flambeau.library.operators").ops.namespace("aten"), name, None)


def __getattr__(name: str) -> Any:
    if name in _LAZY_NAMES:
        value = getattr(importlib.import_module(f"flambeau.{_LAZY_NAMES[name]}"), name)
    elif name.startswith(("cudnn_", "miopen_", "mkldnn_", "fbgemm_", "batch_norm_", "native_norm")):
        value = getattr(importlib.import_module("flambeau.elsewhere"), name)
    elif name.startswith("_foreach_"):
        value = getattr(importlib.import_module("flambeau.foreach"), name)
    elif name in _LAZY:
        return importlib.import_module(f"flambeau.{name}")
    else:
        value = _operator(name)
        if value is None:
            raise AttributeError(f"module 'torch' has no attribute '{name}': flambeau does not have it", name=name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_LAZY_NAMES})
