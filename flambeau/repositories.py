"""``torch.hub.load``: models that a repository's ``hubconf.py`` makes, from GitHub or from a directory.

This runs the repository's code. A repository of GitHub is run only where the user has said that it is trusted; those that are
stand in a file of the cache. Repositories are kept there, so that a model is made without the network from then on.

Source: https://docs.pytorch.org/docs/stable/hub.html
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from flambeau import hub

__all__ = ["help", "list", "load"]

_CONF = "hubconf.py"
_DEPENDENCIES = "dependencies"


def _known(owner: str, name: str) -> Iterator[str]:
    """The branches of a repository that are in the cache, of those that may be the default one."""
    for branch in ("main", "master"):
        if os.path.exists(os.path.join(hub.get_dir(), f"{owner}_{name}_{branch}")):
            yield branch


def _parse_repo_info(github: str) -> tuple[str, str, str]:
    """The owner, the name and the branch of ``"owner/name"`` or ``"owner/name:branch"``."""
    path, _, ref = github.partition(":")
    owner, slash, name = path.partition("/")
    if not slash or not name or "/" in name:
        raise ValueError(f"Invalid value for repo: {github!r}. Expected owner/name, or owner/name:branch")
    if ref:
        return owner, name, ref
    try:
        with urlopen(f"https://github.com/{owner}/{name}/tree/main/"):
            return owner, name, "main"
    except HTTPError as error:
        if error.code != 404:
            raise
        return owner, name, "master"
    except URLError as error:
        for branch in _known(owner, name):
            return owner, name, branch
        raise RuntimeError(
            f"It looks like there is no internet connection and the repo could not be found in the cache ({hub.get_dir()})"
        ) from error


def _check_trusted(owner: str, name: str, trust_repo: Any, known: bool) -> None:
    """Goes on where the repository is trusted, perhaps after asking.

    Raises:
        Exception: the user does not trust it.
    """
    path = os.path.join(hub.get_dir(), "trusted_list")
    trusted = Path(path).read_text(encoding="utf-8").split("\n") if os.path.exists(path) else []
    who = f"{owner}_{name}"
    if (
        who in trusted
        or owner in ("facebookresearch", "facebookincubator", "pytorch", "fairinternal")
        or trust_repo == "check"
        and known
    ):
        return
    if trust_repo not in (True,):
        answer = input(
            f"The repository {owner}_{name} does not belong to the list of trusted repositories and as such cannot be downloaded. Do you trust this "
            "repository and wish to add it to the trusted list of repositories (y/N)?"
        )
        if answer.lower() not in ("y", "n", ""):
            raise ValueError(f"Unrecognized response {answer}.")
        if answer.lower() != "y":
            raise Exception("Untrusted repository.")
    with open(path, "a", encoding="utf-8") as file:
        file.write(who + "\n")


def _check_owner(owner: str, name: str, ref: str) -> None:
    """Refuses a commit that is of a fork: GitHub would hand it out under the owner's name."""
    headers = {"Accept": "application/vnd.github.v3+json"}
    if token := os.environ.get("GITHUB_TOKEN"):
        headers["Authorization"] = f"token {token}"
    for kind in ("branches", "tags"):
        page = 1
        while True:
            url = f"https://api.github.com/repos/{owner}/{name}/{kind}?per_page=100&page={page}"
            with urlopen(Request(url, headers=headers)) as answer:
                found = json.loads(answer.read())
            if any(ref == branch["name"] or branch["commit"]["sha"].startswith(ref) for branch in found):
                return
            if not found:
                break
            page += 1
    raise ValueError(
        f"Cannot find {ref} in https://github.com/{owner}/{name}. If it's a commit from a forked repo, please call hub.load() with forked repo directly."
    )


def _unpack(archive: str, folder: str) -> str:
    """Extracts an archive; returns the path of the one directory in it."""
    with zipfile.ZipFile(archive) as file:
        root = os.path.realpath(folder)
        for member in file.infolist():
            if not os.path.realpath(os.path.join(folder, member.filename)).startswith(root + os.sep):
                raise ValueError(f"the archive has an entry that would lie outside of it: {member.filename}")
        file.extractall(folder)
        return os.path.join(folder, file.infolist()[0].filename.partition("/")[0])


