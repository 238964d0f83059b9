"""``torch.onnx.symbolic_opset9``: the descriptions of PyTorch's operators in ONNX. Nothing is exported, so there are none."""

from __future__ import annotations

from typing import Any

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name.startswith(("__", "pytest")):  # what pytest asks of every module is no operator
        raise AttributeError(f"module 'torch.onnx.symbolic_opset9' has no attribute '{name}'", name=name)

    def refused(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"torch.onnx.symbolic_opset9.{name}: flambeau exports nothing to ONNX")

    return refused
