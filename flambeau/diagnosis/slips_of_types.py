"""Slips whose error speaks of types: dtypes, and what is no tensor."""

from __future__ import annotations

import re

from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene
from flambeau.diagnosis.slips import slip
from flambeau.tensor import Tensor


@slip(
    "FB-DTYPE-01",
    RuntimeError,
    r"must have the same dtype|expected scalar type \w+ but found \w+|expected m1 and m2 to have the same dtype",
)
def dtypes_differ(scene: Scene) -> Text | None:
    tensors = scene.operands
    data = next((o for o in tensors if not o.value.requires_grad), tensors[0] if tensors else None)
    other = next((o for o in tensors if data is not None and o.value.dtype is not data.value.dtype), None)
    if data is None or other is None:
        return None
    wanted, got = (str(t.value.dtype).removeprefix("torch.") for t in (other, data))
    method = {"float32": "float()", "float64": "double()", "float16": "half()"}.get(wanted, f"to(torch.{wanted})")
    why = (" (NumPy's default)", "(NumPy 的默认)") if got == "float64" else ("", "")
    return Text(
        f"expected {wanted}, as {other.name} has it, got {got}{why[0]}: write {data.name}.{method}",
        f"应为 {wanted}({other.name} 的类型),得到 {got}{why[1]}:写 {data.name}.{method}",
    )


@slip("FB-DTYPE-02", RuntimeError, r"expected target dtype to be Long|expected scalar type Long")
def float_classes(scene: Scene) -> Text | None:
    target = scene.operand("target")
    name = target.name if target is not None else "target"
    kind = str(target.value.dtype).removeprefix("torch.") if target is not None and not target.value.is_floating_point() else ""
    return Text(
        f"expected class numbers as integers of 64 bits, got {kind or 'floats'}: write {name}.long()",
        f"类别编号应为 64 位整数,得到{kind or '浮点数'}:写 {name}.long()",
    )


@slip(
    "FB-DTYPE-03",
    (RuntimeError, IndexError),
    r"argument #1 'indices' to have one of the following scalar types|tensors used as indices must be",
)
def float_index(scene: Scene) -> Text | None:
    indices = next((o for o in scene.operands if o.value.dtype.is_floating_point and not o.value.requires_grad), None)
    name = indices.name if indices is not None else "index"
    return Text(
        f"rows are looked up by integers, got floats: write {name}.long()", f"查表用的下标应为整数,得到浮点数:写 {name}.long()"
    )


@slip("FB-DTYPE-08", TypeError, r"must be torch\.dtype, not str")
def dtype_in_quotes(scene: Scene) -> Text | None:
    found = re.search(r"['\"](\w+)['\"]", scene.line)
    name = found[1] if found is not None else "float32"
    return Text(f"a dtype is an object, not text: write dtype=torch.{name}", f"dtype 是对象,不是文字:写 dtype=torch.{name}")


@slip("FB-DTYPE-04", RuntimeError, r"[Oo]nly Tensors of floating point and complex dtype can require gradients")
def integer_gradient(scene: Scene) -> Text | None:
    return Text(
        "expected floats, got integers, which have no gradient: write 1.0 instead of 1, or dtype=torch.float32",
        "应为浮点数,得到整数,整数没有梯度:写 1.0 而不是 1,或 dtype=torch.float32",
    )


@slip("FB-DTYPE-05", RuntimeError, r"can't be cast to the desired output type")
def cannot_cast(scene: Scene) -> Text | None:
    return Text(
        "the result is of floats, and what it is written into holds integers: make that one with dtype=torch.float32, or x = x + y",
        "结果是浮点数,而被写入的张量是整数:建它时用 dtype=torch.float32,或写 x = x + y",
    )


@slip("FB-DTYPE-06", RuntimeError, r"mean\(\): could not infer output dtype|not implemented for '(?:Long|Int|Byte|Bool)'")
def integers_in_float_op(scene: Scene) -> Text | None:
    return Text("expected floats, got integers: write x.float()", "应为浮点数,得到整数:写 x.float()")


@slip("FB-TYPE-01", TypeError, r"must be Tensor, not tuple|'tuple' object (?:has no attribute|is not callable)")
def tuple_of_a_recurrent_layer(scene: Scene) -> Text | None:
    value = scene.given("input")
    if not (isinstance(value, tuple) and value and isinstance(value[0], Tensor)):
        return None
    name = next((n for n, v in scene.names.items() if v is value), "h")
    return Text(
        f"expected a tensor, got a tuple: LSTM, GRU and RNN give (output, state). Write output, state = lstm(x), or take {name}[0]; its last step is "
        f"{name}[0][:, -1] with batch_first=True",
        f"应为张量,得到元组:LSTM、GRU、RNN 返回 (output, state)。写 output, state = lstm(x),或取 {name}[0];batch_first=True 时最后一步是 {name}[0][:, -1]",
    )


