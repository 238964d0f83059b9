"""Models that slim files are tested with."""

from __future__ import annotations

import flambeau as torch
from flambeau import nn
from flambeau.cli.demo import DigitNet


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(nn.functional.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1).flatten(1))


class Tagger(nn.Module):
    """Words to scores of tags, by an LSTM in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(100, 16, padding_idx=0)
        self.lstm = nn.LSTM(16, 24, 2, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(48, 7)

    def forward(self, words, lengths=None):
        states, (h, c) = self.lstm(self.words(words))
        return {"scores": self.tags(states).log_softmax(-1), "last": [h, c], "layers": 2}


class Many(nn.Module):
    """Results that are views, arguments, weights, of several dtypes; numbers and casts."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(12.0).reshape(3, 4))

    def forward(self, x, mask, scale=2.0):
        y = torch.where(mask, x.double() * scale, x.double()).to(torch.float16)
        best, place = x.max(1)
        return (
            y,
            x.T,
            x[1:],
            self.table,
            x,
            best,
            place,
            (x * 7).long() // (place[:, None] + 2),
            mask.any(0),
            (x.bfloat16() + 1).float(),
        )


def models() -> dict:
    """Names to (model, arguments)."""
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    made = {
        "digits": (DigitNet(), (torch.rand(5, 1, 8, 8),)),
        "resnet": (ResNet(), (torch.randn(2, 3, 16, 16),)),
        "transformer": (nn.TransformerEncoder(layer, 2), (torch.randn(3, 10, 32),)),
        "lstm": (Tagger(), (torch.randint(0, 100, (4, 9)),)),
        "gru": (nn.GRU(8, 12), (torch.randn(5, 2, 8), torch.zeros(1, 2, 12))),
        "many": (Many(), (torch.randn(3, 4), torch.rand(3, 4) > 0.5)),
        "function": (lambda x: (x @ x.T).softmax(0).sum(0, keepdim=True) + 1e-3, (torch.randn(33, 9),)),
    }
    for model, _ in made.values():
        if isinstance(model, nn.Module):
            model.eval()
    return made


def flat(x) -> list:
    """The tensors of nested results."""
    if isinstance(x, torch.Tensor):
        return [x]
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ()
    return [t for part in parts for t in flat(part)]
