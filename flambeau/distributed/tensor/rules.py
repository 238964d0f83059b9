"""What calls mean of tensors that lie on several processes.

What works element by element is computed of the parts. What makes tensors like others makes parts like theirs. Norms are made of
norms of parts. For everything else each process gathers what it lacks and computes all, which is always right: the result is
replicated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import ops
from flambeau.autograd import no_grad
from flambeau.core.size import broadcast_shapes
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.placements import Partial, Replicate, Shard
from flambeau.distributed.tensor.dtensor import DTensor, divided
from flambeau.distributed.tensor.redistribution import Placements, moved, part_of
from flambeau.tensor import Tensor

__all__ = ["apply", "lay"]

_LIKE = frozenset(
    "zeros_like ones_like empty_like full_like clone contiguous to float double half bfloat16 type_as detach requires_grad_ retain_grad".split()
)
_FILLING = frozenset("zero_ fill_ detach_".split())
_VALUED = frozenset("ones_like full_like empty_like fill_".split())
_DRAWING = frozenset("normal_ uniform_ trunc_normal_ kaiming_uniform_ kaiming_normal_ xavier_uniform_ xavier_normal_ orthogonal_ eye_ constant_ ones_ zeros_ "
                     "bernoulli_ exponential_ log_normal_ cauchy_ geometric_ random_ sparse_ dirac_ no_grad_uniform_ no_grad_normal_".split())  # fmt: skip
_NORMS = frozenset(("vector_norm", "norm"))


def apply(function: Callable, args: tuple, kwargs: dict) -> Any:
    """What ``function`` gives, of arguments of which some are :class:`DTensor`."""
    name = getattr(function, "__name__", "")
    if name == "__get__":  # a property that DTensor does not have itself
        return _everywhere(function, args, kwargs)
    first = next(_divided((args, kwargs)))
    if name in _LIKE or name in _FILLING:
        return _local(function, name, first, args, kwargs)
    if name == "copy_":
        return _copy(*args, **kwargs)
    if name in _DRAWING:
        return _draw(function, args, kwargs)
    if name == "_total_norm":
        return _total_norm(*args, **kwargs)
    if name in _NORMS and (result := _norm(function, args, kwargs)) is not None:
        return result
    record = getattr(function, "op", None)
    if record is not None and record.form == "pointwise":
        return _pointwise(function, name, args, kwargs)
    if name.endswith("_") and not name.endswith("__"):
        raise NotImplementedError(f"{name} of a DTensor: use to_local(), or the form that is not in place")
    return _everywhere(function, args, kwargs)


def _divided(values: Any) -> Any:
    """The DTensors in nests."""
    if isinstance(values, DTensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _divided(value)
    elif isinstance(values, dict):
        for value in values.values():
            yield from _divided(value)


def _mapped(values: Any, change: Callable[[DTensor], Any]) -> Any:
    """Nests with all DTensors changed."""
    if isinstance(values, DTensor):
        return change(values)
    if type(values) in (list, tuple):
        return type(values)(_mapped(value, change) for value in values)
    if type(values) is dict:
        return {key: _mapped(value, change) for key, value in values.items()}
    return values


def _local(function: Callable, name: str, like: DTensor, args: tuple, kwargs: dict) -> Any:
    """Of the parts, which stay where they are."""
    if name in _VALUED and any(isinstance(p, Partial) for p in like.placements):
        if name == "fill_":
            raise RuntimeError(f"fill_: what lies by {like.placements} cannot be written to; redistribute it first")
        return _everywhere(function, args, kwargs)  # a sum of ones is not one
    result = function(*_mapped(args, lambda t: t._v), **_mapped(kwargs, lambda t: t._v))
    if result is like._v:
        return like
    return like._with(result) if isinstance(result, Tensor) else result


def _without_sums(placements: Placements) -> Placements:
    return tuple(Replicate() if isinstance(p, Partial) else p for p in placements)


def _pointwise(function: Callable, name: str, args: tuple, kwargs: dict) -> Any:
    """Of the parts: those of the largest tensor stay where they are, the others come to them."""
    operands = [x for x in args if isinstance(x, Tensor)] + [x for x in kwargs.values() if isinstance(x, Tensor)]
    writes = name.endswith("_") and not name.endswith("__")
    given = [t for t in operands if isinstance(t, DTensor)]
    lead = args[0] if writes and isinstance(args[0], DTensor) else max(given, key=lambda t: (t.numel(), t.dim()))
    if writes and lead is not args[0]:
        raise RuntimeError(f"{name}: a DTensor cannot be written into a plain tensor: use full_tensor() or to_local()")
    shape, mesh = broadcast_shapes(*[t.shape for t in operands]), lead.device_mesh
    laid = _without_sums(lead.placements)
    if tuple(shape) != tuple(lead.shape):
        laid = tuple(Replicate() for _ in laid)
    if writes and laid != lead.placements:
        raise RuntimeError(f"{name}: what lies by {lead.placements} cannot be written to; redistribute it first")

    def fitted(x: Any) -> Any:
        if isinstance(x, DTensor):
            return _fitted(x, shape, mesh, laid)
        if isinstance(x, Tensor) and x.dim():
            raise RuntimeError(
                f"{name}: got mixed torch.Tensor and DTensor, need to convert all torch.Tensor to DTensor before calling distributed operators!"
            )
        return x

    result = function(*map(fitted, args), **{key: fitted(value) for key, value in kwargs.items()})
    return lead if writes else divided(result, shape, mesh, laid)


def _fitted(t: DTensor, shape: Any, mesh: DeviceMesh, laid: Placements) -> Tensor:
    """The part of ``t`` that meets the part of a tensor of ``shape``, with which it is broadcast."""
    if t.device_mesh != mesh:
        raise RuntimeError("DTensors of different meshes: redistribute cannot move between them")
    offset = len(shape) - t.dim()
    own = tuple(
        Shard(p.dim - offset) if isinstance(p, Shard) and p.dim >= offset and t.shape[p.dim - offset] != 1 else Replicate()
        for p in laid
    )
    return t._laid(own)._v


def _copy(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    if not isinstance(target, DTensor):
        assert isinstance(source, DTensor)
        return target.copy_(source.full_tensor())
    if not isinstance(source, DTensor):
        source = divided(
            lay(source.expand(target.shape), target.device_mesh, _without_sums(target.placements)),
            target.shape,
            target.device_mesh,
            target.placements,
        )
    target._v.copy_(_fitted(source, target.shape, target.device_mesh, target.placements))
    return target


def lay(whole: Tensor, mesh: DeviceMesh, placements: Placements) -> Tensor:
    """The part of this process of a tensor that all have."""
    for dim, placement in enumerate(placements):
        if isinstance(placement, Shard):
            place = mesh.get_coordinate()
            assert place is not None
            whole = part_of(whole, placement.dim, mesh.size(dim), place[dim])
    return whole


def _draw(function: Callable, args: tuple, kwargs: dict) -> Tensor:
    """Fills a tensor as its whole would be filled: each process draws all of it, and keeps its part."""
    target = next(iter(_divided((args, kwargs))))
    whole = ops.empty(target.shape, dtype=target.dtype)
    swapped = lambda t: whole if t is target else t.full_tensor()  # noqa: E731
    with no_grad():
        function(*_mapped(args, swapped), **_mapped(kwargs, swapped))
        target._v.copy_(lay(whole, target.device_mesh, target.placements))
    return target


def _norm(function: Callable, args: tuple, kwargs: dict) -> DTensor | None:
    """The norm of all elements, from norms of parts; ``None`` where that is not what is wanted."""
    t = args[0] if args else kwargs.get("input", kwargs.get("x"))
    order = args[1] if len(args) > 1 else kwargs.get("ord", kwargs.get("p", 2))
    plain = all(kwargs.get(name) is None for name in ("dim", "dtype", "out")) and not kwargs.get("keepdim") and len(args) < 3
    order = 2 if order in (None, "fro") else order
    return _total_norm(t, ord=order) if plain and isinstance(t, DTensor) and not isinstance(order, str) and order > 0 else None


def _total_norm(*tensors: Tensor, ord: float) -> DTensor:
    r"""The norm of tensors as if they were one vector, from norms of parts: :math:`(\sum_i |x_i|^p)^{1/p}`, or the greatest for
    infinity."""
    mesh = next(_divided(tensors)).device_mesh
    largest = ord == float("inf")
    kinds: dict[Placements, list[Tensor]] = {}
    for t in tensors:
        if isinstance(t, DTensor):
            if t.device_mesh != mesh:
                raise RuntimeError("the norm of DTensors of different meshes: compute one for each mesh")
            t = t._laid(_without_sums(t.placements))
        laid = (
            tuple(Partial("max" if largest else "sum") if isinstance(p, Shard) else Replicate() for p in t.placements)
            if isinstance(t, DTensor)
            else (Replicate(),) * mesh.ndim
        )
        kinds.setdefault(laid, []).append(t._v if isinstance(t, DTensor) else t)
    totals = []
    for laid, parts in kinds.items():
        norms = [ops.norm(part, ord) for part in parts if part.numel()]
        total = ops.norm(ops.stack(norms), ord) if norms else ops.zeros((), dtype=parts[0].dtype)
        totals.append(moved(total if largest else total**ord, (), mesh, laid, _without_sums(laid)))
    total = ops.stack(totals).max() if largest else ops.stack(totals).sum() ** (1.0 / ord)
    return divided(total, total.shape, mesh, (Replicate(),) * mesh.ndim)


def _everywhere(function: Callable, args: tuple, kwargs: dict) -> Any:
    """Of the whole, in each process."""
    mesh = next(iter(_divided((args, kwargs)))).device_mesh
    laid = (Replicate(),) * mesh.ndim
    result = function(*_mapped(args, lambda t: t._laid(laid)._v), **_mapped(kwargs, lambda t: t._laid(laid)._v))

    def wrapped(x: Any) -> Any:
        if isinstance(x, Tensor):
            return divided(x, x.shape, mesh, laid)
        return tuple(map(wrapped, x)) if type(x) is tuple else [*map(wrapped, x)] if type(x) is list else x

    return wrapped(result)
