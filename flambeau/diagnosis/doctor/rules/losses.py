"""What a loss is given."""

from __future__ import annotations

from flambeau.core import dtypes
from flambeau.diagnosis.doctor.rule import Rule
from flambeau.diagnosis.doctor.watching import Call
from flambeau.diagnosis.language import Text
from flambeau.tensor import Tensor

_DIFFERENCES = (
    "sub",
    "rsub",
    "nn.functional.mse_loss",
    "nn.functional.l1_loss",
    "nn.functional.smooth_l1_loss",
    "nn.functional.huber_loss",
)
_EQUALITIES = ("eq", "ne")
_ASKED_FOR = ("unsqueeze", "expand", "repeat", "Tensor.expand", "Tensor.repeat", "broadcast_to")


class ColumnAgainstRow(Rule):
    """Answers of shape (N, 1) are compared with targets of shape (N,), which gives (N, N).

    Tables of all differences are made so too, but there nobody has an answer on the one side and a target on the other: a column
    was made by ``unsqueeze``, or both sides are data.
    """

    code = "FB-LOSS-02"
    innocent = (
        """
import torch

labels = torch.randint(0, 2, (8,))
same = labels[:, None] == labels
points = torch.randn(8, requires_grad=True)
others = torch.randn(8)
table = (points.unsqueeze(1) - others).abs()
table.mean().backward()
x = torch.randn(8, 1)
distances = x - torch.randn(8)
""",
    )

    def ran(self, call: Call) -> None:
        if call.op not in (*_DIFFERENCES, *_EQUALITIES) or len(call.tensors) < 2:
            return
        a, b = call.tensors[:2]
        shapes = sorted((tuple(a.shape), tuple(b.shape)), key=len)
        if not (len(shapes[0]) == 1 and shapes[0][0] > 1 and shapes[1] == (shapes[0][0], 1)):
            return
        column = a if a.ndim == 2 else b
        if column._base is not None if call.op in _EQUALITIES else a.requires_grad == b.requires_grad:
            return
        made = self.watch.producer(column)
        if made is not None and made.op in _ASKED_FOR:
            return
        n = shapes[0][0]
        self.report(
            call.site,
            Text(
                f"{list(a.shape)} and {list(b.shape)} broadcast to [{n}, {n}]: each answer is compared with all {n} targets",
                f"{list(a.shape)} 与 {list(b.shape)} 广播成 [{n}, {n}]:每个输出都与全部 {n} 个目标相比",
            ),
            Text("bring both to one shape: pred.squeeze(1), or y.unsqueeze(1)", "使两者形状相同:pred.squeeze(1),或 y.unsqueeze(1)"),
        )


class Twice(Rule):
    """A loss that normalizes scores is given what is normalized already."""

    losses: tuple[str, ...] = ()
    makers: tuple[str, ...] = ()
    loss = maker = ""

    def ran(self, call: Call) -> None:
        if call.op not in self.losses or not call.tensors:
            return
        made = self.watch.producer(call.tensors[0])
        if made is not None and made.op in self.makers and call.tensors[0].requires_grad:
            self.report(
                call.site,
                Text(
                    f"{self.loss} has a {self.maker} inside, and is given what {made.op.rpartition('.')[2]} has made (line {made.site[1]}): gradients are "
                    "small, and no answer is ever sure",
                    f"{self.loss} 内部已有 {self.maker},而得到的是 {made.op.rpartition('.')[2]} 的结果(第 {made.site[1]} 行):梯度很小,输出永远不会确定",
                ),
                Text(f"give {self.loss} the scores of the last layer themselves", f"把最后一层的得分直接交给 {self.loss}"),
            )


class SoftmaxTwice(Twice):
    """softmax, or log_softmax, before cross_entropy."""

    code = "FB-LOSS-03"
    losses = ("nn.functional.cross_entropy",)
    makers = ("softmax", "nn.functional.softmax", "log_softmax", "nn.functional.log_softmax")
    loss, maker = "CrossEntropyLoss", "log_softmax"


class SigmoidTwice(Twice):
    """sigmoid before binary_cross_entropy_with_logits."""

    code = "FB-LOSS-04"
    losses = ("nn.functional.binary_cross_entropy_with_logits",)
    makers = ("sigmoid", "special.expit", "nn.functional.sigmoid")
    loss, maker = "BCEWithLogitsLoss", "sigmoid"


