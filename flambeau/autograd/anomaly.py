"""Finding where a gradient goes wrong: nodes remember the line that recorded them, and NaN in a gradient is an error.

Source: https://docs.pytorch.org/docs/stable/autograd.html#anomaly-detection
"""

from __future__ import annotations

import traceback
import warnings

from flambeau.core.errors import is_own_file


class _Anomaly:
    """Whether anomalies are looked for."""

    enabled = False
    check_nan = True


anomaly = _Anomaly()


def remember(node) -> None:
    """Notes on ``node`` where the user's program is now."""
    stack = traceback.extract_stack()
    while stack and is_own_file(stack[-1].filename):
        stack.pop()
    node.metadata["traceback_"] = stack.format()
    node.metadata["parent_"] = None


def forward_call(node) -> str:
    """Where ``node`` was recorded, as lines of a traceback."""
    lines = node.metadata.get("traceback_")
    if lines is None:
        return "No forward pass information available. Enable detect anomaly during forward pass for more information."
    return f"Traceback of forward call that caused the error:\n{''.join(lines)}"


def warn_of_error(node) -> None:
    """Says which forward call the node belongs to whose gradient has just failed."""
    warnings.warn(f"Error detected in {node.name()}. {forward_call(node)}", UserWarning, stacklevel=4)


class set_detect_anomaly:
    """Turns anomaly detection on or off, at once when called, and back at the end of a ``with``."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.previous = anomaly.enabled, anomaly.check_nan
        anomaly.enabled, anomaly.check_nan = bool(mode), bool(check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc) -> None:
        anomaly.enabled, anomaly.check_nan = self.previous


class detect_anomaly:
    """Inside, an error or a NaN in the backward pass is reported with the forward call that it comes from.

    Both passes must run inside; every step is slower.

    >>> import warnings
    >>> import flambeau as torch
    >>> x = torch.tensor(-1.0, requires_grad=True)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     with torch.autograd.detect_anomaly():
    ...         x.sqrt().backward()
    Traceback (most recent call last):
        ...
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output...
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging.",
            UserWarning,
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self.mode = set_detect_anomaly(True, self.check_nan)

    def __exit__(self, *exc) -> None:
        self.mode.__exit__()


def is_anomaly_enabled() -> bool:
    """Whether anomaly detection is on."""
    return anomaly.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly detection looks for NaN."""
    return anomaly.check_nan
