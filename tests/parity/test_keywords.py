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
    "torch.permute(input=x, dims=(1, 0))", "torch.reshape(input=x, shape=(6,))", "torch.flip(x=x, dims=(1,))", "torch.tile(input=x, dims=(2,))", "torch.broadcast_to(input=x, size=(2, 2, 3))",
    "torch.abs_(x1=-x)", "torch.exp_(x=x.clone())", "torch.gcd_(x1=torch.tensor([4]), x2=torch.tensor([6]))", "torch.is_complex(x1=x)", "torch.numel(a=x)", "torch.detach(x1=x)",
    "x.swapaxes(axis0=0, axis1=1)", "torch.isin(elements=x, test_element=2)", "x.size(axis=0), x.stride(axis=1)", "torch.result_type(tensor=x, other=1)",
    "x.clone().copy_(other=x + 1)", "torch.unsafe_split(input=x, split_size=1)", "torch.hann_window(4, pin_memory=False)", "torch.histogram(x)",
    "torch.repeat_interleave(repeats=torch.tensor([1, 2]))", "torch.nuclear_norm(x, True)", "torch.norm_except_dim(x, 1, 1), torch.norm_except_dim(x[0], 0, 0)", "x.add(2, 3), torch.rsub(x, 1, 2)",
    "torch.matrix_power(torch.tensor([[1, 2], [3, 4]]), 3)", "torch.zeros(3, dtype=torch.int64).index_add(0, torch.tensor([0]), torch.tensor([5]), alpha=1.5)", "x.is_set_to(tensor=x)",
)  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_keywords(call, agree):
    agree(f"x = torch.arange(6.0).view(2, 3)\nfor _ in range(3): r = {call}\nr")
