"""How processes find each other: from a URL or the environment to a store, a rank and a size.

Source: https://docs.pytorch.org/docs/stable/distributed.html#initialization
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import ParseResult, parse_qs, urlparse

from flambeau.distributed._store import FileStore, PrefixStore, Store
from flambeau.distributed._tcp_store import TCPStore

__all__ = ["register_rendezvous_handler", "rendezvous"]

DEFAULT_PORT = 29500
_handlers: dict[str, Callable[..., Iterator[tuple[Store, int, int]]]] = {}


def register_rendezvous_handler(scheme: str, handler: Callable[..., Iterator[tuple[Store, int, int]]]) -> None:
    """Has URLs that begin with ``scheme`` answered by ``handler(url)``, which yields ``(store, rank, world_size)``."""
    if scheme in _handlers:
        raise RuntimeError(f"Rendezvous handler for {scheme}:// already registered")
    _handlers[scheme] = handler


def rendezvous(url: str, rank: int = -1, world_size: int = -1, **settings: Any) -> Iterator[tuple[Store, int, int]]:
    """Yields ``(store, rank, world_size)`` for a URL: ``env://``, ``tcp://host:port`` or ``file:///path``.

    ``rank`` and ``world_size`` stand in the URL (``?rank=0&world_size=2``), are given here, or are read from the environment.

    >>> from flambeau import distributed as dist
    >>> store, rank, world_size = next(dist.rendezvous("tcp://127.0.0.1:0?rank=0&world_size=1"))
    >>> rank, world_size
    (0, 1)
    """
    if not isinstance(url, (str, bytes)):
        raise RuntimeError(f"`url` must be a string. {type(url)}: {url}")
    if not isinstance(rank, int):
        raise RuntimeError(f"`rank` must be an integer. {rank}")
    if not isinstance(world_size, int):
        raise RuntimeError(f"`world_size` must be an integer. {world_size}")
    parsed = urlparse(url if isinstance(url, str) else url.decode())
    if parsed.scheme not in _handlers:
        raise RuntimeError(f"No rendezvous handler for {parsed.scheme}://")
    query = {name: values[-1] for name, values in parse_qs(parsed.query).items()}
    for name, given in (("rank", rank), ("world_size", world_size)):
        if given != -1:
            query[name] = str(given)
    if parsed.scheme in _OURS:
        return _OURS[parsed.scheme](parsed, query, **settings)
    return _handlers[parsed.scheme](url, **settings)


def _error(scheme: str, problem: str) -> ValueError:
    return ValueError(f"Error initializing torch.distributed using {scheme}:// rendezvous: {problem}")


def _numbers(scheme: str, query: dict[str, str]) -> tuple[int, int]:
    for name in ("rank", "world_size"):
        if name not in query:
            raise _error(scheme, f"{name.replace('_', ' ')} parameter missing")
    return int(query["rank"]), int(query["world_size"])


def _started_by_an_agent() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _store_at(host: str, port: int, rank: int, world_size: int, timeout: timedelta) -> Store:
    """The store at a port, which torchrun keeps, or rank 0."""
    if _started_by_an_agent():
        store = TCPStore(host, port, world_size, False, timeout, wait_for_workers=False)
        return PrefixStore(f"/worker/attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    return TCPStore(host, port, world_size, rank == 0, timeout, wait_for_workers=False, multi_tenant=True)


def _from_environment(
    parsed: ParseResult, query: dict[str, str], timeout: timedelta = timedelta(minutes=5)
) -> Iterator[tuple[Store, int, int]]:
    def value(name: str) -> str:
        if name not in os.environ:
            raise _error("env", f"environment variable {name} expected, but not set")
        return os.environ[name]

    rank = int(query["rank"] if "rank" in query else value("RANK"))
    world_size = int(query["world_size"] if "world_size" in query else value("WORLD_SIZE"))
    yield _store_at(value("MASTER_ADDR"), int(value("MASTER_PORT")), rank, world_size, timeout), rank, world_size
    raise RuntimeError("Unable to perform re-rendezvous using env:// method")


def _by_tcp(
    parsed: ParseResult, query: dict[str, str], timeout: timedelta = timedelta(minutes=5)
) -> Iterator[tuple[Store, int, int]]:
    if parsed.port is None:
        raise _error("tcp", "port number missing")
    rank, world_size = _numbers("tcp", query)
    yield _store_at(parsed.hostname or "", parsed.port, rank, world_size, timeout), rank, world_size
    raise RuntimeError("Unable to perform re-rendezvous using tcp:// method")


def _by_file(parsed: ParseResult, query: dict[str, str], **settings: Any) -> Iterator[tuple[Store, int, int]]:
    if not parsed.path:
        raise _error("file", "path missing")
    rank, world_size = _numbers("file", query)
    yield FileStore(parsed.path, world_size), rank, world_size
    raise RuntimeError("Unable to perform rerendezvous using file:// method")


_OURS: dict[str, Callable[..., Iterator[tuple[Store, int, int]]]] = {"env": _from_environment, "tcp": _by_tcp, "file": _by_file}
_handlers.update(_OURS)
