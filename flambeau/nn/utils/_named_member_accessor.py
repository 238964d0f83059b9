"""Tensors and submodules of a module by their full names: read, set, swapped and deleted.

>>> import flambeau as torch
>>> from flambeau.nn.utils._named_member_accessor import NamedMemberAccessor
>>> net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU())
>>> accessor = NamedMemberAccessor(net)
>>> before = accessor.swap_tensor("0.bias", torch.ones(1))
>>> type(before).__name__, net[0].bias
('Parameter', tensor([1.]))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["NamedMemberAccessor", "set_tensor", "swap_submodule", "swap_tensor"]

_MISSING: Any = object()


def _checked(module: Module, name: str, what: str = "tensor") -> None:
    if not isinstance(module, Module):
        raise TypeError(f"{module} is not an instance of torch.nn.Module")
    if "." in name:
        raise KeyError(f'{what} name can\'t contain "."')
    if not name:
        raise KeyError(f'{what} name can\'t be empty string ""')


def _is_tensor(value: Any, prefix: str = "") -> None:
    if value is not _MISSING and value is not None and not isinstance(value, Tensor):
        raise TypeError(f"{prefix}{value} is not an instance of torch.Tensor")


def _registry(module: Module, name: str) -> dict[str, Any] | None:
    """The parameters or buffers among which the name is, if any."""
    return next((names for names in (module._parameters, module._buffers) if name in names), None)


def set_tensor(module: Module, name: str, tensor: Tensor | None) -> None:
    """Puts a tensor into the place of the parameter, buffer or attribute of that name."""
    _is_tensor(tensor)
    _checked(module, name)
    registry = _registry(module, name)
    if registry is None:
        setattr(module, name, tensor)
    else:
        registry[name] = tensor


def swap_tensor(module: Module, name: str, tensor: Tensor | None, allow_missing: bool = False) -> Tensor | None:
    """Puts a tensor into the place of that name, as :func:`set_tensor`, and returns what was there before.

    Raises:
        AttributeError: nothing was there (unless ``allow_missing``).
        TypeError: it was no tensor.
    """
    _is_tensor(tensor)
    _checked(module, name)
    registry = _registry(module, name)
    if registry is not None:
        before = registry[name]
        if tensor is _MISSING:
            del registry[name]
        else:
            registry[name] = tensor
        return before
    before = getattr(module, name, _MISSING)
    if before is _MISSING and not allow_missing:
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    _is_tensor(before, f"attribute `{name}`: ")
    if tensor is not _MISSING:
        setattr(module, name, tensor)
    elif before is not _MISSING:
        delattr(module, name)
    return before


def swap_submodule(module: Module, name: str, submodule: Module) -> Module:
    """Puts a module into the place of the one of that name, and gives the one that was there."""
    if not isinstance(submodule, Module):
        raise TypeError(f"{submodule} is not an instance of torch.nn.Module")
    _checked(module, name, "submodule")
    if name not in module._modules:
        raise KeyError(f"submodule {name} does not exist")
    before = module._modules[name]
    if not isinstance(before, Module):
        raise TypeError(f"{name} attribute is not an instance of torch.nn.Module")
    module._modules[name] = submodule
    return before


class NamedMemberAccessor:
    """The tensors and submodules of a module by full names, as ``layers.0.weight``."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.memo: dict[str, Module] = {}

    def get_submodule(self, name: str) -> Module:
        """The submodule of that name; ``""`` is the module itself."""
        if name not in self.memo:
            prefix, _, attribute = name.rpartition(".")
            owner = self.get_submodule(prefix) if prefix else self.module
            found = getattr(owner, attribute, _MISSING) if name else self.module
            if found is _MISSING:
                raise AttributeError(f"{owner._get_name()} has no attribute `{attribute}`")
            if not isinstance(found, Module):
                raise TypeError(f"submodule `{name}`: {found} is not an instance of torch.nn.Module")
            self.memo[name] = found
        return self.memo[name]

    def _place(self, name: str) -> tuple[Module, str]:
        prefix, _, attribute = name.rpartition(".")
        return self.get_submodule(prefix), attribute

    def swap_submodule(self, path: str, value: Module) -> Module:
        """Puts a submodule into a place, and gives the one that was there."""
        owner, attribute = self._place(path)
        self.memo.clear()
        return swap_submodule(owner, attribute, value)

    def get_tensor(self, name: str) -> Tensor:
        """The tensor of that name."""
        owner, attribute = self._place(name)
        if not hasattr(owner, attribute):
            raise AttributeError(f"{owner._get_name()} has no attribute `{name}`")
        tensor = getattr(owner, attribute)
        _is_tensor(tensor)
        return tensor

    def set_tensor(self, name: str, value: Tensor) -> None:
        """Puts a tensor into a place."""
        set_tensor(*self._place(name), value)

    def del_tensor(self, name: str) -> None:
        """Takes a tensor away."""
        owner, attribute = self._place(name)
        swap_tensor(owner, attribute, _MISSING)

    def swap_tensor(self, name: str, value: Tensor | None, allow_missing: bool = False) -> Tensor | None:
        """Puts a tensor into a place, and gives the one that was there."""
        return swap_tensor(*self._place(name), value, allow_missing=allow_missing)

    def get_tensors(self, names: Iterable[str]) -> list[Tensor]:
        """Several at once."""
        return [self.get_tensor(name) for name in names]

    def set_tensors(self, names: Iterable[str], values: Iterable[Tensor]) -> None:
        """Several at once."""
        self.set_tensors_dict(dict(zip(list(names), list(values), strict=True)))

    def set_tensors_dict(self, named_tensors: dict[str, Tensor]) -> None:
        """Several at once."""
        for name, value in named_tensors.items():
            self.set_tensor(name, value)

    def del_tensors(self, names: Iterable[str]) -> None:
        """Several at once."""
        for name in names:
            self.del_tensor(name)

    def swap_tensors(self, names: Iterable[str], values: Iterable[Tensor], allow_missing: bool = False) -> list[Tensor | None]:
        """Several at once."""
        return [self.swap_tensor(name, value, allow_missing) for name, value in zip(list(names), list(values), strict=True)]

    def swap_tensors_dict(
        self, named_tensors: dict[str, Tensor], allow_missing: bool = False
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Several at once: what was there, and the names where nothing was. Where one cannot be swapped, none is."""
        before: dict[str, Any] = {}
        try:
            for name, tensor in named_tensors.items():
                before[name] = self.swap_tensor(name, tensor, allow_missing=True)
            missing = [name for name, tensor in before.items() if tensor is _MISSING]
            if missing and not allow_missing:
                raise RuntimeError(f"Missing key(s): {', '.join(map(repr, missing))}.")
        except Exception:
            for name, tensor in before.items():
                self.swap_tensor(name, tensor, allow_missing=True)
            raise
        return before, missing

    def check_keys(self, keys: Iterable[str]) -> tuple[list[str], list[str]]:
        """The names of tensors that ``keys`` lacks, and the ones that no tensor has."""
        given, own = set(keys), {name for name, _ in self.named_tensors(remove_duplicate=False)}
        return sorted(own - given), sorted(given - own)

    def named_parameters(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """The parameters with their full names."""
        yield from self.module.named_parameters(remove_duplicate=remove_duplicate)

    def named_buffers(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their full names."""
        yield from self.module.named_buffers(remove_duplicate=remove_duplicate)

    def named_tensors(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers with their full names."""
        yield from self.named_parameters(remove_duplicate)
        yield from self.named_buffers(remove_duplicate)

    def named_modules(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """The modules with their full names."""
        yield from self.module.named_modules(remove_duplicate=remove_duplicate)
