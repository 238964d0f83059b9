"""What a folder of runs has: series by run and tag, kept up to date with the event files."""

from __future__ import annotations

import bisect
import os
import struct
import threading
import time
from array import array
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.board.events import Damaged, EventFile, Record, fields, signed

KINDS = ("scalars", "histograms", "images", "audio", "text", "curves", "graphs")
LOOK = 2.0
"""Seconds after which the folder is looked through for new files again."""


class Scalars:
    """The numbers of one tag in one run, in the order in which they were written."""

    def __init__(self) -> None:
        self.steps, self.times, self.values = array("q"), array("d"), array("d")

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, step: int, when: float, value: float) -> None:
        self.steps.append(step)
        self.times.append(when)
        self.values.append(value)

    def purge(self, step: int) -> None:
        """Forgets what was written from ``step`` on: the run was taken up again there."""
        kept = [i for i, s in enumerate(self.steps) if s < step]
        for name in ("steps", "times", "values"):
            row = getattr(self, name)
            setattr(self, name, array(row.typecode, [row[i] for i in kept]))


class Histogram(NamedTuple):
    """Counts between edges: ``limits`` are the upper ones."""

    step: int
    time: float
    low: float
    high: float
    limits: tuple[float, ...]
    counts: tuple[float, ...]


class Blob(NamedTuple):
    """Where the bytes of a picture or a sound are."""

    step: int
    time: float
    file: EventFile
    place: int
    size: int


class Curve(NamedTuple):
    """Precision over recall, a point for each threshold from 0 to 1."""

    step: int
    time: float
    precision: tuple[float, ...]
    recall: tuple[float, ...]


class Words(NamedTuple):
    """A text."""

    step: int
    time: float
    text: str


class Run:
    """The event files of one folder, and what they hold, by kind and tag."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: list[EventFile] = []
        self.series: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self.settings: dict[str, float | str] = {}
        """What ``add_hparams`` has told of the run."""
        self.metrics: list[str] = []
        """The tags of scalars that it called the run's results."""
        self.began = float("inf")
        self.changes = 0

    def read(self, until: float) -> bool:
        """Reads on until ``until`` (``time.monotonic``); whether it was in time."""
        for file in self.files:
            while True:
                before = file.place
                for record in file.records():
                    try:
                        self._event(file, record)
                    except (Damaged, UnicodeDecodeError):
                        continue  # one message that is none: the next may be
                    self.changes += 1
                if file.place == before:
                    break
                if time.monotonic() > until:
                    return False
        return True

    def _event(self, file: EventFile, record: Record) -> None:
        event = fields(record.data)
        when, step = event.get(1, [0.0])[0], signed(event.get(2, [0])[0])
        self.began = min(self.began, when)
        if 7 in event and fields(event[7][0]).get(1) == [1]:  # a session that starts at a step
            self._purge(step)
        for graph in event.get(4, ()):
            self._blob("graphs", "graph", step, when, file, record, graph)
        for summary in event.get(5, ()):
            for data in fields(summary).get(1, ()):
                self._value(file, record, step, when, data)

    def _value(self, file: EventFile, record: Record, step: int, when: float, data: bytes) -> None:
        value = fields(data)
        tag = value.get(1, [b""])[0].decode()
        if 2 in value:
            self._of("scalars", tag, Scalars).add(step, when, value[2][0])
        elif 4 in value:
            self._blob("images", tag, step, when, file, record, fields(value[4][0]).get(4, [b""])[0])
        elif 5 in value:
            histogram = _histogram(step, when, fields(value[5][0]))
            if histogram is not None:
                self._of("histograms", tag, list).append(histogram)
        elif 6 in value:
            self._blob("audio", tag, step, when, file, record, fields(value[6][0]).get(4, [b""])[0])
        elif 9 in value:
            told = fields(fields(value[9][0]).get(1, [b""])[0])
            plugin, tensor = told.get(1, [b""])[0], fields(value.get(8, [b""])[0])
            if plugin == b"hparams":
                self._hparams(fields(told.get(2, [b""])[0]))
            elif plugin == b"pr_curves":
                rows = _floats(tensor.get(5, ()))
                n = len(rows) // 6  # true and false positives, true and false negatives, precision, recall
                self._of("curves", tag, list).append(Curve(step, when, rows[4 * n : 5 * n], rows[5 * n : 6 * n]))
            elif plugin == b"text":
                words = "\n".join(t.decode("utf-8", "replace") for t in tensor.get(8, ()))
                self._of("text", tag.removesuffix("/text_summary"), list).append(Words(step, when, words))
            elif plugin == b"scalars":
                number = _number(tensor)
                if number is not None:
                    self._of("scalars", tag, Scalars).add(step, when, number)

    def _hparams(self, told: dict[int, list[Any]]) -> None:
        for experiment in told.get(2, ()):
            for metric in fields(experiment).get(5, ()):
                for name in fields(metric).get(1, ()):
                    self.metrics += [tag.decode() for tag in fields(name).get(2, ())]
        for session in told.get(3, ()):
            for entry in map(fields, fields(session).get(1, ())):
                value = fields(entry[2][0])
                self.settings[entry[1][0].decode()] = (
                    value[3][0].decode() if 3 in value else float(value.get(2, value.get(4, [0]))[0])
                )

    def _blob(self, kind: str, tag: str, step: int, when: float, file: EventFile, record: Record, data: bytes) -> None:
        self._of(kind, tag, list).append(Blob(step, when, file, record.place + record.data.index(data), len(data)))

    def _of(self, kind: str, tag: str, make: Any) -> Any:
        tags = self.series[kind]
        if tag not in tags:
            tags[tag] = make()
        return tags[tag]

    def _purge(self, step: int) -> None:
        for kind, tags in self.series.items():
            for tag, series in tags.items():
                if kind == "scalars":
                    series.purge(step)
                else:
                    tags[tag] = [entry for entry in series if entry.step < step]


