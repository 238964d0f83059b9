"""``torch.compiler.config``: settings of PyTorch's compiler and its caches, which flambeau does not have, with PyTorch's defaults;
see :mod:`flambeau.core.options`."""

from __future__ import annotations

from typing import Any

from flambeau.core.options import make_options

_SETTINGS: dict[str, Any] = {
    "cache_key_tag": "",
    "dynamic_sources": "",
    "dynamic_values": "",
    "unbacked_sources": "",
    "force_disable_caches": False,
    "force_cudagraph_gc": False,
    "job_id": None,
    "pgo_extra_read_key": None,
    "pgo_extra_write_key": None,
}

make_options(__name__, "torch.compiler.config", _SETTINGS)
