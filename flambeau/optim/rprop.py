"""Rprop."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import formula

from .checks import check_lr
from .optimizer import ParamsT
from .scalars import _get_value, hyperparameter, new_scalar
from .updates import ElementwiseOptimizer

__all__ = ["Rprop", "rprop"]


class Rprop(ElementwiseOptimizer):
    """Resilient backpropagation: only the sign of the gradient counts (torch.optim.Rprop).

    Each element has a step size of its own, ``lr`` at first. With gradient g (negated by
    ``maximize``) and the gradient h of the step before::

        s = clamp(s * (etaplus if g * h > 0, etaminus if g * h < 0, else 1), *step_sizes)
        g = 0  where g * h < 0
        p = p - s * sign(g)

    Made for full batches: with noisy gradients signs change for no reason.

    Args:
        params: parameters, named parameters or parameter groups.
        lr: the first step size, a float or a tensor of one element.
        etas: ``(etaminus, etaplus)``, with 0 < etaminus < 1 < etaplus.
        step_sizes: the smallest and the largest step size.
        capturable, foreach: accepted; the result is the same.
        maximize: go uphill.
        differentiable: record the step for autograd.

    Raises ``ValueError`` unless 0 < etaminus < 1 < etaplus.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Rprop([w], lr=0.5)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)

    Source: Riedmiller and Braun, A direct adaptive method for faster backpropagation learning;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Rprop.html
    """

    _scalar_state = ("step",)
    _options_since = {
        "foreach": None, "maximize": False, "differentiable": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]} (expected 0 < etaminus < 1 < etaplus)")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        size = _get_value(group["lr"])
        if param.is_complex():
            size = complex(size, size)
        return {
            "step": new_scalar(0),
            "prev": ops.zeros_like(param),
            "step_size": ops.full_like(param, size),
        }

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("prev", "step_size")

    def _numbers(self, step: float, state: dict[str, Any], group: dict[str, Any]) -> tuple:
        return tuple(map(hyperparameter, (*group["etas"], *group["step_sizes"])))

    @staticmethod
    def _update(numbers, grad, param, prev, size):
        size = _size(size, grad, prev, *numbers)
        grad = _unless_turned(grad, prev)
        return _step(param, grad, size), grad, size


def rprop(
    params: list[Tensor],
    grads: list[Tensor],
    prevs: list[Tensor],
    step_sizes: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    capturable: bool = False,
    maximize: bool = False,
    differentiable: bool = False,
    has_complex: bool = False,
    *,
    step_size_min: float,
    step_size_max: float,
    etaminus: float,
    etaplus: float,
) -> None:
    """One step of :class:`Rprop`, of whose state each list has a tensor per parameter; all is changed in place."""
    Rprop.functional_step(
        params, grads, {"prev": prevs, "step_size": step_sizes, "step": state_steps},
        etas=(etaminus, etaplus), step_sizes=(step_size_min, step_size_max), maximize=maximize,
    )  # fmt: skip


@formula
def _size(x, size, grad, prev, less, more, smallest, largest):
    product = x.mul(grad, prev)
    changed = x._where(x.gt(product, 0), x.mul(size, more), x._where(x.lt(product, 0), x.mul(size, less), size))
    return x.clamp(changed, smallest, largest)


@formula
def _unless_turned(x, grad, prev):
    return x.masked_fill(grad, x.lt(x.mul(grad, prev), 0), 0)


@formula
def _step(x, param, grad, size):
    return x.addcmul(param, x.sign(grad), size, -1)
