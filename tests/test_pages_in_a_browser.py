"""Pages in a real browser, headless: skipped where there is none."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn
from tests.browser import Opened, browser
from tests.test_explain import EVIL, Net


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture
def opened(chromium, tmp_path):
    pages = []

    def open_(explanation):
        page = Opened(chromium, explanation.save(tmp_path / "page.html").resolve().as_uri())
        pages.append(page)
        return page

    yield open_
    for page in pages:
        assert page.errors == [] and len(page.requests) == 1  # the file itself
        page.page.close()


def test_a_small_computation_is_stepped_through(opened):
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    page = opened(torch.explain(lambda x: ((w * x) ** 2).sum(), torch.tensor([3.0, -1.0])))
    assert page.count(".node") == 5 and page.count(".edge") == 4
    page.press("ArrowRight")
    assert page.text("#detail h2") == "mul (2)" and "input × other" in page.text("#detail") and page.count(".node.now") == 1
    page.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert page.text("#place") == "step 3 of 3"
    page.press("b", "ArrowRight", "ArrowRight", "ArrowRight")
    assert page.text("#detail h2") == "mul (2)" and "= g * other" in page.text("#detail")
    page.press("ArrowRight")
    assert page.text("#detail h2") == "w" and "18" in page.text("#detail table")
    page.press("ArrowLeft")
    assert page.text("#place") == "step 3 of 4"


def test_boxes_fold_and_search_finds(opened):
    page = opened(torch.explain(Net().eval(), torch.randn(4, 3)))
    boxes = page.count(".box")
    assert boxes == 6  # dropout computes nothing in evaluation
    page.page.click("#fold")
    assert page.count(".box") == 0 and page.count(".node.folded") == 1
    page.page.click("#unfold")
    assert page.count(".box") > boxes
    page.press("/")
    page.page.keyboard.type("head.weight")
    assert page.text("#found") == "1 found" and page.count(".node.match") == 1
    page.press("Enter", "Escape")
    assert page.text("#detail h2") == "head.weight" and page.count(".node.match") == 0
    page.page.dblclick(".box >> nth=1 >> rect", position={"x": 4, "y": 4})
    assert page.count(".node.folded") == 1


def test_texts_of_users_are_texts(opened):
    net = nn.ModuleDict({EVIL.replace(".", "_"): nn.Linear(2, 2)})
    page = opened(torch.explain(lambda x: next(iter(net.values()))(x).sum(), torch.ones(1, 2)))
    page.press("ArrowRight", "ArrowRight")
    assert page.count("img") == 0


def test_two_thousand_operations_open_within_two_seconds(opened):
    def steps(x):
        for _ in range(1000):
            x = x * 0.99 + 0.01
        return x.sum()

    page = opened(torch.explain(steps, torch.ones(8, requires_grad=True), fusion=False))
    assert page.seconds() < 2 and page.count(".node") == 2002
    page.press("End")
    assert page.text("#detail h2") == "sum (2001)"
