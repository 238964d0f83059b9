"""Slips whose error speaks of shapes."""

from __future__ import annotations

import re

from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene
from flambeau.diagnosis.slips import slip
from flambeau.tensor import Tensor


@slip("FB-SHAPE-02", RuntimeError, r"in_features=\d+, but the input has shape")
def linear_features(scene: Scene) -> Text | None:
    found = scene.found(r"in_features=(\d+), but the input has shape \[(.*?)\], whose last dim is (\d+)")
    if found is None:
        return None
    wanted, shape, got = int(found[1]), [int(n) for n in found[2].split(",")], int(found[3])
    rest = 1
    for n in shape[1:]:
        rest *= n
    if len(shape) > 2 and rest == wanted:
        return Text(
            f"expected {wanted} features a sample, got {shape[1:]}, which are as many: flatten first, x.flatten(1), or nn.Flatten() before the layer",
            f"每个样本应有 {wanted} 个特征,得到的是 {shape[1:]},个数相同:先展平,x.flatten(1),或在该层前放 nn.Flatten()",
        )
    if len(shape) == 2 and shape[0] == wanted:
        return Text(
            f"expected (N, {wanted}), got {shape}: features are in the first dim; transpose, x.t(), or check the order",
            f"应为 (N, {wanted}),得到 {shape}:特征在第一维;转置 x.t(),或检查维度顺序",
        )
    if len(shape) == 1 and got > wanted and got % wanted == 0:
        return Text(
            f"got one row of {got} numbers, which is {got // wanted} samples of {wanted}: flatten() has taken the batch along, write x.flatten(1)",
            f"得到一行 {got} 个数,正是 {got // wanted} 个样本、每个 {wanted} 个数:flatten() 把批也展平了,写 x.flatten(1)",
        )
    if len(shape) == 4:
        return Text(
            f"expected (N, {wanted}), got {shape}, which has {rest} features a sample: flatten, x.flatten(1), and write nn.Linear({rest}, ...)",
            f"应为 (N, {wanted}),得到 {shape},每个样本 {rest} 个特征:先展平 x.flatten(1),并写 nn.Linear({rest}, ...)",
        )
    return Text(
        f"expected inputs of {wanted} features, got {got}: write nn.Linear({got}, ...) here, or let the layer before it give {wanted}",
        f"该层应接受 {wanted} 个特征,得到 {got} 个:这里写 nn.Linear({got}, ...),或让前一层输出 {wanted} 个",
    )


