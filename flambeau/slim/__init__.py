"""Slim models: trained here, run anywhere by NumPy alone.

:func:`export_slim` writes a model to one file: its weights, machine code for several kinds of machines, and a plan of what runs on
what. `flambeau_slim <../../flambeau_slim.py>`_, a module of one file that needs neither flambeau nor LLVM, loads it in
milliseconds and computes the same bits. :doc:`docs/slim.md </slim>` tells more.

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
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau.core import config
from flambeau.core.progress import bar
from flambeau.export.unknown import names_of_arguments
from flambeau.slim.recording import Argument, Draws, ExportError, Recording, Weights
from flambeau.version import release
from flambeau_slim import FORMAT, VERSION

if TYPE_CHECKING:
    from flambeau.export import ExportedProgram
    from flambeau.slim.targets import Assembly
    from flambeau_slim import Model

__all__ = ["ExportError", "export_c", "export_slim", "load_slim", "load_slim_program"]


def export_slim(
    model: Callable, args: tuple, path: str | os.PathLike, *, kwargs: dict[str, Any] | None = None, dynamic_shapes: Any = None,
    targets: Sequence[str] | None = None,
) -> str:  # fmt: skip
    """Writes what ``model`` computes for arguments like ``args`` and ``kwargs`` to a file that runs without flambeau.

    ``model`` is a module (in evaluation mode, where it has dropout or batch norm) or a function of tensors. It is called once, and
    arguments that are no tensors keep their value. Shapes are those of the example, but for dims that ``dynamic_shapes`` gives a
    name, as for ``torch.export``: ``({0: Dim("batch", min=1, max=32)},)``. Then the model is called, and planned, for each of
    these sizes. ``targets`` are the kinds of machines that it shall run on: ``"x86-64-v4"`` (AVX-512), ``"x86-64-v3"`` (AVX2),
    ``"x86-64-v2"`` and ``"aarch64"``, all on Linux; the levels of x86-64 if none are named. Returns the file's digest, by which
    :func:`load_slim` can make sure that it loads this very file.

    Raises :class:`ExportError` where the model looks at values while it runs, draws random numbers, writes to tensors that it
    keeps, or has ops without machine code, which are named.

    >>> import flambeau as torch, numpy as np, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "rows.slim")
    >>> rows = torch.export.Dim("rows", min=1, max=4)
    >>> digest = torch.export_slim(lambda x: x.sum(1), (torch.ones(2, 3),), path, dynamic_shapes=({0: rows},))
    >>> torch.load_slim(path)(np.ones((4, 3), np.float32))
    array([3., 3., 3., 3.], dtype=float32)
    >>> digest = torch.export_slim(lambda x: x if x.sum() > 0 else -x, (torch.ones(2),), path)
    Traceback (most recent call last):
        ...
    flambeau.export.unknown.ExportError: the model looks at values that depend on its argument 'x' while it runs ...
    """
    _check_compiler()
    from flambeau.slim import archive
    from flambeau.slim.sizes import common
    from flambeau.slim.targets import TARGETS, Assembly, targets_of

    assemblies = {name: Assembly(TARGETS[name]) for name in targets_of(targets)}
    weights, draws = Weights(), Draws()
    sizes = _sizes(model, args, kwargs or {}, dynamic_shapes, weights, assemblies, draws)
    members = {"graph.json": [json.dumps(_graph(model, args, kwargs or {}, dynamic_shapes, weights, draws)).encode()]}
    members["weights.safetensors"] = archive.safetensors(weights.all)
    for name, assembly in bar(assemblies.items(), "machine code"):
        image = assembly.image()
        layout = {"parts": image.parts, "moved": image.moved, "imports": image.imports, "symbols": image.symbols}
        members[f"targets/{name}/code.bin"] = [image.content]
        members[f"targets/{name}/code.json"] = [json.dumps(layout).encode()]
        members |= {f"targets/{name}/plan-{k}.json": [json.dumps(size.plans[name]).encode()] for k, size in enumerate(sizes)}

    def signature(arrays: list[list[Argument]]) -> list[dict[str, Any]]:
        return [
            {"name": x[0].name, "dtype": x[0].dtype.name, "shape": common([y.shape for y in x])} for x in zip(*arrays, strict=True)
        ]

    manifest = {
        "format": FORMAT, "version": VERSION, "made_by": f"flambeau {release}", "model": getattr(model, "__name__", type(model).__name__),
        "inputs": signature([size.inputs for size in sizes]), "outputs": signature([size.outputs for size in sizes]), "nest": sizes[0].nest,
        "plans": [{"inputs": [x.shape for x in size.inputs], "outputs": [x.shape for x in size.outputs]} for size in sizes],
        "weights": [weight.name for weight in weights.all], "targets": list(assemblies),
    }  # fmt: skip
    return archive.write(path, manifest, members)


def export_c(
    model: Callable, args: tuple, path: str | os.PathLike, *, kwargs: dict[str, Any] | None = None, dynamic_shapes: Any = None, target: str = "x86-64-v2",
) -> None:  # fmt: skip
    """Writes what ``model`` computes as a library for programs in C: ``NAME.o``, which any linker takes, and beside it ``NAME.h``.

    The arguments are those of :func:`export_slim`, and so is what can be exported; there is one target.
    ``NAME_run(inputs, outputs)`` takes arrays of pointers, computes in the thread that calls it, and returns 0; the header tells
    the rest. No compiler is needed here.

    Raises :class:`ExportError` as :func:`export_slim` does, and where the weights have more than a GiB; ``ValueError`` where the
    file is not called by a name of C's.

    >>> import flambeau as torch, tempfile, os
    >>> folder = tempfile.mkdtemp()
    >>> torch.export_c(torch.nn.Linear(3, 2).eval(), (torch.ones(1, 3),), os.path.join(folder, "net.o"))
    >>> sorted(os.listdir(folder))
    ['net.h', 'net.o']
    """
    _check_compiler()
    from pathlib import Path

    from flambeau.slim import objects

    name, assembly, weights = objects.name_of(Path(path)), objects.ObjectAssembly(target), Weights()
    sizes = _sizes(model, args, kwargs or {}, dynamic_shapes, weights, {target: assembly}, Draws())
    if sum(weight.value.nbytes for weight in weights.all) > 1 << 30:
        raise ExportError("a library has at most a GiB of weights: export_slim maps them instead")
    plans = [size.plans[target] for size in sizes]
    objects.write(
        Path(path),
        objects.Library(name, [size.inputs for size in sizes], [size.outputs for size in sizes], plans),
        weights,
        assembly,
    )


def _check_compiler() -> None:
    if not config.compiled:
        raise ExportError("kernels are to be compiled: pip install 'flambeau[compile]', and do not set FLAMBEAU_COMPILE=0")


def _graph(
    model: Callable, args: tuple, kwargs: dict[str, Any], dynamic_shapes: Any, weights: Weights, draws: Draws
) -> dict[str, Any]:
    """The graph of the model, or why there is none: code and plans do not need it."""
    from flambeau.export import export
    from flambeau.nn import Module
    from flambeau.slim.graphs import graph_of

    if not isinstance(model, Module):
        function, model = model, Module()
        model.forward = function
    draws.again()
    try:
        return graph_of(export(model, args, kwargs, dynamic_shapes=dynamic_shapes), weights)
    except Exception as error:
        return {"none": f"{type(error).__name__}: {error}"}


class _Size(NamedTuple):
    """What a model does for arguments of one size, with a plan for each target."""

    inputs: list[Argument]
    outputs: list[Argument]
    nest: Any
    plans: dict[str, dict[str, Any]]


def _sizes(
    model: Callable, args: tuple, kwargs: dict[str, Any], dynamic_shapes: Any, weights: Weights, assemblies: Mapping[str, Assembly], draws: Draws
) -> list[_Size]:  # fmt: skip
    """What a model does for all sizes that its arguments may have."""
    from flambeau.slim.sizes import examples

    if not isinstance(args, tuple):
        raise TypeError(f"args is a tuple of arguments, got {type(args).__name__}: write (x,) for one tensor")
    names = names_of_arguments(model, args, kwargs)
    given = bar(examples(names, args, kwargs, dynamic_shapes), "plans for sizes")
    sizes = [_planned(model, a, k, weights, assemblies, draws) for a, k in given]
    nest, dtypes = sizes[0].nest, [x.dtype for x in sizes[0].outputs]
    if any(size.nest != nest or [x.dtype for x in size.outputs] != dtypes for size in sizes):
        raise ExportError("the model returns other things for other sizes")
    return sizes


def _planned(
    model: Callable, args: tuple, kwargs: dict[str, Any], weights: Weights, assemblies: Mapping[str, Assembly], draws: Draws
) -> _Size:
    """Records a call of the model, and plans it before anything else is recorded."""
    from flambeau.slim.planning import plan_of

    draws.again()
    recording = Recording(model, args, kwargs)
    plans = {name: plan_of(recording, assembly, weights) for name, assembly in assemblies.items()}
    return _Size(recording.inputs, recording.results, recording.nest, plans)


def load_slim(
    path: str | os.PathLike, *, target: str | None = None, threads: int | None = None, digest: str | None = None
) -> Model:
    """The model in a file that :func:`export_slim` wrote: a function of NumPy arrays. It is what ``flambeau_slim.load`` gives.

    >>> import flambeau as torch, numpy as np, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "twice.slim")
    >>> digest = torch.export_slim(lambda x: {"twice": 2 * x}, (torch.ones(2),), path)
    >>> torch.load_slim(path, digest=digest)(x=np.array([1, 2], np.float32))
    {'twice': array([2., 4.], dtype=float32)}
    """
    import flambeau_slim

    return flambeau_slim.load(path, target=target, threads=threads, digest=digest)


def load_slim_program(path: str | os.PathLike, *, digest: str | None = None) -> ExportedProgram:
    """The calls that a file of :func:`export_slim` was made of, as a program of ``torch.export``. No machine code is looked at.

    Its ``module()`` computes what the model computes, in sizes that dims with names may have, and has its parameters;
    ``torch.onnx.export`` and ``torch.export.save`` take it. Nothing of the file is run but the operators that its graph names.

    Raises ``SlimError`` where the file is damaged, or has no graph: a model that does other things for other sizes has none.

    >>> import flambeau as torch, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "rows.slim")
    >>> rows = torch.export.Dim("rows", min=1, max=4)
    >>> digest = torch.export_slim(torch.nn.Linear(3, 2).eval(), (torch.ones(2, 3),), path, dynamic_shapes=({0: rows},))
    >>> program = torch.load_slim_program(path)
    >>> program.module()(torch.ones(4, 3)).shape, [name for name, p in program.named_parameters()]
    (torch.Size([4, 2]), ['weight', 'bias'])
    """
    import flambeau_slim
    from flambeau.slim.graphs import program_of

    with open(path, "rb") as file, flambeau_slim._reading(os.fspath(path)):
        archive = flambeau_slim._Archive(file)
        if digest not in (None, archive.digest):
            raise flambeau_slim.SlimError(f"its digest is {archive.digest}, and not the one that is expected")
        graph = archive.json("graph.json")
        if "none" in graph:
            raise flambeau_slim.SlimError(f"it has no graph, because the model could not be written as one: {graph['none']}")
        weights, dtypes = flambeau_slim._weights(archive), {x["name"]: x["dtype"] for x in archive.manifest["inputs"]}
        try:
            return program_of(graph, weights, dtypes)
        except (RuntimeError, SyntaxError) as error:  # an operator that there is not, or code that is none
            raise flambeau_slim.SlimError(f"its graph is damaged: {error}") from error
