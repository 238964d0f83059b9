"""Requests a second and waiting times of served models: ``flambeau serve``, and PyTorch behind a plain Starlette app.

    python benchmarks/serving.py                     # both, in turns, on the reader of digits
    python benchmarks/serving.py --reloads 100       # memory while versions replace each other under load

Clients are connections that each send the next request when they have the last answer. All send one image in the binary form.
Needs flambeau[serve]; PyTorch's side is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import flambeau as torch
from flambeau.cli.demo import DigitNet

IMAGE = np.random.default_rng(0).random((1, 1, 8, 8)).astype(np.float32)
HEAD = json.dumps(
    {
        "inputs": [{"name": "images", "shape": [1, 1, 8, 8], "datatype": "FP32", "parameters": {"binary_data_size": IMAGE.nbytes}}],
        "parameters": {"binary_data_output": True},
    }
).encode()
REQUEST = b"\r\n".join(
    [
        b"POST /v2/models/digits/infer HTTP/1.1", b"Host: localhost", b"Inference-Header-Content-Length: %d" % len(HEAD),
        b"Content-Length: %d" % (len(HEAD) + IMAGE.nbytes), b"", HEAD + IMAGE.tobytes(),
    ]
)  # fmt: skip

PYTORCH = """
import sys, json, numpy as np, torch, uvicorn
from torch import nn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
torch.set_num_threads(1)
model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Dropout(0.25), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)).eval()
async def infer(request):
    body, n = await request.body(), int(request.headers["inference-header-content-length"])
    document = json.loads(body[:n])
    x = np.frombuffer(body, np.float32, offset=n).reshape(document["inputs"][0]["shape"])
    with torch.inference_mode():
        y = model(torch.from_numpy(x.copy())).numpy()
    head = json.dumps({"model_name": "digits", "outputs": [{"name": "output", "shape": list(y.shape), "datatype": "FP32", "parameters": {"binary_data_size": y.nbytes}}]}).encode()
    return Response(head + y.tobytes(), headers={"inference-header-content-length": str(len(head))})
uvicorn.run(Starlette(routes=[Route("/v2/models/digits/infer", infer, methods=["POST"])]), port=int(sys.argv[1]), log_level="error")
"""


async def client(port: int, until: float, waits: list[float]) -> None:
    """One connection, until the time is over; how long each answer took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        start = time.perf_counter()
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(length)
        waits.append(time.perf_counter() - start)
    writer.close()


async def load(port: int, clients: int, seconds: float) -> list[float]:
    waits: list[float] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(client(port, until, waits) for _ in range(clients)))
    return sorted(waits)


def start(command: list[str], port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    for _ in range(600):
        try:
            asyncio.run(load(port, 1, 0.5))
            return process
        except (OSError, RuntimeError):  # not there, or not loaded
            time.sleep(0.1)
    raise RuntimeError("the server has not started")


def memory(process: subprocess.Popen[bytes]) -> float:
    """Resident memory, in MB."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of CPU that it has used: what is left to compare on a busy machine."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flambeau_serve(where: Path, port: int) -> list[str]:
    serve = [
        sys.executable,
        "-m",
        "flambeau",
        "serve",
        str(where),
        "--factory",
        "flambeau.cli.demo:DigitNet",
        "--input",
        "images:FP32:-1x1x8x8",
    ]
    return [*serve, "--port", str(port), "--quiet", "--poll", "0.1"]


def compare(folder: Path, seconds: float, rounds: int) -> None:
    torch.save(DigitNet().state_dict(), folder / "digits.pt")
    servers = {"flambeau serve": start(flambeau_serve(folder / "digits.pt", 8471), 8471)}
    ports = {"flambeau serve": 8471, "PyTorch + Starlette": 8472}
    if importlib.util.find_spec("torch"):
        (folder / "pytorch.py").write_text(PYTORCH)
        servers["PyTorch + Starlette"] = start([sys.executable, str(folder / "pytorch.py"), "8472"], 8472)
    for clients in (1, 8, 32):
        rates: dict[str, list[float]] = {name: [] for name in servers}
        waits: dict[str, list[float]] = {name: [] for name in servers}
        used = dict.fromkeys(servers, 0.0)
        for _ in range(rounds):
            for name in servers:
                before = cpu(servers[name])
                found = asyncio.run(load(ports[name], clients, seconds))
                used[name] += cpu(servers[name]) - before
                rates[name].append(len(found) / seconds)
                waits[name] += found
        for name in servers:
            found = sorted(waits[name])
            p50, p99 = (found[int(len(found) * q)] * 1e3 for q in (0.5, 0.99))
            each = used[name] / len(found) * 1e6
            print(
                f"{clients:3} clients  {name:20} {np.median(rates[name]):7.0f} requests/s   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   "
                f"CPU {each:5.0f} us a request   {memory(servers[name]):4.0f} MB"
            )
    for process in servers.values():
        process.send_signal(signal.SIGTERM)
        process.wait()


def reload(folder: Path, count: int) -> None:
    root = folder / "models"

    def put(version: int) -> None:
        (root / ".new").mkdir(parents=True)
        torch.save(DigitNet().state_dict(), root / ".new" / "model.pt")
        (root / "digits").mkdir(exist_ok=True)
        os.rename(root / ".new", root / "digits" / str(version))

    put(1)
    process = start(flambeau_serve(root, 8471), 8471)
    for version in range(2, count + 2):
        put(version)
        asyncio.run(load(8471, 4, 0.5))
        if version % max(1, count // 10) == 1:
            print(f"{version - 1:4} reloads  {memory(process):6.1f} MB")
        shutil.rmtree(root / "digits" / str(version - 1))
    process.send_signal(signal.SIGTERM)
    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reloads", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.reloads:
            reload(Path(folder), options.reloads)
        else:
            compare(Path(folder), options.seconds, options.rounds)


if __name__ == "__main__":
    main()
