"""RAdam."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor

from .adam import decay_weights
from .checks import check_betas, check_lr, check_non_negative
from .optimizer import Optimizer, ParamsT
from .scalars import advance, hyperparameter, new_scalar

__all__ = ["RAdam"]


class RAdam(Optimizer):
    """Adam that waits for its variance to settle (torch.optim.RAdam).

    With gradient g (+ ``weight_decay`` * p; negated by ``maximize``), at step t = 1, 2, ...::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g ** 2
        c = m / (1 - beta1 ** t)
        R = 2 / (1 - beta2) - 1                                       the longest average
        r = R - 2 * t * beta2 ** t / (1 - beta2 ** t)                 its length now
        if r > 5:  f = sqrt((r - 4) * (r - 2) * R / ((R - 4) * (R - 2) * r))
                   p = p - lr * f * sqrt(1 - beta2 ** t) * c / (sqrt(v) + eps)
        else:      p = p - lr * c

    Args:
        params: parameters, named parameters or parameter groups.
        lr: learning rate, a float or a tensor of one element.
        betas: decay rates of the two averages.
        eps: keeps the division finite.
        weight_decay: L2 penalty.
        decoupled_weight_decay: decay the parameters themselves, as :class:`AdamW` does.
        foreach, capturable: accepted; the result is the same.
        maximize: go uphill.
        differentiable: record the step for autograd.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.RAdam([w], lr=0.25)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.0000], requires_grad=True)

    Source: Liu et al., On the variance of the adaptive learning rate and beyond,
    https://arxiv.org/abs/1908.03265;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.RAdam.html
    """

    _scalar_state = ("step",)
    _options_since = {
        "foreach": None, "maximize": False, "differentiable": False,
        "decoupled_weight_decay": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
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
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": new_scalar(0),
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
            "decoupled": group["decoupled_weight_decay"],
        }

    @staticmethod
    def _update(param, grad, state, *, lr, beta1, beta2, eps, weight_decay, decoupled) -> None:
        step = advance(state["step"])
        exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
        if decoupled:
            decay_weights(param, lr, weight_decay)
        elif weight_decay != 0:
            grad = grad.add(param, alpha=weight_decay)

        exp_avg.lerp_(grad, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        correction = 1 - beta2**step
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / correction
        update = exp_avg / (1 - beta1**step) * lr
        if length > 5.0:
            rectify = (
                (length - 4) * (length - 2) * longest
                / ((longest - 4) * (longest - 2) * length)
            ) ** 0.5  # fmt: skip
            update = update * (correction**0.5 / exp_avg_sq.sqrt().add(eps)) * rectify
        param.add_(update, alpha=-1.0)
