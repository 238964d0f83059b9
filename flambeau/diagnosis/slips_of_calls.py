"""Slips in a call: arguments that are missing, unknown or of another kind, and methods that are not called."""

from __future__ import annotations

import inspect
import re

from flambeau.core.keywords import meant
from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene
from flambeau.diagnosis.slips import slip
from flambeau.tensor import Tensor


@slip("FB-CALL-06", TypeError, r"received an invalid combination of arguments")
def other_arguments(scene: Scene) -> Text | None:
    found = scene.found(r"^(\w+)\(\).*but expected (\w+\(.*?\)) \((.*)\)$")
    if found is None:
        return None
    given = scene.found(r"got \((.*?)\), but expected")
    names = re.findall(r"[(,] *(\w+)", found[2].partition("*")[0])
    types = given[1].split(", ") if given is not None else []
    if "size" in names and (place := names.index("size")) + 1 < len(types) and set(types[place:]) == {"int"}:
        call = f"{found[1]}({', '.join(names[:place])}, ({', '.join('nmkl'[: len(types) - place])}))"
        return Text(f"the sizes are one argument here, a tuple: write {call}", f"这里大小是一个参数,即元组:写 {call}")
    return Text(f"{found[3]}: write {_short(found[2])}", f"参数不符({found[3]}):写 {_short(found[2])}")


@slip("FB-CALL-02", TypeError, r"missing \d+ required (?:positional|keyword-only) argument")
def missing_argument(scene: Scene) -> Text | None:
    found = scene.found(r"missing \d+ required [\w-]+ arguments?: ([^)]*)")
    assert found is not None
    lacking = found[1].strip().replace("'", "")
    call = scene.found(r"(\w+)\.(__init__|forward)\(\)")
    if call is not None and call[2] == "__init__":
        name = _written(scene, call[1])
        return Text(
            f"{name}(...) needs {lacking} too: write {name}({_parameters(scene, name) or lacking})",
            f"{name}(...) 还需要 {lacking}:写 {name}({_parameters(scene, name) or lacking})",
        )
    if call is not None and call[1].endswith("Loss"):
        return Text(f"a loss compares two: write loss_fn(pred, {lacking})", f"损失要比较两者:写 loss_fn(pred, {lacking})")
    if call is not None:
        return Text(
            f"forward of {call[1]} needs {lacking} too: give it in the call, or give it a default in def forward",
            f"{call[1]} 的 forward 还需要 {lacking}:调用时给出,或在 def forward 里给默认值",
        )
    if "self" in lacking.split(", "):
        return Text(
            "this is called on the class: make an object first, Net(), then call it", "这里是对类调用:先建对象 Net(),再调用"
        )
    passed = re.search(r"\w+\((\w+)\(\)\)", scene.line)
    if passed is not None and scene.message.startswith(f"{passed[1]}()"):
        return Text(
            f"{passed[1]}() is a call, and with nothing: to hand the function over write {passed[0].replace('()', '')}",
            f"{passed[1]}() 在这里就调用了它,而且没有参数:要把函数交出去,写 {passed[0].replace('()', '')}",
        )
    return Text(f"{lacking} is missing: give it in the call", f"缺少 {lacking}:调用时给出")


def _written(scene: Scene, base: str) -> str:
    """The class that the user's line calls, where Python names the base that has its ``__init__``."""
    for path in re.findall(r"[A-Za-z_][\w.]*(?=\()", scene.line):
        cls = scene.value(path)
        if isinstance(cls, type) and any(c.__name__ == base for c in cls.__mro__):
            return cls.__name__
    return base


def _parameters(scene: Scene, name: str) -> str:
    """The parameters of a class of flambeau's or the user's that have no default, as one writes them."""
    from flambeau import nn, optim
    from flambeau.optim import lr_scheduler

    cls = next((getattr(home, name) for home in (nn, optim, lr_scheduler) if hasattr(home, name)), None) or scene.names.get(name)
    try:
        signature = inspect.signature(cls)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    return ", ".join(
        p.name
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    )


@slip(
    "FB-CALL-03",
    TypeError,
    r"'(?:dim|axis|keepdim)' is an invalid keyword argument|\b(?:sum|max|min|abs|round|all|any|sorted)\(\) (?:got an unexpected|takes no) keyword",
)
def built_in_function(scene: Scene) -> Text | None:
    call = re.search(r"(?<![\w.])(sum|max|min|abs|round|all|any|sorted)\((\w+)", scene.line)
    if call is None or not isinstance(scene.names.get(call[2]), Tensor):
        return None
    method = {"sorted": "sort"}.get(call[1], call[1])
    return Text(
        f"this is Python's own {call[1]}, which knows no dims: write {call[2]}.{method}(dim=...), or torch.{method}",
        f"这是 Python 自带的 {call[1]},不认识维度:写 {call[2]}.{method}(dim=...),或 torch.{method}",
    )


