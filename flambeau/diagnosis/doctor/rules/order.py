"""In which order a training loop does its work, as the text of a program shows it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flambeau.diagnosis.doctor.rules.source import SourceRule
from flambeau.diagnosis.language import Text

_LOOPS = (ast.For, ast.While)
_SCOPES = (*_LOOPS, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _loops(tree: ast.AST) -> Iterator[ast.For | ast.While]:
    return (node for node in ast.walk(tree) if isinstance(node, _LOOPS))


def _method_calls(statement: ast.AST, nested: bool = False) -> Iterator[tuple[str, ast.Call]]:
    """The calls of methods in a statement, with their names, in order; those in loops and functions inside of it only where
    ``nested``."""
    if isinstance(statement, _SCOPES) and not nested:
        return
    if isinstance(statement, ast.Call) and isinstance(statement.func, ast.Attribute):
        yield statement.func.attr, statement
    for child in ast.iter_child_nodes(statement):
        yield from _method_calls(child, nested)


def _places(body: list[ast.stmt], start: str) -> list[tuple[int, ast.Call]]:
    """Which statements of a body call a method whose name begins so."""
    return [(i, call) for i, statement in enumerate(body) for name, call in _method_calls(statement) if name.startswith(start)]


class SeedInLoop(SourceRule):
    """One seed before each step: every step draws the same rows, the same dropout, the same noise."""

    code = "FB-LOOP-09"
    innocent = (
        """
import torch

for lr in (0.1, 0.2):
    torch.manual_seed(0)
    w = torch.randn(3, requires_grad=True)
    for step in range(2):
        w.grad = None
        w.sum().backward()
for seed in range(2):
    torch.manual_seed(seed)
    torch.randn(3, requires_grad=True).sum().backward()
""",
    )

    def read(self, tree: ast.Module) -> None:
        for loop in _loops(tree):
            for _, call in _places(loop.body, "manual_seed") if _places(loop.body, "backward") else ():
                if call.args and isinstance(call.args[0], ast.Constant):
                    self.found(
                        call,
                        Text(
                            "the seed is set anew in each step: every step draws the same random numbers",
                            "每一步都重新设了种子:各步抽到的随机数都一样",
                        ),
                        Text("set it once, before the loop", "在循环之前设一次"),
                    )


class ClippedTooLate(SourceRule):
    """Gradients are clipped when the step has been made."""

    code = "FB-LOOP-10"
    innocent = (
        """
import torch

w = torch.ones(3, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1)
for step in range(2):
    optimizer.zero_grad()
    w.sum().backward()
    torch.nn.utils.clip_grad_norm_([w], 1.0)
    optimizer.step()
""",
    )

    def read(self, tree: ast.Module) -> None:
        for loop in _loops(tree):
            backward, clip = _places(loop.body, "backward"), _places(loop.body, "clip_grad_")
            step = [(i, call) for i, call in _places(loop.body, "step") if backward and i >= backward[0][0]]
            if clip and step and clip[0][0] > step[0][0]:
                self.found(
                    clip[0][1],
                    Text(
                        "the gradients are clipped after the step that they were for, and are computed anew before the next",
                        "更新之后才裁剪梯度,而下一步之前梯度又会重新计算",
                    ),
                    Text("clip between loss.backward() and optimizer.step()", "在 loss.backward() 与 optimizer.step() 之间裁剪"),
                )


class StepAfterLoop(SourceRule):
    """Gradients are computed and thrown away in an inner loop, and the step stands behind it."""

    code = "FB-LOOP-11"
    innocent = (
        """
import torch

w = torch.ones(3, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1)
for epoch in range(2):
    optimizer.zero_grad()
    for batch in range(2):
        (w.sum() / 2).backward()
    optimizer.step()
""",
    )

    def read(self, tree: ast.Module) -> None:
        for outer in [tree, *_loops(tree)]:
            for i, inner in enumerate(outer.body):
                if not (isinstance(inner, _LOOPS) and _places(inner.body, "backward") and _places(inner.body, "zero_grad")):
                    continue
                inside = any(name == "step" for name, _ in _method_calls(inner, nested=True))
                behind = _places(outer.body[i + 1 :], "step")
                if behind and not inside:
                    self.found(
                        behind[0][1],
                        Text(
                            f"the step stands behind the loop of line {inner.lineno}, where zero_grad() has thrown away all gradients but the last",
                            f"更新写在第 {inner.lineno} 行的循环之后,而循环里的 zero_grad() 丢掉了除最后一次以外的梯度",
                        ),
                        Text("indent it, so that it belongs to the loop", "把它缩进到循环里"),
                    )


class StepsForBatch(SourceRule):
    """``out[:, -1]`` of a recurrent layer whose first dim are the steps is the last sample, not the last step."""

    code = "FB-SHAPE-22"
    innocent = (
        """
import torch

rnn = torch.nn.GRU(2, 3, batch_first=True)
out, _ = rnn(torch.randn(4, 5, 2))
print(out[:, -1].shape)
lstm = torch.nn.LSTM(2, 3)
out, _ = lstm(torch.randn(5, 4, 2))
print(out[-1].shape)
""",
    )

    def read(self, tree: ast.Module) -> None:
        steps_first: set[str] = set()
        results: set[str] = set()
        nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Assign, ast.Subscript))]
        for node in sorted(nodes, key=lambda node: (node.lineno, isinstance(node, ast.Assign))):  # uses before what a line assigns
            if isinstance(node, ast.Subscript):
                self._look(node, results)
                continue
            for target, value in _pairs(node.targets[0], node.value):
                called = ast.unparse(value.func) if isinstance(value, ast.Call) else ""
                name = ast.unparse(target.elts[0] if isinstance(target, ast.Tuple) and target.elts else target)
                results.discard(name)
                steps_first.discard(name)
                if isinstance(value, ast.Call) and called.rpartition(".")[2] in ("LSTM", "GRU", "RNN"):
                    if len(value.args) <= 4 and not any(k.arg in ("batch_first", None) for k in value.keywords):
                        steps_first.add(name)
                elif isinstance(target, ast.Tuple) and called in steps_first:
                    results.add(name)

    def _look(self, node: ast.Subscript, results: set[str]) -> None:
        if ast.unparse(node.value) not in results or not ast.unparse(node.slice).strip("()").replace(" ", "").startswith(":,-1"):
            return
        text = ast.unparse(node)
        self.found(
            node,
            Text(
                f"without batch_first=True the first dim are the steps: {text} is the last sample at every step, not the last step of each",
                f"没有 batch_first=True 时第一维是步:{text} 是最后一个样本的各步,不是各样本的最后一步",
            ),
            Text("make the layer with batch_first=True", "建该层时写 batch_first=True"),
        )


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What is assigned to what: ``a, b = f(), g()`` is two."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        yield from zip(target.elts, value.elts, strict=True)
    else:
        yield target, value


RULES = (SeedInLoop, ClippedTooLate, StepAfterLoop, StepsForBatch)
