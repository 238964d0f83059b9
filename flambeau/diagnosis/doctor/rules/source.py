"""What the text of a program shows."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator

from flambeau.diagnosis.doctor.rule import Rule
from flambeau.diagnosis.language import Text


class SourceRule(Rule):
    """A rule that reads the program that the doctor was asked about."""

    def finished(self) -> None:
        lines = linecache.getlines(self.watch.source) if self.watch.source else []
        try:
            tree = ast.parse("".join(lines))
        except SyntaxError:  # a cell of a notebook, with its magic
            return
        if lines:
            self.read(tree)

    def read(self, tree: ast.Module) -> None:
        raise NotImplementedError

    def found(self, node: ast.AST, why: Text, fix: Text) -> None:
        self.report((self.watch.source, getattr(node, "lineno", 0)), why, fix)


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class NotCalled(SourceRule):
    """A method that does something is named in a statement of its own, or printed, without being called."""

    code = "FB-LOOP-02"
    innocent = ("import torch\n\nstep = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0).step\nstep()\n",)
    methods = {"backward", "step", "zero_grad", "zero_", "item", "train", "eval", "cuda", "detach", "tolist"}

    def read(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            named: list[ast.expr] = []
            if isinstance(node, ast.Expr):
                named = [node.value]
            elif isinstance(node, ast.Call) and _last_name(node.func) in ("print", "append", "format", "float"):
                named = list(node.args)
            elif isinstance(node, ast.FormattedValue):
                named = [node.value]
            for value in named:
                if isinstance(value, ast.Attribute) and value.attr in self.methods:
                    text = ast.unparse(value)
                    self.found(
                        value,
                        Text(f"{text} names the method and does not call it", f"{text} 只是提到这个方法,并没有调用"),
                        Text(f"{text}()", f"{text}()"),
                    )


class NoGradientInUpdate(SourceRule):
    """``w -= lr * w.requires_grad``, or ``w -= lr * w``."""

    code = "FB-LOOP-03"
    innocent = (
        """
import torch

w = torch.ones(3, requires_grad=True)
w.sum().backward()
with torch.no_grad():
    w -= 0.1 * (w.grad + 0.01 * w)  # weight decay
""",
    )

    def read(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if not (isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Sub) and isinstance(node.value, ast.BinOp)):
                continue
            parts = list(ast.walk(node.value))
            if any(isinstance(p, ast.Attribute) and p.attr == "grad" for p in parts):
                continue
            target = ast.unparse(node.target)
            wrong = next((p for p in parts if isinstance(p, ast.Attribute) and p.attr == "requires_grad"), None)
            if wrong is None and isinstance(node.value.op, ast.Mult):
                same = [p for p in (node.value.left, node.value.right) if ast.unparse(p) == target]
                wrong = same[0] if same and self._is_weight(tree, target) else None  # type: ignore[assignment]
            if wrong is not None:
                text = ast.unparse(wrong)
                self.found(
                    node,
                    Text(f"the update subtracts {text}, which is not the gradient", f"更新减去的是 {text},不是梯度"),
                    Text(
                        f"{target} -= lr * {target.removesuffix('.data')}.grad",
                        f"{target} -= lr * {target.removesuffix('.data')}.grad",
                    ),
                )

    @staticmethod
    def _is_weight(tree: ast.Module, name: str) -> bool:
        """Whether a name is a parameter: one of ``parameters()``, or made with ``requires_grad``."""
        for node in ast.walk(tree):
            if isinstance(node, ast.For) and ast.unparse(node.target) == name and "parameters()" in ast.unparse(node.iter):
                return True
            if (
                isinstance(node, ast.Assign)
                and any(ast.unparse(t) == name for t in node.targets)
                and "requires_grad=True" in ast.unparse(node.value)
            ):
                return True
        return False


class TooLate(SourceRule):
    """A name that an optimizer was made with gets another value, which nobody reads."""

    code = "FB-LOOP-04"
    innocent = (
        """
import torch

w = torch.zeros(1, requires_grad=True)
lr = 0.1
first = torch.optim.SGD([w], lr=lr)
lr = 0.01
second = torch.optim.SGD([w], lr=lr)
""",
    )

    def read(self, tree: ast.Module) -> None:
        for scope in [tree, *(n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.For, ast.While)))]:
            body = scope.body
            for i, statement in enumerate(body):
                for call in (
                    _calls(statement) if not isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.For, ast.While)) else ()
                ):
                    names = {k.value.id for k in call.keywords if k.arg == "lr" and isinstance(k.value, ast.Name)}
                    for name in names:
                        self._look(name, body[i + 1 :], repeats=isinstance(scope, (ast.For, ast.While)))

    def _look(self, name: str, rest: list[ast.stmt], repeats: bool) -> None:
        new = next(
            (
                i
                for i, s in enumerate(rest)
                if isinstance(s, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in s.targets)
            ),
            None,
        )
        if new is None or repeats:
            return
        if any(
            isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) for s in rest[new + 1 :] for n in ast.walk(s)
        ):
            return
        self.found(
            rest[new],
            Text(f"the optimizer was made with the {name} of before, and keeps that", f"优化器是用之前的 {name} 建的,不会改变"),
            Text(
                f"set {name} before the optimizer is made, or optimizer.param_groups[0]['lr'] = ...",
                f"在建优化器之前设 {name},或 optimizer.param_groups[0]['lr'] = ...",
            ),
        )


class TargetUnused(SourceRule):
    """Targets are made beside the inputs, something is trained, and nobody reads them."""

    code = "FB-LOOP-05"
    innocent = (
        "import torch\n\nimages, labels = next(iter([(torch.ones(3), 0)]))\nw = torch.ones(3, requires_grad=True)\n(images @ w).backward()\n",
        "import torch\n\nx, _ = torch.randn(2, 3), 0\nw = torch.ones(3, requires_grad=True)\n(x @ w).sum().backward()\n",
    )
    names = {"y", "target", "targets", "labels", "y_train"}
    makers = {"rand", "randn", "randint", "tensor", "from_numpy", "zeros", "ones", "load"}

    def read(self, tree: ast.Module) -> None:
        if not any(isinstance(n, ast.Attribute) and n.attr == "backward" for n in ast.walk(tree)):
            return
        read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        for node in tree.body:
            called = {_last_name(c.func) for c in _calls(node.value)} if isinstance(node, ast.Assign) else set()
            if not isinstance(node, ast.Assign) or not called & self.makers or "next" in called:
                continue
            made = {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            for name in sorted(made & self.names - read):
                self.found(
                    node,
                    Text(
                        f"{name} is made, and no loss reads it: the net learns nothing of it",
                        f"建了 {name},却没有损失用到它:网络学不到目标",
                    ),
                    Text(f"compare with it: loss = loss_fn(y_pred, {name})", f"与它比较:loss = loss_fn(y_pred, {name})"),
                )


class Uninitialised(SourceRule):
    """``self.w = Parameter(torch.Tensor(n, m))`` in a class that nowhere fills ``w``."""

    code = "FB-PARAM-01"
    innocent = (
        """
