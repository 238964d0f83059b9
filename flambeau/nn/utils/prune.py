"""Pruning: a parameter of which some elements are held at zero by a mask.

``module.weight`` becomes ``weight_orig`` (a parameter) times ``weight_mask`` (a buffer), computed before each forward by a
hook. Pruning a parameter again masks more of what is left.

Source: https://docs.pytorch.org/docs/stable/nn.html#utilities and its pruning tutorial.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any

from flambeau import ops
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.convert_parameters import parameters_to_vector
from flambeau.tensor import Tensor

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured", "PruningContainer", "RandomStructured",
    "RandomUnstructured", "custom_from_mask", "global_unstructured", "identity", "is_pruned", "l1_unstructured", "ln_structured",
    "random_structured", "random_unstructured", "remove",
]  # fmt: skip


class BasePruningMethod(ABC):
    """A way to choose what is pruned; a subclass defines ``compute_mask`` and says by ``PRUNING_TYPE`` what it is asked about.

    ``"unstructured"``: the elements that are left, in a row; ``"structured"``: the slices along ``dim`` that are left;
    ``"global"``: all.
    """

    PRUNING_TYPE: str
    _tensor_name: str | None = None

    def __call__(self, module: Module, inputs: Any) -> None:
        """The hook before forward: computes the parameter."""
        setattr(module, self._name, self.apply_mask(module))

    @property
    def _name(self) -> str:
        if self._tensor_name is None:
            raise AssertionError("The module has to be pruned")
        return self._tensor_name

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The new mask for values (or importance scores) ``t`` of which ``default_mask`` has been kept so far."""

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter of ``module`` with zeros where it is pruned."""
        original, mask = getattr(module, f"{self._name}_orig"), getattr(module, f"{self._name}_mask")
        return mask.to(dtype=original.dtype) * original

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prunes ``module.name``, on top of what has pruned it before, and returns the hook that keeps it so."""
        new = cls(*args, **kwargs)
        new._tensor_name = name
        current = getattr(module, name)
        scores = current if importance_scores is None else importance_scores
        if scores.shape != current.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}, got {scores.shape} vs {current.shape}"
            )
        earlier = _hook_of(module, name)
        if earlier is None:
            method, mask = new, ops.ones_like(current)
            module.register_parameter(f"{name}_orig", current)
            del module._parameters[name]
        else:
            key, hook = earlier
            del module._forward_pre_hooks[key]
            method = hook if isinstance(hook, PruningContainer) else PruningContainer(hook)
            method.add_pruning_method(new)
            mask = getattr(module, f"{name}_mask").detach().clone()
        try:
            module.register_buffer(f"{name}_mask", method.compute_mask(scores, default_mask=mask))
            setattr(module, name, method.apply_mask(module))
            module.register_forward_pre_hook(method)
        except Exception:
            if earlier is None:
                module.register_parameter(name, module._parameters.pop(f"{name}_orig"))
            raise
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """``t`` with zeros where it is pruned."""
        scores = t if importance_scores is None else importance_scores
        if scores.shape != t.shape:
            raise AssertionError(f"importance_scores should have the same shape as tensor t, got {scores.shape} vs {t.shape}")
        return t * self.compute_mask(scores, default_mask=ops.ones_like(t) if default_mask is None else default_mask)

    def remove(self, module: Module) -> None:
        """Makes the pruned parameter a plain one again; what is zero stays so."""
        name = self._name
        pruned = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(f"{name}_orig")
        del module._buffers[f"{name}_mask"]
        assert original is not None
        original.data = pruned.data
        setattr(module, name, original)


def _hook_of(module: Module, name: str) -> tuple[int, BasePruningMethod] | None:
    """The hook that prunes ``module.name``, and its key."""
    found = [(k, h) for k, h in module._forward_pre_hooks.items() if isinstance(h, BasePruningMethod) and h._tensor_name == name]
    if len(found) > 1:
        raise AssertionError(
            f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. Use a PruningContainer."
        )
    return found[0] if found else None


