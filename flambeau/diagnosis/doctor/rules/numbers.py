"""Values that go wrong: NaN, explosion, and what dies."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from flambeau.diagnosis.doctor.rule import Rule
from flambeau.diagnosis.doctor.watching import Site
from flambeau.diagnosis.language import Text
from flambeau.tensor import Tensor


def is_finite(value: Any) -> bool:
    """Whether a tensor, or each of several, has neither NaN nor infinity."""
    if isinstance(value, tuple):
        return all(map(is_finite, value))
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point or value.is_meta or value.is_sparse:
        return True
    return bool(value.detach().isfinite().all())


def extremes(tensor: Tensor) -> str:
    """Shape and range of a tensor, for people."""
    if not tensor.numel() or not tensor.dtype.is_floating_point:
        return str(list(tensor.shape))
    values = tensor.detach()
    return f"{list(tensor.shape)} from {float(values.min()):.4g} to {float(values.max()):.4g}"


class FirstNaN(Rule):
    """A loss, or a gradient, is NaN or infinite: the first call of the step that made such a value from finite ones."""

    code = "FB-NUMBER-01"
    innocent = (
        """
import torch

scores = torch.randn(2, 3, 3, requires_grad=True)
mask = torch.ones(3, 3).tril() == 0
torch.softmax(scores.masked_fill(mask, float("-inf")), -1).sum().backward()  # infinities that are meant
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._said = False

    def before_backward(self, loss: Tensor, site: Site) -> None:
        if self._said or is_finite(loss):
            return
        self._said = True
        made = next((c for c in self.watch.calls if not is_finite(c.result) and all(map(is_finite, c.tensors))), None)
        if made is None:
            self.report(
                site,
                Text(
                    "the loss is not finite, and so are values that it was made of from the start",
                    "损失不是有限数,参与计算的值一开始就不是",
                ),
                Text("look at the data: torch.isfinite(x).all(), and at the weights", "检查数据:torch.isfinite(x).all(),以及权重"),
            )
            return
        given = "; ".join(map(extremes, made.tensors[:3]))
        name = made.op.rpartition(".")[2]
        self.report(
            made.site,
            Text(
                f"the first value that is not finite comes from {name} of {given}; the loss at line {site[1]} is NaN or infinite because of it",
                f"第一个非有限值来自 {name},其输入为 {given};第 {site[1]} 行的损失因此是 NaN 或无穷",
            ),
            _advice(name),
        )

    def after_backward(self, loss: Tensor, site: Site) -> None:
        if self._said:
            return
        for name, parameter, _ in self.watch.parameters.values():
            if parameter._grad is not None and not is_finite(parameter._grad):
                self._said = True
                steep = next(
                    (
                        c
                        for c in self.watch.calls
                        if c.op.rpartition(".")[2] in _STEEP_AT_0 and any(bool((t == 0).any()) for t in c.tensors)
                    ),
                    None,
                )
                self.report(
                    steep.site if steep is not None else site,
                    Text(
                        f"the loss is finite, but the gradient of {name} is not"
                        + (f": the slope of {steep.op.rpartition('.')[2]} at 0 is infinite" if steep is not None else ""),
                        f"损失有限,但 {name} 的梯度不是"
                        + (f":{steep.op.rpartition('.')[2]} 在 0 处的斜率是无穷" if steep is not None else ""),
                    ),
                    Text("keep away from 0: sqrt(x + 1e-8), or clamp(min=1e-8)", "避开 0:sqrt(x + 1e-8),或 clamp(min=1e-8)"),
                )
                return


_STEEP_AT_0 = ("sqrt", "rsqrt", "pow", "log", "norm", "std", "var", "div")


def _advice(name: str) -> Text:
    if name in ("log", "log2", "log10", "log1p"):
        return Text(
            "logarithms take positive numbers: log(x + 1e-8), log_softmax, or a loss that takes scores",
            "对数要求正数:log(x + 1e-8)、log_softmax,或直接接受得分的损失",
        )
    if name in ("sqrt", "rsqrt", "pow"):
        return Text("roots take numbers above 0: sqrt(x + 1e-8), or clamp(min=0)", "开方要求非负数:sqrt(x + 1e-8),或 clamp(min=0)")
    if name in ("div", "true_divide", "reciprocal"):
        return Text("a divisor is 0: divide by x + 1e-8", "除数为 0:除以 x + 1e-8")
    if name in ("exp", "expm1", "sum", "mul", "mm", "matmul", "linear"):
        return Text(
            "too large for the dtype: scale the data, lower the learning rate, use log_softmax or logsumexp",
            "超出类型的范围:缩放数据、降低学习率,或用 log_softmax、logsumexp",
        )
    return Text("look at the values that go in there", "检查那里的输入值")


