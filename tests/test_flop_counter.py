"""``torch.utils.flop_counter``: what is counted where, without PyTorch beside it."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import dispatch
from flambeau.tensor.overriding import offering
from flambeau.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula
from flambeau.utils.module_tracker import ModuleTracker


def product():
    return torch.ones(2, 3) @ torch.ones(3, 4)


def total(program) -> int:
    with FlopCounterMode(display=False) as mode:
        program()
    return mode.get_total_flops()


def test_nothing_stays_behind():
    for _ in range(2):
        assert total(product) == 48
        assert dispatch.watch is None and offering.before is None
    with pytest.raises(ZeroDivisionError):
        total(lambda: 1 / 0)
    assert dispatch.watch is None


def test_repeated_calls_count_each_time():
    w = torch.ones(3, 4, requires_grad=True)
    x = torch.ones(2, 3)

    def step():
        torch.nn.functional.linear(x, w.t()).relu().sum().backward()

    for _ in range(40):
        step()  # is repeated from here on
    assert total(step) == 2 * 48
    for _ in range(3):
        step()
    assert w.grad.tolist() == torch.full((3, 4), 88.0).tolist()


class Quiet(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.seen = [*getattr(self, "seen", []), function.__name__]
        return function(*args, **(kwargs or {}))


def test_modes_around_and_inside():
    with Quiet() as mode:
        assert total(product) == 48
        assert "matmul" in mode.seen
    assert dispatch.watch is None
    counter = FlopCounterMode(display=False)
    with counter:
        with Quiet() as mode:
            product()
        assert "matmul" in mode.seen
        product()
    assert counter.get_total_flops() == 96
    assert dispatch.watch is None and offering.before is None


def test_counters_inside_of_each_other():
    with FlopCounterMode(display=False) as outer:
        product()
        with FlopCounterMode(display=False) as inner:
            product()
    assert (inner.get_total_flops(), outer.get_total_flops()) == (48, 96)


def test_a_counter_begins_anew():
    with FlopCounterMode(display=False) as mode:
        product()
    with mode:
        pass
    assert mode.get_flop_counts() == {}


def test_registering():
    packet = torch.ops.aten.layer_norm

    @register_flop_formula([packet])
    def formula(shape, *args, out_shape=None, **kwargs):
        return 3

    try:
        with pytest.raises(RuntimeError, match="duplicate registrations for aten.layer_norm"):
            register_flop_formula(packet)(formula)
        assert total(lambda: torch.nn.functional.layer_norm(torch.ones(2, 3), (3,))) == 3
    finally:
        del flop_registry[packet]
    for target in (torch.mm, torch.ops.aten.mm.default):
        with pytest.raises(ValueError, match="expected each target to be OpOverloadPacket"):
            register_flop_formula(target)(formula)


def test_a_table_is_printed(capsys):
    net = torch.nn.Sequential(torch.nn.Linear(300, 400), torch.nn.Linear(400, 4))
    with FlopCounterMode(depth=1):
        net(torch.ones(5, 300))
    expected = """\
Module              FLOP    % Total
-------------  ---------  ---------
Sequential     1216.000K    100.00%
 - aten.addmm  1216.000K    100.00%
"""
    assert capsys.readouterr().out == expected


def test_parents_of_a_backward_pass():
    seen = []

    class Note(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            seen.append((sorted(tracker.parents), tracker.is_bw))
            return g

    class Inner(torch.nn.Module):
        def forward(self, x):
            return Note.apply(x * 2) * 2

    net = torch.nn.Sequential(Inner())
    tracker = ModuleTracker()
    with tracker:
        net(torch.ones(2, requires_grad=True)).sum().backward()
        assert tracker.parents == {"Global"} and not tracker.is_bw
    assert seen == [(["Global", "Sequential", "Sequential.0"], True)]