def _fetched(github: str, force_reload: bool, trust_repo: Any, verbose: bool, skip_validation: bool) -> str:
    """The directory of a repository in the cache, where it is put unless it is there."""
    folder = hub.get_dir()
    os.makedirs(folder, exist_ok=True)
    owner, name, ref = _parse_repo_info(github)
    own = os.path.join(folder, "_".join([owner, name, ref.replace("/", "_")]))
    known = os.path.exists(own)
    _check_trusted(owner, name, trust_repo, known)
    if known and not force_reload:
        if verbose:
            sys.stderr.write(f"Using cache found in {own}\n")
        return own
    if not skip_validation:
        _check_owner(owner, name, ref)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        archive = os.path.join(work, "repository.zip")
        url = f"https://github.com/{owner}/{name}/zipball/{ref}"
        sys.stdout.write(f'Downloading: "{url}" to {own}\n')
        hub.download_url_to_file(url, archive, progress=False)
        made = _unpack(archive, os.path.join(work, "unpacked"))
        shutil.rmtree(own, ignore_errors=True)
        shutil.move(made, own)
    return own


@contextlib.contextmanager
def _first_in_path(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _run(folder: str) -> ModuleType:
    """The module of ``hubconf.py``."""
    path = os.path.join(folder, _CONF)
    os.stat(path)  # raises where there is none
    spec = importlib.util.spec_from_file_location(_CONF, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _entry(module: ModuleType, model: str) -> Callable:
    """What ``hubconf.py`` calls ``model``.

    Raises:
        RuntimeError: a package that it names is not installed, or there is no such callable.
    """
    if not isinstance(model, str):
        raise ValueError("Invalid input: model should be a str of function name")
    missing = [name for name in getattr(module, _DEPENDENCIES, None) or () if not _is_installed(name)]
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    found = getattr(module, model, None)
    if found is None or not callable(found):
        raise RuntimeError(f"Cannot find callable {model} in hubconf")
    return found


def _is_installed(name: str) -> bool:
    return name in sys.modules or name == "torch" or importlib.util.find_spec(name) is not None


def _directory(repo_or_dir: str, source: str, trust_repo: Any, force_reload: bool, verbose: bool, skip_validation: bool) -> str:
    if source.lower() not in ("github", "local"):
        raise ValueError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    return (
        os.path.abspath(repo_or_dir)
        if source.lower() == "local"
        else _fetched(repo_or_dir, force_reload, trust_repo, verbose, skip_validation)
    )


def list(
    github: str, force_reload: bool = False, skip_validation: bool = False, trust_repo: Any = "check", verbose: bool = True
) -> Any:
    """The names of what a repository of GitHub, ``"owner/name[:branch]"``, makes."""
    folder = _fetched(github, force_reload, trust_repo, verbose, skip_validation)
    with _first_in_path(folder):
        module = _run(folder)
    return [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]


def help(
    github: str, model: str, force_reload: bool = False, skip_validation: bool = False, trust_repo: Any = "check"
) -> str | None:
    """What the repository says of ``model``."""
    folder = _fetched(github, force_reload, trust_repo, True, skip_validation)
    with _first_in_path(folder):
        return _entry(_run(folder), model).__doc__


def load(
    repo_or_dir: str, model: str, *args: Any, source: str = "github", trust_repo: Any = "check", force_reload: bool = False, verbose: bool = True,
    skip_validation: bool = False, **kwargs: Any,
) -> Any:  # fmt: skip
    """``model(*args, **kwargs)`` of a repository's ``hubconf.py``: this runs its code.

    Args:
        repo_or_dir: ``"owner/name"`` or ``"owner/name:branch"`` of GitHub, or with ``source="local"`` the path of a directory.
        trust_repo: ``True`` trusts it from now on; ``False`` asks; ``"check"`` asks unless it is trusted, or in the cache, already.
        force_reload: whether a repository in the cache is downloaded again.
        skip_validation: whether to leave out the question to GitHub that the branch or commit is the owner's.

    Raises:
        RuntimeError: a package that the repository names is not installed, or it has no such model.
    """
    folder = _directory(repo_or_dir, source, trust_repo, force_reload, verbose, skip_validation)
    with _first_in_path(folder):
        return _entry(_run(folder), model)(*args, **kwargs)
