"""What is forgotten in the loop of training."""

from __future__ import annotations

from typing import Any

from flambeau.diagnosis.doctor.rule import Rule
from flambeau.diagnosis.doctor.watching import Call, Site, state
from flambeau.diagnosis.language import Text
from flambeau.tensor import Tensor


class NeverZeroed(Rule):
    """A parameter was updated by a gradient that still held that of an earlier update.

    Gradients that pile up and are thrown away unused, as those of a discriminator while its generator is trained, are no mistake.
    """

    code = "FB-LOOP-01"
    innocent = (
        """
import torch

x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(4):
    optimizer.zero_grad()
    for part in range(2):  # two batches for one step
        (model(x) - y).pow(2).mean().backward()
    optimizer.step()
""",
        """
import torch

generator, judge = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
first = torch.optim.SGD(generator.parameters(), lr=0.01)
second = torch.optim.SGD(judge.parameters(), lr=0.01)
for t in range(4):
    second.zero_grad()
    (judge(torch.randn(8, 4)).mean() - judge(generator(torch.randn(8, 4)).detach()).mean()).backward()
    second.step()
    first.zero_grad()
    judge(generator(torch.randn(8, 4))).mean().backward()  # leaves gradients in judge, which are zeroed above
    first.step()
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._leaves: dict[int, Tensor] = {}
        self._state: dict[int, tuple[int, int]] = {}  # of each leaf when its last backward pass was over
        self._old: set[int] = set()  # leaves whose gradient holds what an update has used
        self._times: dict[int, int] = {}
        self._site: Site = ("", 0)

    def ran(self, call: Call) -> None:
        for tensor in call.tensors:
            if tensor._requires_grad and tensor.is_leaf:
                self._leaves[id(tensor)] = tensor

    def _look(self) -> None:
        """Which leaves were updated since the last backward pass, and which gradients are still there."""
        for key, leaf in self._leaves.items():
            grad = leaf._grad
            there = grad is not None and not grad.is_sparse and bool((grad != 0).any())
            updated = key in self._state and state(leaf) != self._state[key]
            if not there:
                self._old.discard(key)
            elif updated:
                if key in self._old:
                    self._times[key] = self._times.get(key, 0) + 1
                self._old.add(key)

    def before_backward(self, loss: Tensor, site: Site) -> None:
        self._look()
        self._site = site

    def after_backward(self, loss: Tensor, site: Site) -> None:
        self._state = {key: state(leaf) for key, leaf in self._leaves.items()}

    def finished(self) -> None:
        self._look()
        guilty = [key for key, times in self._times.items() if times >= 2]
        if guilty:
            names = [self.watch.parameters[k][0] for k in guilty if k in self.watch.parameters]
            which = f" ({', '.join(names[:3])})" if names else ""
            self.report(
                self._site,
                Text(
                    f"backward() adds to gradients{which} that earlier steps have used already: each step goes by the sum of all so far",
                    f"backward() 把梯度加到之前各步已用过的梯度上{which}:每一步用的是到目前为止的总和",
                ),
                Text(
                    "call optimizer.zero_grad() (or model.zero_grad(), w.grad.zero_()) before backward(), in every step and for every weight",
                    "每一步在 backward() 之前调用 optimizer.zero_grad()(或 model.zero_grad()、w.grad.zero_()),每个权重都要清零",
                ),
            )


class StepMissing(Rule):
    """Gradients are computed for an optimizer, which never makes a step, and nobody else updates its parameters."""

    code = "FB-LOOP-06"

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._sites: list[Site] = []

    def after_backward(self, loss: Tensor, site: Site) -> None:
        self._sites.append(site)

    def finished(self) -> None:
        if len(self._sites) < 2:
            return
        for optimizer in self.watch.optimizers:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            known = [self.watch.parameters[id(p)] for p in parameters if id(p) in self.watch.parameters and p._grad is not None]
            if id(optimizer) not in self.watch.stepped and known and all(state(p) == first for _, p, first in known):
                self.report(
                    self._sites[-1],
                    Text(
                        f"{len(self._sites)} backward passes, and {type(optimizer).__name__} has made no step: the weights are what they were",
                        f"反向传播了 {len(self._sites)} 次,而 {type(optimizer).__name__} 一步也没走:权重没有变",
                    ),
                    Text("call optimizer.step() after loss.backward()", "在 loss.backward() 之后调用 optimizer.step()"),
                )


class ZeroedTooEarly(Rule):
    """The gradients of a backward pass are gone when the optimizer makes its step, each time."""

    code = "FB-LOOP-07"

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._computed: set[int] = set()  # parameters with a gradient, after the backward passes since the last step
        self._times = 0

    def after_backward(self, loss: Tensor, site: Site) -> None:
        for key, (_, parameter, _) in self.watch.parameters.items():
            grad = parameter._grad
            if grad is not None and not grad.is_sparse and bool((grad != 0).any()):
                self._computed.add(key)

    def before_step(self, optimizer: Any, site: Site) -> None:
        mine = [p for group in optimizer.param_groups for p in group["params"]]
        computed = [p for p in mine if id(p) in self._computed]
        if computed and all(p._grad is None or p._grad.is_sparse or not bool((p._grad != 0).any()) for p in mine):
            self._times += 1
            if self._times == 2:
                self.report(
                    site,
                    Text(
                        "there is no gradient left when step() is called: zero_grad() comes between backward() and step(), or step() before backward()",
                        "调用 step() 时梯度已经没有了:zero_grad() 写在了 backward() 和 step() 之间,或 step() 在 backward() 之前",
                    ),
                    Text(
                        "optimizer.zero_grad(), loss.backward(), optimizer.step(), in this order",
                        "依次为 optimizer.zero_grad()、loss.backward()、optimizer.step()",
                    ),
                )
        self._computed -= {id(p) for p in mine}


class LeafLoss(Rule):
    """backward() of a loss that was made a leaf: nothing that it was computed from gets a gradient."""

    code = "FB-GRAPH-10"
    innocent = (
        """
import torch

w = torch.tensor(2.0, requires_grad=True)
w.backward()  # of itself, and no net is there
""",
    )

    def before_backward(self, loss: Tensor, site: Site) -> None:
        if loss.grad_fn is None and loss.requires_grad and id(loss) not in self.watch.parameters and self.watch.roots:
            self.report(
                site,
                Text(
                    "this loss was made anew with requires_grad, by torch.tensor(...), .data or detach(): it has no graph, and no weight gets a gradient",
                    "这个损失是用 torch.tensor(...)、.data 或 detach() 新建并设了 requires_grad:它没有计算图,没有权重得到梯度",
                ),
                Text("call backward() on the tensor that the loss function gave", "对损失函数返回的张量调用 backward()"),
            )


class MadeAnew(Rule):
    """Optimizers that remember something were made at one line for the same parameters, again and again, and each has made one
    step."""

    code = "FB-OPTIM-06"
    innocent = (
        """
import torch

x, y = torch.randn(16, 4), torch.randn(16, 2)
for lr in (0.1, 0.01, 0.001, 0.0001):  # another net each time
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    (model(x) - y).pow(2).mean().backward()
    optimizer.step()
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._steps: dict[int, int] = {}

    def after_step(self, optimizer: Any, site: Site) -> None:
        self._steps[id(optimizer)] = self._steps.get(id(optimizer), 0) + 1

    def finished(self) -> None:
        alike: dict[tuple[Site, int], int] = {}
        for optimizer in self.watch.optimizers:
            first = next((p for group in optimizer.param_groups for p in group["params"]), None)
            if optimizer.state and self._steps.get(id(optimizer)) == 1:
                key = self.watch.made[id(optimizer)], id(first)
                alike[key] = alike.get(key, 0) + 1
                if alike[key] == 3:
                    name = type(optimizer).__name__
                    self.report(
                        key[0],
                        Text(
                            f"{name} is made anew in each step, and so forgets what it has seen of the gradients (momentum, running means)",
                            f"每一步都新建 {name},于是忘了它见过的梯度(动量、滑动平均)",
                        ),
                        Text(f"make {name} once, before the loop", f"在循环之前建立一次 {name}"),
                    )


RULES = (NeverZeroed, StepMissing, ZeroedTooEarly, LeafLoss, MadeAnew)
