"""Steps on parameters that lie on several processes: each updates what it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.tensor import Tensor
from flambeau.tensor.wrapping import elements_of

__all__ = ["parts_of"]


@contextmanager
def parts_of(optimizer: Any, group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A group in which parameters and their states are those of this process; afterwards new states lie as their parameters do.

    Raises:
        NotImplementedError: the optimizer does not update each element alone.
    """
    state = optimizer.state
    pairs = [(p, part) for p in group["params"] if (part := elements_of(p)) is not p]
    if pairs and not optimizer._by_element:
        raise NotImplementedError(
            f"{type(optimizer).__name__} needs whole parameters, and these lie on several processes: use an optimizer that works element by "
            "element, such as AdamW"
        )
    for p, part in pairs:
        if p in state:
            state[part] = {name: elements_of(value) if isinstance(value, Tensor) else value for name, value in state[p].items()}
    try:
        yield {**group, "params": [*map(elements_of, group["params"])]}
    finally:
        for p, part in pairs:
            held = state[p] if part in state else {}
            for name, value in (state.pop(part) if part in state else {}).items():
                if not (name in held and isinstance(held[name], Tensor) and elements_of(held[name]) is value):
                    held[name] = (
                        p._with(value) if isinstance(value, Tensor) and value.dim() and value.shape == part.shape else value
                    )
