"""The switches of TorchScript's executor, under the names that programs set them by before they run.

They say what PyTorch's executor profiles and fuses. Here scripted code runs as Python and is compiled as all programs are, so they
change nothing; they are kept, so that who sets one finds it set, and gets the value before where PyTorch returns it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_values: dict[str, Any] = {
    "profiling_executor": True, "profiling_mode": True, "autocast_mode": True, "texpr_fuser_enabled": True, "texpr_reductions_enabled": False,
    "texpr_dynamic_shape_enabled": True, "texpr_fallback_allowed": True, "llga_enabled": False, "can_fuse_on_cpu": True,
    "can_fuse_on_cpu_legacy": True, "can_fuse_on_gpu": False, "graph_executor_optimize": True, "num_profiled_runs": 1, "bailout_depth": 12,
    "nvfuser_enabled": False, "nvfuser_guard_mode": False, "nvfuser_horizontal_mode": False, "nvfuser_single_node_mode": False,
    "fusion_strategy": [("STATIC", 2), ("DYNAMIC", 10)],
}  # fmt: skip


def _getter(switch: str) -> Callable:
    return lambda: _values[switch]


def _setter(switch: str, returns: bool) -> Callable:
    """A function that sets a switch; it ``returns`` the value before, or nothing."""

    def set_switch(value: Any) -> Any:
        before, _values[switch] = _values[switch], value
        return before if returns else None

    return set_switch


functions: dict[str, Callable] = {}
"""The functions by their names in ``torch._C``."""

for _switch in ("profiling_executor", "profiling_mode", "autocast_mode", "texpr_reductions_enabled", "texpr_dynamic_shape_enabled",
                "llga_enabled", "num_profiled_runs", "bailout_depth", "fusion_strategy"):  # fmt: skip
    functions[f"_jit_set_{_switch}"] = _setter(_switch, True)
for _switch in (
    "texpr_fuser_enabled",
    "nvfuser_enabled",
    "nvfuser_guard_mode",
    "nvfuser_horizontal_mode",
    "nvfuser_single_node_mode",
):
    functions[f"_jit_set_{_switch}"] = _setter(_switch, False)
for _switch in ("can_fuse_on_cpu", "can_fuse_on_cpu_legacy", "can_fuse_on_gpu"):
    functions[f"_jit_override_{_switch}"] = _setter(_switch, False)
for _switch in _values.keys() - {"graph_executor_optimize", "num_profiled_runs", "fusion_strategy", "autocast_mode", "bailout_depth",
                                 "profiling_executor", "profiling_mode", "nvfuser_guard_mode"}:  # fmt: skip
    functions[f"_jit_{_switch}"] = _getter(_switch)
functions["_jit_texpr_set_fallback_allowed"] = _setter("texpr_fallback_allowed", True)
functions["_jit_get_num_profiled_runs"] = _getter("num_profiled_runs")
functions["_set_graph_executor_optimize"] = _setter("graph_executor_optimize", False)
functions["_get_graph_executor_optimize"] = _getter("graph_executor_optimize")
