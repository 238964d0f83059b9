"""The exercises of chapters 1 to 3: gradients by hand, by autograd, and by an autograd of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.diagnosis.language import Text
from flambeau.exercises.answer import Answer
from flambeau.exercises.comparing import agree, measured
from flambeau.exercises.exercise import exercise

_SAMPLES, _INPUTS, _HIDDEN, _OUTPUTS = 5, 4, 3, 2


def _net(seed: int) -> tuple[np.ndarray, ...]:
    """x, y, w1, b1, w2, b2 of a small net."""
    rng = np.random.default_rng(seed)
    shapes = (_SAMPLES, _INPUTS), (_SAMPLES, _OUTPUTS), (_INPUTS, _HIDDEN), (_HIDDEN,), (_HIDDEN, _OUTPUTS), (_OUTPUTS,)
    return tuple(rng.standard_normal(shape) for shape in shapes)


def _gradient(name: str) -> Text:
    return Text(f"the gradient of {name}", f"{name} 的梯度")


@exercise("1-1", Text("biases in both layers", "两层都加上偏置"), "bias_gradients(x, y, w1, b1, w2, b2)")
def biases(answer: Answer) -> Iterator[Text]:
    """Gradients of a net with biases are what moving each weight measures."""
    gradients = answer.function("bias_gradients")
    x, y, w1, b1, w2, b2 = _net(1)

    def loss(w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray) -> float:
        return float(np.square(np.maximum(x @ w1 + b1, 0) @ w2 + b2 - y).sum())

    yield Text("it gives four arrays: of w1, b1, w2 and b2", "给出四个数组:w1、b1、w2、b2 的梯度")
    weights = (w1, b1, w2, b2)
    given = _parts(answer, "bias_gradients", gradients(x, y, *weights), 4)
    right = [measured(loss, weights, i) for i in range(4)]
    h = x @ w1 + b1
    grad_p = 2 * (np.maximum(h, 0) @ w2 + b2 - y)
    grad_r = grad_p @ w2.T
    grad_h = grad_r * (h > 0)
    without_mask = Text("where h < 0, ReLU passes nothing on: multiply by (h > 0)", "h < 0 的地方 ReLU 不传梯度:乘以 (h > 0)")
    rows = Text(
        "a bias is added to every row, so its gradient is the sum over the rows: .sum(0)",
        "偏置加到每一行上,所以它的梯度是各行之和:.sum(0)",
    )
    old_loss = Text(
        "the net inside is computed without the biases: they belong into h and p too", "网络前向计算时没有加偏置:h 和 p 里也要加"
    )
    no_bias = 2 * (np.maximum(x @ w1, 0) @ w2 - y)
    slips = {
        "w1": [(x.T @ grad_r, without_mask), (x.T @ (no_bias @ w2.T * (x @ w1 > 0)), old_loss)],
        "b1": [(grad_h, rows), (grad_r.sum(0), without_mask), (grad_h.mean(0), rows), (grad_h.sum(0, keepdims=True), rows)],
        "w2": [(np.maximum(x @ w1, 0).T @ no_bias, old_loss)],
        "b2": [(grad_p, rows), (grad_p.mean(0), rows), (grad_p.sum(0, keepdims=True), rows)],
    }
    for (name, known), found, wanted in zip(slips.items(), given, right):
        yield Text(f"the gradient of {name} is what moving {name} measures", f"{name} 的梯度与移动 {name} 测得的一致")
        agree(answer, "bias_gradients", _gradient(name), found, wanted, known)


@exercise("1-2", Text("tanh in the place of ReLU", "把 ReLU 换成 tanh"), "tanh_gradients(x, y, w1, w2)")
def tanh(answer: Answer) -> Iterator[Text]:
    """Gradients of a net with tanh are what moving each weight measures."""
    gradients = answer.function("tanh_gradients")
    x, y, w1, _, w2, _ = _net(2)

    def loss(w1: np.ndarray, w2: np.ndarray) -> float:
        return float(np.square(np.tanh(x @ w1) @ w2 - y).sum())

    yield Text("it gives two arrays: of w1 and w2", "给出两个数组:w1 和 w2 的梯度")
    grad_w1, grad_w2 = _parts(answer, "tanh_gradients", gradients(x, y, w1, w2), 2)
    h = x @ w1
    t = np.tanh(h)
    grad_t = 2 * (t @ w2 - y) @ w2.T
    twice = Text(
        "tanh is taken twice: where t = tanh(h) is known already, the derivative is 1 - t**2",
        "tanh 取了两次:已有 t = tanh(h) 时,导数是 1 - t**2",
    )
    relu = Text("this is ReLU's derivative: that of tanh is 1 - tanh(h)**2", "这是 ReLU 的导数;tanh 的导数是 1 - tanh(h)**2")
    none = Text("the derivative of tanh is missing: multiply by 1 - tanh(h)**2", "少了 tanh 的导数:乘以 1 - tanh(h)**2")
    root = Text("the square is missing in 1 - tanh(h)**2", "1 - tanh(h)**2 里少了平方")
    slips = [
        (x.T @ (grad_t * (1 - np.tanh(t) ** 2)), twice),
        (x.T @ (grad_t * (h > 0)), relu),
        (x.T @ grad_t, none),
        (x.T @ (grad_t * (1 - t)), root),
    ]
    before = Text(
        "w2 meets what comes out of tanh: t.T @ grad_p, not h.T @ grad_p",
        "与 w2 相乘的是 tanh 的结果:t.T @ grad_p,不是 h.T @ grad_p",
    )
    yield Text("the gradient of w2 is what moving w2 measures", "w2 的梯度与移动 w2 测得的一致")
    agree(answer, "tanh_gradients", _gradient("w2"), grad_w2, measured(loss, (w1, w2), 1), [(h.T @ (2 * (t @ w2 - y)), before)])
    yield Text("the gradient of w1 is what moving w1 measures", "w1 的梯度与移动 w1 测得的一致")
    agree(answer, "tanh_gradients", _gradient("w1"), grad_w1, measured(loss, (w1, w2), 0), slips)


@exercise("1-3", Text("the mean instead of the sum", "用平均代替求和"), "factor(samples, outputs)")
def mean(answer: Answer) -> Iterator[Text]:
    """The mean is the sum divided by the number of all elements, and so are its gradients."""
    factor = answer.function("factor")
    for samples, outputs in ((64, 10), (3, 7)):
        yield Text(
            f"factor({samples}, {outputs}) is by how much the gradient shrinks", f"factor({samples}, {outputs}) 是梯度缩小的倍数"
        )
        all_of_them = Text("the mean is over samples and outputs: p has both dims", "平均是对样本和输出一起取的:p 有这两个维度")
        slips = [
            (samples, all_of_them),
            (outputs, all_of_them),
            (
                1 / (samples * outputs),
                Text("gradients shrink by that, so the rate may grow by its inverse", "梯度缩小这么多,学习率就可以放大它的倒数"),
            ),
        ]
        result = Text(f"factor({samples}, {outputs})", f"factor({samples}, {outputs}) ")
        agree(answer, "factor", result, factor(samples, outputs), samples * outputs, slips)


def _parts(answer: Answer, name: str, given: Any, count: int) -> Any:
    if not isinstance(given, (tuple, list)) or len(given) != count:
        size = len(given) if isinstance(given, (tuple, list)) else 1
        raise answer.wrong(
            name,
            Text(f"{name} gives {size} thing(s), not {count}", f"{name} 给出 {size} 个结果,应为 {count} 个"),
            Text("return all gradients, with commas between", "用逗号隔开,返回所有梯度"),
        )
    return given


@exercise("2-1", Text("the loop as a function", "把循环写成函数"), "train(x, y, w1, w2, steps, lr)")
def loop(answer: Answer) -> Iterator[Text]:
    """The loop's weights are those of gradient descent, and its losses are numbers."""
    train = answer.function("train")
    torch.manual_seed(0)
    x, y, w1, w2 = torch.randn(8, 6), torch.randn(8, 2), torch.randn(6, 5), torch.randn(5, 2)

    def descend(forget: bool, sign: float = -1.0) -> tuple[list[float], Any, Any]:
        a: Any = w1.clone().requires_grad_()
        b: Any = w2.clone().requires_grad_()
        losses = []
        for _ in range(4):
            loss = (x.mm(a).clamp(min=0).mm(b) - y).pow(2).sum()
            losses.append(loss.item())
            if forget:
                a.grad = b.grad = None
            loss.backward()
            with torch.no_grad():
                a += sign * 1e-3 * a.grad
                b += sign * 1e-3 * b.grad
        return losses, a, b

    losses, right1, right2 = descend(forget=True)
    _, piled1, piled2 = descend(forget=False)
    _, up1, up2 = descend(forget=True, sign=1.0)
    own1, own2 = w1.clone().requires_grad_(), w2.clone().requires_grad_()
    yield Text("train runs four steps and gives four losses", "train 运行四步,给出四个损失")
    given = train(x, y, own1, own2, 4, 1e-3)
    if not isinstance(given, (list, tuple)) or len(given) != 4:
        raise answer.wrong(
            "train",
            Text("train does not give a list with one loss a step", "train 给出的不是每步一个损失的列表"),
            Text(
                "losses.append(loss.item()) in the loop, return losses after it",
                "在循环里 losses.append(loss.item()),循环后 return losses",
            ),
        )
    yield Text("losses are Python numbers", "损失是 Python 数")
    if not all(isinstance(loss, float) for loss in given):
        raise answer.wrong(
            "train",
            Text(
                "a loss that is a tensor keeps its graph, and all of its step's memory",
                "张量形式的损失会保留计算图,占着那一步的全部内存",
            ),
            Text("append loss.item()", "改为追加 loss.item()"),
        )
    yield Text("w1 and w2 are changed in their place, as by gradient descent", "w1、w2 原地改变,与梯度下降一致")
    still = Text(
        "w1 = w1 - ... makes a new tensor, and the caller's stays as it is: w1 -= lr * w1.grad, under torch.no_grad()",
        "w1 = w1 - ... 会建立新张量,调用者的那个不变:请在 torch.no_grad() 下写 w1 -= lr * w1.grad",
    )
    piled = Text(
        "gradients add up from step to step: set them to None before backward", "梯度逐步累加了:backward 之前把它们置为 None"
    )
    up = Text("the gradient points to where the loss grows: go the other way, -=", "梯度指向损失增大的方向:应当相反,用 -=")
    for name, got, right, slips in (
        ("w1", own1, right1, [(w1, still), (piled1, piled), (up1, up)]),
        ("w2", own2, right2, [(w2, still), (piled2, piled), (up2, up)]),
    ):
        agree(answer, "train", Text(f"{name} after four steps", f"四步之后的 {name} "), got, right, slips)
    yield Text("each loss is that before its step", "每个损失是该步更新之前的")
    agree(answer, "train", Text("the list of losses", "损失列表"), given, losses)


