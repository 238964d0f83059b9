"""One step of a whole program as a picture: up to its first backward pass, or a later one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.diagnosis.language import Text
from flambeau.pictures.explaining import Explanation
from flambeau.pictures.recording import MOST, Full, Recorder
from flambeau.tensor import Tensor

__all__ = ["Step"]


class Done(BaseException):
    """The step has been seen: the program need not go on. No error of the program's: its handlers shall not take it."""


class _StepRecorder(Recorder):
    """Records until the backward pass of one step is over; what came before is forgotten with each earlier pass."""

    def __init__(self, title: str, number: int) -> None:
        super().__init__(title)
        self.left = number

    def watch_backward(self, tensor: Tensor, run: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left:
            self.quiet += 1
            try:
                return run()
            finally:
                self.quiet -= 1
                self.forget()
        self.record.outputs = [self.source(tensor)]
        super().watch_backward(tensor, run)
        raise Done


class Step:
    """Watches what runs inside of ``with Step(n) as step:`` until the ``n``-th call of ``backward`` is over, and stops it there.

    ``step.explanation`` has what the loss of that pass was made of, with the gradients of the real pass; of a program that
    makes no such pass, what it computed last. It is ``None`` where nothing was computed.

    >>> import flambeau as torch
    >>> w = torch.ones(2, requires_grad=True)
    >>> with Step(2) as step:
    ...     for k in range(5):
    ...         (w * k).sum().backward()
    >>> k, step.explanation
    (1, <Explanation of step 2: 2 operations; save(path) writes it as a page, show() opens it>)
    """

    def __init__(self, number: int = 1) -> None:
        self.explanation: Explanation | None = None
        self._recorder = _StepRecorder(f"step {number}", number)

    def __enter__(self) -> Step:
        self._recorder.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> bool:
        self._recorder.close()
        record = self._recorder.record
        if kind is Full:
            record.notes.append(Text(f"Only the first {MOST} operations are shown.", f"只显示前 {MOST} 个运算。"))
        if not record.outputs and record.calls:
            record.outputs = record.calls[-1:]
        if record.outputs:
            record.keep(record.outputs)
            record.settle()
            self.explanation = Explanation(record)
        return kind is Done or kind is Full
