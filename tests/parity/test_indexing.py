"""Indexing and assignment do what PyTorch's do, one program a line."""

from __future__ import annotations

import pytest

INDEXING = r"""
torch.arange(6).view(2,3)[1], torch.arange(6).view(2,3)[-1], torch.arange(6).view(2,3)[0,1], torch.arange(6).view(2,3)[:, 1], torch.arange(6).view(2,3)[..., 1], torch.arange(6).view(2,3)[None], torch.arange(6).view(2,3)[:, None]
torch.arange(6)[::2], torch.arange(6)[1:100], torch.arange(6)[-3:], torch.arange(6)[5:2], torch.arange(6)[:-1:3]
torch.arange(6)[::-1]
torch.arange(6)[::0]
torch.arange(6)[10]
torch.arange(6)[-7]
torch.zeros(())[0]
torch.zeros(())[...]
torch.zeros(())[None]
torch.zeros(())[()]
torch.zeros(())[None, ..., None].shape
torch.zeros(())[:]
torch.zeros(2,3)[0,0,0]
torch.zeros(2,3)[1.5]
torch.zeros(2,3)[0, 3]
torch.zeros(2,3)[2]
torch.zeros(2,3)[{}]
torch.zeros(2,3)[1:2.5]
torch.zeros(2,3)[True], torch.zeros(2,3)[False].shape, torch.zeros(2)[True, None].shape
torch.zeros(2,3)[np.int64(1)], torch.zeros(2,3)[torch.tensor(1)], torch.zeros(2,3)[np.array(1)]
torch.zeros(2,3)[torch.tensor(5)]
torch.zeros(2,3)[torch.tensor(1.)]
torch.zeros(2,3)[torch.tensor([1.])]
torch.zeros(2,3)[np.array([1.])]
torch.zeros(2,3)[[1.]]
torch.zeros(2,3)[[0,1]], torch.zeros(2,3)[[0,1],[1,2]], torch.zeros(2,3)[[[0,1],[1,0]]].shape, torch.zeros(2,3)[(0,1)], torch.zeros(2,3)[[True,False]], torch.zeros(2,3)[[]].shape
torch.zeros(2,3)[torch.tensor([True,False])], torch.zeros(2,3)[torch.zeros(2,3)>-1], torch.zeros(2,3)[:, torch.tensor([True,False,True])].shape
torch.zeros(2,3)[torch.tensor([True,False,True])]
torch.zeros(2,3)[torch.zeros(3,2)>0]
torch.zeros(2,3)[torch.tensor([0,5])]
torch.zeros(2,3)[torch.tensor([0,-3])]
torch.zeros(2,3)[:, torch.tensor([3])]
torch.zeros(2,3)[torch.tensor([0,1]), torch.tensor([0,1,2])]
torch.zeros(2,3)[torch.tensor([0,1], dtype=torch.int32)], torch.zeros(2,3)[torch.tensor([0,1], dtype=torch.int16)]
torch.zeros(2,3)[torch.tensor([0,1], dtype=torch.uint8)]
torch.arange(24).view(2,3,4)[torch.tensor([0,1]), :, torch.tensor([1,2])].shape, torch.arange(24).view(2,3,4)[:, torch.tensor([0,1]), torch.tensor([1,2])], torch.arange(24).view(2,3,4)[0, :, torch.tensor([1,2])], torch.arange(24).view(2,3,4)[..., torch.tensor([[1],[2]])].shape, torch.arange(24).view(2,3,4)[torch.tensor([0]), None, torch.tensor([1])].shape
torch.arange(24).view(2,3,4)[1, [0,2], 1:3], torch.arange(24).view(2,3,4)[[1,0], 1, [0,2]], torch.arange(24).view(2,3,4)[torch.tensor(1), [0,2]].shape, torch.arange(24).view(2,3,4)[[0,1], :, 0].shape
x = torch.arange(24).view(2,3,4); x[x % 2 == 0].sum(), x[0][x[0]>3].shape, x[:, x[0,:,0]>0].shape
torch.zeros(2,3)[torch.zeros(0, dtype=torch.long)].shape, torch.zeros(0,3)[torch.zeros(0,dtype=torch.bool)].shape
torch.zeros(2,3)[range(2)].shape, torch.zeros(2,3)[:, range(0,3,2)].shape
torch.zeros(2,3)[slice(torch.tensor(0), torch.tensor(1))].shape, torch.zeros(5)[torch.tensor(1):torch.tensor(3)].shape
torch.zeros(2,3)[[torch.tensor(0), torch.tensor(1)]]
torch.zeros(2,3)[[0, slice(None)]]
torch.zeros(2,3)[[slice(0,1), 0]]
torch.zeros(2,3)[..., ...].shape
x = torch.zeros(3); x[0] = 1; x[-1] = 2.5; x[1:2] = 7; x
x = torch.zeros(3); x[5] = 1
x = torch.zeros(3); x[0] = "a"
x = torch.zeros(3); x[0] = [1, 2]
x = torch.zeros(3); x[0:2] = [1, 2]; x
x = torch.zeros(3); x[:] = torch.arange(3); x
x = torch.zeros(3); x[:] = np.arange(3); x
x = torch.zeros(3); x[0] = np.float64(3); x[1] = torch.tensor(4); x[2] = torch.tensor([5]); x
x = torch.zeros(3); x[0] = torch.tensor([[5]]); x
x = torch.zeros(3); x[0] = torch.tensor([5, 6])
x = torch.zeros(3); x[0:2] = torch.zeros(3)
x = torch.zeros(2,3); x[:, 0] = torch.tensor([1,2]); x[0] = torch.tensor([1,2,3]); x[1, 1:] = 9; x
x = torch.zeros(2,3); x[...] = 3; x[..., -1] = 0; x
x = torch.zeros(2,3); x[x == 0] = 5; x[x > 4] = x[x > 4] * 2; x
x = torch.zeros(2,3); x[torch.tensor([0,1]), torch.tensor([1,2])] = torch.tensor([7.,8.]); x
x = torch.zeros(2,3); x[[0,1]] = torch.ones(3); x
x = torch.zeros(2,3); x[[0,0]] = torch.tensor([[1.],[2.]]); x
x = torch.zeros(2,3); x[torch.tensor([True,False])] = 4; x
x = torch.zeros(2,3); x[x > 5] = 4; x
x = torch.zeros(2,3); x[:, [0,2]] = torch.tensor([1.,2.]); x
x = torch.zeros(2,3); x[0, [0,2]] = 5; x
x = torch.zeros(2,3); x[torch.tensor([0,1])] = torch.zeros(2,2)
x = torch.zeros(2,3); x[x==0] = torch.zeros(5)
x = torch.zeros(2,3); x[torch.tensor([0,5])] = 1.; x
x = torch.zeros(2,3); x[torch.tensor([0])] = torch.ones(1, 3, dtype=torch.float64); x
x = torch.zeros(2,3); x[torch.tensor([0,1])] = torch.ones(2, 3, dtype=torch.int64); x
x = torch.zeros(3, dtype=torch.int64); x[0] = 2.7; x
x = torch.zeros(3, dtype=torch.int64); x[x==0] = 2.7; x
x = torch.zeros(3, dtype=torch.int64); x[:] = torch.tensor([1.5, 2.5, -1.5]); x
x = torch.zeros(3, dtype=torch.bool); x[0] = 2; x
x = torch.zeros(3); x[0] = 1j
x = torch.zeros(3, dtype=torch.uint8); x[0] = 300
x = torch.zeros(3); x[::-1] = 1
x = torch.zeros(()); x[()] = 3; x[...] = x + 1; x
x = torch.zeros(()); x[0] = 3
x = torch.zeros(3); x[None] = 2; x
x = torch.zeros(3); x[True] = 2; x
x = torch.zeros(3); x[False] = 2; x
x = torch.arange(4.); y = x[1:3]; y[0] = 9; y += 1; x
x = torch.arange(6.).view(2,3); x.t()[0] = 5; x.diagonal().fill_(7); x.view(-1)[5] = 1; x
x = torch.arange(6.).view(2,3); y = x[[0,1]]; y[0] = 9; x
x = torch.arange(6.); a, b = x.chunk(2); a.zero_(); b.add_(1); x
x = torch.arange(6.); x.unfold(0, 2, 2)[0] = 7; x
x = torch.arange(6.); x.as_strided((2,2),(1,2)).zero_(); x
x = torch.arange(6.); y = x.expand(2,6); x[0] = 3; y
x = torch.zeros(3); del x[0]
x = torch.zeros(3); x[0] += 1; x[[0,0]] += 1; x
x = torch.zeros(3); x.index_put_((torch.tensor([0,0]),), torch.tensor(1.), accumulate=True); x
x = torch.zeros(3); x.index_put_([torch.tensor([0,0])], torch.tensor([1.,2.])); x
x = torch.zeros(3); x.index_put([torch.tensor([0.,0])], torch.tensor([1.,2.])); x
torch.zeros(3)[torch.tensor([1+1j])]
torch.zeros(3)[torch.zeros(1,dtype=torch.float16)]
torch.zeros(2,2)[torch.tensor([[0,1]]), torch.tensor([[1],[0]])].shape
torch.zeros(2,3).take_along_dim(torch.tensor([[0],[1]]), 1)
torch.zeros(4,3)[1:3, None, ..., 0].shape, torch.zeros(4,3,2)[None, 1, ..., None].shape
torch.zeros(2,3)[:, :, :]
torch.zeros(2,3)[1, ..., 1, 1]
torch.zeros(2,3)[None, None, 0, [1,2], None].shape
torch.zeros(4,5,6,7)[:, [0,1], :, [1,2]].shape, torch.zeros(4,5,6,7)[:, [0,1], [1,2]].shape, torch.zeros(4,5,6,7)[0, [0,1], :, [1,2]].shape, torch.zeros(4,5,6,7)[:, 0, [0,1], 1].shape,  torch.zeros(4,5,6,7)[:, 0, :, [1,2]].shape
torch.zeros(4,5)[torch.tensor([[True]*5]*4)].shape, torch.zeros(4,5,6)[torch.tensor([[True]*5]*4), 0].shape, torch.zeros(4,5,6)[:, torch.tensor([[True]*6]*5)].shape
torch.zeros(4,5)[torch.tensor(True)].shape, torch.zeros(4,5)[torch.tensor(False)].shape
torch.zeros(2,3)[torch.tensor([0]), True].shape
torch.zeros(3)[(torch.tensor([0,1]),)], torch.zeros(3)[torch.tensor([0,1]),]
"""


@pytest.mark.parametrize("program", INDEXING.strip().splitlines())
def test_indexing(agree, program):
    agree(program)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("made", ["torch.ones(n)", "torch.ones(n) * 1", "torch.ones(n) * 1; x.tolist()"])
@pytest.mark.parametrize("write", [
    "x[x > 0] = x", "x[torch.arange(n)] = x", "x[torch.arange(n)] = x[:1]", "x[x > 0] = x[:1]", "x[x > 0] = x[0]", "x[torch.arange(n)] = x[0]",
    "x.index_put_((torch.arange(n),), x)", "x.index_put_((x > 0,), x)", "x.index_put_((x > 0,), x[:1])", "x.index_put_((x > 0,), x, True)", "x[0] = x[-1]",
])  # fmt: skip
def test_what_is_written_by_index_may_not_lie_in_the_memory_that_is_written_to(agree, n, made, write):
    """But for one value under a mask, which PyTorch reads as a number. It is the same whether the values are there or not."""
    agree(f"n = {n}; x = {made}; {write}; x")
