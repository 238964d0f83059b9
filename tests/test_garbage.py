"""What flambeau asks of Python's collector of garbage."""

from __future__ import annotations

import gc

import pytest

from flambeau.core import garbage


@pytest.mark.parametrize(("before", "after"), [(700, garbage.YOUNG), (0, 0), (100_000, 100_000)])
def test_the_collector_waits_longer_unless_the_program_has_said_otherwise(before, after):
    kept = gc.get_threshold()
    try:
        gc.set_threshold(before, 7, 8)
        garbage.relax()
        assert gc.get_threshold() == (after, 7, 8)
    finally:
        gc.set_threshold(*kept)


def test_importing_flambeau_does_that():
    assert gc.get_threshold()[0] == 0 or gc.get_threshold()[0] >= garbage.YOUNG
