"""Slips around data sets, loaders and files: what a batch is, what a file holds, and numbers that are gone through."""

from __future__ import annotations

import re

from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene
from flambeau.diagnosis.slips import slip
from flambeau.tensor import Tensor


@slip("FB-DATA-07", TypeError, r"can't convert np\.ndarray of type numpy\.(?:object_|str_)")
def objects_in_an_array(scene: Scene) -> Text | None:
    return Text(
        "the array holds objects (None, text, rows of several lengths) and not numbers: look at a.dtype, fill the gaps, and write a.astype(np.float32)",
        "数组里是对象(None、文字、长短不一的行)而不是数:看一下 a.dtype,补上缺失值,再写 a.astype(np.float32)",
    )


@slip("FB-DATA-10", (ValueError, TypeError), r"values to unpack \(expected \d|must be Tensor, not int")
def numbered_batches(scene: Scene) -> Text | None:
    """``enumerate`` without brackets around the parts of the batch, or brackets without ``enumerate``."""
    if scene.found("must be Tensor"):
        for number in re.findall(r"[A-Za-z_]\w*", scene.line):
            batch = rf"for {number}, *(\w+) in enumerate\((\w+)"
            if isinstance(scene.names.get(number), int) and (loop := scene.search(batch)):
                return Text(
                    f"enumerate gives a number and a batch, and {number} is the number: write for i, ({number}, {loop[1]}) in enumerate({loop[2]}), or "
                    f"for {number}, {loop[1]} in {loop[2]}",
                    f"enumerate 给出序号和一批,而 {number} 是序号:写 for i, ({number}, {loop[1]}) in enumerate({loop[2]}),"
                    f"或 for {number}, {loop[1]} in {loop[2]}",
                )
        return None
    flat = re.match(r"for (\w+), *(\w+(?:, *\w+)+) in (enumerate\(.*\)):", scene.line)
    if flat is not None:
        return Text(
            f"enumerate gives two things, a number and a batch: write for {flat[1]}, ({flat[2]}) in {flat[3]}:",
            f"enumerate 给出两样东西,序号和一批:写 for {flat[1]}, ({flat[2]}) in {flat[3]}:",
        )
    nested = re.match(r"for (\w+), *\((.*)\) in ((?!enumerate\b|zip\b)[\w.]+):", scene.line)
    if nested is not None:
        return Text(
            f"a loader gives batches without numbers: write for {nested[1]}, ({nested[2]}) in enumerate({nested[3]}):",
            f"加载器给出一批批数据,没有序号:写 for {nested[1]}, ({nested[2]}) in enumerate({nested[3]}):",
        )
    return None


@slip("FB-DATA-08", ValueError, r"(?:not enough|too many) values to unpack \(expected \d")
def parts_of_a_batch(scene: Scene) -> Text | None:
    from flambeau.utils.data import DataLoader, TensorDataset

    if not re.match(r"for .+ in ", scene.line):
        return None
    loader = next(
        (v for n, v in scene.names.items() if isinstance(v, DataLoader) and re.search(rf"\b{re.escape(n)}\b", scene.line)), None
    )
    if loader is None and "DataLoader(" not in scene.line:
        return None
    if loader is not None and isinstance(loader.dataset, TensorDataset):
        count = len(loader.dataset.tensors)
        return Text(
            f"this data set has {count} tensor(s), so each batch has {count}: write TensorDataset(x, y) for pairs",
            f"这个数据集有 {count} 个张量,每批就有 {count} 个:成对的数据写 TensorDataset(x, y)",
        )
    return Text(
        "a batch has the parts that a sample has: let the data set give pairs, for tensors TensorDataset(x, y), not (x, y) or x alone",
        "一批的组成与一个样本相同:让数据集给出一对,张量就用 TensorDataset(x, y),不是 (x, y) 或单独的 x",
    )


