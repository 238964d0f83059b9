"""Pruning: masks of parameters, their hooks, and what is saved."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.nn.utils import prune

WAYS = {
    "random": lambda m, amount: prune.random_unstructured(m, "weight", amount),
    "l1": lambda m, amount: prune.l1_unstructured(m, "weight", amount),
    "rows at random": lambda m, amount: prune.random_structured(m, "weight", amount, dim=0),
    "rows by norm": lambda m, amount: prune.ln_structured(m, "weight", amount, n=2, dim=0),
    "columns by norm": lambda m, amount: prune.ln_structured(m, "weight", amount, n=float("-inf"), dim=-1),
    "nothing": lambda m, amount: prune.identity(m, "weight"),
}


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_pruned_twice(first, second):
    torch.manual_seed(0)
    fc = torch.nn.Linear(8, 4)
    before = fc.weight.detach().clone()
    WAYS[first](fc, 0.25)
    once = fc.weight_mask.clone()
    WAYS[second](fc, 1)
    assert torch.equal(fc.weight, fc.weight_mask * before) and bool((fc.weight_mask <= once).all())
    assert dict(fc.named_parameters()).keys() == {"bias", "weight_orig"} and prune.is_pruned(fc)
    fc(torch.ones(1, 8)).sum().backward()
    assert torch.equal(fc.weight_orig.grad, fc.weight_mask)
    pruned = fc.weight.detach().clone()
    prune.remove(fc, "weight")
    assert torch.equal(fc.weight, pruned)
    assert not prune.is_pruned(fc) and dict(fc.named_parameters()).keys() == {"bias", "weight"}
    with pytest.raises(ValueError, match="has to be pruned"):
        prune.remove(fc, "weight")


def test_the_mask_holds_after_an_update():
    fc = prune.l1_unstructured(torch.nn.Linear(3, 2), "weight", 4)
    optimizer = torch.optim.SGD(fc.parameters(), 1.0)
    for _ in range(3):
        fc(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        fc(torch.ones(1, 3))
        assert int((fc.weight == 0).sum()) == 4


def test_several_parameters_as_one():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))
    prune.global_unstructured([(net[0], "weight"), (net[1], "weight")], prune.L1Unstructured, amount=10)
    assert sum(int((layer.weight_mask == 0).sum()) for layer in net) == 10
    with pytest.raises(TypeError, match='Only "unstructured"'):
        prune.global_unstructured([(net[0], "bias")], prune.LnStructured, amount=1, n=2)


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "Invalid type for amount", lambda m: prune.l1_unstructured(m, "weight", "all")),
        (ValueError, "should either be a float", lambda m: prune.l1_unstructured(m, "weight", 1.5)),
        (ValueError, "should either be a float", lambda m: prune.l1_unstructured(m, "weight", -1)),
        (ValueError, "should be smaller", lambda m: prune.random_unstructured(m, "weight", 100)),
        (ValueError, "multidimensional", lambda m: prune.ln_structured(m, "bias", 1, 2, 0)),
        (IndexError, "Invalid index 5", lambda m: prune.random_structured(m, "weight", 1, 5)),
        (AssertionError, "importance_scores", lambda m: prune.l1_unstructured(m, "weight", 1, torch.ones(2))),
    ],
)
def test_errors_leave_the_module_as_it_was(error, match, call):
    fc = torch.nn.Linear(3, 2)
    weight = fc.weight
    with pytest.raises(error, match=match):
        call(fc)
    assert fc.weight is weight and not prune.is_pruned(fc)


def test_scores_decide():
    fc = torch.nn.Linear(2, 1)
    prune.l1_unstructured(fc, "weight", 1, importance_scores=torch.tensor([[5.0, 1.0]]))
    assert fc.weight_mask.tolist() == [[1, 0]]
    prune.custom_from_mask(fc, "weight", torch.tensor([[0, 1]]))
    assert fc.weight_mask.tolist() == [[0, 0]]
