"""Lazy layers: they learn their input's size from the first input and become ordinary layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flambeau.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d, _NormBase
from flambeau.nn.modules.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    _ConvNd,
)
from flambeau.nn.modules.instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, _InstanceNorm
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from flambeau.tensor import Tensor

__all__ = [
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
]


# What the mixins below stand in front of.
if TYPE_CHECKING:
    _Layer = Module
    _Convolution = _ConvNd
    _Norm = _NormBase
else:
    _Layer = _Convolution = _Norm = object


class LazyModuleMixin(_Layer):
    """Put before a layer's class to give it parameters that are made at the first call.

    A subclass defines ``initialize_parameters``, which gets the arguments of that call, and
    ``cls_to_become``, the class that the module then has.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.lazy.LazyModuleMixin.html
    """

    cls_to_become: type[Module] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Materialize all parameters and buffers from the inputs of the first call."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def _forget_shapes(self) -> None:
        """Put tensors without a shape in the place of the empty ones that the layer has made."""
        for name, p in self._parameters.items():
            if p is not None:
                self._parameters[name] = UninitializedParameter(device=p.device, dtype=p.dtype)
        for name, b in self._buffers.items():
            if b is not None and b.dim() > 0:
                self._buffers[name] = UninitializedBuffer(device=b.device, dtype=b.dtype)

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer has no shape yet."""
        return any(is_lazy(t) for t in (*self._parameters.values(), *self._buffers.values()))

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        # What has no shape yet cannot be detached, and stands there as it is.
        for name, tensor in self._own_state().items():
            destination[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()

    def _lazy_load_hook(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Take the shapes of what is about to be loaded."""
        for name, tensor in self._own_state().items():
            given = state_dict.get(prefix + name)
            if is_lazy(tensor) and given is not None and not is_lazy(given):
                tensor.materialize(given.shape)

    def _infer_parameters(self, module: Module, args: tuple, kwargs: dict) -> None:
        """The forward pre-hook of the first call."""
        module.initialize_parameters(*args, **kwargs)
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become


class LazyLinear(LazyModuleMixin, Linear):
    """``Linear`` with ``in_features`` taken from the first input.

    >>> import flambeau as torch
    >>> fc = torch.nn.LazyLinear(3)
    >>> _ = fc(torch.ones(2, 5))
    >>> fc
    Linear(in_features=5, out_features=3, bias=True)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyLinear.html
    """

    cls_to_become = Linear
    weight: UninitializedParameter
    bias: Any

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, bias, device, dtype)
        self.out_features = out_features
        self._forget_shapes()

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        if self.in_features == 0:
            self.in_features = input.shape[-1]
        if self.has_uninitialized_params():
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()


class _LazyConvNd(LazyModuleMixin, _Convolution):
    """What the lazy convolutions share."""

    weight: UninitializedParameter
    bias: Any

    def __init__(self, out_channels: int, kernel_size: int | Sequence[int], *args: Any, **kwargs: Any) -> None:
        super().__init__(0, 0, kernel_size, *args, **kwargs)
        self.out_channels = out_channels
        self._forget_shapes()

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any) -> None:
        if self.in_channels != 0:
            return
        n = self._dimensions
        if input.dim() not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {input.shape}"
            )
        self.in_channels = input.shape[-n - 1]
        if self.in_channels % self.groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if not self.has_uninitialized_params():  # their values have been loaded
            return
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        if self.transposed:
            shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        self.weight.materialize(shape)
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class LazyConv1d(_LazyConvNd, Conv1d):
    """``Conv1d`` with ``in_channels`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyConv1d(8, 3)
    >>> layer(torch.ones(1, 2, 5)).shape, layer.in_channels
    (torch.Size([1, 8, 3]), 2)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConv1d.html
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyConvNd, Conv2d):
    """``Conv2d`` with ``in_channels`` taken from the first input.

    >>> import flambeau as torch
    >>> torch.nn.LazyConv2d(4, 3)(torch.ones(1, 2, 5, 5)).shape
    torch.Size([1, 4, 3, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConv2d.html
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConvNd, Conv3d):
    """``Conv3d`` with ``in_channels`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyConv3d(8, 3)
    >>> layer(torch.ones(1, 2, 5, 5, 5)).shape, layer.in_channels
    (torch.Size([1, 8, 3, 3, 3]), 2)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConv3d.html
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvNd, ConvTranspose1d):
    """``ConvTranspose1d`` with ``in_channels`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyConvTranspose1d(8, 3)
    >>> layer(torch.ones(1, 2, 5)).shape, layer.in_channels
    (torch.Size([1, 8, 7]), 2)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConvTranspose1d.html
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvNd, ConvTranspose2d):
    """``ConvTranspose2d`` with ``in_channels`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyConvTranspose2d(8, 3)
    >>> layer(torch.ones(1, 2, 5, 5)).shape, layer.in_channels
    (torch.Size([1, 8, 7, 7]), 2)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConvTranspose2d.html
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvNd, ConvTranspose3d):
    """``ConvTranspose3d`` with ``in_channels`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyConvTranspose3d(8, 3)
    >>> layer(torch.ones(1, 2, 5, 5, 5)).shape, layer.in_channels
    (torch.Size([1, 8, 7, 7, 7]), 2)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConvTranspose3d.html
    """

    cls_to_become = ConvTranspose3d


class _LazyNorm(LazyModuleMixin, _Norm):
    """What the lazy normalisations share."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self._forget_shapes()

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        if self.num_features == 0:
            self.num_features = input.shape[_channel_dim(self, input)]
        if not self.has_uninitialized_params():
            return
        for tensor in (*self._parameters.values(), *self._buffers.values()):
            if is_lazy(tensor):
                tensor.materialize((self.num_features,))
        self.reset_parameters()


def _channel_dim(module: _NormBase, input: Tensor) -> int:
    unbatched = isinstance(module, _InstanceNorm) and input.dim() == module._get_no_batch_dim()
    return 0 if unbatched else 1


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """``BatchNorm1d`` with ``num_features`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyBatchNorm1d()
    >>> layer(torch.ones(2, 3)).shape, layer.num_features
    (torch.Size([2, 3]), 3)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyBatchNorm1d.html
    """

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """``BatchNorm2d`` with ``num_features`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyBatchNorm2d()
    >>> layer(torch.ones(2, 3, 4, 4)).shape, layer.num_features
    (torch.Size([2, 3, 4, 4]), 3)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyBatchNorm2d.html
    """

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """``BatchNorm3d`` with ``num_features`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyBatchNorm3d()
    >>> layer(torch.ones(2, 3, 4, 4, 4)).shape, layer.num_features
    (torch.Size([2, 3, 4, 4, 4]), 3)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyBatchNorm3d.html
    """

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """``InstanceNorm1d`` with ``num_features`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyInstanceNorm1d()
    >>> layer(torch.ones(2, 3, 4)).shape, layer.num_features
    (torch.Size([2, 3, 4]), 3)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyInstanceNorm1d.html
    """

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """``InstanceNorm2d`` with ``num_features`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyInstanceNorm2d()
    >>> layer(torch.ones(2, 3, 4, 4)).shape, layer.num_features
    (torch.Size([2, 3, 4, 4]), 3)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyInstanceNorm2d.html
    """

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """``InstanceNorm3d`` with ``num_features`` taken from the first input.

    >>> import flambeau as torch
    >>> layer = torch.nn.LazyInstanceNorm3d()
    >>> layer(torch.ones(2, 3, 4, 4, 4)).shape, layer.num_features
    (torch.Size([2, 3, 4, 4, 4]), 3)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyInstanceNorm3d.html
    """

    cls_to_become = InstanceNorm3d