class Explodes(Rule):
    """A loss grows from step to step, and much."""

    code = "FB-NUMBER-03"

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._history: dict[Site, list[float]] = defaultdict(list)

    def before_backward(self, loss: Tensor, site: Site) -> None:
        if loss.numel() == 1 and loss.dtype.is_floating_point:
            self._history[site].append(float(loss.detach()))

    def finished(self) -> None:
        rates = [float(group["lr"]) for o in self.watch.optimizers for group in o.param_groups if "lr" in group]
        for where, losses in self._history.items():
            finite = [v for v in losses if math.isfinite(v)]
            last = finite[-5:]
            # What explodes does so by a factor a step; losses of critics and the like wander, also through 0.
            if (
                len(finite) < 4
                or finite[0] <= 0
                or any(b < 1.1 * a for a, b in zip(last, last[1:]))
                or finite[-1] < max(20 * finite[0], 1)
            ):
                continue
            rate = f" (lr={max(rates):g})" if rates else ""
            self.watch.findings = [f for f in self.watch.findings if f.code != "FB-NUMBER-01"]  # NaN is where it ended
            self.report(
                where,
                Text(
                    f"the loss grows from step to step, from {finite[0]:.4g} to {finite[-1]:.4g}: each step goes too far{rate}",
                    f"损失一步比一步大,从 {finite[0]:.4g} 到 {finite[-1]:.4g}:步子太大{rate}",
                ),
                Text("take a tenth of the learning rate, and again, until the loss falls", "把学习率降到十分之一,直到损失下降")
                if rates
                else Text(
                    "take a tenth of the learning rate; and is the sign right, w -= lr * w.grad?",
                    "把学习率降到十分之一;符号对吗,是 w -= lr * w.grad?",
                ),
            )


class StandsStill(Rule):
    """Twenty steps with a tiny learning rate have not changed the loss by a thousandth."""

    code = "FB-NUMBER-06"

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._history: dict[Site, list[float]] = defaultdict(list)

    def before_backward(self, loss: Tensor, site: Site) -> None:
        if loss.numel() == 1 and loss.dtype.is_floating_point:
            self._history[site].append(float(loss.detach()))

    def finished(self) -> None:
        rates = [float(group["lr"]) for o in self.watch.optimizers for group in o.param_groups if "lr" in group]
        for where, losses in self._history.items():
            if (
                self.watch.steps >= 20
                and len(losses) >= 20
                and rates
                and max(rates) < 1e-5
                and max(losses) - min(losses) <= 1e-3 * abs(losses[0])
            ):
                self.report(
                    where,
                    Text(
                        f"after {len(losses)} steps the loss is {losses[-1]:.5g}, it was {losses[0]:.5g}: with lr={max(rates):g} nothing moves",
                        f"{len(losses)} 步之后损失是 {losses[-1]:.5g},起初是 {losses[0]:.5g}:lr={max(rates):g} 时几乎不动",
                    ),
                    Text("try lr=1e-3 with Adam, 1e-2 with SGD, and go on from there", "Adam 先试 lr=1e-3,SGD 先试 1e-2,再作调整"),
                )


