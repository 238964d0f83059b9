"""The Open Inference Protocol over gRPC: the service ``inference.GRPCInferenceService``, beside HTTP and with the same models.

It runs on the event loop of the HTTP server. A request whose client has gone or whose deadline has passed leaves the queue.

Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from flambeau import version
from flambeau.serve.front import access
from flambeau.serve.messages import CLASSES, PACKAGE
from flambeau.serve.protocol import (
    DATATYPES,
    EXTENSIONS,
    InferRequest,
    RequestError,
    Wanted,
    datatype_of,
    from_bytes,
    from_numbers,
    objects,
    to_bytes,
)

if TYPE_CHECKING:
    from flambeau.serve.app import Server

log = logging.getLogger("flambeau.serve")

_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED, 404: grpc.StatusCode.NOT_FOUND, 413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED, 500: grpc.StatusCode.INTERNAL, 503: grpc.StatusCode.UNAVAILABLE, 504: grpc.StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip
"""By the status that HTTP has; others are the caller's fault."""

_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
"""Where the elements of a datatype are, if they are not sent as bytes; those of FP16 and BF16 always are."""

_METHODS = (
    "ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload",
)  # fmt: skip
_OPEN = ("ServerLive", "ServerReady")
"""What may be asked without the token."""

Method = Callable[[Any, Any], Awaitable[Any]]


