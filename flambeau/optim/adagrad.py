"""Adagrad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau import ops
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import formula

from .checks import check_lr, check_non_negative
from .optimizer import ParamsT
from .scalars import hyperparameter, new_scalar
from .updates import ElementwiseOptimizer, decayed, descend_by_root, nonzero, penalty

if TYPE_CHECKING:
    from flambeau.sparse.tensor import SparseTensor

__all__ = ["Adagrad", "adagrad"]


class Adagrad(ElementwiseOptimizer):
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

    Raises ``RuntimeError`` for ``weight_decay`` beside sparse gradients.

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

    def _update_sparse(self, param: Tensor, grad: SparseTensor, group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        state = self.state[param]
        state["step"] += 1
        rate = float(group["lr"]) / (1 + (float(state["step"]) - 1) * group["lr_decay"])
        grad = grad.coalesce()
        values = grad._values()
        state["sum"].add_(grad._with(values.pow(2)))
        root = state["sum"].sparse_mask(grad)._values().sqrt() + group["eps"]
        param.add_(grad._with(values / root), alpha=-rate)

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def _numbers(self, step: float, state: dict[str, Any], group: dict[str, Any]) -> tuple:
        rate = -hyperparameter(group["lr"]) / (1 + (step - 1) * hyperparameter(group["lr_decay"]))
        return rate, hyperparameter(group["eps"]), nonzero(group["weight_decay"])

    @staticmethod
    def _update(numbers, grad, param, total):
        rate, eps, decay = numbers
        penalized = penalty(param, decay)
        total = _with_square(total, grad, *penalized)
        return descend_by_root(param, grad, total, rate, eps, *penalized), total


def adagrad(
    params: list[Tensor],
    grads: list[Tensor],
    state_sums: list[Tensor],
    state_steps: list[Tensor],
    fused: bool | None = None,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    has_sparse_grad: bool = False,
    foreach: bool | None = None,
    differentiable: bool = False,
    has_complex: bool = False,
    *,
    lr: float,
    weight_decay: float,
    lr_decay: float,
    eps: float,
    maximize: bool,
) -> None:
    """One step of :class:`Adagrad`, of whose state each list has a tensor per parameter; all is changed in place."""
    Adagrad.functional_step(
        params, grads, {"sum": state_sums, "step": state_steps},
        lr=lr, weight_decay=weight_decay, lr_decay=lr_decay, eps=eps, maximize=maximize,
        scaled=(fused, grad_scale, found_inf),
    )  # fmt: skip


@formula
def _with_square(x, total, grad, param=None, decay=None):
    grad = decayed(x, grad, param, decay)
    return x.addcmul(total, grad, grad)