@slip("FB-SHAPE-01", RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(\d+x\d+ and \d+x\d+\)")
def matrix_product(scene: Scene) -> Text | None:
    found = scene.found(r"\((\d+)x(\d+) and (\d+)x(\d+)\)")
    assert found is not None
    m, k, n, p = map(int, found.groups())
    name = scene.operands[1].name if len(scene.operands) == 2 else "mat2"
    if k == p:
        return Text(
            f"expected {name} of {k} rows, got {n}x{p}: transpose it, {name}.t()",
            f"{name} 应有 {k} 行,得到 {n}x{p}:转置它,{name}.t()",
        )
    return Text(
        f"rows times columns, (n, m) @ (m, p): expected {name} of shape ({k}, {p}), got ({n}, {p}); make {name} with {k} rows",
        f"矩阵乘法是 (n, m) @ (m, p):{name} 的形状应为 ({k}, {p}),得到 ({n}, {p});建 {name} 时行数写 {k}",
    )


@slip("FB-SHAPE-03", RuntimeError, r"to have \d+ channels, but got \d+ channels")
def channels(scene: Scene) -> Text | None:
    found = scene.found(r"expected input\[(.*?)\] to have (\d+) channels, but got (\d+) channels")
    if found is None:
        return None
    shape, wanted, got = [int(n) for n in found[1].split(",")], int(found[2]), int(found[3])
    weight = scene.found(r"weight of size \[(.*?)\]")
    space = weight[1].count(",") - 1 if weight is not None else 2
    names = "LHW"[0] if space == 1 else "DHW"[-space:]
    form = ", ".join(("N", "C", *names))
    if shape[-1] == wanted:
        first = [0] if len(shape) == space + 2 else []
        last = len(shape) - 1
        order = ", ".join(map(str, [*first, last, *range(len(first), last)]))
        return Text(
            f"expected ({form}) with C={wanted}, got {shape}, whose channels are last: write x.permute({order})",
            f"应为 ({form}),C={wanted},得到 {shape},通道在最后一维:写 x.permute({order})",
        )
    if len(shape) == 3 and wanted == 1:
        return Text(
            f"expected (N, 1, H, W), got {shape}, which has no dim for channels: write x.unsqueeze(1)",
            f"应为 (N, 1, H, W),得到 {shape},缺少通道维:写 x.unsqueeze(1)",
        )
    return Text(
        f"expected {wanted} channels, got {got}: make the layer with in_channels={got}, or let the layer before it give {wanted}",
        f"应有 {wanted} 个通道,得到 {got} 个:建该层时写 in_channels={got},或让前一层输出 {wanted} 个通道",
    )


@slip(
    "FB-SHAPE-04",
    (RuntimeError, ValueError),
    r"expected (?:\dD or )?\dD (?:or \dD )?input \(got|[Ee]xpected .*\(?unbatched\)? or .*batched\)? ?input|Expected \dD",
)
def dims_of_layer(scene: Scene) -> Text | None:
    operand = scene.operand("input")
    if operand is None:
        return None
    shape = list(operand.value.shape)
    if len(shape) == 2:
        return Text(
            f"expected (N, C, H, W), got {shape}: for one grey image write x[None, None]; for flattened ones x.view(-1, C, H, W)",
            f"应为 (N, C, H, W),得到 {shape}:单张灰度图写 x[None, None];展平的图像写 x.view(-1, C, H, W)",
        )
    return Text(
        f"the number of dims does not fit, got {shape}: add one with x.unsqueeze(0), or take one away with x.squeeze(0)",
        f"维数不符,得到 {shape}:用 x.unsqueeze(0) 增加一维,或 x.squeeze(0) 去掉一维",
    )


@slip("FB-SHAPE-05", RuntimeError, r"The size of tensor a \(\d+\) must match the size of tensor b \(\d+\)")
def broadcast(scene: Scene) -> Text | None:
    found = scene.found(r"shapes \[(.*?)\] and \[(.*?)\] do not broadcast")
    if found is None:
        return None
    a, b = ([int(n) for n in group.split(",") if n.strip()] for group in found.groups())
    if "==" in scene.line and {len(a), len(b)} == {1, 2} and a[0] == b[0]:
        wide = next((o.name for o in scene.operands if o.value.ndim == 2), "scores")
        return Text(
            f"scores of shape {max(a, b, key=len)} are compared with class numbers: take the class of the largest score first, {wide}.argmax(1)",
            f"拿形状为 {max(a, b, key=len)} 的得分与类别编号比较:先取得分最大的类,{wide}.argmax(1)",
        )
    if len(a) == 2 and len(b) == 1 and a[0] == b[0] or len(b) == 2 and len(a) == 1 and a[0] == b[0]:
        return Text(
            f"got {a} and {b}; shapes are aligned at the right: for one number a row write x.unsqueeze(1), which is ({b[0]}, 1)",
            f"得到 {a} 和 {b};形状从右边对齐:若每行一个数,写 x.unsqueeze(1),即 ({b[0]}, 1)",
        )
    if sorted(a) == sorted(b):
        return Text(
            f"got {a} and {b}, the same sizes in another order: transpose or permute one",
            f"得到 {a} 和 {b},大小相同但次序不同:对其中一个转置或 permute",
        )
    if a and b and a[1:] == b[1:]:
        return Text(
            f"expected as many rows in both, got {a[0]} and {b[0]}: take both from the same batch, or cut one to x[:{min(a[0], b[0])}]",
            f"两者行数应相同,得到 {a[0]} 和 {b[0]}:从同一批数据取,或截成 x[:{min(a[0], b[0])}]",
        )
    return Text(
        f"got {a} and {b}: expected equal sizes, or 1, dim by dim from the right", f"得到 {a} 和 {b}:从右边起逐维应相等,或为 1"
    )


@slip(
    "FB-CLASS-01",
    RuntimeError,
    r"0D or 1D target tensor expected, multi-target not supported|only batches of spatial targets supported",
)
def target_of_classes(scene: Scene) -> Text | None:
    target = scene.operand("target")
    if target is None:
        return None
    shape = list(target.value.shape)
    if shape[-1] == 1 or len(shape) > 1 and shape[1] == 1:
        return Text(
            f"expected ({shape[0]},), got {shape}, a column of class numbers: write {target.name}.squeeze(1)",
            f"应为 ({shape[0]},),得到 {shape},是一列类别编号:写 {target.name}.squeeze(1)",
        )
    return Text(
        f"expected ({shape[0]},), got {shape}: one-hot rows become class numbers by {target.name}.argmax(1)",
        f"应为 ({shape[0]},),得到 {shape}:one-hot 行用 {target.name}.argmax(1) 变成类别编号",
    )


@slip("FB-CLASS-02", RuntimeError, r"Expected floating point type for target with class probabilities, got")
def one_hot_integers(scene: Scene) -> Text | None:
    target, scores = scene.operand("target"), scene.operand("input")
    name = target.name if target is not None else "target"
    if scores is not None and scores.value.ndim == 1:
        return Text(
            f"the first argument has the scores of all classes, (N, C), as floats; got {list(scores.value.shape)}: leave argmax and squeeze out, "
            "and for one score a row use binary_cross_entropy_with_logits",
            f"第一个参数应是各类的得分 (N, C),浮点数;得到 {list(scores.value.shape)}:不要 argmax 和 squeeze;每行只有一个得分时用 binary_cross_entropy_with_logits",
        )
    return Text(
        f"expected class numbers of shape (N,), or probabilities as floats; got integer rows: write {name}.argmax(1), or {name}.float()",
        f"应为形状 (N,) 的类别编号,或浮点的概率;得到整数行:写 {name}.argmax(1),或 {name}.float()",
    )


@slip("FB-CLASS-03", IndexError, r"Target -?\d+ is out of bounds")
def class_out_of_range(scene: Scene) -> Text | None:
    found = scene.found(r"Target (-?\d+) is out of bounds\. There are (\d+) classes")
    if found is None:
        return None
    target, classes = int(found[1]), int(found[2])
    operand = scene.operand("target")
    name = operand.name if operand is not None else "target"
    if target == classes:
        return Text(
            f"classes are counted from 0: {classes} of them are 0 to {classes - 1}, got {target}. Write {name} - 1, or let the last layer give "
            f"{classes + 1} scores",
            f"类别从 0 数起:{classes} 类是 0 到 {classes - 1},得到 {target}。写 {name} - 1,或让最后一层输出 {classes + 1} 个得分",
        )
    return Text(
        f"expected class numbers from 0 to {classes - 1}, got {target}: let the last layer give as many scores as there are classes",
        f"类别编号应在 0 到 {classes - 1},得到 {target}:让最后一层的输出个数等于类别数",
    )


@slip("FB-CLASS-04", ValueError, r"Expected input batch_size \(\d+\) to match target batch_size \(\d+\)")
def batches_differ(scene: Scene) -> Text | None:
    found = scene.found(r"input batch_size \((\d+)\) to match target batch_size \((\d+)\)")
    assert found is not None
    return Text(
        f"expected as many targets as rows of scores, got {found[1]} rows and {found[2]} targets: keep the batch in the first dim, "
        "x.flatten(1) or x.view(x.size(0), -1)",
        f"目标个数应等于得分的行数,得到 {found[1]} 行和 {found[2]} 个目标:第一维要保持为批,用 x.flatten(1) 或 x.view(x.size(0), -1)",
    )


@slip("FB-SHAPE-06", RuntimeError, r"view size is not compatible with input tensor's size and stride")
def view_of_strides(scene: Scene) -> Text | None:
    return Text(
        "after t(), transpose or permute the numbers lie in another order: write reshape(...) instead of view(...)",
        "经过 t()、transpose 或 permute 后,数在内存中的次序不同:用 reshape(...) 代替 view(...)",
    )


@slip("FB-SHAPE-07", RuntimeError, r"shape '\[.*?\]' is invalid for input of size \d+")
def wrong_count(scene: Scene) -> Text | None:
    found = scene.found(r"shape '\[(.*?)\]' is invalid for input of size (\d+)")
    if found is None:
        return None
    sizes = [int(n) for n in found[1].split(",") if n.strip()]
    known = 1
    for n in sizes:
        known *= n if n > 0 else 1
    return Text(
        f"{sizes} holds {'a multiple of ' if -1 in sizes else ''}{known} numbers, the tensor has {found[2]}: print its shape; x.flatten(1) keeps the "
        "batch and joins the rest, whatever their number",
        f"{sizes} 容纳{'的个数是下列之倍数:' if -1 in sizes else ''} {known} 个数,张量有 {found[2]} 个:先打印形状;x.flatten(1) 保留批维,其余合并",
    )


@slip("FB-SHAPE-08", RuntimeError, r"cannot be converted to Scalar")
def item_of_many(scene: Scene) -> Text | None:
    found = re.search(r"([\w.]+)\.item\(", scene.line)
    name = found[1] if found else "x"
    return Text(
        f"item() takes one number: reduce first, {name}.mean().item() or {name}.sum().item(); {name}.tolist() gives all of them",
        f"item() 只能取一个数:先归约,{name}.mean().item() 或 {name}.sum().item();{name}.tolist() 取出全部",
    )


@slip("FB-STATE-01", RuntimeError, r"Error\(s\) in loading state_dict")
def other_state(scene: Scene) -> Text | None:
    if scene.found(r"Missing key.*\"|Unexpected key") and re.search(r"module\.", scene.message):
        return Text(
            "the keys begin with 'module.' (saved from DataParallel): load {k.removeprefix('module.'): v for k, v in state.items()}",
            "键以 'module.' 开头(由 DataParallel 保存):载入 {k.removeprefix('module.'): v for k, v in state.items()}",
        )
    if scene.found("size mismatch"):
        return Text(
            "expected the saved sizes, the net here has others: make it with the sizes that are listed as 'from checkpoint'",
            "这里的网络与保存时的大小不同:按所列 'from checkpoint' 的大小来建网络",
        )
    return Text(
        "the names of the layers differ: make the net as it was made when it was saved; strict=False skips what does not fit, and leaves it untrained",
        "层的名字不同:按保存时的样子建网络;strict=False 会跳过对不上的部分,它们就没有训练过",
    )


@slip(
    "FB-SHAPE-09",
    RuntimeError,
    r"Sizes of tensors must match except in dimension|Tensors must have same number of dimensions|stack expects each tensor to be equal size",
)
def joined(scene: Scene) -> Text | None:
    return Text(
        "the parts must have equal sizes in all dims but one: print their shapes; cat(parts, dim=d) joins along d, padding makes sizes equal",
        "各部分除一维外大小必须相同:打印它们的形状;cat(parts, dim=d) 沿 d 连接,填充(pad)可使大小相同",
    )


@slip("FB-SHAPE-10", IndexError, r"Dimension out of range|too many indices for tensor|index -?\d+ is out of bounds")
def no_such_dim(scene: Scene) -> Text | None:
    owners = [o for o in scene.operands if isinstance(o.value, Tensor)]
    if not owners:
        return None
    o = owners[0]
    shape = list(o.value.shape)
    found = scene.found(r"index (-?\d+) is out of bounds for dimension (\d+) with size (\d+)")
    if found is not None:
        return Text(
            f"{o.name} has shape {shape}: in dim {found[2]} there are indices 0 to {int(found[3]) - 1}, got {found[1]}",
            f"{o.name} 的形状是 {shape}:第 {found[2]} 维的下标是 0 到 {int(found[3]) - 1},得到 {found[1]}",
        )
    return Text(
        f"{o.name} has shape {shape}: its dims are counted from 0 to {max(o.value.ndim - 1, 0)}, and -1 is the last; use no more indices than dims",
        f"{o.name} 的形状是 {shape}:维号从 0 到 {max(o.value.ndim - 1, 0)},-1 是最后一维;下标个数不要超过维数",
    )


@slip("FB-SHAPE-10", TypeError, r"'<=?' not supported between instances of '(?:int|str)' and '(?:int|str)'")
def dim_by_name(scene: Scene) -> Text | None:
    found = re.search(r"\b(?:dim|axis)\s*=\s*(['\"]\w+['\"])", scene.line)
    if found is None or not scene.operands:
        return None
    return Text(
        f"dims are numbers: 0 is the first, -1 the last; got {found[1]}", f"维用数字表示:0 是第一维,-1 是最后一维;得到 {found[1]}"
    )
