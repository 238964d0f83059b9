"""Pictures resized, sampled, and cut into blocks: operators of PyTorch's as ONNX's.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.onnx.sizes import Size
from flambeau.onnx.translations.registry import translates


@translates("_upsample")
def _upsample(
    w: Any, x: Any, kind: str, sizes: Any, outputs: Any, factors: Sequence[float | None], align_corners: bool, antialias: bool
) -> Any:
    if any(isinstance(s, str) for s in (*sizes, *outputs)) and None in factors:
        w.refuse("interpolate to a size of a picture whose sizes are free: give scale_factor")
    way = {"nearest": "asymmetric", "nearest-exact": "half_pixel"}.get(kind) or ("align_corners" if align_corners else "half_pixel")
    settings: dict[str, Any] = {"mode": "nearest" if "nearest" in kind else kind, "coordinate_transformation_mode": way}
    settings |= {"nearest_mode": "floor" if kind == "nearest" else "round_prefer_ceil"} if "nearest" in kind else {}
    settings |= {"cubic_coeff_a": -0.5 if antialias else -0.75} if kind == "cubic" else {}
    settings |= {"antialias": 1, "exclude_outside": 1} if antialias else {}
    if (
        None not in factors
        and not any(isinstance(s, str) for s in outputs)
        and [int(n * f) for n, f in zip(sizes, factors, strict=True)] != list(outputs)
    ):
        w.refuse("interpolate to a size that its factors do not give")
    if None in factors:
        return w.op("Resize", x, "", "", w.ints([*[w.size(n) for n in x.shape[:2]], *outputs]), **settings)
    return w.op("Resize", x, "", w.constant([1.0, 1.0, *factors], "float32"), **settings)


@translates("_grid_sample")
def _grid_sample(w: Any, x: Any, grid: Any, mode: str, padding_mode: str, align_corners: bool) -> Any:
    if len(x.shape) != 4:
        w.refuse("grid_sample of volumes, which is younger than opset 18")
    return w.op("GridSample", x, grid, mode=mode, padding_mode=padding_mode, align_corners=int(align_corners))


@translates("_col2im")
def _col2im(w: Any, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, outputs: Any, sizes: Any) -> Any:
    return w.op(
        "Col2Im", x, w.ints(sizes), w.ints(kernel), dilations=list(dilation), pads=[*padding, *padding], strides=list(stride)
    )


@translates("_im2col")
def _im2col(w: Any, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, outputs: Any) -> Any:
    """Blocks by a convolution for each channel with weights that are 1 at one place of the kernel."""
    if isinstance(x.shape[1], Size):
        w.refuse("unfold of pictures whose number of channels is free")
    channels, places = x.shape[1], kernel[0] * kernel[1]
    weight = [
        [[[float(k == i * kernel[1] + j) for j in range(kernel[1])] for i in range(kernel[0])]] for k in range(places)
    ] * channels
    blocks = w.op(
        "Conv",
        x,
        w.constant(weight, x.dtype),
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        group=channels,
    )
    return w.to_shape_of_result(blocks)


@translates("pixel_shuffle")
def _pixel_shuffle(w: Any, x: Any, factor: int) -> Any:
    if len(x.shape) == 4:
        return w.op("DepthToSpace", x, blocksize=factor, mode="CRD")
    return w.op("Squeeze", w.op("DepthToSpace", w.op("Unsqueeze", x, w.ints([0])), blocksize=factor, mode="CRD"), w.ints([0]))
