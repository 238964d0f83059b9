"""What a rule is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.diagnosis.language import Text

if TYPE_CHECKING:
    from flambeau.diagnosis.doctor.watching import Site, Watch


class Rule:
    """One mistake, and how it shows. A rule defines those of these methods that it listens to:

    - ``ran(call)``: an op was called by the program or by a layer;
    - ``left(root)``: a whole net was called;
    - ``before_backward(loss, site)``, ``after_backward(loss, site)``;
    - ``before_step(optimizer, site)``, ``after_step(optimizer, site)``;
    - ``fetched(asked, came, site)``: a data loader gave a batch; seconds of a clock;
    - ``finished()``: the program is at its end.

    The programs of ``examples/mistakes`` that announce its ``code`` must be found by it, and none of their mended forms.
    ``innocent`` are more programs that look like them and are right.
    """

    code = ""
    innocent: tuple[str, ...] = ()

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def report(self, where: Site, why: Text, fix: Text) -> None:
        self.watch.report(self.code, where, why, fix)