@slip("FB-TYPE-02", TypeError, r"must be Tensor, not (?:list|(?:numpy\.)?ndarray|float|int|tuple)")
def no_tensor(scene: Scene) -> Text | None:
    found = scene.found(r"must be Tensor, not (?:numpy\.)?(\w+)")
    assert found is not None
    how = "torch.from_numpy(x).float()" if found[1] == "ndarray" else "torch.tensor(x)"
    place = scene.found(r"^(\w+)\(\): argument '(\w+)'")
    value = scene.given(place[2] if place is not None else "input")
    if place is not None and place[1] in ("maximum", "minimum") and found[1] in ("int", "float"):
        bound = "min" if place[1] == "maximum" else "max"
        return Text(
            f"{place[1]} compares two tensors: with a number n write x.clamp({bound}=n)",
            f"{place[1]} 比较两个张量:与数 n 比较写 x.clamp({bound}=n)",
        )
    name = next((n for n, v in scene.names.items() if v is value and value is not None and not n.startswith("_")), "x")
    if name not in scene.line:
        name = repr(value) if isinstance(value, (int, float)) else "x"
    return Text(
        f"expected a tensor, got {found[1]}: write {how.replace('x', name)}",
        f"应为张量,得到 {found[1]}:写 {how.replace('x', name)}",
    )


@slip("FB-TYPE-03", TypeError, r"must be tuple of Tensors, not Tensor")
def one_list(scene: Scene) -> Text | None:
    found = scene.found(r"^(\w+)\(")
    name = found[1] if found else "cat"
    return Text(f"expected one list of tensors: write torch.{name}([a, b])", f"应为一个张量列表:写 torch.{name}([a, b])")


@slip("FB-TYPE-04", TypeError, r"is not a Module subclass")
def class_for_layer(scene: Scene) -> Text | None:
    from flambeau import nn

    if scene.found(r"^(?:list|tuple) is not"):
        return Text(
            "expected layers one by one: write nn.Sequential(*layers), or without the [ ]",
            "层要逐个给出:写 nn.Sequential(*layers),或去掉 [ ]",
        )
    if scene.found(r"^str is not"):
        text = next((m for m in re.findall(r"['\"](\w+)['\"]", scene.line)), "relu")
        layer = next((n for n in dir(nn) if n.lower() == text.lower()), "ReLU")
        return Text(f"expected a layer, got its name as text: write nn.{layer}()", f"应为一个层,得到的是文字:写 nn.{layer}()")
    if scene.found(r"Tensor is not a Module"):
        return Text(
            "expected a layer, got a tensor: containers hold layers, and weights are nn.Parameter",
            "应为一个层,得到的是张量:容器里放层,权重用 nn.Parameter",
        )
    found = scene.found(r"([A-Z]\w*)\(\.\.\.\)\?|\.(\w+) is not a Module")
    name = (found[1] or found[2]) if found else "ReLU"
    return Text(
        f"expected a layer, got the class: write nn.{name}() with brackets", f"应为一个层,得到的是类:写 nn.{name}(),要有括号"
    )


