"""Parametrizations: a parameter computed from other, freely trained tensors.

The module's class is replaced by a subclass of its own in which the parameter is a property; the
trained tensors stand in ``module.parametrizations.<name>``.

See https://pytorch.org/tutorials/intermediate/parametrizations.html
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau.autograd import no_grad
from flambeau.nn.modules.container import ModuleDict, ModuleList
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_A_TENSOR = "`right_inverse` should return a tensor."
_EACH_A_TENSOR = "'right_inverse' must return a sequence of tensors."

_cache_depth = 0
_cache: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Within this context each parametrized tensor is computed once."""
    global _cache_depth
    _cache_depth += 1
    try:
        yield
    finally:
        _cache_depth -= 1
        if _cache_depth == 0:
            _cache.clear()


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied one after the other, and what they start from.

    That is ``original``, or ``original0``, ``original1``, ... when ``right_inverse`` of the last
    parametrization gives several tensors.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        pass
        self.is_tensor = isinstance(new, Tensor)
        if self.is_tensor:
            if new.dtype != dtype and not unsafe:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            if new is original:
                self.original = original
            else:
                # The parameter keeps its identity, so that optimizers go on knowing it.
                original.data = new.detach()
                self.original = original
            if not isinstance(original, Parameter):
                del self.original
                self.register_buffer("original", original)
        else:
            if not isinstance(new, Sequence):
                raise ValueError(
                    f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got {type(new).__name__}"
                )
            self.ntensors = len(new)
            for i, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors "
                        f"(list, tuple...). Got element {i} of the sequence with type "
                        f"{type(part).__name__}."
                    )
                if isinstance(original, Parameter):
                    part = Parameter(part, original.requires_grad)
                part.requires_grad_(original.requires_grad)
                _register(self, f"original{i}", part)
        if not unsafe:
            result = self()
            if not isinstance(result, Tensor):
                raise ValueError(f"A parametrization must return a tensor. Got {type(result).__name__}.")
            if result.dtype != dtype:
                raise ValueError(
                    "Registering a parametrization may not change the dtype of the tensor, unless "
                    f"`unsafe` flag is enabled.\nunparametrized dtype: {dtype}\n"
                    f"parametrized dtype: {result.dtype}"
                )
            if result.shape != shape:
                raise ValueError(
                    "Registering a parametrization may not change the shape of the tensor, unless "
                    f"`unsafe` flag is enabled.\nunparametrized shape: {shape}\n"
                    f"parametrized shape: {result.shape}"
                )

    def right_inverse(self, value: Tensor) -> None:
        """Set the trained tensors so that the parametrized one becomes `value`."""
        with no_grad():
            new: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                new = module.right_inverse(new)
            if self.is_tensor:
                self._assign("original", new, "The tensor returned by `right_inverse`", _A_TENSOR)
                return
            if not isinstance(new, Sequence):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(new).__name__}.")
            if len(new) != self.ntensors:
                raise ValueError(
                    f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. "
                    f"Got a sequence of length {len(new)}."
                )
            for i, part in enumerate(new):
                self._assign(f"original{i}", part, f"Tensor {i} returned by `right_inverse`", _EACH_A_TENSOR)

    def _assign(self, name: str, value: Any, what: str, wanted: str) -> None:
        original = getattr(self, name)
        if not isinstance(value, Tensor):
            raise ValueError(f"{wanted} Got {type(value).__name__}")
        if value.dtype != original.dtype:
            raise ValueError(f"{what} has dtype {value.dtype} while `{name}` has dtype {original.dtype}")
        original.data = value.detach()  # which may be of another shape

    def forward(self) -> Tensor:
        modules = list(self)
        if self.is_tensor:
            value = modules[0](self.original)
        else:
            value = modules[0](*[getattr(self, f"original{i}") for i in range(self.ntensors)])
        for module in modules[1:]:
            value = module(value)
        return value


def _give_own_class(module: Module) -> None:
    """Make the module the one instance of a new subclass of its class."""
    cls = type(module)

    def copied(self: Module, memo: dict) -> Module:
        if id(self) in memo:
            return memo[id(self)]
        new = self.__new__(type(self))
        memo[id(self)] = new
        new.__dict__ = copy.deepcopy(self.__dict__, memo)
        return new

    def state(self: Module) -> dict:
        raise RuntimeError("Serialization of parametrized modules is only supported through state_dict().")

    members: dict[str, Any] = {"__getstate__": state}
    if "__deepcopy__" not in vars(cls):
        members["__deepcopy__"] = copied
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)


