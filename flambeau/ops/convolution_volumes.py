"""Convolutions of volumes in plans, as convolutions of images.

Each result along the first spatial dim, the depth, is an image: a convolution of the slices under the kernel, whose channels are
those of all these slices. So the slices are copied out, as images with (channel, tap) for channels, in the order in which a weight
has them: it needs no copy. The gradient of the input adds such images to the slices that they came from. Depth by depth this is a
small part of the work.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau.core import dtypes
from flambeau.core.size import contiguous_strides
from flambeau.ops.record import registry

if TYPE_CHECKING:
    from flambeau.engine.grouping import Ref

_VOLUME = 5
"""Dims of a volume: batch, channel, depth, row, column."""


class _Depth(NamedTuple):
    """How windows lie along the depth; ``settings`` are those of the other two dims."""

    taps: int
    places: int
    stride: int
    dilation: int
    pads: tuple[int, int]
    settings: dict[str, Any]

    def images(self, shape: tuple) -> tuple[tuple, tuple]:
        """A padded volume of ``shape``, (batch, place, channel, tap, row, column): the shape of these, and how it lies in the
        volume."""
        batch, channels, _, *image = shape
        apart, channel, depth, *inner = contiguous_strides(shape)
        return (
            (batch, self.places, channels, self.taps, *image),
            (apart, self.stride * depth, channel, self.dilation * depth, *inner),
        )


def _depth(e, taps: int, places: int, stride, pads, dilation, groups) -> _Depth:
    if e.node.dtype not in (dtypes.float32, dtypes.float64):
        e.refuse("no kernel for this dtype")
    settings = {"stride": tuple(stride[1:]), "pads": tuple(pads[1:]), "dilation": tuple(dilation[1:]), "groups": groups}
    return _Depth(taps, places, stride[0], dilation[0], pads[0], settings)


def _padded(shape: tuple, pads: tuple[int, int]) -> tuple:
    return (*shape[:2], shape[2] + sum(pads), *shape[3:])


def _slices(e, x: Ref, depth: _Depth) -> Ref:
    """The slices under the kernel at each place: (batch * place, channel * tap, row, column)."""
    whole = _padded(x.shape, depth.pads)
    if any(depth.pads):
        strides = contiguous_strides(whole)
        lying = {"shape": x.shape, "strides": strides, "offset": depth.pads[0] * strides[2], "size": whole, "overlaps": False}
        x = e.node_of(registry["_strided_scatter"], whole, [x], lying)
    elif x.strides != contiguous_strides(whole):
        x = e.map(lambda b, x: x, x)
    shape, strides = depth.images(whole)
    copied = e.map(lambda b, x: x, e.seen(x, shape, strides, x.offset))
    return e.view(copied, _as_images(shape))


def _as_images(shape: tuple) -> tuple:
    batch, places, channels, taps, *image = shape
    return (batch * places, channels * taps, *image)


def _as_slices(e, g: Ref) -> Ref:
    """A volume of results as images: (batch * place, channel, row, column)."""
    batch, channels, places, *image = g.shape
    turned = e.seen(g, (batch, places, channels, *image), _turned(g.strides), g.offset)
    return e.view(turned, (batch * places, channels, *image))


def _turned(x: tuple) -> tuple:
    return (x[0], x[2], x[1], *x[3:])


def _flat(e, weight: Ref) -> Ref:
    made, channels, taps, *kernel = weight.shape
    return e.view(weight, (made, channels * taps, *kernel))


def forward(e, x, weight, bias, stride, pads, dilation, groups, outputs):
    """The ``expand`` rule of a convolution (see :mod:`flambeau.engine.expansion`)."""
    if len(x.shape) != _VOLUME:
        e.refuse("no volume")
    depth = _depth(e, weight.shape[2], outputs[0], stride, pads, dilation, groups)
    images = _slices(e, x, depth)
    shape = (images.shape[0], weight.shape[0], *outputs[1:])
    settings = {**depth.settings, "outputs": tuple(outputs[1:])}
    made = e.node_of(registry["_convolution"], shape, [images, _flat(e, weight), bias], settings)
    found = e.view(made, (x.shape[0], outputs[0], *shape[1:]))
    return e.seen(found, _turned(found.shape), _turned(found.strides), found.offset)


def input_gradient(e, grad, weight, bias, stride, pads, dilation, groups, sizes):
    """The ``expand`` rule of the gradient of a convolution for its input."""
    if len(grad.shape) != _VOLUME:
        e.refuse("no volume")
    depth = _depth(e, weight.shape[2], grad.shape[2], stride, pads, dilation, groups)
    whole = _padded((grad.shape[0], weight.shape[1] * groups, *sizes), depth.pads)
    shape, strides = depth.images(whole)
    settings = {**depth.settings, "sizes": tuple(sizes[1:])}
    images = e.node_of(registry["_convolution_input"], _as_images(shape), [_as_slices(e, grad), _flat(e, weight), None], settings)
    lying = {"shape": shape, "strides": strides, "offset": 0, "size": whole, "overlaps": True}
    added = e.node_of(registry["_strided_scatter"], whole, [e.view(images, shape)], lying)
    inner = (*whole[:2], *sizes)
    strides = contiguous_strides(whole)
    found = e.seen(added, inner, strides, depth.pads[0] * prod(whole[3:]))
    if bias is None:
        return found
    return e.map(lambda b, x, y: b.add(x, y), found, e.view(bias, (bias.shape[0], 1, 1, 1)))


def weight_gradient(e, x, grad, stride, pads, dilation, groups, kernel):
    """The ``expand`` rule of the gradient of a convolution for its weight."""
    if len(x.shape) != _VOLUME:
        e.refuse("no volume")
    depth = _depth(e, kernel[0], grad.shape[2], stride, pads, dilation, groups)
    shape = (grad.shape[1], x.shape[1] // groups * kernel[0], *kernel[1:])
    settings = {**depth.settings, "kernel": tuple(kernel[1:])}
    made = e.node_of(registry["_convolution_weight"], shape, [_slices(e, x, depth), _as_slices(e, grad)], settings)
    return e.view(made, (shape[0], x.shape[1] // groups, *kernel))
