"""A module called with other parameters than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with the given tensors in the place of its own for this call.

    Args:
        parameters_and_buffers: tensors by the names of ``named_parameters`` and ``named_buffers``.
        args: the arguments; one that is not a tuple counts as the only one.
        tie_weights: a tensor that stands under several names is replaced under all of them.
        strict: raise unless all names are given, and no others, which are ignored otherwise.

    >>> import flambeau as torch
    >>> fc = torch.nn.Linear(1, 1)
    >>> values = {"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])}
    >>> torch.nn.utils.stateless.functional_call(fc, values, torch.tensor([3.0]))
    tensor([7.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.functional_call.html
    """
    if isinstance(parameters_and_buffers, Mapping):
        given = dict(parameters_and_buffers)
    else:
        given = {name: t for part in parameters_and_buffers for name, t in part.items()}
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _reparametrize_module(module, given, tie_weights=tie_weights, strict=strict):
        return module(*args, **(kwargs or {}))


@contextmanager
def _reparametrize_module(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor],
    *,
    tie_weights: bool = False,
    strict: bool = False,
    stack_weights: bool = False,
) -> Iterator[None]:
    """``module`` has the given tensors in the place of its own inside of the block.

    What the module itself puts there meanwhile (running statistics) is in ``parameters_and_buffers`` afterwards.

    Args:
        stack_weights: as in PyTorch, the order in which tensors come back; here it makes no difference.
    """
    given, own = dict(parameters_and_buffers), _places(module)
    unexpected = [name for name in given if name not in own]
    missing = [name for name in own if name not in given]
    if strict and (unexpected or missing):
        problems = [f"Unexpected key(s): {', '.join(map(repr, unexpected))}."] if unexpected else []
        problems += [f"Missing key(s): {', '.join(map(repr, missing))}."] if missing else []
        listed = "\n\t".join(problems)
        raise RuntimeError(f"Error(s) in reparametrizing for {type(module).__name__}:\n\t{listed}")
    for name in unexpected:
        del given[name]
    if tie_weights:
        by_tensor = {id(own[name][0][own[name][1]]): t for name, t in given.items()}
        for name, (registry, key) in own.items():
            if name not in given and id(registry[key]) in by_tensor:
                given[name] = by_tensor[id(registry[key])]

    replaced = []
    try:
        for name, tensor in given.items():
            registry, key = own[name]
            replaced.append((name, registry, key, registry[key]))
            registry[key] = tensor
        yield
    finally:
        for name, registry, key, tensor in reversed(replaced):
            if name in parameters_and_buffers and registry[key] is not given[name]:
                parameters_and_buffers[name] = registry[key]  # type: ignore[index]
            registry[key] = tensor


def _places(module: Module) -> dict[str, tuple[dict, str]]:
    """Where the tensor of each name stands: the dict that holds it, and its key there."""
    places = {}
    for path, submodule in module.named_modules(remove_duplicate=False):
        dot = path + "." if path else ""
        for registry in (submodule._parameters, submodule._buffers):
            for key, tensor in registry.items():
                if tensor is not None:
                    places[dot + key] = (registry, key)
    return places
