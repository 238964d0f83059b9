"""Convolution that reads its input at places which another tensor moves: ``torchvision.ops.deform_conv2d``.

Source: Zhu et al., "Deformable ConvNets v2", 2018.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau.ops.contraction_einsum import einsum
from flambeau.ops.ranges import arange
from flambeau.ops.record import ErrorSample, Sample, composite

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- convolution at learned places ---------------------------------------------------------------------------


def _interpolated(planes, y, x):
    """Elements of ``planes`` (B, C, H, W) at places (B, P), between four elements; zero outside."""
    batch, channels, height, width = planes.shape
    inside = (y > -1) & (y < height) & (x > -1) & (x < width)
    top, left = y.detach().floor(), x.detach().floor()
    down, across = y - top, x - left
    flat = planes.reshape(batch, channels, height * width)
    total = 0
    for row, weight_y in ((top, 1 - down), (top + 1, down)):
        for column, weight_x in ((left, 1 - across), (left + 1, across)):
            there = inside & (row >= 0) & (row <= height - 1) & (column >= 0) & (column <= width - 1)
            index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            taken = flat.gather(2, index.unsqueeze(1).expand(-1, channels, -1))
            total = total + taken * (weight_y * weight_x).masked_fill(~there, 0).unsqueeze(1)
    return total


def _deform_samples(make):
    one = [
        Sample(
            make(2, 2, 4, 4),
            make(3, 2, 2, 2),
            make(2, 8, 3, 3),
            make(2, 4, 3, 3),
            make(3),
            1,
            1,
            0,
            0,
            1,
            1,
            1,
            1,
            True,
        )
    ]
    empty = make(2, 0)
    return [
        *one,
        Sample(make(1, 4, 5, 4), make(4, 2, 2, 1), make(1, 8, 3, 4), empty, make(4), 2, 1, 1, 0, 2, 1, 2, 2, False),
    ]


@composite(
    name="torchvision.deform_conv2d",
    samples=_deform_samples,
    errors=lambda make: [
        ErrorSample(
            RuntimeError, "offset.shape\\[1\\] is not valid", make(1, 2, 4, 4), make(3, 2, 2, 2), make(1, 6, 3, 3), make(1, 0), make(3),
            1, 1, 0, 0, 1, 1, 1, 1, False,
        ),
        ErrorSample(
            RuntimeError, "offset output dims", make(1, 2, 4, 4), make(3, 2, 2, 2), make(1, 8, 4, 3), make(1, 0), make(3),
            1, 1, 0, 0, 1, 1, 1, 1, False,
        ),
    ],
)  # fmt: skip
def deform_conv2d(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Tensor:
    r"""A convolution each tap of which reads the input at a place, and with a weight, of its own.

    .. math:: y(p) = b + \sum_k w_k\, m_k(p)\, x(p + p_k + \Delta_k(p))

    Args:
        input: (N, C, H, W).
        weight: (O, C / groups, kernel_h, kernel_w).
        offset: :math:`\Delta`, (N, 2 * offset_groups * kernel_h * kernel_w, H_out, W_out), rows before columns.
        mask: m, (N, offset_groups * kernel_h * kernel_w, H_out, W_out), where ``use_mask``.

    Raises ``RuntimeError`` for channels, offsets and masks that do not fit.

    >>> import flambeau as torch
    >>> x, weight = torch.arange(4.0).reshape(1, 1, 2, 2), torch.ones(1, 1, 1, 1)
    >>> right = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)  # each tap reads one column further
    >>> none = torch.zeros(1, 0, 2, 2)
    >>> torch.ops.torchvision.deform_conv2d(x, weight, right, none, torch.zeros(1), 1, 1, 0, 0, 1, 1, 1, 1, False)
    tensor([[[[1., 0.],
              [3., 0.]]]])

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.ops.deform_conv2d.html
    """
    for t, name in ((input, "input"), (offset, "offset"), (weight, "weight")):
        if t.dim() != 4:
            raise RuntimeError(f"deform_conv2d: {name} must have 4 dimensions, got {t.dim()}")
    batch, channels, height, width = input.shape
    out_channels, _, *kernel = weight.shape
    taps = prod(kernel)
    steps = ((height, pad_h, dilation_h, stride_h), (width, pad_w, dilation_w, stride_w))
    out_h, out_w = [(n + 2 * p - (d * (k - 1) + 1)) // s + 1 for (n, p, d, s), k in zip(steps, kernel, strict=True)]
    if weight.shape[1] * groups != channels or channels % offset_groups or out_channels % groups:
        raise RuntimeError(f"deform_conv2d: channels {channels} do not fit the weight {list(weight.shape)} in {groups} groups")
    if offset.shape[1] != offset_groups * 2 * taps:
        raise RuntimeError(f"offset.shape[1] is not valid: got: {offset.shape[1]} expected: {offset_groups * 2 * taps}")
    if use_mask and mask.shape[1] != offset_groups * taps:
        raise RuntimeError(f"mask.shape[1] is not valid: got: {mask.shape[1]} expected: {offset_groups * taps}")
    if tuple(offset.shape[2:]) != (out_h, out_w) or offset.shape[0] != batch:
        raise RuntimeError(f"offset output dims: ({offset.shape[2]}, {offset.shape[3]}) - computed output dims: ({out_h}, {out_w})")
    if out_h <= 0 or out_w <= 0:
        raise RuntimeError(f"Calculated output size too small - out_h: {out_h} out_w: {out_w}")
    moved = offset.reshape(batch * offset_groups, *kernel, 2, out_h, out_w)
    grid = []
    for axis, (_, p, d, s) in enumerate(steps):
        out = (out_h, out_w)[axis]
        starts = arange(out, dtype=input.dtype) * s - p
        ticks = arange(kernel[axis], dtype=input.dtype) * d
        place = ticks.reshape(-1, *[1] * (3 - axis)) + (starts.reshape(-1, 1) if axis == 0 else starts)
        grid.append((moved[:, :, :, axis] + place).reshape(batch * offset_groups, -1))
    planes = input.reshape(batch * offset_groups, channels // offset_groups, height, width)
    read = _interpolated(planes, *grid).reshape(batch, offset_groups, channels // offset_groups, taps, out_h * out_w)
    if use_mask:
        read = read * mask.reshape(batch, offset_groups, 1, taps, out_h * out_w)
    read = read.reshape(batch, groups, channels // groups * taps, out_h * out_w)
    kernels = weight.reshape(groups, out_channels // groups, -1)
    out = einsum("gok,bgkp->bgop", kernels, read).reshape(batch, out_channels, out_h, out_w)
    return out + bias.reshape(1, -1, 1, 1)
