"""Parameters that are not trained."""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Iterator
from typing import Any

from flambeau.diagnosis.doctor.rule import Rule
from flambeau.diagnosis.doctor.watching import Call, Root, Site, state
from flambeau.diagnosis.language import Text
from flambeau.nn import Module
from flambeau.tensor import Tensor


def line_of(cls: type, pattern: str) -> Site | None:
    """The first line of a class's own methods that matches."""
    for function in vars(cls).values():
        code = getattr(function, "__code__", None)
        if code is None:
            continue
        lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
        for i, line in enumerate(inspect.getblock(lines) if lines else []):
            if re.search(pattern, line):
                return code.co_filename, code.co_firstlineno + i
    return None


def _kept_apart(module: Module) -> Iterator[tuple[Module, str, Any]]:
    """The plain lists and dicts of modules that a module or one below it has: owner, attribute, container."""
    for owner in module.modules():
        for name, value in vars(owner).items():
            inside = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
            if not name.startswith("_") and any(isinstance(m, Module) for m in inside):
                yield owner, name, value


class PlainContainer(Rule):
    """Layers that get gradients stand in a plain list or dict, and no optimizer has them."""

    code = "FB-PARAM-02"

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._suspects: dict[tuple[int, str], tuple[Module, str, Any, Site]] = {}

    def left(self, root: Root) -> None:
        for owner, name, value in _kept_apart(root.module):
            self._suspects.setdefault((id(owner), name), (owner, name, value, root.site))

    def finished(self) -> None:
        trained = {id(p) for o in self.watch.optimizers for group in o.param_groups for p in group["params"]}
        registered = {id(p) for _, p, _ in self.watch.parameters.values()}
        for owner, name, value, called in self._suspects.values():
            layers = list(value.values() if isinstance(value, dict) else value)
            lost = [p for m in layers if isinstance(m, Module) for p in m.parameters() if p._grad is not None]
            if lost and trained and not any(id(p) in trained or id(p) in registered for p in lost):
                holder = "ModuleDict" if isinstance(value, dict) else "ModuleList"
                self.report(
                    line_of(type(owner), rf"self\.{name}\s*=") or called,
                    Text(
                        f"{type(owner).__name__}.{name} is a plain {type(value).__name__}: parameters() does not know its layers, and they are not "
                        "trained, moved or saved",
                        f"{type(owner).__name__}.{name} 是普通的 {type(value).__name__}:parameters() 不知道其中的层,它们不会被训练、移动或保存",
                    ),
                    Text(f"self.{name} = nn.{holder}(...)", f"self.{name} = nn.{holder}(...)"),
                )