@slip("FB-DATA-08", TypeError, r"list indices must be integers or slices, not str")
def batch_by_name(scene: Scene) -> Text | None:
    for name, key in re.findall(r"([A-Za-z_]\w*)\[['\"](\w+)['\"]\]", scene.line):
        value = scene.names.get(name)
        if isinstance(value, list) and value and all(isinstance(part, Tensor) for part in value):
            return Text(
                f"{name} is a list of {len(value)} tensors: write {', '.join('xyzabc'[: len(value)])} = {name}; names as {key!r} are there where the "
                "data set's samples are dicts",
                f"{name} 是 {len(value)} 个张量的列表:写 {', '.join('xyzabc'[: len(value)])} = {name};数据集的样本是字典时才有 {key!r} 这样的名字",
            )
    return None


@slip("FB-DATA-11", ValueError, r"Sum of input lengths does not equal the length of the input dataset")
def parts_of_a_set(scene: Scene) -> Text | None:
    data = scene.given("dataset")
    if not hasattr(data, "__len__"):
        return None
    return Text(
        f"the parts must add up to all {len(data)} samples: give shares, random_split(data, [0.8, 0.2]), or compute the last, "
        f"[n, {len(data)} - n]",
        f"各部分之和必须是全部 {len(data)} 个样本:写比例 random_split(data, [0.8, 0.2]),或算出最后一部分 [n, {len(data)} - n]",
    )


@slip("FB-DATA-12", TypeError, r"default_collate: batch must contain .*found <class 'NoneType'>")
def sample_is_none(scene: Scene) -> Text | None:
    return Text(
        "a sample, or a part of it, is None: does __getitem__ of the data set end with return, on every way through it?",
        "某个样本(或它的一部分)是 None:数据集的 __getitem__ 在每条路径上都以 return 结束了吗?",
    )


@slip("FB-LOOP-08", TypeError, r"'(?:int|float)' object is not iterable")
def number_to_go_through(scene: Scene) -> Text | None:
    found = re.match(r"for (.+?) in ([\w.]+):", scene.line)
    if found is None:
        return None
    return Text(
        f"{found[2]} is a number: to do something so many times write for {found[1]} in range({found[2]}):",
        f"{found[2]} 是一个数:要重复这么多次,写 for {found[1]} in range({found[2]}):",
    )


@slip("FB-STATE-04", (AttributeError, TypeError), r"'collections\.OrderedDict' object (?:is not callable|has no attribute)")
def weights_for_model(scene: Scene) -> Text | None:
    for path in re.findall(r"[A-Za-z_][\w.]*", scene.line):
        path = path.removesuffix(f".{getattr(scene.error, 'name', None)}")
        kept = scene.value(path)
        if isinstance(kept, dict) and kept and all(isinstance(v, Tensor) for v in kept.values()):
            return Text(
                f"{path} holds the weights of a model by name, and is none: make the model as before, then model.load_state_dict({path})",
                f"{path} 只是按名字存放的权重,不是模型:先像以前那样建模型,再 model.load_state_dict({path})",
            )
    return None


@slip("FB-STATE-05", Exception, r"^Weights only load failed")
def whole_model_in_a_file(scene: Scene) -> Text | None:
    if scene.found(r"GLOBAL (?:__builtin__\.|builtins\.)?getattr"):
        return Text(
            "the file holds a method and what belongs to it: save its result, torch.save(model.state_dict(), path), with ()",
            "文件里存的是方法(连同它的对象):保存它的结果,torch.save(model.state_dict(), path),要有 ()",
        )
    return Text(
        "the file holds objects, not only tensors. Save torch.save(model.state_dict(), path), and load into a new model, "
        "model.load_state_dict(torch.load(path)); a file of your own opens with torch.load(path, weights_only=False)",
        "文件里存的是对象,不只是张量。请用 torch.save(model.state_dict(), path) 保存,再读入新建的模型:model.load_state_dict(torch.load(path));"
        "自己的文件也可以用 torch.load(path, weights_only=False) 打开",
    )
