"""What can be told of a step, as TensorBoard's ``Summary`` messages: numbers, histograms, pictures, sounds, text, curves, meshes."""

from __future__ import annotations

import io
import json
import logging
import wave
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.core import dtypes
from flambeau.tensor import Tensor
from flambeau.utils.tensorboard import images
from flambeau.utils.tensorboard import messages as m
from flambeau.utils.tensorboard.images import convert_to_HWC, make_np

__all__ = [
    "audio", "compute_curve", "custom_scalars", "histogram", "histogram_raw", "hparams", "image", "image_boxes", "make_histogram", "mesh", "pr_curve", "pr_curve_raw", "scalar",
    "tensor_proto", "text", "video",
]  # fmt: skip

logger = logging.getLogger(__name__)

_FLOAT, _DOUBLE, _STRING = 1, 2, 7
# dtype: TensorBoard's number of it, and the field that has its values.
_TYPES = {
    dtypes.float16: (19, "half_val"), dtypes.bfloat16: (14, "half_val"), dtypes.float32: (_FLOAT, "float_val"), dtypes.float64: (_DOUBLE, "double_val"), dtypes.int8: (6, "int_val"),
    dtypes.uint8: (4, "uint32_val"), dtypes.int16: (5, "int_val"), dtypes.int32: (3, "int_val"), dtypes.int64: (9, "int64_val"), dtypes.complex64: (8, "scomplex_val"),
    dtypes.bool: (10, "bool_val"), dtypes.complex128: (18, "dcomplex_val"),
}  # fmt: skip


def _summary(tag: str, **content: Any) -> Any:
    return m.Summary(value=[m.Value(tag=tag, **content)])


def _metadata(plugin: str, content: Any = None, **settings: Any) -> Any:
    data = (
        m.PluginData(plugin_name=plugin)
        if content is None
        else m.PluginData(plugin_name=plugin, content=content.SerializeToString())
    )
    return m.SummaryMetadata(plugin_data=data, **settings)


def _shape(sizes: Sequence[int]) -> Any:
    return m.TensorShapeProto(dim=[m.Dim(size=n) for n in sizes])


# --- numbers -----------------------------------------------------------------------------------------------------


def scalar(name: str, tensor: Any, collections: Any = None, new_style: bool = False, double_precision: bool = False) -> Any:
    """One number, as such or (``new_style``) as a tensor."""
    value = make_np(tensor).squeeze()
    if value.ndim != 0:
        raise AssertionError(
            f"Tensor should contain one element (0 dimensions).             Was given size: {value.size} and {value.ndim} dimensions."
        )
    number = float(value)
    if not new_style:
        return _summary(name, simple_value=number)
    kept = (
        m.TensorProto(double_val=[number], dtype=_DOUBLE) if double_precision else m.TensorProto(float_val=[number], dtype=_FLOAT)
    )
    return _summary(name, tensor=kept, metadata=_metadata("scalars"))


def tensor_proto(tag: str, tensor: Tensor) -> Any:
    """A whole tensor.

    Raises:
        ValueError: it takes more than 2 GB, or is of a dtype that TensorBoard has not.
    """
    if tensor.numel() * tensor.itemsize >= 1 << 31:
        raise ValueError("tensor is bigger than protocol buffer's hard limit of 2GB in size")
    if tensor.dtype not in _TYPES:
        raise ValueError(f"{tag} has unsupported tensor dtype {tensor.dtype}")
    number, name = _TYPES[tensor.dtype]
    flat = tensor.detach().flatten()
    if tensor.dtype.is_complex:
        values = [part for z in flat.tolist() for part in (z.real, z.imag)]
    elif name == "half_val":  # PyTorch writes the bits of the float32
        values = np.asarray(flat.tolist(), np.float32).view(np.int32).tolist()
    else:
        values = flat.tolist()
    kept = m.TensorProto(dtype=number, tensor_shape=_shape(tensor.shape), **{name: values})
    return _summary(tag, tensor=kept, metadata=_metadata("tensor"))


