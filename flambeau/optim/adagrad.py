"""Adagrad."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor

from .checks import check_lr, check_non_negative
from .optimizer import Optimizer, ParamsT
from .scalars import advance, hyperparameter, new_scalar

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients (torch.optim.Adagrad).

    With gradient g (+ ``weight_decay`` * p; negated by ``maximize``), at step t = 1, 2, ...::

        s = s + g ** 2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Args:
        params: parameters, named parameters or parameter groups.
        lr: learning rate, a float or a tensor of one element.
        lr_decay: how fast the learning rate falls.
        weight_decay: L2 penalty.
        initial_accumulator_value: the first s.
        eps: keeps the division finite.
        maximize: go uphill.
        foreach, fused: accepted; the result is the same.
        differentiable: record the step for autograd.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adagrad([w], lr=0.5)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)

    Source: Duchi et al., Adaptive subgradient methods, https://jmlr.org/papers/v12/duchi11a.html;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html
    """

    _scalar_state = ("step",)
    _options_since = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_non_negative("Invalid lr_decay value:", lr_decay)
        check_non_negative("Invalid weight_decay value:", weight_decay)
        check_non_negative("Invalid initial_accumulator_value value:", initial_accumulator_value)
        check_non_negative("Invalid epsilon value:", eps)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        self._check_implementation()
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param] = self._init_state(param, group)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        start = self.defaults["initial_accumulator_value"]
        if param.is_complex():
            start = complex(start, start)
        return {"step": new_scalar(0, group["fused"]), "sum": ops.full_like(param, start)}

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "lr": hyperparameter(group["lr"]),
            "lr_decay": group["lr_decay"],
            "weight_decay": group["weight_decay"],
            "eps": group["eps"],
        }

    @staticmethod
    def _update(param, grad, state, *, lr, lr_decay, weight_decay, eps) -> None:
        step, total = advance(state["step"]), state["sum"]
        if weight_decay != 0:
            grad = grad.add(param, alpha=weight_decay)
        total.addcmul_(grad, grad, value=1)
        param.addcdiv_(grad, total.sqrt().add(eps), value=-lr / (1 + (step - 1) * lr_decay))
