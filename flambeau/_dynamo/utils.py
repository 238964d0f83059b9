"""Where programs look for what can be compiled, and what has been counted."""

from __future__ import annotations

from collections import Counter, defaultdict

from flambeau._dynamo import is_compile_supported

__all__ = ["counters", "is_compile_supported"]

counters: defaultdict[str, Counter[str]] = defaultdict(Counter)
"""What PyTorch's compiler counts by subject. Here :func:`flambeau.engine_stats` counts, and these stay empty."""
