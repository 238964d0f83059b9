"""The files in ``/dev/shm`` by which MPI and UCX share memory between the processes of a machine: none is left, whoever is killed
when.

Once all processes have a file mapped its name is taken away, and it goes with the last of them. Where a process is killed before
that, the others take away what they have mapped, and what nobody has.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterable

__all__ = ["sweep", "unlink_mapped"]

_FOLDER, _NAMES = "/dev/shm/", ("mpich_shm_", "ucx_shm_posix_")
_AGE = 1.0
"""Seconds after which a file that nobody has mapped is nobody's: who makes one maps it at once."""


def _mapped_by(pid: str) -> set[str]:
    """The files that a process has mapped; none if it has ended or is somebody else's."""
    try:
        with open(f"/proc/{pid}/maps") as maps:
            return {line.split(maxsplit=5)[5].strip() for line in maps if _FOLDER in line}
    except OSError:
        return set()


def _unlink(files: Iterable[str]) -> None:
    for file in files:
        try:
            os.unlink(file)
        except OSError:  # another process of this machine has done it
            pass


def _is_ours(file: str) -> bool:
    return file.startswith(tuple(_FOLDER + name for name in _NAMES))


def unlink_mapped() -> None:
    """Takes the names of the files away that this process has mapped."""
    _unlink(filter(_is_ours, _mapped_by("self")))


def sweep(wait: bool = False) -> None:
    """Takes the files away that belong to this user and that no process has mapped. ``wait``: until those are old enough that are
    not."""
    now = time.time()
    ages: dict[str, float] = {}
    for name in _NAMES:
        for file in glob.glob(f"{_FOLDER}{name}*"):
            try:
                state = os.stat(file)
            except OSError:
                continue
            if state.st_uid == os.getuid():
                ages[file] = now - state.st_mtime
    if wait and any(age < _AGE for age in ages.values()):
        time.sleep(_AGE)
        sweep()
        return
    old = {file for file, age in ages.items() if age >= _AGE}
    if old:
        _unlink(old.difference(*[_mapped_by(pid) for pid in os.listdir("/proc") if pid.isdigit()]))
