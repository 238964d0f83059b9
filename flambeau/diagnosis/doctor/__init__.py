"""The doctor: mistakes that do not raise, found while a program runs.

``flambeau doctor script.py`` and ``flambeau run --check script.py`` watch a whole program, ``with flambeau.doctor():`` a part of
one. Each mistake is known to one small rule (``rules``), which is told what happens (``watching``) or reads the program's text
(``rules/source``). While the doctor watches, programs run slower, as all calls come to it; otherwise nothing of it is there.
"""

from __future__ import annotations

import sys

from flambeau.core.errors import is_own_file
from flambeau.diagnosis.doctor.finding import Finding, ranked
from flambeau.diagnosis.doctor.rules import all_rules
from flambeau.diagnosis.doctor.watching import Watch

__all__ = ["Finding", "doctor"]


class doctor:
    """Looks for mistakes that raise nothing in what runs inside of ``with flambeau.doctor():``; says on stderr what it finds.

    Args:
        source: the file whose text is read too; by default the one that has the ``with``.
        quiet: say nothing; the findings are in ``findings``, ranked. ``failures`` has what the doctor's own rules raised.

    >>> import flambeau as torch
    >>> model = torch.nn.Linear(4, 1)
    >>> x, y = torch.randn(8, 4), torch.randn(8)
    >>> with torch.doctor(quiet=True) as found:
    ...     loss = (model(x) - y).pow(2).mean()
    >>> found.findings[0].code
    'FB-LOSS-02'
    """

    def __init__(self, source: str | None = None, quiet: bool = False) -> None:
        self.findings: list[Finding] = []
        self.failures: list[Exception] = []
        self._source, self._quiet = source, quiet
        self._watch: Watch | None = None

    def __enter__(self) -> doctor:
        if self._watch is not None:
            raise RuntimeError("this doctor watches already: each `with` takes one of its own, with flambeau.doctor():")
        source = self._source
        if source is None:
            frame = sys._getframe(1)
            source = "" if is_own_file(frame.f_code.co_filename) else frame.f_code.co_filename
        self._watch = Watch(source, all_rules())
        self._watch.open()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._watch is not None
        self._watch.close()
        self.findings = ranked(self._watch.finish())
        self.failures = self._watch.failures
        self._watch = None
        if not self._quiet:
            self.report()

    def report(self) -> None:
        """Writes the findings to stderr."""
        for finding in self.findings:
            print(finding, file=sys.stderr)
