"""Weights in files that other programs read too: safetensors, whole or in shards, and GGUF.

>>> import os, tempfile
>>> import flambeau as torch
>>> from flambeau.weights import load_file, safe_open, save_file
>>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
>>> save_file({"weight": torch.arange(6.0).reshape(2, 3).bfloat16()}, path, metadata={"made_by": "hand"})
>>> load_file(path)
{'weight': tensor([[0., 1., 2.],
        [3., 4., 5.]], dtype=torch.bfloat16)}
>>> with safe_open(path) as f:
...     f.metadata(), f.get_slice("weight")[:, 1:]
({'made_by': 'hand'}, tensor([[1., 2.],
        [4., 5.]], dtype=torch.bfloat16))

The names are those of ``safetensors.torch``, which works too where ``torch`` means flambeau. Needs the package ``safetensors``;
GGUF needs ``gguf``. Nothing in such files can be run.

Sources: https://huggingface.co/docs/safetensors, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from flambeau.weights.gguf import load_gguf
from flambeau.weights.safe import SafeFile, load, load_file, safe_open, save, save_file
from flambeau.weights.sharded import load_sharded, save_sharded

__all__ = ["SafeFile", "load", "load_file", "load_gguf", "load_sharded", "safe_open", "save", "save_file", "save_sharded"]
