"""Wrong calls, each of which mypy and pyright find: an ignore that is not needed is an error."""

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn, optim


def wrong() -> None:
    x, y = torch.ones(2, 3), torch.zeros(3)
    torch.maximum(x, "a")  # type: ignore[arg-type]
    torch.sum(x, dims=0)  # type: ignore[call-arg]
    torch.cat(x)  # type: ignore[arg-type]
    torch.stack([x, 1])  # type: ignore[list-item]
    torch.zeros("2")  # type: ignore[arg-type]
    torch.ones(2, dtype="float32")  # type: ignore[arg-type]
    torch.randn(2, requires_grads=True)  # type: ignore[call-arg]
    torch.matmul(x)  # type: ignore[call-arg]
    torch.softmx(x, dim=0)  # type: ignore[attr-defined]
    torch.linalg.norms(x)  # type: ignore[attr-defined]
    torch.fft.fft("x")  # type: ignore[arg-type]
    x.sum(keepdm=True)  # type: ignore[call-arg]
    x.sum().foo()  # type: ignore[attr-defined]
    x.reshape("a")  # type: ignore[arg-type]
    x.mul_("a")  # type: ignore[arg-type]
    x.scatter_(0, "i", y)  # type: ignore[arg-type]
    x.argmx()  # type: ignore[attr-defined]
    x.to(dtype="long")  # type: ignore[arg-type]
    x.max(dim="a")  # type: ignore[call-overload]
    x @ "a"  # type: ignore[operator]
    x + "a"  # type: ignore[operator]
    print(x.topk(2).value)  # type: ignore[attr-defined]
    F.relu("a")  # type: ignore[arg-type]
    F.cross_entropy(x, y, label_smooting=0.1)  # type: ignore[call-arg]
    F.dropout(x, prob=0.5)  # type: ignore[call-arg]
    F.conv2d(x, "w")  # type: ignore[arg-type]
    F.soft_max(x)  # type: ignore[attr-defined]
    F.one_hot(3)  # type: ignore[arg-type]
    nn.Linear("2", 3)  # type: ignore[arg-type]
    nn.Conv2d(1, 2, 3, pading=1)  # type: ignore[call-arg]
    nn.LSTM(2, 3, batch_frist=True)  # type: ignore[call-arg]
    nn.Liner(2, 3)  # type: ignore[attr-defined]
    optim.SGD([x], learning_rate=0.1)  # type: ignore[call-arg]
    optim.Adamm([x])  # type: ignore[attr-defined]
