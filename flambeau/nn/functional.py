"""``torch.nn.functional``: filled from the op records.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html
"""

from __future__ import annotations

from flambeau.ops import namespace
from flambeau.tensor.methods import inplace_function

_functions = namespace("nn.functional")
globals().update(_functions)
for _name, _function in _functions.items():
    if _function.op.inplace:
        globals()[_name + "_"] = inplace_function(_function.op, _name)
__all__ = sorted(_functions)