class PruningContainer(BasePruningMethod):
    """The methods that have pruned one parameter, in their order. The mask is the last one's, of what the others have left."""

    def __init__(self, *methods: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if len(methods) == 1:
            self._tensor_name = methods[0]._tensor_name
        for method in methods:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        if method is not None and not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to PruningContainer {self}. "
                f"Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)  # type: ignore[operator]

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, index: int) -> BasePruningMethod:
        return self._pruning_methods[index]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        method = self._pruning_methods[-1]
        kind = method.PRUNING_TYPE
        where: Any
        if kind == "unstructured":
            where = default_mask == 1
        elif kind == "structured":
            where = _left_slices(method, default_mask)
        elif kind == "global":
            where = (slice(None),) * t.dim()
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {kind}")
        mask = default_mask.to(dtype=t.dtype)
        mask[where] = method.compute_mask(t[where], default_mask=default_mask[where]).to(dtype=mask.dtype)
        return mask


def _left_slices(method: BasePruningMethod, mask: Tensor) -> tuple:
    """The index of the slices along the method's dim of which something is left."""
    if not hasattr(method, "dim"):
        raise AttributeError('Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` defined.')
    n = mask.dim()
    dim = method.dim + n if method.dim < 0 else method.dim
    if dim < 0:
        raise IndexError(f"Index is out of bounds for tensor with dimensions {n}")
    left = mask.sum(dim=[d for d in range(n) if d != dim]) != 0
    return (*[slice(None)] * dim, left, *[slice(None)] * (n - dim - 1))


# --- how much ----------------------------------------------------------------------------------------------------


