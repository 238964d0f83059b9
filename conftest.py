"""Rooms that are made of an optional library are left out of the examples that run where it is not installed."""

import importlib.util

_NEEDS = {"safetensors": "flambeau/weights/*", "starlette": "flambeau/serve/*", "uvicorn": "flambeau/board/app.py"}

collect_ignore_glob = [files for library, files in _NEEDS.items() if importlib.util.find_spec(library) is None]
