"""Sequences padded to the longest: what each of them is, with gradients, in the interpreter and in plans."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.core import config
from flambeau.nn.utils.rnn import pad_sequence


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool, torch.bfloat16])
@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=20),
    width=st.sampled_from([(), (3,), (2, 3)]),
    batch_first=st.booleans(),
    value=st.sampled_from([0.0, 1.5]),
    side=st.sampled_from(["left", "right"]),
    turned=st.booleans(),
    compiled=st.booleans(),
)
def test_pads(dtype, lengths, width, batch_first, value, side, turned, compiled):
    if not dtype.is_floating_point:
        value = 0.0
    before = config.compiled, config.compile_after
    config.compiled, config.compile_after = compiled, 0
    try:
        given = [(torch.randn(n, *width) * 3).to(dtype) for n in lengths]
        leaves = [x.requires_grad_() if dtype.is_floating_point else x for x in given]
        parts = [(x.flip(0) if turned else x * 1 if dtype is not torch.bool else x) for x in leaves]
        out = pad_sequence(parts, batch_first, value, side)
        rows = out if batch_first else out.transpose(0, 1)
        longest = max(lengths)
        assert tuple(rows.shape) == (len(lengths), longest, *width) and out.dtype is dtype
        weights = torch.arange(out.numel(), dtype=torch.float32).reshape(rows.shape).to(dtype)
        if dtype.is_floating_point:
            (rows * weights).sum().backward()
        for i, (part, n) in enumerate(zip(parts, lengths, strict=True)):
            start = longest - n if side == "left" else 0
            assert rows[i, start : start + n].tolist() == part.tolist()
            rest = torch.cat([rows[i, :start], rows[i, start + n :]])
            assert bool((rest == value).all())
            if dtype.is_floating_point:
                slope = weights[i, start : start + n]
                np.testing.assert_array_equal(leaves[i].grad.float().numpy(), (slope.flip(0) if turned else slope).float().numpy())
    finally:
        config.compiled, config.compile_after = before


def test_what_is_not_alike():
    """Dtypes are promoted, widths must agree."""
    assert pad_sequence([torch.ones(2, dtype=torch.int64), torch.ones(1)]).dtype is torch.float32
    with pytest.raises(RuntimeError, match="equal size"):
        pad_sequence([torch.ones(2, 3), torch.ones(1, 2)])
