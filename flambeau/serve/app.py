"""The routes: the Open Inference Protocol, its repository extension, and TorchServe's names for the same.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from flambeau import version
from flambeau.serve import pages
from flambeau.serve.batching import ComputeThread
from flambeau.serve.config import ModelConfig, ModelError
from flambeau.serve.front import Front, Limits, error_response, read_body
from flambeau.serve.metrics import Metrics
from flambeau.serve.protocol import (
    DATATYPES,
    EXTENSIONS,
    HEADER_LENGTH,
    InferRequest,
    RequestError,
    decode,
    encode,
    from_numbers,
    parse_json,
    plain,
)
from flambeau.serve.repository import CLIENT_GONE, Repository

if TYPE_CHECKING:
    from flambeau.serve.rpc import Service

log = logging.getLogger("flambeau.serve")

_GRACE = 30.0
"""Seconds that requests by gRPC have when the server ends."""


class Server:
    """The application of one process: ``Server(...).app`` is ASGI.

    Args:
        root: a folder of models, or the file of one.
        config: what holds for models whose ``config.json`` does not say otherwise.
        name, handler: of a single file; see :class:`Repository`.
        poll: how many seconds lie between two looks at ``root``; 0: it is looked at once.
        control: whether clients may load and unload models.
        grpc: the address, ``host:port``, at which there is gRPC too.
    """

    def __init__(
        self,
        root: Path,
        config: ModelConfig | None = None,
        limits: Limits | None = None,
        name: str | None = None,
        handler: Path | None = None,
        poll: float = 2.0,
        control: bool = True,
        grpc: str | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self.ready = False
        self._poll, self._control, self._grpc = poll, control, grpc
        self.service: Service | None = None  # while it runs, where there is gRPC
        self._thread = ComputeThread()
        self.repository = Repository(root, config or ModelConfig(), self._thread, name, handler, self.metrics.batch)
        self.metrics.follow(self.repository)
        model = "/v2/models/{model}"
        versioned = model + "/versions/{version}"
        routes = [  # those that most requests ask for first
            Route(model + "/infer", self._infer, methods=["POST"]),
            Route(versioned + "/infer", self._infer, methods=["POST"]),
            Route("/", self._page),
            Route("/openapi.json", self._openapi),
            Route("/metrics", self._metrics),
            Route("/ping", self._ping),
            Route("/predictions/{model}", self._predictions, methods=["POST"]),
            Route("/predictions/{model}/{version}", self._predictions, methods=["POST"]),
            Route("/v2", self._about),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
            Route("/v2/repository/index", self._index, methods=["POST", "GET"]),
            Route("/v2/repository/models/{model}/load", self._load, methods=["POST"]),
            Route("/v2/repository/models/{model}/unload", self._unload, methods=["POST"]),
        ]
        for prefix in (model, versioned):
            routes += [Route(prefix, self._metadata), Route(prefix + "/ready", self._model_ready)]
        handlers: dict[Any, Callable[..., Any]] = {RequestError: _refused, HTTPException: _not_routed, ClientDisconnect: _gone}
        self.app = Front(Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=handlers), self.limits, self.metrics)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """A single model is there before the first request, or nothing starts; a folder is loaded while the server says that it is
        not ready."""
        if self.repository.root.is_file():
            await self.repository.scan(settled=True)
            if reason := self.repository.failure():
                raise ModelError(reason)
            self.ready = True
        if self._grpc is not None:
            from flambeau.serve.rpc import Service

            self.service = Service(self, self._grpc)
            await self.service.start()
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            self.ready = False
            if self.service is not None:
                await self.service.stop(_GRACE)
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            await self.repository.drain()
            self._thread.shutdown()

    async def _follow(self) -> None:
        if not self.ready:
            await self.repository.look(settled=True)
            self.ready = True
        while self._poll:
            await asyncio.sleep(self._poll)
            await self.repository.look()

    # --- the protocol -----------------------------------------------------------------------------------------

    async def _about(self, request: Request) -> Response:
        return JSONResponse({"name": "flambeau", "version": version.release, "extensions": EXTENSIONS})

    async def _live(self, request: Request) -> Response:
        return JSONResponse({"live": True})

    async def _ready(self, request: Request) -> Response:
        return JSONResponse({"ready": self.ready}, 200 if self.ready else 503)

    async def _metadata(self, request: Request) -> Response:
        return JSONResponse(self.repository.describe(request.path_params["model"], request.path_params.get("version")))

    async def _model_ready(self, request: Request) -> Response:
        name = request.path_params["model"]
        try:
            self.repository.find(name, request.path_params.get("version"))
        except RequestError:
            return JSONResponse({"name": name, "ready": False}, 404)
        return JSONResponse({"name": name, "ready": True})

    async def _infer(self, request: Request) -> Response:
        name = request.path_params["model"]
        asked = decode(await read_body(request, self.limits.max_body), request.headers.get(HEADER_LENGTH))
        outputs, answered = await self.compute(name, request.path_params.get("version"), asked, lambda: _left(request))
        body, head = encode(outputs, asked, name, answered)
        if head is None:
            return Response(body, media_type="application/json")
        return Response(body, media_type="application/octet-stream", headers={HEADER_LENGTH: str(head)})

    async def _index(self, request: Request) -> Response:
        asked = parse_json(await read_body(request, self.limits.max_body) or b"{}")
        rows = self.repository.index()
        if isinstance(asked, dict) and asked.get("ready"):
            rows = [row for row in rows if row["state"] == "READY"]
        return JSONResponse(rows)

    async def _load(self, request: Request) -> Response:
        await self.change(self.repository.load, request.path_params["model"])
        return JSONResponse({})

    async def _unload(self, request: Request) -> Response:
        await self.change(self.repository.unload, request.path_params["model"])
        return JSONResponse({})

    async def change(self, change: Callable[[str], Awaitable[None]], name: str) -> None:
        """Loads or unloads a model, where clients may ask for that."""
        if not self._control:
            raise RequestError(
                "this server follows its folder alone: with several workers a request would reach one of them (or --no-control was given)",
                403,
            )
        await change(name)

    # --- the same by TorchServe's names -----------------------------------------------------------------------

    async def _ping(self, request: Request) -> Response:
        return JSONResponse({"status": "Healthy" if self.ready else "Unhealthy"}, 200 if self.ready else 503)

    async def _predictions(self, request: Request) -> Response:
        """Numbers in, numbers out: nested lists for the first input, or an object of them by name."""
        name = request.path_params["model"]
        found = self.repository.find(name, request.path_params.get("version"))
        document = parse_json(await read_body(request, self.limits.max_body))
        specs = {spec.name: spec for spec in found.model.inputs}
        if not isinstance(document, dict):
            document = {next(iter(specs), "input"): document}
        inputs = {}
        for key, data in document.items():
            spec = specs.get(key)
            inputs[key] = from_numbers(key, data, DATATYPES[spec.datatype] if spec and spec.datatype else _guessed(data))
        outputs, _ = await self.compute(name, request.path_params.get("version"), InferRequest(inputs), lambda: _left(request))
        values = {key: plain(y) for key, y in outputs.items()}
        return JSONResponse(next(iter(values.values())) if len(values) == 1 else values)

    async def compute(
        self, name: str, version: str | None, asked: InferRequest, gone: Callable[[], Coroutine[Any, Any, Any]]
    ) -> tuple[dict[str, np.ndarray], str]:  # fmt: skip
        """What a model answers, and which version it was; its own errors are in the log. ``gone`` returns when nobody waits any
        more."""
        try:
            return await self.repository.infer(name, version, asked, gone)
        except RequestError:
            raise
        except Exception as error:  # the model's own
            log.error("model failed", extra={"fields": {"model": name, "version": version}}, exc_info=error)
            raise RequestError(f"model {name!r} failed: {type(error).__name__}: {error}", 500) from None

    # --- about the server -------------------------------------------------------------------------------------

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(pages.openapi([self.repository.describe(name) for name in self.repository.names()]))

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(pages.PAGE)


def _guessed(data: Any) -> np.dtype:
    """The datatype of numbers of which nothing is said: INT64 would surprise where 1 is meant as 1.0, so only strings are not FP32."""
    while isinstance(data, list) and data:
        data = data[0]
    return DATATYPES["BYTES" if isinstance(data, str) else "FP32"]


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, error: RequestError) -> Response:
    return error_response(error)


async def _not_routed(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": f"{request.method} {request.url.path}: {error.detail}"}, error.status_code, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the client has gone"}, CLIENT_GONE)
