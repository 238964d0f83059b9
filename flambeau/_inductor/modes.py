"""What :func:`torch.compile` takes for ``mode`` and ``options``: names of PyTorch's settings, which change nothing here."""

from __future__ import annotations

from typing import Any

from flambeau._inductor import config

__all__ = ["check_settings", "list_mode_options", "list_options"]

_MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "lite": {
        "fallback_by_default": True, "selective_decompose": True, "reorder_for_peak_memory": False, "reorder_for_compute_comm_overlap": False,
        "triton.reorder_for_reducing_graph_partitions": False, "use_pre_grad_passes": False, "use_joint_graph_passes": False,
        "use_post_grad_passes": False, "use_dce": False, "allow_buffer_reuse": False,
    },
    "reduce-overhead": {"triton.cudagraphs": True},
    "max-autotune-no-cudagraphs": {"max_autotune": True, "coordinate_descent_tuning": True},
    "max-autotune": {"max_autotune": True, "triton.cudagraphs": True, "coordinate_descent_tuning": True},
}  # fmt: skip


def list_mode_options(mode: str | None = None, dynamic: bool | None = None) -> dict[str, Any]:
    """Which settings a mode of :func:`torch.compile` stands for; without one, of all modes.

    Raises:
        RuntimeError: there is no such mode.
    """
    if mode is None:
        return {name: dict(options) for name, options in _MODES.items()}
    if mode not in _MODES:
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {', '.join(_MODES)}")
    return dict(_MODES[mode])


def list_options() -> list[str]:
    """The names of all settings.

    >>> import flambeau as torch
    >>> "triton.cudagraphs" in torch._inductor.list_options()
    True
    """
    return list(config.to_dict())  # type: ignore[attr-defined]


def check_settings(mode: str | None, options: dict[str, Any] | None) -> None:
    """Raises what :func:`torch.compile` does for a mode or an option that there is not."""
    if mode is not None:
        list_mode_options(mode)
    if not options:
        return
    known = config.to_dict()  # type: ignore[attr-defined]
    for name, value in options.items():
        name = name.replace("-", "_")
        if name not in known:
            raise RuntimeError(f"Unexpected optimization option {name}, known options are {list(known)}")
        default = known[name]
        if default is not None and value is not None and type(value) is not type(default) and not callable(value):
            raise RuntimeError(f"Unexpected type of attr {name}, got {type(value).__name__} should be {type(default).__name__}")
