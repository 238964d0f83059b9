"""TensorBoard's messages, in the encoding of protocol buffers.

The module has a class for each line of ``_FIELDS``, which are made and written like those that TensorBoard itself generates:

>>> from flambeau.utils.tensorboard import messages as m
>>> m.Summary(value=[m.Value(tag="loss", simple_value=0.5)]).SerializeToString()
b'\\n\\x0b\\n\\x04loss\\x15\\x00\\x00\\x00?'

Sources: https://protobuf.dev/programming-guides/encoding/; the ``.proto`` files of https://github.com/tensorflow/tensorboard
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["Message"]

# Message: its fields, each with its number and its type. "*": any number of them; "{}": a map whose keys are strings;
# "!": 0 and the empty text are written too, which say there which of several fields it is.
_FIELDS = """
Event: wall_time 1 double, step 2 int, file_version 3 bytes, graph_def 4 bytes, summary 5 message, session_log 7 message, tagged_run_metadata 8 message
SessionLog: status 1 int
TaggedRunMetadata: tag 1 bytes, run_metadata 2 bytes
Summary: value 1 *message
Value: tag 1 bytes, simple_value 2 float!, image 4 message, histo 5 message, audio 6 message, tensor 8 message, metadata 9 message
Image: height 1 int, width 2 int, colorspace 3 int, encoded_image_string 4 bytes
Audio: sample_rate 1 float, num_channels 2 int, length_frames 3 int, encoded_audio_string 4 bytes, content_type 5 bytes
HistogramProto: min 1 double, max 2 double, num 3 double, sum 4 double, sum_squares 5 double, bucket_limit 6 *double, bucket 7 *double
SummaryMetadata: plugin_data 1 message, display_name 2 bytes, summary_description 3 bytes
PluginData: plugin_name 1 bytes, content 2 bytes
TensorProto: dtype 1 int, tensor_shape 2 message, half_val 13 *int, float_val 5 *float, double_val 6 *double, int_val 7 *int, string_val 8 *bytes, scomplex_val 9 *float, int64_val 10 *int, bool_val 11 *int, dcomplex_val 12 *double, uint32_val 16 *int
TensorShapeProto: dim 2 *message
Dim: size 1 int
GraphDef: node 1 *message, versions 4 message
VersionDef: producer 1 int
NodeDef: name 1 bytes, op 2 bytes, input 3 *bytes, attr 5 {}message
AttrValue: s 2 bytes!, list 1 message
Shapes: shape 7 *message
RunMetadata: step_stats 1 message
StepStats: dev_stats 1 *message
DeviceStepStats: device 1 bytes
PrCurvePluginData: num_thresholds 2 int
TextPluginData:
MeshPluginData: name 2 bytes, content_type 3 int, json_config 5 bytes, shape 6 *int, components 7 int
Layout: category 2 *message
Category: title 1 bytes, chart 2 *message
Chart: title 1 bytes, multiline 2 message, margin 3 message
MultilineChartContent: tag 1 *bytes
MarginChartContent: series 1 *message
Series: value 1 bytes, lower 2 bytes, upper 3 bytes
HParamsPluginData: experiment 2 message, session_start_info 3 message, session_end_info 4 message
Experiment: hparam_infos 4 *message, metric_infos 5 *message
HParamInfo: name 1 bytes, type 4 int, domain_discrete 5 message
MetricInfo: name 1 message
MetricName: tag 2 bytes
SessionStartInfo: hparams 1 {}message
SessionEndInfo: status 1 int
Variant: number_value 2 double!, string_value 3 bytes!, bool_value 4 int!
ListValue: values 1 *message
"""


def _varint(n: int) -> bytes:
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _delimited(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _bytes(value: Any) -> bytes:
    return _delimited(value.encode() if isinstance(value, str) else value)


# Type: the number of its encoding, and the function that encodes a value.
_TYPES: dict[str, tuple[int, Callable[[Any], bytes]]] = {
    "int": (0, lambda value: _varint(int(value))),
    "double": (1, lambda value: struct.pack("<d", value)),
    "float": (5, lambda value: struct.pack("<f", value)),
    "bytes": (2, _bytes),
    "message": (2, lambda value: _delimited(value.SerializeToString())),
}
_PACKED = {"double": "<f8", "float": "<f4"}


def _field(number: int, type: str, value: Any) -> bytes:
    kind, encode = _TYPES[type]
    return _varint(number << 3 | kind) + encode(value)


def _row(number: int, type: str, values: Iterable) -> bytes:
    """Any number of values: numbers together, others one after the other."""
    if type in _PACKED:
        data = np.asarray(values, dtype=_PACKED[type]).tobytes()
    elif type == "int":
        data = b"".join(_varint(int(value)) for value in values)
    else:
        return b"".join(_field(number, type, value) for value in values)
    return _varint(number << 3 | 2) + _delimited(data) if data else b""


class Message:
    """A message: fields that were not given are not written, as if they had their default."""

    fields: dict[str, tuple[int, str]]

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            if name not in self.fields:
                raise ValueError(f'Protocol message {type(self).__name__} has no "{name}" field.')
            setattr(self, name, value)

    def SerializeToString(self) -> bytes:
        """The message as bytes."""
        out = []
        for name, (number, type) in self.fields.items():
            value = getattr(self, name, None)
            if value is None:
                continue
            if type[0] == "*":
                out.append(_row(number, type[1:], value))
            elif type[:2] == "{}":
                out.extend(_entry(number, type[2:], value))
            elif type[-1] == "!" or type == "message" or value:
                out.append(_field(number, type.rstrip("!"), value))
        return b"".join(out)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def _entry(number: int, type: str, values: Mapping[str, Any]) -> Iterable[bytes]:
    for key, value in values.items():
        yield _varint(number << 3 | 2) + _delimited(_field(1, "bytes", key) + _field(2, type, value))


def _make(line: str) -> type[Message]:
    name, _, fields = line.partition(":")
    parts = [field.split() for field in fields.split(",") if field]
    return type(name, (Message,), {"fields": {n: (int(number), kind) for n, number, kind in parts}, "__module__": __name__})


_classes = {cls.__name__: cls for cls in map(_make, _FIELDS.strip().splitlines())}


def __getattr__(name: str) -> Any:
    """The message of that name."""
    if name not in _classes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    return _classes[name]
