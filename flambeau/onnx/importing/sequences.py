"""Rules of sequences, which are lists here, and of optionals, which are ``None`` where there is nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

import flambeau as torch
from flambeau.onnx.importing.registry import ints, rule

Tensor = torch.Tensor


@rule("SequenceEmpty")
def sequence_empty(*, dtype: int = 1) -> list[Any]:
    return []


@rule("SequenceConstruct")
def sequence_construct(*xs: Any) -> list[Any]:
    return list(xs)


@rule("SequenceInsert", host="position")
def sequence_insert(sequence: list[Any], x: Any, position: Any = None) -> list[Any]:
    at = len(sequence) if position is None else ints(position)[0]
    at = at + len(sequence) if at < 0 else at
    return [*sequence[:at], x, *sequence[at:]]


@rule("SequenceErase", host="position")
def sequence_erase(sequence: list[Any], position: Any = None) -> list[Any]:
    at = -1 if position is None else ints(position)[0]
    at = at + len(sequence) if at < 0 else at
    return [*sequence[:at], *sequence[at + 1 :]]


@rule("SequenceAt", host="position")
def sequence_at(sequence: list[Any], position: Any) -> Any:
    return sequence[ints(position)[0]]


@rule("SequenceLength")
def sequence_length(sequence: list[Any]) -> np.ndarray:
    return np.array(len(sequence), np.int64)


@rule("ConcatFromSequence")
def concat_from_sequence(sequence: list[Tensor], *, axis: int, new_axis: int = 0) -> Tensor:
    return torch.stack(sequence, axis) if new_axis else torch.cat(sequence, axis)


@rule("SplitToSequence", host="split")
def split_to_sequence(x: Tensor, split: Any = None, *, axis: int = 0, keepdims: int = 1) -> list[Tensor]:
    if split is None:
        return list(x.split(1, axis)) if keepdims else list(x.unbind(axis))
    return list(x.split(ints(split) if np.ndim(split) else ints(split)[0], axis))


@rule("Optional")
def optional(x: Any = None, *, type: Any = None) -> Any:
    return x


@rule("OptionalHasElement")
def optional_has_element(x: Any = None) -> np.ndarray:
    return np.array(x is not None)


@rule("OptionalGetElement")
def optional_get_element(x: Any) -> Any:
    return x
