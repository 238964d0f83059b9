"""What stands for a quantisation while a model is trained: values are rounded as they will be, and stay floating-point numbers."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any

from flambeau.core import dtypes
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor
from flambeau.tensor.exchange import tensor

__all__ = ["FakeQuantizeBase"]


class FakeQuantizeBase(ABC, Module):
    """Base of such modules: ``forward`` looks at a tensor's values and rounds them, ``calculate_qparams`` gives scale and zero point.

    ``fake_quant_enabled`` and ``observer_enabled`` are buffers with one element, 0 or 1, which ``forward`` has to heed.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ao.quantization.fake_quantize.FakeQuantizeBase.html
    """

    fake_quant_enabled: Tensor
    observer_enabled: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fake_quant_enabled", tensor([1], dtype=dtypes.uint8))
        self.register_buffer("observer_enabled", tensor([1], dtype=dtypes.uint8))

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """``x`` with rounded values."""

    @abstractmethod
    def calculate_qparams(self, **kwargs: Any) -> Any:
        """The scale and the zero point, of what has been seen."""

    def enable_fake_quant(self, enabled: bool = True) -> None:
        """Says whether values are rounded."""
        self.fake_quant_enabled[0] = int(enabled)

    def disable_fake_quant(self) -> None:
        """Values pass as they are."""
        self.enable_fake_quant(False)

    def enable_observer(self, enabled: bool = True) -> None:
        """Says whether values are looked at."""
        self.observer_enabled[0] = int(enabled)

    def disable_observer(self) -> None:
        """Values are not looked at any more."""
        self.enable_observer(False)

    @classmethod
    def with_args(cls, **kwargs: Any) -> Any:
        """What makes such a module with these arguments."""
        return functools.partial(cls, **kwargs)
