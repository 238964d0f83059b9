"""Training mode, eval mode, and gradients: each in its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flambeau.diagnosis.doctor.rule import Rule
from flambeau.diagnosis.doctor.watching import Call, Root, Site
from flambeau.diagnosis.language import Text
from flambeau.nn import Module
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.dropout import _DropoutNd
from flambeau.tensor import Tensor

JUDGING = ("argmax", "max", "topk", "nn.functional.cross_entropy", "nn.functional.nll_loss", "nn.functional.mse_loss",
           "nn.functional.binary_cross_entropy_with_logits", "nn.functional.binary_cross_entropy")  # fmt: skip
"""The ops by which answers are judged: what was chosen, and losses."""

_CHOOSING = ("argmax", "max", "topk")


def has_modes(module: Module) -> list[Module]:
    """The layers of a net that behave otherwise in eval mode."""
    return [m for m in module.modules() if isinstance(m, _BatchNorm) or isinstance(m, _DropoutNd) and m.p > 0]


def tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


class TrainingInTest(Rule):
    """A net that is being trained is judged under no_grad while its dropout or batch norm is in training mode."""

    code = "FB-MODE-01"
    innocent = (
        """
import torch

generator = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
judge = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(judge.parameters(), lr=0.1)
for t in range(3):
    with torch.no_grad():
        fake = generator(torch.randn(8, 4))
    optimizer.zero_grad()
    torch.nn.functional.binary_cross_entropy_with_logits(judge(fake), torch.zeros(8, 1)).backward()
    optimizer.step()
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._answers: dict[int, tuple[Tensor, Root]] = {}
        self._judged: list[Root] = []  # with a graph: perhaps of the loss that comes
        self._times: dict[Site, int] = {}
        self._said: set[Site] = set()

    def left(self, root: Root) -> None:
        if root.training and self.watch.steps and any(m.training for m in has_modes(root.module)):
            for tensor in tensors_in(root.output):
                self._answers[id(tensor)] = tensor, root

    def ran(self, call: Call) -> None:
        found = self._answers.get(id(call.tensors[0])) if call.op in JUDGING and call.tensors else None
        if found is None:
            return
        root = found[1]
        if not root.grad:
            self._say(root)
        elif call.op in _CHOOSING and all(root is not r for r in self._judged):
            self._judged.append(root)

    def before_backward(self, loss: Tensor, site: Site) -> None:
        self._count([root for root in self._judged if not reaches(loss, root)])
        self._answers.clear()

    def finished(self) -> None:
        self._count(self._judged)

    def _count(self, tests: list[Root]) -> None:
        """Choices that no loss was made of: where there are several, it is a test."""
        for root in tests:
            self._times[root.site] = self._times.get(root.site, 0) + 1
            if self._times[root.site] == 3:
                self._say(root)
        self._judged = []

    def _say(self, root: Root) -> None:
        if root.site in self._said:
            return
        self._said.add(root.site)
        layers = has_modes(root.module)
        names = ", ".join(sorted({type(m).__name__ for m in layers}))
        drops = any(isinstance(m, _DropoutNd) for m in layers)
        self.report(
            root.site,
            Text(
                f"{type(root.module).__name__} is tested in training mode: its {names} "
                + ("drops values at random" if drops else "goes by the statistics of this batch, and changes what it has learnt"),
                f"在训练模式下测试 {type(root.module).__name__}:其中的 {names} "
                + ("会随机丢弃数值" if drops else "使用这一批的统计量,并改变已学到的"),
            ),
            Text("model.eval() before the test, model.train() after it", "测试之前 model.eval(),之后 model.train()"),
        )


