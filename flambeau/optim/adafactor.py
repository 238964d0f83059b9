"""Adafactor."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.core.dtypes import finfo
from flambeau.tensor import Tensor

from .checks import check_lr, check_non_negative
from .optimizer import Optimizer, ParamsT
from .scalars import advance, hyperparameter, new_scalar
from .updates import decay_weights

__all__ = ["Adafactor", "adafactor"]


class Adafactor(Optimizer):
    """Adam's scaling from the row and column means of the squared gradient (torch.optim.Adafactor).

    For a matrix the memory is one row and one column. With gradient G (negated by ``maximize``),
    RMS(x) = sqrt(mean(x ** 2)), at step t = 1, 2, ...::

        a = t ** beta2_decay
        R = R + a * (mean over columns of G ** 2 - R)
        C = C + a * (mean over rows of G ** 2 - C)
        V = R @ C / max(mean(R), eps1)                    (a vector: V = V + a * (G ** 2 - V))
        U = G / max(sqrt(V), eps1)
        p = p * (1 - lr * weight_decay)
        p = p - max(eps2, RMS(p)) * min(lr, 1 / sqrt(t)) * U / max(1, RMS(U) / d)

    RMS(p) is taken before the decay.

    Args:
        params: parameters, named parameters or parameter groups.
        lr: the largest relative step, a float or a tensor of one element.
        beta2_decay: the power with which the averages lengthen; <= 0.
        eps: ``(eps1, eps2)``; eps1 None means the epsilon of the dtype.
        d: clipping threshold of the update, >= 1.
        weight_decay: decoupled weight decay.
        foreach: accepted; the result is the same.
        maximize: go uphill.

    Raises ``ValueError`` for a positive ``beta2_decay`` and a ``d`` below 1, ``RuntimeError`` for complex parameters.

    >>> import flambeau as torch
    >>> w = torch.tensor([3.0, -3.0], requires_grad=True)
    >>> optimizer = torch.optim.Adafactor([w], lr=0.5)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 1.5000, -1.5000], requires_grad=True)

    Source: Shazeer and Stern, https://arxiv.org/abs/1804.04235;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adafactor.html
    """

    _scalar_state = ("step",)
    _options_since = {"foreach": None}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_lr(lr, "Learning rate should be >= 0 but is:")
        if not 0.0 >= beta2_decay:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None:
            check_non_negative("epsilon1 should be >= 0 but is:", eps[0])
        check_non_negative("epsilon2 should be >= 0 but is:", eps[1])
        if not 1.0 <= d:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        check_non_negative("weight_decay should be >= 0 but is:", weight_decay)
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if param.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        state = {"step": new_scalar(0)}
        if param.dim() > 1:
            *batch, rows, columns = param.shape
            state["row_var"] = param.new_zeros([*batch, rows, 1])
            state["col_var"] = param.new_zeros([*batch, 1, columns])
        else:
            state["variance"] = ops.zeros_like(param)
        return state

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        eps1, eps2 = group["eps"]
        return {
            "lr": hyperparameter(group["lr"]),
            "beta2_decay": group["beta2_decay"],
            "eps1": eps1,
            "eps2": eps2,
            "d": group["d"],
            "weight_decay": group["weight_decay"],
        }

    @staticmethod
    def _update(param, grad, state, *, lr, beta2_decay, eps1, eps2, d, weight_decay) -> None:
        step = advance(state["step"])
        if eps1 is None:
            eps1 = finfo(param.dtype).eps
        fresh = step**beta2_decay
        size = param.numel() ** 0.5
        relative_step = min(lr, 1 / step**0.5)
        step_size = max(eps2, param.norm(2).item() / size) * relative_step
        decay_weights(param, lr, weight_decay)
        if grad.dim() > 1:
            row_var, col_var = state["row_var"], state["col_var"]
            row_var.lerp_(_mean_square(grad, -1), fresh)
            col_var.lerp_(_mean_square(grad, -2), fresh)
            variance = row_var @ col_var / row_var.mean(dim=-2, keepdim=True).clamp(min=eps1)
        else:
            variance = state["variance"].lerp_(grad * grad, fresh)
        update = variance.clamp(min=eps1 * eps1).rsqrt().mul(grad)
        excess = max(1.0, update.norm(2).item() / (size * d))
        param.add_(update, alpha=-step_size / excess)


def adafactor(
    params: list[Tensor],
    grads: list[Tensor],
    row_vars: list[Tensor | None],
    col_vars: list[Tensor | None],
    variances: list[Tensor | None],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    has_complex: bool = False,
    *,
    d: float,
    lr: float | Tensor,
    beta2_decay: float,
    weight_decay: float,
    eps1: float,
    eps2: float,
    maximize: bool,
) -> None:
    """One step of :class:`Adafactor`, of whose state each list has a tensor per parameter; all is changed in place."""
    Adafactor.functional_step(
        params, grads, {"row_var": row_vars, "col_var": col_vars, "variance": variances, "step": state_steps},
        d=d, lr=lr, beta2_decay=beta2_decay, weight_decay=weight_decay, eps=(eps1, eps2), maximize=maximize,
    )  # fmt: skip


def _mean_square(grad: Tensor, dim: int) -> Tensor:
    return grad.norm(dim=dim, keepdim=True).square().div(grad.size(dim))