def _validate_pruning_amount_init(amount: Any) -> None:
    if not isinstance(amount, Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    if amount < 0 or not isinstance(amount, Integral) and amount > 1:  # type: ignore[operator]  # of which Real says nothing
        raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")


def _validate_pruning_amount(amount: Any, tensor_size: int) -> None:
    if isinstance(amount, Integral) and amount > tensor_size:  # type: ignore[operator]
        raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={tensor_size}")


def _compute_nparams_toprune(amount: Any, tensor_size: int) -> int:
    """A number as it is, or a share of ``tensor_size``."""
    return amount if isinstance(amount, Integral) else round(amount * tensor_size)  # type: ignore[return-value]


def _validate_structured_pruning(t: Tensor) -> None:
    if t.dim() <= 1:
        raise ValueError(
            f"Structured pruning can only be applied to multidimensional tensors. Found tensor of shape {t.shape} with {t.dim()} dims"
        )


def _validate_pruning_dim(t: Tensor, dim: int) -> None:
    if dim >= t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")


def _compute_norm(t: Tensor, n: Any, dim: int) -> Tensor:
    """The norm of each slice along ``dim``."""
    return ops.norm(t, p=n, dim=[d for d in range(t.dim()) if d != dim % t.dim()])


class _Some(BasePruningMethod):
    """A method that prunes an amount: so many, or a share."""

    def __init__(self, amount: float) -> None:
        _validate_pruning_amount_init(amount)
        self.amount = amount

    def _number(self, size: int) -> int:
        number = _compute_nparams_toprune(self.amount, size)
        _validate_pruning_amount(number, size)
        return number


# --- single elements ---------------------------------------------------------------------------------------------


class Identity(BasePruningMethod):
    """Prunes nothing, with all that pruning brings along."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Elements(_Some):
    PRUNING_TYPE = "unstructured"

    def _chosen(self, t: Tensor, number: int) -> Tensor:
        """The places of so many elements, in a row of all."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        number = self._number(t.nelement())
        mask = default_mask.clone()
        if number:
            mask.view(-1)[self._chosen(t, number)] = 0
        return mask


class RandomUnstructured(_Elements):
    """Prunes elements at random."""

    def _chosen(self, t: Tensor, number: int) -> Tensor:
        return ops.topk(ops.rand_like(t).view(-1), k=number).indices


class L1Unstructured(_Elements):
    """Prunes the elements that are nearest to zero."""

    def _chosen(self, t: Tensor, number: int) -> Tensor:
        return ops.topk(ops.abs(t).view(-1), k=number, largest=False).indices


class CustomFromMask(BasePruningMethod):
    """Prunes what a given mask has zeros for."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        assert default_mask.shape == self.mask.shape
        return default_mask * self.mask.to(dtype=default_mask.dtype)


# --- slices ------------------------------------------------------------------------------------------------------


class _Slices(_Some):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def _kept(self, t: Tensor, number: int) -> Tensor:
        """An index of the slices that stay when so many are pruned."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        _validate_structured_pruning(t)
        _validate_pruning_dim(t, self.dim)
        number = self._number(t.shape[self.dim])
        if not number:
            return default_mask
        mask = ops.zeros_like(t)
        where: list = [slice(None)] * t.dim()
        where[self.dim] = self._kept(t, number)
        mask[tuple(where)] = 1
        return mask * default_mask.to(dtype=mask.dtype)


class RandomStructured(_Slices):
    """Prunes slices along ``dim`` at random."""

    def _kept(self, t: Tensor, number: int) -> Tensor:
        drawn = ops.rand(t.shape[self.dim])
        return drawn > ops.kthvalue(drawn, k=number).values


class LnStructured(_Slices):
    """Prunes the slices along ``dim`` of the least ``n``-norm."""

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def _kept(self, t: Tensor, number: int) -> Tensor:
        return ops.topk(_compute_norm(t, self.n, self.dim), k=t.shape[self.dim] - number).indices


# --- functions ---------------------------------------------------------------------------------------------------


def identity(module: Module, name: str) -> Module:
    """Prepares ``module.name`` for pruning and prunes nothing."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prunes ``amount`` elements of ``module.name`` at random."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Tensor | None = None) -> Module:
    """Prunes the ``amount`` elements of ``module.name`` that are nearest to zero (or of the least importance).

    >>> import flambeau as torch
    >>> from flambeau.nn.utils import prune
    >>> fc = prune.l1_unstructured(torch.nn.Linear(2, 3), "weight", amount=2)
    >>> sorted(fc.state_dict()), int((fc.weight == 0).sum())
    (['bias', 'weight_mask', 'weight_orig'], 2)
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prunes ``amount`` slices of ``module.name`` along ``dim`` at random."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: Module, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None) -> Module:
    """Prunes the ``amount`` slices of ``module.name`` along ``dim`` of the least ``n``-norm."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prunes what ``mask`` has zeros for."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]], pruning_method: type[BasePruningMethod],
    importance_scores: dict | None = None, **kwargs: Any,
) -> None:  # fmt: skip
    """Prunes several parameters, given as ``(module, name)``, as if they were one."""
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    parameters = list(parameters)
    given = {} if importance_scores is None else importance_scores
    if not isinstance(given, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    tensors = [getattr(module, name) for module, name in parameters]
    scores = parameters_to_vector([given.get(key, t) for key, t in zip(parameters, tensors, strict=True)])
    masks = [getattr(module, f"{name}_mask", ops.ones_like(t)) for (module, name), t in zip(parameters, tensors, strict=True)]
    mask = PruningContainer(method).compute_mask(scores, parameters_to_vector(masks))
    for (module, name), t, part in zip(parameters, tensors, mask.split([t.numel() for t in tensors]), strict=True):
        custom_from_mask(module, name, part.view_as(t))


def remove(module: Module, name: str) -> Module:
    """Makes ``module.name`` a plain parameter again; what is pruned stays zero."""
    found = _hook_of(module, name)
    if found is None:
        raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    key, hook = found
    hook.remove(module)
    del module._forward_pre_hooks[key]
    return module


def is_pruned(module: Module) -> bool:
    """Whether ``module``, or one in it, is pruned."""
    return any(isinstance(h, BasePruningMethod) for m in module.modules() for h in m._forward_pre_hooks.values())
