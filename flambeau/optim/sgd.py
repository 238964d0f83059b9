"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from flambeau.tensor import Tensor

from .checks import check_lr, check_non_negative
from .optimizer import Optimizer, ParamsT
from .scalars import hyperparameter

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted (torch.optim.SGD).

    With gradient g (+ ``weight_decay`` * p; negated by ``maximize``)::

        b = momentum * b + (1 - dampening) * g      (the first b is g, a constant for autograd)
        p = p - lr * (g + momentum * b  if nesterov else  b)

    Args:
        params: parameters, named parameters or parameter groups.
        lr: learning rate, a float or a tensor of one element.
        momentum: the factor of the running sum; 0 keeps no state at all.
        dampening: how much of the gradient the running sum leaves out.
        weight_decay: L2 penalty.
        nesterov: Nesterov's momentum; needs momentum > 0 and no dampening.
        maximize: go uphill.
        foreach, fused: accepted; the result is the same.
        differentiable: record the step for autograd.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.SGD([w], lr=0.25)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.0000], requires_grad=True)

    Source: Sutskever et al., On the importance of initialization and momentum in deep learning;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html
    """

    _options_since = {
        "nesterov": False, "maximize": False, "foreach": None, "differentiable": False,
        "fused": False,
    }  # fmt: skip

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_non_negative("Invalid momentum value:", momentum)
        check_non_negative("Invalid weight_decay value:", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening, "
                f"got momentum={momentum}, dampening={dampening}"
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        self._check_implementation()

    def _update_group(self, group: dict[str, Any]) -> None:
        # Not the base's loop: without momentum nothing is remembered, and complex numbers need
        # no detour, since every operation is linear.
        lr = hyperparameter(group["lr"])
        weight_decay = hyperparameter(group["weight_decay"])
        momentum, dampening = group["momentum"], group["dampening"]
        nesterov, maximize = group["nesterov"], group["maximize"]
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if maximize:
                grad = -grad
            if momentum == 0:
                _update(param, grad, lr, weight_decay)
                continue
            state = self.state[param]
            state["momentum_buffer"] = _update_with_momentum(
                param, grad, state.get("momentum_buffer"), lr, weight_decay, momentum, dampening,
                nesterov,
            )  # fmt: skip


def _descend(param: Tensor, direction: Tensor, lr: float | Tensor) -> None:
    if isinstance(lr, Tensor):
        param.addcmul_(direction, lr, value=-1)
    else:
        param.add_(direction, alpha=-lr)


def _decayed(grad: Tensor, param: Tensor, weight_decay: float | Tensor) -> Tensor:
    if isinstance(weight_decay, Tensor):
        return grad.addcmul(param, weight_decay)
    return grad.add(param, alpha=weight_decay) if weight_decay != 0 else grad


def _update(param: Tensor, grad: Tensor, lr: float | Tensor, weight_decay: float | Tensor) -> None:
    _descend(param, _decayed(grad, param, weight_decay), lr)


def _update_with_momentum(
    param: Tensor,
    grad: Tensor,
    buffer: Tensor | None,
    lr: float | Tensor,
    weight_decay: float | Tensor,
    momentum: float,
    dampening: float,
    nesterov: bool,
) -> Tensor:
    """Updates ``param`` and returns its momentum buffer, which is new at the first step."""
    grad = _decayed(grad, param, weight_decay)
    if buffer is None:
        buffer = grad.detach().clone()
    else:
        buffer.mul_(momentum).add_(grad, alpha=1 - dampening)
    _descend(param, grad.add(buffer, alpha=momentum) if nesterov else buffer, lr)
    return buffer
