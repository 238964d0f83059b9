"""What looks at the values that pass, to tell the scale and the zero point of their quantisation."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any

from flambeau.core.dtypes import dtype as Dtype
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["ObserverBase"]


class ObserverBase(ABC, Module):
    """Base of such modules: ``forward`` looks at a tensor and passes it on, ``calculate_qparams`` gives scale and zero point for ``dtype``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ao.quantization.observer.ObserverBase.html
    """

    def __init__(self, dtype: Dtype, is_dynamic: bool = False) -> None:
        super().__init__()
        self.dtype, self.is_dynamic = dtype, is_dynamic

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Looks at ``x``."""

    @abstractmethod
    def calculate_qparams(self, **kwargs: Any) -> Any:
        """The scale and the zero point, of what has been seen."""

    @classmethod
    def with_args(cls, **kwargs: Any) -> Any:
        """What makes such a module with these arguments."""
        return functools.partial(cls, **kwargs)
