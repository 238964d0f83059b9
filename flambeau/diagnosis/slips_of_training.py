"""Slips of the training loop: gradients, graphs, optimizers."""

from __future__ import annotations

import re

from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene
from flambeau.diagnosis.slips import slip


@slip("FB-GRAPH-01", RuntimeError, r"a (?:view of a )?leaf Variable that requires grad is being used in an in-place operation")
def update_on_the_tape(scene: Scene) -> Text | None:
    return Text(
        f"an update is no part of the graph: put it under no_grad, `with torch.no_grad(): {scene.line}`",
        f"参数更新不属于计算图:放到 no_grad 里,`with torch.no_grad(): {scene.line}`",
    )


@slip("FB-GRAPH-02", RuntimeError, r"Trying to backward through the graph a second time")
def backward_twice(scene: Scene) -> Text | None:
    return Text(
        "each backward() frees its graph: compute the loss, and all that it is made of, anew in every step (inside of the loop); carry a hidden state on "
        "with h.detach(); for two losses call (loss1 + loss2).backward() once",
        "每次 backward() 都会释放计算图:在循环里每一步都重新计算损失和它的全部中间结果;隐藏状态用 h.detach() 传下去;两个损失则 (loss1 + loss2).backward() 一次",
    )


@slip("FB-GRAPH-03", RuntimeError, r"grad can be implicitly created only for scalar outputs")
def backward_of_many(scene: Scene) -> Text | None:
    found = re.search(r"([\w.]+)\.backward\(", scene.line)
    name = found[1] if found else "loss"
    return Text(
        f"a loss is one number: write {name}.mean().backward(), or .sum()", f"损失应是一个数:写 {name}.mean().backward(),或 .sum()"
    )


@slip("FB-GRAPH-04", RuntimeError, r"element 0 of tensors does not require grad and does not have a grad_fn")
def no_graph(scene: Scene) -> Text | None:
    import flambeau

    if not flambeau.is_grad_enabled():
        return Text(
            "this runs under torch.no_grad(), where no graph is recorded: compute the loss outside of it",
            "这里处于 torch.no_grad() 之下,不记录计算图:请在它之外计算损失",
        )
    for name in re.findall(r"[A-Za-z_]\w*", scene.line):
        if scene.has(rf"^\s*[\[(]?{name}\b[^=]*=(?!.*create_graph).*\bgrad\("):
            return Text(
                f"{name} is a gradient, and how it was computed is not recorded: pass create_graph=True to the grad(...) that gave it",
                f"{name} 是梯度,它的计算过程没有记录:在得到它的 grad(...) 里传 create_graph=True",
            )
    return Text(
        "no graph leads from here to a parameter: make the weights with requires_grad=True, and compute the loss from them without detach(), .data, "
        ".item(), argmax or numpy(), and outside of torch.no_grad()",
        "从这里没有计算图通向参数:建权重时写 requires_grad=True,并且计算损失时不要经过 detach()、.data、.item()、argmax 或 numpy(),也不要在 torch.no_grad() 里",
    )


@slip("FB-GRAPH-05", RuntimeError, r"Can't call numpy\(\) on Tensor that requires grad")
def numpy_of_graph(scene: Scene) -> Text | None:
    import flambeau

    for name in re.findall(r"\bnp\.(\w+)\(", scene.line):
        if hasattr(flambeau, name):
            return Text(
                f"np.{name} computes with arrays, which have no gradients: write torch.{name}(...)",
                f"np.{name} 用数组计算,没有梯度:写 torch.{name}(...)",
            )
    return Text(
        "this tensor is on the tape, and an array is not: write x.detach().numpy()",
        "该张量在计算图上,数组不在:写 x.detach().numpy()",
    )


@slip("FB-GRAPH-06", RuntimeError, r"modified by an inplace operation")
def written_over(scene: Scene) -> Text | None:
    return Text(
        "backward needs the value that was written over: write y = y + 1 instead of y += 1, and relu(x) instead of relu_(x)",
        "反向传播需要被改写的值:写 y = y + 1 而不是 y += 1,用 relu(x) 而不是 relu_(x)",
    )


@slip("FB-GRAPH-07", RuntimeError, r"One of the differentiated Tensors appears to not have been used in the graph")
def unused(scene: Scene) -> Text | None:
    return Text(
        "the loss does not use this tensor: compute it from that, or pass allow_unused=True",
        "损失没有用到该张量:用它计算损失,或传 allow_unused=True",
    )


@slip("FB-OPTIM-01", ValueError, r"optimizer got an empty parameter list")
def no_parameters(scene: Scene) -> Text | None:
    from flambeau.nn import Module

    for name, value in scene.names.items():
        if isinstance(value, Module):
            for attribute, kept in vars(value).items():
                layers = kept.values() if isinstance(kept, dict) else kept
                if (
                    not attribute.startswith("_")
                    and isinstance(kept, (list, tuple, dict))
                    and any(isinstance(m, Module) for m in layers)
                ):
                    holder = "ModuleDict" if isinstance(kept, dict) else "ModuleList"
                    return Text(
                        f"{name}.{attribute} is a plain {type(kept).__name__}, whose layers the module does not know: write "
                        f"self.{attribute} = nn.{holder}(...)",
                        f"{name}.{attribute} 是普通的 {type(kept).__name__},模块不知道其中的层:写 self.{attribute} = nn.{holder}(...)",
                    )
    return Text(
        "the module has no parameters: are its layers assigned to self in __init__, or was model.parameters() used up before? Write "
        "list(model.parameters()) to use it twice",
        "模块没有参数:层在 __init__ 里赋给 self 了吗?model.parameters() 是否已经用完?要用两次就写 list(model.parameters())",
    )


@slip("FB-OPTIM-02", ValueError, r"can't optimize a non-leaf Tensor")
def no_leaf(scene: Scene) -> Text | None:
    return Text(
        "the tensor was computed (by .to(), * or another op) after requires_grad: make it first, then call w.requires_grad_()",
        "该张量是在 requires_grad 之后算出来的(.to()、* 等):先算好,再调用 w.requires_grad_()",
    )


@slip("FB-OLD-01", (IndexError, RuntimeError), r"invalid index of a 0-dim tensor")
def data_zero(scene: Scene) -> Text | None:
    mended = re.sub(r"\.data\s*\[0\]|\[0\]", ".item()", scene.line)
    return Text(
        f"a loss is a tensor without dims, since PyTorch 0.4: write {mended}", f"自 PyTorch 0.4 起损失是 0 维张量:写 {mended}"
    )
