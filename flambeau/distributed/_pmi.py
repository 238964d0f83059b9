"""What MPI asks the program that has started it, answered from a store.

An MPI library learns its rank, its size and the addresses of the others from the launcher (``mpiexec``), by a protocol of lines
called PMI-1: values are put under keys, everybody waits in a barrier, and values are got. That is what a store does. So each
process keeps a gateway of its own, at a port that only itself connects to, which hands these requests on to the store where the
processes have met; then ``MPI_Init`` works in processes that nobody has started together.

Source: Flux RFC 13, https://flux-framework.readthedocs.io/projects/flux-rfc/en/latest/spec_13.html
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from itertools import groupby

from flambeau.distributed._errors import DistError
from flambeau.distributed._store import Store

__all__ = ["Gateway", "process_mapping"]


def process_mapping(hosts: Iterable[str]) -> str:
    """Which ranks share a machine, in PMI's words: runs of (number of the machine, machines, ranks on each).

    >>> process_mapping(["a", "a", "b", "b", "a"])
    '(vector,(0,1,2),(1,1,2),(0,1,1))'
    """
    numbers: dict[str, int] = {}
    runs = [(numbers.setdefault(host, len(numbers)), len(list(ranks))) for host, ranks in groupby(hosts)]
    return "(vector," + ",".join(f"({number},1,{count})" for number, count in runs) + ")"


class Gateway:
    """Answers PMI-1 requests of this process, which is ``rank`` of ``size``, until it closes the connection.

    ``name`` is new for each set of processes: MPI names its shared memory after it. ``known`` are values that nobody puts.
    """

    def __init__(self, store: Store, rank: int, size: int, name: str, known: dict[str, str]) -> None:
        self._store, self._rank, self._size, self._name, self._known = store, rank, size, name, known
        self._barriers, self._stopped = 0, False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, name="flambeau-pmi", daemon=True).start()

    def stop(self) -> None:
        """Answers nothing any more, so that MPI waits where it is. It would end the process if it heard that something is wrong."""
        self._stopped = True

    def environment(self) -> dict[str, str]:
        """What tells MPI of this gateway."""
        rank = str(self._rank)
        return {"PMI_PORT": f"127.0.0.1:{self._port}", "PMI_ID": rank, "PMI_RANK": rank, "PMI_SIZE": str(self._size)}

    def _serve(self) -> None:
        with self._socket:
            connection, _ = self._socket.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("r", encoding="latin-1", newline="\n") as lines:
            for line in lines:
                try:
                    answers = [] if self._stopped else self._answers(line.strip())
                except DistError:  # the others do not come: who waits for MPI says so
                    answers = []
                connection.sendall("".join(f"{answer}\n" for answer in answers).encode("latin-1"))

    def _answers(self, line: str) -> list[str]:
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        command = fields.get("cmd", "")
        if command == "initack":
            return ["cmd=initack rc=0", f"cmd=set size={self._size}", f"cmd=set rank={self._rank}", "cmd=set debug=0"]
        if command == "put":
            self._store.set(f"pmi/{fields['key']}", line.partition(" value=")[2])
            return ["cmd=put_result rc=0 msg=success"]
        if command == "get":
            value = self._value(fields["key"])
            if value is None:
                return ["cmd=get_result rc=-1 msg=key_not_found value=unknown"]
            return [f"cmd=get_result rc=0 msg=success value={value}"]
        if command == "barrier_in":
            self._barriers += 1
            self._store.barrier(f"pmi/barrier/{self._barriers}", self._size)
            return ["cmd=barrier_out rc=0"]
        fixed = {
            "init": "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0",
            "get_maxes": "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=4096 rc=0",
            "get_appnum": "cmd=appnum appnum=0 rc=0",
            "get_my_kvsname": f"cmd=my_kvsname kvsname={self._name} rc=0",
            "get_universe_size": f"cmd=universe_size size={self._size} rc=0",
            "finalize": "cmd=finalize_ack rc=0",
        }
        return [fixed[command]] if command in fixed else []

    def _value(self, key: str) -> str | None:
        if key in self._known:
            return self._known[key]
        key = f"pmi/{key}"
        return self._store.get(key).decode("latin-1") if self._store.check([key]) else None
