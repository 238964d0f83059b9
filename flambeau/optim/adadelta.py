"""Adadelta."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import formula

from .checks import check_lr, check_non_negative
from .optimizer import ParamsT
from .scalars import hyperparameter, new_scalar
from .updates import ElementwiseOptimizer, average_of_squares, nonzero, plus

__all__ = ["Adadelta", "adadelta"]


class Adadelta(ElementwiseOptimizer):
    """Steps in the units of the parameters, with no learning rate to tune (torch.optim.Adadelta).

    With gradient g (+ ``weight_decay`` * p; negated by ``maximize``)::

        v = rho * v + (1 - rho) * g ** 2
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d ** 2
        p = p - lr * d

    Args:
        params: parameters, named parameters or parameter groups.
        lr: factor of the steps, a float or a tensor of one element.
        rho: decay rate of the running averages, in [0, 1].
        eps: keeps the division finite, and starts the movement.
        weight_decay: L2 penalty.
        foreach, capturable: accepted; the result is the same.
        maximize: go uphill.
        differentiable: record the step for autograd.

    Raises ``ValueError`` for a ``rho`` outside of [0, 1] and for other options that make no sense.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adadelta([w], eps=1e-2)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.6877, -1.6848], requires_grad=True)

    Source: Zeiler, ADADELTA: an adaptive learning rate method, https://arxiv.org/abs/1212.5701;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adadelta.html
    """

    _scalar_state = ("step",)
    _options_since = {
        "foreach": None, "maximize": False, "differentiable": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho} (expected 0 <= rho <= 1)")
        check_non_negative("Invalid epsilon value:", eps)
        check_non_negative("Invalid weight_decay value:", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": new_scalar(0),
            "square_avg": ops.zeros_like(param),
            "acc_delta": ops.zeros_like(param),
        }

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def _numbers(self, step: float, state: dict[str, Any], group: dict[str, Any]) -> tuple:
        rho = hyperparameter(group["rho"])
        return -hyperparameter(group["lr"]), rho, 1 - rho, hyperparameter(group["eps"]), nonzero(group["weight_decay"])

    @staticmethod
    def _update(numbers, grad, param, squares, deltas):
        rate, keep, take, eps, decay = numbers
        if decay is not None:
            grad = plus(grad, param, decay)
        squares = average_of_squares(squares, grad, keep, take)
        delta = _delta(deltas, squares, grad, eps)
        return plus(param, delta, rate), squares, average_of_squares(deltas, delta, keep, take)


def adadelta(
    params: list[Tensor],
    grads: list[Tensor],
    square_avgs: list[Tensor],
    acc_deltas: list[Tensor],
    state_steps: list[Tensor],
    capturable: bool = False,
    foreach: bool | None = None,
    differentiable: bool = False,
    has_complex: bool = False,
    *,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """One step of :class:`Adadelta`, of whose state each list has a tensor per parameter; all is changed in place."""
    Adadelta.functional_step(
        params, grads, {"square_avg": square_avgs, "acc_delta": acc_deltas, "step": state_steps},
        lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize,
    )  # fmt: skip


@formula
def _delta(x, deltas, squares, grad, eps):
    return x.mul(x.true_divide(x.sqrt(x.add(deltas, eps)), x.sqrt(x.add(squares, eps))), grad)
