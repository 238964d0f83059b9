"""Where the data come from: what a test has in common with the training, and how long batches are waited for."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np

from flambeau.diagnosis.doctor.rule import Rule
from flambeau.diagnosis.doctor.rules.modes import JUDGING, reaches, tensors_in
from flambeau.diagnosis.doctor.watching import Call, Root, Site
from flambeau.diagnosis.language import Text
from flambeau.tensor import Tensor

_MOST_ROWS = 200_000
"""How many rows of a training are remembered."""

_MOST_ANSWERS = 100
"""How many answers may wait to be judged."""


def rows_of(root: Root) -> set[int] | None:
    """The rows of what a net was given, as hashes; ``None`` where equal rows mean little, as those of integers do."""
    given = next(tensors_in(root.inputs), None)
    if given is None or given.ndim < 2 or not given.is_floating_point() or not given.numel():
        return None
    values = np.ascontiguousarray(given.detach().float().numpy()).reshape(len(given), -1)
    if bool((values == np.floor(values)).all()):
        return None
    return {hash(row.tobytes()) for row in values}


class SharedRows(Rule):
    """A batch by which a net is judged has rows that the net was trained on, beside others.

    Nothing is said where it has no others: then the training data themselves are looked at, as one does to compare.
    """

    code = "FB-DATA-05"
    innocent = (
        """
import torch

x, y = torch.randn(40, 4), torch.randint(0, 2, (40,))
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def right(x, y):
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


for t in range(3):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x[:30]), y[:30]).backward()
    optimizer.step()
    figures = right(x[:30], y[:30]), right(x[30:], y[30:])  # how well it knows what it has learnt, and what it has not
""",
        """
import torch

x, y = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), torch.tensor([0, 1, 1, 0])
model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for t in range(3):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x[:3]), y[:3]).backward()
    optimizer.step()
with torch.no_grad():
    right = (model(x).argmax(1) == y).sum()  # a table of truths has no other rows
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._learnt: set[int] = set()
        self._answers: dict[int, tuple[Tensor, Root]] = {}
        self._tests: dict[Site, list[set[int]]] = {}

    def left(self, root: Root) -> None:
        if not root.grad:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            for tensor in tensors_in(root.output):
                self._answers[id(tensor)] = tensor, root

    def ran(self, call: Call) -> None:
        _, root = self._answers.pop(id(call.tensors[0]), (None, None)) if call.op in JUDGING and call.tensors else (None, None)
        if root is not None and (rows := rows_of(root)) is not None:
            self._tests.setdefault(root.site, []).append(rows)

    def before_backward(self, loss: Tensor, site: Site) -> None:
        self._answers.clear()
        for root in self.watch.roots:
            if len(self._learnt) < _MOST_ROWS and root.grad and reaches(loss, root):
                self._learnt |= rows_of(root) or set()

    def finished(self) -> None:
        for where, batches in self._tests.items():
            mixed = [rows for rows in batches if rows & self._learnt and rows - self._learnt]
            rows = set().union(*mixed)
            shared = rows & self._learnt
            if len(shared) >= 3 and len(shared) >= 0.05 * len(rows):
                self.report(
                    where,
                    Text(
                        f"{len(shared)} of the {len(rows)} rows that the net is tested by here are rows that it was trained on: the test looks better than it is",
                        f"此处测试用的 {len(rows)} 行中,有 {len(shared)} 行是训练过的:测试结果比实际好看",
                    ),
                    Text(
                        "cut the data once, into parts that do not overlap: train, test = torch.utils.data.random_split(data, [0.8, 0.2])",
                        "数据只切一次,各部分不重叠:train, test = torch.utils.data.random_split(data, [0.8, 0.2])",
                    ),
                )


class SlowLoader(Rule):
    """Each batch is waited for longer than the step takes that is made of it."""

    code = "FB-DATA-06"

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._times: dict[Site, list[tuple[float, float]]] = {}
        self._last: tuple[Site, float, float, int] | None = (
            None  # where, when the batch was there, after how long, after how many steps
        )

    def fetched(self, asked: float, came: float, where: Site) -> None:
        if self._last is not None:
            place, began, waited, steps = self._last
            if place == where and self.watch.steps > steps:
                self._times.setdefault(where, []).append((waited, asked - began))
        self._last = where, came, came - asked, self.watch.steps

    def finished(self) -> None:
        for where, times in self._times.items():
            waited, worked = (median(column) for column in zip(*times))
            if len(times) >= 4 and waited > 2 * worked and waited * len(times) > 0.2:
                self.report(
                    where,
                    Text(
                        f"a batch is waited for {waited * 1e3:.0f} ms, and the step that is made of it takes {worked * 1e3:.0f} ms: the loader is what takes the time",
                        f"每批要等 {waited * 1e3:.0f} 毫秒,而用它的一步只要 {worked * 1e3:.0f} 毫秒:时间都花在加载上",
                    ),
                    Text(
                        "DataLoader(..., num_workers=4) reads ahead in other processes; what is the same each time (decoding, resizing) is done once, before the training",
                        "DataLoader(..., num_workers=4) 用别的进程提前读;每次都相同的工作(解码、缩放)在训练之前做一次",
                    ),
                )


RULES = (SharedRows, SlowLoader)
