"""``torch.jit`` without PyTorch: traces, and the archives that flambeau writes."""

from __future__ import annotations

import io

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4 * 13 * 13, 10)
        self.gru = nn.GRU(10, 5, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.register_buffer("factor", torch.tensor(2.0))
        self.shift = torch.ones(10)
        self.limit = 3

    def forward(self, x, pair):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        y = self.linear(x.view(x.size(0), -1)) * self.factor + self.shift
        z = torch.zeros(y.shape[0], 3)
        z[:, 0] = y[:, 1]
        z.add_(self.limit)
        g, _ = self.gru(y[:, None].expand(-1, 2, -1))
        return {"y": y.log_softmax(-1), "z": z}, (g, self.encoder(x.flatten(2).transpose(1, 2))), pair[0] + pair[1].detach()


def _parts(out):
    return [out[0]["y"], out[0]["z"], *out[1], out[2]]


def _close(a, b):
    return all(torch.allclose(x, y, atol=1e-6) for x, y in zip(_parts(a), _parts(b), strict=True))


def test_a_trace_serves_other_sizes_and_shares_parameters():
    torch.manual_seed(0)
    net, pair = Net().eval(), [torch.ones(2), torch.ones(2)]
    traced = torch.jit.trace(net, (torch.randn(2, 1, 28, 28), pair))
    x = torch.randn(3, 1, 28, 28)
    assert _close(traced(x, pair), net(x, pair))
    assert isinstance(traced, torch.jit.ScriptModule) and traced.original_name == "Net"
    assert traced.linear.weight is net.linear.weight
    with torch.no_grad():
        net.linear.weight.zero_()
    assert _close(traced(x, pair), net(x, pair))


def test_round_trip(tmp_path):
    torch.manual_seed(0)
    net, pair, x = Net().eval(), [torch.ones(2), torch.ones(2)], torch.randn(3, 1, 28, 28)
    torch.jit.trace(net, (x, pair)).save(tmp_path / "net.pt")
    loaded = torch.jit.load(tmp_path / "net.pt")
    assert _close(loaded(x, pair), net(x, pair))
    assert sorted(loaded.state_dict()) == sorted(net.state_dict()) and loaded.limit == 3
    sum(part.sum() for part in _parts(loaded(x, pair))).backward()
    assert loaded.conv.weight.grad is not None and net.conv.weight.grad is None
    again = io.BytesIO()
    loaded.save(again)
    again.seek(0)
    assert _close(torch.jit.load(again)(x, pair), net(x, pair))


def test_branches_are_frozen():
    traced = torch.jit.trace(lambda x: x * 2 if x.sum() > 0 else x - 1, torch.ones(2))
    assert traced(-torch.ones(2)).tolist() == [-2.0, -2.0]


def test_functions_constants_and_keywords():
    shift = torch.arange(3.0)
    traced = torch.jit.trace(lambda a, b: torch.cat([a + shift, b])[..., ::2].sum(0, keepdim=True), (torch.ones(3), torch.ones(2)))
    f = io.BytesIO()
    traced.save(f)
    f.seek(0)
    loaded = torch.jit.load(f)
    assert loaded(torch.ones(3), torch.ones(4)).tolist() == traced(torch.ones(3), torch.ones(4)).tolist() == [6.0]


def test_extra_files():
    f, files = io.BytesIO(), {"notes.txt": ""}
    torch.jit.save(torch.jit.trace(torch.relu, torch.ones(1)), f, _extra_files={"notes.txt": "hello"})
    f.seek(0)
    torch.jit.load(f, _extra_files=files)
    assert files["notes.txt"] == b"hello"


def test_nothing_is_left_behind():
    from flambeau import dispatch

    with pytest.raises(ZeroDivisionError):
        torch.jit.trace(lambda x: x.sum() + 1 / 0, torch.ones(1))
    assert dispatch.watch is None and type(torch.ones(2).shape[0]) is int
    assert not torch.jit.is_tracing()


def test_a_random_trace_warns():
    with pytest.warns(UserWarning, match="does not match"):
        count = iter(range(10))
        torch.jit.trace(lambda x: x + next(count), torch.ones(1))


def test_what_is_no_archive(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    with pytest.raises(RuntimeError, match=r"constants\.pkl"):
        torch.jit.load(tmp_path / "x.pt")
    with pytest.raises(ValueError, match="does not exist"):
        torch.jit.load(tmp_path / "y.pt")


# --- scripted modules ---------------------------------------------------------------------------------------------


def twice_of(x, times: int = 2):
    return x * times


LIMIT = 3


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.LayerNorm(4))])
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation=F.gelu)
        self.conv = nn.Conv1d(4, 2, 3, padding="same")
        self.norm = nn.BatchNorm1d(2)
        self.names = ["a", "b"]
        self.scale = 1.5
        self.register_buffer("shift", torch.ones(4))

    def forward(self, x, flag: bool = True, n: int = 2):
        """Branches, loops, lists and helpers."""
        for i, layer in enumerate(self.layers):
            x = x + layer(x) * self.scale + i
        out = [self.attention(x)]
        while n > 0:
            out.append(self.helper(x, n))
            n -= 1
        if not flag:
            raise ValueError(f"bad flag: {n:d}")
        z, (h, _) = self.lstm(out[-1])
        parts = {"a": torch.cat(out, dim=0)[..., : len(self.names) + 1]}
        sizes = [t.shape[0] * 2 for t in out if t.dim() == LIMIT]
        y = self.norm(self.conv(x.transpose(1, 2)))
        with torch.no_grad():
            total = x.sum().item()
        return (
            parts["a"] + self.shift[:3],
            z,
            h,
            sizes,
            F.softmax(y, dim=-1),
            0.0 < total < 1e9,
            x.view(*x.shape[:1], -1),
            x.float().to(torch.float64),
        )

    def helper(self, x, k: int):
        return twice_of(x.abs(), times=k).clamp(min=0.1)

    @torch.jit.export
    def extra(self, x):
        return x.pow(2) if x.numel() > LIMIT else x


