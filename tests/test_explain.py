"""``flambeau.explain``: what pages hold, without a browser (``test_pages_in_a_browser.py`` opens them)."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import flambeau as torch
from flambeau import dispatch, nn
from flambeau.core import config
from flambeau.ops.record import registry
from flambeau.pictures.page import data_of
from flambeau.pictures.stepping import Step
from tests.test_ops import samples

EVIL = "</script><img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script":
            self.scripts.append(data)


def data(explanation):
    """What a page shows; also looks whether it is sound, and asks for nothing from elsewhere."""
    page = Reader(explanation.html)
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert not [tag for tag, _ in page.elements if tag in ("img", "link", "iframe")]
    assert not any("src" in attributes or "href" in attributes for _, attributes in page.elements)
    assert "@@" not in explanation.html
    return json.loads(page.scripts[0])


def ops(shown):
    return [item["op"] for item in shown["items"] if item["op"]]


def named(shown, name):
    return next(item for item in shown["items"] if name in (item["op"], item["title"]))


def test_values_gradients_and_the_chain_rule():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    x = torch.tensor([3.0, -1.0])
    shown = data(torch.explain(lambda x: ((w * x) ** 2).sum(), x))
    assert ops(shown) == ["mul", "pow", "sum"]
    mul, leaf = named(shown, "mul"), named(shown, "w")
    assert mul["values"][0]["full"] == [3.0, -2.0] and mul["grads"][0]["full"] == [6.0, -4.0]
    assert leaf["grads"][0]["full"] == [18.0, 4.0] and w.grad is None
    assert named(shown, "x")["values"][0]["full"] == [3.0, -1.0]
    assert mul["links"] == [[leaf["id"], "input", "g * other"]]
    assert mul["formula"] == "input × other"
    assert mul["site"][0] == __file__ and "w * x" in mul["site"][2]
    assert shown["backward"] == [named(shown, "sum")["id"], named(shown, "pow")["id"], mul["id"], leaf["id"]]
    assert shown["outputs"] == [named(shown, "sum")["id"]]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(x))


def test_modules_are_boxes_and_nothing_of_the_program_changes():
    net, x = Net(), torch.randn(8, 3)
    torch.manual_seed(1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    expected = torch.rand(1).item()
    torch.manual_seed(1)
    shown = data(torch.explain(net, x))
    assert torch.rand(1).item() == expected
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    names = [box["name"] for box in shown["boxes"] if box["kind"] == "module"]
    assert names == ["Net", "body", "body.0", "body.1", "body.2", "body.3", "head"]
    boxes = {box["name"]: box for box in shown["boxes"]}
    assert boxes["body.0"]["parent"] == boxes["body"]["id"] and boxes["body"]["parent"] == boxes["Net"]["id"]
    assert named(shown, "head.weight")["grads"][0]["shape"] == [2, 4]


def test_in_place_writes_lead_to_what_was_written():
    def f(x):
        y = x * 2
        y.add_(1)
        return y.sum()

    shown = data(torch.explain(f, torch.ones(2, requires_grad=True)))
    assert named(shown, "sum")["inputs"][0][1] == named(shown, "add")["id"]


def test_writes_through_views_lead_to_what_was_written():
    def f(x):
        y = x * 2
        y[0] = x.sum()
        return y * 3

    shown = data(torch.explain(f, torch.ones(2, 2, requires_grad=True)))
    write = named(shown, "write")
    assert write["values"][0]["full"] == [[4.0, 4.0], [2.0, 2.0]] and write["grads"][0]["full"] == [[3.0, 3.0], [3.0, 3.0]]
    assert shown["items"][shown["outputs"][0]]["inputs"][0] == ["input", write["id"]]


def test_a_function_that_goes_back_itself():
    def train(x):
        w = torch.zeros(2, requires_grad=True)
        for _ in range(2):
            loss = ((w * x - 1) ** 2).sum()
            loss.backward()
            with torch.no_grad():
                w -= 0.5 * w.grad
                w.grad = None
        return loss

    before = torch.Tensor.backward
    shown = data(torch.explain(train, torch.ones(2)))
    assert torch.Tensor.backward is before
    assert ops(shown).count("pow") == 2 and ops(shown).count("sub") == 4
    assert [item["grads"][0]["full"] for item in shown["items"] if item["op"] == "pow"] == [[1.0, 1.0]] * 2
    assert [item["title"] for item in shown["items"] if item["title"].endswith(".grad")] == ["w.grad", "w.grad"]


def test_functions_of_the_users_own():
    class Cube(torch.autograd.Function):
        """Computes :math:`x^3`."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * g

    x = torch.tensor([2.0], requires_grad=True)
    shown = data(torch.explain(lambda x: Cube.apply(x) * 1, x))
    cube = named(shown, "Cube")
    assert cube["formula"] == "x^3" and "3 * x ** 2 * g" in cube["links"][0][2]
    assert named(shown, "x")["grads"][0]["full"] == [12.0]


def test_a_call_that_fails_is_shown():
    def wrong(x):
        return (x + 1) @ torch.ones(4, 4)

    shown = data(torch.explain(wrong, torch.ones(2, 3)))
    assert "FB-SHAPE" in named(shown, "mm")["error"] and named(shown, "add")["error"] == ""
    with pytest.raises(RuntimeError) as caught:
        wrong(torch.ones(2, 3))
    shown = data(torch.explain(caught.value))
    assert "@ torch.ones(4, 4)" in shown["items"][-1]["op"] and "FB-SHAPE" in shown["items"][-1]["error"]


def test_a_backward_pass_that_fails_is_shown():
    shown = data(
        torch.explain(lambda x: torch.heaviside(x, torch.tensor([1.0])).sum(), torch.tensor([-1.0, 2.0], requires_grad=True))
    )
    assert "not implemented" in named(shown, "heaviside")["error"] and named(shown, "sum")["grads"]


