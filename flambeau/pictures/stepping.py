"""One step of a whole program as a picture: up to its first backward pass, or a later one."""

from __future__ import annotations

from typing import Any

from flambeau.diagnosis.language import Text
from flambeau.pictures.explaining import Explanation
from flambeau.pictures.recording import MOST, Full, Recorder
from flambeau.tensor import Tensor

__all__ = ["Step"]


class Done(BaseException):
    """The step has been seen: the program need not go on. No error of the program's: its handlers shall not take it."""


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
        self.number = number
        self.explanation: Explanation | None = None
        self._passes = 0
        self._recorder = Recorder(f"step {number}")

    def __enter__(self) -> Step:
        self._before = before = Tensor.__dict__["backward"]
        step = self

        def backward(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            return step._pass(tensor, before.__get__(tensor, type(tensor)), args, kwargs)

        Tensor.backward = backward  # type: ignore[method-assign]
        self._recorder.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> bool:
        Tensor.backward = self._before  # type: ignore[method-assign]
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

    def _pass(self, loss: Tensor, backward: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        recorder = self._recorder
        if recorder.quiet:
            return backward(*args, **kwargs)
        self._passes += 1
        recorder.record.outputs = [recorder.source(loss)]
        if self._passes < self.number:
            recorder.quiet += 1
            try:
                return backward(*args, **kwargs)
            finally:
                recorder.quiet -= 1
                recorder.forget()
        recorder.before_backward()
        try:
            backward(*args, **kwargs)
        finally:
            recorder.after_backward()
        raise Done
