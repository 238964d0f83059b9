"""Members of modules by their full names, and the steps of ``vmap`` that libraries replace."""

import pytest

torch = pytest.importorskip("torch")
import torch._functorch.vmap as their_steps  # noqa: E402
from torch.nn.utils import _named_member_accessor as theirs  # noqa: E402

import flambeau  # noqa: E402
from flambeau._functorch import vmap as our_steps  # noqa: E402
from flambeau.nn.utils import _named_member_accessor as ours  # noqa: E402

CALLS = {
    "get": lambda t, a: a.get_tensor("0.weight").shape,
    "get buffer": lambda t, a: a.get_tensors(["1.running_mean", "1.bias"])[0].tolist(),
    "get module": lambda t, a: type(a.get_submodule("1")).__name__,
    "get none": lambda t, a: a.get_tensor("0.other"),
    "get what is no tensor": lambda t, a: a.get_tensor("0.in_features"),
    "no module": lambda t, a: a.get_submodule("0.weight"),
    "missing module": lambda t, a: a.get_submodule("5"),
    "set": lambda t, a: a.set_tensor("0.bias", t.ones(2)),
    "set another": lambda t, a: a.set_tensor("0.other", t.ones(2)),
    "set no tensor": lambda t, a: a.set_tensor("0.bias", 1.0),
    "swap": lambda t, a: type(a.swap_tensor("0.bias", t.ones(2))).__name__,
    "swap missing": lambda t, a: a.swap_tensor("0.other", t.ones(2)),
    "delete": lambda t, a: a.del_tensor("1.running_var"),
    "delete several": lambda t, a: a.del_tensors(["0.bias", "1.weight"]),
    "several": lambda t, a: sorted(a.swap_tensors_dict({"0.bias": t.ones(2), "1.bias": t.ones(2)})[0]),
    "several, one missing": lambda t, a: a.swap_tensors_dict({"0.bias": t.ones(2), "1.other": t.ones(2)}),
    "several, one allowed to miss": lambda t, a: a.swap_tensors_dict(
        {"0.bias": t.ones(2), "1.other": t.ones(2)}, allow_missing=True
    )[1],
    "replace a module": lambda t, a: type(a.swap_submodule("1", t.nn.ReLU())).__name__,
    "keys": lambda t, a: [sorted(names) for names in a.check_keys(["0.weight", "0.bias", "2.weight"])],
}


def outcome(t, module, name):
    t.manual_seed(0)
    net = t.nn.Sequential(t.nn.Linear(3, 2), t.nn.BatchNorm1d(2))
    try:
        result = CALLS[name](t, module.NamedMemberAccessor(net))
    except Exception as error:
        result = type(error).__name__
    state = [(n, p.tolist()) for n, p in (*net.named_parameters(), *net.named_buffers()) if p.is_floating_point()]
    return result, [n for n, _ in state], torch.tensor([x for _, values in state for x in torch.tensor(values).flatten().tolist()])


@pytest.mark.parametrize("name", CALLS)
def test_members_by_name(name):
    own, expected = outcome(flambeau, ours, name), outcome(torch, theirs, name)
    assert own[:2] == expected[:2] and torch.allclose(own[2], expected[2], atol=1e-6)


@pytest.mark.parametrize("t, module", [(flambeau, our_steps), (torch, their_steps)], ids=["flambeau", "torch"])
def test_replaced_steps_of_vmap(t, module, monkeypatch):
    """A box is taken apart by a step that knows of it, and put together again by another."""

    class Box:
        def __init__(self, content):
            self.content = content

    made, unwrapped = module._create_batched_inputs, module._unwrap_batched
    seen = []

    def process(in_dims, args, func):
        leaves, spec = module.tree_flatten(tuple(a.content for a in args))
        return leaves[0].size(0), [0] * len(leaves), leaves, spec

    def create(dims, args, level, spec):
        seen.append(level)
        return tuple(Box(x) for x in made(dims, args, level, spec))

    monkeypatch.setattr(module, "_process_batched_inputs", process)
    monkeypatch.setattr(module, "_create_batched_inputs", create)
    monkeypatch.setattr(
        module, "_unwrap_batched", lambda out, dims, level, size, func: Box(unwrapped(out.content, dims, level, size, func))
    )
    result = t.vmap(lambda a, b: Box(a.content @ b.content))(Box(t.ones(3, 2)), Box(t.ones(3, 2)))
    assert result.content.tolist() == [2.0, 2.0, 2.0] and seen == [1]


def test_a_transform_has_one_inverse():
    for t in (flambeau, torch):
        exp = t.distributions.ExpTransform(cache_size=1)
        assert exp.inv is exp.inv and exp.inv.inv is exp
        assert exp.with_cache(0).inv is not exp.inv
