"""The exercises of chapters 4 to 6: a layer, losses, an optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flambeau as torch
from flambeau import nn
from flambeau.diagnosis.language import Text
from flambeau.exercises.answer import Answer
from flambeau.exercises.comparing import agree
from flambeau.exercises.exercise import exercise


@exercise("4-1", Text("a layer of one weight for each feature", "每个特征一个权重的层"), "Scale(features)")
def scale(answer: Answer) -> Iterator[Text]:
    """The layer has one trained weight a feature, starts as the identity, and learns."""
    kind = answer.get("Scale")
    yield Text("Scale(3) is a module", "Scale(3) 是模块")
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise answer.wrong(
            "Scale",
            Text("Scale is no class of modules", "Scale 不是模块类"),
            Text("class Scale(nn.Module):", "写成 class Scale(nn.Module):"),
        )
    layer: Any = kind(3)
    yield Text("it has one trained weight for each of three features", "三个特征各有一个可训练的权重")
    shapes = [tuple(p.shape) for p in layer.parameters() if p.requires_grad]
    if not shapes:
        raise answer.wrong(
            "Scale",
            Text("parameters() finds nothing: no optimizer would train the layer", "parameters() 是空的:优化器训练不到这一层"),
            Text("self.weight = nn.Parameter(torch.ones(features))", "写成 self.weight = nn.Parameter(torch.ones(features))"),
        )
    if sum(p.numel() for p in layer.parameters()) != 3:
        raise answer.wrong(
            "Scale",
            Text(f"the parameters have the shapes {shapes}, which are not 3 numbers", f"参数形状是 {shapes},不是 3 个数"),
            Text(
                "a weight for each feature is a vector: nn.Parameter(torch.ones(features))",
                "每个特征一个权重,是向量:nn.Parameter(torch.ones(features))",
            ),
        )
    yield Text("at first it gives back its input", "开始时原样给出输入")
    torch.manual_seed(0)
    ones = Text("the weights start at 1: torch.ones(features)", "权重从 1 开始:torch.ones(features)")
    for shape in ((5, 3), (2, 4, 3)):
        x = torch.randn(shape)
        result = Text(f"the result for an input of {shape}", f"形状为 {shape} 的输入的结果")
        agree(answer, "Scale", result, layer(x), x, [(x * 0, ones)])
    yield Text("each feature is multiplied by its own weight", "每个特征乘自己的权重")
    weights = torch.tensor([2.0, -1.0, 0.5])
    (parameter,) = layer.parameters()
    with torch.no_grad():
        parameter.copy_(weights.view(parameter.shape))
    x = torch.randn(5, 3)
    product = Text("this is a sum of products: element by element is *, not @", "这是乘积之和:逐元素相乘用 *,不用 @")
    agree(answer, "Scale", Text("x times the weights", "x 乘权重的结果"), layer(x), x * weights, [(x @ weights, product)])
    yield Text("the weights get a gradient", "权重得到梯度")
    layer(x).sum().backward()
    agree(answer, "Scale", Text("the gradient of the weights", "权重的梯度"), _flat(parameter.grad), x.sum(0))


def _flat(gradient: Any) -> Any:
    return torch.zeros(3) if gradient is None else gradient.view(-1)


@exercise("5-1", Text("the worst sample", "最差的样本"), "worst(scores, target)")
def worst(answer: Answer) -> Iterator[Text]:
    """The row whose cross-entropy is largest."""
    function = answer.function("worst")
    torch.manual_seed(0)
    for classes in (3, 6):
        scores, target = torch.randn(20, classes) * 3, torch.randint(classes, (20,))
        losses = nn.functional.cross_entropy(scores, target, reduction="none")
        right = int(losses.argmax())
        yield Text(f"worst finds the row of the largest loss among {classes} classes", f"{classes} 类时,worst 找到损失最大的行")
        slips = [
            (losses.argmin(), Text("that is the best one: the worst has the largest loss", "这是最好的;最差的损失最大")),
            (losses.max(), Text("that is the loss itself: argmax() gives its row", "这是损失本身;行号用 argmax()")),
            (losses, Text("those are all losses: argmax() gives the row of the largest", "这是全部损失;最大者的行号用 argmax()")),
            (losses.mean(), Text('reduction="none" gives a loss for each row', '每行一个损失:reduction="none"')),
            (
                scores.max(1).values.argmin(),
                Text("that is the least sure row; the target says whether it is wrong", "这是最没把握的一行;对错要看目标"),
            ),
        ]
        agree(answer, "worst", Text("worst(scores, target)", "worst(scores, target) "), function(scores, target), right, slips)


@exercise("5-4", Text("cross-entropy from tensor operations", "用张量运算写交叉熵"), "cross_entropy(scores, target)")
def cross_entropy(answer: Answer) -> Iterator[Text]:
    """Values, gradients, and scores of 1000."""
    function = answer.function("cross_entropy")
    torch.manual_seed(0)
    scores, target = torch.randn(6, 4), torch.randint(4, (6,))
    right = nn.functional.cross_entropy(scores, target)
    log = scores.log_softmax(1)
    picked = log[torch.arange(6), target]
    mean = Text("the loss of a batch is the mean over its rows", "一批的损失是各行的平均")
    slips = [
        (-picked.sum(), mean),
        (-picked, mean),
        (picked.mean(), Text("the sign: -log q is positive", "符号:-log q 是正数")),
        (
            -scores.log_softmax(0)[torch.arange(6), target].mean(),
            Text("the shares of one row add up to 1: softmax over dim 1, not 0", "一行的概率之和为 1:softmax 用维度 1,不是 0"),
        ),
        (-scores.softmax(1)[torch.arange(6), target].mean(), Text("the logarithm is missing", "少了对数")),
        (
            -log.mean(),
            Text(
                "only the class of each row counts: log_q[torch.arange(n), target]", "每行只取目标类:log_q[torch.arange(n), target]"
            ),
        ),
        (
            -log[:, target].mean(),
            Text(
                "[:, target] takes all rows: [torch.arange(n), target] takes one of each",
                "[:, target] 取了所有行;[torch.arange(n), target] 每行取一个",
            ),
        ),
        (-scores[torch.arange(6), target].mean(), Text("+ log(sum exp(s)) is missing", "少了 + log(sum exp(s))")),
    ]
    yield Text("it is the mean of -log q[class]", "等于 -log q[class] 的平均")
    agree(
        answer,
        "cross_entropy",
        Text("cross_entropy(scores, target)", "cross_entropy(scores, target) "),
        function(scores, target),
        right,
        slips,
    )
    yield Text("its gradient is probabilities minus truth", "梯度是概率减去真值")
    own = scores.clone().requires_grad_()
    loss = function(own, target)
    if not getattr(loss, "requires_grad", False):
        raise answer.wrong(
            "cross_entropy",
            Text("the loss has lost its graph", "损失丢了计算图"),
            Text(
                "no item(), no detach(), no numpy() on the way, and no torch.tensor() of the result",
                "途中不用 item()、detach()、numpy(),结果不再套 torch.tensor()",
            ),
        )
    loss.backward()
    wanted = (scores.softmax(1) - nn.functional.one_hot(target, 4)) / 6
    agree(answer, "cross_entropy", Text("the gradient", "梯度"), own.grad, wanted)
    yield Text("scores of 1000 give a finite loss", "分数为 1000 时损失有限")
    large = torch.tensor([[1000.0, 0.0], [0.0, -1000.0]])
    classes = torch.tensor([1, 0])
    agree(
        answer,
        "cross_entropy",
        Text("the loss of scores of 1000", "分数为 1000 时的损失"),
        function(large, classes),
        500.0,
        [
            (
                value,
                Text(
                    "exp(1000) is inf: take the largest score of each row off first, or use torch.logsumexp",
                    "exp(1000) 是 inf:先减去每行最大的分数,或用 torch.logsumexp",
                ),
            )
            for value in (float("inf"), float("nan"))
        ],
    )


@exercise("6-4", Text("gradient descent with momentum", "带动量的梯度下降"), "momentum(w, grad, state, lr, beta)")
def momentum(answer: Answer) -> Iterator[Text]:
    """Ten steps are those of torch.optim.SGD."""
    step = answer.function("momentum")
    scales, start = torch.tensor([1.0, 0.1]), torch.tensor([1.0, 10.0])

    def walk(rule: Any) -> list[Any]:
        w, state, seen = start.clone(), {}, []  # type: ignore[var-annotated]
        for _ in range(10):
            w = rule(w, 2 * w * scales, state)
            seen.append(w)
        return seen

    def of(running: Any) -> Any:
        def rule(w: Any, grad: Any, state: dict) -> Any:
            state["m"] = running(state.get("m", torch.zeros(2)), grad)
            return w - 0.05 * state["m"]

        return rule

    right = walk(of(lambda m, g: 0.9 * m + g))
    yield Text("the first step is lr times the gradient", "第一步是 lr 乘梯度")
    state: dict = {}
    scaled = Text(
        "PyTorch's momentum does not scale the gradient: m = beta * m + grad, without (1 - beta)",
        "PyTorch 的动量不缩放梯度:m = beta * m + grad,没有 (1 - beta)",
    )
    first = step(start.clone(), 2 * start * scales, state, 0.05, 0.9)
    slips = [
        (walk(of(lambda m, g: 0.9 * m + 0.1 * g))[0], scaled),
        (start + 0.05 * 2 * start * scales, Text("go against the gradient: w - lr * m", "与梯度相反:w - lr * m")),
        (2 * start * scales, Text("give the new weights, not the running sum", "返回新的权重,不是累积的和")),
    ]
    agree(answer, "momentum", Text("w after one step", "一步之后的 w "), first, right[0], slips)
    yield Text("state keeps the running sum of gradients between steps", "state 在各步之间保存梯度的累积")
    if not state:
        raise answer.wrong(
            "momentum",
            Text("state is still empty after a step", "一步之后 state 还是空的"),
            Text('state["m"] = m = beta * state.get("m", 0) + grad', '写成 state["m"] = m = beta * state.get("m", 0) + grad'),
        )
    yield Text("ten steps are those of torch.optim.SGD(momentum=0.9)", "十步与 torch.optim.SGD(momentum=0.9) 相同")
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([weights], lr=0.05, momentum=0.9)
    for _ in range(10):
        optimizer.zero_grad()
        (weights**2 * scales).sum().backward()
        optimizer.step()
    own = walk(lambda w, grad, state: step(w, grad, state, 0.05, 0.9))[-1]
    plain = Text("this is plain gradient descent: the sum in state is not used", "这是普通的梯度下降:没有用到 state 里的累积")
    agree(
        answer,
        "momentum",
        Text("w after ten steps", "十步之后的 w "),
        own,
        weights,
        [
            (walk(of(lambda m, g: g))[-1], plain),
            (walk(of(lambda m, g: m + g))[-1], Text("the sum is multiplied by beta in each step", "每一步累积要乘 beta")),
            (
                walk(of(lambda m, g: 0.9 * (m + g)))[-1],
                Text("beta belongs to the old sum alone: beta * m + grad", "beta 只乘旧的累积:beta * m + grad"),
            ),
        ],
    )