def histogram_raw(
    name: str, min: float, max: float, num: int, sum: float, sum_squares: float, bucket_limits: Any, bucket_counts: Any
) -> Any:
    """A histogram that has been counted: the right ends of its buckets, and how many values lie in each."""
    kept = m.HistogramProto(
        min=min, max=max, num=num, sum=sum, sum_squares=sum_squares, bucket_limit=bucket_limits, bucket=bucket_counts
    )
    return _summary(name, histo=kept)


def histogram(name: str, values: Any, bins: Any, max_bins: int | None = None) -> Any:
    """How often values occur; ``bins`` as in ``numpy.histogram``."""
    return _summary(name, histo=make_histogram(make_np(values).astype(float), bins, max_bins))


def make_histogram(values: np.ndarray, bins: Any, max_bins: int | None = None) -> Any:
    """The message of a histogram; where there are more than ``max_bins`` bins, several of them are one.

    Raises:
        ValueError: there are no values.
    """
    if values.size == 0:
        raise ValueError("The input has no element.")
    values = values.reshape(-1)
    counts, limits = np.histogram(values, bins=bins)
    if max_bins is not None and len(counts) > max_bins:
        together = len(counts) // max_bins
        rest = len(counts) % together
        counts = np.pad(counts, (0, together - rest if rest else 0)).reshape(-1, together).sum(-1)
        limits = np.append(limits[:-1:together], limits[-1])
    filled = np.flatnonzero(counts)
    first, last = (filled[0], filled[-1] + 1) if filled.size else (0, 1)
    counts = np.concatenate([[0], counts[first:last]])  # an empty one says where the first begins
    return m.HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=values.dot(values),
        bucket_limit=limits[first : last + 1],
        bucket=counts,
    )


# --- pictures and sounds -------------------------------------------------------------------------------------------


def _picture(tag: str, pixels: np.ndarray, rescale: float) -> Any:
    height, width, channels = pixels.shape
    shown = np.ascontiguousarray(pixels if rescale == 1 else images.resized(pixels, rescale))
    return _summary(tag, image=m.Image(height=height, width=width, colorspace=channels, encoded_image_string=images.png(shown)))


def image(tag: str, tensor: Any, rescale: float = 1, dataformats: str = "NCHW") -> Any:
    """A picture of bytes, or of numbers from 0 to 1; ``dataformats`` names its dimensions."""
    return _picture(tag, images.as_bytes(convert_to_HWC(make_np(tensor), dataformats)), rescale)


def image_boxes(
    tag: str,
    tensor_image: Any,
    tensor_boxes: Any,
    rescale: float = 1,
    dataformats: str = "CHW",
    labels: Sequence[str] | None = None,
) -> Any:
    """A picture with frames on it."""
    pixels = images.as_bytes(convert_to_HWC(make_np(tensor_image), dataformats))
    return _picture(tag, images.draw_boxes(pixels, make_np(tensor_boxes), labels), rescale)


def video(tag: str, tensor: Any, fps: float = 4) -> Any:
    """Videos (n, time, channels, height, width), as one."""
    frames = images.as_bytes(images.frames_of(make_np(tensor)))
    _, height, width, channels = frames.shape
    return _summary(
        tag, image=m.Image(height=height, width=width, colorspace=channels, encoded_image_string=images.gif(frames, fps))
    )


def audio(tag: str, tensor: Any, sample_rate: int = 44100) -> Any:
    """A sound: numbers from -1 to 1."""
    samples = make_np(tensor).squeeze()
    if abs(samples).max() > 1:
        print("warning: audio amplitude out of range, auto clipped.")
        samples = samples.clip(-1, 1)
    if samples.ndim != 1:
        raise AssertionError("input tensor should be 1 dimensional.")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes((samples * np.iinfo(np.int16).max).astype("<i2").tobytes())
    kept = m.Audio(
        sample_rate=sample_rate,
        num_channels=1,
        length_frames=samples.size,
        encoded_audio_string=file.getvalue(),
        content_type="audio/wav",
    )
    return _summary(tag, audio=kept)


