"""The rules, by what they look at."""

from __future__ import annotations

from flambeau.diagnosis.doctor.rule import Rule


def all_rules() -> list[type[Rule]]:
    """Every rule, as a class; each doctor has instances of its own."""
    from flambeau.diagnosis.doctor.rules import data, loops, losses, modes, numbers, order, parameters, source, splits

    return [rule for family in (source, order, loops, parameters, losses, data, splits, numbers, modes) for rule in family.RULES]
