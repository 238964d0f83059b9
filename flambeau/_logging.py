"""``torch._logging``: which of its parts tell what they do. PyTorch's parts are not here; flambeau has ``FLAMBEAU_LOG``."""

from __future__ import annotations

import logging
from typing import Any

from flambeau.core.errors import warn

__all__ = ["getArtifactLogger", "set_logs", "warning_once"]

_PARTS = frozenset(
    "dynamo aot autograd inductor cudagraphs ddp distributed export fsdp dtensor onnx dynamic torch guards recompiles graph_breaks graph graph_code "
    "bytecode aot_graphs aot_joint_graph ddp_graphs output_code schedule trace_source trace_call trace_bytecode overlap perf_hints fusion".split()
)


def set_logs(*, all: int | None = None, modules: dict[str, Any] | None = None, **levels: int | bool | None) -> None:
    """Sets how much PyTorch's compiler tells: ``set_logs(dynamo=logging.DEBUG, graph_breaks=True)``.

    The level of a part is that of Python's logger ``torch.<part>``, so programs that look at it find it. There is no such
    compiler here; for ``guards``, ``recompiles`` and ``graph_breaks``, ``FLAMBEAU_LOG=guards`` tells of captured functions,
    and ``output_code`` and ``fusion`` are ``FLAMBEAU_LOG=plan``; a warning says so.

    Raises:
        ValueError: a part that PyTorch does not have.
    """
    for name, level in levels.items():
        if name not in _PARTS:
            raise ValueError(f"Unrecognized log or artifact name: {name}; known are {', '.join(sorted(_PARTS))}")
        if level:
            logging.getLogger(f"torch.{name}").setLevel(level if level is not True else logging.DEBUG)
            other = (
                "guards"
                if name in ("guards", "recompiles", "graph_breaks")
                else "plan"
                if name in ("output_code", "fusion", "schedule")
                else ""
            )
            if other:
                warn(f"set_logs({name}=...): flambeau tells of that where FLAMBEAU_LOG={other} is set")
    for name, level in (modules or {}).items():
        logging.getLogger(name).setLevel(level)
    if all is not None:
        logging.getLogger("torch").setLevel(all)


def getArtifactLogger(module_qname: str, artifact_name: str) -> logging.Logger:
    """Python's logger for a part of a module."""
    return logging.getLogger(f"{module_qname}.__{artifact_name}")


_warned: set[tuple] = set()


def warning_once(logger_obj: logging.Logger, *args: Any, **kwargs: Any) -> None:
    """Logs a warning that has not been logged yet."""
    key = (logger_obj.name, *args)
    if key not in _warned:
        _warned.add(key)
        logger_obj.warning(*args, **kwargs)