# --- text and charts -------------------------------------------------------------------------------------------------


def text(tag: str, text: str) -> Any:
    """A text in Markdown."""
    kept = m.TensorProto(dtype=_STRING, string_val=[text], tensor_shape=_shape([1]))
    return _summary(f"{tag}/text_summary", metadata=_metadata("text", m.TextPluginData()), tensor=kept)


def custom_scalars(layout: Mapping[str, Mapping[str, Sequence]]) -> Any:
    """Which curves are drawn in which diagrams: category -> title -> ``["Multiline", tags]`` or
    ``["Margin", [value, lower, upper]]``."""
    categories = [
        m.Category(title=title, chart=[_chart(name, *chart[:2]) for name, chart in charts.items()])
        for title, charts in layout.items()
    ]
    kept = m.TensorProto(dtype=_STRING, string_val=[m.Layout(category=categories).SerializeToString()], tensor_shape=_shape([]))
    return _summary("custom_scalars__config__", tensor=kept, metadata=_metadata("custom_scalars"))


def _chart(title: str, kind: str, tags: Sequence[str]) -> Any:
    if kind != "Margin":
        return m.Chart(title=title, multiline=m.MultilineChartContent(tag=tags))
    if len(tags) != 3:
        raise AssertionError("len(tags) != 3")
    series = m.Series(value=tags[0], lower=tags[1], upper=tags[2])
    return m.Chart(title=title, margin=m.MarginChartContent(series=[series]))


# --- precision and recall ----------------------------------------------------------------------------------------------

_MOST_THRESHOLDS = 127  # more do not fit into TensorBoard's message


def pr_curve_raw(
    tag: str, tp: Any, fp: Any, tn: Any, fn: Any, precision: Any, recall: Any, num_thresholds: int = 127, weights: Any = None
) -> Any:
    """A curve of precision over recall whose counts are known."""
    return _curve(
        tag, np.stack([np.asarray(row) for row in (tp, fp, tn, fn, precision, recall)]), min(num_thresholds, _MOST_THRESHOLDS)
    )


def pr_curve(tag: str, labels: Any, predictions: Any, num_thresholds: int = 127, weights: Any = None) -> Any:
    """The curve of predicted probabilities for labels that are 0 or 1."""
    n = min(num_thresholds, _MOST_THRESHOLDS)
    return _curve(tag, compute_curve(make_np(labels), make_np(predictions), n, weights), n)


def _curve(tag: str, data: np.ndarray, thresholds: int) -> Any:
    kept = m.TensorProto(dtype=_FLOAT, float_val=data.reshape(-1), tensor_shape=_shape(data.shape))
    return _summary(tag, metadata=_metadata("pr_curves", m.PrCurvePluginData(num_thresholds=thresholds)), tensor=kept)


def compute_curve(labels: np.ndarray, predictions: np.ndarray, num_thresholds: int = 127, weights: Any = None) -> np.ndarray:
    """Six rows, each with a number for each threshold: true and false positives, true and false negatives, precision, recall."""
    weights = 1.0 if weights is None else weights
    buckets = np.int32(np.floor(predictions * (num_thresholds - 1)))
    wanted = labels.astype(np.float64)

    def above(weights: np.ndarray) -> np.ndarray:
        """The weight of what lies at each threshold or above it."""
        found, _ = np.histogram(buckets, bins=num_thresholds, range=(0, num_thresholds - 1), weights=weights)
        return found[::-1].cumsum()[::-1]

    tp, fp = above(wanted * weights), above((1.0 - wanted) * weights)
    tn, fn = fp[0] - fp, tp[0] - tp
    return np.stack((tp, fp, tn, fn, tp / np.maximum(1e-7, tp + fp), tp / np.maximum(1e-7, tp + fn)))


# --- meshes ----------------------------------------------------------------------------------------------------------


