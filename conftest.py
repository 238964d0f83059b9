"""Rooms that are made of an optional library are left out of the examples that run where it is not installed."""

import importlib.util

_NEEDS = {
    "flambeau/board/app.py": "uvicorn", "flambeau/serve/*": "starlette", "flambeau/serve/messages.py": "grpc", "flambeau/serve/rpc.py": "grpc",
    "flambeau/weights/*": "safetensors",
}  # fmt: skip

collect_ignore_glob = [files for files, library in _NEEDS.items() if importlib.util.find_spec(library) is None]