import torch


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.Tensor(2, 3))
        self.bias = torch.nn.Parameter(torch.empty(3))
        self.reset_parameters()

    def reset_parameters(self):
        torch.nn.init.normal_(self.weight)
        self.bias.data.zero_()
""",
    )
    makers = {"Tensor", "empty", "FloatTensor", "empty_like"}

    def read(self, tree: ast.Module) -> None:
        for cls in (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
            # All parameters at once: for p in self.parameters(): ..., or net.apply(initialize).
            if any(_last_name(c.func) == "parameters" for c in _calls(cls)) or any(
                _last_name(c.func) == "apply" for c in _calls(tree)
            ):
                continue
            for node in (n for n in ast.walk(cls) if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call)):
                call = node.value
                assert isinstance(call, ast.Call)
                if _last_name(call.func) != "Parameter" or not call.args or not isinstance(call.args[0], ast.Call):
                    continue
                maker = call.args[0]
                if (
                    _last_name(maker.func) not in self.makers
                    or not maker.args
                    or isinstance(maker.args[0], (ast.List, ast.Tuple))
                    and _last_name(maker.func) == "Tensor"
                ):
                    continue
                for target in node.targets:
                    if isinstance(target, ast.Attribute) and not self._is_filled(tree, target.attr):
                        self.found(
                            node,
                            Text(
                                f"{ast.unparse(maker)} holds whatever the memory held, NaN included: self.{target.attr} is never given values",
                                f"{ast.unparse(maker)} 里是内存中的任意值,可能是 NaN:self.{target.attr} 从未赋初值",
                            ),
                            Text(
                                f"torch.nn.init.xavier_uniform_(self.{target.attr}), or torch.randn(...) * 0.01, or torch.zeros(...) for a bias",
                                f"torch.nn.init.xavier_uniform_(self.{target.attr}),或 torch.randn(...) * 0.01,偏置可用 torch.zeros(...)",
                            ),
                        )

    @staticmethod
    def _is_filled(tree: ast.Module, name: str) -> bool:
        """Whether a method that writes is called on it, or it is given to a function whose name ends in _."""
        for call in _calls(tree):
            writes = _last_name(call.func).endswith("_") or "init" in ast.unparse(call.func)
            if writes and any(isinstance(n, ast.Attribute) and n.attr == name for n in ast.walk(call)):
                return True
        return any(
            isinstance(n, (ast.Assign, ast.AugAssign)) and f".{name}.data" in ast.unparse(n).partition("=")[0]
            for n in ast.walk(tree)
        )


class KeptInList(SourceRule):
    """``losses.append(loss)`` of a loss whose ``backward()`` is called."""

    code = "FB-MEMORY-01"
    innocent = (
        """
import torch

w = torch.ones(3, requires_grad=True)
losses = []
for x in torch.randn(3, 3):
    loss = (w * x).sum()
    losses.append(loss)
sum(losses).backward()
""",
        """
import torch

w = torch.ones(3, requires_grad=True)
losses = []
for x in torch.randn(3, 3):
    loss = (w * x).sum()
    loss.backward()
    w.grad = None
    loss = loss.item()
    losses.append(loss)
""",
    )

    def read(self, tree: ast.Module) -> None:
        gone_back = {
            _last_name(c.func.value) for c in _calls(tree) if isinstance(c.func, ast.Attribute) and c.func.attr == "backward"
        }
        for node in ast.walk(tree):  # names that are a number, or off the tape, at some place
            if isinstance(node, ast.Assign) and any(_last_name(c.func) in ("item", "detach", "float") for c in _calls(node.value)):
                gone_back -= {t.id for t in node.targets if isinstance(t, ast.Name)}
        for call in _calls(tree):
            if (
                _last_name(call.func) == "append"
                and len(call.args) == 1
                and isinstance(call.args[0], ast.Name)
                and call.args[0].id in gone_back
            ):
                name = call.args[0].id
                self.found(
                    call,
                    Text(
                        f"the list keeps {name} as a tensor, and with it the graph of every step",
                        f"列表保存的 {name} 是张量,连同每一步的计算图",
                    ),
                    Text(f"append {name}.item(), or {name}.detach()", f"append {name}.item(),或 {name}.detach()"),
                )


RULES = (NotCalled, NoGradientInUpdate, TooLate, TargetUnused, Uninitialised, KeptInList)