@exercise("2-2", Text("a gradient predicted", "预测梯度"), "gradient(x)")
def predicted(answer: Answer) -> Iterator[Text]:
    """The gradient of the sum of exp(x), without asking autograd."""
    gradient = answer.function("gradient")
    x = torch.tensor([0.0, 1.0, -2.0, 0.5])
    yield Text("gradient(x) is what x.grad will be", "gradient(x) 就是 x.grad 将得到的值")
    own = x.clone().requires_grad_()
    own.exp().sum().backward()
    slips = [
        (x.exp().sum(), Text("x.grad has the shape of x: one number for each", "x.grad 与 x 形状相同:每个元素一个数")),
        (
            torch.ones(4),
            Text(
                "the sum passes 1 to each element; exp multiplies that by its own derivative",
                "求和给每个元素传 1;exp 还要乘上自己的导数",
            ),
        ),
        (x, Text("the derivative of exp(x) is exp(x), not x", "exp(x) 的导数是 exp(x),不是 x")),
        (x * (x - 1).exp(), Text("that is the rule for powers: x is the exponent here", "这是幂函数的求导法则;这里 x 在指数上")),
    ]
    agree(answer, "gradient", Text("gradient(x)", "gradient(x) "), gradient(x.clone()), own.grad, slips)


_REUSED = Text(
    "gradients of a value that is used in several places add up: let the new methods give Value(data, [(part, derivative), ...]) and leave the rest to backward",
    "一个值用在几处时,梯度要相加:让新方法给出 Value(data, [(part, derivative), ...]),其余交给 backward",
)


