"""RMSprop."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import formula

from .checks import check_lr, check_non_negative
from .optimizer import ParamsT
from .scalars import hyperparameter, new_scalar
from .updates import ElementwiseOptimizer, average, average_of_squares, decayed, nonzero, penalty, plus

__all__ = ["RMSprop", "rmsprop"]


class RMSprop(ElementwiseOptimizer):
    """Steps divided by a running root mean square of the gradient (torch.optim.RMSprop).

    With gradient g (+ ``weight_decay`` * p; negated by ``maximize``)::

        v = alpha * v + (1 - alpha) * g ** 2
        if centered:  a = alpha * a + (1 - alpha) * g;  d = sqrt(v - a ** 2) + eps
        else:         d = sqrt(v) + eps
        if momentum:  b = momentum * b + g / d;  p = p - lr * b
        else:         p = p - lr * g / d

    Args:
        params: parameters, named parameters or parameter groups.
        lr: learning rate, a float or a tensor of one element.
        alpha: decay rate of the running averages.
        eps: keeps the division finite.
        weight_decay: L2 penalty.
        momentum: momentum factor.
        centered: divide by an estimate of the standard deviation instead.
        capturable, foreach: accepted; the result is the same.
        maximize: go uphill.
        differentiable: record the step for autograd.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.RMSprop([w], lr=0.05)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)

    Source: Hinton's lecture 6e of Neural Networks for Machine Learning; centered: Graves,
    https://arxiv.org/abs/1308.0850;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html
    """

    _scalar_state = ("step",)
    _options_since = {
        "momentum": 0, "centered": False, "foreach": None, "maximize": False,
        "differentiable": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_non_negative("Invalid epsilon value:", eps)
        check_non_negative("Invalid momentum value:", momentum)
        check_non_negative("Invalid weight_decay value:", weight_decay)
        check_non_negative("Invalid alpha value:", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state = {"step": new_scalar(0), "square_avg": ops.zeros_like(param)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = ops.zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = ops.zeros_like(param)
        return state

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        names = ["square_avg"]
        if group["momentum"] > 0:
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        return tuple(names)

    def _numbers(self, step: float, state: dict[str, Any], group: dict[str, Any]) -> tuple:
        lr, alpha, eps, momentum = map(hyperparameter, (group["lr"], group["alpha"], group["eps"], group["momentum"]))
        return -lr, alpha, 1 - alpha, eps, momentum if momentum > 0 else None, nonzero(group["weight_decay"])

    @staticmethod
    def _update(numbers, grad, param, squares, *others):
        rate, keep, take, eps, momentum, decay = numbers
        penalized = penalty(param, decay)
        squares = average_of_squares(squares, grad, keep, take, *penalized)
        buffers, old_means = (others[:1], others[1:]) if momentum is not None else ((), others)
        means = [average(mean, grad, take, *penalized) for mean in old_means]
        root = (squares, means[0] if means else None, eps)
        if not buffers:
            return _step(param, grad, rate, *root, *penalized), squares, *means
        buffer = _momentum(buffers[0], grad, momentum, *root, *penalized)
        return plus(param, buffer, rate), squares, buffer, *means


def rmsprop(
    params: list[Tensor],
    grads: list[Tensor],
    square_avgs: list[Tensor],
    grad_avgs: list[Tensor],
    momentum_buffer_list: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
    capturable: bool = False,
    has_complex: bool = False,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
) -> None:
    """One step of :class:`RMSprop`, of whose state each list has a tensor per parameter; all is changed in place."""
    state = {"square_avg": square_avgs, "step": state_steps}
    if centered:
        state["grad_avg"] = grad_avgs
    if momentum > 0:
        state["momentum_buffer"] = momentum_buffer_list
    RMSprop.functional_step(
        params, grads, state,
        lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered,
        maximize=maximize,
    )  # fmt: skip


def _root(x, squares, mean, eps):
    if mean is not None:
        squares = x.addcmul(squares, mean, mean, -1)
    return x.add(x.sqrt(squares), eps)


@formula
def _step(x, param, grad, rate, squares, mean, eps, penalized=None, decay=None):
    return x.addcdiv(param, decayed(x, grad, penalized, decay), _root(x, squares, mean, eps), rate)


@formula
def _momentum(x, buffer, grad, momentum, squares, mean, eps, param=None, decay=None):
    return x.addcdiv(x.mul(buffer, momentum), decayed(x, grad, param, decay), _root(x, squares, mean, eps))
