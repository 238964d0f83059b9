"""``torch.ao.nn.qat``: layers whose weights are rounded while they are trained, as if they were integers.

Source: https://docs.pytorch.org/docs/stable/quantization-support.html#torch-ao-nn-qat
"""

from __future__ import annotations

from typing import Any, ClassVar

import flambeau
from flambeau.ao.nn.quantized.weights import layer_of
from flambeau.nn import functional
from flambeau.nn.modules import conv, linear, sparse

F: Any = functional
__all__ = ["Conv1d", "Conv2d", "Conv3d", "Embedding", "EmbeddingBag", "Linear"]


class _Rounded:
    """Mixed into a float layer: its weight goes through ``weight_fake_quant``."""

    _float: ClassVar[Any]

    def __init__(self, *args: Any, qconfig: Any = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if not qconfig:
            raise AssertionError("qconfig must be provided for QAT module")
        self.qconfig: Any = qconfig
        self.weight_fake_quant = qconfig.weight()

    def _rounded_weight(self) -> Any:
        return self.weight_fake_quant(self.weight)  # type: ignore[attr-defined]

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The layer of one in floating point with a configuration, whose parameters it takes."""
        outer, mod = mod, layer_of(mod)
        if not getattr(outer, "qconfig", None):
            raise AssertionError("Input float module must have a valid qconfig")
        made = cls(*cls._shape_of(mod), qconfig=outer.qconfig, **cls._settings_of(mod))
        made.weight = mod.weight  # type: ignore[attr-defined]
        if hasattr(mod, "bias"):
            made.bias = mod.bias  # type: ignore[attr-defined]
        return made

    @staticmethod
    def _shape_of(mod: Any) -> tuple:
        raise NotImplementedError

    @staticmethod
    def _settings_of(mod: Any) -> dict[str, Any]:
        return {}

    def to_float(self) -> Any:
        """The layer in floating point."""
        made = self._float(*self._shape_of(self), **self._settings_of(self))
        made.weight = flambeau.nn.Parameter(self.weight.detach())  # type: ignore[attr-defined]
        if getattr(self, "bias", None) is not None:
            made.bias = flambeau.nn.Parameter(self.bias.detach())  # type: ignore[attr-defined]
        return made


class Linear(_Rounded, linear.Linear):  # type: ignore[misc]
    """``torch.nn.Linear`` with a rounded weight."""

    _float = linear.Linear

    def forward(self, input: Any) -> Any:
        return F.linear(input, self._rounded_weight(), self.bias)

    @staticmethod
    def _shape_of(mod: Any) -> tuple:
        return mod.in_features, mod.out_features

    @staticmethod
    def _settings_of(mod: Any) -> dict[str, Any]:
        return {"bias": mod.bias is not None}


class _Conv(_Rounded):
    def forward(self, input: Any) -> Any:
        return self._conv_forward(input, self._rounded_weight(), self.bias)  # type: ignore[attr-defined]

    @staticmethod
    def _shape_of(mod: Any) -> tuple:
        return mod.in_channels, mod.out_channels, mod.kernel_size

    @staticmethod
    def _settings_of(mod: Any) -> dict[str, Any]:
        names = ("stride", "padding", "dilation", "groups", "padding_mode")
        return {"bias": mod.bias is not None, **{name: getattr(mod, name) for name in names}}


class Conv1d(_Conv, conv.Conv1d):  # type: ignore[misc]
    """``torch.nn.Conv1d`` with a rounded weight."""

    _float = conv.Conv1d


class Conv2d(_Conv, conv.Conv2d):  # type: ignore[misc]
    """``torch.nn.Conv2d`` with a rounded weight."""

    _float = conv.Conv2d


class Conv3d(_Conv, conv.Conv3d):  # type: ignore[misc]
    """``torch.nn.Conv3d`` with a rounded weight."""

    _float = conv.Conv3d


class Embedding(_Rounded, sparse.Embedding):  # type: ignore[misc]
    """``torch.nn.Embedding`` with a rounded table."""

    _float = sparse.Embedding

    def forward(self, input: Any) -> Any:
        return F.embedding(
            input, self._rounded_weight(), self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    @staticmethod
    def _shape_of(mod: Any) -> tuple:
        return mod.num_embeddings, mod.embedding_dim


class EmbeddingBag(_Rounded, sparse.EmbeddingBag):  # type: ignore[misc]
    """``torch.nn.EmbeddingBag`` with a rounded table."""

    _float = sparse.EmbeddingBag

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        return F.embedding_bag(
            input, self._rounded_weight(), offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse,
            per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    @staticmethod
    def _shape_of(mod: Any) -> tuple:
        return mod.num_embeddings, mod.embedding_dim

    @staticmethod
    def _settings_of(mod: Any) -> dict[str, Any]:
        return {"mode": mod.mode, "include_last_offset": mod.include_last_offset}
