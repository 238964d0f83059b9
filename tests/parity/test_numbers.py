"""Numbers that do not fit a tensor's dtype: PyTorch's wrapping, or its class of error, op by op."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

NUMBERS = [
    0, 1, -1, 3, 200, 300, -20, 2**31, -(2**31) - 1, 2**63, -(2**63) - 1, 10**30, 0.5, -0.0, -1.5, 300.5, 1e10, 1e300,
    float("inf"), float("-inf"), float("nan"), True, False,
]  # fmt: skip
DTYPES = "bool uint8 int8 int16 int32 int64 float32 float64 complex64".split()
WHERE = [True, False, True, False]
CALLS = {
    "add": lambda l, x, n: x + n, "radd": lambda l, x, n: n + x, "mul": lambda l, x, n: x * n, "sub": lambda l, x, n: x - n,
    "rsub": lambda l, x, n: n - x, "div": lambda l, x, n: x / n, "rdiv": lambda l, x, n: n / x, "pow": lambda l, x, n: x**n,
    "floor_divide": lambda l, x, n: x // n, "remainder": lambda l, x, n: x % n, "fmod": lambda l, x, n: l.fmod(x, n),
    "div_floor": lambda l, x, n: l.div(x, n, rounding_mode="floor"), "div_trunc": lambda l, x, n: l.div(x, n, rounding_mode="trunc"),
    "lt": lambda l, x, n: x < n, "le": lambda l, x, n: x <= n, "gt": lambda l, x, n: x > n, "ge": lambda l, x, n: x >= n,
    "eq": lambda l, x, n: x == n, "ne": lambda l, x, n: x != n, "and": lambda l, x, n: x & n, "or": lambda l, x, n: x | n,
    "iadd": lambda l, x, n: x.clone().add_(n), "imul": lambda l, x, n: x.clone().mul_(n), "isub": lambda l, x, n: x.clone().sub_(n),
    "clamp_min": lambda l, x, n: x.clamp(min=n), "clamp_max": lambda l, x, n: x.clamp(max=n), "clip": lambda l, x, n: l.clip(x, n, 1),
    "add_alpha": lambda l, x, n: l.add(x, x, alpha=n),
    "addcmul": lambda l, x, n: l.addcmul(x, x, x, value=n),
    "addcdiv": lambda l, x, n: l.addcdiv(x, x, x, value=n), "lerp": lambda l, x, n: l.lerp(x, x + x, n),
    "masked_fill": lambda l, x, n: x.masked_fill(l.tensor(WHERE), n), "fill": lambda l, x, n: l.fill(x, n),
    "fill_": lambda l, x, n: x.clone().fill_(n), "index_fill": lambda l, x, n: x.index_fill(0, l.tensor([0, 2]), n),
    "where": lambda l, x, n: l.where(l.tensor(WHERE), x, n), "where_self": lambda l, x, n: l.where(l.tensor(WHERE), n, x),
    "constant_pad_nd": lambda l, x, n: l.constant_pad_nd(x, (1, 1), n), "scatter": lambda l, x, n: x.scatter(0, l.tensor([0, 2]), n),
    "full": lambda l, x, n: l.full((2,), n, dtype=x.dtype), "full_like": lambda l, x, n: l.full_like(x, n),
    "new_full": lambda l, x, n: x.new_full((2,), n), "tensor": lambda l, x, n: l.tensor([n], dtype=x.dtype),
    "as_tensor": lambda l, x, n: l.as_tensor(n, dtype=x.dtype), "scalar_tensor": lambda l, x, n: l.scalar_tensor(n, dtype=x.dtype),
    "threshold": lambda l, x, n: l.nn.functional.threshold(x, n, 0), "threshold_value": lambda l, x, n: l.nn.functional.threshold(x, 0, n),
    "addmm_alpha": lambda l, x, n: l.addmm(x.reshape(2, 2), x.reshape(2, 2), x.reshape(2, 2), alpha=n),
    "addmm_beta": lambda l, x, n: l.addmm(x.reshape(2, 2), x.reshape(2, 2), x.reshape(2, 2), beta=n),
    "addmv_alpha": lambda l, x, n: l.addmv(x[:2], x.reshape(2, 2), x[:2], alpha=n),
    "baddbmm_beta": lambda l, x, n: l.baddbmm(x.reshape(1, 2, 2), x.reshape(1, 2, 2), x.reshape(1, 2, 2), beta=n),
    "fill_diagonal": lambda l, x, n: x.reshape(2, 2).clone().fill_diagonal_(n),
    "result_type": lambda l, x, n: x.new_empty(0).to(l.result_type(x, n)),
}  # fmt: skip
UNSPECIFIED = {
    # What rounding or an undefined conversion in C decides.
    ("pow", "complex64"), ("div", "complex64"), ("rdiv", "complex64"), ("mul", "complex64"), ("imul", "complex64"), ("add", "complex64"),
    ("radd", "complex64"), ("sub", "complex64"), ("rsub", "complex64"), ("iadd", "complex64"), ("isub", "complex64"),
    ("add_alpha", "complex64"), ("sub_alpha", "complex64"), ("addcmul", "complex64"), ("addcdiv", "complex64"),
    ("addmm_alpha", "complex64"), ("addmm_beta", "complex64"), ("addmv_alpha", "complex64"), ("baddbmm_beta", "complex64"),
    ("lerp", "complex64"),
}  # fmt: skip


def _tensor(library, dtype):
    numbers = {"bool": [False, True, True, False], "uint8": [0, 1, 200, 255]}.get(dtype, [0, 1, -3, 100])
    return library.tensor(numbers, dtype=getattr(library, dtype))


def _outcome(library, call, dtype, n):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = call(library, _tensor(library, dtype), n)
            return str(result.dtype).split(".")[1], result.numpy()
        except Exception as error:
            return type(error).__name__


@pytest.mark.parametrize("name", CALLS)
def test_numbers(name):
    wrong = []
    for dtype in DTYPES:
        for n in NUMBERS:
            ours, theirs = (_outcome(library, CALLS[name], dtype, n) for library in (flambeau, torch))
            if n == 10**30 or n == -(2**63) - 1:  # no number at all, which PyTorch says before all else
                same = isinstance(ours, str) == isinstance(theirs, str)
            elif name.startswith("addmm") and n in (np.inf, -np.inf):
                continue  # where PyTorch's product begins with a zero times this
            elif isinstance(ours, str) or isinstance(theirs, str):
                same = ours == theirs if isinstance(ours, str) and isinstance(theirs, str) else False
            elif (name, dtype) in UNSPECIFIED and not np.isfinite(theirs[1]).all():
                same = ours[0] == theirs[0]
            else:
                same = ours[0] == theirs[0] and np.allclose(ours[1], theirs[1], rtol=1e-5, equal_nan=True)
            if not same:
                wrong.append((dtype, n, ours, theirs))
    assert not wrong, "\n".join(map(str, wrong))


FILLS = (
    "torch.nn.functional.pad(x, (1, 1), value=v)", "torch.constant_pad_nd(x, (1, -1), v)", "torch.full_like(x, v)", "x.new_full((3,), v)",
    "x.masked_fill(x > 2, v)", "x.clone().fill_(v)", "torch.fill(x, v)", "x.index_fill(0, torch.tensor([0]), v)", "x.clamp(min=v)",
    "torch.where(x > 2, x, v)", "x.scatter(0, torch.tensor([0]), v)", "torch.nn.functional.threshold(x, v, v)",
    "torch.nn.utils.rnn.pad_sequence([x, x[:2]], padding_value=v)", "torch.full((3,), v, dtype=x.dtype)",
)  # fmt: skip


@pytest.mark.parametrize("value", [2.0, 2.7, -1.0, 3, True])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float16"])
@pytest.mark.parametrize("fill", FILLS)
def test_fills(fill, dtype, value):
    """What is filled with a number of another kind is computed with later, when the call is new and when it is repeated."""

    def run(library) -> list:
        names = {"torch": library, "v": value, "x": library.arange(5).to(getattr(library, dtype))}
        try:
            return [(eval(fill, names) + 1).tolist() for _ in range(4)]
        except RuntimeError:
            return ["refused"]

    assert run(flambeau) == run(torch)


@pytest.mark.parametrize("base", [-1.0, -2.0, 2.0, 0.0])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_gradient_of_a_complex_exponent_of_a_real_base(base, as_tensor):
    def told(t):
        z = t.tensor([0.5 + 1j, -0.3j, 2.0], dtype=t.complex128).requires_grad_()
        x = t.tensor([base] * 3, dtype=t.float64) if as_tensor else base
        t.pow(x, z).abs().sum().backward()
        return z.grad.tolist()

    np.testing.assert_allclose(told(flambeau), told(torch), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["float64", "float32", "int64"])
def test_what_is_halfway_between_numbers_of_half_precision(name, kind):
    """PyTorch converts by way of float32, which may round twice; wherever the numbers come from."""
    low = np.arange(1, 500).astype(np.float16).astype(np.float64) * (1 if kind != "int64" else 64)
    high = np.nextafter(low.astype(np.float16), np.float16(np.inf)).astype(np.float64)
    middle = (low + high) / 2
    values = np.concatenate(
        [low, middle, middle * (1 + 1e-12), middle * (1 - 1e-12), middle * (1 + 1e-7), -middle * (1 + 1e-9)]
    ).astype(kind)
    wanted = torch.from_numpy(values).to(getattr(torch, name)).float().numpy()
    dtype = getattr(flambeau, name)
    x = flambeau.from_numpy(values.copy())
    into = flambeau.zeros(len(values), dtype=dtype)
    into.copy_(x)
    computed = [(x * 1).to(dtype) for _ in range(4)]
    few = [flambeau.full((), v, dtype=dtype) for v in values.tolist()[-40:]]
    for got in (x.to(dtype), flambeau.tensor(values.tolist(), dtype=dtype), into, *computed):
        assert np.array_equal(got.float().numpy(), wanted)
    assert [t.item() for t in few] == wanted[-40:].tolist()
