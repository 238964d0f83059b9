"""Models that are served: from one file, or from a folder of models that is looked at again and again.

::

    repository/
        digits/
            config.json     (perhaps)
            handler.py      (perhaps)
            1/model.pt
            2/model.pt      the newest version is served, if config.json does not say otherwise

A new version is loaded and warmed beside the old one, and then takes its place: the old one answers what it was asked before, and
is dropped. A version that cannot be loaded leaves the old one where it is, and the index says why. Files are best put into a
folder with another name, which is then renamed to its number: a version is loaded when nothing in it has changed for one look.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flambeau.serve import loaders
from flambeau.serve.batching import Arrays, Batcher, ComputeThread
from flambeau.serve.config import ModelConfig, ModelError
from flambeau.serve.model import Model
from flambeau.serve.protocol import InferRequest, RequestError

log = logging.getLogger("flambeau.serve")

CLIENT_GONE = 499
"""The status in the log of a request whose client did not wait."""

UNWATCHED = 0.05
"""Seconds for which nobody looks whether the client of a request has gone: most are answered by then."""

Stamp = tuple[tuple[str, int, int], ...]
"""Names, times and sizes of the files that a version was loaded from."""

BatchSeen = Callable[[str, str, int, float, float], None]


@dataclass
class Source:
    """Where a version comes from."""

    path: Path | None
    handler: Path | None
    config: ModelConfig
    stamp: Stamp


@dataclass
class Version:
    """A version that is loaded, and its queue."""

    model: Model
    batcher: Batcher
    stamp: Stamp


@dataclass
class Entry:
    """A model: its versions that answer, and what became of those that do not."""

    versions: dict[str, Version] = field(default_factory=dict)
    failed: dict[str, tuple[Stamp, str]] = field(default_factory=dict)
    seen: dict[str, Stamp] = field(default_factory=dict)  # at the last look
    unloaded: bool = False  # by a request: until another loads it

    def newest(self) -> str:
        return max(self.versions, key=int)


class Repository:
    """Models by name.

    Args:
        root: a folder of models, or the file of one.
        name: what the model of a single file is called; its stem if not given.
        config: what holds for models whose ``config.json`` does not say otherwise.
        handler: the handler of a single file.
        thread: the compute thread; loading happens there too, since tensors belong to one thread at a time.
        seen: told of each batch: model, version, rows, seconds waited, seconds taken.
    """

    def __init__(
        self,
        root: Path,
        config: ModelConfig,
        thread: ComputeThread,
        name: str | None = None,
        handler: Path | None = None,
        seen: BatchSeen = lambda *figures: None,
    ) -> None:
        self.root, self.config, self._thread, self._seen, self._handler = root, config, thread, seen, handler
        if not root.exists():
            raise ModelError(f"{root}: there is no such file or folder")
        self._single = None if root.is_dir() else (name or root.stem)
        self._entries: dict[str, Entry] = {}
        self._changing = asyncio.Lock()
        self._draining: set[asyncio.Task[None]] = set()

    # --- answering --------------------------------------------------------------------------------------------

    async def infer(
        self, name: str, version: str | None, request: InferRequest, gone: Callable[[], Coroutine[Any, Any, Any]]
    ) -> tuple[Arrays, str]:
        """The outputs of a model, and which version they are from.

        Args:
            gone: returns when the client has gone; a request that still waits then leaves the queue.

        Raises:
            RequestError: no such model, inputs that it does not take, a full queue, a deadline that has passed, a client that has
                gone.
        """
        found = self.find(name, version)
        timeout = min(request.timeout or found.model.config.timeout, found.model.config.timeout)
        answer = found.batcher.submit(found.model.checked(request.inputs))
        try:
            await asyncio.wait([answer], timeout=min(timeout, UNWATCHED))
            if not answer.done() and timeout > UNWATCHED:
                await self._watch(answer, gone, timeout - UNWATCHED)
            if answer.done():
                return answer.result(), found.model.version
            raise RequestError(f"model {name!r} has not answered within {timeout:g} s", 504)
        finally:
            answer.cancel()

    @staticmethod
    async def _watch(answer: asyncio.Future[Arrays], gone: Callable[[], Coroutine[Any, Any, Any]], timeout: float) -> None:
        """Waits for the answer so many seconds at most, and looks whether the client still does."""
        leaving = asyncio.ensure_future(gone())
        try:
            await asyncio.wait([answer, leaving], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done() and not answer.done():
                raise RequestError("the client has gone", CLIENT_GONE)
        finally:
            leaving.cancel()

    def failure(self) -> str | None:
        """Why the model of a single file does not answer, if it does not."""
        if self._single is None or self._entries[self._single].versions:
            return None
        return "; ".join(reason for _, reason in self._entries[self._single].failed.values())

    def find(self, name: str, version: str | None = None) -> Version:
        """A version that is loaded, the newest if none is named."""
        entry = self._entries.get(name)
        if entry is None:
            raise RequestError(f"there is no model {name!r}; there are: {', '.join(self._entries) or 'none'}", 404)
        if not entry.versions:
            reasons = "; ".join(f"version {v}: {reason}" for v, (_, reason) in entry.failed.items())
            raise RequestError(f"model {name!r} is not loaded" + (f" ({reasons})" if reasons else ""), 404)
        version = version or entry.newest()
        if version not in entry.versions:
            raise RequestError(f"model {name!r} has no version {version!r}; there are {', '.join(entry.versions)}", 404)
        return entry.versions[version]

    def names(self) -> list[str]:
        """The models that answer."""
        return [name for name, entry in self._entries.items() if entry.versions]

    def loaded(self) -> Iterator[Version]:
        for entry in self._entries.values():
            yield from entry.versions.values()

    def describe(self, name: str, version: str | None = None) -> dict[str, Any]:
        """A model as the protocol's metadata has it."""
        found = self.find(name, version)
        return found.model.metadata(list(self._entries[name].versions))

    def index(self) -> list[dict[str, str]]:
        """As the protocol's repository extension lists models: each version, its state, and why it is not ready."""
        rows = []
        for name, entry in self._entries.items():
            rows += [{"name": name, "version": v, "state": "READY", "reason": ""} for v in entry.versions]
            rows += [
                {"name": name, "version": v, "state": "UNAVAILABLE", "reason": reason}
                for v, (_, reason) in entry.failed.items()
                if v not in entry.versions
            ]
            if entry.unloaded:
                rows.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": "unloaded"})
        return rows

    # --- changing ---------------------------------------------------------------------------------------------

    async def scan(self, settled: bool = False) -> None:
        """Looks at the folder: loads what is new, drops what is gone.

        Args:
            settled: load at once, also what has not been seen before.
        """
        async with self._changing:
            found = await asyncio.to_thread(self._look)
            for name in [*found, *(n for n in self._entries if n not in found)]:
                entry = self._entries.setdefault(name, Entry())
                if not entry.unloaded:
                    await self._follow(name, entry, found.get(name, {}), settled)
                if name not in found:
                    del self._entries[name]

    async def load(self, name: str) -> None:
        """Loads a model, or loads it again where its files have changed.

        Raises:
            RequestError: there is no such model, or it cannot be loaded.
        """
        async with self._changing:
            sources = (await asyncio.to_thread(self._look)).get(name)
            if sources is None:
                raise RequestError(f"failed to load {name!r}: there is no such model in {self.root}")
            entry = self._entries.setdefault(name, Entry())
            entry.unloaded = False
            entry.failed.clear()
            await self._follow(name, entry, sources, settled=True)
            if entry.failed:
                raise RequestError(
                    f"failed to load {name!r}: " + "; ".join(f"version {v}: {reason}" for v, (_, reason) in entry.failed.items())
                )

    async def unload(self, name: str) -> None:
        """Drops a model when it has answered what it was asked; it stays away until :meth:`load`."""
        async with self._changing:
            entry = self._entries.get(name)
            if entry is None:
                raise RequestError(f"failed to unload {name!r}: there is no such model")
            entry.unloaded = True
            entry.failed.clear()
            for version in list(entry.versions):
                self._drop(entry, version)

    async def look(self, settled: bool = False) -> None:
        """:meth:`scan`; a folder that cannot be read just now is said in the log."""
        try:
            await self.scan(settled)
        except OSError as error:
            log.warning("cannot look at the models", extra={"fields": {"error": str(error)}})

    async def drain(self) -> None:
        """Returns when all that was asked is answered; nothing more is taken."""
        for entry in self._entries.values():
            for version in list(entry.versions):
                self._drop(entry, version)
        await asyncio.gather(*self._draining)

    def _look(self) -> dict[str, dict[str, Source | ModelError]]:
        """What the disk has: models, and for each version that is to be served where it comes from, or why it cannot be."""
        if self._single is not None:
            return {self._single: {"1": self._source(self.root, self._handler, self.config)}}
        found: dict[str, dict[str, Source | ModelError]] = {}
        for folder in sorted(self.root.iterdir()):
            if folder.is_dir() and not folder.name.startswith((".", "_")):
                try:
                    found[folder.name] = self._versions_in(folder)
                except ModelError as error:
                    found[folder.name] = {"1": error}
        return found

    def _versions_in(self, folder: Path) -> dict[str, Source | ModelError]:
        config = ModelConfig.read(folder / "config.json", self.config)
        there = [f.name for f in folder.iterdir() if f.is_dir() and f.name.isascii() and f.name.isdigit()]
        if not there:
            return {"1": self._source_in(folder, folder, config)}
        return {v: self._source_in(folder, folder / v, config) for v in config.serves(there)}

    def _source_in(self, model: Path, folder: Path, config: ModelConfig) -> Source | ModelError:
        handler = next((f / loaders.HANDLER for f in (folder, model) if (f / loaders.HANDLER).is_file()), None)
        try:
            return self._source(loaders.model_file(folder), handler, config, model / "config.json")
        except ModelError as error:
            return error

    def _source(self, path: Path | None, handler: Path | None, config: ModelConfig, *others: Path) -> Source:
        files = [p for p in (path, handler, *others) if p is not None and p.is_file()]
        stats = [p.stat() for p in files]
        return Source(path, handler, config, tuple((str(p), s.st_mtime_ns, s.st_size) for p, s in zip(files, stats)))

    async def _follow(self, name: str, entry: Entry, sources: dict[str, Source | ModelError], settled: bool) -> None:
        """Makes the versions of a model those that were found."""
        lost = False
        seen, entry.seen = entry.seen, {}
        for version, source in sources.items():
            if isinstance(source, ModelError):
                self._note_failure(name, entry, version, (), str(source))
                lost = True
                continue
            entry.seen[version] = source.stamp
            current = entry.versions.get(version)
            if current is not None and current.stamp == source.stamp:
                continue
            if version in entry.failed and entry.failed[version][0] == source.stamp:
                lost = True
                continue
            if not settled and seen.get(version) != source.stamp:
                lost = True  # it may still be being written: the next look will tell
                continue
            lost |= not await self._load(name, entry, version, source)
        for version in [v for v in entry.failed if v not in sources]:
            del entry.failed[version]
        if not lost or not sources:
            for version in [v for v in entry.versions if v not in sources]:
                self._drop(entry, version)

    async def _load(self, name: str, entry: Entry, version: str, source: Source) -> bool:
        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            model = await loop.run_in_executor(
                self._thread, lambda: Model(name, version, source.path, source.config, source.handler)
            )
            sizes = await loop.run_in_executor(self._thread, model.warm)
        except Exception as error:
            if isinstance(error, ModelError):
                self._note_failure(name, entry, version, source.stamp, str(error))
            else:
                self._note_failure(name, entry, version, source.stamp, f"{type(error).__name__}: {error}", error)
            return False
        config = source.config
        batcher = Batcher(
            name, model.predict, self._thread, model.max_batch, config.max_queue, config.max_delay,
            lambda rows, waited, took: self._seen(name, version, rows, waited, took), model.is_quick,
        )  # fmt: skip
        self._drop(entry, version)
        entry.versions[version] = Version(model, batcher, source.stamp)
        entry.failed.pop(version, None)
        took = round(time.perf_counter() - start, 3)
        log.info("model loaded", extra={"fields": {"model": name, "version": version, "seconds": took, "sizes_warmed": sizes}})
        return True

    def _note_failure(
        self, name: str, entry: Entry, version: str, stamp: Stamp, reason: str, error: Exception | None = None
    ) -> None:
        if entry.failed.get(version) == (stamp, reason):
            return
        entry.failed[version] = (stamp, reason)
        log.error("model not loaded", extra={"fields": {"model": name, "version": version, "reason": reason}}, exc_info=error)

    def _drop(self, entry: Entry, version: str) -> None:
        old = entry.versions.pop(version, None)
        if old is not None:
            task = asyncio.create_task(old.batcher.drain())
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)
