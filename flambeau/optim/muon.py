"""Muon."""

from __future__ import annotations

import math
from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor

from .checks import check_lr, check_non_negative
from .optimizer import Optimizer, ParamsT
from .scalars import hyperparameter
from .updates import decay_weights

__all__ = ["Muon"]


class Muon(Optimizer):
    """Momentum whose update is made orthogonal, for matrices (torch.optim.Muon).

    With gradient G::

        B = momentum * B + (1 - momentum) * G
        O = orthogonal(momentum * B + (1 - momentum) * G  if nesterov else  B)
        p = p * (1 - lr * weight_decay) - adjusted lr * O

    ``orthogonal`` is a few steps of the quintic Newton-Schulz iteration in bfloat16,
    ``X = a * X + (b * A + c * A @ A) @ X`` with ``A = X @ X.T``, which brings all singular
    values near 1. Only for the weight matrices of hidden layers; give biases, embeddings and the
    rest to another optimizer.

    Args:
        params: matrices, named matrices or parameter groups of them.
        lr: learning rate.
        weight_decay: decoupled weight decay.
        momentum: factor of the running average.
        nesterov: look ahead by one step.
        ns_coefficients: a, b, c.
        eps: keeps the normalisation before the iteration finite.
        ns_steps: number of iterations, below 100.
        adjust_lr_fn: "original" (the default): lr * sqrt(max(1, rows / columns));
            "match_rms_adamw": lr * 0.2 * sqrt(max(rows, columns)).

    Raises ``ValueError`` for parameters that are no matrices, ``RuntimeError`` for complex ones.

    >>> import flambeau as torch
    >>> w = torch.eye(2, requires_grad=True)
    >>> optimizer = torch.optim.Muon([w], lr=0.1, weight_decay=0)
    >>> w.pow(2).sum().backward()
    >>> optimizer.step()
    >>> bool(((w - 0.9 * torch.eye(2)).abs() < 0.03).all())
    True

    Source: Jordan, https://kellerjordan.github.io/posts/muon; Liu et al., Muon is scalable for
    LLM training, https://arxiv.org/abs/2502.16982;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Muon.html
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_lr(lr, "Learning rate should be >= 0 but is:")
        check_non_negative("momentum should be >= 0 but is:", momentum)
        check_non_negative("weight decay should be >= 0 but is:", weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                f"Adjust learning rate function {adjust_lr_fn} is not supported (expected 'original' or 'match_rms_adamw')"
            )
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for param in self._all_params():
            if param.dim() != 2:
                raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {param.size()}")

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if param.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        return {"momentum_buffer": ops.zeros_like(param)}

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        options = {key: group[key] for key in self.defaults if key != "differentiable"}
        options["lr"] = hyperparameter(group["lr"])
        return options

    @staticmethod
    def _update(
        param, grad, state, *, lr, weight_decay, momentum, nesterov, ns_coefficients, eps,
        ns_steps, adjust_lr_fn,
    ) -> None:  # fmt: skip
        buffer = state["momentum_buffer"].lerp_(grad, 1 - momentum)
        update = grad.lerp(buffer, momentum) if nesterov else buffer
        update = orthogonal(update, ns_coefficients, ns_steps, eps)
        decay_weights(param, lr, weight_decay)
        rows, columns = param.shape
        if adjust_lr_fn == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        else:
            ratio = math.sqrt(max(1, rows / columns))
        param.add_(update, alpha=-lr * ratio)


def muon(
    params: list[Tensor],
    grads: list[Tensor],
    muon_momentum_bufs: list[Tensor],
    *,
    foreach: bool | None = None,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    ns_coefficients: tuple[float, float, float],
    ns_steps: int,
    eps: float,
    adjust_lr_fn: str | None,
    has_complex: bool,
) -> None:
    """One step of :class:`Muon`, of whose state the list has a tensor per parameter; all is changed in place."""
    Muon.functional_step(
        params, grads, {"momentum_buffer": muon_momentum_bufs},
        lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, ns_coefficients=ns_coefficients,
        ns_steps=ns_steps, eps=eps, adjust_lr_fn=adjust_lr_fn,
    )  # fmt: skip


def orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """About ``U @ V.T`` where ``U @ S @ V.T`` is the singular value decomposition of ``matrix``."""
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.bfloat16()
    if tall:  # the iteration squares the rows: have few of them
        x = x.T
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = ops.addmm(x, ops.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
