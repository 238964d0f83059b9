"""The board's server: one page, and the questions that it asks about the runs. It answers this machine alone, and changes nothing."""

from __future__ import annotations

import math
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from flambeau.board.graphs import folded, nodes_of
from flambeau.board.runs import KINDS, Blob, Folder, Run
from flambeau.board.series import curve, rebinned
from flambeau.board.words import WORDS
from flambeau.core.loopback import NAMES
from flambeau.pictures.page import assembled

_TYPES = ((b"\x89PNG", "image/png"), (b"GIF8", "image/gif"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "audio/wav"))
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'; connect-src 'self'"
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def make_app(folder: Folder) -> Starlette:
    """The application for a folder of runs."""

    def page(request: Request) -> Response:
        return HTMLResponse(
            assembled("board", f"flambeau board: {folder.path}", {"folder": str(folder.path)}, "flambeau.board", WORDS),
            headers=_HEADERS,
        )

    def state(request: Request) -> Response:
        folder.refresh()
        runs = [
            {
                "name": run.name,
                "damaged": [f"{file.path.name}: {file.damaged}" for file in run.files if file.damaged],
                "settings": len(run.settings),
                **{kind: {tag: len(series) for tag, series in list(run.series[kind].items())} for kind in KINDS},
            }
            for run in sorted(folder.runs.values(), key=lambda run: run.name)
        ]
        return _json({"version": folder.version(), "complete": folder.complete, "runs": runs})

    def scalars(request: Request) -> Response:
        ask = request.query_params
        weight = min(0.999, max(0.0, float(ask.get("smoothing", 0))))
        axis = ask.get("axis", "step")
        if axis not in ("step", "relative", "wall"):
            raise ValueError(f"axis: expected step, relative or wall, got {axis}")
        low, high = (float(ask[name]) if name in ask else None for name in ("low", "high"))
        found = {}
        for name in ask.getlist("run"):
            run = folder.runs.get(name)
            series = None if run is None else run.series["scalars"].get(ask["tag"])
            if run is not None and series is not None:
                found[name] = curve(series, weight, axis, low, high, run.began)
        return _json(found)

    def histograms(request: Request) -> Response:
        series = _series(folder, request, "histograms")
        return _json(rebinned(list(series)) if series else {})

    def text(request: Request) -> Response:
        words = _series(folder, request, "text")[-100:]
        return _json([{"step": w.step, "text": w.text} for w in words])

    def curves(request: Request) -> Response:
        return _json(
            [{"step": c.step, "precision": c.precision, "recall": c.recall} for c in _series(folder, request, "curves")[-100:]]
        )

    def hparams(request: Request) -> Response:
        told = [run for run in sorted(folder.runs.values(), key=lambda run: run.name) if run.settings]
        return _json(
            [{"run": run.name, "settings": run.settings, "metrics": {tag: _last(run, tag) for tag in run.metrics}} for run in told]
        )

    def graph(request: Request) -> Response:
        blob = _series(folder, request, "graphs")[-1]
        drawn = folded(nodes_of(blob.file.read(blob.place, blob.size)), request.query_params.getlist("open"))
        return _json({**drawn, "boxes": [box._asdict() for box in drawn["boxes"]]})

    def steps(request: Request) -> Response:
        return _json([blob.step for blob in _blobs(folder, request)])

    def blob(request: Request) -> Response:
        found = _blobs(folder, request)[int(request.query_params["index"])]
        data = found.file.read(found.place, found.size)
        kind = next((kind for magic, kind in _TYPES if data.startswith(magic)), "application/octet-stream")
        return Response(data, media_type=kind, headers=_HEADERS)

    def answering(answer: Any) -> Any:
        def endpoint(request: Request) -> Response:
            try:
                with folder.lock:
                    response: Response = answer(request)
            except (LookupError, ValueError, OSError) as error:
                return _json({"error": f"{type(error).__name__}: {error}"}, 400 if isinstance(error, ValueError) else 404)
            return response

        return endpoint

    routes = [Route("/", page)]
    routes += [
        Route(f"/api/{answer.__name__}", answering(answer))
        for answer in (state, scalars, histograms, text, curves, hparams, graph, steps, blob)
    ]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=NAMES)])


def _last(run: Run, tag: str) -> float | None:
    """The last finite number of a tag."""
    series = run.series["scalars"].get(tag)
    return next((v for v in reversed(series.values) if math.isfinite(v)), None) if series is not None else None


def _series(folder: Folder, request: Request, kind: str) -> list[Any]:
    """The entries of a run and a tag that a question names; ``LookupError`` where there are none."""
    series: list[Any] = folder.runs[request.query_params["run"]].series[kind][request.query_params["tag"]]
    return series


def _blobs(folder: Folder, request: Request) -> list[Blob]:
    """The entries of a run and a tag that a question names, of pictures or sounds; ``LookupError`` for other kinds."""
    kind = request.query_params["kind"]
    if kind not in ("images", "audio"):
        raise LookupError(f"{kind} are neither pictures nor sounds")
    return _series(folder, request, kind)


def _json(data: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(data, status, headers=_HEADERS)
