"""``flambeau serve`` as a process: what clients of other servers make of it, and how it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from tests import serving
from tests.serving import running

import httpx2 as httpx  # isort: skip  (serving skips where it is not installed)


NET = """
import torch

def make():
    return torch.nn.Linear(1, 1, bias=False)
"""


@pytest.fixture
def scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """The command line for a model that multiplies by three; its factory is written for PyTorch."""
    (tmp_path / "net_of_the_test.py").write_text(NET)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    weights = serving.save_scaled(tmp_path / "scaled.pt", 3.0)
    return weights, "--factory", "net_of_the_test:make", "--input", "input:FP32:-1x1", "--max-batch", "4"


def test_triton_client(scaled: tuple[object, ...]) -> None:
    triton = pytest.importorskip("tritonclient.http")
    with running(*scaled) as server:
        server.logged("model loaded")
        client = triton.InferenceServerClient(server.address.removeprefix("http://"))
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("scaled")
        assert client.get_server_metadata()["name"] == "flambeau"
        assert client.get_model_metadata("scaled", "1")["inputs"][0]["shape"] == [-1, 1]
        assert client.get_model_repository_index()[0]["state"] == "READY"
        values = np.array([[1.0], [2.0], [-0.5]], np.float32)
        for binary in (True, False):
            x = triton.InferInput("input", [3, 1], "FP32")
            x.set_data_from_numpy(values, binary_data=binary)
            for packed in (None, "gzip", "deflate"):
                result = client.infer(
                    "scaled",
                    [x],
                    outputs=[triton.InferRequestedOutput("output", binary_data=binary)],
                    request_compression_algorithm=packed,
                )
                assert np.array_equal(result.as_numpy("output"), values * 3)
        with pytest.raises(Exception, match="expected the shape"):
            wrong = triton.InferInput("input", [3], "FP32")
            wrong.set_data_from_numpy(values[:, 0])
            client.infer("scaled", [wrong])
        client.unload_model("scaled")
        assert not client.is_model_ready("scaled")
        client.load_model("scaled")
        assert client.is_model_ready("scaled")
        client.close()
        assert server.end() == 0
        assert server.logged("stopped")


def test_it_ends_after_it_has_answered(tmp_path: Path) -> None:
    serving.save_handler(tmp_path / "slow", serving.SLOW, max_batch=1)
    with running(tmp_path) as server:
        server.logged("model loaded")
        answers: list[httpx.Response] = []

        def ask() -> None:
            with httpx.Client(base_url=server.address, timeout=30) as client:
                answers.append(serving.infer(client, "slow", serving.tensor("x", [[1.0]])))

        asking = [threading.Thread(target=ask) for _ in range(3)]
        for thread in asking:
            thread.start()
        with httpx.Client(base_url=server.address) as client:
            while 'flambeau_serve_queue{model="slow",version="1"} 2.0' not in client.get("/metrics").text:
                time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        (tmp_path / "slow" / "go").touch()
        assert server.process.wait(30) == 0
        for thread in asking:
            thread.join()
        assert [serving.outputs_of(answer)["x"].item() for answer in answers] == [1.0] * 3


def test_who_has_gone_leaves_the_queue(tmp_path: Path) -> None:
    serving.save_handler(tmp_path / "slow", serving.SLOW, max_batch=1)
    with running(tmp_path) as server:
        server.logged("model loaded")
        for _ in range(4):
            with httpx.Client(base_url=server.address, timeout=0.1) as client, pytest.raises(httpx.TimeoutException):
                serving.infer(client, "slow", serving.tensor("x", [[1.0]]))
        assert {line["status"] for line in server.logged("request", 4)} == {499}
        (tmp_path / "slow" / "go").touch()
        with httpx.Client(base_url=server.address, timeout=30) as client:
            serving.outputs_of(serving.infer(client, "slow", serving.tensor("x", [[1.0]])))
            text = client.get("/metrics").text
        ran = re.search(r'flambeau_serve_batch_rows_count{model="slow",version="1"} (\d+)', text)
        assert ran and int(ran[1]) <= 2  # the first, if it ran already, and the last


def test_several_workers(scaled: tuple[object, ...]) -> None:
    with running(*scaled, "--workers", 2, FLAMBEAU_SERVE_TOKEN="secret") as server:
        server.logged("model loaded", 2)
        headers = {"Authorization": "Bearer secret", "Connection": "close"}  # so that both workers are met
        with httpx.Client(base_url=server.address) as client:
            for i in range(20):
                assert client.post("/predictions/scaled", json=[[i]], headers=headers).json() == [[3.0 * i]]
            assert client.post("/predictions/scaled", json=[[1]]).status_code == 401
            text = client.get("/metrics", headers=headers).text
        assert 'flambeau_serve_requests_total{code="200",route="/predictions/{model}"} 20.0' in text  # of both together
        assert server.end() == 0


def test_what_cannot_start_says_why_and_ends(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"no model")
    for workers in (1, 2):
        with running(tmp_path / "bad.pt", "--factory", serving.FACTORY, "--workers", workers) as server:
            assert server.process.wait(60) == 3
            assert server.logged("model not loaded")[0]["reason"]
    with running(tmp_path / "not there") as server:
        assert server.process.wait(60) == 2
        server.reader.join()
        assert "no such file or folder" in server.lines[-1]


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads the memory of a process from /proc")
def test_reloads_leave_no_memory_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version has 4 MiB of weights: if a quarter of the old ones were left, it would show."""
    size, reloads, settled = 4 << 20, 40, 10
    (tmp_path / "net_of_reloads.py").write_text(
        "import torch\n\n\ndef make():\n    return torch.nn.Linear(1024, 1024, bias=False)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    root = tmp_path / "models" / "net"
    root.mkdir(parents=True)

    def put(version: int) -> None:
        (root / "new").mkdir()
        torch.save({"weight": torch.full((1024, 1024), float(version))}, root / "new" / "model.pt")
        os.rename(root / "new", root / str(version))

    put(1)
    words = (
        tmp_path / "models",
        "--factory",
        "net_of_reloads:make",
        "--input",
        "input:FP32:-1x1024",
        "--max-batch",
        "1",
        "--poll",
        "0",
        "--quiet",
    )
    with running(*words) as server:
        server.logged("model loaded")
        memory = []
        for version in range(2, reloads + 2):
            put(version)
            assert httpx.post(server.address + "/v2/repository/models/net/load", timeout=60).status_code == 200
            answer = httpx.post(server.address + "/predictions/net", json=[[1.0] * 1024]).json()
            assert answer[0][0] == 1024.0 * version
            shutil.rmtree(root / str(version - 1))
            pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
            memory.append(pages * os.sysconf("SC_PAGE_SIZE"))
        assert max(memory[-10:]) - max(memory[:settled]) < (reloads - settled) * size / 4
