"""Runs the programs of ``examples/mistakes`` in this process, each as it is and mended, as ``flambeau run`` would.

``python -m tests.mistakes [NAME ...]`` prints, as JSON lines: name, error and code of the program, notes, what the doctor finds in
it, and the same of the mended one.
"""

from __future__ import annotations

import json
import sys
import warnings

from flambeau import compat
from flambeau.diagnosis import explain_error
from flambeau.diagnosis.samples import Sample, samples


def outcome(source: str, file: str) -> dict:
    """What a program ends with, and what the doctor says about it."""
    import linecache

    import flambeau

    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    doctor = flambeau.doctor(source=file, quiet=True)
    error: BaseException | None = None
    try:
        code = compile(source, file, "exec")
        with doctor:
            exec(code, {"__name__": "__main__"})
    except Exception as raised:
        error = raised
        explain_error(error)
    assert doctor.failures == []
    lines = []
    trace = error.__traceback__ if error is not None else None
    while trace is not None:
        lines.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return {
        "error": f"{type(error).__name__}: {error}" if error is not None else "",
        "code": getattr(error, "_flambeau_code", None),
        "notes": "\n".join(getattr(error, "__notes__", [])),
        "strangers": sorted({line for line in lines if line not in (file, __file__)}),
        "found": [{"code": f.code, "line": f.line, "text": str(f)} for f in doctor.findings] if error is None else [],
    }


def both(sample: Sample) -> dict:
    return {
        "name": sample.path.stem,
        "wrong": outcome(sample.program, f"<{sample.path.stem}>"),
        "mended": outcome(sample.mended, f"<mended {sample.path.stem}>"),
    }


if __name__ == "__main__":
    compat.install()
    warnings.simplefilter("ignore")
    import contextlib
    import io

    for sample in samples():
        if not sys.argv[1:] or sample.path.stem in sys.argv[1:]:
            with contextlib.redirect_stdout(io.StringIO()):
                result = both(sample)
            print(json.dumps(result, ensure_ascii=False), flush=True)
