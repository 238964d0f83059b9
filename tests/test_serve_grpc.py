"""``flambeau serve --grpc-port``: the same models by gRPC, as Triton's client asks for them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

grpc = pytest.importorskip("grpc")
triton = pytest.importorskip("tritonclient.grpc")

from tests.serving import ECHO, SLOW, Running, running, save_handler, save_scaled  # noqa: E402

import httpx2 as httpx  # noqa: E402  # isort: skip  (serving skips where it, or starlette, is not installed)
from flambeau.serve.messages import CLASSES  # noqa: E402  # isort: skip
from flambeau.serve.protocol import RequestError  # noqa: E402  # isort: skip
from flambeau.serve.rpc import decoded, encoded  # noqa: E402  # isort: skip


def client_of(server: Running):
    return triton.InferenceServerClient(f"127.0.0.1:{server.logged('gRPC')[0]['port']}")


def given(name: str, values: np.ndarray, datatype: str) -> object:
    x = triton.InferInput(name, list(values.shape), datatype)
    x.set_data_from_numpy(values)
    return x


def test_tritons_client(tmp_path: Path) -> None:
    """Everything of the protocol, arrays of all datatypes, errors by their codes."""
    save_handler(tmp_path / "models" / "echo" / "1", ECHO)
    (tmp_path / "models" / "broken" / "1").mkdir(parents=True)
    with running(tmp_path / "models", "--grpc-port", "0") as server:
        server.logged("model loaded")
        client = client_of(server)
        assert (
            client.is_server_live()
            and client.is_server_ready()
            and client.is_model_ready("echo")
            and not client.is_model_ready("other")
        )
        assert client.get_server_metadata().name == "flambeau"
        assert client.get_model_metadata("echo", as_json=True)["name"] == "echo"
        assert {(row.name, row.state) for row in client.get_model_repository_index().models} >= {("echo", "READY")}
        arrays = {
            "FP32": np.array([[1.5, np.nan]], np.float32), "FP64": np.array([[1e300, 2]]), "FP16": np.array([[1, 2]], np.float16), "INT64": np.array([[-(1 << 60), 1]]),
            "INT8": np.array([[-3, 4]], np.int8), "UINT8": np.array([[3, 250]], np.uint8), "BOOL": np.array([[True, False]]), "BYTES": np.array([[b"one", b"zwei"]], object),
        }  # fmt: skip
        answer = client.infer("echo", [given(name, x, name) for name, x in arrays.items()], request_id="7", timeout=30_000_000)
        assert answer.get_response().id == "7" and answer.get_response().model_version == "1"
        for name, x in arrays.items():
            found = answer.as_numpy(name)
            assert found.dtype == x.dtype and found.shape == x.shape
            np.testing.assert_array_equal(found, x)
        only = client.infer(
            "echo", [given(name, arrays[name], name) for name in ("FP32", "BOOL")], outputs=[triton.InferRequestedOutput("BOOL")]
        )
        assert only.as_numpy("BOOL").tolist() == [[True, False]] and only.as_numpy("FP32") is None
        for name, inputs, code in (("other", ["FP32"], "NOT_FOUND"), ("echo", ["FP32", "FP32"], "INVALID_ARGUMENT")):
            with pytest.raises(triton.InferenceServerException) as refused:
                client.infer(name, [given(x, arrays[x], x) for x in inputs])
            assert refused.value.status() == f"StatusCode.{code}"
        client.unload_model("echo")
        assert not client.is_model_ready("echo")
        client.load_model("echo")
        assert client.is_model_ready("echo")
        figures = httpx.get(server.address + "/metrics").text
        assert 'flambeau_serve_requests_total{code="OK",route="grpc:ModelInfer"} 2.0' in figures
        assert 'flambeau_serve_requests_total{code="NOT_FOUND",route="grpc:ModelInfer"} 1.0' in figures
        assert server.end() == 0


def test_the_token_and_what_runs_when_the_server_ends(tmp_path: Path) -> None:
    save_handler(tmp_path / "models" / "slow" / "1", SLOW)
    with running(tmp_path / "models", "--grpc-port", "0", FLAMBEAU_SERVE_TOKEN="secret") as server:
        server.logged("model loaded")
        client, x = client_of(server), given("x", np.ones((1, 2), np.float32), "FP32")
        assert client.is_server_live()
        with pytest.raises(triton.InferenceServerException, match="asks for a token"):
            client.infer("slow", [x])
        token = {"authorization": "Bearer secret"}
        with pytest.raises(triton.InferenceServerException, match="(?i)deadline"):
            client.infer("slow", [x], headers=token, client_timeout=0.3)
        answers: list = []
        asking = threading.Thread(target=lambda: answers.append(client.infer("slow", [x], headers=token).as_numpy("x").tolist()))
        asking.start()
        while (
            'flambeau_serve_queue{model="slow",version="1"} 1.0' not in httpx.get(server.address + "/metrics", headers=token).text
        ):
            time.sleep(0.02)  # the one before still computes
        server.process.terminate()
        time.sleep(0.2)
        (tmp_path / "models" / "slow" / "1" / "go").touch()
        asking.join(30)
        assert answers == [[[1.0, 1.0]]]
        assert server.process.wait(30) == 0


def test_requests_at_once_get_their_own_answers(tmp_path: Path) -> None:
    weights = save_scaled(tmp_path / "scaled.pt", 3.0)
    with running(
        weights,
        "--factory",
        "tests.serving:scaled",
        "--input",
        "input:FP32:-1x1",
        "--max-batch",
        "4",
        "--grpc-port",
        "0",
        "--quiet",
    ) as server:
        client, wrong = client_of(server), []

        def ask(k: int) -> None:
            for n in range(10):
                values = np.full((1 + (k + n) % 3, 1), k + n / 64, np.float32)
                found = client.infer("scaled", [given("input", values, "FP32")]).as_numpy("output")
                wrong.extend([(k, n)] if not np.array_equal(found, values * 3) else [])

        threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


# --- messages ----------------------------------------------------------------------------------------------------


def test_elements_that_are_not_sent_as_bytes() -> None:
    """KServe's clients send numbers as numbers, and get numbers."""
    message = CLASSES["ModelInferRequest"](model_name="m")
    message.inputs.add(name="a", datatype="INT16", shape=[2, 1]).contents.int_contents.extend([1, -2])
    message.inputs.add(name="b", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"x")
    message.inputs.add(name="c", datatype="BOOL", shape=[2]).contents.bool_contents.extend([True, False])
    message.parameters.add(key="timeout").value.int64_param = 2_000_000
    asked = decoded(CLASSES["ModelInferRequest"].FromString(message.SerializeToString()))
    assert asked.timeout == 2 and asked.inputs["a"].dtype == np.int16 and asked.inputs["a"].tolist() == [[1], [-2]]
    response = encoded(asked.inputs, asked, "m", "1", raw=False)
    assert [list(x.shape) for x in response.outputs] == [[2, 1], [1], [2]] and not response.raw_output_contents
    assert list(response.outputs[0].contents.int_contents) == [1, -2] and list(response.outputs[1].contents.bytes_contents) == [
        b"x"
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"datatype": "FP32", "shape": [3], "contents": {"fp32_contents": [1, 2]}}, "has 3 elements, but 2 came"),
        ({"datatype": "FP32", "shape": [-1], "contents": {"fp32_contents": [1]}}, "must be a list of sizes"),
        ({"datatype": "FP31", "shape": [1]}, "one of BOOL"),
        ({"datatype": "FP16", "shape": [1]}, "sent in raw_input_contents"),
        ({"datatype": "INT8", "shape": [1], "contents": {"int_contents": [300]}}, "outside of INT8"),
    ],
)  # fmt: skip
def test_inputs_that_are_none(fields: dict, said: str) -> None:
    message = CLASSES["ModelInferRequest"](inputs=[{"name": "x", **fields}])
    with pytest.raises(RequestError, match=said):
        decoded(message)


def test_bytes_that_do_not_fit() -> None:
    message = CLASSES["ModelInferRequest"](inputs=[{"name": "x", "datatype": "FP32", "shape": [2]}], raw_input_contents=[b"1234"])
    with pytest.raises(RequestError, match="has 8 bytes, but 4 came"):
        decoded(message)
    message.raw_input_contents.append(b"")
    with pytest.raises(RequestError, match="2 parts for 1 inputs"):
        decoded(message)
