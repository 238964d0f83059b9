"""Pictures of computations: ``flambeau.explain`` as a page, tensors and modules in notebooks.

Nothing here is imported before it is asked for. The parts:

- ``recording``, ``tape``: a computation watched, or as far as the tape knows it, as a ``record`` of operations in boxes;
- ``formulas``: what ops compute, and the rules of their gradients, as text; ``values``: statistics of tensors;
- ``notebooks``, ``summary``: what notebooks show of tensors, modules and optimizers; the table of a module;
- ``fusion``: which operations ran in which loop;
- ``page`` and ``templates``: all of that as one HTML file; ``words``: what pages say, in both languages.
"""

from __future__ import annotations

from flambeau.pictures.explaining import Explanation, explain

__all__ = ["Explanation", "explain"]
