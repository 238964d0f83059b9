"""Single steps of the optimizers as functions, under the module's name that older programs import them from."""

from __future__ import annotations

from typing import Any

from flambeau.tensor import Tensor

from .adadelta import adadelta
from .adagrad import adagrad
from .adam import adam
from .adamax import adamax
from .adamw import adamw
from .asgd import asgd
from .nadam import nadam
from .radam import radam
from .rmsprop import rmsprop
from .rprop import rprop
from .sgd import sgd
from .sparse_adam import SparseAdam

__all__ = ["adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd", "sparse_adam"]


def sparse_adam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[int],
    *,
    eps: float,
    beta1: float,
    beta2: float,
    lr: float,
    maximize: bool,
) -> None:
    """One step of :class:`SparseAdam`; unlike the others it does not count: ``state_steps`` are those of this step."""
    state: dict[str, list[Any]] = {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "step": [step - 1 for step in state_steps]}
    SparseAdam.functional_step(params, grads, state, eps=eps, betas=(beta1, beta2), lr=lr, maximize=maximize)
