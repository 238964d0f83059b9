"""NAdam."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor

from .adam import decay_weights
from .checks import check_betas, check_lr, check_non_negative
from .optimizer import Optimizer, ParamsT
from .scalars import advance, hyperparameter, new_scalar, scale

__all__ = ["NAdam"]


class NAdam(Optimizer):
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

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        return {
            "lr": hyperparameter(group["lr"]),
            "beta1": beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
            "momentum_decay": group["momentum_decay"],
            "decoupled": group["decoupled_weight_decay"],
        }

    @staticmethod
    def _update(param, grad, state, *, lr, beta1, beta2, eps, weight_decay, momentum_decay, decoupled) -> None:
        step = advance(state["step"])
        exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
        if decoupled:
            decay_weights(param, lr, weight_decay)
        elif weight_decay != 0:
            grad = grad.add(param, alpha=weight_decay)

        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
        mu_product = scale(state["mu_product"], mu)

        exp_avg.lerp_(grad, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        denom = exp_avg_sq.div(1 - beta2**step).sqrt().add(eps)
        param.addcdiv_(grad, denom, value=-lr * (1.0 - mu) / (1.0 - mu_product))
        param.addcdiv_(exp_avg, denom, value=-lr * mu_next / (1.0 - mu_product * mu_next))
