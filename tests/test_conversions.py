"""torch.__future__: casts of modules that keep, replace or exchange Parameters; and state dicts of spectral_norm that are older
than its v."""

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn.modules._moves import conversion


@pytest.fixture(autouse=True)
def settings():
    yield
    conversion.overwrites = conversion.swaps = False


def _trained():
    net = nn.Linear(2, 1)
    net(torch.ones(1, 2)).sum().backward()
    return net, net.weight, net.weight.grad


def test_parameters_stay_the_same_objects():
    net, weight, grad = _trained()
    net.double()
    assert net.weight is weight and weight.grad is grad and weight.dtype is grad.dtype is torch.float64


def test_parameters_are_replaced():
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    assert torch.__future__.get_overwrite_module_params_on_conversion()
    net, weight, grad = _trained()
    net.double()
    assert net.weight is not weight and weight.dtype is grad.dtype is torch.float32
    assert net.weight.dtype is net.weight.grad.dtype is torch.float64 and net.weight.requires_grad and net.weight.is_leaf


def test_parameters_exchange_their_contents():
    torch.__future__.set_swap_module_params_on_conversion(True)
    net, weight, grad = _trained()
    bias = net.bias.tolist()
    net.double()
    assert net.weight is weight and weight.dtype is weight.grad.dtype is torch.float64 and weight.requires_grad
    other = nn.Linear(2, 1).double()
    own = other.weight
    other.load_state_dict(net.state_dict())
    assert (
        other.weight is own and own.tolist() == weight.tolist() and other.bias.tolist() == pytest.approx(bias) and own.requires_grad
    )


def test_a_class_says_how_it_is_loaded():
    class Doubled(torch.Tensor):
        def module_load(self, other, assign=False):
            return other.detach() * 2

    torch.__future__.set_swap_module_params_on_conversion(True)
    net = nn.Linear(2, 1, bias=False)
    net.weight = nn.Parameter(torch.ones(1, 2).as_subclass(Doubled))
    net.load_state_dict({"weight": torch.full((1, 2), 3.0)})
    assert net.weight.tolist() == [[6.0, 6.0]]


def test_state_dicts_without_v():
    torch.manual_seed(0)
    layer = nn.utils.spectral_norm(nn.Linear(3, 4))
    for _ in range(3):
        want = layer(torch.ones(1, 3))
    state = layer.state_dict()
    assert state._metadata[""]["spectral_norm"] == {"weight.version": 1}
    old = {k: v.clone() for k, v in state.items() if k != "weight_v"} | {"weight": layer.weight.detach().clone()}
    other = nn.utils.spectral_norm(nn.Linear(3, 4)).eval()
    other.load_state_dict(old)
    assert torch.allclose(other(torch.ones(1, 3)), want, atol=1e-5)
    new = {k: v.clone() for k, v in state.items()}
    other.load_state_dict(new)
    assert torch.allclose(other.weight_v, layer.weight_v)
    with pytest.raises(RuntimeError, match="Missing key.*weight_u"):
        other.load_state_dict({k: v for k, v in old.items() if k != "weight_u"})
    nn.utils.remove_spectral_norm(layer)
    assert "spectral_norm" not in layer.state_dict()._metadata[""]
