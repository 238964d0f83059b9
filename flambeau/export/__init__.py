"""``torch.export``: programs as graphs that can be saved and run without the code that they came from.

>>> import flambeau as torch
>>> batch = torch.export.Dim("batch")
>>> program = torch.export.export(torch.nn.Linear(3, 2), (torch.ones(4, 3),), dynamic_shapes=({0: batch},))
>>> program.module()(torch.ones(7, 3)).shape
torch.Size([7, 2])
>>> print(program.graph)
graph():
    %p_weight : [num_users=1] = placeholder[target=p_weight]
    %p_bias : [num_users=1] = placeholder[target=p_bias]
    %input : [num_users=1] = placeholder[target=input]
    %linear : [num_users=1] = call_function[target=torch.nn.functional.linear](args = (%input, %p_weight, %p_bias), kwargs = {})
    return (linear,)

Source: https://docs.pytorch.org/docs/stable/export.html
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from flambeau import dispatch, ops
from flambeau.compiling.extent import extent
from flambeau.core import nests
from flambeau.export import graph_signature
from flambeau.export.dims import Dim, ShapesCollection, _Hint, dims, places
from flambeau.export.exported_program import (
    LIFTED,
    ExportedProgram,
    Recipe,
    argument_names,
    leaf_names,
    plain_spec,
    spec_of,
)
from flambeau.export.graph_signature import ExportGraphSignature, InputKind, InputSpec, OutputKind, OutputSpec
from flambeau.jit.tracing import record, text_of_path
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = [
    "Dim", "ExportGraphSignature", "ExportedProgram", "ShapesCollection", "dims", "export", "export_for_training", "load", "register_dataclass", "save",
]  # fmt: skip


class UserError(RuntimeError):
    """A program that cannot be exported as it was asked for."""


def export(
    mod: Module, args: tuple, kwargs: dict[str, Any] | None = None, *, dynamic_shapes: Any = None, strict: bool = False,
    preserve_module_call_signature: tuple[str, ...] = (), prefer_deferred_runtime_asserts_over_guards: bool = False,
) -> ExportedProgram:  # fmt: skip
    """What ``mod`` calls for example arguments, as an :class:`ExportedProgram`.

    Branches are those that the example took. Sizes are those of the example, but for dims that ``dynamic_shapes`` names: a dict by
    argument, or a tuple, of ``{dim: Dim("batch")}``, or ``Dim.DYNAMIC`` and ``Dim.AUTO``. Where the program fixes such a dim, by a
    branch, a number or a parameter, that is refused (with ``Dim.AUTO`` the dim is fixed).

    Source: https://docs.pytorch.org/docs/stable/export/api_reference.html#torch.export.export
    """
    if not isinstance(mod, Module):
        raise ValueError(f"Expected `mod` to be an instance of `torch.nn.Module`, got {type(mod)}.")
    if not isinstance(args, tuple):
        raise ValueError(f"Expecting `args` to be a tuple of example positional inputs, got {type(args)}")
    kwargs = dict(kwargs or {})
    names = argument_names(mod.forward, args, kwargs)
    free = places(names, args, kwargs, dynamic_shapes)
    try:
        return _export(mod, args, kwargs, names, free)
    except UserError:
        if not any(_is_auto(what) for places_of in free for what in places_of.values()):
            raise
        return _export_as_free(mod, args, kwargs, names, free)


def _is_auto(what: Any) -> bool:
    return isinstance(what, _Hint) and what.__name__ == "AUTO"


def _export_as_free(mod: Module, args: tuple, kwargs: dict, names: list[str], free: list[dict[int, Any]]) -> ExportedProgram:
    """The program with as many of the dims of ``Dim.AUTO`` free as it allows, tried one after the other.

    Dims of the same size are tried as one, since they often belong together (a batch), and then each for itself.
    """
    leaves = nests.tree_leaves((args, kwargs))
    chosen = [{d: what for d, what in places_of.items() if not _is_auto(what)} for places_of in free]
    program = _export(mod, args, kwargs, names, chosen)
    by_size: dict[int, list[tuple[int, int]]] = {}
    for i, places_of in enumerate(free):
        for d, what in places_of.items():
            if _is_auto(what):
                by_size.setdefault(leaves[i].shape[d], []).append((i, d))
    for equal in by_size.values():
        for together in (equal, *([place] for place in equal if len(equal) > 1)):
            symbol = Dim(f"s_{together[0][0]}_{together[0][1]}")
            trial = [{**places_of, **{d: symbol for j, d in together if i == j}} for i, places_of in enumerate(chosen)]
            try:
                program = _export(mod, args, kwargs, names, trial)
            except UserError:
                continue
            chosen = trial
            if together is equal:
                break
    return program


def export_for_training(
    mod: Module,
    args: tuple,
    kwargs: dict[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    strict: bool = False,
    **settings: Any,
) -> ExportedProgram:
    """As :func:`export`."""
    return export(mod, args, kwargs, dynamic_shapes=dynamic_shapes, strict=strict)


def _export(mod: Module, args: tuple, kwargs: dict, names: list[str], free: list[dict[int, Any]]) -> ExportedProgram:
    leaves, in_spec = nests.tree_flatten((args, kwargs))
    paths = leaf_names(names, args, kwargs)
    if len(paths) != len(leaves):
        raise UserError("arguments must be nests of tuples, lists and dicts")
    fixed, bounds = _shapes(paths, leaves, free)
    state = _state_of(mod)
    result: dict[str, Any] = {}

    def flat(*given: Any) -> list:
        positional, named = nests.tree_unflatten(given, in_spec)
        out = mod(*positional, **named)
        result["leaves"], result["spec"] = nests.tree_flatten(out)
        return result["leaves"]

    source, made, shapes = _trace(flat, mod, paths, leaves, dynamic=bool(bounds))
    if bounds:
        for others in _others(leaves, free):
            try:
                if _trace(flat, mod, paths, others, dynamic=True)[0] == source:
                    continue
            except (RuntimeError, ValueError, IndexError) as error:
                raise UserError(
                    f"Constraints violated ({', '.join(bounds)})! The program fails for other sizes: {error}"
                ) from error
            raise UserError(
                f"Constraints violated ({', '.join(bounds)})! The program does something else for other sizes: it takes another branch, or "
                "has a number that depends on one. Give the dim as a fixed one, or use Dim.AUTO"
            )
    values = {i: x for i, x in enumerate(leaves) if not isinstance(x, Tensor)}
    recipe = Recipe(source, paths, names, values, fixed, bounds, in_spec, result["spec"], mod.training)
    constants = {f"{LIFTED}{i}": t for i, t in enumerate(made)}
    for path, inner in mod.named_modules():
        for name, value in inner.__dict__.items():
            full = ".".join(p for p in (path, name) if p)
            if isinstance(value, Tensor) and re.search(re.escape(text_of_path(full)) + r"\b", source):
                constants[full] = value
    transient = {
        ".".join(p for p in (path, name) if p) for path, m in mod.named_modules() for name in m._non_persistent_buffers_set
    }
    return ExportedProgram(recipe, state, constants, transient, (args, kwargs), shapes)


def _state_of(mod: Module) -> dict[str, Tensor]:
    return {**dict(mod.named_parameters(remove_duplicate=False)), **dict(mod.named_buffers(remove_duplicate=False))}


def _trace(function: Any, mod: Module, names: list[str], leaves: list, dynamic: bool) -> tuple[str, list[Tensor], dict[str, Any]]:
    extent.exported += 1
    try:
        trace, _, reason = record(function, mod, tuple(leaves), {}, "forward", names, dynamic)
    finally:
        extent.exported -= 1
    if trace is None:
        raise UserError(f"the program cannot be exported: {reason}")
    shapes = {name: dispatch.valueless(t._shape, t._dtype) for name, t in trace.values.items()}
    return trace.source, trace.constants, shapes


def _shapes(names: list[str], leaves: list, free: list[dict[int, Any]]) -> tuple[dict[str, list[Any]], dict[str, tuple[int, int]]]:
    """The sizes that arguments must have, with (symbol, factor, shift) for those that are free; the bounds of the symbols."""
    fixed: dict[str, list[Any]] = {}
    bounds: dict[str, tuple[int, int]] = {}
    roots: dict[str, int] = {}
    for name, x, places_of in zip(names, leaves, free, strict=True):
        if not isinstance(x, Tensor):
            continue
        sizes: list[Any] = list(x.shape)
        for d, what in places_of.items():
            if isinstance(what, Dim):
                symbol, factor, shift, low, high = what.__name__, what.factor, what.shift, what.min, what.max
                root = what.root(sizes[d])
            else:
                symbol, factor, shift = f"s{len(bounds)}", 1, 0
                low, high, root = what.min or 0, what.max or (1 << 62), sizes[d]
            if roots.setdefault(symbol, root) != root:
                raise UserError(
                    f"Constraints violated ({symbol})! {name}.size()[{d}] is {sizes[d]}, where another dim of that name makes it {roots[symbol]}"
                )
            if not low <= root <= high:
                raise UserError(
                    f"Constraints violated ({symbol})! {name}.size()[{d}] is {sizes[d]}, which is not between {low} and {high}"
                )
            sizes[d], bounds[symbol] = (symbol, factor, shift), (low, high)
        fixed[name] = sizes
    return fixed, bounds


def _others(leaves: list, free: list[dict[int, Any]]) -> Iterator[list]:
    """Arguments with other sizes, as far as these are allowed: one more, many more, and few."""
    for change in (lambda n: n + 1, lambda n: 2 * n + 5, lambda n: min(n, 2)):
        made, changed = [], False
        for x, places_of in zip(leaves, free, strict=True):
            for d, what in places_of.items():
                size = x.shape[d]
                low, high = what.min or 0, (1 << 62) if what.max is None else what.max
                root = what.root(size) if isinstance(what, Dim) else size
                new = min(max(change(root), low), high)
                new = what.size(new) if isinstance(what, Dim) else new
                if new != size:
                    index = ops.arange(new) % max(size, 1)
                    x, changed = x.detach().index_select(d, index).requires_grad_(x.requires_grad), True
            made.append(x)
        if changed:
            yield made


# --- files -------------------------------------------------------------------------------------------------------


def save(ep: ExportedProgram, f: Any, *, extra_files: dict[str, Any] | None = None, **settings: Any) -> None:
    """Writes an exported program to a path or a file, for :func:`load`.

    >>> import flambeau as torch, io
    >>> f = io.BytesIO()
    >>> torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.ones(2),)), f)
    >>> _ = f.seek(0)
    >>> torch.export.load(f).module()(torch.tensor([-1.0, 1.0]))
    tensor([0., 1.])
    """
    from flambeau.serialization import save as write

    if not isinstance(ep, ExportedProgram):
        raise TypeError(f"The 'ep' parameter must be an instance of 'ExportedProgram', got '{type(ep).__name__}' instead.")
    r = ep._recipe
    write(
        {
            "flambeau.export": 1, "source": r.source, "leaves": r.leaves, "names": r.names, "values": r.constants, "fixed": r.fixed, "bounds": r.bounds, "in_spec": plain_spec(r.in_spec),
            "out_spec": plain_spec(r.out_spec), "training": r.training, "state": ep._state_dict, "constants": ep._tensors, "transient": sorted(ep._transient),
            "extra": {k: v if isinstance(v, bytes) else str(v).encode() for k, v in (extra_files or {}).items()},
        },
        f,
    )  # fmt: skip


def load(f: Any, *, extra_files: dict[str, Any] | None = None, **settings: Any) -> ExportedProgram:
    """Reads what :func:`save` wrote; nothing of the file is run but the operators that its graph names."""
    from flambeau.serialization import load as read

    data = read(io.BytesIO(f.read()) if hasattr(f, "read") else f)
    if not isinstance(data, dict) or data.get("flambeau.export") != 1:
        raise RuntimeError("the file is not one that flambeau's torch.export.save wrote")
    if extra_files is not None:
        extra_files.update({k: v for k, v in data["extra"].items() if k in extra_files})
    recipe = Recipe(
        data["source"],
        data["leaves"],
        data["names"],
        data["values"],
        data["fixed"],
        data["bounds"],
        spec_of(data["in_spec"]),
        spec_of(data["out_spec"]),
        data["training"],
    )
    return ExportedProgram(recipe, dict(data["state"]), dict(data["constants"]), set(data["transient"]))


def register_dataclass(cls: type, *, serialized_type_name: str | None = None) -> None:
    """Makes a dataclass a nest, so that its instances can be arguments and results.

    >>> import dataclasses
    >>> import flambeau as torch
    >>> @dataclasses.dataclass
    ... class Pair:
    ...     a: torch.Tensor
    ...     b: torch.Tensor
    >>> torch.export.register_dataclass(Pair)
    """
    import dataclasses

    names = [field.name for field in dataclasses.fields(cls)]
    nests.register_pytree_node(
        cls, lambda x: ([getattr(x, n) for n in names], names), lambda parts, context: cls(**dict(zip(context, parts, strict=True)))
    )
