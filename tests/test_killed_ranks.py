"""A process of several is killed at a random moment: a short version of ``python -m tests.killed_ranks``."""

from __future__ import annotations

import random
import time

import pytest

pytest.importorskip("mpi4py")

from flambeau.distributed import _shared_memory  # noqa: E402
from tests.killed_ranks import killed_once  # noqa: E402


def test_the_others_end_nothing_is_left_and_the_training_goes_on():
    killed_once(random.Random(2), 1.5)


def test_files_that_nobody_has_mapped_are_taken_away(monkeypatch, tmp_path):
    monkeypatch.setattr(_shared_memory, "_FOLDER", f"{tmp_path}/")
    monkeypatch.setattr(_shared_memory, "_AGE", 0.05)
    (tmp_path / "mpich_shm_1_0").write_bytes(b"left")
    (tmp_path / "other").write_bytes(b"of somebody else")
    time.sleep(0.1)
    (tmp_path / "ucx_shm_posix_2").write_bytes(b"being made")
    _shared_memory.sweep(wait=True)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
