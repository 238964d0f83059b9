"""Pages in a real browser, headless: skipped where there is none."""

from __future__ import annotations

import threading
import time

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.utils.tensorboard import SummaryWriter
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


# --- the board ------------------------------------------------------------------------------------------------


@pytest.fixture
def board(chromium):
    uvicorn = pytest.importorskip("uvicorn")
    from flambeau.board.app import make_app
    from flambeau.board.runs import Folder

    ends = []

    def open_(path):
        server = uvicorn.Server(uvicorn.Config(make_app(Folder(path)), port=0, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        page = Opened(chromium, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/")
        ends.append((page, server, thread))
        return page

    yield open_
    for page, server, thread in ends:
        assert page.errors == []
        page.page.close()
        server.should_exit = True
        thread.join()


def test_runs_are_compared(board, tmp_path):
    for name in ("first", "second"):
        with SummaryWriter(tmp_path / name) as writer:
            for i in range(50):
                writer.add_scalar("loss/train", 1 / (i + 1), i)
            writer.add_histogram("weights", torch.randn(100), 0)
            writer.add_image("picture", torch.rand(3, 8, 8), 0)
            writer.add_text("notes", EVIL, 0)
    page = board(tmp_path)
    page.until(".card .muted", "100 points")
    assert page.count("#runs label") == 2 and page.count("canvas") == 1
    page.page.hover("canvas")
    assert "first" in page.text("#tip") and "second" in page.text("#tip")
    page.page.fill("#filter-runs", "sec")
    page.until(".card .muted", "50 points")
    page.page.fill("#filter-runs", "")
    page.page.click("#tab-images")
    page.page.locator("#content img").nth(1).wait_for()
    assert all(page.page.evaluate("Promise.all([...document.images].map((i) => i.decode().then(() => i.naturalWidth === 8)))"))
    page.page.click("#tab-text")
    page.page.wait_for_selector("pre")
    assert page.text("pre") == EVIL and page.count("#content img") == 0
    page.page.click("#tab-histograms")
    page.page.wait_for_selector("canvas")
    page.page.click("#tab-compare")
    page.page.wait_for_selector("#comparison")
    assert "0.02" in page.text("#comparison")


def test_settings_curves_and_graphs(board, tmp_path):
    net = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU()), torch.nn.Linear(8, 2))
    for name, lr in (("first", 0.1), ("second", 0.01)):
        with SummaryWriter(tmp_path / name) as writer:
            writer.add_graph(net, torch.zeros(3, 4))
            for step in (0, 10):
                writer.add_pr_curve("digits/three", torch.arange(40) % 2, torch.linspace(0, 1, 40), step)
            writer.add_hparams({"lr": lr, "optimizer": EVIL}, {"right": 1 - lr}, run_name=".")
    page = board(tmp_path)
    page.page.click("#tab-hparams")
    page.page.wait_for_selector("#settings")
    assert "0.99" in page.text("#settings") and EVIL in page.text("#settings")
    for first in ("second", "first"):  # by the learning rate, up and then down
        page.page.click("#settings th:nth-child(2)")
        page.until("#settings tr:nth-child(2) td:first-child", first)
    page.page.click("#tab-curves")
    page.page.wait_for_selector(".card canvas")
    assert page.count(".card canvas") == 2 and "10" in page.text(".card[data-tag='digits/three'] div div")
    page.page.click("#tab-graphs")
    page.page.locator("g.module").nth(3).wait_for()
    card = page.page.locator(".card").first
    assert card.locator("g.module").count() == 2 and card.locator("path.arrow").count() == 3
    card.locator("g.module").first.click()
    card.locator("g.module text", has_text="Linear[0]").wait_for()
    card.locator("button").first.click()
    card.locator("g.module text", has_text="Linear[0]").wait_for(state="detached")


def test_a_hundred_thousand_numbers_while_they_are_written(board, tmp_path):
    with SummaryWriter(tmp_path / "long") as writer:
        for i in range(99_990):
            writer.add_scalar("loss", i % 100, i)
        writer.flush()
        page = board(tmp_path)
        page.until(".card .muted", "99,990 points")
        for i in range(99_990, 100_000):
            writer.add_scalar("loss", i % 100, i)
        writer.flush()
        page.until(".card .muted", "100,000 points")
    before = page.seconds()
    page.page.hover("canvas")
    assert "step" in page.text("#tip") and page.seconds() - before < 1


# --- profiles -------------------------------------------------------------------------------------------------


def test_a_timeline(chromium, tmp_path):
    net, x = Net().eval(), torch.randn(4, 3)
    with torch.profiler.profile(with_stack=True) as p:
        for _ in range(3):
            net(x).sum().backward()
    p.export_html(tmp_path / "profile.html")
    page = Opened(chromium, (tmp_path / "profile.html").resolve().as_uri())
    assert page.text("#tables h2") == "by op" and page.count("#tables section") == 3
    page.press("/")
    page.page.keyboard.type("addmm")
    assert int(page.text("#found").split()[0]) >= 6
    page.press("Escape", "+", "ArrowRight", "0")
    page.page.mouse.move(700, 65)
    assert page.errors == [] and len(page.requests) == 1
