"""Selective activation checkpointing: which results a checkpointed function keeps, rather than computing them a second time.

Two modes see the operators that the function comes to. The first keeps the results that a policy names. In the second run the
operators are recorded again, as the tape needs their entries, and the results that were kept take the place of those that would be
computed: what nobody asks for is never run.

Source: https://docs.pytorch.org/docs/stable/checkpoint.html
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

from flambeau.tensor import Tensor
from flambeau.tensor.reading import read
from flambeau.utils._python_dispatch import TorchDispatchMode
from flambeau.utils._pytree import tree_leaves, tree_map

__all__ = ["CheckpointPolicy", "SelectiveCheckpointContext", "create_selective_checkpoint_contexts", "ignored_operators"]


class CheckpointPolicy(enum.Enum):
    """What becomes of an operator's result: it is kept, or computed a second time."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


class SelectiveCheckpointContext:
    """What a policy is told besides the call: ``is_recompute``, and the result as ``op_output``."""

    def __init__(self, *, is_recompute: bool, op_output: Any = None) -> None:
        self.is_recompute = is_recompute
        self.op_output = op_output


@cache
def ignored_operators() -> frozenset:
    """The operators that no policy is asked of: of them a checkpoint makes calls of its own."""
    from flambeau.library.operators import ops

    return frozenset([ops.namespace("aten").detach.default])


_RECOMPUTE, _USED = object(), object()
_SINCE = "This can happen if the operations in the checkpointed region are nondeterministic or depend on global state that changed between forward and backward."


class _Kept:
    """A result off the tape, and how often it had been written to."""

    def __init__(self, value: Tensor) -> None:
        self.value = value.detach()
        self.version = value._version

    def get(self, mutable: bool) -> Tensor:
        if self.value._version != self.version and not mutable:
            raise RuntimeError("Tensor cached during selective activation checkpoint has been mutated")
        return self.value


class _Numbered(TorchDispatchMode):
    """Numbers the calls of each operator."""

    def __init__(self, results: dict[Any, dict[int, Any]]) -> None:
        super().__init__()
        self.results = results
        self.counts: dict[Any, int] = defaultdict(int)

    def number(self, func: Any) -> int:
        self.counts[func] += 1
        return self.counts[func] - 1


class _Keeping(_Numbered):
    """Of the first run."""

    def __init__(self, policy: Callable, results: dict[Any, dict[int, Any]]) -> None:
        super().__init__(results)
        self.policy = policy

    def __torch_dispatch__(self, func: Any, types: tuple, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func in ignored_operators():
            return out
        policy = self.policy(SelectiveCheckpointContext(is_recompute=False, op_output=out), func, *args, **kwargs)
        keep = policy if isinstance(policy, bool) else policy in (CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE)
        kept = tree_map(lambda x: _Kept(x) if isinstance(x, Tensor) else x, out) if keep else _RECOMPUTE
        self.results[func][self.number(func)] = kept
        return out


class _Replaying(_Numbered):
    """Of the second run."""

    def __init__(self, results: dict[Any, dict[int, Any]], mutable: bool) -> None:
        super().__init__(results)
        self.mutable = mutable

    def __enter__(self) -> Any:
        self.counts.clear()
        return super().__enter__()

    def __torch_dispatch__(self, func: Any, types: tuple, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func in ignored_operators():
            return func(*args, **kwargs)
        number, known = self.number(func), self.results.get(func)
        if known is None or number not in known:
            where = f"{func} encountered" if known is None else f"{func} invocation index {number} encountered"
            raise RuntimeError(f"{where} during backward but not found in storage. {_SINCE}")
        kept = known[number]
        if kept is _USED:
            raise RuntimeError(
                "Trying to backward an extra time. You are only allowed to backward once on any region computed under selective activation checkpoint."
            )
        if kept is _RECOMPUTE:
            return func(*args, **kwargs)
        known[number] = _USED
        out = func(*args, **kwargs)
        for result, before in zip(tree_leaves(out), tree_leaves(kept), strict=True):
            if isinstance(result, Tensor):
                _take(result, before.get(self.mutable))
        return out


def _take(result: Tensor, value: Tensor) -> None:
    """Gives a result that has just been recorded the value that it had before, unless its memory is that of an argument."""
    if result._base is None and value._base is None and result.stride() == value.stride() and not result._offset:
        result._storage.node = read(value) if value._strides is None else value._storage.node


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Any, allow_cache_entry_mutation: bool = False
) -> tuple[TorchDispatchMode, TorchDispatchMode]:
    """What ``context_fn`` of :func:`checkpoint` returns, to say which results are kept.

    Args:
        policy_fn_or_list: ``policy(context, operator, *args, **kwargs)``, which returns a :class:`CheckpointPolicy` (or whether to
            keep the result), or a list of the operators whose results are kept.
        allow_cache_entry_mutation: whether the program may write to what is kept.

    >>> import flambeau as torch
    >>> from functools import partial
    >>> from flambeau.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
    >>> contexts = partial(create_selective_checkpoint_contexts, [torch.ops.aten.mm.default])
    >>> x = torch.eye(2, requires_grad=True)
    >>> checkpoint(lambda x: (x @ x).exp(), x, use_reentrant=False, context_fn=contexts).sum().backward()
    >>> x.grad
    tensor([[5.4366, 2.0000],
            [2.0000, 5.4366]])
    """
    if isinstance(policy_fn_or_list, list):
        from flambeau.library.operators import OpOverload

        for op in policy_fn_or_list:
            if not isinstance(op, OpOverload):
                raise ValueError(
                    f"Expected op in `op_list` to be an OpOverload but got: {op} of type {type(op)}. "
                    "Give an overload of the operator: torch.ops.aten.mm.default for torch.ops.aten.mm."
                )

        def policy(context: SelectiveCheckpointContext, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
            return CheckpointPolicy.MUST_SAVE if op in policy_fn_or_list else CheckpointPolicy.PREFER_RECOMPUTE

    elif callable(policy_fn_or_list):
        policy = policy_fn_or_list
    else:
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    results: dict[Any, dict[int, Any]] = defaultdict(dict)
    return _Keeping(policy, results), _Replaying(results, allow_cache_entry_mutation)
