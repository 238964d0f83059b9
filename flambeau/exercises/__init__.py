"""Checkers for the exercises of the book (``docs/book``): ``flambeau check 1-2 answer.py``.

A checker does not compare with one solution. It asks for properties: a gradient must be what moving the weight measures, a split
must leave no row out. Where an answer is wrong in a way that is known, it says which. The parts:

- ``exercise``: what an exercise is, and the table of all;
- ``answer``: the names that a reader's file has made, and what is said where one is missing or fails;
- ``comparing``: numbers against numbers, and gradients measured;
- ``gradients``, ``nets``, ``data``, ``programs``: the exercises, by chapters.
"""

from flambeau.exercises.exercise import EXERCISES, Exercise, Step

__all__ = ["EXERCISES", "Exercise", "Step"]

from flambeau.exercises import data, gradients, nets, programs  # they fill the table
