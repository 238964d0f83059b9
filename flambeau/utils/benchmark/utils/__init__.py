"""The parts of :mod:`flambeau.utils.benchmark`."""
