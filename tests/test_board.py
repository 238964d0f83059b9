"""``flambeau board``: event files read while they grow, and what its page is answered (``test_pages_in_a_browser.py`` opens it)."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import flambeau as torch
from flambeau.board.events import Damaged, EventFile, fields
from flambeau.board.graphs import Node, folded, nodes_of
from flambeau.board.runs import Folder, Scalars
from flambeau.board.series import curve, rebinned, smoothed, thinned
from flambeau.utils.tensorboard import SummaryWriter
from flambeau.utils.tensorboard import messages as m


@pytest.fixture
def run(tmp_path):
    """A folder with one run that has something of each kind."""
    with SummaryWriter(tmp_path / "first") as writer:
        for i in range(5):
            writer.add_scalar("loss", 1.0 / (i + 1), i)
        writer.add_scalar("new", 2.5, 1, new_style=True)
        writer.add_scalar("double", 1.25, -3, new_style=True, double_precision=True)
        writer.add_histogram("weights", torch.arange(10.0), 0)
        writer.add_image("picture", torch.rand(3, 4, 4), 7)
        writer.add_text("notes", "<b>你好</b>", 2)
        writer.add_audio("tone", torch.zeros(1, 10), 0, 8000)
    return tmp_path


def test_everything_is_read(run):
    folder = Folder(run)
    folder.refresh(60)
    assert folder.complete and list(folder.runs) == ["first"]
    series = folder.runs["first"].series
    loss = series["scalars"]["loss"]
    assert list(loss.steps) == [0, 1, 2, 3, 4] and loss.values[1] == 0.5
    assert series["scalars"]["new"].values[0] == 2.5
    assert (series["scalars"]["double"].steps[0], series["scalars"]["double"].values[0]) == (-3, 1.25)
    assert sum(series["histograms"]["weights"][0].counts) == 10
    assert series["text"]["notes"][0].text == "<b>你好</b>"
    for kind, tag, magic in (("images", "picture", b"\x89PNG"), ("audio", "tone", b"RIFF")):
        blob = series[kind][tag][0]
        assert blob.file.read(blob.place, blob.size).startswith(magic)


def test_files_are_read_on_while_they_grow(tmp_path):
    writer = SummaryWriter(tmp_path)
    writer.add_scalar("a", 1.0, 0)
    writer.flush()
    folder = Folder(tmp_path)
    folder.refresh(60)
    before = folder.version()
    (path,) = tmp_path.glob("events.*")
    writer.add_scalar("a", 2.0, 1)
    writer.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])  # the last record is still being written
    folder.refresh(60)
    assert list(folder.runs["."].series["scalars"]["a"].values) == [1.0] and folder.version() == before
    path.write_bytes(whole)
    folder.refresh(60)
    assert list(folder.runs["."].series["scalars"]["a"].values) == [1.0, 2.0] and folder.version() > before


def test_a_run_that_was_taken_up_again(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for i in range(6):
            writer.add_scalar("a", float(i), i)
    with SummaryWriter(tmp_path, purge_step=3) as writer:
        writer.add_scalar("a", 30.0, 3)
    folder = Folder(tmp_path)
    folder.refresh(60)
    assert list(folder.runs["."].series["scalars"]["a"].values) == [0.0, 1.0, 2.0, 30.0]


def test_damaged_files(tmp_path):
    with SummaryWriter(tmp_path / "a") as writer:
        writer.add_scalar("x", 1.0, 0)
    (path,) = (tmp_path / "a").glob("events.*")
    with path.open("ab") as file:
        file.write(b"this is no record at all, is it?")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "events.out.tfevents.0.empty").write_bytes(b"")
    folder = Folder(tmp_path)
    folder.refresh(60)
    assert folder.complete and len(folder.runs["a"].series["scalars"]["x"]) == 1
    assert folder.runs["a"].files[0].damaged.startswith("no record at byte")
    data = m.Event(wall_time=1.0, step=3, summary=m.Summary(value=[m.Value(tag="t", simple_value=1.0)])).SerializeToString()
    rng = np.random.default_rng(0)
    for _ in range(300):  # whatever the bytes are, it is a message or it is not
        broken = bytearray(data[: rng.integers(1, len(data) + 1)])
        broken[rng.integers(len(broken))] ^= int(rng.integers(1, 256))
        try:
            fields(bytes(broken))
        except Damaged:
            pass
    assert list(EventFile(path).records(most=8)) == []


def test_series():
    x, y = np.arange(100_000), np.sin(np.arange(100_000) / 1e4)
    y[54_321], y[77_777] = 50.0, np.nan
    kept = thinned(x, y)
    assert len(kept) <= 800 and {0, 54_321, 99_999} <= set(kept.tolist())
    assert thinned(x[:10], y[:10]).tolist() == list(range(10))
    assert len(thinned(x, np.full(100_000, np.nan))) <= 800
    assert smoothed(np.array([1.0, np.nan, 3.0]), 0.5)[2] == pytest.approx(7 / 3)
    series = Scalars()
    for i in range(10):
        series.add(i, 100.0 + i, float("inf") if i == 3 else float(i))
    shown = curve(series, 0.0, "relative", 2.0, 5.0, 100.0)
    assert shown["x"] == [2.0, 3.0, 4.0, 5.0] and shown["y"] == [2.0, None, 4.0, 5.0] and shown["count"] == 10


def test_histograms_get_the_same_bins(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(100):
            writer.add_histogram("w", torch.randn(50) + step, step)
        writer.add_histogram("same", torch.ones(5), 0)
    folder = Folder(tmp_path)
    folder.refresh(60)
    shown = rebinned(folder.runs["."].series["histograms"]["w"])
    assert len(shown["rows"]) == 40 and shown["steps"][0] == 0 and shown["steps"][-1] == 99
    assert all(sum(row) == pytest.approx(50) for row in shown["rows"])
    assert sum(rebinned(folder.runs["."].series["histograms"]["same"])["rows"][0]) == pytest.approx(5)


@pytest.fixture
def client(run):
    pytest.importorskip("starlette")
    testclient = pytest.importorskip("starlette.testclient")
    from flambeau.board.app import make_app

    with testclient.TestClient(make_app(Folder(run)), base_url="http://127.0.0.1") as client:
        yield client


def test_answers(client):
    state = client.get("/api/state").json()
    assert state["complete"] and state["runs"][0]["scalars"] == {"loss": 5, "new": 1, "double": 1}
    page = client.get("/")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"] and "@@" not in page.text
    about = {"run": "first", "tag": "loss"}
    assert client.get("/api/scalars", params=about).json()["first"]["steps"] == [0, 1, 2, 3, 4]
    assert client.get("/api/histograms", params={**about, "tag": "weights"}).json()["count"] == 1
    assert client.get("/api/text", params={**about, "tag": "notes"}).json() == [{"step": 2, "text": "<b>你好</b>"}]
    picture = {**about, "tag": "picture", "kind": "images"}
    assert client.get("/api/steps", params=picture).json() == [7]
    assert client.get("/api/blob", params={**picture, "index": 0}).headers["content-type"] == "image/png"


def test_what_is_refused(client):
    client.get("/api/state")
    assert client.get("/api/state", headers={"Host": "elsewhere.example"}).status_code == 400
    for query, status in (
        ({"run": "first"}, 404), ({"run": "first", "tag": "loss", "axis": "up"}, 400), ({"run": "first", "tag": "loss", "smoothing": "much"}, 400),
    ):  # fmt: skip
        assert client.get("/api/scalars", params=query).status_code == status
    assert client.get("/api/blob", params={"run": "first", "tag": "loss", "kind": "scalars", "index": 0}).status_code == 404
    assert client.get("/api/blob", params={"run": "../..", "tag": "loss", "kind": "images", "index": 0}).status_code == 404
    assert client.post("/api/state").status_code == 405


def test_command(tmp_path):
    command = [sys.executable, "-m", "flambeau", "board", str(tmp_path / "nowhere")]
    assert "there is no such folder" in subprocess.run(command, capture_output=True, text=True).stderr


def test_curves_of_precision(tmp_path):
    labels, predictions = torch.tensor([0, 1, 1, 0, 1]), torch.tensor([0.1, 0.9, 0.8, 0.7, 0.2])
    with SummaryWriter(tmp_path) as writer:
        writer.add_pr_curve("digits/three", labels, predictions, 3, num_thresholds=5)
    folder = Folder(tmp_path)
    folder.refresh(60)
    (curve,) = folder.runs["."].series["curves"]["digits/three"]
    assert curve.step == 3 and len(curve.precision) == len(curve.recall) == 5
    assert curve.precision[0] == pytest.approx(3 / 5) and curve.recall[0] == 1
    assert curve.precision[3] == pytest.approx(1) and curve.recall[3] == pytest.approx(2 / 3)  # of .75 and above: .9 and .8


def test_settings_and_what_came_of_them(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for i, lr in enumerate((0.1, 0.01)):
            writer.add_hparams({"lr": lr, "optimizer": "Adam", "norm": True}, {"hp/right": 0.5 + i / 4}, run_name=f"try{i}")
    folder = Folder(tmp_path)
    folder.refresh(60)
    run = folder.runs["try1"]
    assert run.settings == {"lr": 0.01, "optimizer": "Adam", "norm": 1.0}
    assert run.metrics == ["hp/right"] and run.series["scalars"]["hp/right"].values[0] == 0.75


def test_a_graph_is_folded(tmp_path):
    net = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU()), torch.nn.Linear(8, 2))
    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(net, torch.zeros(3, 4))
    folder = Folder(tmp_path)
    folder.refresh(60)
    (blob,) = folder.runs["."].series["graphs"]["graph"]
    nodes = nodes_of(blob.file.read(blob.place, blob.size))
    drawn = folded(nodes, [])
    assert [(box.kind, box.operations, box.weights, box.layer) for box in drawn["boxes"]] == [
        ("IO Node", 1, 0, 0), ("module", 2, 2, 1), ("module", 1, 2, 2), ("IO Node", 1, 0, 3)]  # fmt: skip
    assert drawn["arrows"] == [(0, 1), (1, 2), (2, 3)]
    assert drawn["boxes"][1].shape == [3, 8]
    inside = folded(nodes, [drawn["boxes"][1].key])
    assert [box.label for box in inside["boxes"][1:3]] == ["Linear[0]", "ReLU[1]"]
    path = inside["boxes"][1].key
    assert folded(nodes, [path])["boxes"] == drawn["boxes"], "what is in a folded module stays in it"


def test_a_graph_of_boxes_that_need_each_other():
    back = [
        Node("x", "IO Node", [], None),
        Node("N/a/1", "aten::exp", ["x"], None),
        Node("N/b/2", "aten::exp", ["N/a/1"], None),
        Node("N/a/3", "aten::exp", ["N/b/2"], None),
    ]
    drawn = folded(back, [])
    assert [box.layer for box in drawn["boxes"]] == [0, 1, 2] and set(drawn["arrows"]) == {(0, 1), (1, 2), (2, 1)}
