"""For all tests: plans are verified between the passes that make them, and one that cannot be made is an error."""

from flambeau.core import config

config.strict = True
