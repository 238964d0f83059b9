"""The Open Inference Protocol, version 2: requests and responses as arrays, in JSON and in its binary extension.

A request is JSON with a list of ``inputs``; each has a name, a shape, a datatype and its numbers, in ``data`` or as raw bytes
behind the JSON. The header ``Inference-Header-Content-Length`` then says where the JSON ends.

Sources: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

HEADER_LENGTH = "Inference-Header-Content-Length"

DATATYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BYTES": np.dtype(object),
}
"""The protocol's names of element types. An element of ``BYTES`` is a Python ``bytes``."""

EXTENSIONS = ["binary_tensor_data", "model_repository"]
"""What servers say that they have beyond the protocol."""

_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}  # kind of the datatype -> kinds of the numbers that it takes


class RequestError(Exception):
    """A request that cannot be answered as it is: the text says what was expected, what came, and is sent to the client."""

    def __init__(self, text: str, status: int = 400, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after


@dataclass
class Wanted:
    """An output that a request asks for."""

    name: str
    binary: bool


@dataclass
class InferRequest:
    """What a client asks: arrays by the names of the model's inputs, and how the answer is to look."""

    inputs: dict[str, np.ndarray]
    id: str | None = None
    outputs: list[Wanted] = field(default_factory=list)  # none: all of them
    binary_output: bool = False
    timeout: float | None = None  # seconds


def datatype_of(dtype: np.dtype) -> str:
    """The protocol's name of a NumPy dtype.

    >>> datatype_of(np.dtype(np.float16))
    'FP16'
    """
    name = _NAMES.get(dtype)
    if name is None:
        raise RequestError(f"the protocol has no datatype for {dtype}: expected one of {', '.join(DATATYPES)}", 500)
    return name


def decode(body: bytes, header_length: str | None = None) -> InferRequest:
    """Reads a request of ``/infer``. Arrays may be views of ``body``.

    Raises:
        RequestError: it is not JSON, lacks something, or its numbers do not fit its shapes and datatypes.

    >>> decode(b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}]}').inputs["x"]
    array([[1. , 2.5]], dtype=float32)
    """
    end = len(body)
    if header_length is not None:
        if not header_length.isascii() or not header_length.isdigit() or int(header_length) > len(body):
            raise RequestError(
                f"{HEADER_LENGTH}: expected the number of bytes of JSON, at most {len(body)}, got {header_length!r:.40}"
            )
        end = int(header_length)
    document = parse_json(body[:end])
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise RequestError('expected a JSON object with a list "inputs"')
    rest = memoryview(body)[end:]
    inputs: dict[str, np.ndarray] = {}
    for tensor in document["inputs"]:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise RequestError('each of "inputs" must be an object with a "name"')
        name = tensor["name"]
        if name in inputs:
            raise RequestError(f"input {name!r} is given twice")
        inputs[name], rest = _tensor(name, tensor, rest)
    if len(rest):
        raise RequestError(
            f"{len(rest)} bytes are left over behind the inputs: their binary_data_size add up to less than the body has"
        )
    parameters = _parameters(document)
    everything = bool(parameters.get("binary_data_output", False))
    timeout = parameters.get("timeout")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0):
        raise RequestError(f'parameter "timeout": expected microseconds, more than 0, got {timeout!r:.40}')
    id = document.get("id")
    return InferRequest(
        inputs,
        id if id is None else str(id),
        _wanted(document, everything),
        everything,
        None if timeout is None else timeout / 1e6,
    )


def encode(outputs: dict[str, np.ndarray], request: InferRequest, model: str, version: str) -> tuple[bytes, int | None]:
    """The body of a response, and the length of its JSON where raw bytes follow it (else ``None``).

    JSON has no NaN and no infinities: they become ``null``. The binary form keeps them.

    Raises:
        RequestError: an output is asked for that the model does not have.
    """
    wanted = request.outputs or [Wanted(name, request.binary_output) for name in outputs]
    described: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for one in wanted:
        if one.name not in outputs:
            raise RequestError(f"model {model!r} has no output {one.name!r}: it has {', '.join(outputs)}")
        array = outputs[one.name]
        entry: dict[str, Any] = {"name": one.name, "shape": list(array.shape), "datatype": datatype_of(array.dtype)}
        if one.binary:
            data = to_bytes(array)
            entry["parameters"] = {"binary_data_size": len(data)}
            raw.append(data)
        else:
            entry["data"] = plain(array.reshape(-1))
        described.append(entry)
    document: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request.id is not None:
        document["id"] = request.id
    head = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    return (b"".join((head, *raw)), len(head)) if raw else (head, None)


def plain(array: np.ndarray) -> Any:
    """An array as lists of numbers that JSON can hold.

    >>> plain(np.array([1.0, np.inf]))
    [1.0, None]
    """
    if array.dtype.hasobject:
        return [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in array.reshape(-1)]
    if array.dtype.kind in "biu":
        return array.tolist()
    wide = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
    finite = np.isfinite(wide)
    if finite.all():
        return wide.tolist()
    numbers = wide.astype(object)
    numbers[~finite] = None
    return numbers.tolist()