class Service:
    """The service of one process: answers for a :class:`~flambeau.serve.app.Server` until it is stopped.

    Args:
        address: ``host:port``; the port 0 is any that is free, and ``port`` says which.
    """

    def __init__(self, server: Server, address: str) -> None:
        self._server = server
        self._loop_side = grpc.aio.server(
            options=[("grpc.max_receive_message_length", server.limits.max_body), ("grpc.max_send_message_length", -1)]
        )
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(name), CLASSES[f"{name}Request"].FromString, CLASSES[f"{name}Response"].SerializeToString
            )
            for name in _METHODS
        }
        self._loop_side.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(f"{PACKAGE}.GRPCInferenceService", handlers),)
        )
        self.port = self._loop_side.add_insecure_port(address)

    async def start(self) -> None:
        await self._loop_side.start()
        log.info("gRPC", extra={"fields": {"port": self.port}})

    async def stop(self, grace: float | None = None) -> None:
        """Takes no new requests, and returns when those that run are answered, or after so many seconds."""
        await self._loop_side.stop(grace)

    def _guarded(self, name: str) -> Method:
        """A method behind what all have: the token, errors as codes, the log and the figures."""
        method: Method = getattr(self, name)

        async def answer(message: Any, context: Any) -> Any:
            start, code = time.perf_counter(), grpc.StatusCode.OK
            try:
                if name not in _OPEN:
                    self._check_token(context)
                return await method(message, context)
            except RequestError as error:
                code = _CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT)
                await context.abort(code, str(error))
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            finally:
                took = time.perf_counter() - start
                self._server.metrics.requests.labels(f"grpc:{name}", code.name).inc()
                self._server.metrics.seconds.labels(f"grpc:{name}").observe(took)
                if access.isEnabledFor(logging.INFO):
                    fields = {
                        "method": "gRPC",
                        "path": name,
                        "status": code.name,
                        "ms": round(took * 1e3, 3),
                        "client": context.peer(),
                    }
                    access.info("request", extra={"fields": fields})

        return answer

    def _check_token(self, context: Any) -> None:
        token = self._server.limits.token
        if token is None:
            return
        scheme, _, given = str(dict(context.invocation_metadata()).get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise RequestError("this server asks for a token: the metadata authorization: Bearer TOKEN", 401)

    # --- the methods, by the names that they have in the service ---------------------------------------------------

    async def ServerLive(self, message: Any, context: Any) -> Any:
        return CLASSES["ServerLiveResponse"](live=True)

    async def ServerReady(self, message: Any, context: Any) -> Any:
        return CLASSES["ServerReadyResponse"](ready=self._server.ready)

    async def ServerMetadata(self, message: Any, context: Any) -> Any:
        return CLASSES["ServerMetadataResponse"](name="flambeau", version=version.release, extensions=EXTENSIONS)

    async def ModelReady(self, message: Any, context: Any) -> Any:
        try:
            self._server.repository.find(message.name, message.version or None)
        except RequestError:
            return CLASSES["ModelReadyResponse"](ready=False)
        return CLASSES["ModelReadyResponse"](ready=True)

    async def ModelMetadata(self, message: Any, context: Any) -> Any:
        return CLASSES["ModelMetadataResponse"](**self._server.repository.describe(message.name, message.version or None))

    async def ModelInfer(self, message: Any, context: Any) -> Any:
        asked = decoded(message)
        left = context.time_remaining()
        if left is not None:
            asked.timeout = min(left, asked.timeout or left)
        name = message.model_name
        outputs, answered = await self._server.compute(
            name, message.model_version or None, asked, asyncio.Event().wait
        )  # gRPC itself cancels what nobody waits for
        return encoded(outputs, asked, name, answered, raw=bool(message.raw_input_contents))

    async def RepositoryIndex(self, message: Any, context: Any) -> Any:
        rows = [row for row in self._server.repository.index() if row["state"] == "READY" or not message.ready]
        return CLASSES["RepositoryIndexResponse"](models=rows)

    async def RepositoryModelLoad(self, message: Any, context: Any) -> Any:
        await self._server.change(self._server.repository.load, message.model_name)
        return CLASSES["RepositoryModelLoadResponse"]()

    async def RepositoryModelUnload(self, message: Any, context: Any) -> Any:
        await self._server.change(self._server.repository.unload, message.model_name)
        return CLASSES["RepositoryModelUnloadResponse"]()


# --- messages and arrays -----------------------------------------------------------------------------------------


def decoded(message: Any) -> InferRequest:
    """What a ``ModelInferRequest`` asks. Arrays may be views of the message's bytes.

    Raises:
        RequestError: an input has another number of elements than its shape, or an unknown datatype.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise RequestError(f"raw_input_contents has {len(raw)} parts for {len(message.inputs)} inputs")
    inputs: dict[str, np.ndarray] = {}
    for k, tensor in enumerate(message.inputs):
        if tensor.name in inputs:
            raise RequestError(f"input {tensor.name!r} is given twice")
        inputs[tensor.name] = _array(tensor, raw[k] if raw else None)
    timeout = None
    for parameter in message.parameters:
        if parameter.key == "timeout":
            timeout = next(
                (float(number) for _, number in parameter.value.ListFields() if not isinstance(number, (bool, str))), 0.0
            )
            if not timeout > 0:
                raise RequestError('parameter "timeout": expected microseconds, more than 0')
    wanted = [Wanted(output.name, True) for output in message.outputs]
    return InferRequest(inputs, message.id or None, wanted, True, None if timeout is None else timeout / 1e6)


def _array(tensor: Any, raw: bytes | None) -> np.ndarray:
    shape = list(tensor.shape)
    if tensor.datatype not in DATATYPES:
        raise RequestError(
            f"input {tensor.name!r}: the datatype must be one of {', '.join(DATATYPES)}, got {tensor.datatype!r:.40}"
        )
    if any(n < 0 for n in shape):
        raise RequestError(f"input {tensor.name!r}: the shape must be a list of sizes, got {shape!r:.60}")
    if raw is not None:
        return from_bytes(tensor.name, memoryview(raw), tensor.datatype, shape)
    field, dtype = _CONTENTS.get(tensor.datatype), DATATYPES[tensor.datatype]
    if field is None:
        raise RequestError(f"input {tensor.name!r}: {tensor.datatype} is sent in raw_input_contents")
    elements = list(getattr(tensor.contents, field))
    array = objects(elements) if dtype.hasobject else from_numbers(tensor.name, elements, dtype)
    if array.size != np.prod(shape, dtype=object):
        raise RequestError(
            f"input {tensor.name!r}: shape {shape} has {np.prod(shape, dtype=object)} elements, but {array.size} came in {field}"
        )
    return array.reshape(shape)


def encoded(outputs: dict[str, np.ndarray], asked: InferRequest, model: str, version: str, raw: bool) -> Any:
    """The ``ModelInferResponse``: elements as bytes, as the request had them, or where a datatype has no other form."""
    wanted = [one.name for one in asked.outputs] or list(outputs)
    unknown = [name for name in wanted if name not in outputs]
    if unknown:
        raise RequestError(f"model {model!r} has no output {unknown[0]!r}: it has {', '.join(outputs)}")
    response = CLASSES["ModelInferResponse"](model_name=model, model_version=version, id=asked.id or "")
    arrays = [outputs[name] for name in wanted]
    raw = raw or any(datatype_of(array.dtype) not in _CONTENTS for array in arrays)
    for name, array in zip(wanted, arrays):
        tensor = response.outputs.add(name=name, datatype=datatype_of(array.dtype), shape=array.shape)
        if raw:
            response.raw_output_contents.append(to_bytes(array))
        else:
            elements = array.reshape(-1).tolist()
            getattr(tensor.contents, _CONTENTS[tensor.datatype]).extend(
                [x if isinstance(x, bytes) else str(x).encode() for x in elements] if array.dtype.hasobject else elements
            )
    return response
