"""Slim models: trained here, run anywhere by NumPy alone.

:func:`export_slim` writes a model to one file: its weights, machine code for several kinds of machines, and a plan of what runs on what.
`flambeau_slim <../../flambeau_slim.py>`_, a module of one file that needs neither flambeau nor LLVM, loads it in milliseconds and
computes the same bits. :doc:`docs/slim.md </slim>` tells more.

>>> import flambeau as torch, numpy as np, tempfile, os
>>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()).eval()
>>> path = os.path.join(tempfile.mkdtemp(), "model.slim")
>>> digest = torch.export_slim(model, (torch.ones(2, 3),), path)
>>> slim = torch.load_slim(path)
>>> slim(np.ones((2, 3), np.float32)).shape
(2, 4)
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flambeau.core import config
from flambeau.slim.recording import ExportError, Recording
from flambeau.version import release
from flambeau_slim import FORMAT, VERSION

if TYPE_CHECKING:
    from flambeau_slim import Model

__all__ = ["ExportError", "export_slim", "load_slim"]


def export_slim(
    model: Callable, args: tuple, path: str | os.PathLike, *, kwargs: dict[str, Any] | None = None, targets: Sequence[str] | None = None
) -> str:
    """Writes what ``model`` computes for arguments like ``args`` and ``kwargs`` to a file that runs without flambeau.

    ``model`` is a module (in evaluation mode, where it has dropout or batch norm) or a function of tensors. It is called once; shapes
    and dtypes are those of the example, and arguments that are no tensors keep their value. ``targets`` are the kinds of machines that
    it shall run on: ``"x86-64-v4"`` (AVX-512), ``"x86-64-v3"`` (AVX2), ``"x86-64-v2"`` and ``"aarch64"``, all on Linux; the levels of
    x86-64 if none are named. Returns the file's digest, by which :func:`load_slim` can make sure that it loads this very file.

    Raises :class:`ExportError` where the model looks at values while it runs, draws random numbers, writes to tensors that it keeps, or
    has ops without machine code, which are named.

    >>> import flambeau as torch, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "sign.slim")
    >>> digest = torch.export_slim(lambda x: x if x.sum() > 0 else -x, (torch.ones(2),), path)
    Traceback (most recent call last):
        ...
    flambeau.slim.recording.ExportError: the model looks at values that depend on its argument 'x' while it runs ...
    """
    if not config.compiled:
        raise ExportError("export_slim compiles kernels, which needs llvmlite (and FLAMBEAU_COMPILE must not be 0)")
    from flambeau.slim import archive
    from flambeau.slim.planning import plan_of
    from flambeau.slim.targets import TARGETS, Assembly, targets_of

    if not isinstance(args, tuple):
        raise TypeError(f"export_slim(): args is a tuple of arguments, got {type(args).__name__}: write (x,) for one tensor")
    chosen = targets_of(targets)
    recording = Recording(model, args, kwargs or {})
    members = {"weights.safetensors": archive.safetensors(recording.weights)}
    for name in chosen:
        assembly = Assembly(TARGETS[name])
        plan = plan_of(recording, assembly)
        image = assembly.image()
        plan["code"] = {"parts": image.parts, "moved": image.moved, "imports": image.imports, "symbols": image.symbols}
        members[f"targets/{name}/plan.json"] = [json.dumps(plan).encode()]
        members[f"targets/{name}/code.bin"] = [image.content]
    manifest = {
        "format": FORMAT, "version": VERSION, "made_by": f"flambeau {release}", "model": getattr(model, "__name__", type(model).__name__),
        "inputs": _signature(recording.inputs), "outputs": _signature(recording.results), "nest": recording.nest,
        "weights": [weight.name for weight in recording.weights], "targets": chosen,
    }  # fmt: skip
    return archive.write(path, manifest, members)


def _signature(arrays: list) -> list[dict[str, Any]]:
    return [{"name": x.name, "dtype": x.dtype.name, "shape": list(x.shape)} for x in arrays]


def load_slim(path: str | os.PathLike, *, target: str | None = None, threads: int | None = None, digest: str | None = None) -> Model:
    """The model in a file that :func:`export_slim` wrote: a function of NumPy arrays. It is what ``flambeau_slim.load`` gives.

    >>> import flambeau as torch, numpy as np, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "twice.slim")
    >>> digest = torch.export_slim(lambda x: {"twice": 2 * x}, (torch.ones(2),), path)
    >>> torch.load_slim(path, digest=digest)(x=np.array([1, 2], np.float32))
    {'twice': array([2., 4.], dtype=float32)}
    """
    import flambeau_slim

    return flambeau_slim.load(path, target=target, threads=threads, digest=digest)
