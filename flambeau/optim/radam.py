"""RAdam."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import formula

from .checks import check_betas, check_lr, check_non_negative
from .optimizer import ParamsT
from .scalars import hyperparameter, new_scalar
from .updates import ElementwiseOptimizer, average, average_of_squares, decays, penalty, shrunk

__all__ = ["RAdam", "radam"]


class RAdam(ElementwiseOptimizer):
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

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _numbers(self, step: float, state: dict[str, Any], group: dict[str, Any]) -> tuple:
        lr, (beta1, beta2) = hyperparameter(group["lr"]), map(hyperparameter, group["betas"])
        decay, factor = decays(lr, group["weight_decay"], group["decoupled_weight_decay"])
        correction = 1 - beta2**step
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / correction
        rectify = None
        if length > 5.0:
            rectify = (
                (length - 4) * (length - 2) * longest
                / ((longest - 4) * (longest - 2) * length)
            ) ** 0.5  # fmt: skip
        root, eps = correction**0.5, hyperparameter(group["eps"])
        return lr, 1 - beta1, beta2, 1 - beta2, decay, 1 - beta1**step, factor, rectify, root, eps

    @staticmethod
    def _update(numbers, grad, param, mean, squares):
        lr, weight, keep, take, decay, correction, factor, *rectified = numbers
        penalized = penalty(param, decay)
        mean = average(mean, grad, weight, *penalized)
        squares = average_of_squares(squares, grad, keep, take, *penalized)
        if rectified[0] is None:
            return _step(param, mean, correction, lr, factor), mean, squares
        return _rectified_step(param, mean, squares, correction, lr, factor, *rectified), mean, squares


def radam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    decoupled_weight_decay: bool = False,
    foreach: bool | None = None,
    differentiable: bool = False,
    capturable: bool = False,
    has_complex: bool = False,
    maximize: bool = False,
    *,
    beta1: float,
    beta2: float,
    lr: float,
    weight_decay: float,
    eps: float,
) -> None:
    """One step of :class:`RAdam`, of whose state each list has a tensor per parameter; all is changed in place."""
    RAdam.functional_step(
        params, grads, {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "step": state_steps},
        betas=(beta1, beta2), lr=lr, weight_decay=weight_decay, eps=eps,
        decoupled_weight_decay=decoupled_weight_decay, maximize=maximize,
    )  # fmt: skip


@formula
def _step(x, param, mean, correction, lr, factor):
    return x.sub(shrunk(x, param, factor), x.mul(x.true_divide(mean, correction), lr))


@formula
def _rectified_step(x, param, mean, squares, correction, lr, factor, rectify, root, eps):
    update = x.mul(x.true_divide(mean, correction), lr)
    update = x.mul(x.mul(update, x.true_divide(root, x.add(x.sqrt(squares), eps))), rectify)
    return x.sub(shrunk(x, param, factor), update)