SAMPLED = [op for op in sorted({id(op): op for op in registry.values()}.values(), key=lambda op: op.name) if op.samples is not None]


@pytest.mark.parametrize("op", SAMPLED[::9], ids=lambda op: op.name)
def test_calls_of_any_op(op):
    sample = samples(op)[0]
    expected = op.function(*sample.args, **sample.kwargs)
    shown = data(torch.explain(op.function, *sample.args, fusion=False, **sample.kwargs))
    result = expected[0] if isinstance(expected, (tuple, list)) else expected
    if isinstance(result, torch.Tensor) and shown["outputs"]:
        assert shown["items"][shown["outputs"][0]]["values"][0]["shape"] == list(result.shape)


def test_interrupts_end_the_watching():
    def interrupted(x):
        x + 1
        raise KeyboardInterrupt

    before = torch.Tensor.backward
    with pytest.raises(KeyboardInterrupt):
        torch.explain(interrupted, torch.ones(2))
    assert dispatch.watch is None and torch.Tensor.backward is before


def test_a_tensor_is_explained_by_its_tape():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    loss = (w * 3).exp().sum()
    shown = data(torch.explain(loss))
    assert ops(shown) == ["mul", "exp", "sum"]
    assert named(shown, "exp")["values"][0]["full"] == pytest.approx([20.085536, 403.42880], rel=1e-5)
    assert w.grad is None and len(shown["backward"]) == 4
    loss.backward()
    assert w.grad is not None
    plain = data(torch.explain(torch.ones(3)))
    assert ops(plain) == [] and plain["items"][0]["values"][0]["full"] == [1.0, 1.0, 1.0]


def test_what_users_write_cannot_end_the_script():
    net = nn.ModuleDict({EVIL.replace(".", "_"): nn.Linear(2, 2)})

    def f(x):
        raise ValueError(EVIL)

    def g(x):
        return next(iter(net.values()))(x) + x.sum()  # </script><img src=x onerror=alert(1)>

    for function in (f, g):
        shown = data(torch.explain(function, torch.ones(1, 2)))
        assert EVIL in json.dumps(shown, ensure_ascii=False)
    assert EVIL not in torch.explain(f, torch.ones(1))._repr_html_()


def test_odd_values():
    shown = data(torch.explain(lambda x: x.log(), torch.tensor([0.0, 1.0, -1.0])))
    value = named(shown, "log")["values"][0]
    assert value["odd"] == 2 and value["full"] == ["-inf", 0.0, "nan"]
    for x in (
        torch.empty(0),
        torch.tensor(True),
        torch.tensor([1 + 1j]),
        torch.ones(2, dtype=torch.bfloat16),
        torch.empty(2, device="meta"),
    ):
        assert data(torch.explain(x))["items"][0]["values"][0]["shape"] == list(x.shape)


def test_fusion_names_the_loops(monkeypatch):
    pytest.importorskip("llvmlite")
    monkeypatch.setattr(config, "eager", False)
    w = torch.ones(50, 40, requires_grad=True)
    explanation = torch.explain(lambda x: (torch.mm(x, w) * 2 + 1).tanh().sum(), torch.ones(30, 50))
    groups = explanation.record.groups
    loop = next(g for g in groups if g.kind == "loop" and "tanh" in g.ops)
    assert {"mul", "add"} <= set(loop.ops) and "tanh.float32" in loop.ir and loop.code.startswith("loop:") and loop.us > 0
    assert any(g.kind == "kernel" and g.gradients for g in groups)
    shown = data_of(explanation.record)
    assert named(shown, "mul")["group"] == named(shown, "tanh")["group"] == groups.index(loop)
    assert torch.explain(lambda x: x * 2, torch.ones(3), fusion=False).record.groups == []


def test_a_step_of_a_program():
    w = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1.0)
    done = 0
    with Step(2) as step:
        for _ in range(5):
            optimizer.zero_grad()
            loss = ((w - 3) ** 2).sum()
            unused = w * 7  # noqa: F841
            loss.backward()
            optimizer.step()
            done += 1
    assert done == 1 and step.explanation is not None
    shown = data(step.explanation)
    assert ops(shown) == ["sub", "pow", "sum"]
    assert named(shown, "w")["values"][0]["full"] == [6.0, 6.0] and named(shown, "w")["grads"][0]["full"] == [6.0, 6.0]
    (w * 2).sum().backward()  # nobody watches any more
    with Step() as step:
        torch.ones(2).exp()
    assert ops(data(step.explanation)) == ["exp"]
    with Step() as step:
        pass
    assert step.explanation is None


def test_command(tmp_path):
    (tmp_path / "train.py").write_text(
        "import torch\nw = torch.ones(2, requires_grad=True)\n(w * 2).sum().backward()\nprint('never')\n"
    )

    def command(*words):
        return subprocess.run([sys.executable, "-m", "flambeau", "explain", *words], cwd=tmp_path, capture_output=True, text=True)

    done = command("-o", "page.html", "train.py")
    assert done.returncode == 0 and "never" not in done.stdout, done.stderr
    assert "(w * 2).sum()" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "there is no such file" in command("nowhere.py").stderr


def test_pages_speak_chinese(monkeypatch):
    monkeypatch.setenv("FLAMBEAU_LANG", "zh")
    html = torch.explain(torch.ones(2)).html
    assert '<html lang="zh">' in html and data(torch.explain(torch.ones(2)))["words"]["backward"] == "反向"


def test_what_cannot_be_explained():
    with pytest.raises(TypeError, match="expected a tensor, a module or function"):
        torch.explain(3)
