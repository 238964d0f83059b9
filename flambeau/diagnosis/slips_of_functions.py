"""Slips of one's own autograd functions, and of parameters before they are there."""

from __future__ import annotations

import re

from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene
from flambeau.diagnosis.slips import slip


@slip("FB-GRAPH-11", RuntimeError, r"Legacy autograd function with non-static forward method")
def function_called(scene: Scene) -> Text | None:
    from flambeau.autograd import Function

    for name in re.findall(r"[A-Za-z_]\w*", scene.line):
        value = scene.names.get(name)
        kind = value if isinstance(value, type) else type(value)
        if issubclass(kind, Function) and kind is not Function:
            made = f"{name} = {kind.__name__}.apply" if value is not kind else f"{name}.apply(x)"
            return Text(
                f"a Function is applied, not made and called: write {made}, without {kind.__name__}()",
                f"Function 不建对象也不直接调用,而用 apply:写 {made},不写 {kind.__name__}()",
            )
    return Text(
        "a Function is applied, not made and called: write MyFunction.apply(x)", "Function 要用 apply:写 MyFunction.apply(x)"
    )


@slip("FB-GRAPH-12", (TypeError, AttributeError), r"tuple")
def saved_tensors(scene: Scene) -> Text | None:
    for name in re.findall(r"[A-Za-z_]\w*", scene.line):
        if isinstance(scene.names.get(name), tuple) and scene.search(rf"^\s*{name}\s*=\s*(\w+)\.saved_tensors"):
            return Text(
                f"saved_tensors is a tuple, even of one: write {name}, = ctx.saved_tensors, with the comma",
                f"saved_tensors 是元组,只有一个也一样:写 {name}, = ctx.saved_tensors,要有逗号",
            )
    return None


@slip("FB-GRAPH-13", RuntimeError, r"returned an incorrect number of gradients \(expected \d+, got \d+\)")
def gradients_of_function(scene: Scene) -> Text | None:
    found = scene.found(r"function (\w+?)(?:Backward)? returned .*\(expected (\d+), got (\d+)\)")
    assert found is not None
    return Text(
        f"backward gives one gradient for each input of forward (ctx aside), here {found[2]}: None for those that have none, "
        f"return grad, {', '.join(['None'] * max(int(found[2]) - 1, 1))}",
        f"backward 要为 forward 的每个输入(不算 ctx)给出一个梯度,这里是 {found[2]} 个:没有梯度的给 None,"
        f"return grad, {', '.join(['None'] * max(int(found[2]) - 1, 1))}",
    )


@slip("FB-MODULE-05", (ValueError, RuntimeError), r"Attempted to use an uninitialized parameter|has uninitialized parameters")
def lazy_before_first_call(scene: Scene) -> Text | None:
    return Text(
        "a lazy layer learns its sizes from the first batch: call the net once, net(x), before its weights are used",
        "惰性层从第一批数据得知大小:使用权重之前先调用一次 net(x)",
    )
