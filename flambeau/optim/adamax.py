"""Adamax."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import formula

from .checks import check_betas, check_lr, check_non_negative
from .optimizer import ParamsT
from .scalars import hyperparameter, new_scalar
from .updates import ElementwiseOptimizer, average, decayed, nonzero, penalty

__all__ = ["Adamax", "adamax"]


class Adamax(ElementwiseOptimizer):
    """Adam with the infinity norm in place of the square (torch.optim.Adamax).

    With gradient g (+ ``weight_decay`` * p; negated by ``maximize``), at step t = 1, 2, ...::

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        p = p - lr / (1 - beta1 ** t) * m / u

    Args:
        params: parameters, named parameters or parameter groups.
        lr: learning rate, a float or a tensor of one element.
        betas: decay rates of the average and of the norm.
        eps: keeps the division finite.
        weight_decay: L2 penalty.
        foreach, capturable: accepted; the result is the same.
        maximize: go uphill.
        differentiable: record the step for autograd.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adamax([w], lr=0.5)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)

    Source: Kingma and Ba, https://arxiv.org/abs/1412.6980, section 7;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adamax.html
    """

    _scalar_state = ("step",)
    _options_since = {
        "foreach": None, "maximize": False, "differentiable": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_non_negative("Invalid epsilon value:", eps)
        check_betas(betas)
        check_non_negative("Invalid weight_decay value:", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": new_scalar(0),
            "exp_avg": ops.zeros_like(param),
            "exp_inf": ops.zeros_like(param),
        }

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    def _numbers(self, step: float, state: dict[str, Any], group: dict[str, Any]) -> tuple:
        beta1, beta2 = map(hyperparameter, group["betas"])
        rate = -hyperparameter(group["lr"]) / (1 - beta1**step)
        return rate, 1 - beta1, beta2, hyperparameter(group["eps"]), nonzero(group["weight_decay"])

    @staticmethod
    def _update(numbers, grad, param, mean, norm):
        rate, weight, keep, eps, decay = numbers
        penalized = penalty(param, decay)
        mean = average(mean, grad, weight, *penalized)
        norm = _largest(norm, grad, keep, eps, *penalized)
        return _step(param, mean, norm, rate), mean, norm


def adamax(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_infs: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
    capturable: bool = False,
    has_complex: bool = False,
    *,
    eps: float,
    beta1: float,
    beta2: float,
    lr: float,
    weight_decay: float,
) -> None:
    """One step of :class:`Adamax`, of whose state each list has a tensor per parameter; all is changed in place."""
    Adamax.functional_step(
        params, grads, {"exp_avg": exp_avgs, "exp_inf": exp_infs, "step": state_steps},
        eps=eps, betas=(beta1, beta2), lr=lr, weight_decay=weight_decay, maximize=maximize,
    )  # fmt: skip


@formula
def _largest(x, norm, grad, keep, eps, param=None, decay=None):
    return x.maximum(x.mul(norm, keep), x.add(x.abs(decayed(x, grad, param, decay)), eps))


@formula
def _step(x, param, mean, norm, rate):
    return x.addcdiv(param, mean, norm, rate)