@slip("FB-TYPE-05", TypeError, r"'NoneType'|NoneType")
def none_in_arithmetic(scene: Scene) -> Text | None:
    for path in re.findall(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", scene.line):
        owner, _, last = path.rpartition(".")
        if scene.value(path) is not None:
            continue
        value = scene.value(owner)
        if (
            last == "grad"
            and isinstance(value, Tensor)
            and value.grad_fn is not None
            and not scene.has(rf"\b{re.escape(owner)}\s*=\s*{re.escape(owner)}\b")
        ):
            return Text(
                f"{path} is None: {owner} was computed, and only leaves keep their gradient. Call {owner}.retain_grad() before backward()",
                f"{path} 是 None:{owner} 是算出来的,只有叶子保留梯度。请在 backward() 之前调用 {owner}.retain_grad()",
            )
        if last == "grad" and isinstance(value, Tensor) and value.grad_fn is not None:
            return Text(
                f"{path} is None: {owner} is no leaf any more, it was made by {owner} = {owner} - ... in the step before. Update in place: "
                f"`with torch.no_grad(): {owner} -= lr * {owner}.grad`",
                f"{path} 是 None:{owner} 已不是叶子,上一步 {owner} = {owner} - ... 建了新张量。请就地更新:"
                f"`with torch.no_grad(): {owner} -= lr * {owner}.grad`",
            )
        if last == "grad" and isinstance(value, Tensor) and not value.requires_grad:
            return Text(
                f"expected a Tensor, got None: {path} is None because {owner} has no requires_grad. Make it with requires_grad=True; if it comes from "
                f"{owner} = {owner} - ..., write {owner} -= ... under torch.no_grad()",
                f"应为张量,得到 None:{path} 是 None,因为 {owner} 没有 requires_grad。建它时写 requires_grad=True;若它来自 {owner} = {owner} - ...,"
                f"请在 torch.no_grad() 下写 {owner} -= ...",
            )
        if last == "grad":
            return Text(
                f"expected a Tensor, got None: {path} is None until a backward() has reached {owner}. Is loss.backward() called before this line, and "
                f"does the loss use {owner}?",
                f"应为张量,得到 None:backward() 到达 {owner} 之前 {path} 是 None。这一行之前调用 loss.backward() 了吗?损失用到 {owner} 了吗?",
            )
        return Text(
            f"expected a Tensor, got None: {path} is None, it was registered without a value: use it only `if {path} is not None`, or give it one",
            f"应为张量,得到 None:{path} 是 None,登记时没有给值:只在 `if {path} is not None` 时使用,或给它一个值",
        )
    for name in re.findall(r"[A-Za-z_]\w*", scene.line):
        if scene.names.get(name, ...) is None:
            return Text(
                f"{name} is None: the function that made it returns nothing; end it with return (a forward, too)",
                f"{name} 是 None:得到它的函数没有返回值;在函数末尾写 return(forward 也一样)",
            )
    if scene.found("must be Tensor, not NoneType"):
        return Text("expected a tensor, got None: does forward end with return?", "应为张量,得到 None:forward 末尾写 return 了吗?")
    return None


@slip("FB-TYPE-06", AttributeError, r"'NoneType' object has no attribute '\w+'")
def attribute_of_none(scene: Scene) -> Text | None:
    for path in re.findall(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?=\.\w+)", scene.line):
        if scene.value(path) is None:
            owner = path.removesuffix(".grad")
            if path.endswith(".grad"):
                return Text(
                    f"{path} is None until a backward() has reached {owner}: call loss.backward() first, or write model.zero_grad()",
                    f"backward() 到达 {owner} 之前 {path} 是 None:先调用 loss.backward(),或写 model.zero_grad()",
                )
            return Text(
                f"{path} is None: the function that made it returns nothing; end it with return (a forward, too)",
                f"{path} 是 None:得到它的函数没有返回值;在函数末尾写 return(forward 也一样)",
            )
    return None


@slip("FB-TYPE-07", TypeError, r"'(\w+)' object is not iterable")
def optimizer_of_model(scene: Scene) -> Text | None:
    from flambeau.nn import Module

    model = scene.given("params")
    if not isinstance(model, Module):
        return None
    name = next((n for n, v in scene.names.items() if v is model), "model")
    return Text(
        f"expected the parameters, got the module: write {name}.parameters()", f"应为参数,得到的是模块:写 {name}.parameters()"
    )


@slip("FB-TYPE-08", RuntimeError, r"Boolean value of Tensor with more than one value is ambiguous")
def truth_of_many(scene: Scene) -> Text | None:
    for path in re.findall(r"[A-Za-z_][\w.]*(?=\()", scene.line):
        loss = scene.value(path)
        if isinstance(loss, type) and loss.__name__.endswith("Loss") and path.rpartition(".")[2] != loss.__name__:
            return Text(
                f"{path} is the class {loss.__name__}, whose arguments are settings: make the loss first, {path} = nn.{loss.__name__}(), with brackets",
                f"{path} 是类 {loss.__name__},它的参数是设置:先建损失函数,{path} = nn.{loss.__name__}(),要有括号",
            )
    made = re.search(r"\b(\w*Loss)\((?!\))", scene.line)
    if made is not None:
        return Text(
            f"{made[1]}(...) makes the loss, its arguments are settings: write {made[1]}()(pred, y)",
            f"{made[1]}(...) 是建损失函数,它的参数是设置:写 {made[1]}()(pred, y)",
        )
    return Text(
        "`if`, `and`, `or`, `not` want one truth: write (x > 0).any() or .all(); elementwise it is torch.where(x > 0, a, b), and & | ~ for and, or, not",
        "`if`、`and`、`or`、`not` 只要一个真假值:写 (x > 0).any() 或 .all();逐元素则用 torch.where(x > 0, a, b),以及 & | ~",
    )


@slip(
    "FB-TYPE-09",
    TypeError,
    r"only integer tensors of a single element can be converted to an index|can't convert .* to|expected np\.ndarray",
)
def numpy_or_index(scene: Scene) -> Text | None:
    if scene.found("index"):
        for operand in scene.operands:
            used = re.search(rf"(\w+)\[{re.escape(operand.name)}\]", scene.line)
            if operand.value.numel() > 1 and used is not None:
                return Text(
                    f"{used[1]} is a {type(scene.value(used[1])).__name__}, which takes one integer, and {operand.name} holds {operand.value.numel()}: "
                    f"write torch.tensor({used[1]})[{operand.name}], or [{used[1]}[k] for k in {operand.name}.tolist()]",
                    f"{used[1]} 是 {type(scene.value(used[1])).__name__},下标只能是一个整数,而 {operand.name} 有 {operand.value.numel()} 个:"
                    f"写 torch.tensor({used[1]})[{operand.name}],或 [{used[1]}[k] for k in {operand.name}.tolist()]",
                )
        return Text(
            "expected an integer: write int(x), or x.item() of an integer tensor", "应为整数:写 int(x),或整数张量的 x.item()"
        )
    return Text("from_numpy takes an array: write torch.tensor(x) for lists", "from_numpy 只接受数组:列表用 torch.tensor(x)")


@slip("FB-TYPE-10", ValueError, r"too many values to unpack|only one element tensors can be converted")
def list_of_tensors(scene: Scene) -> Text | None:
    if scene.found("only one element") and not re.search(r"\b(?:tensor|\w*Tensor|array|asarray)\(", scene.line):
        name = next((o.name for o in scene.operands if o.value.numel() != 1), "x")
        return Text(
            f"one number is meant here, and {name} holds others: write {name}.mean().item() or {name}[0].item(); for text, {name}.tolist()",
            f"这里要一个数,而 {name} 不是一个数:写 {name}.mean().item() 或 {name}[0].item();要文本则用 {name}.tolist()",
        )
    if scene.found("only one element"):
        return Text("a list of tensors becomes one by torch.stack(list)", "张量的列表用 torch.stack(list) 合成一个")
    value = next((v for v in scene.names.values() if isinstance(v, Tensor) and re.search(r"=\s*\w+\s*$", scene.line)), None)
    if value is None:
        return None
    return Text(
        "a tensor unpacks into its rows: this is one result, not several; write out = ..., or take columns, out[:, 0] and out[:, 1]",
        "张量解包得到的是各行:这里是一个结果,不是几个;写 out = ...,或取各列,out[:, 0] 和 out[:, 1]",
    )


@slip("FB-LOSS-01", RuntimeError, r"all elements of input should be between 0 and 1")
def scores_for_probabilities(scene: Scene) -> Text | None:
    return Text(
        "BCELoss takes probabilities: write nn.BCEWithLogitsLoss()(scores, y), which is exact, or BCELoss()(torch.sigmoid(scores), y)",
        "BCELoss 要概率:写 nn.BCEWithLogitsLoss()(scores, y)(数值更准),或 BCELoss()(torch.sigmoid(scores), y)",
    )


@slip("FB-TYPE-14", TypeError, r"unsupported format string passed to Tensor\.__format__")
def format_of_many(scene: Scene) -> Text | None:
    name = next((o.name for o in scene.operands), "x")
    return Text(
        f"a format such as .2f is for one number: write {name}.mean().item(), or [round(v, 2) for v in {name}.tolist()]; "
        "torch.set_printoptions(precision=2) is for printing tensors",
        f".2f 之类的格式只用于一个数:写 {name}.mean().item(),或 [round(v, 2) for v in {name}.tolist()];打印张量用 torch.set_printoptions(precision=2)",
    )


@slip("FB-TYPE-15", TypeError, r"iteration over a 0-d tensor|len\(\) of a 0-d tensor")
def iteration_over_one(scene: Scene) -> Text | None:
    name = next((o.name for o in scene.operands), "x")
    return Text(
        f"{name} is one number, and has nothing to go through: use {name}.item(), or go through what it was made of",
        f"{name} 只是一个数,没有可以逐个取的东西:用 {name}.item(),或遍历算出它的那个张量",
    )