class EvalInTraining(Rule):
    """A net that was trained in training mode goes on being trained in eval mode."""

    code = "FB-MODE-02"

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._trained: set[int] = set()
        self._suspects: dict[int, tuple[Root, int]] = {}

    def before_backward(self, loss: Tensor, site: Site) -> None:
        for root in self.watch.roots:
            if not root.grad or not any(p.requires_grad for p in root.module.parameters()):
                continue
            if root.training:
                self._trained.add(id(root.module))
            elif id(root.module) in self._trained and has_modes(root.module) and reaches(loss, root):
                self._suspects[id(root.module)] = root, self.watch.steps

    def finished(self) -> None:
        for root, steps in self._suspects.values():
            if self.watch.steps > steps:  # a step was made of it
                self.report(
                    root.site,
                    Text(
                        f"{type(root.module).__name__} began in training mode and is now trained in eval mode: its dropout is off, its batch norm learns no "
                        "statistics",
                        f"{type(root.module).__name__} 起初在训练模式,现在却在评估模式下训练:dropout 关闭,batch norm 不再学习统计量",
                    ),
                    Text("model.train() at the beginning of each epoch", "每个 epoch 开始时调用 model.train()"),
                )


def reaches(loss: Tensor, root: Root) -> bool:
    """Whether the graph of a loss goes through what a net gave."""
    wanted = {id(t.grad_fn) for t in tensors_in(root.output) if t.grad_fn is not None}
    seen: set[int] = set()
    rest = [loss.grad_fn]
    while rest:
        node = rest.pop()
        if node is None or id(node) in seen:
            continue
        if id(node) in wanted:
            return True
        seen.add(id(node))
        rest += [before for before, _ in node.next_functions]
    return False


class GraphInTest(Rule):
    """After training in steps a net answers in eval mode, again and again, with a graph that nobody goes back through."""

    code = "FB-MODE-03"
    innocent = (
        """
import torch

x = torch.randn(8, 4)
model = torch.nn.Linear(4, 2)
model.eval()
for t in range(4):
    image = x.clone().requires_grad_()
    model(image).sum().backward()  # gradients of the input, as for a map of what the net looks at
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._tests: dict[Site, int] = {}

    def left(self, root: Root) -> None:
        judged = root.grad and not root.training and self.watch.steps and any(t.requires_grad for t in tensors_in(root.output))
        if judged and id(root.module) in self.watch.modules and any(p._grad is not None for p in root.module.parameters()):
            self._tests[root.site] = self._tests.get(root.site, 0) + 1

    def before_backward(self, loss: Tensor, site: Site) -> None:
        for root in self.watch.roots:
            if root.site in self._tests and reaches(loss, root):
                del self._tests[root.site]

    def finished(self) -> None:
        for where, times in self._tests.items():
            if times >= 3:
                self.report(
                    where,
                    Text(
                        f"{times} answers in eval mode were recorded for a backward pass that never came: this takes memory and time",
                        f"评估模式下有 {times} 次输出被记录在计算图上,却从未反向传播:浪费内存和时间",
                    ),
                    Text("with torch.no_grad(): around the test", "用 with torch.no_grad(): 包住测试"),
                )


class DropoutInEval(Rule):
    """``F.dropout(x)`` without ``training=self.training`` goes on dropping in eval mode."""

    code = "FB-MODE-04"
    innocent = (
        """
import torch


class Net(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.dropout(x, 0.5, training=self.training)


Net().eval()(torch.randn(4))
""",
    )

    def ran(self, call: Call) -> None:
        inside = self.watch.inside
        if (
            call.op != "nn.functional.dropout"
            or not inside
            or inside[-1].training
            or len(call.args) > 2
            or "training" in call.keywords
        ):
            return
        self.report(
            call.site,
            Text(
                f"F.dropout drops values although {type(inside[-1]).__name__} is in eval mode: it does not know the mode of the module",
                f"{type(inside[-1]).__name__} 处于评估模式,F.dropout 仍在丢弃数值:它不知道模块的模式",
            ),
            Text(
                "F.dropout(x, p, training=self.training), or nn.Dropout(p) in __init__",
                "F.dropout(x, p, training=self.training),或在 __init__ 里用 nn.Dropout(p)",
            ),
        )


RULES = (TrainingInTest, EvalInTraining, GraphInTest, DropoutInEval)
