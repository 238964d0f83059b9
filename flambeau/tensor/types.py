"""Names for annotations: what a device, a number or a size may be given as."""

from __future__ import annotations

import os
from typing import IO, Any

from flambeau.core.device import device
from flambeau.core.dtypes import dtype
from flambeau.core.size import Size
from flambeau.tensor.tensor import Tensor

__all__ = ["Device", "FileLike", "Number", "Size", "Storage", "Tensor", "_bool", "_dtype", "_float", "_int", "_size"]

_bool, _float, _int, _complex = bool, float, int, complex
_dtype, _device = dtype, device
_size = Size | list[int] | tuple[int, ...]
Number = int | float | bool
BoolLikeType, FloatLikeType, IntLikeType = bool, float, int
Device = device | str | int | None
FileLike = str | os.PathLike | IO[bytes]
Storage = Any
