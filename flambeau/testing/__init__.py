"""For tests: comparing tensors within tolerances, and making them.

Source: https://docs.pytorch.org/docs/stable/testing.html
"""

from __future__ import annotations

from flambeau.testing.comparison import assert_allclose, assert_close
from flambeau.testing.creation import make_tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]
