"""What a rule is: a Python function that does what an operator of ONNX does, on tensors.

The inputs of a node are its positional arguments (``None`` where an optional one is left out), its attributes are keywords. So one
function serves versions of an operator in which, say, ``axes`` was an attribute and those in which it is an input. A rule that has
a parameter ``opset`` is told the version of the operators, one with ``outputs`` how many results are asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ml_dtypes
import numpy as np

import flambeau as torch
from flambeau.core import dtypes

F = TypeVar("F", bound=Callable[..., Any])

RULES: dict[str, Rule] = {}
"""Operators of ONNX's own domain, by name."""


class OnnxError(RuntimeError):
    """A file that cannot be loaded, or an operator that is not known."""


class Rule:
    """A function, and which of its arguments are arrays of NumPy's rather than tensors: sizes, axes, counts."""

    def __init__(self, function: Callable[..., Any], host: frozenset[str]) -> None:
        self.function, self.host = function, host
        parameters = inspect.signature(function).parameters
        self.names = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.told = frozenset(parameters) & {"opset", "outputs"}
        self.keywords = frozenset(parameters)

    def __call__(self, inputs: Sequence[Any], attributes: dict[str, Any], opset: int, outputs: int) -> Any:
        given = [to_host(x) if i < len(self.names) and self.names[i] in self.host else to_tensor(x) for i, x in enumerate(inputs)]
        told = {name: {"opset": opset, "outputs": outputs}[name] for name in self.told}
        return self.function(*given, **attributes, **told)


def rule(*names: str, host: str = "") -> Callable[[F], F]:
    """Makes the function below the rule of operators; ``host`` names arguments that it wants as arrays."""

    def register(function: F) -> F:
        for name in names:
            RULES[name] = Rule(function, frozenset(host.split()))
        return function

    return register


def to_tensor(x: Any) -> Any:
    """An array as a tensor; all else as it is."""
    return torch.tensor(x) if isinstance(x, (np.ndarray, np.generic)) else x


def to_host(x: Any) -> Any:
    """A tensor as an array, for which it has to be computed; all else as it is."""
    if not isinstance(x, torch.Tensor):
        return x
    return array_of(x)


def array_of(x: torch.Tensor) -> np.ndarray:
    """The values of a tensor, in NumPy's dtype or in that of ml_dtypes."""
    x = x.detach()
    if x.dtype is torch.bfloat16:
        return x.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    if x.dtype.is_extension:
        return x.view(torch.uint8).numpy().view(x.dtype.np)
    return x.numpy()


def dtype_of(number: int) -> torch.dtype:
    """The dtype that ONNX numbers so."""
    import onnx

    try:
        return dtypes.from_numpy(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)))
    except (TypeError, KeyError):
        name = onnx.TensorProto.DataType.Name(number)
        raise OnnxError(f"tensors of ONNX's type {name} have no dtype in flambeau") from None


def ints(x: Any) -> list[int]:
    """Sizes or axes: of an array, a list, or a number."""
    return [int(n) for n in np.asarray(x).reshape(-1)]