def test_scripted_modules_are_saved_with_their_code(tmp_path):
    torch.manual_seed(0)
    net, x = Scripted().eval(), torch.randn(2, 5, 4)
    scripted = torch.jit.script(net)
    assert isinstance(scripted, torch.jit.ScriptModule) and isinstance(scripted, Scripted) and scripted.original_name == "Scripted"
    assert scripted.layers[0].weight is net.layers[0].weight and "twice_of" not in scripted.code
    scripted.save(tmp_path / "net.pt")
    loaded = torch.jit.load(tmp_path / "net.pt")
    for settings in ({}, {"n": 3}, {"n": 0}):
        for a, b in zip(loaded(x, **settings), net(x, **settings), strict=True):
            if isinstance(b, torch.Tensor):
                assert torch.allclose(a, b, atol=1e-6)
            else:
                assert a == b
    assert torch.equal(loaded.extra(x), net.extra(x))
    assert sorted(loaded.state_dict()) == sorted(net.state_dict())
    with pytest.raises(ValueError, match="bad flag: 0"):
        loaded(x, False)
    again = io.BytesIO()
    loaded.save(again)
    again.seek(0)
    assert torch.allclose(torch.jit.load(again)(x)[1], net(x)[1])
    loaded.train()
    loaded(x)[0].sum().backward()
    assert loaded.layers[0].weight.grad is not None


def test_scripted_functions_are_saved():
    @torch.jit.script
    def f(x, n: int = 2):
        for _ in range(n):
            x = twice_of(x)
        return x if n > LIMIT else -x

    g = io.BytesIO()
    f.save(g)
    g.seek(0)
    loaded = torch.jit.load(g)
    assert loaded(torch.ones(1)).item() == f(torch.ones(1)).item() == -4.0
    assert loaded(torch.ones(1), n=4).item() == 16.0


def test_what_cannot_be_written_says_why():
    class Opens(nn.Module):
        def forward(self, x):
            return x + len(open("file").read())

    with pytest.raises(RuntimeError, match=r"forward cannot be written: it uses 'open' \(line 2\)"):
        torch.jit.script(Opens()).save(io.BytesIO())
    with pytest.raises(AttributeError, match=r"use torch\.jit\.trace or torch\.jit\.script"):
        torch.jit.save(nn.Linear(1, 1), io.BytesIO())


def test_switches_of_the_executor_are_kept():
    C = torch._C
    assert [C._jit_set_profiling_executor(False), C._jit_set_profiling_executor(True)] == [True, False]
    assert C._jit_set_texpr_fuser_enabled(False) is None and C._jit_texpr_fuser_enabled() is False
    C._jit_set_texpr_fuser_enabled(True)
    before = torch.jit.set_fusion_strategy([("STATIC", 1)])
    assert torch.jit.set_fusion_strategy(before) == [("STATIC", 1)]
    with pytest.raises(AttributeError):
        _ = C._jit_no_such_switch
