"""``torch.onnx``: modules as files of ONNX's (:mod:`flambeau.onnx.exporter`), and the numbers of the types that it knows."""

from __future__ import annotations

import enum
import importlib
from collections.abc import Callable
from typing import Any

from flambeau.version import __version__

__all__ = [
    "OperatorExportTypes",
    "TensorProtoDataType",
    "TrainingMode",
    "is_in_onnx_export",
    "register_custom_op_symbolic",
    "unregister_custom_op_symbolic",
]


class TrainingMode(enum.IntEnum):
    """In which mode a module is exported: for evaluation, as it is, or for training."""

    EVAL = 0
    PRESERVE = 1
    TRAINING = 2


class OperatorExportTypes(enum.IntEnum):
    """Which operators may be in a file: ONNX's alone, or others too."""

    ONNX = 0
    ONNX_ATEN = 2
    ONNX_ATEN_FALLBACK = 3
    ONNX_FALLTHROUGH = 1


class TensorProtoDataType(enum.IntEnum):
    """ONNX's numbers of the types of elements. Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto"""

    UNDEFINED = 0
    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    UINT16 = 4
    INT16 = 5
    INT32 = 6
    INT64 = 7
    STRING = 8
    BOOL = 9
    FLOAT16 = 10
    DOUBLE = 11
    UINT32 = 12
    UINT64 = 13
    COMPLEX64 = 14
    COMPLEX128 = 15
    BFLOAT16 = 16
    FLOAT8E4M3FN = 17
    FLOAT8E4M3FNUZ = 18
    FLOAT8E5M2 = 19
    FLOAT8E5M2FNUZ = 20


producer_name, producer_version = "pytorch", __version__
"""What PyTorch calls itself in files. Files of flambeau name flambeau."""

symbolics: dict[tuple[str, int], Callable] = {}
"""How operators are exported: what :func:`register_custom_op_symbolic` was given, by name and version of ONNX's operators."""


def is_in_onnx_export() -> bool:
    """False."""
    return False


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Callable, opset_version: int) -> None:
    """Notes how an operator, ``"namespace::name"``, is exported.

    Raises:
        ValueError: that is no such name.
    """
    if symbolic_name.count("::") != 1 or not all(symbolic_name.split("::")):
        raise ValueError(f"Failed to register operator {symbolic_name}. The symbolic name must match the format domain::name.")
    symbolics[symbolic_name, opset_version] = symbolic_fn


def unregister_custom_op_symbolic(symbolic_name: str, opset_version: int) -> None:
    """Forgets it again."""
    symbolics.pop((symbolic_name, opset_version), None)


def __getattr__(name: str) -> Any:
    if name in ("export", "ONNXProgram", "OnnxExporterError"):
        return getattr(importlib.import_module("flambeau.onnx.exporter"), name)
    if name in ("load", "OnnxModule"):
        return getattr(importlib.import_module("flambeau.onnx.importing"), name)
    raise AttributeError(f"module 'torch.onnx' has no attribute '{name}'", name=name)
