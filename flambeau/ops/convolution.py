"""Convolution in one, two and three dims, and transposed convolution.

Three primitives do all of it, each linear in its two operands and each the others' gradient, so that any order of
derivative follows: the convolution itself, its transpose in the input (which is also the transposed convolution), and
its transpose in the weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.core.dtypes import BOOLEAN, scalar_name
from flambeau.ops import convolution_kernels as kernels
from flambeau.ops import convolution_volumes as volumes
from flambeau.ops import layouts
from flambeau.ops.complexes import conj_of
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import refuse
from flambeau.ops.windows import per_dim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- the three primitives ------------------------------------------------------------------------------------


def _over_places(g):
    """The gradient of a bias: the sum over all but the channels."""
    return g.sum((0, *range(2, g.dim())))


@op(
    layout=layouts.convolution,
    name="_convolution",
    tensors="input weight bias",
    kernel=kernels.forward,
    expand=volumes.forward,
    grad={
        "input": lambda g, weight, input_shape, stride, pads, dilation, groups: _convolution_input(
            g, conj_of(weight), None, stride, pads, dilation, groups, input_shape[2:]
        ),
        "weight": lambda g, input, weight_shape, stride, pads, dilation, groups: _convolution_weight(
            conj_of(input), g, stride, pads, dilation, groups, weight_shape[2:]
        ),
        "bias": lambda g: _over_places(g),
    },
    method=False,
    backward_name="ConvolutionBackward0",
)
def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    pads,
    dilation: Sequence[int],
    groups: int,
    outputs,
):
    """The cross-correlation of an input (N, C, ...) with a weight (O, C / groups, ...), at ``outputs`` places."""
    attrs = {"stride": stride, "pads": pads, "dilation": dilation, "groups": groups, "outputs": tuple(outputs)}
    return (input._shape[0], weight._shape[0], *outputs), input._dtype, (input, weight, bias), attrs


@op(
    layout=layouts.convolution,
    name="_convolution_input",
    tensors="grad weight bias",
    kernel=kernels.input_gradient,
    expand=volumes.input_gradient,
    grad={
        "grad": lambda g, weight, grad_shape, stride, pads, dilation, groups: _convolution(
            g, conj_of(weight), None, stride, pads, dilation, groups, grad_shape[2:]
        ),
        "weight": lambda g, grad, weight_shape, stride, pads, dilation, groups: _convolution_weight(
            g, conj_of(grad), stride, pads, dilation, groups, weight_shape[2:]
        ),
        "bias": lambda g: _over_places(g),
    },
    method=False,
    backward_name="ConvolutionBackward0",
)
def _convolution_input(grad: Tensor, weight: Tensor, bias: Tensor, stride, pads, dilation, groups, sizes: Sequence[int]):
    """The transpose of :func:`_convolution` in its input, for an input of ``sizes``."""
    attrs = {"stride": stride, "pads": pads, "dilation": dilation, "groups": groups, "sizes": tuple(sizes)}
    return (grad._shape[0], weight._shape[1] * groups, *sizes), grad._dtype, (grad, weight, bias), attrs


@op(
    layout=layouts.convolution,
    name="_convolution_weight",
    tensors="input grad",
    kernel=kernels.weight_gradient,
    expand=volumes.weight_gradient,
    grad={
        "input": lambda g, grad, input_shape, stride, pads, dilation, groups: _convolution_input(
            conj_of(grad), g, None, stride, pads, dilation, groups, input_shape[2:]
        ),
        "grad": lambda g, input, grad_shape, stride, pads, dilation, groups: _convolution(
            conj_of(input), g, None, stride, pads, dilation, groups, grad_shape[2:]
        ),
    },
    method=False,
    backward_name="ConvolutionBackwardBackward0",
)
def _convolution_weight(input: Tensor, grad: Tensor, stride, pads, dilation, groups, kernel):
    """The transpose of :func:`_convolution` in its weight, for a ``kernel`` of this size."""
    attrs = {"stride": stride, "pads": pads, "dilation": dilation, "groups": groups, "kernel": tuple(kernel)}
    return (grad._shape[1], input._shape[1] // groups, *kernel), grad._dtype, (input, grad), attrs


# --- checks --------------------------------------------------------------------------------------------------


def _settings(value, dims: int, what: str, name: str) -> tuple[int, ...]:
    """A setting for each dim."""
    if isinstance(value, (tuple, list)) and len(value) not in (1, dims):
        raise RuntimeError(
            f"expected {what} to be a single integer value or a list of {dims} values to match the convolution "
            f"dimensions, but got {what}={list(value)}"
        )
    return per_dim(value, dims, what, name)


def _check_settings(stride, padding, dilation, groups) -> None:
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if min(padding) < 0:
        raise RuntimeError("negative padding is not supported")
    if min(stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(dilation) <= 0:
        raise RuntimeError("non-positive dilation is not supported")


def _check_operands(name: str, input, weight, bias, dims: int, groups: int, transposed: bool) -> None:
    shape, given = list(weight._shape), list(input._shape)
    if len(shape) != dims + 2:
        raise RuntimeError(
            f"{name}: Expected {dims + 2}-dimensional weight, but got weight of size {shape}; its dims are "
            f"{'(in, out / groups' if transposed else '(out, in / groups'}, *kernel)"
        )
    if len(given) not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {name}, but got input of size: {given}"
        )
    if shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size {shape} instead"
        )
    if shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of size "
            f"[{shape}] instead"
        )
    channels, wanted = given[-dims - 1], shape[0] if transposed else shape[1] * groups
    if channels != wanted:
        how = "transposed=1" if transposed else f"groups={groups}"
        raise RuntimeError(
            f"Given {how}, weight of size {shape}, expected input{given} to have {wanted} channels, but got {channels} "
            f"channels instead: the layer's in_channels (here {wanted}) is the input's dim {len(given) - dims - 1}"
        )
    if 0 in given[-dims:] and transposed or 0 in shape[2:] or transposed and not shape[1]:
        raise RuntimeError(
            f"Only zero batch or zero channel inputs are supported, but got input shape: {given} and weight of size {shape}"
        )
    made = shape[1] * groups if transposed else shape[0]
    if bias is not None and bias._shape != (made,):
        raise RuntimeError(
            f"Given {'transposed=1, ' if transposed else ''}weight of size {shape}, expected bias to be 1-dimensional with "
            f"{made} elements, but got bias of size {list(bias._shape)} instead"
        )
    refuse("slow_conv2d_cpu", input, kinds=(BOOLEAN,))
    if weight._dtype is not input._dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(input._dtype)} but found {scalar_name(weight._dtype)}: the input is "
            f"{input._dtype}, the weight {weight._dtype}; they must have the same dtype"
        )
    if bias is not None and bias._dtype is not input._dtype:
        raise RuntimeError(f"Input type ({input._dtype.name}) and bias type ({bias._dtype.name}) should be the same")


def _pads(padding, dims: int, name: str, kernel, stride, dilation) -> tuple[tuple[int, int], ...]:
    """The padding before and after each dim, from ints or a word."""
    if padding == "valid":
        return ((0, 0),) * dims
    if padding == "same":
        if not kernel:
            raise RuntimeError("weight should have at least three dimensions")
        if max(stride) > 1:
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=False)]  # the number of dims is checked next
        return tuple([(n // 2, n - n // 2) for n in totals])
    if isinstance(padding, str):
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    padding = _settings(padding, dims, "padding", name)
    if min(padding) < 0:
        raise RuntimeError("negative padding is not supported")
    return tuple([(p, p) for p in padding])


def _by(sizes) -> str:
    return " x ".join(map(str, sizes))


# --- convolution ---------------------------------------------------------------------------------------------


def _convolved(dims: int, input, weight, bias, stride, padding, dilation, groups):
    name = f"conv{dims}d"
    require_tensors(name, input=input, weight=weight)
    stride = _settings(stride, dims, "stride", name)
    dilation = _settings(dilation, dims, "dilation", name)
    _check_settings(stride, (0,), dilation, groups)
    pads = _pads(padding, dims, name, weight._shape[2:], stride, dilation)
    _check_operands(name, input, weight, bias, dims, groups, False)
    sizes = [n + a + b for n, (a, b) in zip(input._shape[-dims:], pads, strict=True)]
    reach = [d * (k - 1) + 1 for k, d in zip(weight._shape[2:], dilation, strict=True)]
    if any(n < r for n, r in zip(sizes, reach, strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({_by(sizes)}). Kernel size: ({_by(reach)}). Kernel size can't be "
            f"greater than actual input size: the input has shape {list(input._shape)}"
        )
    outputs = [(n - r) // s + 1 for n, r, s in zip(sizes, reach, stride, strict=True)]
    if input.dim() == dims + 1:
        return _convolution(input.unsqueeze(0), weight, bias, stride, pads, dilation, groups, outputs).squeeze(0)
    return _convolution(input, weight, bias, stride, pads, dilation, groups, outputs)


def _conv_samples(dims: int):
    def samples(make) -> list[Sample]:
        return {
            1: [
                Sample(make(2, 2, 5), make(3, 2, 3)),
                Sample(make(2, 5), make(3, 2, 2), make(3), 2, 1, 2),
                Sample(make(2, 4, 3), make(4, 1, 2), None, 1, "same", 1, 4),
                Sample(make(1, 4, 4), make(6, 2, 1), make(6), padding="valid", groups=2),
            ],
            2: [
                Sample(make(1, 2, 4, 4), make(2, 2, 3, 2), make(2)),
                Sample(make(2, 4, 3), make(2, 2, 2, 2), None, (2, 1), (1, 0)),
                Sample(make(1, 2, 4, 4), make(4, 1, 2, 2), make(4), 1, 1, (2, 1), 2),
                Sample(make(1, 2, 3, 3), make(2, 2, 2, 3), padding="same"),
                Sample(make(2, 2, 2, 2), make(3, 2, 1, 1)),
                Sample(make(2, 4, 2, 2), make(4, 2, 2, 1), groups=2),
            ],
            3: [
                Sample(make(1, 2, 2, 3, 2), make(2, 2, 2, 1, 2), make(2), 1, (1, 0, 1)),
                Sample(make(1, 3, 2, 3), make(2, 1, 2, 2, 2), stride=2, padding=1),
            ],
        }[dims]

    return samples


def _conv_errors(dims: int):
    def errors(make) -> list[ErrorSample]:
        x, w = make(1, 2, *[4] * dims), make(2, 2, *[3] * dims)
        return [
            ErrorSample(RuntimeError, "to have 2 channels, but got 3", make(1, 3, *[4] * dims), w),
            ErrorSample(RuntimeError, r"\(unbatched\) or", make(*[4] * dims), w),
            ErrorSample(RuntimeError, "Kernel size can't be greater", make(1, 2, *[2] * dims), w),
            ErrorSample(RuntimeError, "expected bias to be 1-dimensional", x, w, make(3)),
            ErrorSample(RuntimeError, "non-positive stride", x, w, stride=0),
            ErrorSample(RuntimeError, "negative padding", x, w, padding=-1),
            ErrorSample(RuntimeError, "not supported for strided", x, w, stride=2, padding="same"),
            ErrorSample(RuntimeError, "Invalid padding string", x, w, padding="full"),
            ErrorSample(RuntimeError, "divisible by 2 at dimension 0", x, make(3, 1, *[3] * dims), groups=2),
            ErrorSample(RuntimeError, "expected scalar type", x.float(), w),
        ]

    return errors


@composite(name="nn.functional.conv1d", aliases=("conv1d",), samples=_conv_samples(1), errors=_conv_errors(1))
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """:func:`conv2d` in one dim: input (N, C, L) or (C, L), weight (O, C / groups, K).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.conv1d(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[[1.0, 10.0]]]))
    tensor([[21., 32., 43.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv1d.html
    """
    return _convolved(1, input, weight, bias, stride, padding, dilation, groups)


@composite(name="nn.functional.conv2d", aliases=("conv2d",), samples=_conv_samples(2), errors=_conv_errors(2))
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    r"""Cross-correlation of an input (N, C, H, W) or (C, H, W) with a weight (O, C / groups, kH, kW).

    :math:`out_{o,y,x} = b_o + \sum_{c,i,j} w_{o,c,i,j}\; in_{c,\; y s + i d - p,\; x s + j d - p}` with stride s,
    dilation d and padding p (zeros at both ends; ``"same"`` keeps the size, ``"valid"`` is 0). Each of ``groups``
    groups of outputs sees its own group of the input's channels. The result's height and width are
    :math:`\lfloor (n + 2 p - d (k - 1) - 1) / s \rfloor + 1`.

    >>> import flambeau as torch
    >>> torch.nn.functional.conv2d(torch.arange(9.0).reshape(1, 1, 3, 3), torch.ones(1, 1, 2, 2))
    tensor([[[[ 8., 12.],
              [20., 24.]]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv2d.html
    """
    return _convolved(2, input, weight, bias, stride, padding, dilation, groups)


@composite(name="nn.functional.conv3d", aliases=("conv3d",), samples=_conv_samples(3), errors=_conv_errors(3))
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """:func:`conv2d` in three dims: input (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.conv3d(torch.ones(1, 2, 4, 5, 6), torch.ones(3, 2, 3, 3, 3)).shape
    torch.Size([1, 3, 2, 3, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv3d.html
    """
    return _convolved(3, input, weight, bias, stride, padding, dilation, groups)


# --- transposed convolution ----------------------------------------------------------------------------------


def _transposed(dims: int, input, weight, bias, stride, padding, output_padding, groups, dilation):
    name = f"conv_transpose{dims}d"
    require_tensors(name, input=input, weight=weight)
    stride = _settings(stride, dims, "stride", name)
    dilation = _settings(dilation, dims, "dilation", name)
    padding = _settings(padding, dims, "padding", name)
    output_padding = _settings(output_padding, dims, "output_padding", name)
    _check_settings(stride, padding, dilation, groups)
    if min(output_padding) < 0:
        raise RuntimeError("negative output_padding is not supported")
    for extra, s, d in zip(output_padding, stride, dilation, strict=True):
        if extra >= s and extra >= d:
            raise RuntimeError(
                f"output padding must be smaller than either stride or dilation, but got output_padding: {output_padding} "
                f"stride: {stride} dilation: {dilation}"
            )
    _check_operands(name, input, weight, bias, dims, groups, True)
    sizes = tuple(
        [(n - 1) * s - 2 * p + d * (k - 1) + extra + 1
         for n, s, p, d, k, extra in zip(
             input._shape[-dims:], stride, padding, dilation, weight._shape[2:], output_padding, strict=True)]
    )  # fmt: skip
    if min(sizes) < 1:
        raise RuntimeError(
            f"Given input size per channel: ({_by(input._shape[-dims:])}). Calculated output size per channel: "
            f"({_by(sizes)}). Output size is too small"
        )
    pads = tuple([(p, p) for p in padding])
    if input.dim() == dims + 1:
        return _convolution_input(input.unsqueeze(0), weight, bias, stride, pads, dilation, groups, sizes).squeeze(0)
    return _convolution_input(input, weight, bias, stride, pads, dilation, groups, sizes)


def _transpose_samples(dims: int):
    def samples(make) -> list[Sample]:
        return {
            1: [
                Sample(make(2, 2, 3), make(2, 3, 2), make(3)),
                Sample(make(2, 3), make(2, 1, 3), None, 2, 1, 1, 2),
                Sample(make(1, 2, 3), make(2, 1, 2), dilation=2),
            ],
            2: [
                Sample(make(1, 2, 2, 3), make(2, 2, 2, 2), make(2)),
                Sample(make(2, 2, 3), make(2, 1, 3, 2), make(2), (2, 1), 1, (1, 0), 2),
                Sample(make(1, 4, 2, 2), make(4, 2, 2, 1), None, groups=2),
            ],
            3: [Sample(make(1, 2, 1, 2, 2), make(2, 1, 2, 2, 1), make(1), 2)],
        }[dims]

    return samples


def _transpose_errors(dims: int):
    def errors(make) -> list[ErrorSample]:
        x, w = make(1, 2, *[4] * dims), make(2, 3, *[3] * dims)
        return [
            ErrorSample(RuntimeError, "to have 2 channels, but got 3", make(1, 3, *[4] * dims), w),
            ErrorSample(RuntimeError, "expected bias to be 1-dimensional with 3", x, w, make(2)),
            ErrorSample(RuntimeError, "output padding must be smaller", x, w, output_padding=1),
            ErrorSample(RuntimeError, r"\(unbatched\) or", make(*[4] * dims), w),
        ]

    return errors


@composite(
    name="nn.functional.conv_transpose1d",
    aliases=("conv_transpose1d",),
    samples=_transpose_samples(1),
    errors=_transpose_errors(1),
)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """:func:`conv_transpose2d` in one dim: input (N, C, L) or (C, L), weight (C, O / groups, K).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.conv_transpose1d(torch.tensor([[1.0, 2.0]]), torch.tensor([[[1.0, 10.0]]]), stride=2)
    tensor([[ 1., 10.,  2., 20.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose1d.html
    """
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@composite(
    name="nn.functional.conv_transpose2d",
    aliases=("conv_transpose2d",),
    samples=_transpose_samples(2),
    errors=_transpose_errors(2),
)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    r"""The transpose of :func:`conv2d`: its gradient for the input, as an op of its own.

    Input (N, C, H, W) or (C, H, W), weight (C, O / groups, kH, kW). Each element of the input adds the kernel, times its
    value, to the result, ``stride`` apart; ``padding`` is cut off at both ends, ``output_padding`` is put on at one. The
    result's height and width are :math:`(n - 1) s - 2 p + d (k - 1) + output\_padding + 1`.

    >>> import flambeau as torch
    >>> torch.nn.functional.conv_transpose2d(torch.ones(1, 1, 2), torch.ones(1, 1, 1, 2))
    tensor([[[1., 2., 1.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose2d.html
    """
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@composite(
    name="nn.functional.conv_transpose3d",
    aliases=("conv_transpose3d",),
    samples=_transpose_samples(3),
    errors=_transpose_errors(3),
)
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """:func:`conv_transpose2d` in three dims: input (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.conv_transpose3d(torch.ones(1, 2, 2, 3, 4), torch.ones(2, 3, 3, 3, 3)).shape
    torch.Size([1, 3, 4, 5, 6])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose3d.html
    """
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(1, 2, 4), make(3, 2, 2), None, (1,), (0,), (1,), False, (0,), 1),
        Sample(make(1, 2, 4), make(2, 3, 2), make(3), (2,), (1,), (1,), True, (1,), 1),
    ],
)
def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """:func:`conv2d`, or if ``transposed`` :func:`conv_transpose2d`, in as many dims as the weight has.

    >>> import flambeau as torch
    >>> x, w = torch.ones(1, 1, 4), torch.ones(1, 1, 2)
    >>> torch.convolution(x, w, None, [1], [0], [1], False, [0], 1)
    tensor([[[2., 2., 2.]]])

    Source: PyTorch's operator ``aten::convolution``.
    """
    dims = weight.dim() - 2
    if transposed:
        return _transposed(dims, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _convolved(dims, input, weight, bias, stride, padding, dilation, groups)


@composite(
    name="nn.functional.conv_tbc",
    aliases=("conv_tbc",),
    samples=lambda make: [Sample(make(4, 1, 2), make(3, 2, 2), make(2), 1)],
)
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """:func:`conv1d` of an input (time, batch, channels) with a weight (kernel, in, out).

    >>> import flambeau as torch
    >>> torch.conv_tbc(torch.ones(4, 1, 2), torch.ones(3, 2, 5), torch.zeros(5)).shape
    torch.Size([2, 1, 5])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_tbc.html
    """
    return conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1).contiguous()