@exercise("2-3", Text("a leaf of integers", "用整数做叶子"), "leaf(x)")
def leaf(answer: Answer) -> Iterator[Text]:
    """Integers become floats, and these a leaf that gets a gradient."""
    function = answer.function("leaf")
    x = torch.tensor([[1, 2], [3, 4]])
    yield Text("the numbers are those of x", "数值与 x 相同")
    made = function(x)
    agree(answer, "leaf", Text("leaf(x)", "leaf(x) "), made, x)
    yield Text("they are of a floating dtype", "类型是浮点数")
    if not (isinstance(made, torch.Tensor) and made.is_floating_point()):
        kind = getattr(made, "dtype", type(made).__name__)
        raise answer.wrong(
            "leaf",
            Text(f"the result is of {kind}", f"结果的类型是 {kind}"),
            Text("a gradient is a small change, and integers have none: x.float()", "梯度是微小的变化,整数没有:x.float()"),
        )
    yield Text("it requires a gradient", "它要求梯度")
    if not made.requires_grad:
        raise answer.wrong(
            "leaf",
            Text("requires_grad is False", "requires_grad 是 False"),
            Text("x.float().requires_grad_()", "写成 x.float().requires_grad_()"),
        )
    yield Text("it is a leaf: backward fills its grad", "它是叶子:backward 会填上它的 grad")
    if not made.is_leaf:
        raise answer.wrong(
            "leaf",
            Text(
                "it is computed from a leaf, and none itself: its grad stays None",
                "它由叶子算出,自己不是叶子:grad 一直是 None",
            ),
            Text("convert first, then requires_grad_()", "先转换类型,再 requires_grad_()"),
        )
    (made * made).sum().backward()
    agree(answer, "leaf", Text("the gradient of the sum of squares", "平方和的梯度"), made.grad, 2 * x)


