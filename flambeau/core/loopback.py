"""What this machine is called when it talks to itself."""

from __future__ import annotations

NAMES = ("127.0.0.1", "localhost", "::1")
"""A server that is meant for this machine alone refuses other names, which a page of another site may have been given for its
address."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    return host in NAMES
