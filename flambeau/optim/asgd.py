"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import formula

from .checks import check_lr, check_non_negative
from .optimizer import ParamsT
from .scalars import _get_value, hyperparameter, new_scalar, read, write
from .updates import ElementwiseOptimizer, decayed, nonzero, penalty

__all__ = ["ASGD", "asgd"]


class ASGD(ElementwiseOptimizer):
    """Averaged stochastic gradient descent (torch.optim.ASGD).

    With gradient g (+ ``weight_decay`` * p; negated by ``maximize``), at step t = 1, 2, ...::

        p   = p * (1 - lambd * eta) - eta * g
        ax  = ax + mu * (p - ax)               the average, in ``state[p]["ax"]``
        eta = lr / (1 + lambd * lr * t) ** alpha
        mu  = 1 / max(1, t - t0)

    Args:
        params: parameters, named parameters or parameter groups.
        lr: learning rate, a float or a tensor of one element.
        lambd: decay term.
        alpha: the power of the decay of eta.
        t0: the step at which averaging starts.
        weight_decay: L2 penalty.
        foreach, capturable: accepted; the result is the same.
        maximize: go uphill.
        differentiable: record the step for autograd.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.ASGD([w], lr=0.25, lambd=0)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.0000], requires_grad=True)

    Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.ASGD.html
    """

    _scalar_state = ("step", "eta", "mu")
    _options_since = {
        "foreach": None, "maximize": False, "differentiable": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_non_negative("Invalid weight_decay value:", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
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
            "eta": new_scalar(_get_value(group["lr"])),
            "mu": new_scalar(1),
            "ax": ops.zeros_like(param),
        }

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("ax",)

    def _numbers(self, step: float, state: dict[str, Any], group: dict[str, Any]) -> tuple:
        lr, lambd, alpha = map(hyperparameter, (group["lr"], group["lambd"], group["alpha"]))
        eta, mu = read(state["eta"]), read(state["mu"])
        write(state["eta"], lr / (1 + lambd * lr * step) ** alpha)
        write(state["mu"], 1 / max(1, step - group["t0"]))
        return -eta, 1 - lambd * eta, None if mu == 1 else mu, nonzero(group["weight_decay"])

    @staticmethod
    def _update(numbers, grad, param, mean):
        rate, factor, mu, decay = numbers
        param = _step(param, grad, rate, factor, *penalty(param, decay))
        return param, _mean(mean, param, mu) if mu is not None else _copy(param)


def asgd(
    params: list[Tensor],
    grads: list[Tensor],
    axs: list[Tensor],
    mus: list[Tensor],
    etas: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
    capturable: bool = False,
    has_complex: bool = False,
    *,
    lambd: float,
    lr: float,
    t0: float,
    alpha: float,
    weight_decay: float,
) -> None:
    """One step of :class:`ASGD`, of whose state each list has a tensor per parameter; all is changed in place."""
    ASGD.functional_step(
        params, grads, {"ax": axs, "mu": mus, "eta": etas, "step": state_steps},
        lambd=lambd, lr=lr, t0=t0, alpha=alpha, weight_decay=weight_decay, maximize=maximize,
    )  # fmt: skip


@formula
def _step(x, param, grad, rate, factor, penalized=None, decay=None):
    return x.add(x.mul(param, factor), decayed(x, grad, penalized, decay), rate)


@formula
def _mean(x, mean, param, mu):
    return x.add(mean, x.mul(x.sub(param, mean), mu))


@formula
def _copy(x, param):
    return x.mul(param, 1.0)
