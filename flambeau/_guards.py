"""Which mode makes tensors fake just now; PyTorch's name for the module is older than this.

>>> import flambeau as torch
>>> from flambeau._subclasses import FakeTensorMode
>>> with FakeTensorMode() as mode:
...     print(active_fake_mode() is mode, detect_fake_mode(torch.ones(2)) is mode)
True True
>>> print(active_fake_mode())
None
"""

from __future__ import annotations

import sys
from typing import Any

from flambeau.core.nests import tree_leaves
from flambeau.tensor import Tensor
from flambeau.tensor.overriding import state

__all__ = ["active_fake_mode", "detect_fake_mode"]


def active_fake_mode() -> Any:
    """The innermost :class:`FakeTensorMode` that is on, or ``None``."""
    fakes = _fakes()
    return next((mode for mode in reversed(state.modes) if fakes and isinstance(mode, fakes.FakeTensorMode)), None)


def detect_fake_mode(inputs: Any = None) -> Any:
    """The mode that is on, else that of the first fake tensor in a nest, or ``None``."""
    mode, fakes = active_fake_mode(), _fakes()
    if mode is not None or fakes is None:
        return mode
    storages = [leaf._storage for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    return next((storage.mode for storage in storages if isinstance(storage, fakes.FakeStorage)), None)


def _fakes() -> Any:
    """The module of fake tensors; where nobody has imported it there are none."""
    return sys.modules.get("flambeau._subclasses.fake_tensor")
