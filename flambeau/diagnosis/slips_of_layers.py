"""Slips whose error one kind of layer, or of op, raises."""

from __future__ import annotations

import difflib
import re

from flambeau.core import dtypes
from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene
from flambeau.diagnosis.slips import slip
from flambeau.tensor import Tensor


@slip("FB-SHAPE-12", RuntimeError, r"running_mean should contain \d+ elements not \d+")
def batch_norm(scene: Scene) -> Text | None:
    found = scene.found(r"should contain (\d+) elements not (\d+)")
    assert found is not None
    return Text(
        f"batch norm works along dim 1, here of size {found[1]}: make the layer with num_features={found[1]}, got {found[2]}",
        f"batch norm 作用于第 1 维,这里大小为 {found[1]}:建该层时写 num_features={found[1]},得到 {found[2]}",
    )


@slip(
    "FB-SHAPE-13",
    RuntimeError,
    r"input\.size\(-1\) must be equal to input_size|input has inconsistent input_size|For (?:un)?batched .*-D input, hx"
    r"|Expected hidden(?:\[\d\])? size",
)
def recurrent(scene: Scene) -> Text | None:
    found = scene.found(r"Expected (\d+), got (\d+)")
    state = scene.found(r"size \((\d+), (\d+), (\d+)\), got \[(\d+), (\d+), (\d+)\]")
    if state is not None and state[2] != state[5] and (state[1], state[3]) == (state[4], state[6]):
        return Text(
            f"the state is of {state[5]} sequences, and this batch has {state[2]} (the last of a pass is often smaller): begin each batch without a state, "
            "or leave the small one out, DataLoader(..., drop_last=True)",
            f"状态属于 {state[5]} 个序列,而这一批有 {state[2]} 个(一轮的最后一批常常较小):每批都不传状态,"
            "或去掉较小的那批,DataLoader(..., drop_last=True)",
        )
    if found is None:
        return Text(
            "the state is (layers, N, hidden): leave it out to begin with zeros, or make it with the N of this batch",
            "状态的形状是 (层数, N, hidden):省略则从零开始,或按这一批的 N 来建",
        )
    return Text(
        f"inputs are (steps, N, features), or (N, steps, features) with batch_first=True: expected {found[1]} features, got {found[2]}; write "
        f"input_size={found[2]}, or turn the dims",
        f"输入是 (步数, N, 特征),batch_first=True 时是 (N, 步数, 特征):应有 {found[1]} 个特征,得到 {found[2]} 个;写 input_size={found[2]},或调换维",
    )


@slip("FB-INDEX-01", IndexError, r"index out of range in self")
def embedding(scene: Scene) -> Text | None:
    found = scene.found(r"the table has (\d+) rows, and an index is (-?\d+)")
    if found is None:
        return None
    rows, index = int(found[1]), int(found[2])
    if index < 0:
        return Text(
            f"rows are numbered from 0 to {rows - 1}, got {index}: give unknown words a number of their own",
            f"行号是 0 到 {rows - 1},得到 {index}:给未知词一个自己的编号",
        )
    return Text(
        f"{rows} rows are numbered from 0 to {rows - 1}, got {index}: make the layer with as many rows as there are words, at least "
        f"nn.Embedding({index + 1}, ...)",
        f"{rows} 行的编号是 0 到 {rows - 1},得到 {index}:行数应等于词数,至少 nn.Embedding({index + 1}, ...)",
    )


@slip("FB-DTYPE-07", RuntimeError, r"the `-` operator, with (?:a|two) bool tensors? (?:is|are) not supported")
def boolean_minus(scene: Scene) -> Text | None:
    return Text(
        "for truths, `not` is ~: write ~mask instead of 1 - mask; or mask.float() to compute with",
        "真假值取反用 ~:写 ~mask 而不是 1 - mask;要计算则用 mask.float()",
    )


@slip(
    "FB-CLASS-05",
    (NotImplementedError, ValueError, RuntimeError),
    r"log_softmax_lastdim_kernel_impl|expected target dtype to be Long",
)
def swapped(scene: Scene) -> Text | None:
    scores, target = scene.operand("input"), scene.operand("target")
    if scores is None or target is None or scores.value.dtype.is_floating_point or not target.value.dtype.is_floating_point:
        return None
    return Text(
        f"the scores come first: write cross_entropy({target.name}, {scores.name})",
        f"得分在前:写 cross_entropy({target.name}, {scores.name})",
    )


@slip(
    "FB-SHAPE-14",
    RuntimeError,
    r"size mismatch, got input|must be a matrix|inconsistent tensor size, expected tensor|1D tensors expected",
)
def matrix_and_vector(scene: Scene) -> Text | None:
    if scene.found("1D tensors expected"):
        call = re.search(r"(\w+)\.dot\(([\w.]+)\)", scene.line)
        product = f"{call[1]} @ {call[2]}" if call is not None else "x @ w"
        return Text(
            f"dot is of two vectors here, though not in NumPy: for matrices write {product}",
            f"这里的 dot 只用于两个向量(与 NumPy 不同):矩阵写 {product}",
        )
    if scene.found("must be a matrix"):
        return Text(
            "mm takes two matrices: for a vector write a @ v, or v.unsqueeze(1), which is (n, 1)",
            "mm 要两个矩阵:向量用 a @ v,或 v.unsqueeze(1),即 (n, 1)",
        )
    return Text(
        "(n, m) @ (m,) gives (n,): the vector has as many elements as the matrix columns; transpose the matrix, a.t(), if its rows are meant",
        "(n, m) @ (m,) 得 (n,):向量的元素个数等于矩阵的列数;若指的是行,转置矩阵 a.t()",
    )


