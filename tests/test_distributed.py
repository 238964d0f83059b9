"""Processes that work together: what happens when one ends, who started them, and what is left of them."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

import pytest

pytest.importorskip("mpi4py")

import flambeau as torch  # noqa: E402
from flambeau import distributed as dist  # noqa: E402
from flambeau.distributed._pmi import process_mapping  # noqa: E402
from tests.ranks import meeting_place, run_ranks, shared_memory_of_mpi  # noqa: E402


def begin(rank: int, size: int, url: str, seconds: float = 60) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=url, rank=rank, world_size=size, timeout=timedelta(seconds=seconds))


def killed_in_a_collective(rank, size, url):
    begin(rank, size, url)
    dist.all_reduce(torch.ones(3))
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    begun = time.monotonic()
    with pytest.raises(dist.DistBackendError, match="rank . .* has ended"):
        dist.all_reduce(torch.ones(3))
    with pytest.raises(dist.DistBackendError, match="no longer connected"):
        dist.barrier()
    return time.monotonic() - begun < 30


def test_a_killed_process_is_an_error_in_the_others_and_leaves_nothing():
    before = shared_memory_of_mpi()
    assert run_ranks(killed_in_a_collective, 3, 3, meeting_place(), killed=(1,)) == [True, None, True]
    assert shared_memory_of_mpi() <= before


def late(rank, size, url):
    begin(rank, size, url, seconds=1)
    if rank == 0:
        with pytest.raises(dist.DistBackendError, match="Timed out waiting 1000ms for all_reduce"):
            dist.all_reduce(torch.ones(1))
    dist.group.WORLD.store.barrier("end", size, timedelta(seconds=60))
    return True


def test_time_outs():
    assert run_ranks(late, 2, 2, meeting_place()) == [True, True]


def missing_at_a_barrier(rank, size, url):
    begin(rank, size, url)
    if rank == 0:
        with pytest.raises(RuntimeError, match="Ranks 1, 2 failed to pass monitoredBarrier in 100 ms"):
            dist.monitored_barrier(timeout=timedelta(milliseconds=100), wait_all_ranks=True)
    dist.barrier()
    return True


def test_who_is_missing_at_a_barrier():
    assert run_ranks(missing_at_a_barrier, 3, 3, meeting_place()) == [True] * 3


def again(rank, size, url):
    sums = []
    for i in range(2):
        begin(rank, size, f"{url}-{i}")
        t = torch.tensor(rank + 1.0)
        dist.all_reduce(t)
        sums.append(t.item())
        dist.destroy_process_group()
    with pytest.raises(RuntimeError, match="is rank . of 2 for MPI already"):
        begin(0, 3, f"{url}-{rank}", seconds=1)
    return sums


def test_groups_can_be_made_again_for_the_same_processes():
    assert run_ranks(again, 2, 2, meeting_place()) == [[3.0, 3.0]] * 2


def not_waited_for(rank, size, url):
    begin(rank, size, url)
    t, u = torch.ones(2) * rank, torch.ones(2)
    dist.broadcast(t, src=1, async_op=True)
    work = dist.all_reduce(u, async_op=True)
    u = u * 1  # what was recorded before it is done sees the old values
    work.wait()
    dist.barrier()
    dist.barrier()
    doubled = dist.all_reduce(v := torch.ones(1), async_op=True).get_future().then(lambda f: [2 * x for x in f.value()])
    return t.tolist(), u.tolist(), work.result()[0].tolist(), doubled.wait()[0].tolist(), v.tolist()


def test_works_and_futures():
    assert run_ranks(not_waited_for, 2, 2, meeting_place()) == [([1, 1], [1, 1], [2, 2], [4], [2])] * 2


def test_where_ranks_run():
    assert process_mapping("aabb") == "(vector,(0,1,2),(1,1,2))"
    assert process_mapping("abab") == "(vector,(0,1,1),(1,1,1),(0,1,1),(1,1,1))"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"init_method": "tcp://127.0.0.1", "rank": 0, "world_size": 1}, "port number missing"),
        ({"init_method": "tcp://127.0.0.1:1"}, "rank parameter missing"),
        ({"init_method": "file://", "rank": 0, "world_size": 1}, "path missing"),
        ({"init_method": "other://x"}, "No rendezvous handler for other://"),
        ({}, "environment variable RANK expected, but not set"),
        ({"backend": "nccl"}, "doesn't have NCCL built in"),
    ],
)
def test_what_does_not_say_enough(settings, message, monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises((ValueError, RuntimeError), match=message):
        dist.init_process_group(**settings)


def test_two_stores_at_a_port():
    server = dist.TCPStore("127.0.0.1", 0, 2, True, wait_for_workers=False)
    client = dist.TCPStore("127.0.0.1", server.port, 2, False)
    client.set("key", bytes(range(256)))
    assert server.get("key") == bytes(range(256))
    client.queue_push("queue", "first")
    assert server.queue_pop("queue") == b"first"
    client.set_timeout(timedelta(milliseconds=50))
    with pytest.raises(dist.DistStoreError, match="wait timeout after 50ms, keys: /other"):
        client.get("other")
    with pytest.raises(dist.DistStoreError):
        client.queue_pop("queue")
    with pytest.raises(dist.QueueEmptyError):
        client.queue_pop("queue", block=False)
    with pytest.raises(dist.DistNetworkError, match="timed out after 50ms"):
        dist.TCPStore("127.0.0.1", 1, timeout=timedelta(milliseconds=50))
    with pytest.raises(dist.DistStoreError, match="1/2 clients joined"):
        dist.TCPStore("127.0.0.1", 0, 2, True, timeout=timedelta(milliseconds=50))
    del server
    with pytest.raises(dist.DistNetworkError):
        client.get("key")


def test_the_last_user_of_a_file_deletes_it(tmp_path):
    path = tmp_path / "store"
    first, second = dist.FileStore(str(path), 2), dist.FileStore(str(path), 2)
    first.set("key", b"\x00\xff\n")
    assert second.get("key") == b"\x00\xff\n" and second.delete_key("key") and not first.check(["key"])
    del first
    assert path.exists()
    del second
    assert not path.exists()


def test_names_of_backends():
    assert (
        dist.Backend("GLOO")
        == dist.Backend.default_device_backend_map["cpu"]
        == dist.get_default_backend_for_device("cpu")
        == "gloo"
    )
    assert all(dist.is_backend_available(name) for name in dist.Backend.backend_capability)


def test_what_is_not_there_is_refused():
    with pytest.raises(RuntimeError, match="ShardedGradScaler is not there yet"):
        dist.fsdp.ShardedGradScaler()
    assert not isinstance(torch.nn.Linear(1, 1), dist.tensor.ColwiseParallel)
    with pytest.raises(RuntimeError, match="no functions in other processes"):
        dist.rpc.init_rpc("name")
