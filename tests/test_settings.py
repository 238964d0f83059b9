"""Settings that cannot be part of a key are refused by the call that is given them, not by whatever runs the trace later."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.engine import graph
from flambeau.engine.trace import exact
from flambeau.ops.samples import Make
from tests.wrong_tensors import PUBLIC

UNHASHABLE = {"dict": dict, "list": lambda: [[1]], "set": lambda: {1}, "array": lambda: np.ones(2)}


@pytest.mark.parametrize("what", UNHASHABLE)
def test_no_op_records_a_setting_that_has_no_hash(what):
    for op in PUBLIC:
        for sample in list(op.samples(Make(requires_grad=False)))[:2]:
            for place in [*range(len(sample.args)), *sample.kwargs]:
                args, kwargs = list(sample.args), dict(sample.kwargs)
                if isinstance((args if isinstance(place, int) else kwargs)[place], torch.Tensor):
                    continue
                (args if isinstance(place, int) else kwargs)[place] = UNHASHABLE[what]()
                try:
                    result = op.function(*args, **kwargs)
                except Exception:  # which words it is refused in is tested elsewhere
                    continue
                for node in graph.trace:
                    hash(tuple([exact(value) for value in node.attrs.values()]))
                del result


def test_the_call_is_refused_and_later_ones_are_not():
    with pytest.raises(TypeError, match="argument 'divisor_override' must be int, not dict"):
        torch.nn.functional.avg_pool2d(torch.ones(1, 4, 4), 2, divisor_override={})
    assert (torch.ones(2) + 1).tolist() == [2.0, 2.0]
