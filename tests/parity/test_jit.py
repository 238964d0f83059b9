"""TorchScript archives that PyTorch writes, read by flambeau: the same numbers."""

from __future__ import annotations

import io
import warnings
import zipfile

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import flambeau  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm1d(4)
        self.act = nn.GELU()
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return self.drop(self.act(self.norm(self.conv(x))))


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.layers = nn.ModuleList([nn.Linear(5, 5) for _ in range(2)])
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.names = ["a", "b"]
        self.table = {"a": 3}
        self.scale = 1.5
        self.norm = nn.LayerNorm(3)
        self.table_of = nn.Embedding(7, 3)

    def forward(self, x, flag: bool = True, n: int = 2):
        x = self.inner(x)
        for layer in self.layers:
            x = x + layer(x) * self.scale
        y = torch.zeros(1)
        i = 0
        while i < n:
            if i % 2 == 0:
                y = y + i
            else:
                y = y - 0.5
            i += 1
        out = [x]
        for name in self.names:
            if name in self.table:
                out.append(x)
            else:
                out.append(x * 2)
        z, (h, c) = self.lstm(x.transpose(1, 2))
        if not flag:
            raise ValueError(f"bad flag: {n}")
        rest = {"a": x[:, :2, ::2], "b": x[0, 1]}
        return (torch.cat(out, 0), z, h, y, self.helper(x, 3), rest["a"], f"{n} is {i}", F.interpolate(x, scale_factor=2.0), F.pad(x, [1, 1]),
                x.mean(dim=[0, 1]), torch.arange(n), x.shape[0] + len(out), self.norm(self.table_of(torch.tensor([1, 2]))),
                [q * 2 for q in range(3)], max(2, n), x.to(torch.float64), x.argmax(1), x.std(), (x > 0.1).any())  # fmt: skip

    def helper(self, x, k: int):
        pair = (x, k)
        return F.softmax(pair[0], dim=-1).sum() * k


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 2),
        )
        self.g = nn.GRU(3, 3)
        self.up = nn.ConvTranspose2d(3, 2, 2, stride=2)
        self.norm = nn.GroupNorm(1, 2)
        self.silu = nn.SiLU()

    def forward(self, x):
        y = self.f(x)
        z, _ = self.g(x[:, :, 0].permute(0, 2, 1).contiguous())
        return (y.view(y.size(0), -1).chunk(2, 1), z, x[..., 0, :].unsqueeze(0).expand(2, -1, -1, -1), torch.where(x > 0, x, torch.zeros_like(x)),
                x.masked_fill(x > 0.1, -1.0), x.reshape(x.shape[0], -1).topk(2)[0], self.silu(self.norm(self.up(x))))  # fmt: skip


def _loaded(scripted):
    f = io.BytesIO()
    torch.jit.save(scripted, f)
    f.seek(0)
    return flambeau.jit.load(f)


def _same(own, theirs):
    if isinstance(theirs, torch.Tensor):
        assert own.shape == theirs.shape and str(own.dtype) == str(theirs.dtype)
        assert torch.allclose(torch.tensor(own.tolist(), dtype=theirs.dtype), theirs, rtol=1e-4, atol=1e-5)
    elif isinstance(theirs, (list, tuple)):
        assert len(own) == len(theirs)
        for a, b in zip(own, theirs):
            _same(a, b)
    else:
        assert own == theirs


def _like(x):
    return flambeau.tensor(x.tolist())


@pytest.mark.parametrize("how", ["script", "trace"])
def test_images(how):
    torch.manual_seed(0)
    net, x = Images().eval(), torch.randn(2, 3, 16, 16)
    made = torch.jit.script(net) if how == "script" else torch.jit.trace(net, x)
    loaded = _loaded(made)
    with torch.no_grad():
        _same(loaded(_like(x)), net(x))
    assert sorted(loaded.state_dict()) == sorted(net.state_dict())
    loaded(_like(x))[0][0].sum().backward()
    assert loaded.f[0].weight.grad is not None if hasattr(loaded.f, "__getitem__") else True


def test_language():
    torch.manual_seed(0)
    net, x = Language().eval(), torch.randn(2, 2, 5)
    loaded = _loaded(torch.jit.script(net))
    with torch.no_grad():
        for n in (1, 2, 5):
            _same(loaded(_like(x), n=n), net(x, n=n))
    with pytest.raises(ValueError, match="bad flag: 2"):
        loaded(_like(x), False)
    with pytest.raises(RuntimeError, match="missing value for argument 'x'"):
        loaded()


def test_functions_and_optional_arguments():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @torch.jit.script
        def f(x, y: int | None = None):
            if y is None:
                return x + 1
            return x * y

    loaded = _loaded(f)
    assert loaded(flambeau.ones(2), None).tolist() == [2.0, 2.0]
    assert loaded(flambeau.ones(2), 3).tolist() == [3.0, 3.0]


HOSTILE = [
    "import os", "return ().__class__", "return x.__class__", "return x._storage", "return eval('1')", "return open('f')",
    "exec('1')", "return __import__('os')", "return torch.hub.load('a', 'b')", "return ops.prim.__class__",
    "return (lambda: 1)()", "self.__class__ = x", "return self.forward.__globals__", "return getattr(x, '__class__')", "return torch.__dict__",
    "return (self).save('file')", "return self.__class__", "return self.register_forward_hook(x)", "self.forward = x", "self._modules = x",
    "return __torch__.torch.nn.modules.activation.ReLU.__init__.__globals__", "return __torch__.torch.nn.modules.activation.ReLU.__subclasses__()",
    "return __torch__.os.system('true')", "return self.forward.__func__", "return torch.save(x, 'f')", "return self.__dict__",
    "return self._forward_hooks",
]  # fmt: skip


@pytest.mark.parametrize("line", HOSTILE)
def test_code_of_a_file_is_never_run(line, tmp_path):
    f = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.ReLU()), f)
    f.seek(0)
    changed = io.BytesIO()
    with zipfile.ZipFile(f) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith(".py"):
                data = (
                    b"class ReLU(Module):\n  __parameters__ = []\n  __buffers__ = []\n  def forward(self, x):\n    "
                    + line.encode()
                    + b"\n"
                )
            new.writestr(entry.filename, data)
    changed.seek(0)
    with pytest.raises(RuntimeError):
        flambeau.jit.load(changed)(flambeau.ones(1))
