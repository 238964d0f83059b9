"""Keywords of PyTorch's overloads."""

from __future__ import annotations

import pytest

CALLS = (
    "x.split(split_size=1)", "x.split(split_size=[1, 1], dim=0)", "torch.split(x, split_size_or_sections=1)",
    "x.tensor_split(indices=(1,))", "x.tensor_split(sections=2)", "x.hsplit(sections=3)", "x.hsplit(indices=[1])", "torch.hsplit(x, indices=[1])",
    "x.vsplit(sections=2)", "x.vsplit(indices=[1])", "x.unsqueeze(0).dsplit(sections=3)", "x.hsplit()", "x.hsplit(4)",
    "x.view(dtype=torch.int32)", "x.view(size=(6,))", "x.to(other=x.double())", "x.expand(size=(2, 3))", "x.repeat(repeats=(2, 1))",
    "x.permute(dims=(1, 0))", "x.reshape(shape=(6,))", "x.sum(axis=1)", "torch.cat([x, x], axis=1)", "x.scatter(1, torch.tensor([[0]]), value=2.)",
    "x.unflatten(dim=1, sizes=(3, 1))", "x.roll(shifts=1, dims=1)", "torch.randint(high=2, size=(2,)).shape", "x.where(condition=x > 1, other=x)",
)  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_keywords(call, agree):
    agree(f"x = torch.arange(6.0).view(2, 3)\nfor _ in range(3): r = {call}\nr")
