"""Lists of many tensors: joined at once where all have their values, and the same where not."""

import numpy as np
import pytest

import flambeau as torch

COUNT = 40


def parts(kind: str, dtype) -> list:
    whole = torch.arange(COUNT * 12.0).reshape(COUNT, 12).to(dtype)
    whole.tolist()
    return {
        "whole": lambda: [row.clone() for row in whole],
        "rows": lambda: list(whole),
        "every other": lambda: [row[::2] for row in whole],
        "transposed": lambda: [row.reshape(3, 4).t() for row in whole],
        "pending": lambda: [row + 1 for row in whole],
        "numbers": lambda: [row[3] for row in whole],
        "empty": lambda: [row[:0] for row in whole],
        "one several times": lambda: [whole[0]] * COUNT,
        "other dtypes": lambda: [row if i % 2 else row.to(torch.complex128) for i, row in enumerate(whole)],
    }[kind]()


KINDS = ["whole", "rows", "every other", "transposed", "pending", "numbers", "empty", "one several times", "other dtypes"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_joined(kind, dtype):
    tensors = parts(kind, dtype)
    expected = [t.tolist() for t in tensors]
    stacked = torch.stack(tensors)
    assert stacked.tolist() == expected and stacked.is_contiguous()
    last = torch.stack(tensors, -1)
    assert last.movedim(-1, 0).tolist() == expected and last.is_contiguous()
    if tensors[0].dim():
        joined = torch.cat(tensors)
        assert joined.tolist() == [x for part in expected for x in part] and joined.is_contiguous()
    assert stacked.dtype == torch.result_type(tensors[0], tensors[1])


@pytest.mark.parametrize("kind", ["whole", "rows", "every other"])
def test_gradients_reach_each(kind):
    leaf = torch.ones(COUNT, 12, requires_grad=True)
    tensors = {
        "whole": lambda: [row * 1 for row in leaf],
        "rows": lambda: list(leaf),
        "every other": lambda: [row[::2] for row in leaf],
    }[kind]()
    torch.stack(tensors).sum().backward()
    assert leaf.grad.sum().item() == sum(t.numel() for t in tensors)
    with torch.no_grad():
        assert not torch.stack(tensors).requires_grad


def test_conjugates_and_memory_that_numpy_sees():
    z = torch.tensor([1 + 2j, 3 - 1j])
    assert torch.stack([z.conj()] * COUNT)[5].tolist() == [1 - 2j, 3 + 1j]
    array = np.zeros(3, np.float32)
    t = torch.from_numpy(array)
    array[1] = 7
    stacked = torch.stack([t] * COUNT)
    array[1] = 8
    assert stacked[0].tolist() == [0, 7, 0] and torch.stack([t] * COUNT)[0].tolist() == [0, 8, 0]


def test_the_result_is_nobody_elses_memory():
    rows = list(torch.zeros(COUNT, 3))
    stacked = torch.stack(rows)
    rows[0].add_(1)
    assert stacked.sum().item() == 0
    stacked.add_(5)
    assert rows[1].tolist() == [0, 0, 0]
