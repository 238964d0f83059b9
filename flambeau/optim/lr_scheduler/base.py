"""The base of all learning rate schedulers.

A scheduler sets ``group["lr"]`` of every parameter group of its optimizer. Most are *chainable*:
``get_lr`` computes the next rates from the present ones, so that several schedulers, or the user,
can act on the same groups. Some also have a closed form in the epoch, which ``step(epoch)`` uses.
"""

from __future__ import annotations

import functools
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from flambeau.core.keywords import NamesUnknown
from flambeau.optim.optimizer import Optimizer
from flambeau.optim.scalars import _to_scalar
from flambeau.tensor import Tensor

EPOCH_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where "
    "possible. Please use `scheduler.step()` to step the scheduler. During the deprecation, if "
    "epoch is different from None, the closed form is used instead of the new chainable form, "
    "where available."
)
ORDER_URL = "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"


class LRScheduler(NamesUnknown):
    """Base class of the schedulers (torch.optim.lr_scheduler.LRScheduler).

    A subclass gives :meth:`get_lr`: the rates for epoch ``self.last_epoch``, one for each group.
    A tensor as ``group["lr"]`` stays the same tensor and is filled.

    Args:
        optimizer: the optimizer whose learning rates are set.
        last_epoch: the last epoch that was finished; -1 to begin. To resume, the groups must have
            ``initial_lr``, as a scheduler leaves it there.

    Attributes:
        base_lrs: the groups' initial rates.
        last_epoch: number of steps so far.

    Raises:
        TypeError: ``optimizer`` is not an Optimizer.
        KeyError: ``last_epoch`` is given and a group has no ``initial_lr``.

    >>> import flambeau as torch
    >>> class Halving(torch.optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [lr * 0.5**self.last_epoch for lr in self.base_lrs]
    >>> w = torch.zeros(2, requires_grad=True)
    >>> optimizer = torch.optim.SGD([w], lr=1.0)
    >>> scheduler = Halving(optimizer)
    >>> optimizer.step(); scheduler.step()
    >>> optimizer.step(); scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]

    Source: https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate
    """

    _get_lr_called_within_step: bool = False
    _is_initial: bool = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = check_optimizer(optimizer)
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", _copy(group["lr"]))
        else:
            for i, group in enumerate(optimizer.param_groups):
                if "initial_lr" not in group:
                    raise KeyError(
                        f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                        "scheduler with last_epoch >= 0: load the optimizer's state_dict first, or "
                        "leave last_epoch at -1 for a fresh run"
                    )
        self.base_lrs: list[Any] = _group_values(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        _watch_step(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        """Sets the rates of the first epoch."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything the scheduler remembers, but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The rates that the last step set, one for each group."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The rates for epoch ``last_epoch``; called by :meth:`step`."""
        raise NotImplementedError(f"{type(self).__name__} must define get_lr()")

    def step(self, epoch: int | None = None) -> None:
        """Goes to the next epoch and sets its learning rates.

        Call it after ``optimizer.step()``. ``epoch`` jumps to an epoch; it is deprecated.
        """
        if self._step_count == 1:
            self._warn_about_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _warn_about_order(self) -> None:
        if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
            warnings.warn(
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler "
                "initialization. Please, make sure to call `optimizer.step()` before "
                f"`lr_scheduler.step()`. See more details at {ORDER_URL}",
                UserWarning,
                stacklevel=3,
            )
        elif not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch "
                "1.1.0 and later, you should call them in the opposite order: `optimizer.step()` "
                "before `lr_scheduler.step()`.  Failure to do this will result in PyTorch skipping "
                "the first value of the learning rate schedule. "
                f"See more details at {ORDER_URL}",
                UserWarning,
                stacklevel=3,
            )

    def _update_lr(self, epoch: int | None = None) -> None:
        compute = self.get_lr
        if epoch is None:
            self.last_epoch += 1
        else:
            self.last_epoch = epoch
            compute = getattr(self, "_get_closed_form_lr", compute)
        self._set_lr(compute)

    def _set_lr(self, compute: Callable[[], list[Any]]) -> None:
        """Sets the groups' rates to what ``compute`` returns."""
        self._get_lr_called_within_step = True
        try:
            values = compute()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            _update_param_group_val(group, "lr", lr)
        self._last_lr: list[Any] = _group_values(self.optimizer, "lr")

    def _current(self) -> list[Any]:
        """The groups' present rates."""
        return _group_values(self.optimizer, "lr")

    def _scaled(self, factor: float) -> list[Any]:
        """The groups' present rates times ``factor``."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _warn_unless_stepping(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )


class _LRScheduler(LRScheduler):
    """The old name of the base class.

    >>> import flambeau as torch
    >>> torch.optim.lr_scheduler._LRScheduler.__mro__[1]
    <class 'flambeau.optim.lr_scheduler.base.LRScheduler'>

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LRScheduler.html
    """


# ------------------------------------------------------------------ what schedulers share


def check_optimizer(optimizer: Any) -> Optimizer:
    """``optimizer``, if it is one."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


def _watch_step(optimizer: Optimizer) -> None:
    """Lets schedulers see whether ``optimizer.step`` was called, and whether it was replaced."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    reference = weakref.ref(optimizer)
    function = optimizer.step.__func__  # type: ignore[attr-defined]

    @functools.wraps(function)
    def step(*args, **kwargs):
        owner = reference()
        owner._opt_called = True  # type: ignore[union-attr]
        return function(owner, *args, **kwargs)

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = step  # type: ignore[method-assign]


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _group_values(optimizer: Optimizer, key: str) -> list[Any]:
    """``group[key]`` of all groups, tensors copied."""
    return [_copy(group[key]) for group in optimizer.param_groups]


def _update_param_group_val(group: dict[str, Any], key: str, value: Any) -> None:
    """Sets ``group[key]``; a tensor there is filled."""
    if isinstance(group[key], Tensor):
        group[key].fill_(_to_scalar(value))
    else:
        group[key] = value


def _format_param(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """``value`` for each group: a list or tuple as it is, anything else repeated."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        value = [value] * groups
    elif len(value) != groups:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. "
            f"{name} has {len(value)} values, param_groups has {groups}."
        )
    return [_copy(v) for v in value]


def saved_function(function: Any) -> dict[str, Any] | None:
    """What a checkpoint keeps of a user's function: the attributes of a callable object.

    Functions and lambdas are not saved.
    """
    return None if isinstance(function, types.FunctionType) else function.__dict__.copy()
