"""``torch.jit.annotations``: annotations that only TorchScript has."""

from __future__ import annotations

from typing import Any, Dict, Final, List, Optional, Tuple, Union  # noqa: UP035  (programs take them from here)

__all__ = [*[f"BroadcastingList{n}" for n in range(1, 7)], "Any", "Dict", "Final", "List", "Optional", "Tuple", "Union"]


class BroadcastingListCls:
    """An annotation: a list of a given length, for which one element may be given. ``BroadcastingList2[int]``."""

    def __getitem__(self, types: Any) -> None:
        """Python needs none."""


BroadcastingList1, BroadcastingList2, BroadcastingList3 = BroadcastingListCls(), BroadcastingListCls(), BroadcastingListCls()
BroadcastingList4, BroadcastingList5, BroadcastingList6 = BroadcastingListCls(), BroadcastingListCls(), BroadcastingListCls()