def mesh(
    tag: str,
    vertices: Any,
    colors: Any,
    faces: Any,
    config_dict: Mapping | None,
    display_name: str | None = None,
    description: str | None = None,
) -> Any:
    """Points in space (n, points, 3), with their colours and the triangles between them where these are given."""
    config = "{}" if config_dict is None else json.dumps(config_dict, sort_keys=True)
    parts = {
        name: (kind, make_np(x))
        for name, kind, x in (("VERTEX", 1, vertices), ("FACE", 2, faces), ("COLOR", 3, colors))
        if x is not None
    }
    components = sum(1 << kind for kind, _ in parts.values())
    values = []
    for name, (kind, x) in parts.items():
        if x.ndim != 3:
            raise ValueError(f"Tensor shape should be of shape BxNx3, but got {list(x.shape)}.")
        data = m.MeshPluginData(name=tag, content_type=kind, components=components, shape=x.shape, json_config=config)
        metadata = _metadata("mesh", data, display_name=display_name, summary_description=description)
        kept = m.TensorProto(dtype=_FLOAT, float_val=x.reshape(-1), tensor_shape=_shape(x.shape))
        values.append(m.Value(tag=f"{tag}_{name}", tensor=kept, metadata=metadata))
    return m.Summary(value=values)


# --- settings of a run -------------------------------------------------------------------------------------------------


def _variant(value: Any) -> Any:
    """A setting as a message; a number of the kind that PyTorch takes it for: bools are numbers."""
    return m.Variant(string_value=value) if isinstance(value, str) else m.Variant(number_value=float(value))


def hparams(hparam_dict: Any = None, metric_dict: Any = None, hparam_domain_discrete: Any = None) -> tuple[Any, Any, Any]:
    """Three messages: which settings and metrics there are, the settings' values, and that the run has ended well.

    Raises:
        TypeError: ``hparam_dict`` or ``metric_dict`` is no dict, or the discrete values of a setting are of another type.
        ValueError: a value is no number, text or tensor.
    """
    for name, given in (("hparam_dict", hparam_dict), ("metric_dict", metric_dict)):
        if not isinstance(given, dict):
            logger.warning("parameter: %s should be a dictionary, nothing logged.", name)
            raise TypeError(f"parameter: {name} should be a dictionary, nothing logged.")
    domains = hparam_domain_discrete or {}
    if not isinstance(domains, dict):
        raise TypeError("parameter: hparam_domain_discrete should be a dictionary, nothing logged.")
    for name, values in domains.items():
        if (
            name not in hparam_dict
            or not isinstance(values, list)
            or not all(isinstance(v, type(hparam_dict[name])) for v in values)
        ):
            raise TypeError(f"parameter: hparam_domain_discrete[{name}] should be a list of same type as hparam_dict[{name}].")
    infos, settings = [], {}
    for name, value in hparam_dict.items():
        if value is None:
            continue
        if isinstance(value, Tensor):
            value = make_np(value).reshape(-1)[0]
        elif not isinstance(value, (int, float, str)):
            raise ValueError("value should be one of int, float, str, bool, or torch.Tensor")
        settings[name] = _variant(value)
        domain = {"domain_discrete": m.ListValue(values=[_variant(v) for v in domains[name]])} if name in domains else {}
        infos.append(m.HParamInfo(name=name, type=1 if isinstance(value, str) else 3, **domain))
    metrics = [m.MetricInfo(name=m.MetricName(tag=name)) for name in metric_dict]

    def message(tag: str, **content: Any) -> Any:
        return _summary(f"_hparams_/{tag}", metadata=_metadata("hparams", m.HParamsPluginData(**content)))

    return (
        message("experiment", experiment=m.Experiment(hparam_infos=infos, metric_infos=metrics)),
        message("session_start_info", session_start_info=m.SessionStartInfo(hparams=settings)),
        message("session_end_info", session_end_info=m.SessionEndInfo(status=1)),
    )
