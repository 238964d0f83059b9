"""Methods of tensors that few programs call: old spellings, other devices, what PyTorch's own machinery asks."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from flambeau.core import device as devices
from flambeau.core.memory_format import sparse_bsc, sparse_bsr
from flambeau.tensor.exchange import tensor
from flambeau.tensor.tensor import Tensor

__all__ = ["install"]


def is_nonzero(self: Tensor) -> bool:
    """Whether a tensor with one element is not zero."""
    return bool(self)


def is_distributed(self: Tensor) -> bool:
    """False: no tensor is spread over several devices."""
    return False


def const_data_ptr(self: Tensor) -> int:
    """The address of the first element, for those who only read."""
    return self.data_ptr()


def map2_(self: Tensor, x: Tensor, y: Tensor, function: Callable) -> Tensor:
    """Replaces each element by ``function(element, element of x, element of y)``, slowly; for tensors off the tape."""
    if self.requires_grad or x.requires_grad or y.requires_grad:
        raise RuntimeError("Can't call map2_() on Variable that requires grad. Use var.detach().map2_() instead.")
    columns = [t.expand(self._shape).reshape(-1).tolist() for t in (self, x, y)]
    return self.copy_(tensor([function(*row) for row in zip(*columns, strict=True)], dtype=self._dtype).reshape(self._shape))


def module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What :meth:`nn.Module.load_state_dict` puts in this tensor's place when it swaps tensors: ``other``, or this tensor with its
    values."""
    return other.detach() if assign else self.copy_(other).detach()


def record_stream(self: Tensor, stream: Any) -> NoReturn:
    """Refuses: there are no streams that a tensor could be used on."""
    raise RuntimeError("unknown parameter type: record_stream is about streams of CUDA, and there is no such device")


def reinforce(self: Tensor, reward: Any) -> NoReturn:
    """Removed: :mod:`torch.distributions` has taken its place."""
    raise RuntimeError(
        "reinforce() was removed.\nUse torch.distributions instead.\nSee https://pytorch.org/docs/main/distributions.html\n\n"
        "m = Categorical(probs); action = m.sample(); loss = -m.log_prob(action) * reward; loss.backward()"
    )


def resize(self: Tensor, *sizes: Any) -> Tensor:
    """The old way to :meth:`reshape`."""
    warnings.warn("non-inplace resize is deprecated", stacklevel=2)
    return self.reshape(*sizes)


def resize_as(self: Tensor, tensor: Tensor) -> Tensor:
    """The old way to :meth:`reshape` like another tensor."""
    warnings.warn("non-inplace resize_as is deprecated", stacklevel=2)
    return self.reshape(tensor.shape)


def to_sparse_bsr(self: Tensor, blocksize: Any, dense_dim: int | None = None) -> Tensor:
    """The blocks of a matrix that are not zero, row by row."""
    return self.to_sparse(layout=sparse_bsr, blocksize=blocksize, dense_dim=dense_dim)


def to_sparse_bsc(self: Tensor, blocksize: Any, dense_dim: int | None = None) -> Tensor:
    """The blocks of a matrix that are not zero, column by column."""
    return self.to_sparse(layout=sparse_bsc, blocksize=blocksize, dense_dim=dense_dim)


def _is_all_true(self: Tensor) -> Tensor:
    """Whether all elements of a bool tensor hold."""
    return self.all()


def _is_any_true(self: Tensor) -> Tensor:
    """Whether some element of a bool tensor holds."""
    return self.any()


def _conj(self: Tensor) -> Tensor:
    return self.conj()


def _conj_physical(self: Tensor) -> Tensor:
    return self.conj_physical()


def _neg_view(self: Tensor) -> Tensor:
    return importlib.import_module("flambeau.ops.complexes").neg_view(self)


def _typed_storage(self: Tensor) -> Any:
    """The tensor's storage, as elements of its dtype."""
    return self.storage()


def _is_zerotensor(self: Tensor) -> bool:
    """False: a gradient that is not there is ``None``, not a tensor of zeros without memory."""
    return False


def _elsewhere(name: str, module: str) -> Callable:
    """A method that is a function of another module, which most programs do without."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(f"flambeau.{module}"), name)(self, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"See :func:`torch.{name}`."
    return method


def _to_device(kind: str) -> Callable:
    """``xpu`` and its like, which refuse: there is no such device."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> NoReturn:
        devices.check(kind)
        raise AssertionError(f"there is no device of the kind {kind!r}")

    method.__name__ = method.__qualname__ = kind
    method.__doc__ = f"A copy on a device of the kind {kind!r}, of which there is none."
    return method


def _grad_dtype(self: Tensor) -> Any:
    """The dtype of the gradient that a leaf is given: its own."""
    return self._dtype


def install() -> None:
    """Completes the class."""
    for function in (is_nonzero, is_distributed, const_data_ptr, map2_, module_load, record_stream, reinforce, resize, resize_as, to_sparse_bsr, to_sparse_bsc,
                     _is_all_true, _is_any_true, _conj, _conj_physical, _neg_view, _typed_storage, _is_zerotensor):  # fmt: skip
        setattr(Tensor, function.__name__, function)
    for names, module in {("eig", "lstsq", "solve", "symeig"): "_linalg_utils", ("smm", "sspaddmm"): "sparse.functions"}.items():
        for name in names:
            setattr(Tensor, name, _elsewhere(name, module))
    for kind in ("xpu", "ipu", "mtia"):
        setattr(Tensor, kind, _to_device(kind))
    Tensor.__nonzero__ = Tensor.__bool__  # type: ignore[attr-defined]
    Tensor.__long__ = Tensor.__int__  # type: ignore[attr-defined]
    Tensor.grad_dtype = property(_grad_dtype)  # type: ignore[attr-defined]
    Tensor.name = property(lambda self: None, doc="None: tensors have no names of their own.")  # type: ignore[attr-defined]
