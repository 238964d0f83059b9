"""``torch.__future__``: how ``module.to()`` and its like change parameters; both are off.

Source: https://docs.pytorch.org/docs/stable/future_mod.html
"""

from __future__ import annotations

from flambeau.nn.modules._moves import conversion

__all__ = [
    "get_overwrite_module_params_on_conversion", "get_swap_module_params_on_conversion", "set_overwrite_module_params_on_conversion",
    "set_swap_module_params_on_conversion",
]  # fmt: skip


def set_overwrite_module_params_on_conversion(value: bool) -> None:
    """Whether casts put new Parameters into a module, and leave the old ones as they were.

    >>> import flambeau as torch
    >>> net = torch.nn.Linear(1, 1)
    >>> before = net.weight
    >>> torch.__future__.set_overwrite_module_params_on_conversion(True)
    >>> net.double().weight is before, before.dtype
    (False, torch.float32)
    >>> torch.__future__.set_overwrite_module_params_on_conversion(False)
    """
    conversion.overwrites = value


def get_overwrite_module_params_on_conversion() -> bool:
    """What :func:`set_overwrite_module_params_on_conversion` has set."""
    return conversion.overwrites


def set_swap_module_params_on_conversion(value: bool) -> None:
    """Whether casts, and ``load_state_dict``, exchange the contents of Parameters by :func:`torch.utils.swap_tensors`, so that
    they keep their identity whatever class of tensors comes out."""
    conversion.swaps = value


def get_swap_module_params_on_conversion() -> bool:
    """What :func:`set_swap_module_params_on_conversion` has set."""
    return conversion.swaps
