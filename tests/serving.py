"""What the tests of ``flambeau serve`` share: small models as files, and requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient  # noqa: E402

from flambeau.serve.app import Server  # noqa: E402
from flambeau.serve.config import ModelConfig, parse_spec  # noqa: E402
from flambeau.serve.protocol import DATATYPES, HEADER_LENGTH  # noqa: E402


def scaled() -> nn.Module:
    """``x`` times a weight of one number, by which versions are told apart."""
    return nn.Linear(1, 1, bias=False)


FACTORY = f"{__name__}:scaled"
SCALED = ModelConfig(factory=FACTORY, inputs=(parse_spec("input:FP32:-1x1"),), max_batch=4)


def save_scaled(path: Path, weight: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weight": torch.tensor([[weight]])}, path)
    return path


def save_handler(folder: Path, code: str, **config: Any) -> Path:
    """A model that is a handler alone, and takes any inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "handler.py").write_text(code)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


ECHO = "def load(folder): return None\ndef preprocess(inputs): return inputs\ndef predict(model, inputs): return inputs\ndef postprocess(outputs): return outputs\n"
"""A handler that returns what it was given."""

SLOW = """
import os, time
def load(folder): return os.path.join(folder, "go")
def predict(go, inputs):
    while not os.path.exists(go):
        time.sleep(0.005)
    return inputs
"""
"""A handler that waits until there is a file ``go`` in its folder, and then returns what it was given."""


@contextmanager
def serving(root: Path, config: ModelConfig | None = None, **settings: Any) -> Iterator[TestClient]:
    """A client of a server in this process."""
    settings.setdefault("poll", 0)
    with TestClient(Server(root, config, **settings).app) as client:
        while client.get("/v2/health/ready").status_code == 503:
            pass
        yield client


def tensor(name: str, array: Any, datatype: str = "FP32", binary: bool = False) -> tuple[dict, bytes]:
    """An input as the protocol has it, and its bytes where it is binary."""
    array = np.asarray(array, DATATYPES[datatype])
    entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype}
    if not binary:
        entry["data"] = [x.decode() for x in array.reshape(-1)] if datatype == "BYTES" else array.reshape(-1).tolist()
        return entry, b""
    raw = b"".join(len(x).to_bytes(4, "little") + x for x in array.reshape(-1)) if datatype == "BYTES" else array.tobytes()
    entry["parameters"] = {"binary_data_size": len(raw)}
    return entry, raw


def infer(client: Any, model: str, *tensors: tuple[dict, bytes], path: str = "", **document: Any) -> Any:
    """Posts a request; the response."""
    head = json.dumps({"inputs": [entry for entry, _ in tensors], **document}).encode()
    raw = b"".join(data for _, data in tensors)
    headers = {HEADER_LENGTH: str(len(head))} if raw else {}
    return client.post(f"/v2/models/{model}{path}/infer", content=head + raw, headers=headers)


def outputs_of(response: Any) -> dict[str, np.ndarray]:
    """The arrays of a response, JSON or binary."""
    assert response.status_code == 200, response.text
    length = response.headers.get(HEADER_LENGTH)
    end = len(response.content) if length is None else int(length)
    document, rest = json.loads(response.content[:end]), response.content[end:]
    found = {}
    for entry in document["outputs"]:
        dtype = DATATYPES[entry["datatype"]]
        if "data" in entry:
            values = [x.encode() for x in entry["data"]] if entry["datatype"] == "BYTES" else entry["data"]
            array = np.array(values, dtype)
        else:
            size = entry["parameters"]["binary_data_size"]
            raw, rest = rest[:size], rest[size:]
            array = np.array(_elements(raw), object) if entry["datatype"] == "BYTES" else np.frombuffer(raw, dtype)
        found[entry["name"]] = array.reshape(entry["shape"])
    assert not rest
    return found


def _elements(raw: bytes) -> list[bytes]:
    items, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        items.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return items


# --- a server as a process -----------------------------------------------------------------------------------------


class Running:
    """A server that was started, and what it has written to its log."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flambeau", "serve", *map(str, arguments), "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            cwd=Path(__file__).parent.parent,
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def logged(self, event: str, count: int = 1) -> list[dict]:
        """Waits until the log has so many lines of an event."""
        until = time.monotonic() + 60
        while True:
            over = self.process.poll() is not None
            if over:
                self.reader.join()
            found = [line for line in map(json.loads, list(self.lines)) if line["event"] == event]
            if len(found) >= count:
                return found
            assert not over and time.monotonic() < until, "".join(self.lines)
            time.sleep(0.02)

    @property
    def address(self) -> str:
        return self.logged("starting")[0]["address"]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def running(*arguments: object, **environment: str) -> Iterator[Running]:
    server = Running(*arguments, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()
        server.reader.join()
        assert server.process.stderr is not None
        server.process.stderr.close()
