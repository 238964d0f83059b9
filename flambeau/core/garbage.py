"""How often Python looks for circles of objects that nobody holds any more.

It does so whenever so many more objects have been made than have gone, 700 by default. A recorded step is some thousand objects
(nodes, storages, tensors, entries of the tape) that go by their reference counts, all at once, when the step is over. So in the
middle of each step they were looked through again and again, and counted as old because they had survived that, until all objects
of the process had to be looked through: a fifth of the time of a program whose sizes are new at every step.
"""

from __future__ import annotations

import gc

YOUNG = 5000


def relax() -> None:
    """Lets Python wait for more young objects, unless the program has said otherwise."""
    young, *rest = gc.get_threshold()
    if 0 < young < YOUNG:  # 0: never
        gc.set_threshold(YOUNG, *rest)
