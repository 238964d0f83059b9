"""Weights from the network: downloads into a cache, checked by the hash in their names.

Models of repositories, with their code, are in :mod:`flambeau.repositories`.
Source: https://docs.pytorch.org/docs/stable/hub.html
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from flambeau import serialization
from flambeau.core.progress import bar, bar_class
from flambeau.serialization.files import replacing

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]  # noqa: F822  (three come with their first use)


def __getattr__(name: str) -> Any:
    if name in ("help", "list", "load"):
        from flambeau import repositories

        return getattr(repositories, name)
    if name != "tqdm":
        raise AttributeError(f"module 'torch.hub' has no attribute '{name}'", name=name)
    return bar_class()


HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")
_dir: str | None = None


def get_dir() -> str:
    """Where downloads are kept: what :func:`set_dir` set, else ``$TORCH_HOME/hub``, ``$XDG_CACHE_HOME/torch/hub``."""
    if _dir is not None:
        return _dir
    return os.path.join(_get_torch_home(), "hub")


def _get_torch_home() -> str:
    """Where caches are kept: ``$TORCH_HOME``, else ``$XDG_CACHE_HOME/torch``."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch")))


def set_dir(d: str | os.PathLike) -> None:
    """Keeps downloads in ``d``."""
    global _dir
    _dir = os.path.expanduser(os.fspath(d))


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Downloads ``url`` to ``dst``, which appears only when it is whole and its SHA-256 begins with ``hash_prefix``.

    Args:
        progress: show a bar on a terminal or in a notebook, if it takes longer than two seconds.

    Raises:
        RuntimeError: the hash is another.
    """
    dst = os.path.expanduser(dst)
    digest = hashlib.sha256()
    with urlopen(Request(url, headers={"User-Agent": "flambeau"})) as source, replacing(dst) as file:
        length = source.headers.get("Content-Length")
        with bar(
            what=os.path.basename(dst), total=int(length) if length else 0, wanted=progress, unit="B", unit_scale=True
        ) as shown:
            while piece := source.read(1 << 20):
                file.write(piece)
                digest.update(piece)
                shown.update(len(piece))
        found = digest.hexdigest()
        if hash_prefix and not found.startswith(hash_prefix):
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{found}")')


def load_state_dict_from_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True, check_hash: bool = False,
    file_name: str | None = None, weights_only: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """:func:`flambeau.load` of the file at ``url``, which is downloaded the first time.

    With ``check_hash``, the hexadecimal digits after the last ``-`` of its name must begin its SHA-256.
    """
    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(folder, exist_ok=True)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        found = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, path, found.group(1) if found else None, progress)
    return serialization.load(path, map_location=map_location, weights_only=weights_only)
