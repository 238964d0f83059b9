"""What the classes that Module is made of find in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flambeau.nn.modules.module import Module
    from flambeau.nn.parameter import Parameter
    from flambeau.tensor import Tensor


class Fields:
    """The base of Module's parts, for type checkers: the fields that ``Module.__init__`` fills, and what the parts call of each
    other.

    When a program runs there is nothing in it, so programs that ask a module for its annotations find those of layers alone.
    """

    if TYPE_CHECKING:
        training: bool
        _version: int
        _parameters: dict[str, Parameter | None]
        _buffers: dict[str, Tensor | None]
        _non_persistent_buffers_set: set[str]
        _modules: dict[str, Any]  # or None, where there is no such child
        _backward_pre_hooks: OrderedDict[int, Any]
        _backward_hooks: OrderedDict[int, Any]
        _is_full_backward_hook: bool | None
        _forward_hooks: OrderedDict[int, Any]
        _forward_hooks_with_kwargs: OrderedDict[int, bool]
        _forward_hooks_always_called: OrderedDict[int, bool]
        _forward_pre_hooks: OrderedDict[int, Any]
        _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
        _state_dict_hooks: OrderedDict[int, Any]
        _state_dict_pre_hooks: OrderedDict[int, Any]
        _load_state_dict_pre_hooks: OrderedDict[int, Any]
        _load_state_dict_post_hooks: OrderedDict[int, Any]

        def children(self) -> Iterator[Module]: ...

        def _get_name(self) -> str: ...
