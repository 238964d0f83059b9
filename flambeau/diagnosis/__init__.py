"""What an error means, and what is wrong where there is none: errors explained, in English and in Chinese, and the doctor.

Nothing here is imported, and nothing costs anything, before something fails or the doctor is asked. The parts:

- ``slips`` and its families: errors whose cause is known, each with what was expected, what came and the fix;
- ``codes``: the stable code of each, what it means, and a program that shows it (``flambeau explain CODE``);
- ``scene``, ``frames``: the user's line, and the tensors of the call that failed;
- ``doctor``: mistakes that do not raise.
"""

from __future__ import annotations

import os

from flambeau.diagnosis.frames import keep_user_frames
from flambeau.diagnosis.language import Text
from flambeau.diagnosis.scene import Scene
from flambeau.diagnosis.slips import recognized

__all__ = ["explain_error"]


def is_full() -> bool:
    """Whether tracebacks keep flambeau's own lines: ``FLAMBEAU_TRACEBACK=full``, ``flambeau run --full-traceback``."""
    return os.environ.get("FLAMBEAU_TRACEBACK") == "full"


def explain_error(error: BaseException) -> str | None:
    """Adds to ``error`` what it means, as notes, and takes flambeau's own lines out of its traceback; the result is its code.

    An error that was explained before stays as it is.

    >>> import flambeau as torch
    >>> a, b = torch.ones(2, 3), torch.ones(2, 4)
    >>> try:
    ...     a.mm(b)
    ... except RuntimeError as e:
    ...     error = e
    >>> explain_error(error)
    'FB-SHAPE-01'
    >>> print(*error.__notes__, sep="\\n")
    operands: a float32 [2, 3], b float32 [2, 4]
    fix: rows times columns, (n, m) @ (m, p): expected b of shape (3, 4), got (2, 4); make b with 3 rows
    more: flambeau explain FB-SHAPE-01
    """
    if hasattr(error, "_flambeau_code"):
        known: str | None = error._flambeau_code
        return known
    if not isinstance(error, Exception):
        if not is_full():
            keep_user_frames(error)
        return None
    scene = Scene(error)
    found = recognized(scene)
    try:
        error._flambeau_code = found[0] if found else None  # type: ignore[attr-defined]
    except AttributeError:  # a class with slots
        return None
    _translate_place(error)
    if scene.operands:
        error.add_note(str(Text("operands: ", "参与运算的张量:")) + ", ".join(map(str, scene.operands)))
    if found is not None:
        code, advice = found
        error.add_note(f"{Text('fix', '改法')}: {advice}")
        error.add_note(f"{Text('more', '详见')}: flambeau explain {code}")
    if not is_full():
        keep_user_frames(error)
    return found[0] if found else None


def _translate_place(error: Exception) -> None:
    """The note of the modules that an error came through (``flambeau.nn``), in the reader's language."""
    for i, note in enumerate(getattr(error, "__notes__", [])):
        if note.startswith("raised in "):
            error.__notes__[i] = str(Text(note, "出错的模块:" + note.removeprefix("raised in ")))
