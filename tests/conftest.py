"""For all tests: compiling need not pay, and a trace that cannot be compiled is an error.

Backward passes have functions of their own as soon as they repeat.
"""

import math

import pytest
from hypothesis import settings

from flambeau.autograd import repetition, rules
from flambeau.core import config
from flambeau.engine import plans
from flambeau.nn import native  # noqa: F401  (records that are not always there, as the next: tests are made of all)
from flambeau.ops import deformable, regions  # noqa: F401

collect_ignore_glob = ["typed/*"]  # programs: tests/test_typed.py runs them

settings.register_profile("flambeau", deadline=None)  # no test depends on the clock
settings.load_profile("flambeau")
config.strict = True
plans.ALLOWANCE = math.inf
repetition.OFTEN = 1
rules.AT_FIRST_SIGHT = True


@pytest.fixture(autouse=True)
def no_training_yet():
    """Whether there has been an optimizer decides when traces are compiled; each test begins without."""
    config.training = False
