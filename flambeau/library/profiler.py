"""``torch.ops.profiler``: the two ends of :class:`torch.profiler.record_function` as calls, which a graph can hold.

>>> import flambeau as torch
>>> with torch.profiler.profile() as p:
...     handle = torch.ops.profiler._record_function_enter("part")
...     torch.ops.profiler._record_function_exit(handle)
>>> [event.name for event in p.events()]
['part']
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from flambeau import dispatch, profiler
from flambeau.core import dtypes
from flambeau.library import operators
from flambeau.library.schema import parse_schema
from flambeau.tensor import Tensor

_begun: dict[int, profiler.record_function] = {}  # stretches that have not ended, by the number that stands for them
_numbers = itertools.count()


def _enter(name: str, args: str | None = None) -> Tensor:
    number = next(_numbers)
    _begun[number] = profiler.record_function(name, args).__enter__()
    return dispatch.wrap(np.array(number), dtypes.int64)


def _exit(handle: Tensor) -> None:
    stretch = _begun.pop(int(handle), None)
    if stretch is not None:
        stretch.__exit__()


_OPERATORS: dict[str, Callable] = {
    "_record_function_enter(str name, str? args=None) -> Tensor": _enter,
    "_record_function_exit(Tensor handle) -> ()": _exit,
}


def define() -> None:
    """Defines the operators."""
    for schema, function in _OPERATORS.items():
        overload = operators.define(parse_schema(schema, "profiler"))
        overload.kernels["CPU"] = function
