"""Checkpoints of several processes: PyTorch reads ours, and we read PyTorch's."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from flambeau.distributed import checkpoint as ours  # noqa: E402


def test_each_library_reads_the_other(tmp_path):
    import torch.distributed.checkpoint as theirs

    def state(library, zero: bool):
        kind = library.zeros if zero else library.ones
        return {
            "model": {"w": kind(3, 4), "b": kind(2, dtype=library.bfloat16)},
            "step": 0 if zero else 7,
            "list": [kind(2), {"k": 0 if zero else 1}],
        }

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that there is one process only
        for save, load, source, target in ((ours, theirs, flambeau, torch), (theirs, ours, torch, flambeau)):
            folder = tmp_path / source.__name__
            save.save(state(source, False), checkpoint_id=folder, no_dist=True)
            loaded = state(target, True)
            load.load(loaded, checkpoint_id=folder, no_dist=True)
            assert loaded["step"] == 7 and loaded["list"][1] == {"k": 1}
            assert loaded["model"]["w"].tolist() == [[1.0] * 4] * 3 and loaded["model"]["b"].tolist() == [1.0, 1.0]
            assert loaded["list"][0].tolist() == [1.0, 1.0]
