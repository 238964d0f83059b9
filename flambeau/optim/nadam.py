"""NAdam."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import formula

from .checks import check_betas, check_lr, check_non_negative
from .optimizer import ParamsT
from .scalars import hyperparameter, new_scalar, scale
from .updates import ElementwiseOptimizer, average, average_of_squares, decayed, decays, penalty, shrunk

__all__ = ["NAdam", "nadam"]


class NAdam(ElementwiseOptimizer):
    """Adam with Nesterov's momentum (torch.optim.NAdam).

    With gradient g (+ ``weight_decay`` * p; negated by ``maximize``), at step t = 1, 2, ...::

        mu[t] = beta1 * (1 - 0.96 ** (t * momentum_decay) / 2)
        M[t]  = mu[1] * ... * mu[t]
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g ** 2
        d = sqrt(v / (1 - beta2 ** t)) + eps
        p = p - lr * (1 - mu[t]) / (1 - M[t]) * g / d - lr * mu[t+1] / (1 - M[t+1]) * m / d

    Args:
        params: parameters, named parameters or parameter groups.
        lr: learning rate, a float or a tensor of one element.
        betas: decay rates of the two averages.
        eps: keeps the division finite.
        weight_decay: L2 penalty.
        momentum_decay: how fast the momentum grows to its full size.
        decoupled_weight_decay: decay the parameters themselves, as :class:`AdamW` does.
        foreach, capturable: accepted; the result is the same.
        maximize: go uphill.
        differentiable: record the step for autograd.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.NAdam([w], lr=0.5)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.4718, -1.4718], requires_grad=True)

    Source: Dozat, Incorporating Nesterov momentum into Adam,
    https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.NAdam.html
    """

    _scalar_state = ("step", "mu_product")
    _options_since = {
        "maximize": False, "foreach": None, "capturable": False, "differentiable": False,
        "decoupled_weight_decay": False,
    }  # fmt: skip

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_non_negative("Invalid epsilon value:", eps)
        check_betas(betas)
        check_non_negative("Invalid weight_decay value:", weight_decay)
        check_non_negative("Invalid momentum_decay value:", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": new_scalar(0),
            "mu_product": new_scalar(1),
            "exp_avg": ops.zeros_like(param),
            "exp_avg_sq": ops.zeros_like(param),
        }

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _numbers(self, step: float, state: dict[str, Any], group: dict[str, Any]) -> tuple:
        lr, (beta1, beta2) = hyperparameter(group["lr"]), map(hyperparameter, group["betas"])
        decay, factor = decays(lr, group["weight_decay"], group["decoupled_weight_decay"])
        momentum_decay = hyperparameter(group["momentum_decay"])
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
        mu_product = scale(state["mu_product"], mu)
        rates = -lr * (1.0 - mu) / (1.0 - mu_product), -lr * mu_next / (1.0 - mu_product * mu_next)
        return 1 - beta1, beta2, 1 - beta2, decay, *rates, 1 - beta2**step, hyperparameter(group["eps"]), factor

    @staticmethod
    def _update(numbers, grad, param, mean, squares):
        weight, keep, take, decay, *others = numbers
        penalized = penalty(param, decay)
        mean = average(mean, grad, weight, *penalized)
        squares = average_of_squares(squares, grad, keep, take, *penalized)
        return _step(param, grad, mean, squares, *others, *penalized), mean, squares


def nadam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    mu_products: list[Tensor],
    state_steps: list[Tensor],
    decoupled_weight_decay: bool = False,
    foreach: bool | None = None,
    capturable: bool = False,
    differentiable: bool = False,
    has_complex: bool = False,
    maximize: bool = False,
    *,
    beta1: float,
    beta2: float,
    lr: float,
    weight_decay: float,
    momentum_decay: float,
    eps: float,
) -> None:
    """One step of :class:`NAdam`, of whose state each list has a tensor per parameter; all is changed in place."""
    NAdam.functional_step(
        params, grads, {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "mu_product": mu_products, "step": state_steps},
        betas=(beta1, beta2), lr=lr, weight_decay=weight_decay, momentum_decay=momentum_decay, eps=eps,
        decoupled_weight_decay=decoupled_weight_decay, maximize=maximize,
    )  # fmt: skip


@formula
def _step(x, param, grad, mean, squares, grad_rate, mean_rate, correction, eps, factor, penalized=None, decay=None):
    denominator = x.add(x.sqrt(x.true_divide(squares, correction)), eps)
    param = x.addcdiv(shrunk(x, param, factor), decayed(x, grad, penalized, decay), denominator, grad_rate)
    return x.addcdiv(param, mean, denominator, mean_rate)