@slip("FB-SHAPE-15", RuntimeError, r"Output size is too small|Kernel size can't be greater than actual input size")
def kernel_too_large(scene: Scene) -> Text | None:
    return Text(
        "the picture has become smaller than the kernel: pool less often, use a smaller kernel_size, or padding",
        "图像已比卷积核(窗口)小:减少池化,减小 kernel_size,或加 padding",
    )


@slip("FB-LOSS-06", ValueError, r"[Tt]arget size \(torch\.Size\(.*\) (?:that is different to the|must be the same as) input size")
def other_target_shape(scene: Scene) -> Text | None:
    scores, target = scene.operand("input"), scene.operand("target")
    if scores is None or target is None:
        return Text("bring both to one shape: target.view_as(pred)", "使两者形状相同:target.view_as(pred)")
    return Text(
        f"expected {list(scores.value.shape)}, as {scores.name} has it, got {list(target.value.shape)}: write {target.name}.view_as({scores.name}), or "
        f"{scores.name}.squeeze(1)",
        f"应为 {list(scores.value.shape)}(同 {scores.name}),得到 {list(target.value.shape)}:写 {target.name}.view_as({scores.name}),或 {scores.name}.squeeze(1)",
    )


@slip("FB-TYPE-13", (IndexError, RuntimeError, TypeError))
def state_of_lstm(scene: Scene) -> Text | None:
    from flambeau.nn import LSTM

    if not (isinstance(scene.given("hx"), Tensor) and isinstance(scene.given("self"), LSTM)):
        return None
    return Text("the state of an LSTM is a pair: write lstm(x, (h, c))", "LSTM 的状态是一对:写 lstm(x, (h, c))")


@slip(
    "FB-SHAPE-16",
    (RuntimeError, ValueError),
    r"number of dimensions in the tensor input does not match the length of the desired ordering",
)
def all_dims(scene: Scene) -> Text | None:
    return Text(
        "permute names every dim once: x.permute(0, 2, 1) for three; to turn two write x.transpose(a, b)",
        "permute 要列出每一维:三维写 x.permute(0, 2, 1);只换两维用 x.transpose(a, b)",
    )


@slip("FB-SHAPE-17", (AssertionError, ValueError), r"embed_dim must be divisible by num_heads")
def heads(scene: Scene) -> Text | None:
    return Text(
        "each head takes an equal part: choose embed_dim (d_model) as a multiple of num_heads (nhead)",
        "每个头分得相等的一份:embed_dim(d_model)应是 num_heads(nhead)的倍数",
    )


@slip("FB-RANGE-01", ValueError, r"dropout probability has to be between 0 and 1")
def dropout(scene: Scene) -> Text | None:
    return Text("a probability is between 0 and 1: write 0.5 for 50 %", "概率在 0 与 1 之间:50% 写 0.5")


@slip("FB-INDEX-02", IndexError, r"The shape of the mask .* does not match the shape of the indexed tensor")
def mask(scene: Scene) -> Text | None:
    for taken in scene.operands:
        for by in scene.operands:
            fits = [i for i, n in enumerate(taken.value.shape) if by.value.ndim == 1 and [n] == list(by.value.shape)]
            if taken is not by and by.value.dtype is dtypes.bool and fits and fits[0] > 0:
                write = f"{taken.name}[{':, ' * fits[0]}{by.name}]"
                return Text(
                    f"{by.name} has one truth for each element of dim {fits[0]} of {taken.name}, and the first index belongs to dim 0: write {write}",
                    f"{by.name} 的每个真假值对应 {taken.name} 第 {fits[0]} 维的一个元素,而第一个下标属于第 0 维:写 {write}",
                )
    return Text(
        "a mask has the shape of what it picks from, or of its first dims: make it from that tensor, x[x > 0]",
        "掩码的形状应与被取的张量(或其前几维)相同:由该张量来做,x[x > 0]",
    )


@slip("FB-GRAPH-09", RuntimeError, r"you can only change requires_grad flags of leaf variables|support the deepcopy protocol")
def only_leaves(scene: Scene) -> Text | None:
    return Text(
        "this tensor was computed: write x = x.detach() first, which is a leaf", "该张量是算出来的:先写 x = x.detach(),它是叶子"
    )


@slip("FB-SHAPE-18", RuntimeError, r"expects a non-empty (?:TensorList|list of Tensors)|expected a non-empty list of Tensors")
def nothing_to_join(scene: Scene) -> Text | None:
    return Text("the list is empty: was anything appended before, in this loop?", "列表是空的:之前(在循环里)append 过吗?")


