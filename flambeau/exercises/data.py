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
