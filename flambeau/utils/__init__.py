"""``torch.utils``: what helps programs around their networks. Data loading is in :mod:`flambeau.utils.data`."""

from __future__ import annotations

import importlib
import weakref
from types import ModuleType
from typing import Any

from flambeau.tensor import Tensor
from flambeau.tensor.attributes import contents_of
from flambeau.utils import data

__all__ = ["data", "set_module", "swap_tensors"]

_LAZY = frozenset(
    ("_contextlib", "_device", "_pytree", "_python_dispatch", "benchmark", "checkpoint", "collect_env", "cpp_extension", "deterministic", "dlpack", "flop_counter", "hooks", "model_zoo",
     "module_tracker", "tensorboard", "weak")
)  # fmt: skip


def set_module(obj: Any, mod: Any) -> None:
    """Says that ``obj`` is defined in the module ``mod``, which must be a string."""
    if not isinstance(mod, str):
        raise TypeError("The mod argument should be a string")
    obj.__module__ = mod


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Gives each tensor what the other was: type, memory, gradient and attributes, while both stay the objects that they are.

    >>> import flambeau as torch
    >>> a, b = torch.zeros(2), torch.nn.Parameter(torch.ones(3))
    >>> torch.utils.swap_tensors(a, b)
    >>> a.shape, type(a).__name__, b
    (torch.Size([3]), 'Parameter', tensor([0., 0.]))

    Raises:
        RuntimeError: there are weak references to one of them: what holds it would hold another. A graph that leads to one of them
            is refused when it is run backwards.
    """
    for name, t in (("t1", t1), ("t2", t2)):
        if weakref.getweakrefs(t):
            raise RuntimeError(f"Cannot swap {name} because it has weakref associated with it")
    for t in (t1, t2):
        node = t._accumulator and t._accumulator()
        if node is not None:
            node.register_prehook(_refuse_gradients)
            t._accumulator = None
    t1.__class__, t2.__class__ = t2.__class__, t1.__class__
    first, second = dict(contents_of(t1)), dict(contents_of(t2))
    for t, own in ((t1, second), (t2, first)):
        contents_of(t).clear()
        contents_of(t).update(own)


def _refuse_gradients(grads: Any) -> None:
    raise RuntimeError(
        "Trying to execute AccumulateGrad node that was poisoned by swap_tensors this can happen when you try to run backward on a tensor that "
        "was swapped: swap tensors before forward, or after backward."
    )


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"flambeau.utils.{name}")
    raise AttributeError(f"module 'torch.utils' has no attribute '{name}'", name=name)
