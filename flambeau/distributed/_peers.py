"""Who the other processes are, and whether those of this machine are still there."""

from __future__ import annotations

import os
import socket
from typing import NamedTuple

__all__ = ["Peer"]


def _state(pid: int) -> tuple[str, str]:
    """Whether a process runs, by Linux's letter, and when it has begun."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return "", ""
    return fields[0].decode(), fields[19].decode()


class Peer(NamedTuple):
    """A process: the machine that it runs on, its number there, and when it has begun."""

    host: str
    pid: int
    begun: str

    @staticmethod
    def myself() -> Peer:
        """This process. Machines are told apart by name, boot and space of process numbers."""
        host = [socket.gethostname()]
        for read in (lambda: open("/proc/sys/kernel/random/boot_id").read().strip(), lambda: os.readlink("/proc/self/ns/pid")):
            try:
                host.append(read())
            except OSError:  # no Linux
                pass
        return Peer("|".join(host).replace("\n", " "), os.getpid(), _state(os.getpid())[1])

    def has_ended(self, seen_from: Peer) -> bool:
        """Whether the process has certainly ended; of other machines that is not known."""
        if self.host != seen_from.host or not self.begun:
            return False
        state, begun = _state(self.pid)
        return state in ("", "Z", "X") or begun != self.begun

    def __str__(self) -> str:
        return "\n".join((self.host, str(self.pid), self.begun))

    @staticmethod
    def parse(text: str) -> Peer:
        """The peer that ``str`` gave ``text``."""
        host, pid, begun = text.split("\n")
        return Peer(host, int(pid), begun)
