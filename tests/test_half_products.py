"""Products in half precision in plans: float32 kernels, rounded once."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.core import config
from flambeau.engine import plans


@pytest.mark.skipif(not config.compiled or config.eager, reason="nothing is compiled")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_products_run_as_native_kernels(dtype):
    a, b, c = (torch.randn(*shape).to(dtype) for shape in [(9, 17), (17, 5), (5,)])
    d = torch.randn(9, 5).to(dtype).t()

    def step():
        return (
            ((a @ b).relu() + torch.addmm(c, a, b, alpha=2) + torch.mm(d.t(), d)[:, :5] * 0.5).sum(0, dtype=torch.float32).tolist()
        )

    plans.clear()
    results = [step() for _ in range(4)]
    assert results[0] == pytest.approx(results[3], rel=2e-2, abs=2e-2)
    (plan,) = plans.plans.values()
    assert plan.all_native
