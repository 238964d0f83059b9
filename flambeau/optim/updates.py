"""Optimizers whose updates are formulas on elements, and the formulas that they share."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor
from flambeau.tensor.formulas import Update, formula

from .optimizer import Optimizer
from .scalars import advance, hyperparameter


def decayed(x: Any, grad: Any, param: Any, decay: Any) -> Any:
    """A gradient with its L2 penalty."""
    return grad if decay is None else x.add(grad, param, decay)


def shrunk(x: Any, param: Any, factor: Any) -> Any:
    """A parameter after weight decay apart from the gradient."""
    return param if factor is None else x.mul(param, factor)


@formula
def plus(x, first, other, factor):
    """``first + factor * other``."""
    return x.add(first, other, factor)


@formula
def average(x, mean, grad, weight, param=None, decay=None):
    """A running average, moved towards the gradient."""
    return x.lerp(mean, decayed(x, grad, param, decay), weight)


@formula
def average_of_squares(x, mean, grad, keep, take, param=None, decay=None):
    """A running average of squares: ``keep * mean + take * grad ** 2``."""
    grad = decayed(x, grad, param, decay)
    return x.addcmul(x.mul(mean, keep), grad, grad, take)


@formula
def descend_by_root(x, param, direction, squares, rate, eps, penalized=None, decay=None):
    """``param + rate * direction / (sqrt(squares) + eps)``; the penalty is added to the direction."""
    direction = decayed(x, direction, penalized, decay)
    return x.addcdiv(param, direction, x.add(x.sqrt(squares), eps), rate)


def penalty(param: Any, decay: Any) -> tuple:
    """The last arguments of a formula: a parameter and the factor of its L2 penalty, or nothing."""
    return () if decay is None else (param, decay)


def nonzero(weight_decay: Any) -> Any:
    """A weight decay, or ``None`` where there is none."""
    decay = hyperparameter(weight_decay)
    return decay if isinstance(decay, Tensor) or decay != 0 else None


def decays(lr: Any, weight_decay: Any, decoupled: bool) -> tuple:
    """``(decay, factor)``: the factor of the L2 penalty, and that of the parameter, ``1 - lr * weight_decay``.

    Either is ``None`` where there is no such decay.
    """
    decay = nonzero(weight_decay)
    if decay is None or not decoupled:
        return decay, None
    return None, 1 - lr * decay


def decay_weights(param: Tensor, lr: Any, weight_decay: Any) -> None:
    """Weight decay apart from the gradient, in place: ``param * (1 - lr * weight_decay)``."""
    if nonzero(weight_decay) is not None:
        param.mul_(1 - lr * weight_decay)


class ElementwiseOptimizer(Optimizer):
    """An optimizer that updates each element from its gradient and its state.

    A subclass gives ``_init_state`` and

    ``_state_names(group)``                     the names of the state tensors that are updated with a parameter;
    ``_numbers(step, state, group)``            the numbers of a parameter's ``step``-th step, ``None`` for what is not done;
    ``_update(numbers, grad, param, *state)``   the new contents of the parameter and of its state, by formulas.
    """

    _by_element = True

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        raise NotImplementedError

    def _numbers(self, step: float, state: dict[str, Any], group: dict[str, Any]) -> tuple:
        raise NotImplementedError

    def _update_group(self, group: dict[str, Any]) -> None:
        maximize, names = group["maximize"], self._state_names(group)
        states, known = self.state, None
        update: Any = None
        alike = self._scalar_state == ("step",)  # numbers follow from the step: the same for most parameters
        for param in group["params"]:
            grad = param._grad
            if grad is None:
                continue
            state = states.get(param)
            if not state:
                state = states[param] = self._init_state(param, group)
            step = advance(state["step"])
            if step != known or not alike:
                update, known = Update(self._update, self._numbers(step, state, group)), step
            if maximize:
                grad = -grad
            values = map(state.__getitem__, names)
            if param._dtype.is_complex:  # updated as twice as many real numbers
                update(*map(ops.view_as_real, (grad, param, *values)))
            else:
                update(grad, param, *values)
