"""A folder of checkpoints: written by another thread, each whole or not at all, the newest few kept."""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from flambeau import serialization
from flambeau.checkpoint.streams import random_state, set_random_state
from flambeau.serialization.files import replacing


class Stateful(Protocol):
    """What can be saved: modules, optimizers, schedulers, scalers, :class:`Resumable` loaders, and objects of one's own."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


class Checkpoints:
    """The checkpoints of one training.

    Save between two steps of the optimizer: gradients that have been accumulated are not saved. :meth:`resume` is called once all
    parts are made, before the first step.

    Args:
        folder: where they are; it is made if it is not there.
        keep: how many of the newest stay.
        background: write in another thread. The state is copied when :meth:`save` is called, so the training may go on; a
            :meth:`save` while an earlier one is still being written waits for that.
        parts: what makes up the training, by name.

    Raises:
        TypeError: a part has no ``state_dict`` and ``load_state_dict``.
        ValueError: ``keep`` is less than one, or there are no parts.
    """

    def __init__(self, folder: str | os.PathLike[str], *, keep: int = 3, background: bool = True, **parts: Stateful) -> None:
        if keep < 1:
            raise ValueError(f"keep: expected at least 1, got {keep}")
        if not parts:
            raise ValueError("expected what is to be saved, for example model=model, optimizer=optimizer")
        for name, part in parts.items():
            if not callable(getattr(part, "state_dict", None)) or not callable(getattr(part, "load_state_dict", None)):
                raise TypeError(f"{name}: a {type(part).__name__} has no state_dict() and load_state_dict()")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keep, self._background, self._parts = keep, background, parts
        self._writing: threading.Thread | None = None
        self._error: BaseException | None = None

    def steps(self) -> list[int]:
        """The steps of which there are checkpoints, in order."""
        return sorted(int(m[1]) for name in os.listdir(self.folder) if (m := re.fullmatch(r"step-(\d+)\.pt", name)))

    def save(self, step: int) -> None:
        """Writes a checkpoint, as it is now. Those of later steps, from which the training has been rewound, are removed.

        Raises:
            OSError: an earlier one could not be written (at the next call of :meth:`save`, :meth:`wait` or :meth:`close`).
        """
        self.wait()
        state = {
            "step": int(step),
            "random": random_state(),
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
        }
        content = io.BytesIO()
        serialization.save(state, content)
        if self._background:
            self._writing = threading.Thread(
                target=self._write_noting, args=(int(step), content), name="flambeau writes a checkpoint"
            )
            self._writing.start()
        else:
            self._write(int(step), content)

    def resume(self, step: int | None = None) -> int:
        """Loads the newest checkpoint, or that of ``step``, into the parts; its step, or 0 where there is none.

        A newest checkpoint that cannot be read, as after a fault of the disk, is warned of, and the one before it is taken.

        Raises:
            FileNotFoundError: there is none of ``step``.
            RuntimeError: a checkpoint has other parts, or none that are there can be read.
        """
        self.wait()
        steps = self.steps()
        if step is not None:
            if step not in steps:
                raise FileNotFoundError(f"{self.folder} has no checkpoint of step {step}; there are {steps or 'none'}")
            return self._restore(serialization.load(self._path(step)))
        for newest in reversed(steps):
            try:
                state = serialization.load(self._path(newest))
            except Exception as error:
                warnings.warn(f"{self._path(newest)} cannot be read, an older checkpoint is taken: {error}", stacklevel=2)
                continue
            return self._restore(state)
        if steps:
            raise RuntimeError(f"none of the checkpoints in {self.folder} can be read")
        return 0

    def wait(self) -> None:
        """Returns when what was saved is on the disk; raises what went wrong with that."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    close = wait

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _path(self, step: int) -> str:
        return os.fspath(self.folder / f"step-{step:09}.pt")

    def _restore(self, state: dict[str, Any]) -> int:
        saved = state["parts"]
        if saved.keys() != self._parts.keys():
            raise RuntimeError(f"the checkpoint has the parts {', '.join(saved)}, but this training has {', '.join(self._parts)}")
        for name, part in self._parts.items():
            part.load_state_dict(saved[name])
        set_random_state(state["random"])
        step: int = state["step"]
        return step

    def _write_noting(self, step: int, content: io.BytesIO) -> None:
        try:
            self._write(step, content)
        except BaseException as error:
            self._error = error

    def _write(self, step: int, content: io.BytesIO) -> None:
        with replacing(self._path(step)) as file:
            file.write(content.getbuffer())
        steps = self.steps()
        here = steps.index(step) + 1
        for other in (*steps[: max(0, here - self._keep)], *steps[here:]):
            os.unlink(self._path(other))
