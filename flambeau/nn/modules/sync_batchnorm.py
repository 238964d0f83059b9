"""Batch normalization by the statistics of all processes."""

from __future__ import annotations

import sys
from typing import Any

from flambeau import dispatch, ops
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["SyncBatchNorm"]


class SyncBatchNorm(_BatchNorm):
    r"""Batch normalization of inputs (N, C, ...) by mean and variance over the batches of all processes.

    Each sends :math:`n`, :math:`\sum x` and :math:`\sum (x - \mu)^2` per channel; gradients pass through these sums. In one
    process, and when evaluating, it computes what ``BatchNorm`` of any dimension does.

    Raises ``ValueError`` for fewer than 2 dims.

    >>> import flambeau as torch
    >>> torch.nn.SyncBatchNorm.convert_sync_batchnorm(torch.nn.BatchNorm1d(3))
    SyncBatchNorm(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, process_group: Any = None, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device=device, dtype=dtype)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")

    def forward(self, input: Tensor) -> Tensor:
        """``input``, normalized."""
        by_batch = self.training or self.running_mean is None
        distributed = sys.modules.get("flambeau.distributed")  # without which there is no group
        if (
            not by_batch
            or distributed is None
            or not distributed.is_initialized()
            or distributed.get_world_size(self.process_group) == 1
        ):
            return super().forward(input)
        self._check_input_dim(input)
        from flambeau.distributed.nn import all_reduce

        dims = [d for d in range(input.dim()) if d != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        count = ops.full((1,), float(input.numel() // input.shape[1]), dtype=input.dtype)
        sums = all_reduce(ops.cat([input.sum(dims), count]), group=self.process_group)
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = input - mean.view(shape)
        var = all_reduce((centred * centred).sum(dims), group=self.process_group) / total
        if self.training and self.track_running_stats:
            self._note(mean.detach(), var.detach(), total)
        out = centred * (var + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            out = out * self.weight.view(shape)
        return out if self.bias is None else out + self.bias.view(shape)

    def _note(self, mean: Tensor, var: Tensor, total: Tensor) -> None:
        """Moves the running statistics."""
        before, dispatch.grad_mode.enabled = dispatch.grad_mode.enabled, False
        try:
            self.num_batches_tracked.add_(1)
            share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(var * (total / (total - 1)), share)
        finally:
            dispatch.grad_mode.enabled = before

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """``module`` with each batch normalization in it replaced by one of this class with the same tensors."""
        if isinstance(module, _BatchNorm):
            new: Module = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats, process_group
            )
            for name in module._parameters:
                new._parameters[name] = module._parameters[name]
            for name in module._buffers:
                new._buffers[name] = module._buffers[name]
            new.training = module.training
        else:
            new = module
        for name, child in module.named_children():
            new.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return new
