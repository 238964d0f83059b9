"""The exercises of chapters 11 to 14: files of the best nets, a program mended, a time that is true, what a ray sees."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flambeau as torch
from flambeau import nn
from flambeau.diagnosis.language import Text
from flambeau.engine import graph
from flambeau.exercises.answer import Answer, Wrong
from flambeau.exercises.comparing import agree
from flambeau.exercises.exercise import exercise


@exercise("11-1", Text("a training that goes on", "接着训练"), "save(path, model, optimizer)", "load(path, model, optimizer)")
def goes_on(answer: Answer) -> Iterator[Text]:
    """A training that was saved and loaded goes on as if it had not been stopped."""
    save, load = answer.get("save"), answer.get("load")
    x, y = torch.rand(2, 16, 3, generator=torch.Generator().manual_seed(0)).unbind()

    def made(seed: int, lr: float = 0.05) -> tuple[Any, Any]:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        return model, torch.optim.Adam(model.parameters(), lr=lr)

    def train(model: Any, optimizer: Any) -> Any:
        for _ in range(5):
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return torch.cat([p.detach().view(-1) for p in model.parameters()])

    with tempfile.TemporaryDirectory() as place:
        path = str(Path(place) / "checkpoint.pt")
        yield Text("save writes the file", "save 写出文件")
        model, optimizer = made(0)
        train(model, optimizer)
        save(path, model, optimizer)
        if not Path(path).is_file():
            raise answer.wrong(
                "save", Text("there is no file", "没有文件"), Text("torch.save(..., path)", "写成 torch.save(..., path)")
            )
        then = {name: value.clone() for name, value in model.state_dict().items()}
        through = train(model, optimizer)
        yield Text("load gives a new net the weights of then", "load 让新的网络得到当时的权重")
        other, fresh = made(1, lr=0.01)
        first = {name: value.clone() for name, value in other.state_dict().items()}
        load(path, other, fresh)
        for name, value in then.items():
            slips = [
                (
                    first[name],
                    Text(
                        "model.load_state_dict(...) puts weights into the net that it is given",
                        "model.load_state_dict(...) 把权重放进给它的网络",
                    ),
                ),
            ]
            agree(answer, "load", Text(name, name + " "), other.state_dict()[name], value, slips)
        yield Text("the optimizer has its learning rate of then", "优化器的学习率是当时的")
        whole = Text("save optimizer.state_dict() too, and load it", "optimizer.state_dict() 也要保存,再读入")
        agree(answer, "load", Text("the learning rate", "学习率"), fresh.param_groups[0]["lr"], 0.05, [(0.01, whole)])
        yield Text("training goes on as if it had not been stopped", "训练接着进行,如同没有中断")
        agree(
            answer,
            "load",
            Text("a weight after five more steps", "再训练五步之后的权重"),
            train(other, fresh),
            through,
            [(train(*_without(made, then)), whole)],
        )


def _without(made: Any, then: Any) -> tuple[Any, Any]:
    """The net of then, with an optimizer that remembers nothing."""
    model, optimizer = made(2)
    model.load_state_dict(then)
    return model, optimizer


@exercise("11-2", Text("the three best", "最好的三个"), "keep_best(folder, model, loss)")
def keep_best(answer: Answer) -> Iterator[Text]:
    """After eight epochs the folder holds three files, which are those of the smallest losses, as the net was then."""
    function = answer.get("keep_best")
    losses = [0.9, 0.5, 0.7, 0.4, 0.6, 0.45, 0.8, 0.55]  # the best are the epochs 3, 5 and 1, not the last
    model = nn.Linear(2, 1)

    def weights(epoch: int) -> Any:
        return torch.full((1, 2), float(epoch))

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        def found() -> list[Path]:
            return sorted(path for path in folder.rglob("*") if path.is_file())

        yield Text("a file is written after the first epoch", "第一轮之后写出一个文件")
        for epoch, loss in enumerate(losses):
            with torch.no_grad():
                model.weight.copy_(weights(epoch))
            function(place, model, loss)
            if not found():
                raise answer.wrong(
                    "keep_best",
                    Text("the folder is empty", "文件夹是空的"),
                    Text(
                        "torch.save(model.state_dict(), os.path.join(folder, name))",
                        "写成 torch.save(model.state_dict(), os.path.join(folder, 文件名))",
                    ),
                )
            if epoch == 0:
                yield Text("there are never more than three", "从不超过三个")
            if len(found()) > 3:
                raise answer.wrong(
                    "keep_best",
                    Text(
                        f"after epoch {epoch + 1} there are {len(found())} files", f"第 {epoch + 1} 轮之后有 {len(found())} 个文件"
                    ),
                    Text("remove the worst: os.remove", "删除最差的:os.remove"),
                )
        yield Text("after eight epochs there are three", "八轮之后有三个")
        if len(found()) != 3:
            raise answer.wrong(
                "keep_best",
                Text(
                    f"there are {len(found())} files: {', '.join(p.name for p in found())}",
                    f"有 {len(found())} 个文件:{', '.join(p.name for p in found())}",
                ),
                Text("give each file a name of its own, such as its loss", "每个文件用不同的名字,例如损失值"),
            )
        yield Text("each holds a state_dict that loads", "每个文件都是能读入的 state_dict")
        epochs = []
        for path in found():
            try:
                saved = torch.load(path)
            except Exception as error:  # whatever the file is
                saved = error
            if not isinstance(saved, dict) or "weight" not in saved:
                kind = type(saved).__name__
                raise answer.wrong(
                    "keep_best",
                    Text(f"{path.name} is no state_dict ({kind})", f"{path.name} 不是 state_dict({kind})"),
                    Text("save model.state_dict()", "保存 model.state_dict()"),
                )
            epochs.append(int(saved["weight"][0, 0]))
        yield Text("they are those of the three smallest losses", "它们是损失最小的三个")
        told: dict[tuple[int, ...], Text] = {
            (7, 7, 7): Text(
                "all files hold the last weights: save at once, or keep copy.deepcopy(model.state_dict())",
                "所有文件都是最后的权重:当场保存,或保留 copy.deepcopy(model.state_dict())",
            ),
            (5, 6, 7): Text("those are the last three: compare losses", "这是最后三个:应比较损失"),
            (0, 2, 6): Text("those are the three worst: the best loss is the smallest", "这是最差的三个:损失最小的才最好"),
        }
        if sorted(epochs) != [1, 3, 5]:
            raise answer.wrong(
                "keep_best",
                Text(
                    f"the files are of the epochs {sorted(e + 1 for e in epochs)}, not [2, 4, 6]",
                    f"文件属于第 {sorted(e + 1 for e in epochs)} 轮,应为 [2, 4, 6]",
                ),
                told.get(tuple(sorted(epochs))),
            )


@exercise("12-1", Text("silent.py mended", "改好 silent.py"), "model", "x", "y", watched=True)
def mended(answer: Answer) -> Iterator[Text]:
    """The doctor, who has watched the file run, is silent, and the net has learnt."""
    model, x, y = (answer.get(name) for name in ("model", "x", "y"))
    yield Text("the doctor finds nothing", "医生没有发现问题")
    if answer.findings:
        first = answer.findings[0]
        more = len(answer.findings) - 1
        raise Wrong(
            Text(
                f"{first.why.en} [{first.code}]" + f", and {more} more" * (more > 0),
                f"{first.why.zh} [{first.code}]" + f",另有 {more} 处" * (more > 0),
            ),
            first.fix,
            f"{answer.file}:{first.line}",
        )
    yield Text("the net has learnt: 4 of 5 answers are right", "网络学会了:五个答案对四个")
    with torch.no_grad():
        right = (model.eval()(x).argmax(1) == y).float().mean().item()
    if right < 0.8:
        raise answer.wrong(
            "model",
            Text(f"{right:.0%} are right", f"答对 {right:.0%}"),
            Text(
                "is the loop still there, with loss.backward() and optimizer.step()?",
                "循环还在吗?有没有 loss.backward() 和 optimizer.step()?",
            ),
        )


@exercise("13-3", Text("a time that is true", "真实的时间"), "seconds(work)")
def seconds(answer: Answer) -> Iterator[Text]:
    """The work has been computed when the clock stops, and the first rounds, which compile, do not count."""
    function = answer.function("seconds")
    calls = 0
    weights = torch.randn(64, 64) / 8

    def work() -> None:
        """What a step does: it changes weights, which is written down and not computed yet."""
        nonlocal calls
        calls += 1
        weights.copy_((weights @ weights).tanh())

    torch.synchronize()
    start = time.perf_counter()
    given = function(work)
    whole, waiting = time.perf_counter() - start, len(graph.trace)
    yield Text("work is called more than once: its first rounds are compiled", "work 被调用不止一次:最初几轮要编译")
    if calls < 2:
        raise answer.wrong(
            "seconds",
            Text(f"work is called {calls} time(s)", f"work 被调用了 {calls} 次"),
            Text("call it a few times before the clock is read first", "先调用几次,再开始计时"),
        )
    yield Text("it is computed when the clock stops", "停表时计算已经完成")
    if waiting:
        raise answer.wrong(
            "seconds",
            Text("at the end the work is written down and not computed yet", "到最后,计算只是记了下来,还没有做"),
            Text("torch.synchronize() each time before the clock is read", "每次读表之前都要 torch.synchronize()"),
        )
    yield Text("the result is one time, in seconds", "结果是一个时间,以秒为单位")
    if not isinstance(given, float):
        raise answer.wrong(
            "seconds", Text(f"the result is a {type(given).__name__}, not a float", f"结果是 {type(given).__name__},不是 float")
        )
    if given <= 0.0:
        raise answer.wrong(
            "seconds",
            Text(f"the result is {given:.3g}", f"结果是 {given:.3g}"),
            Text("the later time minus the earlier one", "用后一个时间减前一个"),
        )
    if given > whole:
        raise answer.wrong(
            "seconds",
            Text(
                f"the result is {given:.3g}, but all rounds together took {whole:.3g} seconds",
                f"结果是 {given:.3g},而所有轮次一共只用了 {whole:.3g} 秒",
            ),
            Text("time.perf_counter() counts in seconds already", "time.perf_counter() 本来就以秒为单位"),
        )


@exercise("14-1", Text("what a ray sees", "一条光线看到什么"), "pixel(density, colour, d)")
def pixel(answer: Answer) -> Iterator[Text]:
    """Nothing is black, what is opaque hides what lies behind it, and all else is the sum over the pieces."""
    function = answer.function("pixel")
    torch.manual_seed(0)
    density, colour = torch.rand(6) * 3, torch.rand(6, 3)

    def seen(density: Any, d: float) -> Any:
        stopped = 1 - torch.exp(-density * d)
        reaching = torch.cat([torch.ones(1), torch.cumprod(1 - stopped, 0)[:-1]])
        return ((stopped * reaching)[:, None] * colour).sum(0)

    def seen_by_slip(density: Any, behind: bool) -> Any:
        """What comes out where a piece is hidden by those behind it, or by itself too."""
        stopped = 1 - torch.exp(-density * 0.5)
        passed = torch.cumprod((1 - stopped).flip(0), 0).flip(0) if behind else torch.cumprod(1 - stopped, 0)
        reaching = torch.cat([passed[1:], torch.ones(1)]) if behind else passed
        return ((stopped * reaching)[:, None] * colour).sum(0)

    where = Text("the pixel", "像素")
    yield Text("empty space is black", "空无一物时是黑色")
    background = Text("there is no background here: leave 1 - share.sum() out", "这里没有背景:去掉 1 - share.sum()")
    agree(answer, "pixel", where, function(torch.zeros(6), colour, 0.5), torch.zeros(3), [(torch.ones(3), background)])
    yield Text("what is opaque hides all behind it", "不透明的东西挡住后面的一切")
    opaque = torch.tensor([0.0, 1e4, 0.0, 1e4, 5.0, 5.0])
    itself = Text(
        "a piece does not hide itself: reaching_i is the product over the pieces before it",
        "一段不会挡住自己:reaching_i 是它前面各段的乘积",
    )
    last = Text("the ray comes from the front: the first piece hides the later ones", "光线从前面来:前面的段挡住后面的")
    slips = [(seen_by_slip(opaque, behind=False), itself), (seen_by_slip(opaque, behind=True), last)]
    agree(answer, "pixel", where, function(opaque, colour, 0.5), colour[1], slips)
    yield Text("it is the sum of stopped * reaching * colour", "等于 stopped * reaching * colour 之和")
    right = seen(density, 0.5)
    stopped = 1 - torch.exp(-density * 0.5)
    slips = [
        (seen(density, 1.0), Text("the length d of a piece is missing: exp(-density * d)", "少了每段的长度 d:exp(-density * d)")),
        (seen_by_slip(density, behind=False), itself),
        (
            (stopped[:, None] * colour).sum(0),
            Text("what the pieces before have let through is missing", "少了前面各段让过来的份额"),
        ),
        (right / 6, Text("the pieces are added up, not averaged", "各段相加,不是平均")),
    ]
    agree(answer, "pixel", where, function(density, colour, 0.5), right, slips)
