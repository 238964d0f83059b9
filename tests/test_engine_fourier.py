"""Fourier transforms in the compiled tier, against NumPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config, dtypes
from flambeau.engine.cpu import compiler, fourier
from flambeau.engine.cpu.specs import FourierSpec

sizes = st.lists(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9, 16, 17, 20, 22, 33, 39]), min_size=1, max_size=4).filter(
    lambda s: np.prod(s) < 20_000
)
LAID_OUT = {
    "whole": lambda x: x * 1,
    "turned": lambda x: (x * 1).movedim(0, -1).contiguous().movedim(-1, 0),
    "a part": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
    "the same": lambda x: (x * 1)[:1].expand(x.shape),
}


@pytest.mark.parametrize("precise", [False, True])
@settings(max_examples=60, deadline=None)
@given(shape=sizes, norm=st.sampled_from(["backward", "ortho", "forward"]), view=st.sampled_from(sorted(LAID_OUT)), data=st.data())
def test_agree(precise, shape, norm, view, data):
    dims = data.draw(st.permutations(range(len(shape))))[: data.draw(st.integers(1, len(shape)))]
    rng = np.random.default_rng(0)
    real = rng.standard_normal(shape).astype(np.float64 if precise else np.float32)
    both = real + 1j * rng.standard_normal(shape).astype(real.dtype)
    shown = LAID_OUT[view]
    half = [shape[d] for d in dims[:-1]] + [2 * (shape[dims[-1]] - 1) + data.draw(st.integers(0, 1)) or 1]

    def program() -> list[np.ndarray]:
        x, z = shown(torch.tensor(real)), shown(torch.tensor(both))
        leaf = torch.tensor(real, requires_grad=True)
        spectrum = torch.fft.rfftn(leaf, dim=dims, norm=norm)
        (spectrum.real * spectrum.imag.cos()).sum().backward()
        made = (
            torch.fft.fftn(z, dim=dims, norm=norm),
            torch.fft.ifftn(z, dim=dims, norm=norm),
            torch.fft.rfftn(x, dim=dims, norm=norm),
        )
        return [t.numpy().copy() for t in (*made, torch.fft.irfftn(z, half, dim=dims, norm=norm), leaf.grad)]

    before = config.compiled, config.compile_after
    try:
        config.compiled, config.compile_after = False, 0
        expected = program()
        config.compiled = True
        found = program()
    finally:
        config.compiled, config.compile_after = before
    tolerance = 1e-11 if precise else 1e-4
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(a).max())))


def test_which_have_a_kernel():
    def stages(n: int, rows: int = 20):
        spec = FourierSpec("c2c", dtypes.float32, (rows, n), (n, 1), (1,), n, True, 1.0)
        return fourier.stages(spec, compiler.session())

    assert fourier.factors_of(4 * 4 * 2 * 3 * 13) == [4, 4, 2, 3, 13]
    assert all(stages(n) for n in (1, 2, 7, 60, 400, 1024, 4096))
    assert not stages(17) and not stages(2 * fourier.LONGEST)  # a prime number; too long
    assert stages(fourier.LONG, rows=1) and not stages(2 * fourier.LONG, rows=1)
