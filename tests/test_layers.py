"""Layers: what each promises, checked against itself, against NumPy or against its own parts."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def close(a, b, tolerance=1e-6):
    assert a.shape == b.shape
    assert torch.allclose(a, b, rtol=1e-5, atol=tolerance)


# ---- containers ----------------------------------------------------------------------------------


def test_sequential_is_a_list():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3
    assert net[-1] is list(net)[2]
    assert [type(m).__name__ for m in net[1:]] == ["ReLU", "Linear"]
    assert list(dict(net[1:].named_children())) == ["1", "2"]
    net[1] = nn.Tanh()
    del net[0]
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    net.append(nn.Sigmoid()).extend([nn.ReLU()]).insert(0, nn.Identity())
    assert [type(m).__name__ for m in net] == ["Identity", "Tanh", "Linear", "Sigmoid", "ReLU"]
    assert isinstance(net.pop(0), nn.Identity)
    assert len(net + net) == 8
    assert len(net * 2) == 8
    net += nn.Sequential(nn.ReLU())
    net *= 2
    assert len(net) == 10


def test_sequential_takes_names():
    net = nn.Sequential(OrderedDict(fc=nn.Linear(2, 2), act=nn.ReLU()))
    assert net.fc is net[0]
    assert list(net.state_dict()) == ["fc.weight", "fc.bias"]


def test_module_list():
    layers = nn.ModuleList(nn.Linear(i + 1, 1) for i in range(3))
    layers.insert(0, nn.ReLU())
    layers += [nn.Tanh()]
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2", "3", "4"]
    assert isinstance(layers[1:3], nn.ModuleList)
    del layers[1:3]
    assert [type(m).__name__ for m in layers] == ["ReLU", "Linear", "Tanh"]
    assert layers[1].in_features == 3
    assert len(layers + [nn.ReLU()]) == 4


def test_module_dict():
    modules = nn.ModuleDict([("a", nn.ReLU()), ("b", nn.Linear(1, 1))])
    assert list(modules) == ["a", "b"]
    assert "b" in modules
    modules["c"] = nn.Tanh()
    assert [name for name, _ in modules.items()] == ["a", "b", "c"]
    modules.pop("a")
    del modules["b"]
    assert list(modules.keys()) == ["c"]
    modules.clear()
    assert len(modules) == 0


def test_parameter_containers():
    params = nn.ParameterList([torch.ones(2), nn.Parameter(torch.zeros(3)), "text"])
    assert [name for name, _ in params.named_parameters()] == ["0", "1"]
    assert params[2] == "text"
    assert len(params[:2]) == 2
    params += [torch.ones(1)]
    params[0] = torch.zeros(5)
    assert params[0].requires_grad
    assert len(params) == 4

    table = nn.ParameterDict({"b": torch.ones(2), "a": torch.ones(3)})
    assert list(table) == ["a", "b"]
    table.update([("c", torch.ones(1))])
    assert [tuple(p.shape) for p in table.values()] == [(3,), (2,), (1,)]
    assert table.get("d") is None
    assert table.setdefault("d", 3) == 3
    assert table.pop("d") == 3
    assert table.popitem()[0] == "c"
    assert list(table | nn.ParameterDict({"z": torch.ones(1)})) == ["a", "b", "z"]
    assert list(table.state_dict()) == ["a", "b"]


# ---- linear and convolution ----------------------------------------------------------------------


def test_linear():
    layer = nn.Linear(3, 2)
    x = torch.randn(4, 5, 3)
    expected = x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    bound = 1 / 3**0.5
    assert layer.weight.abs().max().item() <= bound


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 2), (4, 1), (1, 1)])
def test_same_padding_keeps_the_size(kernel, dilation):
    layer = nn.Conv1d(2, 3, kernel, dilation=dilation, padding="same")
    assert layer(torch.randn(1, 2, 9)).shape == (1, 3, 9)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_mode_is_padding_first(mode):
    layer = nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode)
    x = torch.randn(1, 2, 5, 6)
    padded = F.pad(x, (2, 2, 1, 1), mode=mode)
    close(layer(x), F.conv2d(padded, layer.weight, layer.bias))


def test_transposed_convolution_reaches_the_size_asked_for():
    down = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    up = nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1)
    for size in [(11, 12), (12, 11)]:
        x = torch.randn(1, 2, *size)
        assert up(down(x), output_size=x.shape).shape == x.shape
        assert up(down(x), output_size=size).shape == x.shape


# ---- normalisation and dropout -------------------------------------------------------------------


def test_batch_norm_in_training_and_evaluation():
    layer = nn.BatchNorm1d(2, momentum=0.5)
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0], [5.0, 10.0]])
    out = layer(x)
    close(out.mean(0), torch.zeros(2))
    close(out.var(0, unbiased=False), torch.ones(2), 1e-4)
    assert layer.running_mean.tolist() == [1.5, 3.0]
    assert layer.running_var.tolist() == [2.5, 8.5]
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    close(layer(x), (x - torch.tensor([1.5, 3.0])) / (torch.tensor([2.5, 8.5]) + 1e-5).sqrt())
    assert layer.num_batches_tracked.item() == 1
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1, 1]


def test_batch_norm_without_momentum_averages_all_batches():
    layer = nn.BatchNorm1d(1, momentum=None)
    for value in (1.0, 2.0, 6.0):
        layer(torch.tensor([[value], [value]]))
    assert layer.running_mean.item() == pytest.approx(3.0)


def test_batch_norm_takes_state_without_a_count():
    layer = nn.BatchNorm1d(2)
    state = layer.state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    assert not layer.load_state_dict(state).missing_keys


def test_layer_norm_takes_the_last_dimensions():
    x = torch.randn(2, 3, 4)
    out = nn.LayerNorm((3, 4))(x)
    close(out.mean((1, 2)), torch.zeros(2))
    assert nn.LayerNorm(4, bias=False).bias is None


def test_dropout_only_in_training():
    layer = nn.Dropout(0.5)
    x = torch.ones(1000)
    out = layer(x)
    assert set(out.tolist()) == {0.0, 2.0}
    assert 400 < (out == 0).sum().item() < 600
    assert torch.equal(layer.eval()(x), x)


# ---- embeddings ----------------------------------------------------------------------------------


def test_embedding_padding_has_no_gradient():
    layer = nn.Embedding(4, 3, padding_idx=-3)
    assert layer.padding_idx == 1
    assert layer.weight[1].tolist() == [0, 0, 0]
    layer(torch.tensor([0, 1, 1, 2])).sum().backward()
    assert layer.weight.grad.tolist() == [[1] * 3, [0] * 3, [1] * 3, [0] * 3]


def test_embedding_from_pretrained():
    table = torch.randn(4, 3)
    layer = nn.Embedding.from_pretrained(table)
    assert not layer.weight.requires_grad
    assert torch.equal(layer(torch.tensor([2])), table[2:3])
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad


# ---- recurrent layers ----------------------------------------------------------------------------

RECURRENT = [nn.RNN, nn.GRU, nn.LSTM]


def states(state):
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_layer_is_its_cell_step_by_step(kind):
    layer = kind(3, 4)
    cell = {nn.RNN: nn.RNNCell, nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}[kind](3, 4)
    for name, weight in cell.named_parameters():
        weight.data = getattr(layer, name + "_l0").data
    x = torch.randn(6, 2, 3)
    output, last = layer(x)
    state = None
    for t in range(6):
        state = cell(x[t], state)
        close(output[t], states(state)[0])
    for a, b in zip(states(last), states(state)):
        close(a[0], b)


@pytest.mark.parametrize("kind", RECURRENT)
def test_batch_first_and_unbatched(kind):
    layer = kind(3, 4, 2, bidirectional=True)
    x = torch.randn(5, 2, 3)
    output, last = layer(x)
    layer.batch_first = True
    swapped, same = layer(x.transpose(0, 1))
    close(output, swapped.transpose(0, 1))
    for a, b in zip(states(last), states(same)):
        close(a, b)
    layer.batch_first = False
    alone, own = layer(x[:, 1])
    close(alone, output[:, 1])
    for a, b in zip(states(last), states(own)):
        close(a[:, 1], b)


@pytest.mark.parametrize("kind", RECURRENT)
def test_the_reverse_direction_reads_backwards(kind):
    both = kind(3, 4, bidirectional=True)
    one = kind(3, 4)
    for name, weight in one.named_parameters():
        weight.data = getattr(both, name + "_reverse").data
    x = torch.randn(5, 2, 3)
    close(both(x)[0][:, :, 4:], one(x.flip(0))[0].flip(0))


@pytest.mark.parametrize("kind", RECURRENT)
def test_packed_sequences_are_the_sequences_alone(kind):
    layer = kind(3, 4, 2, bidirectional=True)
    sequences = [torch.randn(n, 3) for n in (2, 5, 3)]
    packed = nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False)
    initial = torch.randn(4, 3, 4)
    hx = (initial, initial + 1) if kind is nn.LSTM else initial
    output, last = layer(packed, hx)
    padded, lengths = nn.utils.rnn.pad_packed_sequence(output)
    assert lengths.tolist() == [2, 5, 3]
    for i, sequence in enumerate(sequences):
        own = tuple(s[:, i] for s in states(hx))
        alone, final = layer(sequence, own if kind is nn.LSTM else own[0])
        close(padded[: len(sequence), i], alone)
        assert padded[len(sequence) :, i].abs().sum().item() == 0
        for a, b in zip(states(last), states(final)):
            close(a[:, i], b)


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_gradients(kind):
    layer = kind(2, 2, bidirectional=True).double()
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], (x,))


def test_lstm_projection():
    layer = nn.LSTM(3, 6, 2, proj_size=2, bidirectional=True)
    output, (h, c) = layer(torch.randn(5, 4, 3))
    assert output.shape == (5, 4, 4)
    assert h.shape == (4, 4, 2)
    assert c.shape == (4, 4, 6)


def test_recurrent_layers_are_copied_and_pickled():
    layer = nn.LSTM(3, 4)
    x = torch.randn(2, 1, 3)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x)[0], layer(x)[0])
        assert twin.all_weights[0][0] is twin.weight_ih_l0


# ---- attention -----------------------------------------------------------------------------------


def test_attention_weights():
    attention = nn.MultiheadAttention(4, 2)
    x, memory = torch.randn(5, 3, 4), torch.randn(6, 3, 4)
    output, weights = attention(x, memory, memory)
    close(weights.sum(-1), torch.ones(3, 5))
    without, none = attention(x, memory, memory, need_weights=False)
    assert none is None
    close(output, without)
    _, heads = attention(x, memory, memory, average_attn_weights=False)
    close(heads.mean(1), weights)


def test_attention_masks():
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    x = torch.randn(2, 3, 4)
    padding = torch.tensor([[False, False, True], [False, True, True]])
    output, weights = attention(x, x, x, key_padding_mask=padding)
    assert weights[0, :, 2].abs().sum().item() == 0
    assert weights[1, :, 1:].abs().sum().item() == 0
    short, _ = attention(x[:1, :, :], x[:1, :2], x[:1, :2])
    close(output[:1], short)
    with pytest.raises(RuntimeError, match="shape of the 2D attn_mask"):
        attention(x, x, x, attn_mask=torch.zeros(2, 2))


def test_a_causal_encoder_does_not_see_the_future():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), 2)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    x = torch.randn(5, 1, 4)
    changed = x.clone()
    changed[3:] += 1
    close(encoder(x, mask)[:3], encoder(changed, mask)[:3])
    close(encoder(x, mask), encoder(x, mask, is_causal=True))
    assert encoder.layers[0].linear1.weight is not encoder.layers[1].linear1.weight


def test_transformer():
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)
    out = model(torch.randn(2, 5, 8), torch.randn(2, 3, 8))
    assert out.shape == (2, 3, 8)
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


# ---- losses and the rest -------------------------------------------------------------------------


def test_old_reduction_arguments():
    for arguments, reduction in [
        ({"size_average": False}, "sum"),
        ({"reduce": False}, "none"),
        ({"size_average": True}, "mean"),
    ]:
        with pytest.warns(UserWarning, match=f"please use reduction='{reduction}' instead"):
            assert nn.MSELoss(**arguments).reduction == reduction


def test_class_weights_move_with_the_loss():
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])).double()
    assert loss.weight.dtype == torch.float64
    assert list(loss.state_dict()) == ["weight"]


def test_adaptive_softmax():
    layer = nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 10])
    x, target = torch.randn(6, 16), torch.tensor([0, 4, 5, 9, 10, 19])
    log_prob = layer.log_prob(x)
    close(log_prob.exp().sum(1), torch.ones(6))
    output, loss = layer(x, target)
    close(output, log_prob.gather(1, target[:, None])[:, 0])
    close(loss, -output.mean())
    assert layer.predict(x).tolist() == log_prob.argmax(1).tolist()


# ---- nn.utils ------------------------------------------------------------------------------------


def test_clip_grad():
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))
    a.grad, b.grad = torch.tensor([3.0, 0.0]), torch.tensor([-4.0])
    assert nn.utils.clip_grad_norm_([a, b], 10.0).item() == 5
    assert a.grad.tolist() == [3, 0]
    nn.utils.clip_grad_norm_([a, b], 1.0)
    assert b.grad.item() == pytest.approx(-0.8)
    nn.utils.clip_grad_value_(a, 0.5)
    assert a.grad.tolist() == [0.5, 0]
    assert nn.utils.get_total_norm([a.grad, b.grad], float("inf")).item() == pytest.approx(0.8)
    b.grad = torch.tensor([float("nan")])
    with pytest.raises(RuntimeError, match="The total norm of order 2.0.*non-finite"):
        nn.utils.clip_grad_norm_([a, b], 1.0, error_if_nonfinite=True)


def test_vector_of_parameters():
    net = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (9,)
    nn.utils.vector_to_parameters(torch.arange(9.0), net.parameters())
    assert net.bias.tolist() == [6, 7, 8]


def test_weight_norm():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    magnitude, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    close(layer.weight, magnitude * direction / direction.norm(dim=1, keepdim=True))
    with torch.no_grad():
        direction.mul_(3)
    close(layer.weight.norm(dim=1, keepdim=True), magnitude)


def test_spectral_norm():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4))
    for _ in range(20):
        layer(torch.ones(1, 5))
    largest = np.linalg.svd(layer.eval().weight.detach().numpy(), compute_uv=False)[0]
    assert largest == pytest.approx(1.0, abs=1e-4)


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).t()

    def right_inverse(self, value):
        return value.triu()


class Double(nn.Module):
    def forward(self, x):
        return x * 2


def test_parametrize():
    parametrize = nn.utils.parametrize
    layer = nn.Linear(3, 3)
    original = layer.weight
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert type(layer).__name__ == "ParametrizedLinear"
    assert isinstance(layer, nn.Linear)
    assert torch.equal(layer.weight, layer.weight.t())
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    layer.weight = torch.ones(3, 3)
    assert layer.parametrizations.weight.original.tolist() == torch.ones(3, 3).triu().tolist()
    layer(torch.ones(1, 3)).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None
    parametrize.register_parametrization(layer, "weight", Double())
    assert layer.weight[0, 0].item() == 2
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert layer.weight is not layer.weight
    twin = copy.deepcopy(layer)
    assert torch.equal(twin.weight, layer.weight)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert layer.weight is original
    assert layer.weight.tolist() == [[2.0] * 3] * 3
    with pytest.raises(ValueError, match="may not change the shape"):
        parametrize.register_parametrization(layer, "weight", nn.Flatten(0))


def test_functional_call():
    from flambeau.nn.utils.stateless import functional_call

    layer = nn.Linear(2, 1)
    weight = torch.ones(1, 2, requires_grad=True)
    out = functional_call(layer, {"weight": weight, "bias": torch.zeros(1)}, torch.ones(1, 2))
    assert out.item() == 2
    out.sum().backward()
    assert weight.grad.tolist() == [[1, 1]]
    assert layer.weight.grad is None
    assert isinstance(layer.weight, nn.Parameter)
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\): 'wight'"):
        functional_call(layer, {"wight": weight}, torch.ones(1, 2), strict=True)
    assert torch.equal(functional_call(layer, {"wight": weight}, torch.ones(1, 2)), layer(torch.ones(1, 2)))
    with pytest.raises(RuntimeError, match=r"Missing key\(s\): 'bias'"):
        functional_call(layer, {"weight": weight}, torch.ones(1, 2), strict=True)


def test_fusion():
    conv, bn = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
    x = torch.randn(4, 2, 6, 6)
    bn(conv(x))
    conv.eval(), bn.eval()
    close(nn.utils.fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)), 1e-5)
    linear, bn = nn.Linear(2, 3), nn.BatchNorm1d(3)
    bn(linear(x[:, :, 0, 0]))
    linear.eval(), bn.eval()
    close(nn.utils.fuse_linear_bn_eval(linear, bn)(x[:, :, 0, 0]), bn(linear(x[:, :, 0, 0])), 1e-5)


def test_skip_init_spends_no_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(1).item()
    torch.manual_seed(0)
    layer = nn.utils.skip_init(nn.Linear, 3, 2)
    assert layer.weight.shape == (2, 3)
    assert torch.rand(1).item() == expected
    with pytest.raises(RuntimeError, match="must support a 'device' arg"):
        nn.utils.skip_init(nn.ReLU)


def test_padded_sequences():
    rnn = nn.utils.rnn
    sequences = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0])]
    assert rnn.pad_sequence(sequences, batch_first=True).tolist() == [[1, 2, 3], [4, 0, 0]]
    left = rnn.pad_sequence(sequences, batch_first=True, padding_value=9, padding_side="left")
    assert left.tolist() == [[1, 2, 3], [9, 9, 4]]
    packed = rnn.pack_sequence(sequences[::-1], enforce_sorted=False)
    assert packed.data.tolist() == [1, 4, 2, 3]
    assert packed.sorted_indices.tolist() == [1, 0]
    assert [s.tolist() for s in rnn.unpack_sequence(packed)] == [[4], [1, 2, 3]]
    assert packed.to(torch.float64).data.dtype == torch.float64
    assert pickle.loads(pickle.dumps(packed)).data.tolist() == [1, 4, 2, 3]


# ---- lazy layers ---------------------------------------------------------------------------------


def test_a_lazy_layer_becomes_the_ordinary_one():
    net = nn.Sequential(nn.LazyConv2d(4, 3, stride=2, padding=1), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))
    assert repr(net[0].weight) == "<UninitializedParameter>"
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter"):
        net[3].weight.shape  # noqa: B018
    twin = copy.deepcopy(net)
    x = torch.randn(2, 3, 6, 6)
    out = net(x)
    assert [type(m) for m in net] == [nn.Conv2d, nn.BatchNorm2d, nn.Flatten, nn.Linear]
    assert type(net[0].weight) is nn.Parameter
    assert net[3].in_features == 36
    out.sum().backward()
    assert net[0].weight.grad is not None
    assert not net[0]._forward_pre_hooks
    twin.load_state_dict(net.state_dict())
    close(twin.eval()(x), net.eval()(x))


def test_a_lazy_layer_draws_what_the_ordinary_one_draws():
    lazy = nn.LazyLinear(4)
    torch.manual_seed(5)
    lazy(torch.ones(1, 3))
    torch.manual_seed(5)
    assert torch.equal(lazy.weight, nn.Linear(3, 4).weight)


@pytest.mark.parametrize("kind", ["LazyConvTranspose1d", "LazyInstanceNorm1d"])
def test_other_lazy_layers(kind):
    layer = getattr(nn, kind)(*((4, 3) if "Conv" in kind else ()))
    assert layer(torch.randn(2, 5, 7)).shape[0] == 2
    assert type(layer).__name__ == kind.removeprefix("Lazy")