def _number(tensor: dict[int, list[Any]]) -> float | None:
    """The number that a tensor of one element has, of the dtypes float and double."""
    for field, form in ((5, "<f"), (6, "<d")):
        for value in tensor.get(field, ()):
            return float(value) if isinstance(value, float) else float(struct.unpack_from(form, value)[0])
    content = tensor.get(4, [b""])[0]  # as TensorFlow writes it
    written = {1: "<f", 2: "<d"}.get(tensor.get(1, [0])[0])
    if written is None or len(content) < struct.calcsize(written):
        return None
    return float(struct.unpack_from(written, content)[0])


def _histogram(step: int, when: float, told: dict[int, list[Any]]) -> Histogram | None:
    limits, counts = _numbers(told.get(6, [])), _numbers(told.get(7, []))
    if not limits or len(limits) != len(counts):
        return None
    return Histogram(step, when, told.get(1, [limits[0]])[0], told.get(2, [limits[-1]])[0], limits, counts)


def _floats(rows: Any) -> tuple[float, ...]:
    """Floats, together or one by one."""
    found: list[float] = []
    for row in rows:
        found += [row] if isinstance(row, float) else array("f", row[: len(row) // 4 * 4]).tolist()
    return tuple(found)


def _numbers(rows: list[Any]) -> tuple[float, ...]:
    """Doubles, together or one by one."""
    found: list[float] = []
    for row in rows:
        found += [row] if isinstance(row, float) else array("d", row[: len(row) // 8 * 8]).tolist()
    return tuple(found)


class Folder:
    """All runs under a folder: each folder with event files is one, by its path from there."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.runs: dict[str, Run] = {}
        self.complete = False
        self._known: set[Path] = set()
        self._looked = -float("inf")
        self.lock = threading.RLock()
        """Whoever looks at series holds it, as they are read on meanwhile."""

    def refresh(self, seconds: float = 0.5) -> None:
        """Reads what is new, for about so long; ``complete`` says whether that was enough."""
        with self.lock:
            until = time.monotonic() + seconds
            if time.monotonic() - self._looked > LOOK:
                self._look()
                self._looked = time.monotonic()
            self.complete = all([run.read(until) for run in list(self.runs.values())])

    def _look(self) -> None:
        for folder, _, names in os.walk(self.path):
            for name in sorted(names):
                path = Path(folder, name)
                if "tfevents" in name and path not in self._known:
                    self._known.add(path)
                    where = path.parent.relative_to(self.path).as_posix()
                    run = self.runs.setdefault(where, Run(where))
                    bisect.insort(run.files, EventFile(path), key=lambda file: file.path.name)

    def version(self) -> int:
        """Another one after each change."""
        return sum(run.changes for run in self.runs.values()) + len(self.runs)
