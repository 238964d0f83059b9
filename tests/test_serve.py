"""``flambeau serve`` in this process: the protocol, batches, versions, and what is refused."""

from __future__ import annotations

import asyncio
import gzip
import importlib.util
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.core.loopback import NAMES
from tests import serving

from flambeau.serve.batching import Batcher, ComputeThread  # isort: skip  (serving skips where there is no starlette)
from flambeau.serve.config import ModelConfig, ModelError, parse_spec  # isort: skip

from flambeau.serve.front import Limits  # isort: skip
from flambeau.serve.model import Model  # isort: skip
from flambeau.serve.protocol import DATATYPES, HEADER_LENGTH, decode  # isort: skip

VALUES = {"BOOL": [True, False, True], "BYTES": [b"a", b"", b"long \xc3\xa9"]}


@pytest.fixture
def scaled(tmp_path: Path) -> Path:
    return serving.save_scaled(tmp_path / "scaled.pt", 3.0)


@pytest.fixture(scope="module")
def thrice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a model that multiplies by three."""
    with serving.serving(serving.save_scaled(tmp_path_factory.mktemp("models") / "scaled.pt", 3.0), serving.SCALED) as client:
        yield client


# --- the protocol -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_comes_back_as_it_went(tmp_path: Path, datatype: str, binary: bool) -> None:
    serving.save_handler(tmp_path / "echo", serving.ECHO)
    values = np.array(VALUES.get(datatype, [0, 1, 100]), DATATYPES[datatype])
    with serving.serving(tmp_path) as client:
        for shape in ((3,), (3, 1), (1, 3)):
            sent = serving.tensor("x", values.reshape(shape), datatype, binary)
            found = serving.outputs_of(serving.infer(client, "echo", sent, parameters={"binary_data_output": binary}))["x"]
            assert found.dtype == values.dtype and found.shape == shape and found.tolist() == values.reshape(shape).tolist()


def test_metadata_health_and_pages(thrice: Any) -> None:
    assert thrice.get("/v2").json()["name"] == "flambeau"
    assert thrice.get("/v2/health/live").status_code == thrice.get("/v2/models/scaled/ready").status_code == 200
    assert thrice.get("/v2/models/scaled/versions/1/ready").status_code == 200
    assert thrice.get("/v2/models/other/ready").status_code == 404
    about = thrice.get("/v2/models/scaled").json()
    assert about["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 1]}]
    assert about["outputs"] == [{"name": "output", "datatype": "FP32", "shape": [-1, 1]}]  # found out while it was warmed
    assert about["versions"] == ["1"]
    assert thrice.get("/ping").json() == {"status": "Healthy"}
    assert "/v2/models/scaled/infer" in thrice.get("/openapi.json").json()["paths"]
    assert "<title>flambeau serve</title>" in thrice.get("/").text
    assert thrice.get("/nothing").json() == {"error": "GET /nothing: Not Found"}
    assert thrice.get("/v2/models/scaled/infer").status_code == 405


def test_outputs_ids_and_binary_are_as_asked(thrice: Any) -> None:
    x = serving.tensor("input", [[1.0], [2.0]])
    response = serving.infer(thrice, "scaled", x, id="seven", path="/versions/1")
    assert response.json()["id"] == "seven" and response.json()["model_version"] == "1"
    assert serving.outputs_of(response)["output"].tolist() == [[3.0], [6.0]]
    response = serving.infer(thrice, "scaled", x, outputs=[{"name": "output", "parameters": {"binary_data": True}}])
    assert HEADER_LENGTH in response.headers and serving.outputs_of(response)["output"].tolist() == [[3.0], [6.0]]
    assert "no output 'y'" in serving.infer(thrice, "scaled", x, outputs=[{"name": "y"}]).json()["error"]


def test_numbers_by_torchserves_names(thrice: Any) -> None:
    assert thrice.post("/predictions/scaled", json=[[1], [2.5]]).json() == [[3.0], [7.5]]
    assert thrice.post("/predictions/scaled/1", json={"input": [[1]]}).json() == [[3.0]]
    assert thrice.post("/predictions/scaled", json={"x": [[1]]}).status_code == 400


def test_json_has_no_infinities(thrice: Any) -> None:
    assert thrice.post("/predictions/scaled", json=[[None], [3e38]]).json() == [[None], [None]]
    x = serving.tensor("input", [[np.inf], [np.nan]], binary=True)
    found = serving.outputs_of(serving.infer(thrice, "scaled", x, parameters={"binary_data_output": True}))["output"]
    assert np.isposinf(found[0, 0]) and np.isnan(found[1, 0])


def one(**changes: object) -> dict:
    return {"inputs": [{"name": "input", "shape": [1, 1], "datatype": "FP32", "data": [1], **changes}]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", '"inputs"'),
        (b'{"inputs": [7]}', '"name"'),
        (one(shape=[1, -1]), "sizes"),
        (one(shape=[1, True]), "sizes"),
        (one(shape=[2, 1]), "2 elements, but 1 came"),
        (one(datatype="FP8"), "FP16"),
        (one(datatype="INT8", data=[300]), "outside of INT8"),
        (one(datatype="UINT8", data=[-1]), "outside of UINT8"),
        (one(datatype="INT64", data=[10**30]), "integers"),
        (one(datatype="INT64", data=[1.5]), "integers"),
        (one(datatype="BOOL", data=[1]), "true and false"),
        (one(data=["1"]), "numbers"),
        (one(data=[[1], [2, 3]]), "equally long"),
        (one(data={"a": 1}), "numbers"),
        (one(name="other"), "takes the inputs input"),
        (one(datatype="FP64"), "expected FP32, got FP64"),
        (one(shape=[1], data=[1]), "expected the shape [-1, 1]"),
        (one(parameters={"binary_data_size": 4}), "0 bytes follow"),
        (one(parameters=[]), '"parameters"'),
        ({"inputs": one()["inputs"] * 2}, "given twice"),
        ({**one(), "outputs": [1]}, '"outputs"'),
        ({**one(), "parameters": {"timeout": "soon"}}, "microseconds"),
    ],
)
def test_wrong_requests_are_told_what_was_expected(thrice: Any, body: object, words: str) -> None:
    response = thrice.post("/v2/models/scaled/infer", content=body if isinstance(body, bytes) else json.dumps(body))
    assert response.status_code == 400 and words in response.json()["error"], response.text


def test_bytes_that_were_changed_never_break_the_reader() -> None:
    chance = random.Random(0)
    parts = [serving.tensor("a", [[1, 2]], "FP16", True), serving.tensor("b", [b"xy", b""], "BYTES", True)]
    head = json.dumps({"inputs": [entry for entry, _ in parts]}).encode()
    whole = head + b"".join(raw for _, raw in parts)
    from flambeau.serve.protocol import RequestError

    for _ in range(2000):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        length = str(len(head) + chance.choice((0, 0, 0, -1, 1)))
        try:
            request = decode(bytes(body[: chance.randint(len(head) - 2, len(body))]), length)
        except RequestError:
            continue
        assert all(isinstance(x, np.ndarray) for x in request.inputs.values())


# --- limits -----------------------------------------------------------------------------------------------------


def test_bodies_have_a_limit_also_unpacked(scaled: Path) -> None:
    with serving.serving(scaled, serving.SCALED, limits=Limits(max_body=2000)) as client:
        body = json.dumps(one()).encode()
        packed = client.post("/v2/models/scaled/infer", content=gzip.compress(body), headers={"Content-Encoding": "gzip"})
        assert serving.outputs_of(packed)["output"].tolist() == [[3.0]]
        bomb = gzip.compress(b" " * 1_000_000)
        assert len(bomb) < 2000
        for content, headers in ((b" " * 3000, {}), (iter([b" " * 1500] * 2), {}), (bomb, {"Content-Encoding": "gzip"})):
            assert client.post("/v2/models/scaled/infer", content=content, headers=headers).status_code == 413
        for content, encoding, status in ((b"abc", "gzip", 400), (gzip.compress(body)[:-9], "gzip", 400), (body, "br", 415)):
            assert (
                client.post("/v2/models/scaled/infer", content=content, headers={"Content-Encoding": encoding}).status_code
                == status
            )


def test_a_token_is_asked_for(scaled: Path) -> None:
    with serving.serving(scaled, serving.SCALED, limits=Limits(token="secret")) as client:
        assert client.get("/v2/health/ready").status_code == 200
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic secret"}, {"Authorization": "Bearer "}):
            response = client.get("/v2/models/scaled", headers=headers)
            assert response.status_code == 401 and response.headers["WWW-Authenticate"] == "Bearer"
        assert client.get("/v2/models/scaled", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_pages_of_other_sites_are_refused(scaled: Path) -> None:
    with serving.serving(scaled, serving.SCALED) as client:
        assert client.post("/v2/repository/models/scaled/unload", headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.get("/v2", headers={"Origin": "http://testserver"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1:8080", 200), ("localhost", 200), ("[::1]:8080", 200), ("evil.example:8080", 403), ("", 403)]
)
def test_a_server_of_this_machine_goes_by_no_other_name(scaled: Path, host: str, status: int) -> None:
    """A page of ``evil.example`` that has let its name lead to 127.0.0.1 is of the same origin for the browser."""
    with serving.serving(scaled, serving.SCALED, limits=Limits(hosts=NAMES)) as client:
        assert client.get("/v2", headers={"Host": host, "Origin": f"http://{host}"}).status_code == status


def test_a_full_queue_refuses_at_once_and_deadlines_hold(tmp_path: Path) -> None:
    serving.save_handler(tmp_path / "slow", serving.SLOW, max_queue=2, max_batch=1)
    with serving.serving(tmp_path) as client, ThreadPoolExecutor(8) as threads:
        x = serving.tensor("x", [[1.0]])
        late = serving.infer(client, "slow", x, parameters={"timeout": 50_000})
        assert late.status_code == 504 and "0.05 s" in late.json()["error"]
        waiting = [threads.submit(serving.infer, client, "slow", x) for _ in range(2)]  # behind the one that still runs
        while 'flambeau_serve_queue{model="slow",version="1"} 2.0' not in client.get("/metrics").text:
            time.sleep(0.01)
        refused = serving.infer(client, "slow", x)
        assert refused.status_code == 503 and int(refused.headers["Retry-After"]) >= 1
        (tmp_path / "slow" / "go").touch()
        assert all(serving.outputs_of(f.result())["x"].tolist() == [[1.0]] for f in waiting)


# --- batches ----------------------------------------------------------------------------------------------------


def test_each_of_many_mixed_requests_gets_its_own_answer(scaled: Path) -> None:
    """Rows, forms and wrong requests in any order from many threads."""
    with serving.serving(scaled, serving.SCALED) as client, ThreadPoolExecutor(12) as threads:

        def ask(i: int) -> None:
            rows = i % 6 + 1
            values = np.arange(rows, dtype=np.float32).reshape(rows, 1) + i
            kind = i % 5
            if kind == 4:
                response = serving.infer(client, "scaled", serving.tensor("input", np.full((rows, 2), i)))
                assert response.status_code == 400 and "[-1, 1]" in response.json()["error"]
                return
            response = serving.infer(
                client,
                "scaled",
                serving.tensor("input", values, binary=kind % 2 == 0),
                id=str(i),
                parameters={"binary_data_output": kind > 1},
            )
            assert np.array_equal(serving.outputs_of(response)["output"], values * 3)

        list(threads.map(ask, range(200)))
        text = client.get("/metrics").text
        batches = float(next(line for line in text.splitlines() if line.startswith("flambeau_serve_batch_rows_count")).split()[-1])
        assert 0 < batches <= 160


def test_a_batch_is_as_good_as_single_requests(tmp_path: Path) -> None:
    from flambeau.cli.demo import DigitNet

    torch.manual_seed(0)
    net = DigitNet()
    torch.save(net.state_dict(), tmp_path / "digits.pt")
    net.eval()
    images = torch.randn(7, 1, 8, 8)
    want = net(images).detach().numpy()
    config = ModelConfig(factory="flambeau.cli.demo:DigitNet", inputs=(parse_spec("images:FP32:-1x1x8x8"),), max_batch=8)
    with serving.serving(tmp_path / "digits.pt", config) as client:
        whole = serving.outputs_of(serving.infer(client, "digits", serving.tensor("images", images.numpy(), binary=True)))["output"]
        np.testing.assert_allclose(whole, want, rtol=1e-5, atol=1e-5)
        for i in range(7):
            alone = serving.outputs_of(serving.infer(client, "digits", serving.tensor("images", images.numpy()[i : i + 1])))[
                "output"
            ]
            np.testing.assert_allclose(alone, want[i : i + 1], rtol=1e-5, atol=1e-5)


PICKY = """
def load(folder): return None
def predict(model, inputs):
    if (inputs["x"] < 0).any():
        raise ValueError("no roots of negative numbers")
    return inputs["x"].sqrt()
