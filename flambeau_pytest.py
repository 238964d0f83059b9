"""A plugin of pytest: errors of flambeau come with their explanation and without flambeau's own lines, as under ``flambeau run``.

It stands beside the package, so that pytest can load it without importing flambeau: programs under test may not use it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Explains what a test raised, before pytest writes it down."""
    if call.excinfo is not None and "flambeau" in sys.modules:
        from flambeau.core.uncaught import explain

        explain(call.excinfo.value)
        call.excinfo = pytest.ExceptionInfo.from_exception(call.excinfo.value)
    yield
