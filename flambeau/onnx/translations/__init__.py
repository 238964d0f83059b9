"""What PyTorch's operators are in ONNX, one file a family."""

from flambeau.onnx.recurrent import recurrence
from flambeau.onnx.translations import (
    elementwise,
    indexing,
    integers,
    losses,
    norms,
    pictures,
    products,
    reductions,
    shapes,
    windows,
)
from flambeau.onnx.translations.registry import TRANSLATIONS

__all__ = ["TRANSLATIONS"]

TRANSLATIONS["_recurrence"] = recurrence
