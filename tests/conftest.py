"""For all tests: plans are verified as they are made, compiling need not pay, and a trace that cannot be compiled is an error."""

import math

from flambeau.core import config
from flambeau.engine import plans

config.strict = True
plans.ALLOWANCE = math.inf
