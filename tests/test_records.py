"""Records of ops: nothing writes to one once it is made. What is learned of calls stands beside it."""

import warnings
from collections.abc import Iterator
from contextlib import suppress

import flambeau as torch
from flambeau.ops.call_cache import CallCache
from flambeau.ops.record import Op, registry
from flambeau.ops.samples import Make


def fields(op: Op) -> list:
    """What a record says; a dict by what is in it."""
    values = [getattr(op, name) for name in Op.__slots__]
    return [tuple(value.items()) if isinstance(value, dict) else value for value in values]


def calls(op: Op) -> Iterator:
    """Calls of an op: its first sample, with and without gradients, often enough to be learned and repeated."""
    for requires_grad in (False, True):
        for sample in list(op.samples(Make(requires_grad=requires_grad)))[:1]:
            for _ in range(3):
                yield op.function(*sample.args, **sample.kwargs)
                torch.synchronize()


def backward(result) -> None:
    listed = [
        r for r in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(r, torch.Tensor) and r.requires_grad
    ]
    for t in listed[:1]:
        with suppress(RuntimeError):  # some say that they have no derivative, when they are asked
            t.abs().sum().backward(retain_graph=True)


def test_calls_write_nothing_to_records():
    ops = {id(op): op for op in registry.values() if op.samples}.values()
    before = [fields(op) for op in ops]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for op in ops:
            for result in calls(op):
                backward(result)
    for op, said in zip(ops, before, strict=True):
        written = [name for name, old, new in zip(Op.__slots__, said, fields(op), strict=True) if not (old is new or old == new)]
        assert not written, f"{op.name}: {written}"


def test_what_is_learned_stands_beside():
    assert not set(Op.__slots__) & set(CallCache.__slots__)
    assert "__dict__" not in dir(registry["add"]), "a record has the fields that it names, and no others"


def test_the_op_that_does_not_check_leads_back_to_the_one_that_does():
    for op in registry.values():
        if op.verify is not None:
            assert op.checked and not op.verified.checked and op.verified.verified is op
            assert op.verified.recipes is op.recipes
        else:
            assert op.verified is op