@exercise("3-1", Text("minus and relu for Value", "给 Value 加上减法和 relu"), "Value")
def more_of_value(answer: Answer) -> Iterator[Text]:
    """Values and gradients of minus and relu, each alone and in a graph that uses values twice."""
    value = answer.get("Value")

    def tried(text: str, function: Callable[..., Any], plain: Callable[..., float], *numbers: float, slips: Any = ()) -> None:
        leaves = [value(number) for number in numbers]
        result = function(*leaves)
        name = Text(f"{text} of {numbers}", f"{numbers} 的 {text} ")
        if not isinstance(result, value):
            kind = type(result).__name__
            raise answer.wrong("Value", Text(f"{text} gives a {kind}, not a Value", f"{text} 的结果是 {kind},不是 Value"))
        agree(answer, "Value", name, result.data, plain(*numbers))
        result.backward()
        arrays = [np.array(number) for number in numbers]
        right = [float(measured(plain, arrays, i)) for i in range(len(arrays))]
        agree(answer, "Value", Text(f"the gradient of {text}", f"{text} 的梯度"), [leaf.grad for leaf in leaves], right, slips)

    sign = Text("d(a - b)/db is -1", "d(a - b)/db 是 -1")
    yield Text("a - b has the right value and gradients", "a - b 的值和梯度正确")
    tried("a - b", lambda a, b: a - b, lambda a, b: float(a - b), 3.0, 5.0, slips=[([1.0, 1.0], sign)])
    yield Text("a - 1 works with a plain number", "a - 1 可以用普通的数")
    tried("a - 1", lambda a: a - 1, lambda a: float(a - 1), 3.0)
    flat = Text("where a < 0, relu is 0 whatever a is: its derivative is 0 there", "a < 0 时 relu 恒为 0,导数是 0")
    yield Text("a.relu() has the right value and gradient on both sides", "a.relu() 在两侧的值和梯度正确")
    for number in (2.0, -2.0):
        tried("a.relu()", lambda a: a.relu(), lambda a: float(max(a, 0)), number, slips=[([1.0], flat)] if number < 0 else ())
    yield Text("gradients add up where a value is used twice", "一个值用两次时,梯度相加")
    tried(
        "a.relu() * a - a",
        lambda a: a.relu() * a - a,
        lambda a: float(max(a, 0) * a - a),
        3.0,
        slips=[([g], _REUSED) for g in (-1.0, 3.0)],
    )


class _Walker:
    """Chapter 3's Value with +, * and tanh, whose backward takes values in the order in which a plain walk from the result meets
    them."""

    ordered = False

    def __init__(self, data: float, made_of: Any = ()) -> None:
        self.data, self.grad, self.made_of = data, 0.0, made_of

    def _with(self, other: Any) -> _Walker:
        return other if isinstance(other, _Walker) else type(self)(other)

    def __add__(self, other: Any) -> _Walker:
        other = self._with(other)
        return type(self)(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other: Any) -> _Walker:
        other = self._with(other)
        return type(self)(self.data * other.data, [(self, other.data), (other, self.data)])

    def tanh(self) -> _Walker:
        t = math.tanh(self.data)
        return type(self)(t, [(self, 1 - t * t)])

    def order(self) -> list[_Walker]:
        met: list[_Walker] = []

        def visit(value: _Walker) -> None:
            if value in met:
                return
            if not self.ordered:
                met.append(value)
            for part, _ in value.made_of:
                visit(part)
            if self.ordered:
                met.append(value)

        visit(self)
        return met[::-1] if self.ordered else met

    def backward(self) -> None:
        self.grad = 1.0
        for value in self.order():
            for part, derivative in value.made_of:
                part.grad += derivative * value.grad


