"""What every request passes before a route sees it: the token, the origin, the size of its body; the log and the figures of it."""

from __future__ import annotations

import hmac
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flambeau.serve.protocol import RequestError, unpacked

if TYPE_CHECKING:  # prometheus-client decides when it is imported whether several processes count together
    from flambeau.serve.metrics import Metrics

access = logging.getLogger("flambeau.serve.access")

_OPEN = ("/v2/health/live", "/v2/health/ready", "/ping")
"""What may be asked without the token: whether the server is there."""


@dataclass(frozen=True)
class Limits:
    """What requests may do.

    Attributes:
        max_body: the most bytes of a body, also after it is unpacked.
        token: what ``Authorization: Bearer`` must say; ``None``: nothing.
        hosts: the names that the server may be called by; ``None``: any. A page of another site can give its own name to this
            machine's address, and the browser takes that for the same site; what it cannot do is to send another ``Host``.
    """

    max_body: int = 64 << 20
    token: str | None = None
    hosts: tuple[str, ...] | None = None


class Front:
    """The outermost application: refuses, passes on, and writes down what became of it."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).append("X-Content-Type-Options", "nosniff")
            await send(message)

        try:
            refused = self._refusal(scope)
            if refused is not None:
                await error_response(refused)(scope, receive, noting)
            else:
                await self._app(scope, receive, noting)
        finally:
            took = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(took)
            if access.isEnabledFor(logging.INFO):
                client = (scope.get("client") or ("",))[0]
                fields = {
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "ms": round(took * 1e3, 3),
                    "client": client,
                }
                access.info("request", extra={"fields": fields})

    def _refusal(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        if self._limits.hosts is not None and urlsplit("//" + headers.get("host", "")).hostname not in self._limits.hosts:
            return RequestError(
                f"this server is for this machine alone: call it {self._limits.hosts[0]}, or start it with --allow-host or a token",
                403,
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return RequestError("pages of other sites may not use this server", 403)
        if self._limits.token is not None and scope["path"] not in _OPEN:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._limits.token.encode()):
                return RequestError("this server asks for a token: Authorization: Bearer TOKEN", 401)
        return None


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a request, unpacked.

    Raises:
        RequestError: it has more than ``limit`` bytes.
    """
    too_long = RequestError(f"the body has more than {limit} bytes, which is the most that this server takes (--max-body)", 413)
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise too_long
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_long
        parts.append(part)
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    encoding = request.headers.get("content-encoding", "identity").lower()
    return body if encoding == "identity" else unpacked(body, encoding, limit)


def error_response(error: RequestError) -> JSONResponse:
    """An error as the protocol has it."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": str(error)}, error.status, headers)


class JsonLines(logging.Formatter):
    """Records as one JSON object a line: time, level, event, the record's ``fields``, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
