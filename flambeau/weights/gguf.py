"""Weights of files of GGUF, as llama.cpp and its relatives use them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.core.progress import bar


def load_gguf(path: str | os.PathLike[str], dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    """The tensors of a file, by name, in PyTorch's order of dims.

    Weights that are quantised become float32. ``dtype`` converts all that are floats.

    Raises:
        ImportError: the package ``gguf`` is not installed.

    >>> weights = load_gguf("model.gguf", dtype=torch.bfloat16)  # doctest: +SKIP
    """
    try:
        import gguf
    except ImportError:
        raise ImportError("reading GGUF takes the package gguf: pip install gguf") from None
    reader = gguf.GGUFReader(os.fspath(path))
    made = {tensor.name: _tensor(gguf, tensor) for tensor in bar(reader.tensors, os.path.basename(os.fspath(path)))}
    return made if dtype is None else {name: t.to(dtype) if t.is_floating_point() else t for name, t in made.items()}


def _tensor(gguf: Any, tensor: Any) -> torch.Tensor:
    shape = [int(n) for n in reversed(tensor.shape)]
    kind = tensor.tensor_type
    if kind == gguf.GGMLQuantizationType.BF16:
        return torch.tensor(np.ascontiguousarray(tensor.data).view(np.uint16)).view(torch.bfloat16).reshape(shape)
    quantised = tensor.data.dtype == np.uint8
    return torch.tensor(gguf.dequantize(tensor.data, kind) if quantised else np.array(tensor.data)).reshape(shape)
