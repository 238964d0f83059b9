"""The exercises of chapters 7 to 10: a split, a convolution, an LSTM's step, several heads of attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import flambeau as torch
from flambeau import nn
from flambeau.diagnosis.language import Text
from flambeau.exercises.answer import Answer
from flambeau.exercises.comparing import agree, array
from flambeau.exercises.exercise import exercise


@exercise("7-1", Text("the odd one", "最不像的一个"), "odd_one(pictures, labels)")
def odd_one(answer: Answer) -> Iterator[Text]:
    """The row of the picture that is farthest from the mean of its own class."""
    function = answer.function("odd_one")
    torch.manual_seed(0)
    labels = torch.arange(3).repeat(10)
    pictures = torch.rand(30, 1, 8, 8) + labels.view(30, 1, 1, 1)
    pictures[11, 0, :4] += 1.0  # half is lighter and half darker: the sum of what differs is 0
    pictures[11, 0, 4:] -= 1.0
    pictures[5] += 0.3
    pictures[20] -= 1.0  # of the lightest class, near the mean of all
    pictures[20, 0, 0, 0] += 0.5
    own = pictures - torch.stack([pictures[labels == c].mean(0) for c in range(3)])[labels]
    right = own.pow(2).sum((1, 2, 3)).argmax()
    yield Text("the row of the picture that differs most from the mean of its class", "与本类平均图差得最远的那张图的行号")
    overall = (pictures - pictures.mean(0)).pow(2).sum((1, 2, 3))
    cancels = Text("what is too light and too dark cancels out: square the differences first", "偏亮与偏暗会抵消:先把差平方")
    slips = [
        (own.pow(2).sum((1, 2, 3)).argmin(), Text("that is the most usual one: argmax", "这是最普通的一张:用 argmax")),
        (overall.argmax(), Text("compare with the mean of its own class, not of all", "与本类的平均比较,不是全部的平均")),
        (own.sum((1, 2, 3)).argmax(), cancels),
        (own.sum((1, 2, 3)).abs().argmax(), cancels),
        (own.pow(2).sum((1, 2, 3)).max(), Text("that is the distance: argmax() gives the row", "这是距离;行号用 argmax()")),
    ]
    agree(
        answer,
        "odd_one",
        Text("odd_one(pictures, labels)", "odd_one(pictures, labels) "),
        function(pictures.clone(), labels),
        right,
        slips,
    )


@exercise("7-2", Text("pictures that move", "会移动的图"), "shift(picture)")
def shift(answer: Answer) -> Iterator[Text]:
    """One of nine moves by chance; what leaves is gone, and zeros come in."""
    function = answer.function("shift")
    torch.manual_seed(0)
    picture = torch.rand(1, 8, 8) + 1
    padded = nn.functional.pad(picture, (1, 1, 1, 1))
    moves = {(1 - i, 1 - j): padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)}
    rolled = [torch.roll(picture, move, (1, 2)) for move in moves if move != (0, 0)]
    yield Text("it gives a picture of the same shape", "给出形状相同的图")
    own = picture.clone()
    results = [function(own) for _ in range(300)]
    if tuple(results[0].shape) != (1, 8, 8):
        raise answer.wrong(
            "shift",
            Text(f"the shape is {tuple(results[0].shape)}, not (1, 8, 8)", f"形状是 {tuple(results[0].shape)},应为 (1, 8, 8)"),
        )
    yield Text("it leaves the data as they are", "不改动原来的数据")
    agree(
        answer,
        "shift",
        Text("the picture that it was given", "传给它的图"),
        own,
        picture,
        [(own, Text("work on a copy: picture.clone()", "在副本上改:picture.clone()"))],
    )
    yield Text(
        "each is the picture moved by at most one pixel, with zeros where nothing is",
        "每个结果都是移动不超过一个像素的图,空出的地方是零",
    )
    seen = set()
    for made in results:
        move = next((move for move, moved in moves.items() if moved.equal(made)), None)
        if move is None:
            around = any(moved.equal(made) for moved in rolled)
            raise answer.wrong(
                "shift",
                Text("this is none of the nine moves", "这不是九种移动之一"),
                Text(
                    "roll brings in on one side what leaves on the other: pad with zeros and cut, or set that row or column to 0",
                    "roll 会把移出的部分从另一边送回来:先补零再裁剪,或把那一行或列置 0",
                )
                if around
                else Text(
                    "F.pad(picture, (1, 1, 1, 1))[:, i:i+8, j:j+8] with i and j of 0 to 2",
                    "F.pad(picture, (1, 1, 1, 1))[:, i:i+8, j:j+8],i、j 从 0 到 2",
                ),
            )
        seen.add(move)
    yield Text("all nine moves come", "九种移动都会出现")
    if len(seen) < 9:
        lacking = sorted(set(moves) - seen)
        raise answer.wrong(
            "shift",
            Text(
                f"in 300 calls there were {len(seen)} of 9 moves, never {lacking[0]}",
                f"300 次调用中只有 {len(seen)} 种,没有 {lacking[0]}",
            ),
            Text(
                "randint leaves out its upper end: torch.randint(0, 3, ()) gives 0, 1 or 2",
                "randint 不含上界:torch.randint(0, 3, ()) 给出 0、1 或 2",
            ),
        )


@exercise("7-3", Text("a split with the same share of each class", "各类比例相同的划分"), "split(labels, part)")
def split(answer: Answer) -> Iterator[Text]:
    """No row is lost or on both sides, each class has its share, and chance decides which rows."""
    function = answer.function("split")
    labels = torch.arange(10).repeat_interleave(torch.arange(10, 110, 10))  # sorted, 10 to 100 of each class
    yield Text("split gives the rows of training and of test", "split 给出训练和测试的行号")
    torch.manual_seed(0)
    given = function(labels, 0.2)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise answer.wrong(
            "split",
            Text("split does not give two things", "split 给出的不是两样东西"),
            Text("return train, test", "写成 return train, test"),
        )
    train, test = (array(rows).reshape(-1) for rows in given)
    yield Text("no row is on both sides", "没有一行在两边都出现")
    if both := set(train.tolist()) & set(test.tolist()):
        raise answer.wrong(
            "split",
            Text(f"{len(both)} rows are on both sides, row {min(both)} for one", f"{len(both)} 行在两边都有,例如第 {min(both)} 行"),
            Text("cut one order of the rows in two: order[n:], order[:n]", "把同一个顺序切成两段:order[n:]、order[:n]"),
        )
    yield Text("every row is on one side", "每一行都在其中一边")
    if missing := set(range(len(labels))) - set(train.tolist()) - set(test.tolist()):
        raise answer.wrong(
            "split",
            Text(
                f"{len(missing)} rows are on neither side, row {min(missing)} for one",
                f"{len(missing)} 行两边都没有,例如第 {min(missing)} 行",
            ),
            Text("what is not in the test is in training: order[n:], order[:n]", "不在测试里的都在训练里:order[n:]、order[:n]"),
        )
    yield Text("a fifth is test", "测试占五分之一")
    if abs(len(test) - len(labels) / 5) > 10:
        swapped = abs(len(train) - len(labels) / 5) <= 10
        raise answer.wrong(
            "split",
            Text(f"test has {len(test)} of {len(labels)} rows", f"测试有 {len(test)} 行,共 {len(labels)} 行"),
            Text("training comes first: return train, test", "先训练后测试:return train, test") if swapped else None,
        )
    yield Text("each class has its share of the test", "每一类在测试中都占应有的份额")
    for number in range(10):
        have, whole = int((array(labels)[test] == number).sum()), 10 * (number + 1)
        if abs(have - whole / 5) > 1:
            raise answer.wrong(
                "split",
                Text(
                    f"class {number} has {have} of its {whole} rows in the test, not a fifth",
                    f"第 {number} 类的 {whole} 行中有 {have} 行在测试里,不是五分之一",
                ),
                Text(
                    "split the rows of each class by themselves: (labels == c).nonzero()",
                    "每一类的行分别划分:(labels == c).nonzero()",
                ),
            )
    yield Text("another seed gives another split", "换一个种子,划分就不同")
    torch.manual_seed(1)
    np.random.seed(1)
    again = function(labels, 0.2)
    if sorted(test.tolist()) == sorted(array(again[1]).reshape(-1).tolist()):
        raise answer.wrong(
            "split",
            Text(
                "the same rows are taken whatever the seed: files are often sorted",
                "不论种子,取的都是同样的行;而文件常常是排好序的",
            ),
            Text(
                "draw an order for each class: rows[torch.randperm(len(rows))]",
                "给每一类抽一个顺序:rows[torch.randperm(len(rows))]",
            ),
        )


class _Bright(nn.Module):
    """Says in which of the four quarters a picture is lightest; in training it answers anything."""

    def forward(self, x: Any) -> Any:
        quarters = nn.functional.avg_pool2d(x, 4).flatten(1)
        return torch.rand_like(quarters) if self.training else quarters


@exercise("8-1", Text("read in other places", "换了位置还能认出吗"), "read(model, pictures, labels, down, right)")
def read(answer: Answer) -> Iterator[Text]:
    """How many of the moved pictures are answered right, by a net in eval mode."""
    function = answer.function("read")
    torch.manual_seed(0)
    pictures, labels = torch.zeros(40, 1, 8, 8), torch.arange(4).repeat(10)
    for n in range(40):  # spots on the edge of a quarter, so that most moves carry some of them over
        row, column = 4 * (int(labels[n]) // 2), 4 * (int(labels[n]) % 2)
        pictures[n, 0, row + (n % 4), column + (n // 4 % 4)] = 1.0
    model, original = _Bright(), pictures.clone()

    def count(down: int, right: int, mean: bool = False) -> float:
        model.eval()
        with torch.no_grad():
            hits = model(original.roll((down, right), (2, 3))).argmax(1) == labels
        return float(hits.float().mean() if mean else hits.sum())

    for down, right in ((0, 0), (1, 0), (0, 2), (-1, 3)):
        yield Text(f"moved by ({down}, {right})", f"移动 ({down}, {right})")
        wanted, share, turned, unmoved = count(down, right), count(down, right, mean=True), count(right, down), count(0, 0)
        model.train()
        found = function(model, pictures, labels, down, right)
        slips = [
            (share, Text("how many, not which share: .sum()", "问的是多少个,不是比例:.sum()")),
            (
                turned,
                Text(
                    "dim 2 is down and dim 3 is right: torch.roll(pictures, (down, right), (2, 3))",
                    "维度 2 向下,维度 3 向右:torch.roll(pictures, (down, right), (2, 3))",
                ),
            ),
            (
                unmoved,
                Text(
                    "the pictures that the net reads are not moved: roll gives a new tensor", "网络读的图没有移动:roll 给出新的张量"
                ),
            ),
        ]
        training = Text(
            "a test wants model.eval(): dropout and batch norm answer otherwise in training",
            "测试前要 model.eval():dropout 和 batch norm 在训练时不同",
        )
        if model.training:
            slips = [(found, training)]
        agree(answer, "read", Text("how many are read", "认出的个数"), found, wanted, slips)
    yield Text("the pictures are as they were", "原来的图没有改变")
    agree(
        answer,
        "read",
        Text("a picture", "图"),
        pictures,
        original,
        [(pictures, Text("roll gives a new tensor: don't write into the old one", "roll 给出新的张量:不要写进旧的"))],
    )


@exercise("8-2", Text("batch norm by hand", "手写 batch norm"), "batch_norm(x, weight, bias)")
def batch_norm(answer: Answer) -> Iterator[Text]:
    """What BatchNorm2d does in training."""
    function = answer.function("batch_norm")
    torch.manual_seed(0)
    x = torch.randn(6, 3, 4, 5) * torch.tensor([1.0, 5.0, 0.2]).view(3, 1, 1) + torch.tensor([0.0, 2.0, -1.0]).view(3, 1, 1)
    ones, zeros = torch.ones(3), torch.zeros(3)

    def by(dims: tuple[int, ...], correction: int = 0) -> Any:
        return (x - x.mean(dims, keepdim=True)) / (x.var(dims, correction=correction, keepdim=True) + 1e-5).sqrt()

    channels = Text("mean and variance are of each channel: over dims (0, 2, 3)", "每个通道各有均值和方差:对维度 (0, 2, 3) 求")
    slips = [
        (by((0,)), channels),
        (by((2, 3)), channels),
        (by((1, 2, 3)), channels),
        (by((0, 1, 2, 3)), channels),
        (
            by((0, 2, 3), 1),
            Text("the variance is divided by n here, not n - 1: correction=0", "这里方差除以 n,不是 n - 1:correction=0"),
        ),
        (
            (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5),
            Text("divide by the deviation, the root of the variance", "除以标准差,即方差的平方根"),
        ),
        (x / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt(), Text("the mean is not taken off", "没有减去均值")),
    ]
    yield Text("each channel has mean 0 and deviation 1", "每个通道均值为 0,标准差为 1")
    agree(
        answer,
        "batch_norm",
        Text("the result", "结果"),
        function(x, ones, zeros),
        nn.functional.batch_norm(x, None, None, training=True),
        slips,
    )
    yield Text("each channel is multiplied by its weight, and its bias added", "每个通道乘自己的权重,再加自己的偏置")
    weight, bias = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.5, 1.0, -2.0])
    plain = by((0, 2, 3))
    slips = [
        (plain, Text("weight and bias are not used", "没有用 weight 和 bias")),
        ((plain + bias.view(3, 1, 1)) * weight.view(3, 1, 1), Text("first times weight, then plus bias", "先乘 weight,再加 bias")),
    ]
    agree(
        answer,
        "batch_norm",
        Text("the result", "结果"),
        function(x, weight, bias),
        nn.functional.batch_norm(x, None, None, weight, bias, training=True),
        slips,
    )
    yield Text("a channel that is all alike gives no nan", "全部相同的通道不会给出 nan")
    flat = torch.ones(2, 3, 2, 2)
    missing = Text("0 / 0: add 1e-5 to the variance", "0 / 0:方差要加 1e-5")
    agree(
        answer,
        "batch_norm",
        Text("the result", "结果"),
        function(flat, ones, zeros),
        torch.zeros(2, 3, 2, 2),
        [(flat * float("nan"), missing)],
    )


@exercise("8-3", Text("kernels side by side", "并排的卷积核"), "tiles(kernels, columns)")
def tiles(answer: Answer) -> Iterator[Text]:
    """Many small pictures as a large one, row after row."""
    function = answer.function("tiles")
    for count, height, width, columns in ((4, 3, 3, 4), (16, 3, 3, 4), (6, 2, 3, 3)):
        kernels = torch.arange(1.0, count * height * width + 1).view(count, 1, height, width)
        rows = count // columns
        grid = kernels.view(rows, columns, height, width)
        right = grid.transpose(1, 2).reshape(rows * height, columns * width)
        down = kernels.view(columns, rows, height, width).permute(1, 2, 0, 3).reshape(rows * height, columns * width)
        slips = [
            (
                kernels.reshape(rows * height, columns * width),
                Text(
                    "view cuts the row of numbers anew, through the kernels: view(rows, columns, h, w), then transpose(1, 2)",
                    "view 只是把一串数重新切分,会切开卷积核:先 view(rows, columns, h, w),再 transpose(1, 2)",
                ),
            ),
            (down, Text("the second kernel stands to the right of the first, not below it", "第二个卷积核在第一个的右边,不是下边")),
            (right.T, Text("rows and columns are exchanged", "行列颠倒了")),
        ]
        yield Text(
            f"{count} kernels of ({height}, {width}) in {columns} columns",
            f"{count} 个 ({height}, {width}) 的卷积核,排 {columns} 列",
        )
        agree(answer, "tiles", Text("the picture", "图"), function(kernels, columns), right, slips)


@exercise("8-4", Text("a convolution with channels", "带通道的卷积"), "slide(pictures, kernels)")
def slide(answer: Answer) -> Iterator[Text]:
    """Pictures (N, C, H, W) and kernels (K, C, h, w) give what conv2d gives."""
    function = answer.function("slide")
    torch.manual_seed(0)
    conv = nn.functional.conv2d
    for what, pictures, kernels in (
        (Text("one channel, one kernel", "一个通道,一个卷积核"), torch.randn(1, 1, 5, 5), torch.randn(1, 1, 3, 3)),
        (Text("kernels that are not square", "不是方形的卷积核"), torch.randn(1, 1, 5, 6), torch.randn(1, 1, 2, 3)),
        (Text("three channels add up", "三个通道相加"), torch.randn(1, 3, 5, 5), torch.randn(1, 3, 3, 3)),
        (Text("several pictures and kernels", "多张图,多个卷积核"), torch.randn(2, 3, 4, 5), torch.randn(4, 3, 2, 2)),
    ):
        yield what
        right = conv(pictures, kernels)
        slips = [
            (
                conv(pictures, kernels.flip(2, 3)),
                Text("the kernel is turned by 180 degrees: nets lay it on as it is", "卷积核转了 180 度;神经网络里不翻转"),
            ),
            (
                conv(pictures, kernels.transpose(2, 3)) if kernels.shape[2] == kernels.shape[3] else 0,
                Text("rows and columns of the kernel are exchanged", "卷积核的行列颠倒了"),
            ),
            (conv(pictures, kernels, padding=1), Text("no zeros around the picture here", "这里图的四周不补零")),
            (
                conv(pictures[:, :1], kernels[:, :1]),
                Text("only the first channel is taken: sum over all of them", "只取了第一个通道:应对所有通道求和"),
            ),
            (right / kernels.shape[1], Text("channels are added up, not averaged", "通道是相加,不是平均")),
            (right[0], Text("the batch stays: (N, K, rows, columns)", "保留批的维度:(N, K, 行, 列)")),
            (
                right[:, :, :-1, :-1],
                Text("there are H - h + 1 places: the last one is missing", "共有 H - h + 1 个位置:少了最后一个"),
            ),
        ]
        agree(
            answer,
            "slide",
            Text("slide(pictures, kernels)", "slide(pictures, kernels) "),
            function(pictures, kernels),
            right,
            slips,
        )


@exercise("9-1", Text("one step of a recurrent net", "循环网络的一步"), "rnn_step(x, h, w_ih, w_hh, b_ih, b_hh)")
def rnn_step(answer: Answer) -> Iterator[Text]:
    """States after one and after many steps are those of nn.RNNCell."""
    function = answer.function("rnn_step")
    torch.manual_seed(0)
    cell = nn.RNNCell(3, 5)
    x, h, nothing = torch.randn(2, 3), torch.randn(2, 5), torch.zeros(5)
    w_ih, w_hh, b_ih, b_hh = weights = tuple(p.detach() for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh))
    with torch.no_grad():
        right = cell(x, h)
    scores = x @ w_ih.T + b_ih + h @ w_hh.T + b_hh
    yield Text("the new state is tanh of both products and both biases", "新状态是两个乘积与两个偏置之和的 tanh")
    slips = [
        (scores, Text("tanh is missing: without it the state grows from step to step", "少了 tanh:没有它,状态会一步步变大")),
        (scores.relu(), Text("nn.RNN takes tanh, if not told otherwise", "nn.RNN 默认用 tanh")),
        (scores.sigmoid(), Text("tanh, not sigmoid: a state may be negative", "用 tanh,不是 sigmoid:状态可以是负数")),
        ((x @ w_ih.T + b_ih).tanh(), Text("the old state is not used: + h @ w_hh.T + b_hh", "没有用旧状态:+ h @ w_hh.T + b_hh")),
        ((x @ w_ih.T + b_ih).tanh() + (h @ w_hh.T + b_hh).tanh(), Text("add first, then tanh of the sum", "先相加,再取 tanh")),
        ((x @ w_ih.T + h @ w_hh.T).tanh(), Text("the biases are missing", "少了偏置")),
        (
            (x @ w_ih.T + b_ih + h @ w_hh + b_hh).tanh(),
            Text("rows of w_hh belong to new states: h @ w_hh.T", "w_hh 的行对应新状态:h @ w_hh.T"),
        ),
    ]
    agree(answer, "rnn_step", Text("the state", "状态"), function(x, h, *weights), right, slips)
    yield Text("without input and biases only the old state counts", "没有输入和偏置时只看旧状态")
    agree(answer, "rnn_step", Text("the state", "状态"), function(x * 0, h, w_ih, w_hh, nothing, nothing), (h @ w_hh.T).tanh())
    yield Text("twenty steps are those of nn.RNN", "二十步与 nn.RNN 相同")
    own = h
    with torch.no_grad():
        for step in torch.randn(20, 2, 3):
            h, own = cell(step, h), function(step, own, *weights)
    agree(answer, "rnn_step", Text("the state after twenty steps", "二十步之后的状态"), own, h)


@exercise("9-4", Text("one step of an LSTM", "LSTM 的一步"), "lstm_step(x, h, c, w_ih, w_hh, b_ih, b_hh)")
def lstm_step(answer: Answer) -> Iterator[Text]:
    """States after one and after several steps are those of nn.LSTMCell."""
    function = answer.function("lstm_step")
    torch.manual_seed(0)
    cell = nn.LSTMCell(3, 5)
    x, h, c = torch.randn(2, 3), torch.randn(2, 5), torch.randn(2, 5)
    weights = tuple(p.detach() for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh))
    with torch.no_grad():
        right_h, right_c = cell(x, (h, c))
    scores = x @ weights[0].T + weights[2] + h @ weights[1].T + weights[3]
    i, f, g, o = scores.chunk(4, 1)
    yield Text("lstm_step gives two states of shape (2, 5): h and c", "lstm_step 给出两个形状为 (2, 5) 的状态:h 和 c")
    given = function(x, h, c, *weights)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise answer.wrong(
            "lstm_step",
            Text("lstm_step does not give two things", "lstm_step 给出的不是两样东西"),
            Text("return h, c", "写成 return h, c"),
        )
    yield Text("the new cell is f * c + i * g", "新的单元状态是 f * c + i * g")
    tanh, gate = torch.tanh, torch.sigmoid
    order = Text(
        "the four gates come in the order input, forget, cell, output: chunk(4, 1)",
        "四个门的顺序是输入、遗忘、单元、输出:chunk(4, 1)",
    )
    slips = [
        (right_h, Text("h comes first: return h, c", "先 h 后 c:return h, c")),
        (gate(i) * c + gate(f) * tanh(g), order),
        (gate(f) * c + gate(i) * tanh(o), order),
        (
            gate(f) * c + gate(i) * gate(g),
            Text("what is added goes through tanh: it may be negative", "加进去的部分用 tanh:它可以是负数"),
        ),
        (gate(f) * c + gate(i) * g, Text("what is added goes through tanh", "加进去的部分要过 tanh")),
        (f * c + i * tanh(g), Text("gates are between 0 and 1: sigmoid", "门在 0 和 1 之间:用 sigmoid")),
        (
            gate(f) * c + (1 - gate(f)) * tanh(g),
            Text("the input gate is its own, not 1 - forget", "输入门是单独的,不是 1 减遗忘门"),
        ),
    ]
    agree(answer, "lstm_step", Text("the cell", "单元状态"), given[1], right_c, slips)
    yield Text("the new hidden state is o * tanh(c)", "新的隐藏状态是 o * tanh(c)")
    slips = [
        (gate(o) * right_c, Text("the cell goes through tanh on its way out", "单元状态输出前要过 tanh")),
        (gate(o) * tanh(c), Text("take the new cell, not the old one", "用新的单元状态,不是旧的")),
        (tanh(right_c), Text("the output gate is missing", "少了输出门")),
    ]
    agree(answer, "lstm_step", Text("the hidden state", "隐藏状态"), given[0], right_h, slips)
    yield Text("twenty steps are those of nn.LSTM", "二十步与 nn.LSTM 相同")
    steps = torch.randn(20, 2, 3)
    own: Any = (h, c)
    with torch.no_grad():
        for step in steps:
            h, c = cell(step, (h, c))
            own = function(step, *own, *weights)
    agree(answer, "lstm_step", Text("the hidden state after twenty steps", "二十步之后的隐藏状态"), own[0], h)


@exercise("10-3", Text("a causal mask", "因果掩码"), "may_look(steps)")
def may_look(answer: Answer) -> Iterator[Text]:
    """A mask of truth values with which no step sees a later one."""
    function = answer.function("may_look")
    q, k, v = torch.randn(3, 1, 6, 4, generator=torch.Generator().manual_seed(0)).unbind()
    yield Text("it gives (steps, steps) truth values", "给出 (steps, steps) 个真假值")
    mask = function(6)
    if getattr(mask, "dtype", None) != torch.bool or tuple(mask.shape) != (6, 6):
        what = f"{mask.dtype}, {tuple(mask.shape)}" if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise answer.wrong(
            "may_look",
            Text(f"it gives {what}", f"给出的是 {what}"),
            Text(
                "numbers are added to the scores, and 0 and 1 hide nothing: dtype=torch.bool",
                "数会加到分数上,0 和 1 什么也遮不住:dtype=torch.bool",
            ),
        )
    yield Text("each step sees itself and all before, and none after", "每一步看到自己和之前的,看不到之后的")
    right = torch.ones(6, 6, dtype=torch.bool).tril()
    slips = [
        (
            ~right,
            Text(
                "True is where a step may look here: the other half. (nn.MultiheadAttention has it the other way round.)",
                "这里 True 表示可以看:是另一半。(nn.MultiheadAttention 正相反。)",
            ),
        ),
        (right.T, Text("rows are the steps that look, columns what is looked at: tril()", "行是看的一方,列是被看的一方:tril()")),
        (right.tril(-1), Text("a step may see itself: tril(), not tril(-1)", "可以看到自己:tril(),不是 tril(-1)")),
        (torch.eye(6, dtype=torch.bool), Text("a step sees those before it, too", "也能看到之前的各步")),
    ]
    agree(answer, "may_look", Text("may_look(6)", "may_look(6) "), mask, right, slips)
    yield Text("with it, attention is that of is_causal=True", "用它时,注意力与 is_causal=True 相同")
    attention = nn.functional.scaled_dot_product_attention
    agree(answer, "may_look", Text("the result", "结果"), attention(q, k, v, attn_mask=mask), attention(q, k, v, is_causal=True))
    yield Text("another number of steps gives another mask", "步数不同,掩码也不同")
    agree(answer, "may_look", Text("may_look(3)", "may_look(3) "), function(3), right[:3, :3])


@exercise("10-4", Text("several heads", "多个头"), "attend(q, k, v, heads)")
def attend(answer: Answer) -> Iterator[Text]:
    """Features are divided among heads, each of which attends by itself."""
    function = answer.function("attend")
    torch.manual_seed(0)
    # queries and keys of different numbers, so that what is mixed up shows
    q, k, v = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    sdpa = nn.functional.scaled_dot_product_attention

    def divided(t: Any, heads: int) -> Any:
        return t.unflatten(-1, (heads, 8 // heads)).transpose(1, 2)

    mixing = Text(
        "view mixes steps and heads: divide the last dim first, then transpose(1, 2)",
        "view 把步和头混在了一起:先分最后一维,再 transpose(1, 2)",
    )
    for heads in (1, 2, 4):
        yield Text("one head" if heads == 1 else f"{heads} heads", f"{heads} 个头")
        q_, k_, v_ = (divided(t, heads) for t in (q, k, v))
        right = sdpa(q_, k_, v_).transpose(1, 2).flatten(2)
        mixed_q, mixed_k, mixed_v = (t.reshape(2, heads, -1, 8 // heads) for t in (q, k, v))
        mixed = sdpa(mixed_q, mixed_k, mixed_v)
        wide = sdpa(q_, k_, v_, scale=8**-0.5).transpose(1, 2).flatten(2)
        scores = q_ @ k_.transpose(2, 3) * (8 // heads) ** -0.5
        slips = [
            (
                sdpa(q, k, v),
                Text(
                    "all features attend together: divide them, unflatten(-1, (heads, d)), and bring the heads to the front",
                    "所有特征一起做了注意力:先分开 unflatten(-1, (heads, d)),再把头移到前面",
                ),
            ),
            (mixed.reshape(2, 3, 8), mixing),
            (mixed.transpose(1, 2).flatten(2), mixing),
            (
                sdpa(q_, k_, v_).reshape(2, 3, 8),
                Text("before the heads are put together, transpose(1, 2) back", "合并各头之前要 transpose(1, 2) 换回来"),
            ),
            (
                wide,
                Text("each head has d / heads features: divide by the root of that", "每个头有 d / heads 个特征:除以它的平方根"),
            ),
            (
                (scores.softmax(-2) @ v_).transpose(1, 2).flatten(2),
                Text("the shares of one query add up to 1: softmax(-1)", "一个查询的份额之和为 1:softmax(-1)"),
            ),
            (
                ((scores * (8 // heads) ** 0.5).softmax(-1) @ v_).transpose(1, 2).flatten(2),
                Text("the division by the root of the features is missing", "少了除以特征数的平方根"),
            ),
        ]
        agree(answer, "attend", Text("attend(q, k, v, heads)", "attend(q, k, v, heads) "), function(q, k, v, heads), right, slips)
