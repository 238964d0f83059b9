"""Rules of normalisations."""

from __future__ import annotations

from typing import Any

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.onnx.importing.registry import rule

Tensor = torch.Tensor


@rule("BatchNormalization")
def batch_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, *,
    epsilon: float = 1e-5, momentum: float = 0.9, training_mode: int = 0, spatial: int = 1, is_test: int = 0, outputs: int,
) -> Any:  # fmt: skip
    if not training_mode:
        return F.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)
    dims = [0, *range(2, x.dim())]
    now, spread = x.mean(dims), x.var(dims, correction=0)
    y = F.batch_norm(x, None, None, scale, bias, True, 0.0, epsilon)
    running = (mean * momentum + now * (1 - momentum), var * momentum + spread * (1 - momentum))
    return y if outputs == 1 else (y, *running)


@rule("InstanceNormalization")
def instance_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return F.instance_norm(x, None, None, scale, bias, True, 0.0, epsilon)


@rule("LayerNormalization")
def layer_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int,
) -> Any:
    dims = list(range(axis % x.dim(), x.dim()))
    y = F.layer_norm(
        x, x.shape[dims[0] :], scale.expand(x.shape[dims[0] :]), None if bias is None else bias.expand(x.shape[dims[0] :]), epsilon
    )
    if outputs == 1:
        return y
    mean = x.mean(dims, keepdim=True)
    return y, mean, torch.rsqrt(x.var(dims, correction=0, keepdim=True) + epsilon)


@rule("RMSNormalization")
def rms_normalization(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Tensor:
    dims = list(range(axis % x.dim(), x.dim()))
    return x * torch.rsqrt((x * x).mean(dims, keepdim=True) + epsilon) * scale


@rule("GroupNormalization")
def group_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    channels = x.shape[1]
    if scale.numel() != channels:  # one of each group, before version 21
        scale, bias = (t.repeat_interleave(channels // num_groups) for t in (scale, bias))
    return F.group_norm(x, num_groups, scale, bias, epsilon)


@rule("LRN")
def local_response(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    left = (size - 1) // 2
    squares = F.pad((x * x).transpose(1, -1), (left, size - 1 - left)).unfold(-1, size, 1).sum(-1).transpose(1, -1)
    return x / (bias + alpha / size * squares) ** beta


@rule("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    size = x.abs().sum(axis, keepdim=True) if p == 1 else (x * x).sum(axis, keepdim=True).sqrt()
    return torch.where(size == 0, torch.zeros_like(x), x / size)