class NoLogarithm(Rule):
    """nll_loss or kl_div of something that is no logarithm of probabilities: some are positive, or softmax has made them."""

    code = "FB-LOSS-05"
    innocent = (
        """
import torch

scores = torch.randn(4, 3, requires_grad=True)
torch.nn.NLLLoss()(torch.log(torch.softmax(scores, 1)), torch.tensor([0, 1, 2, 0])).backward()
""",
    )

    def ran(self, call: Call) -> None:
        loss = {"nn.functional.nll_loss": "NLLLoss", "nn.functional.kl_div": "KLDivLoss"}.get(call.op)
        if loss is None or not call.tensors or not call.tensors[0].requires_grad:
            return
        given = call.tensors[0]
        made = self.watch.producer(given)
        if (
            made is not None
            and made.op in ("softmax", "nn.functional.softmax")
            or made is not None
            and "log" not in made.op
            and bool((given > 1e-3).any())
        ):
            what = made.op.rpartition(".")[2]
            self.report(
                call.site,
                Text(
                    f"{loss} takes logarithms of probabilities, and is given what {what} has made (line {made.site[1]})",
                    f"{loss} 要概率的对数,得到的是 {what} 的结果(第 {made.site[1]} 行)",
                ),
                Text("log_softmax(scores, dim=1)", "log_softmax(scores, dim=1)")
                if loss == "KLDivLoss"
                else Text(
                    "log_softmax(scores, dim=1), or CrossEntropyLoss of the scores",
                    "log_softmax(scores, dim=1),或对得分用 CrossEntropyLoss",
                ),
            )


class OverTheBatch(Rule):
    """log_softmax over dim 0 of rows of scores, before nll_loss: samples compete, and not classes."""

    code = "FB-LOSS-07"
    innocent = (
        """
import torch

torch.softmax(torch.randn(4, 3, requires_grad=True), dim=0).sum().backward()  # weights of the samples: perhaps it is meant
""",
    )

    def ran(self, call: Call) -> None:
        if call.op != "nn.functional.nll_loss" or not call.tensors or call.tensors[0].ndim != 2:
            return
        made = self.watch.producer(call.tensors[0])
        if made is None or made.op.rpartition(".")[2] != "log_softmax":
            return
        dim = made.keywords.get("dim", made.args[1] if len(made.args) > 1 else None)
        if dim in (0, -2):
            self.report(
                made.site,
                Text(
                    "log_softmax over dim 0 makes the samples of a batch compete, not the classes of a sample",
                    "对第 0 维做 log_softmax 是让一批中的样本相互竞争,而不是一个样本的各类别",
                ),
                Text("log_softmax(scores, dim=1)", "log_softmax(scores, dim=1)"),
            )


class ViewForPermute(Rule):
    """view or reshape to the same sizes in another order, as only permute would turn them."""

    code = "FB-SHAPE-11"
    innocent = (
        """
import torch

x = torch.randn(2, 3, 4)
x.view(2, 4, 3).sum() if False else x.reshape(6, 4)
y = torch.randn(1, 5, 3).view(5, 1, 3)
""",
    )

    def ran(self, call: Call) -> None:
        if call.op not in ("Tensor.view", "reshape") or not call.tensors or not isinstance(call.result, Tensor):
            return
        before = [n for n in call.tensors[0].shape if n != 1]
        after = [n for n in call.result.shape if n != 1]
        if len(call.result.shape) < 3 or before == after or sorted(before) != sorted(after) or len(set(before)) < 2:
            return
        self.report(
            call.site,
            Text(
                f"{list(call.tensors[0].shape)} becomes {list(call.result.shape)}, the same sizes in another order, but view and reshape keep the order "
                "of the numbers: rows and channels are mixed up",
                f"{list(call.tensors[0].shape)} 变成 {list(call.result.shape)},大小相同而次序不同,但 view 和 reshape 不改变数的次序:行与通道混在一起",
            ),
            Text("turn the dims with permute(...) or transpose(...)", "用 permute(...) 或 transpose(...) 调换维"),
        )


class Float64(Rule):
    """A float32 that is trained meets a float64 tensor, and all that follows is computed in float64."""

    code = "FB-NUMBER-02"
    innocent = (
        """
import torch

w = torch.randn(3, dtype=torch.float64, requires_grad=True)
(w * torch.ones(3)).sum().backward()
v = torch.randn(3, requires_grad=True)
(v * torch.tensor(2.0, dtype=torch.float64)).sum().backward()  # one number does not widen
""",
    )

    def ran(self, call: Call) -> None:
        result = call.result
        if not isinstance(result, Tensor) or result.dtype is not dtypes.float64 or len(call.tensors) < 2:
            return
        trained = [t for t in call.tensors if t.dtype is dtypes.float32 and t.requires_grad and t.ndim]
        wide = [t for t in call.tensors if t.dtype is dtypes.float64 and not t.requires_grad and t.ndim]
        if trained and wide and result.requires_grad:
            self.report(
                call.site,
                Text(
                    f"{call.op.rpartition('.')[2]} of float32 {list(trained[0].shape)} and float64 {list(wide[0].shape)} (NumPy's default) gives float64: "
                    "from here on everything takes twice the time and memory",
                    f"float32 {list(trained[0].shape)} 与 float64 {list(wide[0].shape)}(NumPy 的默认)的 {call.op.rpartition('.')[2]} 得 float64:"
                    "此后一切都要两倍的时间和内存",
                ),
                Text("convert the data once: torch.from_numpy(a).float()", "先转换数据:torch.from_numpy(a).float()"),
            )


RULES = (ColumnAgainstRow, SoftmaxTwice, SigmoidTwice, NoLogarithm, OverTheBatch, ViewForPermute, Float64)