"""


def test_one_bad_request_does_not_spoil_its_batch(tmp_path: Path) -> None:
    serving.save_handler(tmp_path / "root", PICKY, max_delay=0.05, max_batch=8)
    with serving.serving(tmp_path) as client, ThreadPoolExecutor(4) as threads:
        responses = list(threads.map(lambda v: serving.infer(client, "root", serving.tensor("x", [[v]])), (4.0, -1.0, 9.0, 16.0)))
        assert [r.status_code for r in responses] == [200, 500, 200, 200]
        assert "ValueError: no roots" in responses[1].json()["error"]
        assert [serving.outputs_of(responses[i])["output"].item() for i in (0, 2, 3)] == [2.0, 3.0, 4.0]


def test_models_without_rows_run_alone(tmp_path: Path) -> None:
    serving.save_handler(tmp_path / "total", "def load(folder): return lambda x: x.sum()\n", max_batch=0)
    serving.save_handler(tmp_path / "wrong", "def load(folder): return lambda x: x.sum()\n")
    with serving.serving(tmp_path) as client:
        x = serving.tensor("x", [1.0, 2.0])
        assert serving.outputs_of(serving.infer(client, "total", x))["output"].item() == 3.0
        assert "max_batch 0" in serving.infer(client, "wrong", x).json()["error"]


# --- models, versions, files ------------------------------------------------------------------------------------


def weight(client: Any) -> float:
    return serving.outputs_of(serving.infer(client, "m", serving.tensor("input", [[1.0]])))["output"].item()


def wait_for(condition: Any, what: str = "") -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def test_versions_replace_each_other(tmp_path: Path) -> None:
    serving.save_scaled(tmp_path / "m" / "1" / "model.pt", 1.0)
    with serving.serving(tmp_path, serving.SCALED, poll=0.02) as client:
        assert weight(client) == 1.0
        serving.save_scaled(tmp_path / "new" / "model.pt", 2.0)
        os.rename(tmp_path / "new", tmp_path / "m" / "2")
        wait_for(lambda: weight(client) == 2.0)
        (tmp_path / "m" / "3").mkdir()
        (tmp_path / "m" / "3" / "model.pt").write_bytes(b"not a model")
        wait_for(lambda: any(row["version"] == "3" and row["reason"] for row in client.post("/v2/repository/index").json()))
        assert weight(client) == 2.0  # the old one stays
        os.rename(tmp_path / "m" / "3", tmp_path / "gone")
        serving.save_scaled(tmp_path / "m" / "2" / "model.pt", 5.0)
        wait_for(lambda: weight(client) == 5.0)
        assert client.get("/v2/models/m").json()["versions"] == ["2"]


def test_reloads_under_load_lose_no_request(tmp_path: Path) -> None:
    serving.save_scaled(tmp_path / "m" / "1" / "model.pt", 1.0)
    with serving.serving(tmp_path, serving.SCALED, poll=0.01) as client, ThreadPoolExecutor(4) as threads:
        done = threading.Event()

        def ask() -> list[float]:
            seen = []
            while not done.is_set():
                seen.append(weight(client))
            return seen

        asking = [threads.submit(ask) for _ in range(4)]
        for version in range(2, 8):
            serving.save_scaled(tmp_path / f"v{version}" / "model.pt", float(version))
            os.rename(tmp_path / f"v{version}", tmp_path / "m" / str(version))
            wait_for(lambda version=version: weight(client) == version)
        done.set()
        for future in asking:
            seen = future.result()
            assert seen == sorted(seen) and set(seen) <= set(map(float, range(1, 8)))


def test_models_are_loaded_and_unloaded_by_request(tmp_path: Path) -> None:
    serving.save_scaled(tmp_path / "m" / "model.pt", 4.0)
    with serving.serving(tmp_path, serving.SCALED) as client:
        assert client.post("/v2/repository/index", json={"ready": True}).json() == [
            {"name": "m", "version": "1", "state": "READY", "reason": ""}
        ]
        assert client.post("/v2/repository/models/m/unload").status_code == 200
        assert serving.infer(client, "m", serving.tensor("input", [[1.0]])).status_code == 404
        assert client.post("/v2/repository/index").json()[0]["reason"] == "unloaded"
        assert client.post("/v2/repository/models/m/load").status_code == 200
        assert weight(client) == 4.0
        assert "no such model" in client.post("/v2/repository/models/other/load").json()["error"]
        serving.save_scaled(tmp_path / "late" / "model.pth", 6.0)
        assert client.post("/v2/repository/models/late/load").status_code == 200
        assert client.post("/predictions/late", json=[[1]]).json() == [[6.0]]
    with serving.serving(tmp_path, serving.SCALED, control=False) as client:
        assert client.post("/v2/repository/models/m/unload").status_code == 403


@pytest.mark.parametrize("versions", ["all", ["1", 2]])
def test_several_versions_at_once(tmp_path: Path, versions: object) -> None:
    for version in (1, 2, 10):
        serving.save_scaled(tmp_path / "m" / str(version) / "model.pt", float(version))
    (tmp_path / "m" / "config.json").write_text(json.dumps({"versions": versions, "factory": serving.FACTORY}))
    with serving.serving(tmp_path) as client:
        served = ["1", "2", "10"] if versions == "all" else ["1", "2"]
        assert client.get("/v2/models/m").json()["versions"] == served
        for version in served:
            response = serving.infer(client, "m", serving.tensor("input", [[1.0]]), path=f"/versions/{version}")
            assert serving.outputs_of(response)["output"].item() == float(version)
        assert weight(client) == float(served[-1])


def test_files_of_every_kind(tmp_path: Path) -> None:
    numpy_files = pytest.importorskip("safetensors.numpy")
    net = serving.scaled()
    net.load_state_dict({"weight": torch.tensor([[7.0]])})
    for kind in ("pt", "safetensors", "pt2"):
        (tmp_path / kind).mkdir()
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, tmp_path / "pt" / "model.pt")
    numpy_files.save_file({"weight": np.array([[7.0]], np.float32)}, tmp_path / "safetensors" / "model.safetensors")
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(net, (torch.ones(2, 1),), dynamic_shapes=({0: batch},)), tmp_path / "pt2" / "model.pt2")
    if importlib.util.find_spec("onnx"):
        (tmp_path / "onnx").mkdir()
        torch.onnx.export(
            net,
            (torch.ones(2, 1),),
            tmp_path / "onnx" / "model.onnx",
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        )
    with serving.serving(tmp_path, ModelConfig(factory=serving.FACTORY, mmap=True)) as client:
        names = {row["name"] for row in client.post("/v2/repository/index", json={"ready": True}).json()}
        assert names == {f.name for f in tmp_path.iterdir()}
        for name in names:
            assert client.post(f"/predictions/{name}", json=[[1], [2], [3]]).json() == [[7.0], [14.0], [21.0]]


@pytest.mark.parametrize("kind", ["slim", "pt2"])
def test_models_of_one_shape_answer_in_that_shape(tmp_path: Path, kind: str) -> None:
    if kind == "slim":
        pytest.importorskip("llvmlite")
        torch.export_slim(lambda x: x * 2, (torch.ones(2, 3),), tmp_path / "m.slim")
    else:
        net = torch.nn.Hardtanh(-2.0, 2.0)
        torch.export.save(torch.export.export(net, (torch.ones(2, 3),)), tmp_path / "m.pt2")
    with serving.serving(tmp_path / f"m.{kind}") as client, ThreadPoolExecutor(4) as threads:
        x = np.arange(6, dtype=np.float32).reshape(2, 3) / 3
        (about,) = client.get("/v2/models/m").json()["inputs"]
        assert about["shape"] == [2, 3]
        ask = lambda i: serving.outputs_of(serving.infer(client, "m", serving.tensor(about["name"], x * i)))  # noqa: E731
        for i, found in enumerate(threads.map(ask, range(8))):
            (y,) = found.values()
            np.testing.assert_array_equal(y, x * i * 2 if kind == "slim" else np.clip(x * i, -2, 2))
        assert serving.infer(client, "m", serving.tensor(about["name"], x[:1])).status_code == 400


def test_slim_models_refuse_rows_that_they_have_no_plan_for(tmp_path: Path) -> None:
    pytest.importorskip("llvmlite")
    rows = torch.export.Dim("n", min=1, max=8)
    torch.export_slim(lambda x: x * 2, (torch.ones(2, 3),), tmp_path / "m.slim", dynamic_shapes=({0: rows},))
    with serving.serving(tmp_path / "m.slim", ModelConfig(max_batch=6)) as client:
        for n in (0, 9, 16, 1, 5, 6, 7, 8):
            x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
            answer = serving.infer(client, "m", serving.tensor("x", x))
            if 1 <= n <= 8:
                (y,) = serving.outputs_of(answer).values()
                np.testing.assert_array_equal(y, x * 2)
            else:
                assert answer.status_code == 400
                assert f"[{n}, 3]" in answer.json()["error"] and "1 to 8 rows" in answer.json()["error"]


def test_slim_models_without_a_plan_for_the_padded_batch_are_not_loaded(tmp_path: Path) -> None:
    pytest.importorskip("llvmlite")
    rows = torch.export.Dim("n", min=1, max=6)
    torch.export_slim(lambda x: x * 2, (torch.ones(2, 3),), tmp_path / "m.slim", dynamic_shapes=({0: rows},))
    with pytest.raises(ModelError, match="1 to 6 rows"):
        Model("m", "1", tmp_path / "m.slim", ModelConfig(max_batch=6))


class Trap:
    def __reduce__(self) -> tuple:
        return os.system, ("touch trapped",)


def test_what_cannot_be_loaded_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    monkeypatch.chdir(tmp_path)
    good = {"weight": torch.tensor([[1.0]])}
    cases = {
        "pickled": (Trap(), {}, "Trap|posix|system|Unpick"),
        "shape": ({"weight": torch.ones(2, 2)}, {}, "size mismatch"),
        "list": ([1], {}, "state dict"),
        "factory": (good, {"factory": "tests.serving:nothing"}, "nothing"),
        "nowhere": (good, {"factory": "not_there:make"}, "not_there"),
        "kind": (good, {"factory": "tests.serving:tensor"}, "tensor"),
        "unknown": (good, {"max_bach": 3}, "max_bach"),
        "value": (good, {"max_batch": "many"}, "number"),
        "spec": (good, {"inputs": [{"name": "x", "datatype": "FP8"}]}, "FP8"),
    }
    for name, (content, config, _) in cases.items():
        (tmp_path / "r" / name).mkdir(parents=True)
        if name == "pickled":
            (tmp_path / "r" / name / "model.pt").write_bytes(pickle.dumps(content))
        else:
            torch.save(content, tmp_path / "r" / name / "model.pt")
        (tmp_path / "r" / name / "config.json").write_text(json.dumps(config))
    (tmp_path / "r" / "empty").mkdir()
    (tmp_path / "r" / "broken").mkdir()
    (tmp_path / "r" / "broken" / "handler.py").write_text("1/0")
    import re

    with serving.serving(tmp_path / "r", ModelConfig(factory=serving.FACTORY)) as client:
        rows = {row["name"]: row for row in client.get("/v2/repository/index").json()}
        for name, (_, _, words) in cases.items():
            assert rows[name]["state"] == "UNAVAILABLE" and re.search(words, rows[name]["reason"]), rows[name]
        assert "neither a file" in rows["empty"]["reason"] and "ZeroDivisionError" in rows["broken"]["reason"]
    assert not (tmp_path / "trapped").exists()


def test_a_single_model_that_cannot_be_loaded_starts_no_server(tmp_path: Path) -> None:
    from flambeau.serve.config import ModelError

    torch.save([1], tmp_path / "bad.pt")
    with pytest.raises(ModelError, match="state dict"), serving.serving(tmp_path / "bad.pt", serving.SCALED):
        pass


def test_where_batches_run() -> None:
    """Quick ones on the event loop, if nothing else computes; requests that come together are one batch there too."""
    ran: list[tuple[bool, int]] = []
    here = threading.get_ident()

    def predict(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        ran.append((threading.get_ident() == here, len(inputs["x"])))
        return inputs

    async def main() -> None:
        thread = ComputeThread()
        batcher = Batcher("m", predict, thread, quick=lambda rows: rows <= 4)

        async def ask(rows: int, count: int) -> None:
            given = [{"x": np.full((rows, 1), float(k))} for k in range(count)]
            answers = await asyncio.gather(*[batcher.submit(x) for x in given])
            assert all((a["x"] == x["x"]).all() for a, x in zip(answers, given, strict=True))

        await ask(1, 4)
        await ask(8, 1)
        going = threading.Event()
        other = thread.submit(going.wait)  # such as another version that is being loaded
        asked = asyncio.ensure_future(ask(1, 1))
        await asyncio.sleep(0.05)
        assert not asked.done()
        going.set()
        await asked
        other.result()
        await ask(2, 1)
        thread.shutdown()

    asyncio.run(main())
    assert ran == [(True, 4), (False, 8), (False, 1), (True, 2)]
