"""The disguise: after :func:`install`, ``import torch`` means flambeau.

``torch.x.y`` is the very module ``flambeau.x.y``, so classes are the same whichever way they are imported. Modules that
PyTorch has in other places are given by :mod:`flambeau.compat.spellings`, and classes say that they are defined where PyTorch
defines them (:mod:`flambeau.compat.homes`). What flambeau lacks is explained by :mod:`flambeau.compat.missing`.
"""

from __future__ import annotations

import sys
from typing import Any

import flambeau
from flambeau.compat.children import disguise
from flambeau.compat.finder import TorchFinder, alias_hidden_modules, is_public, known_as_in_torch
from flambeau.compat.homes import named_as_in_torch
from flambeau.compat.missing import explain_missing_names
from flambeau.core import config

__all__ = ["install"]


def _pickled(obj: Any) -> str | tuple:
    from flambeau.serialization import pickles  # with it comes all of nn

    return pickles.reduced(obj)


def install() -> None:
    """Make ``import torch`` and ``import torch.x.y`` give flambeau, in this process, from now on.

    Calling it again changes nothing. It must come before anything has imported the real PyTorch.

    Raises:
        RuntimeError: the real PyTorch is already imported; two torches in one process would not know each other's
            tensors.

    Example::

        import flambeau.compat
        flambeau.compat.install()
        import torch, torch.nn as nn
        assert isinstance(nn.Linear(1, 1).weight, torch.Tensor)
    """
    torch = sys.modules.get("torch")
    if torch is flambeau:
        return
    if torch is not None:
        raise RuntimeError(
            f"the real PyTorch is already imported (from {getattr(torch, '__file__', '?')}): "
            "call flambeau.compat.install() before the first `import torch`"
        )
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "flambeau":
            named_as_in_torch(module, is_public(name))
        if is_public(name):
            known_as_in_torch(module, name.replace("flambeau", "torch", 1))
            explain_missing_names(module, name.replace("flambeau", "torch", 1))
    config.pickled = _pickled
    flambeau.torch = flambeau  # type: ignore[attr-defined]  # PyTorch has this too, and libraries write torch.torch
    # In front of the path finder, which would load flambeau's files a second time under their torch names.
    sys.meta_path.insert(0, TorchFinder())
    alias_hidden_modules(flambeau, "torch")
    if "multiprocessing.spawn" in sys.modules:
        disguise(sys.modules["multiprocessing.spawn"])