@slip("FB-DTYPE-03", RuntimeError, r"one_hot is only applicable to index tensor")
def one_hot_of_floats(scene: Scene) -> Text | None:
    return Text("class numbers are integers: write F.one_hot(y.long())", "类别编号是整数:写 F.one_hot(y.long())")


@slip("FB-TYPE-02", AttributeError, r"Parameter expects a Tensor")
def parameter_of_list(scene: Scene) -> Text | None:
    return Text("expected a tensor: write nn.Parameter(torch.tensor(data))", "应为张量:写 nn.Parameter(torch.tensor(data))")


@slip("FB-SHAPE-04", ValueError, r"expected 4D input \(got 2D input\)")
def batch_norm_of_rows(scene: Scene) -> Text | None:
    return Text(
        "BatchNorm2d takes (N, C, H, W): for rows, (N, C), write nn.BatchNorm1d",
        "BatchNorm2d 接受 (N, C, H, W):对 (N, C) 的行用 nn.BatchNorm1d",
    )


@slip("FB-CLASS-06", RuntimeError, r"Expected target size \[.*\], got \[")
def scores_of_steps(scene: Scene) -> Text | None:
    scores = scene.operand("input")
    shape = list(scores.value.shape) if scores is not None else []
    if len(shape) != 3:
        return None
    return Text(
        f"got scores of shape {shape}; with three dims they are (N, C, steps). For one answer a sequence take its last step, out[:, -1]; for one a step "
        "write out.permute(0, 2, 1)",
        f"得分的形状是 {shape};三维时应为 (N, C, 步数)。每个序列一个答案就取最后一步 out[:, -1];每步一个答案则写 out.permute(0, 2, 1)",
    )


@slip("FB-DATA-04", AssertionError, r"Size mismatch between tensors")
def rows_differ(scene: Scene) -> Text | None:
    return Text(
        "inputs and targets of a data set have as many rows: cut them alike", "数据集的输入与目标行数必须相同:按同样方式切分"
    )


@slip("FB-STATE-03", KeyError)
def no_such_key(scene: Scene) -> Text | None:
    for path in re.findall(r"([\w.]+)\[", scene.line):
        kept = scene.value(path)
        if isinstance(kept, dict) and kept and all(isinstance(v, Tensor) for v in kept.values()):
            close = difflib.get_close_matches(str(scene.error.args[0]), list(kept), n=3, cutoff=0.5)
            names = ", ".join(map(repr, close or list(kept)[:5]))
            return Text(
                f"{path} has no {scene.error.args[0]!r}; it has {names}", f"{path} 没有 {scene.error.args[0]!r};它有 {names}"
            )
    return None


@slip("FB-SHAPE-19", ValueError, r"Fan in and fan out can not be computed")
def fan_of_a_vector(scene: Scene) -> Text | None:
    return Text(
        "such initial values are for matrices, and this is a vector (a bias): write if p.dim() > 1: before it, or name the weights alone",
        "这种初始化用于矩阵,而这里是向量(偏置):在前面写 if p.dim() > 1:,或只对权重调用",
    )


@slip("FB-SHAPE-20", ValueError, r"Expected more than 1 value per channel when training")
def batch_of_one(scene: Scene) -> Text | None:
    return Text(
        "batch norm compares the samples of a batch, and here is one alone: write net.eval() to test it; in training use larger batches, "
        "DataLoader(..., drop_last=True) if the last one is too small",
        "batch norm 在一批的样本之间比较,而这里只有一个:测试时先 net.eval();训练时用更大的批,最后一批太小就写 DataLoader(..., drop_last=True)",
    )


@slip("FB-SHAPE-21", RuntimeError, r"output with shape \[.*\] doesn't match the broadcast shape")
def update_that_grows(scene: Scene) -> Text | None:
    found = re.match(r"([\w.]+)\s*([-+*/])=\s*(.+)", scene.line)
    if found is None:
        return Text(
            "what is written to in place keeps its shape: give the result a name of its own", "就地写入不能改变形状:给结果另取名字"
        )
    mended = f"{found[1]} = {found[1]} {found[2]} {found[3]}"
    return Text(
        f"{found[2]}= writes into {found[1]}, whose shape stays as it is: write {mended}, or bring {found[3]} to its shape (.sum(0) for a bias)",
        f"{found[2]}= 是写进 {found[1]},它的形状不变:写 {mended},或把 {found[3]} 变成同样的形状(偏置用 .sum(0))",
    )


@slip("FB-CLASS-03", RuntimeError, r"Class values must be smaller than num_classes")
def one_hot_out_of_range(scene: Scene) -> Text | None:
    found = scene.found(r"There is a (\d+) for (\d+) classes")
    if found is None:
        return None
    return Text(
        f"classes are counted from 0: {found[2]} of them are 0 to {int(found[2]) - 1}, got {found[1]}. Subtract the smallest, y - y.min(), or write "
        f"num_classes={int(found[1]) + 1}",
        f"类别从 0 数起:{found[2]} 类是 0 到 {int(found[2]) - 1},得到 {found[1]}。减去最小的 y - y.min(),或写 num_classes={int(found[1]) + 1}",
    )
