"""The exercises of chapters 4 to 6: a layer, losses, an optimizer."""

from __future__ import annotations

import math
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


@exercise("4-2", Text("a layer that says what it is", "会自我说明的层"), "MyLayer(in_features, out_features, bias=True)")
def representation(answer: Answer) -> Iterator[Text]:
    """What is printed of a layer says how it was made, alone and within a net."""
    kind = answer.get("MyLayer")

    def shown(module: Any, wanted: str) -> None:
        if module.extra_repr() is None:
            raise answer.wrong(
                "MyLayer",
                Text("extra_repr gives no text", "extra_repr 没有给出文字"),
                Text("return the text, don't print it", "用 return 返回文字,不要 print"),
            )
        text = repr(module)
        if text == wanted:
            return
        fix = None
        if "MyLayer()" in text:
            fix = Text(
                "def extra_repr(self): return f'in_features={self.in_features}, ...'",
                "写 def extra_repr(self): return f'in_features={self.in_features}, ...'",
            )
        elif "MyLayer(MyLayer(" in text:
            fix = Text(
                "extra_repr gives what stands between the brackets, without the name", "extra_repr 只给括号里的部分,不含类名"
            )
        elif "Parameter" in text or "tensor(" in text or "bias=None" in text:
            fix = Text(
                "not the bias itself, but whether there is one: bias={self.bias is not None}",
                "不是偏置本身,而是有没有:bias={self.bias is not None}",
            )
        raise answer.wrong("MyLayer", Text(f"it prints {text}, not {wanted}", f"打印的是 {text},应为 {wanted}"), fix)

    yield Text("it says its sizes, as nn.Linear does", "像 nn.Linear 一样说出大小")
    shown(kind(5, 3), "MyLayer(in_features=5, out_features=3, bias=True)")
    yield Text("it says when there is no bias", "没有偏置时也说出来")
    shown(kind(2, 4, bias=False), "MyLayer(in_features=2, out_features=4, bias=False)")
    yield Text("a net shows it with its number", "在网络里带序号显示")
    shown(nn.Sequential(kind(5, 3)), "Sequential(\n  (0): MyLayer(in_features=5, out_features=3, bias=True)\n)")
    yield Text("it is still the layer: (x^2 + bias) W", "它还是那个层:(x^2 + bias) W")
    layer, x = kind(5, 3), torch.randn(2, 5)
    agree(answer, "MyLayer", Text("the result", "结果"), layer(x), (x**2 + layer.bias) @ layer.weight)


