"""Programs in several processes, by whatever they are started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mpi4py")

from flambeau.distributed.elastic.workers import Output  # noqa: E402
from flambeau.distributed.run import get_args_parser, parse_min_max_nnodes  # noqa: E402
from tests.ranks import shared_memory_of_mpi  # noqa: E402

LIMIT = 120

PROGRAM = """
import json, os, sys, time
import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

@record
def main(first, path, what):
    dist.init_process_group(*first)
    t = torch.tensor([dist.get_rank() + 1.0])
    dist.all_reduce(t)
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    if what == "fail" and dist.get_rank() == 1 and not attempt:
        raise ValueError("on purpose")
    if what == "kill" and dist.get_rank() == 1:
        os.kill(os.getpid(), 9)
    with open(f"{path}-{dist.get_rank()}", "w") as file:
        json.dump({"size": dist.get_world_size(), "sum": t.item(), "environment": dict(os.environ)}, file)
    while what == "wait":
        time.sleep(0.01)
    dist.barrier()
    print("done", dist.get_rank())

main(["mpi"] if "mpi" in sys.argv else [], sys.argv[1], sys.argv[2])
"""

FLAMBEAU = [sys.executable, "-m", "flambeau"]
ALONE = [*FLAMBEAU, "torchrun", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return str(path)


def clean() -> dict[str, str]:
    """The environment without what tells of groups of processes."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
    }


def start(command: list[str], **environment: str) -> subprocess.Popen:
    return subprocess.Popen(command, env={**clean(), **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(path: Path, size: int) -> list[dict]:
    """What the processes have written, once it is clear that they have worked together."""
    told = [json.loads(Path(f"{path}-{rank}").read_text()) for rank in range(size)]
    assert all(each["size"] == size and each["sum"] == size * (size + 1) / 2 for each in told)
    return told


def test_an_environment_as_pytorchs(program, tmp_path):
    process = start(
        [*ALONE, "--log-dir", str(tmp_path / "logs"), "--tee", "1", "--redirects", "1:2", program, str(tmp_path / "out"), ""]
    )
    printed, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors
    assert sorted(printed.split("\n")) == ["", "[default0]:done 0", "[default1]:done 1"]
    assert {path.read_text() for path in (tmp_path / "logs").rglob("stdout.log")} == {"done 0\n", "done 1\n"}
    assert "Setting OMP_NUM_THREADS" in errors
    for rank, told in enumerate(results(tmp_path / "out", 2)):
        found = told["environment"]
        expected = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "ROLE_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
            "GROUP_WORLD_SIZE": "1", "ROLE_WORLD_SIZE": "2", "ROLE_NAME": "default", "MASTER_ADDR": "localhost", "OMP_NUM_THREADS": "1",
            "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_MAX_RESTARTS": "0", "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT", "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
        }  # fmt: skip
        assert {name: found.get(name) for name in expected} == expected
        assert found["TORCHELASTIC_ERROR_FILE"].endswith(f"attempt_0/{rank}/error.json") and {
            "MASTER_PORT",
            "TORCHELASTIC_RUN_ID",
        } <= set(found)
        assert not [name for name in found if name.startswith("PMI_")]


def test_a_worker_that_fails_is_told_of_and_all_are_started_again(program, tmp_path):
    code = f"import flambeau.compat, runpy, sys; flambeau.compat.install(); sys.argv = {['run', *ALONE[3:], '--max-restarts=1', program, str(tmp_path / 'out'), 'fail']}"
    again = start(
        [sys.executable, "-c", code + "; sys.argv.pop(1); runpy.run_module('torch.distributed.run', run_name='__main__')"]
    )
    failed = start([*ALONE, program, str(tmp_path / "other"), "fail"])
    _, errors = again.communicate(timeout=LIMIT)
    assert again.returncode == 0, errors
    assert [told["environment"]["TORCHELASTIC_RESTART_COUNT"] for told in results(tmp_path / "out", 2)] == ["1", "1"]
    _, errors = failed.communicate(timeout=LIMIT)
    assert failed.returncode == 1
    for words in (
        "program.py FAILED",
        "Root Cause (first observed failure)",
        "rank      : 1 (local_rank: 1)",
        "exitcode  : 1",
        "ValueError: on purpose",
    ):
        assert words in errors


def test_a_killed_worker_ends_the_others_and_leaves_nothing(program, tmp_path):
    before = shared_memory_of_mpi()
    process = start([*ALONE, program, str(tmp_path / "out"), "kill"])
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 1 and "exitcode  : -9" in errors and "Signal 9 (SIGKILL) received" in errors
    assert shared_memory_of_mpi() <= before


def test_signals_end_the_workers(program, tmp_path):
    process = start([*ALONE, program, str(tmp_path / "out"), "wait"])
    while not all(os.path.exists(f"{tmp_path / 'out'}-{rank}") for rank in range(2)):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 1 and f"got signal: {int(signal.SIGTERM)}" in errors


def free_port() -> str:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


@pytest.mark.parametrize("how", ["shells", "mpiexec", "nodes"])
def test_started_by(how, program, tmp_path):
    out, port = str(tmp_path / "out"), free_port()
    run = [*FLAMBEAU, "run", program, out, ""]
    if how == "shells":
        processes = [start(run, RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port) for rank in range(2)]
    elif how == "mpiexec":
        launcher = Path(sys.executable).with_name("mpiexec")
        if not launcher.exists() and (found := shutil.which("mpiexec")) is None:
            pytest.skip("there is no mpiexec")
        processes = [start([str(launcher) if launcher.exists() else str(found), "-n", "2", *run, "mpi"])]
    else:
        node = [*FLAMBEAU, "torchrun", "--nnodes=2", "--nproc-per-node=1", f"--master-port={port}"]
        processes = [start([*node, f"--node-rank={rank}", program, out, ""]) for rank in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, errors
    told = results(tmp_path / "out", 2)
    if how == "nodes":
        assert [(each["environment"]["GROUP_RANK"], each["environment"]["LOCAL_RANK"]) for each in told] == [("0", "0"), ("1", "0")]


def test_options(monkeypatch):
    monkeypatch.setenv("PET_NNODES", "2:3")
    parsed = get_args_parser().parse_args(["--nproc_per_node=4", "--max-restarts", "2", "-m", "package.module", "--nnodes", "5"])
    assert (parsed.nnodes, parsed.nproc_per_node, parsed.max_restarts, parsed.module) == ("2:3", "4", 2, True)
    assert (parsed.training_script, parsed.training_script_args) == ("package.module", ["--nnodes", "5"])
    assert parse_min_max_nnodes("2:3") == (2, 3)
    with pytest.raises(RuntimeError, match="MIN:MAX"):
        parse_min_max_nnodes("1:2:3")
    output = Output("0:1,1:2", "0", "1")
    assert [output.of(rank, which) for rank in (0, 1) for which in (1, 2)] == [
        (True, False),
        (False, False),
        (False, True),
        (True, False),
    ]
    with pytest.raises(ValueError, match="std mapping"):
        Output("x")
