"""Stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.tensor import Tensor
from flambeau.tensor.formulas import Update, formula

from .checks import check_lr, check_non_negative
from .optimizer import Optimizer, ParamsT
from .scalars import hyperparameter
from .updates import decayed, nonzero, penalty, plus

if TYPE_CHECKING:
    from flambeau.sparse.tensor import SparseTensor

__all__ = ["SGD", "sgd"]


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

    Raises ``ValueError`` for negative options, and for ``nesterov`` without momentum or with dampening.

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

    _by_element = True

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
                f"Nesterov momentum requires a momentum and zero dampening, got momentum={momentum}, dampening={dampening}"
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

    def _update_sparse(self, param: Tensor, grad: SparseTensor, group: dict[str, Any]) -> None:
        _take_sparse(param, grad, self.state[param], group)

    def _update_group(self, group: dict[str, Any]) -> None:
        # Not the base's loop: without momentum nothing is remembered, the first momentum is the gradient, and complex
        # numbers need no detour, since every operation is linear.
        rate, decay = -hyperparameter(group["lr"]), nonzero(group["weight_decay"])
        momentum, maximize = hyperparameter(group["momentum"]), group["maximize"]
        if momentum == 0:
            update = Update(_update, (rate, decay))
        else:
            ahead = momentum if group["nesterov"] else None
            update = Update(_update_with_momentum, (rate, momentum, 1 - group["dampening"], ahead, decay))
        for param in group["params"]:
            grad = param._grad
            if grad is None:
                continue
            if maximize:
                grad = -grad
            if momentum == 0:
                update(grad, param)
                continue
            state = self.state[param]
            buffer = state.get("momentum_buffer")
            if buffer is not None:
                update(grad, param, buffer)
                continue
            if decay is not None:
                grad = plus(grad, param, decay)
            buffer = state["momentum_buffer"] = grad.detach().clone()
            direction = buffer if ahead is None else plus(grad, buffer, ahead)
            Update(_update, (rate, None))(direction, param)


def sgd(
    params: list[Tensor],
    d_p_list: list[Tensor],
    momentum_buffer_list: list[Tensor | None],
    has_sparse_grad: bool = False,
    foreach: bool | None = None,
    fused: bool | None = None,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    *,
    weight_decay: float,
    momentum: float,
    lr: float,
    dampening: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """One step of :class:`SGD`, of whose state each list has a tensor per parameter; all is changed in place."""
    state = {"momentum_buffer": momentum_buffer_list} if momentum else {}
    SGD.functional_step(
        params, d_p_list, state,
        weight_decay=weight_decay, momentum=momentum, lr=lr, dampening=dampening, nesterov=nesterov,
        maximize=maximize, scaled=(fused, grad_scale, found_inf),
    )  # fmt: skip


def _take_sparse(param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    """A step along a sparse gradient: only its rows change, unless there is momentum."""
    decay, momentum = group["weight_decay"], group["momentum"]
    if decay:
        grad = grad.add(param, alpha=decay)  # refused, as in PyTorch
    if momentum:
        buffer = state.get("momentum_buffer")
        if buffer is None:
            buffer = grad.clone()
        else:
            buffer = (buffer * momentum).add(grad, alpha=1 - group["dampening"])
        state["momentum_buffer"] = buffer
        grad = grad.add(buffer, alpha=momentum) if group["nesterov"] else buffer
    param.add_(grad, alpha=-float(group["lr"]))


def _update(numbers, grad, param):
    rate, decay = numbers
    return (_descend(param, grad, rate, *penalty(param, decay)),)


def _update_with_momentum(numbers, grad, param, buffer):
    rate, momentum, take, ahead, decay = numbers
    penalized = penalty(param, decay)
    buffer = _accumulate(buffer, grad, momentum, take, *penalized)
    if ahead is not None:
        return _descend_ahead(param, grad, buffer, rate, ahead, *penalized), buffer
    return plus(param, buffer, rate), buffer


@formula
def _descend(x, param, grad, rate, penalized=None, decay=None):
    return x.add(param, decayed(x, grad, penalized, decay), rate)


@formula
def _accumulate(x, buffer, grad, momentum, take, param=None, decay=None):
    return x.add(x.mul(buffer, momentum), decayed(x, grad, param, decay), take)


@formula
def _descend_ahead(x, param, grad, buffer, rate, momentum, penalized=None, decay=None):
    return x.add(param, x.add(decayed(x, grad, penalized, decay), buffer, momentum), rate)
