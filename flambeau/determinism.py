"""``torch.use_deterministic_algorithms``: results that do not depend on what a process has done before.

flambeau has no algorithm that gives other results from run to run. A program gives the same bits each time, with any number of
threads. But what comes once in a process is computed by NumPy, and what comes again by kernels, which add up in another order. So
last bits may depend on what has run before in the process, for instance before a checkpoint was loaded. Once a program has an
optimizer, and with this setting in any case, kernels compute from the first time on.
"""

from __future__ import annotations

from flambeau.core import config
from flambeau.engine.run import run_pending

_MODES = ("default", "warn", "error")
_mode = 0


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Whether the bits of results may depend on nothing but the program and its data.

    With ``mode`` all is compiled when it comes for the first time, and of sums there is one order for all sizes, so that a program
    which goes on from a checkpoint computes what it would have computed without one. That takes more time where little is repeated.
    Nothing is refused, so ``warn_only`` says nothing more.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html

    >>> import flambeau as torch
    >>> torch.use_deterministic_algorithms(True)
    >>> torch.are_deterministic_algorithms_enabled()
    True
    >>> torch.use_deterministic_algorithms(False)
    """
    set_deterministic_debug_mode((1 if warn_only else 2) if mode else 0)


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """:func:`use_deterministic_algorithms` by a number or name: 0 ``"default"`` (off), 1 ``"warn"``, 2 ``"error"`` (both on).

    Raises:
        TypeError: neither a number nor a name.
        RuntimeError: another number or name.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.set_deterministic_debug_mode.html

    >>> import flambeau as torch
    >>> torch.set_deterministic_debug_mode("default")
    >>> torch.get_deterministic_debug_mode()
    0
    """
    global _mode
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if isinstance(debug_mode, str) and debug_mode not in _MODES:
        raise RuntimeError(f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}")
    mode = _MODES.index(debug_mode) if isinstance(debug_mode, str) else debug_mode
    if mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    _mode = mode
    if config.deterministic != bool(mode):
        from flambeau.engine import plans  # which most programs load when they first compute something

        run_pending()
        config.deterministic = bool(mode)
        plans.clear()


def get_deterministic_debug_mode() -> int:
    """The number that :func:`set_deterministic_debug_mode` was given, or that of its name."""
    return _mode


def are_deterministic_algorithms_enabled() -> bool:
    """Whether :func:`use_deterministic_algorithms` is on."""
    return _mode > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether it is on with ``warn_only``."""
    return _mode == 1
