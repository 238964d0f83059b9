"""Lazy layers before their first call: cast, copied, pickled, saved and loaded as any other."""

from __future__ import annotations

import copy
import io
import pickle

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn.modules import lazy
from flambeau.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

INPUTS = {"Linear": (2, 5), "1d": (2, 4, 9), "2d": (2, 4, 9, 9), "3d": (2, 4, 9, 9, 9)}
CLASSES = [name for name in lazy.__all__ if name not in ("LazyModuleMixin",)]


def make(name):
    cls = getattr(nn, name)
    shape = next(shape for end, shape in INPUTS.items() if name.endswith(end))
    layer = cls(4, 3) if "Conv" in name else cls(6) if name == "LazyLinear" else cls(affine=True, track_running_stats=True)
    return layer, torch.arange(float(torch.Size(shape).numel())).reshape(shape) / 50


def state(layer):
    return {key: value if is_lazy(value) else value.tolist() for key, value in layer.state_dict().items()}


WAYS = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "float": lambda layer: layer.float(),
    "double": lambda layer: layer.double(),
    "half and back": lambda layer: layer.half().float(),
    "bfloat16 and back": lambda layer: layer.bfloat16().to(torch.float32),
    "to": lambda layer: layer.to(torch.float64),
    "to a device": lambda layer: layer.to("cpu"),
    "to a tensor": lambda layer: layer.to(torch.ones(1, dtype=torch.float64)),
    "cpu": lambda layer: layer.cpu(),
    "requires_grad_": lambda layer: layer.requires_grad_(False),
    "eval": lambda layer: layer.eval().train(),
}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("way", WAYS)
def test_before_the_first_call(name, way):
    layer, x = make(name)
    changed = WAYS[way](layer)
    assert type(changed) is getattr(nn, name) and changed.has_uninitialized_params()
    dtype = torch.float64 if way in ("double", "to", "to a tensor") else torch.float32
    torch.manual_seed(3)
    out = changed(x.to(dtype))
    assert type(changed) is getattr(nn, name).cls_to_become
    assert out.dtype is dtype and {p.dtype for p in changed.parameters()} == {dtype}
    floating = [b.dtype for b in changed.buffers() if b.is_floating_point()]
    assert set(floating) <= {dtype}
    fresh, _ = make(name)
    torch.manual_seed(3)
    assert torch.allclose(fresh.to(dtype)(x.to(dtype)), out)
    assert list(fresh.state_dict()) == list(changed.state_dict())
    trained = way != "requires_grad_"
    assert all(p.requires_grad is trained for p in changed.parameters())
    if way in ("deepcopy", "pickle"):
        assert layer.has_uninitialized_params(), "the copy is another layer"
        layer(x)


@pytest.mark.parametrize("name", CLASSES)
def test_states(name):
    """Lazy into lazy, made into lazy, lazy into made."""
    layer, x = make(name)
    other, _ = make(name)
    assert str(other.load_state_dict(layer.state_dict())) == "<All keys matched successfully>"
    assert other.has_uninitialized_params()
    layer(x)
    assert str(other.load_state_dict(layer.state_dict())) == "<All keys matched successfully>"
    assert state(other) == state(layer) and not other.has_uninitialized_params()
    assert torch.equal(other.eval()(x), layer.eval()(x)) and repr(other) == repr(layer)
    fresh, _ = make(name)
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter or buffer"):
        layer.load_state_dict(fresh.state_dict())


@pytest.mark.parametrize("patience", [None, 0], ids=["calls are remembered", "calls run in full"])
@pytest.mark.parametrize("make_one", [UninitializedParameter, UninitializedBuffer])
def test_a_tensor_without_a_shape(make_one, patience, monkeypatch):
    if patience is not None:
        monkeypatch.setattr(torch.empty_like.op, "patience", patience)
    t = make_one(dtype=torch.float64)
    assert t.size() == (0,) and t.dtype is torch.float64 and t.is_floating_point() and not t.is_complex()
    assert repr(t) == f"<{make_one.__name__}>" and hash(t) == hash(t)
    for cast in (t.float(), t.to("cpu"), copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        assert type(cast) is make_one and cast.requires_grad is t.requires_grad
    assert pickle.loads(pickle.dumps(t)).dtype is torch.float64 and t.float().dtype is torch.float32
    uses = [
        lambda: t + t, lambda: torch.add(t, 1), lambda: torch.empty_like(t), lambda: t.sum(), lambda: t.reshape(1), lambda: t[0],
        lambda: t.zero_(), lambda: t.tolist(), lambda: torch.cat([t, t]), lambda: t.numel(), lambda: t.add_(1), lambda: 1 - t,
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(ValueError, match="uninitialized parameter"):
            use()
    with pytest.raises(RuntimeError, match="Can't access the shape"):
        _ = t.shape
    with pytest.raises(RuntimeError, match="share memory on an uninitialized"):
        t.share_memory_()
    t.materialize((2, 3))
    assert t.shape == (2, 3) and t.dtype is torch.float64 and type(t) is make_one.cls_to_become
    with torch.no_grad():
        assert t.fill_(1).sum().item() == 6


def test_what_cannot_be_done_with_lazy_modules():
    with pytest.raises(ValueError, match="have uninitialized parameters"), pytest.warns(FutureWarning):
        nn.utils.weight_norm(nn.LazyLinear(7))
    with pytest.raises(ValueError, match="have uninitialized parameters"):
        nn.utils.spectral_norm(nn.LazyLinear(7))
    with pytest.raises(RuntimeError, match="run a forward pass"):
        torch.jit.script(nn.Sequential(nn.LazyLinear(7)))
    with pytest.raises(RuntimeError, match="share memory on an uninitialized"):
        nn.LazyLinear(7).share_memory()
    f = io.BytesIO()
    layer, x = make("LazyLinear")
    layer(x)
    torch.save(layer.state_dict(), f)
    f.seek(0)
    other, _ = make("LazyLinear")
    other.load_state_dict(torch.load(f))
    assert torch.equal(other(x), layer(x))