def _add_property(module: Module, name: str) -> None:
    def compute(self: Module) -> Tensor:
        if not _cache_depth:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def assign(self: Module, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(compute, assign))


def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> Module:
    """Compute the parameter or buffer `tensor_name` of `module` by `parametrization` from now on.

    Several parametrizations of one tensor are applied in the order of registration. Assigning to
    the tensor calls their ``right_inverse``.

    Args:
        unsafe: leave out the check that shape and dtype stay the same.

    >>> import flambeau as torch
    >>> class Symmetric(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).t()
    >>> fc = torch.nn.Linear(3, 3)
    >>> _ = torch.nn.utils.parametrize.register_parametrization(fc, "weight", Symmetric())
    >>> bool((fc.weight == fc.weight.t()).all())
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        steps = module.parametrizations[tensor_name]
        if not unsafe:
            _check_step(module, tensor_name, parametrization)
        steps.append(parametrization)
        steps.unsafe |= unsafe
    elif tensor_name in module._parameters or tensor_name in module._buffers:
        original = getattr(module, tensor_name)
        steps = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _give_own_class(module)
            module.parametrizations = ModuleDict()
        _add_property(module, tensor_name)
        module.parametrizations[tensor_name] = steps
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'"
        )
    return module


def _check_step(module: Module, name: str, step: Module) -> None:
    """Raises ``ValueError`` where a further parametrization does not keep the dtype and the shape, there and back."""
    before = getattr(module, name)
    after = step(before)
    if not isinstance(after, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(after).__name__}.")
    own = f"module.{name}"
    _require_alike(
        "Registering a parametrization may not change the {} of the tensor",
        {f"{own}.{{}}": before, f"parametrization({own}).{{}}": after},
    )
    if not hasattr(step, "right_inverse"):
        return
    try:
        back = step.right_inverse(after)
    except NotImplementedError:
        return
    if not isinstance(back, Tensor):
        raise ValueError(f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}")
    _require_alike(
        f"The tensor returned by parametrization.right_inverse must have the same {{}} as {own}",
        {f"{own}.{{}}": before, "returned {}": back},
    )


def _require_alike(rule: str, tensors: dict[str, Tensor]) -> None:
    """Raises ``ValueError`` where two tensors, by their names, differ in dtype or shape, which breaks ``rule``."""
    for what in ("dtype", "shape"):
        values = {name: getattr(t, what) for name, t in tensors.items()}
        first, second = values.values()
        if first != second:
            told = "".join([f"\n{name.format(what)}: {value}" for name, value in values.items()])
            raise ValueError(f"{rule.format(what)}, unless the `unsafe` flag is enabled.{told}")


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether `module` has a parametrization, or one of `tensor_name`."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    if tensor_name is None:
        return len(parametrizations) > 0
    return tensor_name in parametrizations


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make `tensor_name` a parameter of its own again.

    Args:
        leave_parametrized: with the value that the parametrizations compute, else the original's.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    steps = module.parametrizations[tensor_name]
    if not steps.is_tensor and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor "
            "that is parametrized in terms of a sequence of tensors."
        )
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach()
    if steps.is_tensor:
        original = steps.original
        if leave_parametrized:
            original.data = value
    else:
        original = Parameter(value) if steps.original0.requires_grad else value
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module had before its first parametrization."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module: Module, to_module: Module, tensor_name: str | None = None) -> Module:
    """Give `to_module` the parametrizations of `from_module` and the tensors behind them."""
    if not is_parametrized(from_module):
        return to_module
    names = list(from_module.parametrizations) if tensor_name is None else [tensor_name]
    for name in names:
        steps = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        for step in steps:
            register_parametrization(to_module, name, step)
        target = to_module.parametrizations[name]
        for key, tensor in steps._parameters.items():
            target._parameters[key] = tensor
        for key, tensor in steps._buffers.items():
            target._buffers[key] = tensor
    return to_module
