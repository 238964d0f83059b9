"""Versions of tensors, which count what is changed in place, beside PyTorch's."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

CHANGES = {
    "resize_": lambda t, y: y.resize_(1, 2),
    "resize_as_": lambda t, y: y.resize_as_(t.ones(3)),
    "resize_ to its size": lambda t, y: y.resize_(y.shape),
    "set_": lambda t, y: y.set_(t.ones(3)),
    "zero_": lambda t, y: y.zero_(),
    "t_": lambda t, y: y.t_(),
    "squeeze_": lambda t, y: y.squeeze_(),
    "unsqueeze_": lambda t, y: y.unsqueeze_(0),
    "as_strided_": lambda t, y: y.as_strided_((1, 1), (1, 1)),
    "swapaxes_": lambda t, y: y.swapaxes_(0, 0),
    "an index": lambda t, y: y.__setitem__(0, 1),
    "out": lambda t, y: t.add(y, 1, out=y),
    "data": lambda t, y: setattr(y, "data", t.ones(4)),
    "detach_": lambda t, y: y.detach_(),
    "mul_ of a part": lambda t, y: y[:1].mul_(2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_versions_count_changes_in_place(name):
    versions = []
    for t in (flambeau, torch):
        y = t.rand(1)
        y.zero_()
        before = y._version
        for _ in range(2):
            CHANGES[name](t, y)
            versions.append(y._version - before)
    assert versions[:2] == versions[2:]
