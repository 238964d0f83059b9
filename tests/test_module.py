"""Module: registration, walking, state, hooks, copies, printing."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import traceback
from collections import OrderedDict

import pytest

import flambeau as torch
from flambeau import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.act = nn.ReLU()
        self.second = nn.Linear(4, 2, bias=False)
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("steps", torch.zeros(2))
        self.register_buffer("scratch", torch.zeros(1), persistent=False)

    def forward(self, x):
        return self.second(self.act(self.first(x))) * self.scale


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


# ---- registration --------------------------------------------------------------------------------


def test_attributes_are_registered(net):
    names = ["scale", "first.weight", "first.bias", "second.weight"]
    assert [name for name, _ in net.named_parameters()] == names
    assert [name for name, _ in net.named_buffers()] == ["steps", "scratch"]
    assert [name for name, _ in net.named_children()] == ["first", "act", "second"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "act", "second"]
    assert list(net.state_dict()) == [
        "scale", "steps", "first.weight", "first.bias", "second.weight",
    ]  # fmt: skip


def test_an_attribute_can_change_its_kind(net):
    net.steps = nn.Parameter(torch.ones(2))
    assert "steps" in net._parameters
    assert "steps" not in net._buffers
    net.steps = None
    assert net.steps is None
    del net.steps
    net.steps = nn.Linear(1, 1)
    assert "steps" in net._modules
    net.note = "text"
    assert net.__dict__["note"] == "text"
    net.note = nn.Buffer(torch.ones(1), persistent=False)
    assert "note" in net._buffers
    assert "note" not in net.__dict__
    assert "note" not in net.state_dict()


def test_a_buffer_is_replaced_by_assignment(net):
    net.steps = torch.ones(3)
    assert net.state_dict()["steps"].tolist() == [1, 1, 1]
    with pytest.raises(TypeError, match="cannot assign 'str' as buffer 'steps'"):
        net.steps = "x"


def test_shared_modules_and_parameters_count_once():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(list(net.parameters())) == 2
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    assert [name for name, _ in net.named_modules()] == ["", "0", "1"]
    assert [name for name, _ in net.named_modules(remove_duplicate=False)] == ["", "0", "1", "2"]
    net[1] = nn.Linear(2, 2)
    net[1].weight = layer.weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]


def test_recurse_and_prefix(net):
    assert [name for name, _ in net.named_parameters("net", recurse=False)] == ["net.scale"]
    assert [name for name, _ in net.named_modules(prefix="net")][1] == "net.first"
    assert len(list(net.buffers(recurse=False))) == 2


def test_a_module_without_init_says_what_to_do():
    class Forgot(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(1, 1)

    class Skips(nn.Module):
        def __init__(self):
            super(nn.Module, self).__init__()
            self.weight = nn.Parameter(torch.ones(1))

    for cls in (Forgot, Skips):
        with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call.*super\(\).__init__"):
            cls()


def test_a_misspelt_init_is_named():
    class Misspelt(nn.Module):
        def _init_(self, n):
            self.fc = nn.Linear(n, n)

        def forward(self, x):
            return self.fc(x)

    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given.*_init_.*__init__"):
        Misspelt(3)
    with pytest.raises(AttributeError, match="has no attribute 'fc'.*_init_.*__init__"):
        Misspelt()(torch.ones(1))


def test_call_super_init():
    class Other:
        def __init__(self, n):
            self.n = n

    class Both(nn.Module, Other):
        call_super_init = True

    assert Both(3).n == 3


# ---- walking and changing ------------------------------------------------------------------------


def test_paths(net):
    assert net.get_submodule("first") is net.first
    assert net.get_submodule("") is net
    assert net.get_parameter("first.weight") is net.first.weight
    assert net.get_buffer("steps") is net.steps
    net.set_submodule("act", nn.Tanh())
    assert isinstance(net.act, nn.Tanh)
    with pytest.raises(AttributeError, match="Net has no attribute `third`"):
        net.get_submodule("third.weight")


def test_apply_runs_children_first(net):
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "ReLU", "Linear", "Net"]


def test_train_eval_and_requires_grad(net):
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_zero_grad(net):
    net(torch.ones(2, 3)).sum().backward()
    grad = net.scale.grad
    assert grad is not None
    net.zero_grad(set_to_none=False)
    assert net.scale.grad is grad
    assert grad.tolist() == [0]
    net.zero_grad()
    assert net.scale.grad is None


def test_casts_keep_the_parameters(net):
    ids = [id(p) for p in net.parameters()]
    net(torch.ones(2, 3)).sum().backward()
    net.register_buffer("count", torch.tensor(3))
    assert net.double() is net
    assert [id(p) for p in net.parameters()] == ids
    assert {p.dtype for p in net.parameters()} == {torch.float64}
    assert net.scale.grad.dtype == torch.float64
    assert net.steps.dtype == torch.float64
    assert net.count.dtype == torch.int64, "whole numbers stay what they are"
    assert net(torch.ones(2, 3, dtype=torch.float64)).dtype == torch.float64
    assert net.to(torch.float32).scale.dtype == torch.float32
    assert net.to("cpu", torch.float64).scale.dtype == torch.float64
    assert net.to(torch.ones(1)).scale.dtype == torch.float32
    assert net.half().scale.dtype == torch.float16
    assert net.bfloat16().scale.dtype == torch.bfloat16
    assert net.type(torch.float32).scale.dtype == torch.float32
    assert net.to(device="cpu").scale.dtype == torch.float32


# ---- calling -------------------------------------------------------------------------------------


def test_forward_is_called_with_all_arguments():
    class Args(nn.Module):
        def forward(self, x, *, k=1):
            return x, k

    assert Args()(3, k=2) == (3, 2)
    with pytest.raises(NotImplementedError, match=r'Module \[Module\] is missing the required "forward" function'):
        nn.Module()(1)


def test_an_error_names_the_module_that_raised_it(net):
    outer = nn.Sequential(OrderedDict(body=net))
    with pytest.raises(RuntimeError) as caught:
        outer(torch.ones(2, 5))
    notes = [n for n in caught.value.__notes__ if n.startswith("raised in")]
    assert notes == ["raised in Sequential.body.first: Linear(in_features=3, out_features=4, bias=True)"]
    assert notes[0] in "".join(traceback.format_exception(caught.value))


def test_such_an_error_is_pickled_without_the_network(net):
    with pytest.raises(RuntimeError) as caught:
        net(torch.ones(2, 5))
    twin = pickle.loads(pickle.dumps(caught.value))
    assert str(twin) == str(caught.value)
    assert twin._module_trail.inner is None


def test_forward_hooks(net):
    log = []
    pre = net.register_forward_pre_hook(lambda m, args: log.append("pre") or (args[0] * 0,))
    post = net.register_forward_hook(lambda m, args, out: log.append("post") or out + 1)
    first = net.register_forward_hook(lambda m, args, out: log.append("first"), prepend=True)
    x = torch.ones(1, 3)
    bias = net.second(net.act(net.first.bias))
    assert torch.allclose(net(x), bias + 1)
    assert log == ["pre", "first", "post"]
    for handle in (pre, post, first):
        handle.remove()
    assert not net._forward_hooks
    with net.register_forward_hook(lambda m, args, out: log.append("with")):
        net(x)
    net(x)
    assert log == ["pre", "first", "post", "with"]


def test_hooks_with_keyword_arguments():
    class Scale(nn.Module):
        def forward(self, x, k=1):
            return x * k

    module = Scale()
    module.register_forward_pre_hook(lambda m, args, kwargs: (args, {"k": 3}), with_kwargs=True)
    module.register_forward_hook(lambda m, args, kwargs, out: out + kwargs["k"], with_kwargs=True)
    assert module(2, k=5) == 9
    module.register_forward_pre_hook(lambda m, args, kwargs: 1, with_kwargs=True)
    with pytest.raises(RuntimeError, match="forward pre-hook must return None or a tuple"):
        module(2)


def test_always_called_hooks_run_when_forward_raises():
    class Breaks(nn.Module):
        def forward(self, x):
            raise KeyError("inside")

    module, log = Breaks(), []
    module.register_forward_hook(lambda m, args, out: log.append("always"), always_call=True)
    module.register_forward_hook(lambda m, args, out: log.append("never"))
    with pytest.raises(KeyError, match="inside"):
        module(1)
    assert log == ["always"]


def test_hooks_for_every_module(net):
    log = []
    module_hooks = nn.modules.module
    handles = [
        module_hooks.register_module_forward_pre_hook(lambda m, a: log.append(("pre", m._get_name()))),
        module_hooks.register_module_forward_hook(lambda m, a, o: log.append(("post", m._get_name()))),
    ]
    net.first(torch.ones(1, 3))
    for handle in handles:
        handle.remove()
    net.first(torch.ones(1, 3))
    assert log == [("pre", "Linear"), ("post", "Linear")]


def test_full_backward_hooks():
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 3.0]]))
    seen = {}

    def after(module, grad_input, grad_output):
        seen["in"], seen["out"] = grad_input[0].tolist(), grad_output[0].tolist()
        return (grad_input[0] * 10,)

    layer.register_full_backward_hook(after)
    layer.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 2,))
    x = torch.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert seen == {"in": [[4, 6]], "out": [[2]]}
    assert x.grad.tolist() == [[40, 60]]
    assert layer.weight.grad.tolist() == [[2, 2]]
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full"):
        layer.register_backward_hook(after)


def test_full_backward_hook_without_gradients_for_the_input():
    layer, seen = nn.Linear(2, 1), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        layer(torch.ones(1, 2)).sum().backward()
    assert seen == [((None,), [[1]])]
    assert layer.weight.grad.tolist() == [[1, 1]]


# ---- state ---------------------------------------------------------------------------------------


def test_state_round_trip(net):
    torch.manual_seed(1)
    other = Net()
    result = other.load_state_dict(net.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert result.missing_keys == []
    for (name, a), (_, b) in zip(net.named_parameters(), other.named_parameters()):
        assert torch.equal(a, b), name
        assert a is not b


def test_state_is_detached_but_shared(net):
    state = net.state_dict()
    assert not state["scale"].requires_grad
    assert state["scale"].data_ptr() == net.scale.data_ptr()
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert state._metadata["first"] == {"version": 1}


def test_load_collects_all_that_is_wrong(net):
    state = net.state_dict()
    del state["first.bias"]
    state["extra"] = torch.ones(1)
    state["second.weight"] = torch.ones(2, 2)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Net:\n"
        '\tMissing key(s) in state_dict: "first.bias". \n'
        '\tUnexpected key(s) in state_dict: "extra". \n'
        "\tsize mismatch for second.weight: copying a param with shape torch.Size([2, 2]) from "
        "checkpoint, the shape in current model is torch.Size([2, 4])."
    )
    del state["second.weight"]
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["first.bias", "second.weight"]
    assert result.unexpected_keys == ["extra"]


def test_load_by_assignment(net):
    state = {name: t.clone().double() for name, t in net.state_dict().items()}
    net.load_state_dict(state, assign=True)
    assert net.scale.dtype == torch.float64
    assert isinstance(net.scale, nn.Parameter)
    assert net.steps is state["steps"]


def test_extra_state():
    class Counter(nn.Module):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    a, b = nn.Sequential(Counter()), nn.Sequential(Counter())
    a[0].count = 7
    assert a.state_dict() == {"0._extra_state": {"count": 7}}
    b.load_state_dict(a.state_dict())
    assert b[0].count == 7
    with pytest.raises(RuntimeError, match='Missing key.*"0._extra_state"'):
        b.load_state_dict({})


def test_state_hooks(net):
    log = []
    net.register_state_dict_pre_hook(lambda m, prefix, keep: log.append("before saving"))
    net.register_state_dict_post_hook(lambda m, state, prefix, meta: state.pop("scratch", None) and None)
    net.register_load_state_dict_pre_hook(lambda m, state, prefix, *rest: state.pop("old", None))

    def forgive(module, keys):
        keys.missing_keys.clear()

    net.register_load_state_dict_post_hook(forgive)
    state = net.state_dict()
    assert log == ["before saving"]
    with net.register_state_dict_post_hook(lambda *args: 1), pytest.raises(RuntimeError, match="must return None"):
        net.state_dict()
    state["old"] = torch.ones(1)
    del state["scale"]
    net.load_state_dict(state)
    assert "old" in state, "the caller's dict stays as it was"


# ---- copies and printing -------------------------------------------------------------------------


def test_deepcopy(net):
    net.first.weight.requires_grad_(False)
    twin = copy.deepcopy(net)
    assert torch.equal(twin.first.weight, net.first.weight)
    assert twin.first.weight is not net.first.weight
    assert isinstance(twin.first.weight, nn.Parameter)
    assert not twin.first.weight.requires_grad
    with torch.no_grad():
        twin.scale.fill_(5)
    assert net.scale.item() == 1


def test_pickle(net):
    twin = pickle.loads(pickle.dumps(net))
    assert repr(twin) == repr(net)
    assert torch.equal(twin(torch.ones(1, 3)), net(torch.ones(1, 3)))
    assert isinstance(twin.scale, nn.Parameter)
    assert twin.scale.requires_grad


def test_repr(net):
    assert repr(net) == (
        "Net(\n"
        "  (first): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (act): ReLU()\n"
        "  (second): Linear(in_features=4, out_features=2, bias=False)\n"
        ")"
    )
    assert repr(nn.Sequential()) == "Sequential()"


def test_dir_lists_what_is_registered(net):
    names = dir(nn.Sequential(OrderedDict(body=net)))
    assert "body" in names
    assert "0" not in dir(nn.Sequential(net))
    assert {"scale", "steps", "first", "forward"} <= set(dir(net))


# ---- parameters ----------------------------------------------------------------------------------


def test_parameter():
    data = torch.ones(2)
    param = nn.Parameter(data)
    assert isinstance(param, torch.Tensor)
    assert param.requires_grad
    assert param.is_leaf
    assert param.data_ptr() == data.data_ptr()
    assert repr(param) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert not isinstance(param * 2, nn.Parameter)
    assert nn.Parameter().shape == (0,)
    assert copy.deepcopy(param) is not param
    with pytest.raises(RuntimeError, match="Only Tensors of floating point and complex dtype"):
        nn.Parameter(torch.ones(2, dtype=torch.int64))
    assert nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False).dtype == torch.int64


def test_shared_parameters_stay_shared_in_a_copy():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    twin = copy.deepcopy(net)
    assert twin[1].weight is twin[0].weight


def test_buffer():
    buffer = nn.Buffer(torch.ones(2))
    assert isinstance(buffer, nn.Buffer)
    assert not isinstance(torch.ones(2), nn.Buffer)
    assert type(buffer) is torch.Tensor


# --- found beside PyTorch ---


def test_the_batches_of_a_layer_that_tracks_nothing_are_not_counted():
    for cls, shape in ((nn.BatchNorm1d, (8, 4)), (nn.BatchNorm2d, (2, 4, 3, 3)), (nn.BatchNorm3d, (2, 4, 2, 2, 2))):
        bn = cls(4)
        bn(torch.rand(shape))
        bn.track_running_stats = False
        before = bn.running_mean.tolist()
        bn(torch.rand(shape))
        assert bn.num_batches_tracked == 1 and bn.running_mean.tolist() == before
        bn.track_running_stats = True
        bn(torch.rand(shape))
        assert bn.num_batches_tracked == 2


@pytest.mark.parametrize("trained", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("bias", [True, False])
def test_fused_layers_are_trained_where_their_parts_are(trained, bias):
    for layer, fuse in (
        (nn.Conv2d(3, 5, 2, bias=bias), nn.utils.fuse_conv_bn_weights),
        (nn.Linear(3, 5, bias=bias), nn.utils.fuse_linear_bn_weights),
    ):
        bn = nn.BatchNorm2d(5)
        layer.weight.requires_grad = trained[0]
        if bias:
            layer.bias.requires_grad = trained[1]
        weight, offset = fuse(layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
        assert (weight.requires_grad, offset.requires_grad) == (trained[0], bias and trained[1])


def test_containers_take_any_iterable_of_pairs():
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    for pairs in (net.named_children(), iter([*net.named_children()]), ((n, m) for n, m in net.named_children()), zip("01", net)):
        assert list(nn.ModuleDict(pairs)) == ["0", "1"]
    for pairs in (net.named_parameters(), {"0.weight": net[0].weight, "0.bias": net[0].bias}.items()):
        assert len(nn.ParameterDict((n.replace(".", "_"), p) for n, p in pairs)) == 2
    for container, value in ((nn.ModuleDict, 5), (nn.ParameterDict, 5)):
        with pytest.raises(TypeError, match="should be called with an iterable of key/value pairs"):
            container().update(value)


def test_state_of_the_older_weight_norm():
    for layer, name in ((nn.Linear(2, 3), "weight"), (nn.Conv2d(2, 3, 2), "weight"), (nn.Linear(2, 3), "bias")):
        net = nn.Sequential(copy.deepcopy(layer))
        with pytest.warns(FutureWarning):
            nn.utils.weight_norm(net[0], name)
        new = nn.Sequential(copy.deepcopy(layer))
        with torch.no_grad():
            new[0].weight.zero_()
        nn.utils.parametrizations.weight_norm(new[0], name)
        state = net.state_dict()
        assert str(new.load_state_dict(state)) == "<All keys matched successfully>"
        assert torch.allclose(getattr(new[0], name), getattr(layer, name)) and f"0.{name}_g" in state
        new.load_state_dict(copy.deepcopy(new).state_dict())


def test_no_cycles_are_left():
    """What nobody needs goes at once, with its tensors, and does not wait for the collector of cycles."""
    x = torch.rand(2, 5, 4)
    nets = {
        "lstm": nn.LSTM(4, 4), "transformer": nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        "norm": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(5)), "dict": nn.ModuleDict({"a": nn.Linear(4, 4)}),
    }  # fmt: skip

    def train(net):
        optimizer = torch.optim.Adam(net.parameters())
        out = net(x)
        (out[0] if isinstance(out, tuple) else out).sum().backward()
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())

    uses = [
        lambda net: net.load_state_dict(net.state_dict()), lambda net: net.load_state_dict(net.state_dict(), assign=True),
        copy.deepcopy, lambda net: net.double().float(), repr, lambda net: net.apply(lambda m: None), lambda net: net.train().eval(),
        lambda net: None if isinstance(net, nn.ModuleDict) else train(net), lambda net: list(net.named_parameters()),
        lambda net: torch.linalg.multi_dot([x[0], x[1].t(), x[0]]), lambda net: torch.save(net.state_dict(), io.BytesIO()),
    ]  # fmt: skip
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for n, use in enumerate(uses):
            for name, net in nets.items():
                for _ in range(9):  # what is made once, when calls begin to repeat, may have some
                    use(net)
                    left = gc.collect()
                    if left == 0:
                        break
                assert left == 0, (n, name)
    finally:
        gc.enable()
        gc.unfreeze()
