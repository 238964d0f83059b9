"""What tensors hold, and where gradients go, after writes and views at their limits: beside PyTorch."""

import pytest

import flambeau

torch = pytest.importorskip("torch")

WRITES = {
    "copy_": lambda t, y, b: y.copy_(b),
    "a slice of all": lambda t, y, b: y.__setitem__(slice(None), b),
    "dots": lambda t, y, b: y.__setitem__(..., b),
    "broadcast": lambda t, y, b: y.copy_(b[:1]),
    "another dtype": lambda t, y, b: y.copy_(b.double()),
    "values without a gradient": lambda t, y, b: y.copy_(b.detach()),
    "through a view": lambda t, y, b: y.view(-1).copy_(b),
    "a part": lambda t, y, b: y[1:].copy_(b[1:]),
    "twice": lambda t, y, b: y.copy_(b).copy_(b * 2),
    "under no_grad": lambda t, y, b: t.no_grad()(lambda: y.copy_(b))(),
}


@pytest.mark.parametrize("used_before", [False, True])
@pytest.mark.parametrize("name", WRITES)
def test_gradients_of_what_is_overwritten(name, used_before):
    outcomes = []
    for t in (torch, flambeau):
        a, b = t.arange(3.0).requires_grad_(), t.ones(3, requires_grad=True)
        for _ in range(3):  # the second and third backward pass follow the first
            y = a * 2
            used = y.exp() if used_before else None
            WRITES[name](t, y, b * 3)
            (y.sum() if used is None else (y * used).sum()).backward()
        grads = [None if x.grad is None else x.grad.tolist() for x in (a, b)]
        outcomes.append(
            (grads, type(y.grad_fn).__name__, [fn is None for fn, _ in y.grad_fn.next_functions][: 1 + (b.grad is not None)])
        )
    assert outcomes[1][1:] == outcomes[0][1:]
    for wanted, got in zip(outcomes[0][0], outcomes[1][0], strict=True):
        assert got == (None if wanted is None else pytest.approx(wanted, rel=1e-5))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["H", "mH", "adjoint", "T", "mT"])
@pytest.mark.parametrize("dims", [0, 2])
@pytest.mark.parametrize("conjugated", [False, True])
def test_adjoints(form, dims, conjugated):
    seen = []
    for t in (torch, flambeau):
        x = t.tensor(1 + 2j).expand([2] * dims)
        x = x.conj() if conjugated else x
        y = x.adjoint() if form == "adjoint" else getattr(x, form)
        seen.append((y.tolist(), y.is_conj()))
    assert seen[1] == seen[0]


@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize("sizes", [(2, 2), (4,), (1,), (2, 1), (3, 2)])
def test_resized_conjugates(part, sizes):
    seen = []
    for t in (torch, flambeau):
        c = t.tensor([[1 + 2j, 3 - 1j], [2j, -1j]])
        v = c.conj().imag if part else c.conj()
        if v.numel() >= len(sizes) and sizes != (3, 2) and not part:
            v.resize_(sizes)
            seen.append((v.tolist(), v.is_conj(), v.is_neg(), c.tolist()))
            v.mul_(2)
            seen.append((v.tolist(), c.tolist()))
    half = len(seen) // 2
    assert seen[half:] == seen[:half]


@pytest.mark.parametrize("exponent", [-300, -100, -3, 0, 3, 100, 127, 150, 300, 1000])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_ldexp_by_large_exponents(dtype, exponent):
    values = [0.0, -0.0, 1.0, -3.0, 1e-3, 1e4, float("inf"), float("nan")]
    for e in ([exponent] * len(values), exponent):
        wanted, got = [t.ldexp(t.tensor(values, dtype=getattr(t, dtype)), t.tensor(e)).double().tolist() for t in (torch, flambeau)]
        assert [repr(x) for x in got] == [repr(x) for x in wanted]


def test_range_into_out():
    for make in (lambda t: t.zeros(2, 3)[:, 1:], lambda t: t.zeros(0), lambda t: t.zeros(4, dtype=t.float64)):
        outs = []
        for t in (torch, flambeau):
            out = make(t)
            with pytest.warns(UserWarning):
                assert t.range(0, 3, out=out) is out
            outs.append((out.tolist(), out.stride()))
        assert outs[1] == outs[0]


@pytest.mark.parametrize("value", [-1, -0.5, 300, 2**63, 2**64, 1e300, 1j, True, 2.7])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "bool"])
def test_numbers_that_pads_and_fills_take(value, dtype):
    calls = {
        "pad": lambda t: t.nn.functional.pad(t.ones(2, dtype=getattr(t, dtype)), (1, 1), value=value),
        "full": lambda t: t.full((2,), value),
        "full of a dtype": lambda t: t.full((2,), value, dtype=getattr(t, dtype)),
    }
    if (value, dtype) == (2**63, "int64"):  # in floating point it equals the largest int64, and C leaves open what becomes of it
        del calls["pad"]
    for name, call in calls.items():
        outcomes = []
        for t in (torch, flambeau):
            try:
                out = call(t)
                outcomes.append((str(out.dtype).split(".")[1], out.tolist()))
            except Exception as error:
                outcomes.append(type(error).__name__)
        assert outcomes[1] == outcomes[0], name