class RateDied(Rule):
    """For many steps the learning rate is next to nothing beside what it was: its scheduler counts batches, and epochs were meant."""

    code = "FB-NUMBER-07"
    innocent = (
        """
import torch

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
for t in range(30):
    optimizer.zero_grad()
    model(torch.randn(16, 4)).pow(2).mean().backward()
    optimizer.step()
    scheduler.step()
""",
    )
    share = 1e-6

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._rates: dict[int, list[float]] = defaultdict(list)
        self._site: Site = ("", 0)

    def before_step(self, optimizer: Any, site: Site) -> None:
        self._rates[id(optimizer)].append(max(float(group.get("lr", 1.0)) for group in optimizer.param_groups))
        self._site = site

    def finished(self) -> None:
        for rates in self._rates.values():
            dead = [rate for rate in rates if rate <= self.share * max(rates)]
            if len(dead) >= 5 and len(dead) >= len(rates) / 4 and rates[-1] in dead:
                self.report(
                    self._site,
                    Text(
                        f"the learning rate has gone from {max(rates):g} to {rates[-1]:g}, and {len(dead)} of {len(rates)} steps moved nothing",
                        f"学习率从 {max(rates):g} 降到 {rates[-1]:g},{len(rates)} 步中有 {len(dead)} 步几乎不动",
                    ),
                    Text(
                        "call scheduler.step() once an epoch, after the loop over its batches, or choose a gamma nearer to 1",
                        "每个 epoch 只调用一次 scheduler.step(),写在遍历各批之后;或让 gamma 更接近 1",
                    ),
                )


class DeadReLU(Rule):
    """A ReLU gives nothing but zeros, in three backward passes in a row."""

    code = "FB-NUMBER-04"

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._dead: dict[tuple[Site, int], int] = {}

    def before_backward(self, loss: Tensor, site: Site) -> None:
        order: dict[Site, int] = defaultdict(int)
        now: dict[tuple[Site, int], int] = {}
        for call in self.watch.calls:
            if (
                call.op in ("relu", "nn.functional.relu", "relu_")
                and isinstance(call.result, Tensor)
                and call.result.requires_grad
                and call.result.numel() > 1
            ):
                key = call.site, order[call.site]
                order[call.site] += 1
                if not bool((call.result.detach() != 0).any()):
                    now[key] = self._dead.get(key, 0) + 1
        self._dead = now

    def finished(self) -> None:
        for (where, _), times in self._dead.items():
            if times >= 3:
                self.report(
                    where,
                    Text(
                        f"a ReLU gives nothing but zeros, {times} steps in a row: no gradient comes through it, and it cannot recover",
                        f"一个 ReLU 连续 {times} 步输出全零:没有梯度能通过它,它无法恢复",
                    ),
                    Text(
                        "inputs of about 1 (pixels divided by 255), a smaller learning rate, initial values that are drawn and not 0, no ReLU after the last layer",
                        "输入缩放到 1 左右(像素除以 255),减小学习率,初值要随机而不是 0,最后一层之后不加 ReLU",
                    ),
                )


class Vanishes(Rule):
    """The gradients of some weights are next to nothing beside those of others, in three backward passes in a row."""

    code = "FB-NUMBER-05"
    ratio = 1e-6

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._times: dict[int, int] = {}
        self._last: dict[int, tuple[str, float]] = {}
        self._site: Site = ("", 0)

    def after_backward(self, loss: Tensor, site: Site) -> None:
        norms: dict[int, float] = {}
        for key, (_, parameter, _) in self.watch.parameters.items():
            grad = parameter._grad
            if grad is not None and parameter.ndim >= 2 and not grad.is_sparse:
                size = float(grad.detach().abs().max())
                if 0 < size < math.inf:
                    norms[key] = size
        largest = max(norms.values(), default=0.0)
        weak = {key for key, size in norms.items() if size < self.ratio * largest}
        self._times = {key: self._times.get(key, 0) + 1 for key in weak}
        self._last = {key: (self.watch.parameters[key][0], norms[key] / largest) for key in weak}
        self._site = site

    def finished(self) -> None:
        guilty = [key for key, times in self._times.items() if times >= 3]
        if guilty:
            name, share = min((self._last[key] for key in guilty), key=lambda found: found[1])
            self.report(
                self._site,
                Text(
                    f"the gradient of {name} is {share:.0e} of the largest one ({len(guilty)} weights are like that): these layers learn nothing",
                    f"{name} 的梯度只有最大者的 {share:.0e}(这样的权重有 {len(guilty)} 个):这些层学不到东西",
                ),
                Text(
                    "ReLU or tanh instead of sigmoid, batch or layer norm, residual connections, fewer layers",
                    "用 ReLU 或 tanh 代替 sigmoid,加 batch/layer norm、残差连接,或减少层数",
                ),
            )


RULES = (FirstNaN, Explodes, StandsStill, RateDied, DeadReLU, Vanishes)
