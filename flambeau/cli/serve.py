"""``flambeau serve``: a model, or a folder of models, over HTTP."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from flambeau import compat
from flambeau.core.loopback import NAMES, is_loopback


def main(arguments: Sequence[str]) -> int:
    """``flambeau serve MODEL_OR_FOLDER [--factory package.module:function] [--port N] [...]``"""
    parser = argparse.ArgumentParser(
        prog="flambeau serve",
        description="Answer requests of the Open Inference Protocol (KServe, Triton) for a model, or for a folder of models, over HTTP.",
        epilog="The token that clients must send is read from the variable FLAMBEAU_SERVE_TOKEN. docs/serving.md tells the rest.",
    )
    add = parser.add_argument
    add(
        "model",
        type=Path,
        metavar="MODEL_OR_FOLDER",
        help="a file of weights or an exported program, or a folder NAME/VERSION/model.*",
    )
    add("--factory", metavar="MODULE:FUNCTION", help="what makes the module that weights are for, for example shop.nets:make")
    add("--handler", type=Path, metavar="FILE", help="a Python file with load, preprocess, predict or postprocess")
    add("--name", help="what a single model is called (default: the file's name)")
    add(
        "--input",
        action="append",
        metavar="NAME:DATATYPE:SIZES",
        help="an input, for example images:FP32:-1x1x8x8; known inputs are warmed up",
    )
    add("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    add(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name that the server may be called by besides this machine's own, such as that of a proxy in front (where there is no token, and it listens on this machine alone)",
    )
    add("--port", type=int, default=8080, help="the port; 0: any that is free (default: 8080)")
    add("--grpc-port", type=int, metavar="PORT", help="answer by gRPC too, at this port; 0: any that is free (default: HTTP alone)")
    add("--workers", type=int, default=1, help="processes that answer (default: 1)")
    add("--max-batch", type=int, default=32, help="the most rows in a batch; 0: the model has no batches (default: 32)")
    add("--max-queue", type=int, default=256, help="requests that may wait; more are refused with 503 (default: 256)")
    add(
        "--max-delay",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long a batch that is not full waits for more (default: 0)",
    )
    add("--max-body", type=int, default=64, metavar="MIB", help="the most that a request may have (default: 64)")
    add("--timeout", type=float, default=60.0, metavar="SECONDS", help="when a request is given up (default: 60)")
    add(
        "--poll",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="how often the files are looked at for changes; 0: once (default: 2)",
    )
    add("--no-control", dest="control", action="store_false", help="refuse requests that load and unload models")
    add("--drain", type=float, default=0.0, metavar="SECONDS", help="go on for so long after SIGTERM, not ready (default: 0)")
    add("--quiet", dest="access", action="store_false", help="do not write down each request")
    options = parser.parse_args(arguments)
    if options.workers < 1 or (options.workers > 1 and not hasattr(os, "fork")):
        parser.error(f"--workers: expected at least 1 (and 1 where processes cannot be forked), got {options.workers}")
    if options.grpc_port == 0 and options.workers > 1:
        parser.error("--grpc-port: several workers share one port: name it")
    try:
        if options.grpc_port is not None:
            import google.protobuf  # noqa: F401
            import grpc  # noqa: F401
        from flambeau.serve.config import ModelConfig, parse_spec
        from flambeau.serve.front import Limits
        from flambeau.serve.process import Options, serve
    except ModuleNotFoundError as error:
        extra = "grpc" if error.name in ("grpc", "google", "google.protobuf") else "serve"
        parser.error(f"there is no package {error.name}: pip install 'flambeau[{extra}]'")
    if not options.model.exists():
        parser.error(f"{options.model}: there is no such file or folder")
    try:
        inputs = tuple(parse_spec(text) for text in options.input or ())
    except ValueError as error:
        parser.error(f"--input: {error}")
    config = ModelConfig(
        factory=options.factory,
        inputs=inputs,
        max_batch=options.max_batch,
        max_queue=options.max_queue,
        max_delay=options.max_delay,
        timeout=options.timeout,
        mmap=options.workers > 1,
    )
    compat.install()  # factories and handlers may be written for PyTorch
    token = os.environ.get("FLAMBEAU_SERVE_TOKEN") or None
    hosts = (*NAMES, *options.allow_host) if token is None and is_loopback(options.host) else None
    return serve(
        Options(
            root=options.model.resolve(),
            config=config,
            limits=Limits(options.max_body << 20, token, hosts),
            name=options.name,
            handler=options.handler and options.handler.resolve(),
            host=options.host,
            port=options.port,
            workers=options.workers,
            poll=options.poll,
            control=options.control,
            drain=options.drain,
            access=options.access,
            grpc=options.grpc_port,
        )
    )
