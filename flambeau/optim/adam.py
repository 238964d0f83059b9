"""Adam."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import formula

from .checks import check_betas, check_lr, check_non_negative
from .optimizer import ParamsT
from .scalars import _to_scalar, hyperparameter, new_scalar
from .updates import ElementwiseOptimizer, average, average_of_squares, decays, penalty, shrunk

__all__ = ["Adam", "adam"]


class Adam(ElementwiseOptimizer):
    """Running averages of the gradient and of its square (torch.optim.Adam).

    With gradient g (+ ``weight_decay`` * p; negated by ``maximize``), at step t = 1, 2, ...::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g ** 2
        p = p - lr * (m / (1 - beta1 ** t)) / (sqrt(v / (1 - beta2 ** t)) + eps)

    Args:
        params: parameters, named parameters or parameter groups.
        lr: learning rate, a float or a tensor of one element.
        betas: decay rates of the two averages, both floats or both tensors of one element.
        eps: keeps the division finite.
        weight_decay: L2 penalty; see ``decoupled_weight_decay``.
        amsgrad: divide by the largest v so far.
        foreach, capturable, fused: accepted; the result is the same.
        maximize: go uphill.
        differentiable: record the step for autograd (tensor ``lr``, ``betas`` and
            ``weight_decay`` get gradients too).
        decoupled_weight_decay: decay the parameters themselves, as :class:`AdamW` does.

    Raises ``ValueError`` for options that make no sense, and for ``betas`` of which one is a tensor and the other is not.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adam([w], lr=0.5)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)

    Source: Kingma and Ba, Adam: a method for stochastic optimization,
    https://arxiv.org/abs/1412.6980; amsgrad: https://openreview.net/forum?id=ryQu7f-RZ;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html
    """

    _scalar_state = ("step",)
    _options_since = {
        "amsgrad": False, "maximize": False, "foreach": None, "capturable": False,
        "differentiable": False, "decoupled_weight_decay": False, "fused": None,
    }  # fmt: skip

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        plain_foreach = foreach and not capturable
        if plain_foreach and isinstance(lr, Tensor):
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_lr(lr)
        check_non_negative("Invalid epsilon value:", eps)
        check_betas(betas)
        check_non_negative("Invalid weight_decay value:", weight_decay)
        kinds = [Tensor if isinstance(beta, Tensor) else type(beta) for beta in betas]
        if kinds not in ([float, float], [Tensor, Tensor]):
            raise ValueError(f"betas must be either both floats or both Tensors, got {betas[0]!r}, {betas[1]!r}")
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor):
                if plain_foreach:
                    raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
                if beta.numel() != 1:
                    raise ValueError(f"Tensor betas[{i}] must be 1-element")
        defaults = {
            "lr": lr,
            "betas": tuple(map(_to_scalar, betas)),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        self._check_implementation()

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state = {
            "step": new_scalar(0, group["fused"]),
            "exp_avg": ops.zeros_like(param),
            "exp_avg_sq": ops.zeros_like(param),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = ops.zeros_like(param)
        return state

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        names = ("exp_avg", "exp_avg_sq")
        return (*names, "max_exp_avg_sq") if group["amsgrad"] else names

    def _numbers(self, step: float, state: dict[str, Any], group: dict[str, Any]) -> tuple:
        lr, (beta1, beta2) = hyperparameter(group["lr"]), map(hyperparameter, group["betas"])
        decay, factor = decays(lr, group["weight_decay"], group["decoupled_weight_decay"])
        rate, scale = -lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
        return rate, scale, hyperparameter(group["eps"]), 1 - beta1, beta2, 1 - beta2, decay, factor

    @staticmethod
    def _update(numbers, grad, param, mean, squares, largest=None):
        rate, scale, eps, weight, keep, take, decay, factor = numbers
        penalized = penalty(param, decay)
        mean = average(mean, grad, weight, *penalized)
        squares = average_of_squares(squares, grad, keep, take, *penalized)
        if largest is None:
            return _step(param, mean, squares, rate, scale, eps, factor), mean, squares
        largest = _maximum(largest, squares)
        return _step(param, mean, largest, rate, scale, eps, factor), mean, squares, largest


def adam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    max_exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    capturable: bool = False,
    differentiable: bool = False,
    fused: bool | None = None,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    has_complex: bool = False,
    decoupled_weight_decay: bool = False,
    *,
    amsgrad: bool,
    beta1: float | Tensor,
    beta2: float | Tensor,
    lr: float | Tensor,
    weight_decay: float,
    eps: float,
    maximize: bool,
) -> None:
    """One step of :class:`Adam`, of whose state each list has a tensor per parameter; all is changed in place."""
    state = {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "step": state_steps}
    if amsgrad:
        state["max_exp_avg_sq"] = max_exp_avg_sqs
    Adam.functional_step(
        params, grads, state,
        amsgrad=amsgrad, betas=(beta1, beta2), lr=lr, weight_decay=weight_decay, eps=eps, maximize=maximize,
        scaled=(fused, grad_scale, found_inf), decoupled_weight_decay=decoupled_weight_decay,
    )  # fmt: skip


@formula
def _maximum(x, largest, squares):
    return x.maximum(largest, squares)


@formula
def _step(x, param, mean, squares, rate, scale, eps, factor):
    # A product instead of the quotient in the formula: divisions are most of what this loop costs.
    denominator = x.add(x.mul(x.sqrt(squares), scale), eps)
    return x.addcdiv(shrunk(x, param, factor), mean, denominator, rate)