class _Orderly(_Walker):
    """A Value whose backward takes each value before what it is made of."""

    ordered = True


@exercise("3-2", Text("a graph that a plain walk gets wrong", "让普通遍历出错的图"), "graph(Value)")
def wrong_walk(answer: Answer) -> Iterator[Text]:
    """The graph has at most four values, and a plain walk gives another gradient of its leaf."""
    graph = answer.function("graph")

    def run(kind: type[_Walker]) -> tuple[float, list[_Walker]]:
        pair = graph(kind)
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(part, kind) for part in pair):
            raise answer.wrong(
                "graph",
                Text("graph does not give two values: the result and the leaf", "graph 给出的不是两个值:结果和叶子"),
                Text(
                    "return result, leaf, both made of the class Value that it is called with",
                    "return result, leaf,两者都由传入的 Value 建立",
                ),
            )
        result, leaf = pair
        result.backward()
        return leaf.grad, result.order()

    yield Text("graph(Value) gives the result and the leaf", "graph(Value) 给出结果和叶子")
    right, values = run(_Orderly)
    yield Text("the leaf is part of the graph", "叶子在图里")
    if right == 0.0:
        raise answer.wrong(
            "graph", Text("the leaf gets no gradient", "叶子没有得到梯度"), Text("make the result of the leaf", "结果要由叶子算出")
        )
    yield Text("there are at most four values", "最多四个值")
    if len(values) > 4:
        raise answer.wrong(
            "graph",
            Text(f"the graph has {len(values)} values", f"图里有 {len(values)} 个值"),
            Text("numbers become values too: use a value twice instead", "普通的数也会变成值:改为把一个值用两次"),
        )
    yield Text("a plain walk gets the gradient of the leaf wrong", "普通遍历算错叶子的梯度")
    walked, _ = run(_Walker)
    if walked == right:
        raise answer.wrong(
            "graph",
            Text(
                f"the walk gives {walked:g} too: it meets each value after all its users",
                f"普通遍历也得到 {walked:g}:它遇到每个值时,用到它的都已处理过",
            ),
            Text(
                "let a value that has parts be used twice: by the result itself, and by another part of the result that the walk meets later",
                "让一个由别的值算出的值被用两次:一次直接用于结果,另一次用于结果的另一部分,而遍历较晚才遇到那一部分",
            ),
        )


@exercise("3-3", Text("the second derivative of tanh", "tanh 的二阶导数"), "second(x)")
def second(answer: Answer) -> Iterator[Text]:
    """The second derivative of each number's tanh."""
    function = answer.function("second")
    t = math.tanh(0.5)
    first = Text("that is the first derivative: derive it once more", "这是一阶导数:还要再求一次")
    yield Text("at 0.5 it is -2 t (1 - t**2), where t = tanh(0.5)", "在 0.5 处是 -2 t (1 - t**2),其中 t = tanh(0.5)")
    slips = [
        (1 - t * t, first),
        (t, Text("that is tanh itself", "这是 tanh 本身")),
        (-2 * t, Text("t is a function of x too: multiply by its derivative, 1 - t**2", "t 也是 x 的函数:还要乘它的导数 1 - t**2")),
        (
            (1 - t * t) ** 2,
            Text("that is the square of the first derivative, not the derivative of it", "这是一阶导数的平方,不是它的导数"),
        ),
    ]
    agree(answer, "second", Text("second(0.5)", "second(0.5) "), function(torch.tensor(0.5)), -2 * t * (1 - t * t), slips)
    yield Text("a tensor gives one number for each of its own", "张量的每个元素各得一个数")
    x = torch.tensor([-1.0, 0.0, 0.3, 2.0])
    values = x.tanh()
    right = -2 * values * (1 - values**2)
    agree(
        answer,
        "second",
        Text("second(x)", "second(x) "),
        function(x),
        right,
        [(1 - values**2, first), (right.sum(), Text("the result has the shape of x", "结果与 x 形状相同"))],
    )
