"""In which order the data come, and what is kept of each step."""

from __future__ import annotations

from typing import Any

from flambeau.core import dtypes
from flambeau.diagnosis.doctor.rule import Rule
from flambeau.diagnosis.doctor.watching import Call, Site
from flambeau.diagnosis.language import Text
from flambeau.tensor import Tensor


class SortedClasses(Rule):
    """At least three batches in a row have one class each, and not all the same one."""

    code = "FB-DATA-01"

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._classes: list[int] = []
        self._targets: Tensor | None = None
        self._said = False

    def ran(self, call: Call) -> None:
        if (
            call.op in ("nn.functional.cross_entropy", "nn.functional.nll_loss")
            and len(call.tensors) > 1
            and call.tensors[0].requires_grad
        ):
            target = call.tensors[1]
            if target.dtype is dtypes.int64 and target.ndim == 1 and target.numel() >= 4:
                self._targets = target

    def after_backward(self, loss: Tensor, site: Site) -> None:
        targets, self._targets = self._targets, None
        if targets is None or self._said:
            return
        first = int(targets[0])
        if not bool((targets == first).all()):
            self._classes = []
            return
        self._classes.append(first)
        if len(self._classes) >= 3 and len(set(self._classes)) >= 2:
            self._said = True
            self.report(
                site,
                Text(
                    f"each of the last {len(self._classes)} batches has one class alone ({', '.join(map(str, self._classes[:6]))}): the data are in the "
                    "order of their classes",
                    f"最近 {len(self._classes)} 批每批只有一个类别({', '.join(map(str, self._classes[:6]))}):数据按类别排列",
                ),
                Text(
                    "DataLoader(..., shuffle=True), or rows in the order of torch.randperm(len(x))",
                    "DataLoader(..., shuffle=True),或按 torch.randperm(len(x)) 的次序取行",
                ),
            )


class KeptGraphs(Rule):
    """Losses are added up over steps as tensors, which keep the graph of every step."""

    code = "FB-MEMORY-01"
    innocent = (
        """
import torch

w = torch.randn(4, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1)
total = 0.0
for t in range(4):
    loss = 0
    for x in torch.randn(3, 4):  # within one step it is right
        loss = loss + (w * x).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total += loss.detach()
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._sums: dict[
            Site, tuple[list[Tensor], int]
        ] = {}  # where it was added last: what may be the sum now, and after how many steps
        self._times: dict[Site, int] = {}

    def ran(self, call: Call) -> None:
        if call.op != "add" or not isinstance(call.result, Tensor) or call.result.ndim or not call.result.requires_grad:
            return
        sums, steps = self._sums.get(call.site, ([], 0))
        storages = [t._storage for t in sums]
        again = [t for t in call.tensors if any(t._storage is s for s in storages)]
        if again and steps < self.watch.steps:
            self._times[call.site] = self._times.get(call.site, 0) + 1
        # `total = total + loss` makes a new sum, `total += loss` writes into the one that there is.
        self._sums[call.site] = [call.result, *again], self.watch.steps

    def finished(self) -> None:
        for where, times in self._times.items():
            if times >= 2:
                self.report(
                    where,
                    Text(
                        "the sum over steps is a tensor on the tape: it keeps the graphs of all steps, and memory grows",
                        "跨步累加的是计算图上的张量:它保留每一步的计算图,内存不断增长",
                    ),
                    Text("add loss.item(), or loss.detach()", "累加 loss.item(),或 loss.detach()"),
                )


RULES = (SortedClasses, KeptGraphs)
