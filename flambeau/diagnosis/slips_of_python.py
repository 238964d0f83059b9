"""Slips of the pen, and names: what Python refuses before a tensor is reached."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys

from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene
from flambeau.diagnosis.slips import slip
from flambeau.tensor import Tensor

_FULL_WIDTH = dict(
    zip("（）【】，、：；“”‘’！＝＋－−–—＊×／÷．　\u00a0《》｛｝＃", "()[],,:;\"\"''!=+----**//.  <>{}#", strict=True)
)
_FULL_WIDTH |= {"≤": "<=", "≥": ">=", "≠": "!="} | {chr(0xFF10 + digit): str(digit) for digit in range(10)}

_ELSEWHERE = {  # names of other frameworks, and what they are called here
    "Dense": "nn.Linear(in_features, out_features)",
    "Conv2D": "nn.Conv2d",
    "MaxPooling2D": "nn.MaxPool2d",
    "BatchNormalization": "nn.BatchNorm1d or nn.BatchNorm2d",
    "Activation": "nn.ReLU() or another layer of its own",
    "Input": "nothing: modules take their inputs when they are called",
    "concatenate": "torch.cat([a, b], dim=0)",
    "concat_v2": "torch.cat([a, b], dim=0)",
    "reduce_mean": "torch.mean",
    "reduce_sum": "torch.sum",
    "array": "torch.tensor",
    "random": "torch.rand or torch.randn",
    "constant": "torch.tensor",
    "placeholder": "nothing: call the model with the data",
}
_METHODS_ELSEWHERE = {  # methods that arrays and lists have
    "astype": "x.to(torch.float32)",
    "copy": "x.clone()",
    "ndims": "x.ndim",
    "append": "torch.cat([x, y]), or a Python list and torch.stack at the end",
    "shape_": "x.shape",
    "zero": "x.zero_(): methods that write in place end in _",
    "cuda_": "x.to(device)",
    "len": "len(x)",
    "attach_grad": "x.requires_grad_()",
    "as_in_ctx": "x.to(device)",
    "as_in_context": "x.to(device)",
    "asnumpy": "x.detach().numpy()",
    "asscalar": "x.item()",
}

_MODULES_ELSEWHERE = {  # methods that models have in other frameworks
    "add": "net.append(layer), or all layers at once in nn.Sequential(...)",
    "initialize": "nothing: weights are drawn when a layer is made; net.apply(f) changes them",
    "collect_params": "net.parameters()",
    "fit": "a loop: loss = loss_fn(net(x), y), optimizer.zero_grad(), loss.backward(), optimizer.step()",
    "predict": "net(x), under net.eval() and torch.no_grad()",
    "hybridize": "net = torch.compile(net), or nothing",
    "summary": "print(net)",
}
_PACKAGES = {"cv2": "opencv-python", "PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image", "yaml": "pyyaml"}


@slip("FB-SYNTAX-01", SyntaxError)
def full_width(scene: Scene) -> Text | None:
    found = [c for c in scene.line if c in _FULL_WIDTH]
    if not found or not scene.found("invalid character|invalid non-printable|invalid decimal|unterminated string"):
        return None
    mended = "".join(_FULL_WIDTH.get(c, c) for c in scene.line).strip()
    return Text(
        f"{found[0]!r} is full-width punctuation of a Chinese keyboard or a web page; Python takes {_FULL_WIDTH[found[0]]!r}: write {mended}",
        f"{found[0]!r} 是全角标点(中文输入法或网页带来的);Python 只认半角的 {_FULL_WIDTH[found[0]]!r}:写成 {mended}",
    )


@slip("FB-SYNTAX-02", SyntaxError)
def semicolon(scene: Scene) -> Text | None:
    if not re.search(r"\)\s*;\s*$", scene.line):
        return None
    mended = scene.line.strip()[:-1].rstrip() + ","
    return Text(
        f"arguments are separated by commas, here is a semicolon: write {mended}", f"参数之间用逗号分隔,这里是分号:写成 {mended}"
    )


@slip("FB-SYNTAX-03", SyntaxError, "expected ':'|was never closed|unmatched|forgot a comma")
def bracket_or_colon(scene: Scene) -> Text | None:
    if scene.found("expected ':'"):
        return Text(f"the line ends without a colon: write {scene.line.strip()}:", f"行末缺少冒号:写成 {scene.line.strip()}:")
    if scene.found("forgot a comma"):
        return Text("two values stand beside each other: put a comma between them", "两个值之间缺少逗号:请补上")
    return Text(
        "brackets do not match: count those on this line, every ( needs one )", "括号不配对:数一数这一行的括号,每个 ( 都要有一个 )"
    )


@slip("FB-SYNTAX-04", IndentationError)
def indentation(scene: Scene) -> Text | None:
    if scene.found("expected an indented block"):
        return Text(
            "what belongs to the line above must stand further to the right, by four spaces: text that is copied from web pages has often lost them",
            "属于上一行的语句要向右缩进四个空格:从网页复制的代码常常丢失缩进",
        )
    return Text(
        "lines of one block begin in one column, with spaces alone: set this line below those that it belongs to",
        "同一代码块的各行从同一列开始,只用空格:把这一行与同块的行对齐",
    )


@slip("FB-SYNTAX-05", SyntaxError, r"Missing parentheses in call to|invalid syntax")
def another_python(scene: Scene) -> Text | None:
    if scene.found("Missing parentheses"):
        words = scene.line.strip().split(None, 1)
        mended = f"{words[0]}({words[1]})" if len(words) == 2 else "print(...)"
        return Text(
            f"this is Python 2; today print is a function: write {mended}", f"这是 Python 2 的写法;现在 print 是函数:写成 {mended}"
        )
    column = (getattr(scene.error, "offset", None) or 1) - 1
    rest, before = scene.line[column:].strip(), scene.line[:column].strip()
    if not before:
        return None
    if not rest:
        return Text(f"the line is not finished: {before} ...", f"这一行没有写完:{before} ...")
    return Text(
        f"Python cannot go on at {rest!r}: a second statement belongs on a line of its own, a second value behind a comma",
        f"Python 在 {rest!r} 处读不下去:第二条语句要另起一行,第二个值之前要有逗号",
    )


@slip("FB-NAME-01", UnboundLocalError)
def unbound_local(scene: Scene) -> Text | None:
    name = scene.found(r"'(\w+)'")
    if name is None or scene.frame is None:
        return None
    code = scene.frame.f_code
    given = ", ".join(inspect.getargs(code).args)
    return Text(
        f"{code.co_name}() was given ({given}). It assigns {name[1]!r} itself, so {name[1]!r} is local and valueless before that: expected one "
        f"of the names it was given, or {name[1]!r} among its parameters",
        f"{code.co_name}() 的参数是 ({given})。它自己给 {name[1]!r} 赋值,所以在那之前 {name[1]!r} 是没有值的局部变量:请用它得到的某个参数名,或把 {name[1]!r} 加进参数表",
    )


@slip("FB-NAME-02", NameError)
def letter_for_digit(scene: Scene) -> Text | None:
    name = getattr(scene.error, "name", None) or ""
    if not (re.fullmatch(r"[lI]e\d*", name) and re.search(rf"\b{name}-?\d", scene.line)):
        return None
    return Text(
        "a number starts with a digit: expected 1e-6 (one), got le-6 (the letter l), which is `le` minus 6",
        "数字要以数字开头:应为 1e-6(数字一),这里是 le-6(字母 l),Python 读成 `le` 减 6",
    )


@slip("FB-NAME-03", NameError)
def super_of_other(scene: Scene) -> Text | None:
    name = getattr(scene.error, "name", None) or ""
    if f"super({name}, self)" not in scene.line:
        return None
    return Text(
        f"super() takes the class it stands in, not {name!r}: write super().__init__()",
        f"super() 要的是它所在的类,而不是 {name!r}:写成 super().__init__()",
    )


@slip("FB-NAME-04", NameError)
def without_torch(scene: Scene) -> Text | None:
    import flambeau

    name = getattr(scene.error, "name", None) or ""
    homes = {"nn": "import torch.nn as nn", "F": "import torch.nn.functional as F", "np": "import numpy as np", "optim": "import torch.optim as optim",
             "plt": "import matplotlib.pyplot as plt", "torch": "import torch", "Variable": "from torch.autograd import Variable",
             "DataLoader": "from torch.utils.data import DataLoader", "Dataset": "from torch.utils.data import Dataset",
             "TensorDataset": "from torch.utils.data import TensorDataset"}  # fmt: skip
    if hasattr(scene.names.get("self"), name):
        return Text(f"{name} belongs to the module: write self.{name}", f"{name} 属于模块:写 self.{name}")
    spelt = {"true": "True", "false": "False", "null": "None", "none": "None", "nan": "float('nan')", "inf": "float('inf')"}
    if name in spelt:
        return Text(f"Python spells it {spelt[name]}", f"Python 里写作 {spelt[name]}")
    if isinstance(getattr(flambeau, name, None), flambeau.dtype):
        return Text(f"dtypes are torch's: write torch.{name}", f"dtype 在 torch 里:写 torch.{name}")
    if name in homes:
        return Text(
            f"{name!r} is not imported: begin the program with {homes[name]}", f"没有导入 {name!r}:在程序开头写 {homes[name]}"
        )
    close = difflib.get_close_matches(name, [n for n in scene.names if not n.startswith("__")], n=1, cutoff=0.66)
    if close:
        return Text(f"{name!r} has no value here: did you mean {close[0]!r}?", f"这里没有 {name!r}:你是想写 {close[0]!r} 吗?")
    if f"{name}(" in scene.line and hasattr(flambeau, name):
        return Text(
            f"{name}() is torch's: write torch.{name}(...), or from torch import {name}",
            f"{name}() 是 torch 的:写成 torch.{name}(...),或 from torch import {name}",
        )
    from flambeau import nn

    if f"{name}(" in scene.line and hasattr(nn, name):
        return Text(
            f"{name} is a layer of torch.nn: write torch.nn.{name}(...)", f"{name} 在 torch.nn 里:写成 torch.nn.{name}(...)"
        )
    return Text(
        f"{name!r} has no value here: assign it, or import it, before this line", f"这里没有 {name!r}:在这一行之前给它赋值或导入它"
    )


@slip("FB-IMPORT-01", ImportError)
def missing_import(scene: Scene) -> Text | None:
    root = (getattr(scene.error, "name", None) or "").partition(".")[0]
    if root.lower() in ("pytorch", "touch", "troch"):
        return Text("the package is called torch: write import torch", "这个包叫 torch:写 import torch")
    if isinstance(scene.error, ModuleNotFoundError) and root and scene.error.name == root and root not in ("flambeau", "torch"):
        package = _PACKAGES.get(root, root)
        return Text(
            f"{root} is not installed here: python -m pip install {package}, with the python that runs the program ({sys.executable})",
            f"这里没有安装 {root}:python -m pip install {package},要用运行程序的那个 python({sys.executable})",
        )
    if root not in ("flambeau", "torch"):  # which is flambeau under the disguise
        return None
    return Text(
        "flambeau does not have this name of PyTorch's yet; dir() of the module lists what it has",
        "flambeau 还没有 PyTorch 的这个名字;对模块用 dir() 可以列出它有什么",
    )


@slip("FB-NAME-05", AttributeError, r"module '(?:torch|flambeau)[\w.]*' has no attribute '\w+'")
def missing_in_module(scene: Scene) -> Text | None:
    found = scene.found(r"module '(?:torch|flambeau)([\w.]*)' has no attribute '(\w+)'")
    assert found is not None
    place, name = found[1].strip("."), found[2]
    if name in _ELSEWHERE:
        return Text(f"torch calls it {_ELSEWHERE[name]}", f"在 torch 里它叫 {_ELSEWHERE[name]}")
    module = sys.modules.get("flambeau" + found[1])
    here = [n for n in dir(module) if not n.startswith("_")]
    close = [n for n in here if n.lower() == name.lower()] or difflib.get_close_matches(name, here, n=1, cutoff=0.7)
    if not close:
        return None
    spelt = ".".join(filter(None, ("torch", place, close[0])))
    return Text(f"did you mean {spelt}?", f"你是想写 {spelt} 吗?")


@slip("FB-NAME-08", AttributeError)
def method_of_another(scene: Scene) -> Text | None:
    """What a training loop calls on the wrong one of model, loss and optimizer."""
    from flambeau.nn import Module
    from flambeau.optim import Optimizer

    error = scene.error
    if not (isinstance(error, AttributeError) and isinstance(error.obj, (Tensor, Module, Optimizer))):
        return None
    owners: dict[str, tuple[type, str, str, str]] = {
        "zero_grad": (Optimizer, "optimizer", "optimizers and models", "优化器和模型"),
        "step": (Optimizer, "optimizer", "optimizers", "优化器"),
        "backward": (Tensor, "loss", "the loss", "损失"),
        "parameters": (Module, "model", "models", "模型"),
        "eval": (Module, "model", "models", "模型"),
        "train": (Module, "model", "models", "模型"),
    }
    if error.name not in owners:
        return None
    kind, name, en, zh = owners[error.name]
    known = [n for n, v in scene.names.items() if isinstance(v, kind) and not n.startswith("_")]
    name = name if name in known or not known else known[-1]
    arguments = f"{name}.parameters()" if error.name == "parameters" else f"{name}.{error.name}()"
    return Text(f"{error.name}() is a method of {en}: write {arguments}", f"{error.name}() 是{zh}的方法:写 {arguments}")


@slip("FB-NAME-06", AttributeError)
def missing_in_tensor(scene: Scene) -> Text | None:
    error = scene.error
    if not (isinstance(error, AttributeError) and isinstance(error.obj, Tensor)):
        return None
    name = error.name or ""
    if name in _METHODS_ELSEWHERE:
        return Text(f"tensors have no {name}; write {_METHODS_ELSEWHERE[name]}", f"张量没有 {name};写成 {_METHODS_ELSEWHERE[name]}")
    close = difflib.get_close_matches(name, [n for n in dir(error.obj) if not n.startswith("_")], n=1, cutoff=0.7)
    if close:
        return Text(f"did you mean {close[0]}?", f"你是想写 {close[0]} 吗?")
    return Text(
        f"flambeau's Tensor has no {name!r}; dir(torch.Tensor) lists what it has",
        f"flambeau 的 Tensor 没有 {name!r};dir(torch.Tensor) 可以列出它有什么",
    )


@slip("FB-TYPE-12", AttributeError, r"'(?:max|min|sort|topk|median|mode|kthvalue|cummax|cummin)' object has no attribute")
def one_of_two_results(scene: Scene) -> Text | None:
    error = scene.error
    pair = getattr(error, "obj", None)
    if not (isinstance(pair, tuple) and hasattr(pair, "values")):
        return None
    op = type(pair).__name__
    name = next((n for n in re.findall(r"[A-Za-z_]\w*", scene.line) if scene.names.get(n) is pair), "it")
    larger = {"max": ("; for the larger of each number and 0, x.clamp(min=0)", ";要每个数与 0 中较大的,写 x.clamp(min=0)")}
    more = larger.get(op, ("", ""))
    return Text(
        f"{op} along a dim gives (values, indices): write {name}.values{more[0]}",
        f"沿维的 {op} 返回 (values, indices):写 {name}.values{more[1]}",
    )


@slip("FB-NAME-07", AttributeError)
def model_of_another_framework(scene: Scene) -> Text | None:
    from flambeau.nn import Module

    error = scene.error
    if not (isinstance(error, AttributeError) and isinstance(error.obj, Module)):
        return None
    kind, name = type(error.obj).__name__, error.name or ""
    if name in _MODULES_ELSEWHERE:
        return Text(f"modules have no {name}; write {_MODULES_ELSEWHERE[name]}", f"模块没有 {name};写 {_MODULES_ELSEWHERE[name]}")
    inside = [n for n, layer in error.obj.named_children() if n.isdigit() and hasattr(layer, name)]
    if inside:
        owner = re.search(rf"([\w.]+)\.{re.escape(name)}\b", scene.line)
        path = owner[1] if owner is not None else "net"
        return Text(
            f"{kind} has no {name}, its layers have: write {path}[{inside[0]}].{name}",
            f"{kind} 没有 {name},它里面的层才有:写 {path}[{inside[0]}].{name}",
        )
    return None


@slip("FB-TYPE-16", (AttributeError, TypeError), r"'tuple' object (?:has no attribute|is not callable)")
def comma_at_the_end(scene: Scene) -> Text | None:
    for path in re.findall(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", scene.line):
        path = path.removesuffix(f".{getattr(scene.error, 'name', None)}")
        value = scene.value(path)
        if not isinstance(value, tuple):
            continue
        if len(value) == 1 and (made := scene.search(rf"{re.escape(path)}\s*=.*,\s*(?:#.*)?$")):
            return Text(
                f"{path} is a tuple of one, because of the comma at the end of {made[0].strip()!r}: take the comma away",
                f"{path} 是只有一个元素的元组,因为 {made[0].strip()!r} 末尾有逗号:去掉逗号",
            )
        if value and all(isinstance(part, Tensor) for part in value) and isinstance(scene.error, AttributeError):
            return Text(
                f"{path} is a tuple of {len(value)} tensors, as the state of an LSTM is: write tuple(t.{scene.error.name}() for t in {path}), or take "
                f"one, {path}[0]",
                f"{path} 是 {len(value)} 个张量的元组(LSTM 的状态就是这样):写 tuple(t.{scene.error.name}() for t in {path}),或取一个,{path}[0]",
            )
    return None


@slip("FB-CALL-01", AttributeError)
def layer_for_result(scene: Scene) -> Text | None:
    from flambeau.nn import Module

    error = scene.error
    if not (isinstance(error, AttributeError) and isinstance(error.obj, Module) and hasattr(Tensor, error.name or "")):
        return None
    name = type(error.obj).__name__
    return Text(
        f"{name}(...) makes a layer; expected a tensor here: make the layer first, then call it with the data, {name}()(x)",
        f"{name}(...) 只是建一个层;这里需要张量:先建层,再用数据调用它,{name}()(x)",
    )


@slip("FB-NAME-07", AttributeError)
def missing_in_object(scene: Scene) -> Text | None:
    from flambeau.nn import Module

    error = scene.error
    owner = error.obj if isinstance(error, AttributeError) else None
    if not (isinstance(owner, Module) or type(owner).__module__.partition(".")[0] in ("flambeau", "torch")):
        return None
    own = [n for n in dir(owner) if not n.startswith("_")]
    close = difflib.get_close_matches(getattr(error, "name", None) or "", own, n=1, cutoff=0.6)
    if not close:
        return Text(
            f"{type(owner).__name__} has no {getattr(error, 'name', '')!r}: is it assigned to self in __init__, under this name?",
            f"{type(owner).__name__} 没有 {getattr(error, 'name', '')!r}:在 __init__ 里用这个名字赋给 self 了吗?",
        )
    return Text(
        f"{type(owner).__name__} has {close[0]!r}: did you mean that?", f"{type(owner).__name__} 有 {close[0]!r}:你是想写它吗?"
    )


@slip("FB-MODULE-01", (AttributeError, TypeError), r"before Module\.__init__\(\) call")
def no_super_init(scene: Scene) -> Text | None:
    return Text(
        "layers are registered by nn.Module.__init__: make super().__init__() the first line of __init__",
        "层要由 nn.Module.__init__ 登记:把 super().__init__() 写在 __init__ 的第一行",
    )


@slip("FB-MODULE-02", TypeError, r"did you mean '__init__'")
def misspelt_init(scene: Scene) -> Text | None:
    found = scene.found(r"defines '(\w+)'")
    name = found[1] if found else "_init_"
    return Text(
        f"write __init__, with two underscores on either side, instead of {name}", f"把 {name} 写成 __init__,两边各两个下划线"
    )


@slip("FB-MODULE-03", NotImplementedError, r'Module \[\w+\] is missing the required "forward" function')
def no_forward(scene: Scene) -> Text | None:
    found = scene.found(r"Module \[(\w+)\]")
    assert found is not None
    if found[1] in ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict"):
        return Text(
            f"a {found[1]} only keeps its modules, it does not say in which order they run: use nn.Sequential(*layers), or "
            "`for layer in self.layers: x = layer(x)`",
            f"{found[1]} 只是存放模块,并没有规定怎样运行:用 nn.Sequential(*layers),或 `for layer in self.layers: x = layer(x)`",
        )
    return Text(
        f"expected a method forward(self, ...) in class {found[1]}, got none: is it misspelt, or indented too far?",
        f"类 {found[1]} 里应有方法 forward(self, ...),但没有:是拼错了,还是缩进太深?",
    )


@slip("FB-DATA-09", FileNotFoundError)
def no_such_file(scene: Scene) -> Text | None:
    error = scene.error
    name = error.filename if isinstance(error, FileNotFoundError) and isinstance(error.filename, str) else ""
    if not name or os.path.isabs(name):
        return None
    script = os.path.dirname(scene.site[0]) if scene.site else ""
    if script and os.path.exists(os.path.join(script, name)):
        return Text(
            f"{name} lies beside the script, and the program runs in {os.getcwd()}: write os.path.join(os.path.dirname(__file__), {name!r})",
            f"{name} 在脚本旁边,而程序运行在 {os.getcwd()}:写 os.path.join(os.path.dirname(__file__), {name!r})",
        )
    folder = os.path.dirname(name) or "."
    there = [n for n in os.listdir(folder) if os.path.splitext(n)[1] == os.path.splitext(name)[1]] if os.path.isdir(folder) else []
    close = difflib.get_close_matches(os.path.basename(name), there, n=1, cutoff=0.7)
    if close:
        return Text(
            f"there is {close[0]!r} in {os.path.abspath(folder)}: did you mean that?",
            f"{os.path.abspath(folder)} 里有 {close[0]!r}:你是想写它吗?",
        )
    return Text(
        f"{name} was looked for in {os.path.abspath(folder)}: is it written there, or is the program started in another folder?",
        f"在 {os.path.abspath(folder)} 里找 {name}:它写到那里了吗?程序是不是从别的文件夹启动的?",
    )