class Untrained(Rule):
    """Parameters of nets that were trained got gradients, but no optimizer has them and nobody updates them."""

    code = "FB-PARAM-03"
    innocent = (
        """
import torch

x, y = torch.randn(16, 4), torch.randn(16, 2)
body, head = torch.nn.Linear(4, 8).requires_grad_(False), torch.nn.Linear(8, 2)
optimizer = torch.optim.SGD(head.parameters(), lr=0.01)
for t in range(3):
    optimizer.zero_grad()
    (head(body(x)) - y).pow(2).mean().backward()
    optimizer.step()
""",
        """
import torch

x = torch.randn(4, 3, requires_grad=True)
torch.nn.Linear(3, 2)(x).sum().backward()  # to look at x.grad: this net is not to be trained
net = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for t in range(3):
    optimizer.zero_grad()
    net(x.detach()).pow(2).mean().backward()
    optimizer.step()
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._site: Site = ("", 0)
        self._called: dict[int, Module] = {}
        """The nets that losses were made of since the last step."""
        self._steps: dict[int, int] = {}
        """In how many steps each net, by its id, has had a part."""

    def before_backward(self, loss: Tensor, site: Site) -> None:
        self._called.update((id(root.module), root.module) for root in self.watch.roots if root.grad)

    def after_step(self, optimizer: Any, site: Site) -> None:
        self._site = site
        for key in self._called:
            self._steps[key] = self._steps.get(key, 0) + 1
        self._called = {}

    def finished(self) -> None:
        watch = self.watch
        if watch.steps < 2:
            return
        optimized = {
            id(p): p for o in watch.optimizers if id(o) in watch.stepped for group in o.param_groups for p in group["params"]
        }
        trained = {id(p) for key, module in watch.modules.items() if self._steps.get(key, 0) >= 2 for p in module.parameters()}
        lost = [
            (n, p)
            for n, p, first in watch.parameters.values()
            if id(p) in trained and id(p) not in optimized and p._grad is not None and state(p) == first
        ]
        if not lost or not optimized:
            return
        names = ", ".join(n for n, _ in lost[:4]) + (", ..." if len(lost) > 4 else "")
        strangers = [p for key, p in optimized.items() if key not in watch.parameters and p._grad is None]
        if strangers:
            watch.report(
                "FB-PARAM-04",
                self._site,
                Text(
                    f"the optimizer has {len(strangers)} parameters that no net uses, and lacks {names}: it was made for another net, or a layer was "
                    "replaced after it was made",
                    f"优化器里有 {len(strangers)} 个网络不用的参数,却没有 {names}:它是为另一个网络建的,或建好之后层被替换了",
                ),
                Text(
                    "make the optimizer when the net is complete, or optimizer.add_param_group({'params': layer.parameters()})",
                    "网络完成之后再建优化器,或 optimizer.add_param_group({'params': layer.parameters()})",
                ),
            )
            return
        self.report(
            self._site,
            Text(
                f"{names} get gradients, but no optimizer has them: they stay as they are",
                f"{names} 得到了梯度,但不在任何优化器里:它们不会变",
            ),
            Text(
                "give the optimizer all that is to be trained, [*a.parameters(), *b.parameters()]; freeze the rest with requires_grad_(False)",
                "把要训练的都给优化器,[*a.parameters(), *b.parameters()];其余的用 requires_grad_(False) 冻结",
            ),
        )


class NoGradient(Rule):
    """A layer runs in training, an optimizer has its parameters, and no gradient ever reaches them."""

    code = "FB-PARAM-05"
    innocent = (
        """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.rarely = torch.nn.Linear(4, 2), torch.nn.Linear(2, 2)

    def forward(self, x, again=False):
        x = self.first(x)
        return self.rarely(x) if again else x


x, y = torch.randn(16, 4), torch.randn(16, 2)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(3):
    optimizer.zero_grad()
    (model(x) - y).pow(2).mean().backward()
    optimizer.step()
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._reached: set[int] = set()
        self._site: Site = ("", 0)

    def after_backward(self, loss: Tensor, site: Site) -> None:
        self._reached |= {key for key, (_, p, _) in self.watch.parameters.items() if p._grad is not None}
        self._site = site

    def finished(self) -> None:
        watch = self.watch
        if watch.steps < 2 or watch.backwards < 2:
            return
        optimized = {id(p) for o in watch.optimizers if id(o) in watch.stepped for group in o.param_groups for p in group["params"]}
        for root in watch.modules.values():
            if not any(id(p) in self._reached for p in root.parameters()):
                self._look_outside(root, optimized)
                continue
            lost = [
                f"{name}.{own}" if name else own
                for name, module in root.named_modules()
                if watch.uses.get(id(module), 0) >= 2
                for own, p in module.named_parameters(recurse=False)
                if p.requires_grad and id(p) in optimized and id(p) not in self._reached
            ]
            if lost:
                where = line_of(type(root), r"\.detach\(\)|\.data\b|no_grad\(\)|\.item\(\)|\.numpy\(\)|torch\.tensor\(")
                self.report(
                    where or line_of(type(root), r"def forward") or ("", 0),
                    Text(
                        f"{', '.join(lost[:4])} take part in {type(root).__name__}.forward, but no gradient reaches them: what they give is cut off the "
                        "graph, or not used",
                        f"{', '.join(lost[:4])} 参与 {type(root).__name__}.forward,但没有梯度到达:它们的输出被从计算图断开,或没有被使用",
                    ),
                    Text(
                        "leave detach(), .data, no_grad() and torch.tensor(...) out between these layers and the loss",
                        "在这些层与损失之间不要用 detach()、.data、no_grad() 或 torch.tensor(...)",
                    ),
                )

    def _look_outside(self, root: Module, optimized: set[int]) -> None:
        """No gradient has reached the net at all: its answer was cut off before the loss."""
        parameters = list(root.parameters())
        if (
            self.watch.uses.get(id(root), 0) >= 2
            and parameters
            and all(id(p) in optimized and p.requires_grad and p._grad is None for p in parameters)
        ):
            self.report(
                self._site,
                Text(
                    f"no gradient reaches any parameter of {type(root).__name__}, and its optimizer steps without: this loss is not made of what the net gave",
                    f"没有梯度到达 {type(root).__name__} 的任何参数,优化器空走:这个损失不是由网络的输出算出来的",
                ),
                Text(
                    "compute the loss of the net's answer itself: no torch.tensor(...), tolist(), item(), detach() or numpy() between them",
                    "直接用网络的输出计算损失:中间不要用 torch.tensor(...)、tolist()、item()、detach() 或 numpy()",
                ),
            )


class PlainTensor(Rule):
    """A tensor that a module holds gets gradients, but is no Parameter, and no optimizer has it."""

    code = "FB-PARAM-06"
    innocent = (
        """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.ones(1, requires_grad=True)
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x) * self.scale


model = Net()
optimizer = torch.optim.SGD([*model.parameters(), model.scale], lr=0.01)
for t in range(3):
    optimizer.zero_grad()
    model(torch.randn(8, 4)).pow(2).mean().backward()
    optimizer.step()
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._suspects: dict[int, tuple[Module, str, Tensor, tuple[int, int], Site]] = {}

    def left(self, root: Root) -> None:
        for module in root.module.modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and value._requires_grad and value.is_leaf and id(value) not in self._suspects:
                    self._suspects[id(value)] = module, name, value, state(value), root.site

    def finished(self) -> None:
        optimized = {id(p) for o in self.watch.optimizers for group in o.param_groups for p in group["params"]}
        for module, name, value, first, called in self._suspects.values():
            if self.watch.steps >= 2 and value._grad is not None and id(value) not in optimized and state(value) == first:
                self.report(
                    line_of(type(module), rf"self\.{name}\s*=") or called,
                    Text(
                        f"{type(module).__name__}.{name} gets gradients, but is no parameter: parameters() leaves it out, and it is not trained or saved",
                        f"{type(module).__name__}.{name} 得到了梯度,但不是参数:parameters() 里没有它,它不会被训练或保存",
                    ),
                    Text(f"self.{name} = nn.Parameter(...)", f"self.{name} = nn.Parameter(...)"),
                )


class LinearsInARow(Rule):
    """What a linear layer gives goes into another one and nowhere else: together they compute no more than one of them would.

    It is meant where the layer between is narrower than both ends: then the two are one matrix of low rank, with fewer weights.
    """

    code = "FB-PARAM-07"
    innocent = (
        """
import torch
from torch import nn

narrow = nn.Sequential(nn.Linear(16, 2), nn.Linear(2, 16))
first, second = nn.Linear(8, 8), nn.Linear(8, 8)
x = torch.randn(4, 8)
h = first(x)
loss = narrow(torch.randn(4, 16)).pow(2).mean() + (h + second(h)).pow(2).mean() + second(first(x)).mean()  # nets of their own
loss.backward()
""",
    )

    def __init__(self, watch: Any) -> None:
        super().__init__(watch)
        self._said: set[Site] = set()
        self._linears: list[tuple[Call, Module | None]] = []
        """The calls of linear layers since the last backward pass, with the net that they are a part of."""

    def ran(self, call: Call) -> None:
        if (
            call.op == "nn.functional.linear"
            and len(call.tensors) > 1
            and call.tensors[1].ndim == 2
            and call.tensors[1].requires_grad
        ):
            self._linears.append((call, self.watch.inside[0] if self.watch.inside else None))

    def before_backward(self, loss: Tensor, site: Site) -> None:
        linears, self._linears = self._linears, []
        made_by = {id(call.result): (call, net) for call, net in linears}
        users: dict[int, int] = {}
        for call in self.watch.calls:
            for tensor in call.tensors:
                users[id(tensor)] = users.get(id(tensor), 0) + 1
        for call, net in linears:
            before, its_net = made_by.get(id(call.tensors[0]), (None, None))
            if before is None or its_net is not net or users.get(id(call.tensors[0])) != 1 or call.site in self._said:
                continue
            (between, first), last = before.tensors[1].shape, call.tensors[1].shape[0]
            if between < min(first, last):
                continue
            self._said.add(call.site)
            self.report(
                call.site,
                Text(
                    f"Linear({first}, {between}) goes straight into Linear({between}, {last}): without an activation between them they compute what one "
                    f"Linear({first}, {last}) computes",
                    f"Linear({first}, {between}) 直接接到 Linear({between}, {last}):中间没有激活函数,它们只等于一个 Linear({first}, {last})",
                ),
                Text("put nn.ReLU() between them, or leave one out", "在它们之间加上 nn.ReLU(),或去掉一个"),
            )


RULES = (PlainContainer, Untrained, NoGradient, PlainTensor, LinearsInARow)
