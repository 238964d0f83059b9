"""What is known of a model besides its weights: ``config.json`` in its folder, or the words of the command line.

::

    {
        "factory": "shop.nets:make",
        "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
        "outputs": [{"name": "scores"}],
        "max_batch": 32,
        "versions": "latest"
    }
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flambeau.serve.protocol import DATATYPES


class ModelError(Exception):
    """A model that cannot be loaded; the text says why."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or an output: its name, and its datatype and shape where they are known; -1 is any size."""

    name: str
    datatype: str | None = None
    shape: tuple[int, ...] | None = None

    def described(self) -> dict[str, Any]:
        """As the protocol's metadata; what is not known is FP32 with a first dim of any size."""
        return {"name": self.name, "datatype": self.datatype or "FP32", "shape": list(self.shape or (-1,))}


@dataclass(frozen=True)
class ModelConfig:
    """How a model is loaded and served.

    Attributes:
        factory: ``package.module:function``, which makes the module that the weights are for.
        inputs, outputs: their names and what is known of them; empty: found out from the module.
        max_batch: the most rows in a batch; 0: requests have no common first dim, and each runs alone.
        max_queue: how many requests may wait before more are refused.
        max_delay: seconds that a batch which is not full waits for more requests.
        timeout: seconds after which a request that is not answered is given up.
        versions: ``"latest"``, ``"all"``, or a list of versions to serve.
        mmap: whether weights stay in the file, mapped, so that several workers share them.
    """

    factory: str | None = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    max_batch: int = 32
    max_queue: int = 256
    max_delay: float = 0.0
    timeout: float = 60.0
    versions: str | tuple[str, ...] = "latest"
    mmap: bool = False

    @classmethod
    def read(cls, path: Path, base: ModelConfig) -> ModelConfig:
        """``base`` with what ``path`` says, if there is such a file.

        Raises:
            ModelError: it is not JSON, or has names or values that are not known.
        """
        if not path.is_file():
            return base
        try:
            document = json.loads(path.read_text())
        except ValueError as error:
            raise ModelError(f"{path}: {error}") from None
        if not isinstance(document, dict):
            raise ModelError(f"{path}: expected a JSON object")
        known = {f.name: f for f in dataclasses.fields(cls)}
        changes: dict[str, Any] = {}
        for name, value in document.items():
            if name not in known:
                raise ModelError(f"{path}: {name!r} is not known; there are {', '.join(known)}")
            changes[name] = _checked(path, name, value, getattr(base, name))
        return dataclasses.replace(base, **changes)

    def serves(self, versions: list[str]) -> list[str]:
        """Which of the versions that are there are to be served.

        >>> ModelConfig().serves(["1", "10", "9"])
        ['10']
        """
        if self.versions == "all":
            return sorted(versions, key=int)
        if self.versions == "latest":
            return [max(versions, key=int)] if versions else []
        return [v for v in sorted(versions, key=int) if v in self.versions]


def _checked(path: Path, name: str, value: Any, base: Any) -> Any:
    if name in ("inputs", "outputs"):
        if not isinstance(value, list):
            raise ModelError(f"{path}: {name!r} must be a list")
        return tuple(_spec(path, name, one) for one in value)
    if name == "versions":
        if value in ("latest", "all"):
            return value
        if isinstance(value, list) and all(isinstance(v, (str, int)) and str(v).isdigit() for v in value):
            return tuple(str(v) for v in value)
        raise ModelError(f'{path}: "versions" must be "latest", "all" or a list of numbers, got {value!r:.60}')
    if name == "factory":
        if not isinstance(value, str):
            raise ModelError(f'{path}: "factory" must be a string, "package.module:function"')
        return value
    if isinstance(base, bool):
        if not isinstance(value, bool):
            raise ModelError(f"{path}: {name!r} must be true or false, got {value!r:.60}")
        return value
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or value < 0
        or (isinstance(base, int) and value != int(value))
    ):
        raise ModelError(f"{path}: {name!r} must be a number, at least 0, got {value!r:.60}")
    return type(base)(value)


def _spec(path: Path, name: str, one: Any) -> TensorSpec:
    if not isinstance(one, dict) or not isinstance(one.get("name"), str) or one.keys() - {"name", "datatype", "shape"}:
        raise ModelError(f'{path}: each of {name!r} must be an object with "name", and perhaps "datatype" and "shape"')
    datatype, shape = one.get("datatype"), one.get("shape")
    if datatype is not None and datatype not in DATATYPES:
        raise ModelError(f"{path}: {one['name']!r} has the datatype {datatype!r:.40}; there are {', '.join(DATATYPES)}")
    if shape is not None and not (isinstance(shape, list) and all(type(n) is int and n >= -1 for n in shape)):
        raise ModelError(f"{path}: {one['name']!r} has the shape {shape!r:.60}: expected a list of sizes, -1 for any")
    return TensorSpec(one["name"], datatype, None if shape is None else tuple(shape))


def parse_spec(text: str) -> TensorSpec:
    """An input as it is given on the command line.

    >>> parse_spec("images:FP32:-1x1x8x8")
    TensorSpec(name='images', datatype='FP32', shape=(-1, 1, 8, 8))
    """
    name, _, rest = text.partition(":")
    datatype, _, sizes = rest.partition(":")
    try:
        shape = tuple(int(n) for n in sizes.split("x")) if sizes else None
    except ValueError:
        shape = (-2,)
    if not name or datatype and datatype not in DATATYPES or shape and min(shape) < -1:
        raise ValueError(
            f"expected NAME:DATATYPE:SIZExSIZE, for example images:FP32:-1x1x8x8, got {text!r}; datatypes are {', '.join(DATATYPES)}"
        )
    return TensorSpec(name, datatype or None, shape)
