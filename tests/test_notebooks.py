"""What notebooks show: tensors, modules, optimizers; ``flambeau.summary``."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser

import pytest

import flambeau as torch
from flambeau import nn
from tests.test_explain import EVIL


def tags(html: str) -> list[str]:
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append(tag)  # type: ignore[method-assign]
    parser.feed(html)
    return found


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 6 * 6, 10)
        self.again = self.head

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).flatten(1))


def test_summary():
    net = Net()
    running = net.norm.running_mean.clone()
    table = torch.summary(net, (2, 1, 8, 8))
    assert torch.equal(net.norm.running_mean, running)
    rows = {row.name: row for row in table.rows}
    assert rows["conv"].shapes == "[2, 4, 6, 6]" and rows["conv"].parameters == 40
    assert rows["conv"].flops == 2 * 2 * 4 * 36 * 9 and rows["head"].flops == 2 * 2 * 144 * 10
    assert rows["Net"].flops == rows["conv"].flops + rows["head"].flops
    assert table.total == 40 + 8 + 1450 and table.trainable == table.total
    assert "1,498 parameters" in str(table) and tags(table._repr_html_()).count("tr") == 5
    assert [row.shapes for row in torch.summary(net).rows] == [None] * 4
    assert "result" not in str(torch.summary(net))
    net.conv.requires_grad_(False)
    assert torch.summary(net).trainable == 1458
    with pytest.raises(TypeError, match="expected a module"):
        torch.summary(3)


def test_summary_of_lazy_layers_and_layers_that_come_twice():
    lazy = nn.Sequential(nn.LazyLinear(3))
    assert torch.summary(lazy).total == 0
    layer = nn.Linear(2, 2)
    assert torch.summary(nn.Sequential(layer, layer), (1, 2)).rows[1].shapes == "[1, 2] x2"


@pytest.mark.parametrize(
    "value",
    [
        torch.randn(3, 4), torch.tensor(2.0), torch.empty(0, 3), torch.arange(5), torch.tensor([True, False]), torch.tensor([1 + 2j]),
        torch.randn(2, 3).to(torch.bfloat16), torch.tensor([float("nan"), float("inf"), 1.0]), torch.randn(3, 200, 200), torch.zeros(2, 2),
        torch.ones(2, requires_grad=True) * 2, nn.Parameter(torch.ones(2)), torch.randn(2, 3).T, torch.tensor([1 + 2j]).conj(),
    ],
)  # fmt: skip
def test_tensors(value):
    html = value._repr_html_()
    assert f"{list(value.shape)}" in html and "<pre" in html
    assert ("<img" in html) == (value.dim() > 0 and value.numel() > 1)


def test_tensors_without_values_are_shown_as_text():
    assert torch.empty(2, device="meta")._repr_html_() is None
    assert torch.ones(2, 2).to_sparse()._repr_html_() is None


def test_optimizers():
    weights = [torch.ones(3, requires_grad=True)]
    optimizer = torch.optim.Adam(weights, lr=0.25)
    assert "0.25" in optimizer._repr_html_()
    weights[0].sum().backward()
    optimizer.step()
    assert "step 1" in optimizer._repr_html_()


def test_what_users_write_is_escaped():
    class Odd(nn.Linear):
        def extra_repr(self):
            return EVIL

    assert EVIL not in nn.Sequential(Odd(1, 1))._repr_html_()


def test_ipython_shows_them():
    pytest.importorskip("IPython")
    from IPython.core.formatters import DisplayFormatter

    formatter = DisplayFormatter()
    for shown in (
        torch.ones(2, 2),
        nn.Linear(1, 1),
        torch.optim.SGD([torch.ones(1, requires_grad=True)]),
        torch.explain(torch.ones(2)),
    ):
        found, _ = formatter.format(shown)
        assert {"text/plain", "text/html"} <= found.keys()


def test_importing_flambeau_imports_none_of_it():
    code = "import sys, flambeau, flambeau.nn, flambeau.optim; print([m for m in sys.modules if 'pictures' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
