"""Rectifiers and other activations that are made of pieces of lines."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau import ops
from flambeau.nn import functional as F
from flambeau.nn.init import constant_
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor

__all__ = [
    "Threshold",
    "ReLU",
    "RReLU",
    "Hardtanh",
    "ReLU6",
    "Hardsigmoid",
    "Hardswish",
    "Hardshrink",
    "LeakyReLU",
    "Softshrink",
    "PReLU",
]


class _InplaceActivation(Module):
    """An activation whose one argument says whether it may overwrite its input."""

    __constants__ = ["inplace"]
    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


def _suffix(inplace: bool) -> str:
    return ", inplace=True" if inplace else ""


class Threshold(Module):
    """x where x > ``threshold``, else ``value``.

    >>> import flambeau as torch
    >>> torch.nn.Threshold(0.1, 20)(torch.tensor([0.0, 0.5]))
    tensor([20.0000,  0.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Threshold.html
    """

    __constants__ = ["threshold", "value", "inplace"]

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}{_suffix(self.inplace)}"


class ReLU(_InplaceActivation):
    """max(0, x).

    >>> import flambeau as torch
    >>> torch.nn.ReLU()(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=self.inplace)


class RReLU(Module):
    """x where x >= 0, else a x; a is drawn from U(lower, upper) in training, their mean otherwise.

    >>> import flambeau as torch
    >>> torch.nn.RReLU(0.25, 0.75).eval()(torch.tensor([-24.0, 2.0]))
    tensor([-12.,   2.])

    Xu et al. (2015), Empirical evaluation of rectified activations in convolutional network.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RReLU.html
    """

    __constants__ = ["lower", "upper", "inplace"]

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}{_suffix(self.inplace)}"


class Hardtanh(Module):
    """x between ``min_val`` and ``max_val``, these two outside.

    Raises ``AssertionError`` unless ``max_val`` is greater than ``min_val``.

    >>> import flambeau as torch
    >>> torch.nn.Hardtanh(-2, 2)(torch.tensor([-3.0, 1.0, 5.0]))
    tensor([-2.,  1.,  2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardtanh.html
    """

    __constants__ = ["min_val", "max_val", "inplace"]

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        if min_value is not None:
            warnings.warn(
                "keyword argument `min_value` is deprecated and rename to `min_val`",
                FutureWarning,
                stacklevel=2,
            )
            min_val = min_value
        if max_value is not None:
            warnings.warn(
                "keyword argument `max_value` is deprecated and rename to `max_val`",
                FutureWarning,
                stacklevel=2,
            )
            max_val = max_value
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace
        if not self.max_val > self.min_val:
            raise AssertionError(f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})")

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}{_suffix(self.inplace)}"


class ReLU6(Hardtanh):
    """min(max(0, x), 6).

    >>> import flambeau as torch
    >>> torch.nn.ReLU6()(torch.tensor([-1.0, 3.0, 8.0]))
    tensor([0., 3., 6.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU6.html
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Hardsigmoid(Module):
    """0 up to -3, 1 from 3, x / 6 + 1/2 between.

    >>> import flambeau as torch
    >>> torch.nn.Hardsigmoid()(torch.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0000, 0.5000, 1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardsigmoid.html
    """

    __constants__ = ["inplace"]

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


class Hardswish(Module):
    """x hardsigmoid(x).

    >>> import flambeau as torch
    >>> torch.nn.Hardswish()(torch.tensor([-4.0, 1.0, 4.0]))
    tensor([-0.0000, 0.6667, 4.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardswish.html
    """

    __constants__ = ["inplace"]

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)


class Hardshrink(Module):
    """x where |x| > lambd, else 0.

    >>> import flambeau as torch
    >>> torch.nn.Hardshrink()(torch.tensor([-1.0, 0.3, 2.0]))
    tensor([-1.,  0.,  2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardshrink.html
    """

    __constants__ = ["lambd"]

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class LeakyReLU(Module):
    """x where x >= 0, else negative_slope x.

    >>> import flambeau as torch
    >>> torch.nn.LeakyReLU(0.1)(torch.tensor([-1.0, 1.0]))
    tensor([-0.1000,  1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html
    """

    __constants__ = ["inplace", "negative_slope"]

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}{_suffix(self.inplace)}"


class Softshrink(Module):
    """x - lambd above lambd, x + lambd below -lambd, 0 between.

    >>> import flambeau as torch
    >>> torch.nn.Softshrink()(torch.tensor([-1.0, 0.3, 2.0]))
    tensor([-0.5000,  0.0000,  1.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softshrink.html
    """

    __constants__ = ["lambd"]

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class PReLU(Module):
    """x where x >= 0, else weight x; the weight is learned, one for all or one for each channel.

    >>> import flambeau as torch
    >>> torch.nn.PReLU()(torch.tensor([-1.0, 1.0])).detach()
    tensor([-0.2500,  1.0000])

    He et al. (2015), Delving deep into rectifiers.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html
    """

    __constants__ = ["num_parameters"]

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(ops.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to its first value."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