def parse_json(text: bytes) -> Any:
    """JSON, or a :class:`RequestError` that says where it is wrong."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}") from None


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """A body that came compressed (``Content-Encoding``: gzip or deflate), if it has no more than ``limit`` bytes."""
    if encoding not in ("gzip", "deflate"):
        raise RequestError(f"Content-Encoding {encoding!r:.40} is not known: expected gzip or deflate", 415)
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either kind of header
    try:
        data = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(f"the body is not {encoding}: {error}") from None
    if len(data) > limit:
        raise RequestError(f"the body has more than {limit} bytes", 413)
    if not decompressor.eof:
        raise RequestError(f"the body is not {encoding}: it ends too early")
    return data


def from_numbers(name: str, data: Any, dtype: np.dtype) -> np.ndarray:
    """Nested lists of JSON as an array of ``dtype``; numbers that it cannot hold are refused, ``null`` is NaN."""
    if dtype.hasobject:
        return _strings(name, data)
    try:
        array = np.asarray(data)
        if array.dtype.hasobject and dtype.kind not in "biu":
            array = np.asarray(data, np.float64)
    except (ValueError, TypeError):
        raise RequestError(f"input {name!r}: its data are not lists of numbers that are equally long") from None
    kinds = _KINDS.get(dtype.kind, "iuf")
    if array.size and array.dtype.kind not in kinds:
        raise RequestError(f"input {name!r}: {_NAMES[dtype]} takes {_said(kinds)}, but its data have others")
    if dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise RequestError(f"input {name!r}: a number is outside of {_NAMES[dtype]}, {limits.min} to {limits.max}")
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def _tensor(name: str, tensor: dict, rest: memoryview) -> tuple[np.ndarray, memoryview]:
    """One of the inputs, and what is left of the bytes behind the JSON."""
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise RequestError(f'input {name!r}: "shape" must be a list of sizes, got {shape!r:.60}')
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise RequestError(f'input {name!r}: "datatype" must be one of {", ".join(DATATYPES)}, got {datatype!r:.40}')
    dtype, count = DATATYPES[datatype], math.prod(shape)
    size = _parameters(tensor).get("binary_data_size")
    if size is None:
        if "data" not in tensor:
            raise RequestError(f'input {name!r} has neither "data" nor a parameter "binary_data_size"')
        array = from_numbers(name, tensor["data"], dtype)
    else:
        if type(size) is not int or not 0 <= size <= len(rest):
            raise RequestError(f"input {name!r}: binary_data_size is {size!r:.40}, but {len(rest)} bytes follow")
        return from_bytes(name, rest[:size], datatype, shape), rest[size:]
    if array.size != count:
        raise RequestError(f"input {name!r}: shape {shape} has {count} elements, but {array.size} came")
    return array.reshape(shape), rest


def from_bytes(name: str, data: memoryview, datatype: str, shape: list[int]) -> np.ndarray:
    """The array that an input is, of its bytes; a view of them where the datatype has elements of one size."""
    dtype, count = DATATYPES[datatype], math.prod(shape)
    if dtype.hasobject:
        array = _unpack_bytes(name, data, count)
        if array.size != count:
            raise RequestError(f"input {name!r}: shape {shape} has {count} elements, but {array.size} came")
    elif len(data) != count * dtype.itemsize:
        raise RequestError(f"input {name!r}: {datatype} of shape {shape} has {count * dtype.itemsize} bytes, but {len(data)} came")
    else:
        array = np.frombuffer(data, np.uint8).view(dtype)
    return array.reshape(shape)


def to_bytes(array: np.ndarray) -> bytes:
    """The bytes of an output."""
    return _pack_bytes(array) if array.dtype.hasobject else np.ascontiguousarray(array).tobytes()


def _wanted(document: dict, everything: bool) -> list[Wanted]:
    asked = document.get("outputs") or []
    if not isinstance(asked, list) or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in asked):
        raise RequestError('"outputs" must be a list of objects with a "name"')
    return [Wanted(one["name"], bool(_parameters(one).get("binary_data", everything))) for one in asked]


def _parameters(document: dict) -> dict:
    parameters = document.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise RequestError('"parameters" must be an object')
    return parameters


def _said(kinds: str) -> str:
    return {"b": "true and false", "iu": "integers", "iuf": "numbers"}[kinds]


def _strings(name: str, data: Any) -> np.ndarray:
    flat: list[bytes] = []

    def walk(part: Any) -> None:
        if isinstance(part, list):
            for one in part:
                walk(one)
        elif isinstance(part, str):
            flat.append(part.encode())
        else:
            raise RequestError(f"input {name!r}: BYTES takes strings, but its data have {type(part).__name__}")

    walk(data)
    return objects(flat)


def objects(items: list[bytes]) -> np.ndarray:
    """Elements of BYTES as an array."""
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _unpack_bytes(name: str, data: memoryview, count: int) -> np.ndarray:
    """Elements of BYTES: each is its length in 4 bytes, little-endian, and its content."""
    items: list[bytes] = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        if at + 4 + size > len(data) or len(items) >= count:
            raise RequestError(f"input {name!r}: its bytes are not {count} elements, each behind its length in 4 bytes")
        items.append(bytes(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return objects(items)


def _pack_bytes(array: np.ndarray) -> bytes:
    items = [one if isinstance(one, bytes) else str(one).encode() for one in array.reshape(-1)]
    return b"".join(len(one).to_bytes(4, "little") + one for one in items)
