"""Summaries are, byte for byte, what PyTorch writes with TensorBoard's own messages."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from torch.utils.tensorboard import summary as theirs  # noqa: E402

import flambeau  # noqa: E402
from flambeau.utils.tensorboard import summary as ours  # noqa: E402

BINS = [-4.0, -1.0, 0.0, 0.5, 1.0, 4.0]
CALLS = {
    "scalar": lambda s, lib: s.scalar("a", 0.5),
    "scalar, new": lambda s, lib: s.scalar("a", lib.tensor(0.5), new_style=True),
    "scalar, double": lambda s, lib: s.scalar("a", 0.5, new_style=True, double_precision=True),
    "scalar of two": lambda s, lib: s.scalar("a", lib.ones(2)),
    "histogram": lambda s, lib: s.histogram("a", lib.linspace(-3, 0.2, 20), BINS),
    "histogram, few bins": lambda s, lib: s.histogram("a", lib.linspace(-3, 3, 20), np.linspace(-5, 5, 30), max_bins=7),
    "histogram of nothing": lambda s, lib: s.histogram("a", lib.zeros(0), BINS),
    "histogram_raw": lambda s, lib: s.histogram_raw("a", 0.0, 1.0, 3, 1.5, 2.5, [0.5, 1.0], [1, 2]),
    "text": lambda s, lib: s.text("a", "héllo"),
    "audio": lambda s, lib: s.audio("a", lib.linspace(-1, 1, 50), 8000),
    "layout": lambda s, lib: s.custom_scalars({"c": {"x": ["Multiline", ["a", "b"]], "y": ["Margin", ["a", "b", "c"]]}}),
    "precision": lambda s, lib: s.pr_curve("a", np.array([0, 1, 1, 0]), np.array([0.1, 0.8, 0.6, 0.7]), 11),
    "mesh": lambda s, lib: s.mesh("m", lib.ones(1, 4, 3), None, lib.zeros(1, 2, 3, dtype=lib.int64), {"k": 1}),
    "hparams": lambda s, lib: s.hparams({"lr": 0.1, "bs": 4, "n": "adam", "on": True}, {"acc": 0.9}, {"bs": [1, 4]})[0],
    "hparams of one": lambda s, lib: s.hparams({"lr": lib.tensor([0.5])}, {})[1],
    "hparams, wrong": lambda s, lib: s.hparams({"a": [1]}, {}),
    **{
        f"tensor {name}": lambda s, lib, name=name: s.tensor_proto("a", lib.arange(3).to(getattr(lib, name)))
        for name in ("float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool", "complex64", "uint16")
    },
}


@pytest.mark.parametrize("call", CALLS)
def test_messages(call):
    def outcome(s, lib):
        try:
            return CALLS[call](s, lib).SerializeToString()
        except Exception as error:
            return type(error).__name__, str(error)[:30]

    assert outcome(ours, flambeau) == outcome(theirs, torch)
