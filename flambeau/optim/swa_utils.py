"""Averages of a model's weights over training (torch.optim.swa_utils)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

from flambeau import ops
from flambeau.autograd import no_grad
from flambeau.core.dtypes import int64
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import Update, formula

from .lr_scheduler.base import LRScheduler, _format_param
from .optimizer import Optimizer
from .scalars import advance, read

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def _move(numbers, current, average):
    return (_moved(average, current, *numbers),)


@formula
def _moved(x, average, current, weight):
    return x.lerp(average, current, weight)


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable:
    """``average = decay * average + (1 - decay) * current``, in place, for lists of tensors."""
    _check_decay(decay)

    @no_grad()
    def ema_update(averages: Sequence[Tensor], currents: Sequence[Tensor], _: Any) -> None:
        move = Update(_move, (1 - decay,))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point() or average.is_complex():
                move(current, average)
            else:
                average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> Callable:
    """``average += (current - average) / (n + 1)``, in place, for lists of tensors."""

    @no_grad()
    def swa_update(averages: Sequence[Tensor], currents: Sequence[Tensor], num_averaged: Tensor | int) -> None:
        weight = 1 / (int(num_averaged) + 1)
        move = Update(_move, (weight,))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point() or average.is_complex():
                move(current, average)
            else:
                average.copy_(average + (current - average) * weight)

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable:
    """``decay * average + (1 - decay) * current``, as a function of one pair of tensors."""
    _check_decay(decay)

    @no_grad()
    def ema_update(average: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return decay * average + (1 - decay) * current

    return ema_update


def get_swa_avg_fn() -> Callable:
    """``average + (current - average) / (n + 1)``, as a function of one pair of tensors."""

    @no_grad()
    def swa_update(average: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
        return average + (current - average) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose weights are averages of the model's (SWA, or EMA).

    The first :meth:`update_parameters` copies, every later one averages.

    Args:
        model: the model; it is copied.
        device: where the copy lives; the model's device if None.
        avg_fn: ``avg_fn(average, current, n)`` returns the new average of one tensor.
        multi_avg_fn: ``multi_avg_fn(averages, currents, n)`` updates lists of tensors in place.
            With neither, all n + 1 models weigh the same.
        use_buffers: average the buffers too, instead of copying the model's.

    >>> import flambeau as torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> average = torch.optim.swa_utils.AveragedModel(model)
    >>> for weight in (1.0, 3.0):
    ...     torch.nn.init.constant_(model.weight, weight).requires_grad
    ...     average.update_parameters(model)
    True
    True
    >>> average.module.weight.item()
    2.0

    Source: Izmailov et al., Averaging weights leads to wider optima,
    https://arxiv.org/abs/1803.05407;
    https://docs.pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable | None = None,
        multi_avg_fn: Callable | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", ops.zeros((), dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model returns."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Takes the model's present weights into the average."""
        averages, currents = self._tensors(self.module), self._tensors(model)
        if read(self.n_averaged) == 0:
            for average, current in zip(averages, currents, strict=True):
                average.copy_(current)
        elif self.multi_avg_fn is not None:
            self.multi_avg_fn(averages, currents, self.n_averaged)
        else:
            average_of = self.avg_fn or get_swa_avg_fn()
            for average, current in zip(averages, currents, strict=True):
                average.copy_(average_of(average, current, self.n_averaged))
        if not self.use_buffers:
            for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
                mine.detach().copy_(theirs.detach())
        advance(self.n_averaged)

    def _tensors(self, model: Module) -> list[Tensor]:
        """The tensors that are averaged, detached."""
        buffers = model.buffers() if self.use_buffers else ()
        return [tensor.detach() for tensor in chain(model.parameters(), buffers)]


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Computes the running statistics of the BatchNorm layers anew, from the data in ``loader``.

    Needed after the weights were averaged. A batch is a tensor, or a list or tuple whose first
    entry is given to the model.
    """
    momenta: dict[Any, float | None] = {}
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            momenta[module] = module.momentum
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.momentum = None  # a plain average over all batches
    for batch in loader:
        if isinstance(batch, (list, tuple)):
            batch = batch[0]
        if device is not None:
            batch = batch.to(device)
        model(batch)
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Moves each group's rate to ``swa_lr`` in ``anneal_epochs`` epochs and keeps it there.

    Args:
        optimizer: the optimizer.
        swa_lr: the final rate, or a list, one for each group.
        anneal_epochs: number of epochs, an int >= 0.
        anneal_strategy: "cos" or "linear".
        last_epoch: the last epoch that was finished; -1 to begin.

    Source: https://arxiv.org/abs/1803.05407;
    https://docs.pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        rates = _format_param("swa_lr", optimizer, swa_lr)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How much of the final rate there is after ``step`` steps, 0 to 1."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Any]:
        """The rates of this step, from the present ones."""
        self._warn_unless_stepping()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            final = group["swa_lr"]
            # What the rate would be without us: the present one with our last share taken out.
            own = final if before == 1 else (group["lr"] - before * final) / (1 - before)
            rates.append(final * now + own * (1 - now))
        return rates