class _Late(torch.autograd.Function):
    """A ReLU whose gradient begins at 1."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0] * (x >= 1)


@exercise("4-3", Text("what gradcheck cannot see", "gradcheck 看不到的"), "blind()")
def blind(answer: Answer) -> Iterator[Text]:
    """An input of both signs for which a wrong gradient is not found."""
    function = answer.function("blind")
    yield Text("blind() gives four different numbers", "blind() 给出四个不同的数")
    given = torch.as_tensor(function()).detach().double()
    if given.numel() != 4 or len(given.unique()) != 4:
        raise answer.wrong("blind", Text(f"it gives {given.tolist()}", f"给出的是 {given.tolist()}"))
    yield Text("some are positive and some negative", "有正有负")
    if not ((given > 0).any() and (given < 0).any()):
        raise answer.wrong(
            "blind",
            Text(f"all of {given.tolist()} have one sign", f"{given.tolist()} 的符号都相同"),
            Text("for negative numbers both gradients are 0: take some above 0, too", "对负数两个梯度都是 0:也要有正数"),
        )
    yield Text("gradcheck finds nothing", "gradcheck 没有发现问题")
    if not torch.autograd.gradcheck(_Late.apply, given.requires_grad_(), raise_exception=False):
        values = given.tolist()
        seen = [v for v in values if 0 < v < 1]
        fix = Text(
            "between 0 and 1 the gradient is 0, and should be 1: it is seen there", "在 0 和 1 之间梯度是 0,应为 1:在那里会被发现"
        )
        if not seen:
            fix = Text("at 0 the ReLU has a kink: nothing can be measured there", "ReLU 在 0 处有折点:那里无法测量")
        raise answer.wrong("blind", Text(f"for {values} it finds the mistake", f"对 {values} 它发现了错误"), fix)


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


@exercise("5-2", Text("entropy and cross-entropy", "熵与交叉熵"), "entropies(p, q)")
def entropies(answer: Answer) -> Iterator[Text]:
    """H(p) and H(p, q) of each row; what never happens adds nothing."""
    function = answer.function("entropies")
    torch.manual_seed(0)
    p, q = torch.rand(2, 1000, 4).softmax(-1).unbind()
    yield Text("it gives two results: H(p) and H(p, q)", "给出两个结果:H(p) 和 H(p, q)")
    given = function(p, q)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise answer.wrong(
            "entropies",
            Text("entropies does not give two things", "entropies 给出的不是两样东西"),
            Text("return entropy, cross", "写成 return entropy, cross"),
        )
    entropy, cross = -(p * p.log()).sum(1), -(p * q.log()).sum(1)
    sign = Text("the sign: a surprise is -log p", "符号:意外程度是 -log p")
    for name, got, right, other in (("H(p)", given[0], entropy, cross), ("H(p, q)", given[1], cross, entropy)):
        yield Text(f"{name} of each row", f"每一行的 {name}")
        slips = [
            (-right, sign),
            (other, Text("H(p) comes first: return entropy, cross", "先 H(p):return entropy, cross")),
            (right / 4, Text("it is a sum over p, which is a mean already: no mean(1)", "以 p 为权的求和已经是平均:不用 mean(1)")),
            (right.sum(), Text("each row is a distribution: sum over dim 1", "每行是一个分布:对维度 1 求和")),
            (
                right / math.log(2),
                Text("log is the natural one here, as in PyTorch's losses", "这里用自然对数,与 PyTorch 的损失相同"),
            ),
            (-(q * p.log()).sum(1), Text("p is true, and q expected: p * log q", "p 是真实的,q 是预期的:p * log q")),
        ]
        agree(answer, "entropies", Text(name, name + " "), got, right, slips)
    yield Text("where p is 0, nothing is added", "p 为 0 的地方不增加什么")
    sure = torch.tensor([[1.0, 0.0]])
    for got, known in zip(function(sure, torch.tensor([[0.5, 0.5]])), (0.0, math.log(2))):
        undefined = Text(
            "0 * log 0 is nan in numbers, and 0 here: torch.xlogy(p, p)", "0 * log 0 算出来是 nan,这里应为 0:torch.xlogy(p, p)"
        )
        agree(answer, "entropies", Text("the entropy of what is sure", "确定事件的熵"), got, [known], [([math.nan], undefined)])


@exercise("5-3", Text("rare classes count as much", "稀少的类同样重要"), "weights(target, classes)")
def weights(answer: Answer) -> Iterator[Text]:
    """All rows of a class together weigh the same for each class."""
    function = answer.function("weights")
    target = torch.tensor([0] * 50 + [1] * 5 + [2] * 25)
    yield Text("it gives a weight for each class", "给出每一类的权重")
    given = torch.as_tensor(function(target, 3))
    if tuple(given.shape) != (3,):
        raise answer.wrong(
            "weights",
            Text(f"the shape is {tuple(given.shape)}, not (3,)", f"形状是 {tuple(given.shape)},应为 (3,)"),
            Text(
                "count rows by class: torch.bincount(target, minlength=classes)",
                "按类计数:torch.bincount(target, minlength=classes)",
            ),
        )
    yield Text("cross_entropy takes it as weight=", "cross_entropy 可以用它作 weight=")
    if not given.is_floating_point():
        raise answer.wrong(
            "weights", Text(f"it is of {given.dtype}", f"类型是 {given.dtype}"), Text("weights are floats", "权重是浮点数")
        )
    nn.functional.cross_entropy(torch.zeros(80, 3), target, weight=given.float())
    yield Text("the rows of each class weigh the same together", "每一类的行合起来一样重")
    counts = torch.tensor([50.0, 5.0, 25.0])
    whole = given * counts
    agree(
        answer,
        "weights",
        Text("what all rows of a class weigh (the first: 1)", "一类所有行的总权重(以第一类为 1)"),
        whole / whole[0],
        torch.ones(3),
        [
            (
                counts**2 / 2500,
                Text("that makes frequent classes weigh more: divide by the number of rows", "这让多的类更重:应除以行数"),
            ),
            (
                (80 - counts) * counts / 1500,
                Text("1 - share is not enough: divide by the number of rows", "1 - 比例还不够:应除以行数"),
            ),
            (
                counts / 50,
                Text("these weights are all alike: a class of few rows needs a large one", "这些权重都一样:行少的类要大些"),
            ),
        ],
    )
    yield Text("where all classes are alike, so are the weights", "各类一样多时权重也一样")
    alike = torch.as_tensor(function(torch.arange(4).repeat(3), 4))
    agree(answer, "weights", Text("the weights (the first: 1)", "权重(以第一个为 1)"), alike / alike[0], torch.ones(4))


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


@exercise("6-2", Text("the largest learning rate", "最大的学习率"), "largest(learns)")
def largest(answer: Answer) -> Iterator[Text]:
    """The end of the rates at which something learns, to a hundredth, with few tries."""
    function = answer.function("largest")
    for end in (0.37, 25.0, 0.002):
        tries: list[float] = []

        def learns(rate: float, end: float = end, tries: list[float] = tries) -> bool:
            tries.append(rate)
            if len(tries) > 1000:
                raise answer.wrong(
                    "largest",
                    Text(
                        "learns has been called 1000 times: each is a whole training", "learns 被调用了 1000 次:每次都是一整个训练"
                    ),
                    Text("halve what is between a rate that learns and one that doesn't", "在学得会与学不会的两个值之间不断取半"),
                )
            return rate <= end

        yield Text(f"where it learns up to {end:g}, that is found to a hundredth", f"到 {end:g} 为止学得会时,误差在百分之一以内")
        found = float(function(learns))
        if found > end:
            raise answer.wrong(
                "largest",
                Text(f"it gives {found:.6g}, at which nothing is learnt", f"给出 {found:.6g},这时已学不会"),
                Text("give the last rate that learns, not the first that doesn't", "返回最后一个学得会的,不是第一个学不会的"),
            )
        if found < 0.99 * end:
            raise answer.wrong(
                "largest",
                Text(f"it gives {found:.6g}, and {end:g} still learns", f"给出 {found:.6g},而 {end:g} 还学得会"),
                Text(
                    "first multiply or divide until both ends are known, then halve what is between, until they are within a hundredth",
                    "先乘或除,直到知道两端,再不断取半,直到相差不到百分之一",
                ),
            )
        yield Text(f"it takes {len(tries)} trainings: fewer than 60", f"用了 {len(tries)} 次训练:少于 60 次")
        if len(tries) >= 60:
            raise answer.wrong(
                "largest",
                Text(f"{len(tries)} trainings are many", f"{len(tries)} 次训练太多"),
                Text("halve what is between a rate that learns and one that doesn't", "在学得会与学不会的两个值之间不断取半"),
            )


@exercise("6-3", Text("dropout by hand", "手写 dropout"), "dropout(x, p, training)")
def dropout(answer: Answer) -> Iterator[Text]:
    """A share p is dropped by chance, the rest made up for it; nothing happens in a test."""
    function = answer.function("dropout")
    torch.manual_seed(0)
    x = torch.rand(200, 100) + 1
    yield Text("in a test it changes nothing", "测试时什么也不改变")
    agree(
        answer,
        "dropout",
        Text("dropout(x, 0.25, False)", "dropout(x, 0.25, False) "),
        function(x.clone(), 0.25, False),
        x,
        [
            (
                x * 0.75,
                Text(
                    "scale in training, so that a test needs nothing: x / (1 - p)", "在训练时放大,测试时就什么也不用做:x / (1 - p)"
                ),
            )
        ],
    )
    yield Text("a quarter is dropped", "丢掉四分之一")
    made = function(x.clone(), 0.25, True)
    share = float((made == 0).float().mean())
    if abs(share - 0.25) > 0.02:
        raise answer.wrong(
            "dropout",
            Text(f"{share:.0%} of the numbers are 0", f"{share:.0%} 的数是 0"),
            Text("p is the share that is dropped: keep = torch.rand_like(x) >= p", "p 是丢掉的比例:keep = torch.rand_like(x) >= p")
            if abs(share - 0.75) < 0.02
            else Text("keep = torch.rand_like(x) >= p, if training", "training 为真时 keep = torch.rand_like(x) >= p"),
        )
    yield Text("each number by itself", "每个数各自抽取")
    if any(float((made == 0).float().mean(dim).std()) > 0.15 for dim in (0, 1)):
        raise answer.wrong(
            "dropout",
            Text("whole rows or columns are dropped together", "整行或整列一起被丢掉"),
            Text("draw as many numbers as x has: torch.rand_like(x)", "抽的随机数要与 x 一样多:torch.rand_like(x)"),
        )
    yield Text("what is left is larger, so that the mean stays", "剩下的放大,使平均值不变")
    kept = made != 0
    agree(
        answer,
        "dropout",
        Text("what is kept", "留下的数"),
        made[kept],
        x[kept] / 0.75,
        [
            (x[kept], Text("divide by 1 - p, so that the mean stays", "除以 1 - p,平均值才不变")),
            (x[kept] / 0.25, Text("1 - p is kept: divide by that, not by p", "留下的是 1 - p:除以它,不是除以 p")),
            (x[kept] * 0.75, Text("divide by 1 - p, don't multiply", "是除以 1 - p,不是乘")),
        ],
    )
    yield Text("each call draws anew", "每次调用重新抽取")
    if bool((function(x.clone(), 0.25, True) == made).all()):
        raise answer.wrong(
            "dropout",
            Text("two calls drop the same numbers", "两次调用丢掉了同样的数"),
            Text("no torch.manual_seed inside of the function", "函数里面不要 torch.manual_seed"),
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