@slip("FB-CALL-03", TypeError, r"got an unexpected keyword argument '\w+'")
def unknown_keyword(scene: Scene) -> Text | None:
    found = scene.found(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")
    if found is None:
        return None
    from flambeau import nn, optim

    target = next((getattr(home, found[1]) for home in (nn, optim) if hasattr(home, found[1])), None) or scene.names.get(found[1])
    known = list(inspect.signature(target).parameters) if callable(target) else []
    close = meant(found[2], known)
    if close:
        return Text(
            f"{found[1]} has no {found[2]!r}: did you mean {close!r}?", f"{found[1]} 没有参数 {found[2]!r}:你是想写 {close!r} 吗?"
        )
    names = ", ".join(n for n in known if n not in ("self", "args", "kwargs"))
    return Text(f"{found[1]} has no {found[2]!r}; it takes {names}", f"{found[1]} 没有参数 {found[2]!r};它接受 {names}")


@slip("FB-CALL-10", (TypeError, AttributeError), r"'type' object does not support the context manager protocol|__enter__")
def context_without_brackets(scene: Scene) -> Text | None:
    found = re.match(r"with ([\w.]+)", scene.line)
    if found is None or not isinstance(scene.value(found[1]), type):
        return None
    return Text(
        f"{found[1]} is a class: write with {found[1]}():, with brackets", f"{found[1]} 是类:写 with {found[1]}():,要有括号"
    )


@slip(
    "FB-CALL-04",
    TypeError,
    r"'(?:method|builtin_function_or_method|function)' object is not (?:iterable|subscriptable)|must be Tensor, not (?:method|builtin_function_or_method)"
    r"|unsupported operand type\(s\) for .*'(?:method|builtin_function_or_method)'",
)
def not_called(scene: Scene) -> Text | None:
    size = re.search(r"([\w.]+)\.size\[(.+?)\]", scene.line)
    if size is not None:
        return Text(
            f"size is a method: write {size[1]}.size({size[2]}), or {size[1]}.shape[{size[2]}]",
            f"size 是方法:写 {size[1]}.size({size[2]}),或 {size[1]}.shape[{size[2]}]",
        )
    for path in re.findall(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?![\w(])", scene.line):
        if inspect.ismethod(scene.value(path)) or inspect.isbuiltin(scene.value(path)):
            return Text(f"{path} is a method: call it, {path}()", f"{path} 是方法:要调用它,{path}()")
    return Text("a method is named where its result is meant: put () behind it", "这里需要方法的结果:在后面加 ()")


@slip("FB-CALL-05", TypeError, r"'(?:Size|dtype|device|Tensor)' object is not callable")
def called_by_mistake(scene: Scene) -> Text | None:
    found = re.search(r"([\w.]+)\.(shape|dtype|device|grad|data|T)\(", scene.line)
    if found is None:
        return None
    return Text(
        f"{found[2]} is a value, not a method: write {found[1]}.{found[2]}, without ()",
        f"{found[2]} 是值,不是方法:写 {found[1]}.{found[2]},不加 ()",
    )


def _short(signature: str) -> str:
    """A signature without what has defaults."""
    name, _, inside = signature.partition("(")
    needed = [part.strip() for part in inside.rstrip(")").split(",") if "=" not in part and part.strip() != "*"]
    return f"{name}({', '.join(needed)})"


@slip("FB-GRAPH-08", AttributeError, r"'(?:float|int)' object has no attribute 'backward'")
def backward_of_number(scene: Scene) -> Text | None:
    return Text(
        "this loss is a Python number, item() has made it one: keep the tensor for backward(), and use item() for printing alone",
        "这个损失是 Python 数,是 item() 的结果:对张量调用 backward(),item() 只用于打印",
    )


@slip(
    "FB-TYPE-11",
    TypeError,
    r"unsupported operand type\(s\) for .*'Tensor' and '(?:list|str)'|unsupported operand type\(s\) for .*'(?:list|str)' and 'Tensor'",
)
def tensor_with_list(scene: Scene) -> Text | None:
    return Text(
        "expected a tensor or a number on either side: write torch.tensor(the list)", "两边都应是张量或数:写 torch.tensor(列表)"
    )


@slip(
    "FB-TYPE-12",
    TypeError,
    r"can only concatenate tuple|unsupported operand type\(s\) for .*'(?:tuple|max|min|sort|topk|median|mode)'",
)
def pair_of_results(scene: Scene) -> Text | None:
    return Text(
        "max, min, sort, topk and median along a dim give (values, indices): write x.max(dim=1).values, or values, indices = x.max(dim=1)",
        "沿维的 max、min、sort、topk、median 返回 (values, indices):写 x.max(dim=1).values,或 values, indices = x.max(dim=1)",
    )


@slip("FB-TYPE-17", TypeError, r"can only concatenate str \(not \"Tensor\"\) to str")
def text_and_tensor(scene: Scene) -> Text | None:
    name = next((n for n in re.findall(r"[A-Za-z_]\w*", scene.line) if isinstance(scene.names.get(n), Tensor)), "x")
    one = isinstance(tensor := scene.names.get(name), Tensor) and tensor.numel() == 1
    return Text(
        f"text and a tensor cannot be added: write print('...', {name}), or f'... {{{name}{'.item():.4f' if one else ''}}}'",
        f"文字和张量不能相加:写 print('...', {name}),或 f'... {{{name}{'.item():.4f' if one else ''}}}'",
    )


@slip("FB-OPTIM-07", TypeError, r"'float' object is not (?:subscriptable|iterable)|cannot unpack non-iterable float")
def one_beta(scene: Scene) -> Text | None:
    beta = scene.given("betas")
    if not isinstance(beta, float):
        return None
    return Text(
        f"Adam takes two betas, for the gradient and for its square: write betas=({beta}, 0.999); momentum={beta} is SGD's",
        f"Adam 的 betas 是两个数,分别用于梯度和它的平方:写 betas=({beta}, 0.999);momentum={beta} 是 SGD 的参数",
    )


@slip("FB-OPTIM-03", (TypeError, ValueError), r"params argument given to the optimizer should be an iterable")
def one_tensor(scene: Scene) -> Text | None:
    tensor = scene.given("params")
    name = next((n for n, v in scene.names.items() if v is tensor), "w") if isinstance(tensor, Tensor) else "w"
    return Text(f"expected a list of parameters: write [{name}]", f"应为参数的列表:写 [{name}]")


@slip(
    "FB-OPTIM-04",
    (TypeError, ValueError),
    r"Invalid (?:learning rate|lr|momentum|weight_decay)|'<=?' not supported between instances of 'float' and 'str'",
)
def wrong_rate(scene: Scene) -> Text | None:
    return Text(
        "expected a number of 0 or more: write lr=0.1, without quotes or sign", "应为不小于 0 的数:写 lr=0.1,不加引号和负号"
    )


@slip("FB-STATE-02", TypeError, r"Expected state_dict to be dict-like")
def path_for_state(scene: Scene) -> Text | None:
    return Text(
        "load_state_dict takes what torch.load gives: model.load_state_dict(torch.load(path))",
        "load_state_dict 要的是 torch.load 的结果:model.load_state_dict(torch.load(path))",
    )


@slip("FB-MODULE-04", TypeError, r"cannot assign '.*' as (?:parameter|child module)")
def assigned_to_parameter(scene: Scene) -> Text | None:
    found = scene.found(r"as (parameter|child module) '(\w+)'")
    if found is None:
        return None
    if found[1] == "parameter":
        return Text(
            f"{found[2]} is a parameter: write `with torch.no_grad(): m.{found[2]}.copy_(values)`, or m.{found[2]} = nn.Parameter(values)",
            f"{found[2]} 是参数:写 `with torch.no_grad(): m.{found[2]}.copy_(values)`,或 m.{found[2]} = nn.Parameter(values)",
        )
    return Text(
        f"{found[2]} is a layer: give its result another name than self.{found[2]}",
        f"{found[2]} 是层:结果不要赋给 self.{found[2]},换个名字",
    )


@slip("FB-DATA-02", ValueError, r"expected sequence of length \d+ at dim \d+|too many dimensions 'str'")
def no_table(scene: Scene) -> Text | None:
    if scene.found("'str'"):
        return Text(
            "tensors hold numbers: give each word a number, {w: i for i, w in enumerate(words)}",
            "张量只存数:给每个词一个编号,{w: i for i, w in enumerate(words)}",
        )
    return Text(
        "rows must be of one length: pad them, nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)",
        "各行长度必须相同:填充,nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)",
    )


@slip("FB-DATA-03", TypeError, r"object of type '\w+' has no len\(\)")
def no_length(scene: Scene) -> Text | None:
    from flambeau.utils.data import Dataset

    found = scene.found(r"object of type '(\w+)'")
    assert found is not None
    if not any(
        isinstance(v, Dataset) or isinstance(v, type) and issubclass(v, Dataset) and v.__name__ == found[1]
        for v in scene.names.values()
    ):
        return None
    return Text(
        f"{found[1]} has no length: add def __len__(self): return len(self.data)",
        f"{found[1]} 没有长度:加上 def __len__(self): return len(self.data)",
    )


@slip("FB-DEVICE-01", (AssertionError, RuntimeError), r"Torch not compiled with CUDA enabled")
def no_cuda(scene: Scene) -> Text | None:
    return Text(
        "there is no CUDA here: write device = 'cuda' if torch.cuda.is_available() else 'cpu', and x.to(device)",
        "这里没有 CUDA:写 device = 'cuda' if torch.cuda.is_available() else 'cpu',以及 x.to(device)",
    )


@slip("FB-DEVICE-01", RuntimeError, r"Expected one of cpu, cuda, .* device type at start of device string")
def unknown_device(scene: Scene) -> Text | None:
    return Text("devices are called 'cpu' and 'cuda': here there is 'cpu' alone", "设备名是 'cpu' 和 'cuda':这里只有 'cpu'")


@slip("FB-STATE-02", AttributeError, r"expected 'f' to be string, path, or a file-like object")
def saved_the_other_way_round(scene: Scene) -> Text | None:
    return Text(
        "what is saved comes first, then the path: torch.save(model.state_dict(), 'net.pt')",
        "先写要保存的,再写路径:torch.save(model.state_dict(), 'net.pt')",
    )


@slip("FB-CALL-07", TypeError, r"takes \d+ positional arguments? but \d+ (?:was|were) given")
def too_many(scene: Scene) -> Text | None:
    found = scene.found(r"(\w+)\.(\w+)\(\) takes (\d+) positional arguments? but (\d+)")
    if found is None:
        return None
    name, method, takes = _written(scene, found[1]), found[2], int(found[3])
    cls = scene.names.get(name)
    if method == "__init__" and takes == 1 and isinstance(cls, type):
        return Text(
            f"{name}(...) makes a net, and its __init__ takes nothing: make it first and then call it, {name}()(x)",
            f"{name}(...) 是建网络,它的 __init__ 没有参数:先建再调用,{name}()(x)",
        )
    if method == "forward" and takes == 1:
        return Text(
            f"forward of {name} lacks self: write def forward(self, x)", f"{name} 的 forward 缺少 self:写 def forward(self, x)"
        )
    return Text(
        f"{name}.{method} takes {takes - 1} arguments (self aside), got {int(found[4]) - 1}: leave out the rest",
        f"{name}.{method} 接受 {takes - 1} 个参数(不算 self),得到 {int(found[4]) - 1} 个:去掉多余的",
    )


@slip("FB-CALL-08", TypeError, r"'module' object is not callable")
def module_called(scene: Scene) -> Text | None:
    for path in re.findall(r"[A-Za-z_]\w*(?:\.\w+)+(?=\()", scene.line):
        module = scene.value(path)
        if inspect.ismodule(module):
            name = path.rpartition(".")[2]
            close = next((n for n in dir(module) if n.lower() == name.lower() and n != name and callable(getattr(module, n))), None)
            if close is not None:
                mended = f"{path.rpartition('.')[0]}.{close}"
                return Text(
                    f"{path} is a module; the class in it begins with a capital: write {mended}(...)",
                    f"{path} 是模块;其中的类以大写开头:写 {mended}(...)",
                )
    return None


@slip(
    "FB-CALL-09",
    TypeError,
    r"'\w+' object cannot be interpreted as an integer|must be tuple of ints|found element of type float|must be int, not float|must be int, not str",
)
def size_that_is_no_integer(scene: Scene) -> Text | None:
    keyword = scene.found(r"found element of type (?:torch\.)?(device|dtype)|must be tuple of ints, not (?:torch\.)?(device|dtype)")
    if keyword is not None:
        name = keyword[1] or keyword[2]
        return Text(f"after the sizes come keywords: write {name}=...", f"大小之后用关键字参数:写 {name}=...")
    for name in re.findall(r"[A-Za-z_]\w*", scene.line):
        value = scene.names.get(name)
        if isinstance(value, float) and value.is_integer():
            return Text(
                f"sizes are integers, and {name} is {value!r}: `/` gives a float; divide with //, or write int({name})",
                f"大小应为整数,而 {name} 是 {value!r}:`/` 得到浮点数;用 // 相除,或写 int({name})",
            )
    if re.search(r"[^/]/[^/]", scene.line):
        return Text("sizes are integers, and `/` gives a float: divide with //", "大小应为整数,而 `/` 得到浮点数:用 // 相除")
    return Text("sizes are integers: write int(n)", "大小应为整数:写 int(n)")


@slip("FB-OPTIM-05", TypeError, r"is not an Optimizer")
def scheduler_of_something_else(scene: Scene) -> Text | None:
    from flambeau.optim import Optimizer

    name = next((n for n, v in scene.names.items() if isinstance(v, Optimizer)), "optimizer")
    return Text(
        f"a scheduler changes the learning rate of an optimizer: give it that, not the model, StepLR({name}, ...)",
        f"调度器改变的是优化器的学习率:把优化器而不是模型给它,StepLR({name}, ...)",
    )
