"""Control flow as functions of functions: ``torch.cond`` and ``torch.while_loop``; :mod:`.loops` has maps and scans.

For PyTorch's compiler they are the way to keep a branch that depends on values in a graph. Here they run what they are given.

Source: https://docs.pytorch.org/docs/stable/cond.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from flambeau.core.nests import tree_leaves
from flambeau.tensor import Tensor

__all__ = ["HigherOrderOperator", "cond", "while_loop"]


class HigherOrderOperator:
    """The base of PyTorch's operators that take functions: ``isinstance(f, HigherOrderOperator)``. Those here are plain functions.

    A program may derive its own from it, and define ``__call__`` itself; there are no dispatch keys to register kernels for.
    """

    def __init__(self, name: str, *, cacheable: bool = False) -> None:
        if type(self) is HigherOrderOperator:
            raise RuntimeError("Direct instantiation of HigherOrderOperator is not allowed. Please subclass it.")
        self.__name__ = name

    def name(self) -> str:
        """Its name."""
        return self.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse()

    def py_impl(self, k: Any) -> Any:
        """Refuses: see the class."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotImplementedError(
            f"{self.__name__}: flambeau has no dispatch keys for operators of functions; define __call__ in the class, or write a function"
        )


def cond(pred: bool | int | float | Tensor, true_fn: Callable, false_fn: Callable, operands: tuple | list = ()) -> Any:
    """``true_fn(*operands)`` where ``pred`` holds, else ``false_fn(*operands)``.

    Raises:
        RuntimeError: ``pred`` is no bool and no tensor of one element, an operand is no tensor, or a branch is no function.

    >>> import flambeau as torch
    >>> torch.cond(torch.tensor(True), torch.sin, torch.cos, (torch.zeros(1),))
    tensor([0.])
    """
    if not isinstance(pred, (bool, int, float, Tensor)) or isinstance(pred, Tensor) and pred.numel() != 1:
        raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}.")
    if not callable(true_fn) or not callable(false_fn):
        raise RuntimeError("Expect both branches to be callable.")
    if not isinstance(operands, (tuple, list)) or not all([isinstance(x, (Tensor, int)) for x in tree_leaves(operands)]):
        raise RuntimeError(
            f"Expect operands to be a tuple of possibly nested dict/list/tuple that only consists of tensor or int leaves, but got {operands}."
        )
    return (true_fn if bool(pred) else false_fn)(*operands)


def while_loop(cond_fn: Callable, body_fn: Callable, carried_inputs: tuple | list) -> tuple:
    """``carried_inputs``, replaced by ``body_fn(*carried_inputs)`` as long as ``cond_fn(*carried_inputs)`` holds.

    Raises:
        RuntimeError: ``cond_fn`` gives something that is no bool, or ``body_fn`` another number of values.

    >>> import flambeau as torch
    >>> torch.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (torch.tensor(0), torch.ones(1)))
    (tensor(3), tensor([8.]))
    """
    if not callable(cond_fn) or not callable(body_fn):
        raise RuntimeError("Expect cond_fn and body_fn to be callable.")
    if not isinstance(carried_inputs, (tuple, list)):
        raise RuntimeError(f"Expect carried_inputs to be a tuple or list, got {type(carried_inputs)}")
    values = tuple(carried_inputs)
    while True:
        goes_on = cond_fn(*values)
        if not isinstance(goes_on, (bool, int, Tensor)) or isinstance(goes_on, Tensor) and goes_on.numel() != 1:
            raise RuntimeError(f"cond_fn must return a boolean scalar tensor or a boolean but got {goes_on}")
        if not bool(goes_on):
            return values
        found = body_fn(*values)
        if not isinstance(found, (tuple, list)) or len(found) != len(values):
            raise RuntimeError(
                f"body_fn should return the same number of elements as carried_inputs: {len(values)}, but got {found}"
            )
        values = tuple(found)
