"""Adam."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor

from .checks import check_betas, check_lr, check_non_negative
from .optimizer import Optimizer, ParamsT
from .scalars import _to_scalar, advance, hyperparameter, new_scalar

__all__ = ["Adam"]


class Adam(Optimizer):
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

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        return {
            "lr": hyperparameter(group["lr"]),
            "beta1": hyperparameter(beta1),
            "beta2": hyperparameter(beta2),
            "eps": group["eps"],
            "weight_decay": hyperparameter(group["weight_decay"]),
            "amsgrad": group["amsgrad"],
            "decoupled": group["decoupled_weight_decay"],
        }

    @staticmethod
    def _update(param, grad, state, *, lr, beta1, beta2, eps, weight_decay, amsgrad, decoupled) -> None:
        step = advance(state["step"])
        exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
        if decoupled:
            decay_weights(param, lr, weight_decay)
        elif isinstance(weight_decay, Tensor):
            grad = grad.addcmul(param, weight_decay)
        elif weight_decay != 0:
            grad = grad.add(param, alpha=weight_decay)

        exp_avg.lerp_(grad, 1 - beta1)
        if isinstance(beta2, Tensor):
            exp_avg_sq.lerp_(grad.square(), 1 - beta2)
        else:
            exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        if amsgrad:
            largest = state["max_exp_avg_sq"]
            largest.copy_(ops.maximum(largest, exp_avg_sq))
        else:
            largest = exp_avg_sq
        denom = (largest.sqrt() / (1 - beta2**step) ** 0.5).add(eps)
        step_size = lr / (1 - beta1**step)
        if isinstance(step_size, Tensor):
            param.addcmul_(exp_avg / denom, step_size, value=-1)
        else:
            param.addcdiv_(exp_avg, denom, value=-step_size)


def decay_weights(param: Tensor, lr: float | Tensor, weight_decay: float | Tensor) -> None:
    """Weight decay apart from the gradient: ``p = p * (1 - lr * weight_decay)``."""
    if isinstance(weight_decay, Tensor) or weight_decay != 0:
        param.mul_(1 - lr * weight_decay)
