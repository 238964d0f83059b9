"""Convolutions of the compiled tier, and their gradients, against sums over windows in float64."""

from __future__ import annotations

import ctypes
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("llvmlite")
pytest.importorskip("hypothesis")

from hypothesis import assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import flambeau as torch  # noqa: E402
from flambeau.core import config, dtypes  # noqa: E402
from flambeau.engine import plans  # noqa: E402
from flambeau.engine.cpu import compiler, conv_copies, conv_weight, threads  # noqa: E402
from flambeau.engine.cpu.conv import conv_kernel  # noqa: E402
from flambeau.engine.cpu.specs import ConvSpec  # noqa: E402
from flambeau.engine.run import run_pending  # noqa: E402
from flambeau.nn import functional as F  # noqa: E402

LEVELS = ["", "avx2", "generic"]
PARTS = ["forward", "input", "weight"]
TYPES = {np.float32: dtypes.float32, np.float64: dtypes.float64}
CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Case(NamedTuple):
    n: int
    c: int
    h: int
    w: int
    o: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


CASES = {
    "plain": Case(2, 3, 9, 11, 5),
    "padded": Case(2, 3, 9, 11, 5, padding=(1, 1)),
    "strided": Case(2, 3, 9, 12, 5, stride=(2, 2), padding=(1, 1)),
    "everything": Case(1, 4, 13, 17, 6, (3, 2), (2, 3), (2, 1), (2, 4), 2),
    "dilation that the stride divides": Case(2, 2, 15, 15, 3, stride=(2, 2), padding=(2, 2), dilation=(2, 2)),
    "one by one": Case(3, 4, 8, 8, 8, (1, 1)),
    "one by one, strided": Case(3, 4, 8, 7, 8, (1, 1), (2, 2)),
    "stride beyond the kernel": Case(2, 3, 11, 11, 4, (2, 2), (3, 3)),
    "depthwise": Case(2, 6, 7, 7, 6, padding=(1, 1), groups=6),
    "depthwise, strided, with more outputs": Case(2, 4, 9, 9, 8, stride=(2, 2), padding=(1, 1), groups=4),
    "sequence": Case(2, 3, 1, 50, 4, (1, 5), padding=(0, 2)),
    "sequence, strided and dilated": Case(2, 3, 1, 50, 4, (1, 3), (1, 2), dilation=(1, 3)),
    "more padding than image": Case(1, 2, 2, 3, 2, padding=(4, 5)),
    "last rows and columns that nothing reads": Case(2, 3, 10, 10, 4, stride=(4, 4)),
    "several bands of rows": Case(1, 16, 100, 70, 9, padding=(1, 1)),
    "single position": Case(9, 5, 3, 3, 17),
    "outer products": Case(5, 8, 9, 11, 16, padding=(1, 1)),
    "outer products, strided, of groups": Case(3, 16, 9, 9, 80, stride=(2, 2), padding=(1, 1), groups=2),
    "outer products, small images": Case(21, 8, 4, 4, 13, padding=(1, 1)),
    "outer products, one by one": Case(3, 64, 6, 6, 33, (1, 1)),
    "outer products, several bands": Case(1, 16, 100, 70, 13, padding=(1, 1)),
}

OUTER = [name for name in CASES if name.startswith("outer")]


@cache
def session(level: str) -> compiler.Session:
    try:
        return compiler.Session(compiler.machine(level))
    except ValueError as error:
        pytest.skip(str(error))


def windows(case: Case):
    """For each place of the kernel, the slices of the padded image that it meets."""
    (kr, kc), (sr, sc), (pr, pc), (dr, dc) = case.kernel, case.stride, case.padding, case.dilation
    rows = (case.h + 2 * pr - dr * (kr - 1) - 1) // sr + 1
    columns = (case.w + 2 * pc - dc * (kc - 1) - 1) // sc + 1
    places = {
        (i, j): (slice(i * dr, i * dr + sr * (rows - 1) + 1, sr), slice(j * dc, j * dc + sc * (columns - 1) + 1, sc))
        for i, j in product(range(kr), range(kc))
    }
    return rows, columns, places


def expected(part: str, case: Case, x, w, dy) -> np.ndarray:
    """The exact result, from any of which the operand it replaces is not read."""
    rows, columns, places = windows(case)
    x, w, dy = (a.astype(np.float64) for a in (x, w, dy))
    g, (pr, pc) = case.groups, case.padding
    padded = np.pad(x, ((0, 0), (0, 0), (pr, pr), (pc, pc))).reshape(case.n, g, -1, case.h + 2 * pr, case.w + 2 * pc)
    kernel = w.reshape(g, case.o // g, -1, *case.kernel)
    out = dy.reshape(case.n, g, case.o // g, rows, columns)
    y, dx, dw = np.zeros_like(out), np.zeros_like(padded), np.zeros_like(kernel)
    for (i, j), (r, c) in places.items():
        y += np.einsum("ngcrs,goc->ngors", padded[..., r, c], kernel[..., i, j])
        dx[..., r, c] += np.einsum("ngors,goc->ngcrs", out, kernel[..., i, j])
        dw[..., i, j] = np.einsum("ngcrs,ngors->goc", padded[..., r, c], out)
    if part == "forward":
        return y.reshape(dy.shape)
    if part == "weight":
        return dw.reshape(w.shape)
    return dx[..., pr : pr + case.h, pc : pc + case.w].reshape(x.shape)


def strides(x: np.ndarray) -> tuple[int, ...]:
    return tuple(s // x.itemsize for s in x.strides)


def operands(case: Case, dtype, last: bool = False):
    """x, w, dy; with ``last`` the channels of images lie next to each other."""
    rng = np.random.default_rng(0)
    rows, columns, _ = windows(case)
    x, dy = (rng.standard_normal(s).astype(dtype) for s in ((case.n, case.c, case.h, case.w), (case.n, case.o, rows, columns)))
    w = rng.standard_normal((case.o, case.c // case.groups, *case.kernel)).astype(dtype)
    if last:
        x, dy = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, dy))
    return x, w, dy


def run(part: str, case: Case, x, w, dy, bias=None, level: str | compiler.Session = "") -> np.ndarray:
    """Runs the kernel into memory that held NaNs, of a session or of the one for a level."""
    given = {"forward": (x, w), "input": (dy, w), "weight": (x, dy)}[part]
    out = np.full_like({"forward": dy, "input": x, "weight": w}[part], np.nan)
    seen = strides(out if part == "input" else x), strides(out if part == "forward" else dy)
    spec = ConvSpec(part, TYPES[x.dtype.type], *case, *seen, bias is not None)
    arrays = [*given, out] + ([bias] if bias is not None else [])
    address, words = conv_kernel(spec, session(level) if isinstance(level, str) else level)
    given = [*(a.ctypes.data for a in arrays), *words]
    CALL(address)((ctypes.c_int64 * len(given))(*given))
    return out


def check(part: str, case: Case, x, w, dy, result, bias=None) -> None:
    exact = expected(part, case, x, w, dy)
    magnitude = expected(part, case, *(np.abs(a) for a in (x, w, dy)))
    if bias is not None:
        exact = exact + bias[:, None, None]
        magnitude = magnitude + np.abs(bias)[:, None, None]
    terms = {"forward": w[0].size, "input": w[:, 0].size, "weight": dy[:, 0].size}[part] + 1
    bound = (terms + 8) * np.finfo(result.dtype).eps * magnitude
    error = np.abs(result - exact)
    assert (error <= bound).all(), f"error {error.max()} where {bound.max()} is allowed"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_values(case, part, level):
    given = operands(case, np.float32)
    check(part, case, *given, run(part, case, *given, level=level))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["padded", "strided", "everything", "depthwise", "outer products"])
def test_double(name, part):
    case = CASES[name]
    given = operands(case, np.float64)
    check(part, case, *given, run(part, case, *given))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["plain", "padded", "strided", "everything", "one by one", "depthwise", *OUTER])
def test_channels_last(name, part):
    case = CASES[name]
    given = operands(case, np.float32, last=True)
    check(part, case, *given, run(part, case, *given))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("part", ["forward", "input"])
@pytest.mark.parametrize("name", ["padded", "everything", "one by one", "depthwise", "stride beyond the kernel"])
def test_bias(name, part, level):
    case = CASES[name]
    given = operands(case, np.float32)
    bias = np.random.default_rng(1).standard_normal(case.o if part == "forward" else case.c).astype(np.float32)
    check(part, case, *given, run(part, case, *given, bias, level), bias)


@pytest.mark.parametrize("part", PARTS)
def test_bands_of_one_row(part, monkeypatch):
    monkeypatch.setattr(conv_copies, "COPIES", 64)
    case = CASES["padded"]._replace(w=12)  # a kernel that no other test has compiled
    given = operands(case, np.float32)
    check(part, case, *given, run(part, case, *given))


@pytest.mark.parametrize("part", PARTS)
def test_one_number_for_all(part):
    """Strides of 0, as the gradient of a sum has, and as an image has that is the same in all channels."""
    case = CASES["outer products, one by one"]
    x, w, dy = operands(case, np.float32)
    given = np.broadcast_to(x[:, :1], x.shape), w, np.broadcast_to(dy[:1, :1, :1, :1], dy.shape)
    check(part, case, *given, run(part, case, *given))


@pytest.mark.parametrize("name", OUTER)
def test_little_memory_for_sums_and_copies(name, monkeypatch):
    monkeypatch.setattr(conv_weight, "SUMS", 8 << 10)
    monkeypatch.setattr(conv_copies, "COPIES", 8 << 10)
    case = CASES[name]._replace(w=12)
    given = operands(case, np.float32)
    check("weight", case, *given, run("weight", case, *given))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["padded", "strided", "plain"])
def test_nan_and_infinity_go_where_they_belong(name, part):
    """Nothing that a window does not meet is read into it, not even times zero."""
    case = CASES[name]
    x, w, dy = operands(case, np.float32)
    x[0, 1, 0, 0], x[1, 2, 8, 10], dy[0, 3, 3, 4], dy[1, 0, 0, 2] = np.nan, np.inf, np.inf, np.nan
    with np.errstate(invalid="ignore"):
        exact, seen = expected(part, case, x, w, dy), run(part, case, x, w, dy)
    assert (np.isnan(seen) == np.isnan(exact)).all()
    assert (np.isinf(seen) == np.isinf(exact)).all()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "case",
    [Case(4, 16, 20, 20, 16), Case(1, 16, 40, 40, 12), Case(6, 1, 60, 60, 16), Case(8, 32, 24, 24, 32, groups=32)],
)
def test_same_bits_for_any_number_of_threads(case, part):
    given = operands(case, np.float32)
    try:
        results = []
        for count in (1, 2, 3):
            threads.resize(count)
            results += [run(part, case, *given) for _ in range(3)]
    finally:
        threads.resize(config.num_threads)
    check(part, case, *given, results[0])
    assert all((r == results[0]).all() for r in results)


@pytest.mark.parametrize("part", PARTS)
def test_no_images(part):
    case = CASES["padded"]._replace(n=0)
    result = run(part, case, *operands(case, np.float32))
    assert result.size == 0 or (result == 0).all()


def test_a_few_kernels_for_all_sizes():
    fresh = compiler.Session(compiler.machine(""))
    rng = np.random.default_rng(0)
    for _ in range(40):
        n, c, h, w, o = (int(k) for k in rng.integers(1, [5, 20, 60, 60, 40]))
        stride, last = (int(k) for k in rng.integers(1, 3, 2))
        case = Case(n, c, h, w, o, stride=(stride, stride), padding=(1, 1))
        x, weight, dy = operands(case, np.float32, last == 2)
        for part in PARTS:
            run(part, case, x, weight, dy, level=fresh)
    assert len([key for key in fresh.memo if key[0] == "convolution"]) == 4
    assert fresh.stats.compiled + fresh.stats.loaded < 120  # most of them tiles


def test_what_has_no_kernel():
    spec = ConvSpec("forward", dtypes.int64, *CASES["plain"], (1, 1, 1, 1), (1, 1, 1, 1))
    with pytest.raises(ValueError, match="no kernel"):
        conv_kernel(spec)


# --- in plans ----------------------------------------------------------------------------------------------------------


@st.composite
def programs(draw):
    """A convolution of a drawn kind as a function of tensors, and their shapes."""
    dims, transposed = draw(st.sampled_from([1, 2, 2])), draw(st.booleans())

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(dims))

    groups = draw(st.sampled_from([1, 1, 2, 3]))
    taken, made = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 9))
    size, kernel, stride, padding, dilation = each(1, 20), each(1, 4), each(1, 3), each(0, 3), each(1, 2)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if transposed:
        settings["output_padding"] = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
        weight = (taken, made // groups, *kernel)
        sizes = zip(size, kernel, stride, padding, dilation, settings["output_padding"])
        assume(all((n - 1) * s - 2 * p + d * (k - 1) + extra + 1 > 0 for n, k, s, p, d, extra in sizes))
    else:
        weight = (made, taken // groups, *kernel)
        if draw(st.booleans()):
            settings |= {"padding": "same", "stride": (1,) * dims}
        else:
            sizes = zip(size, kernel, padding, dilation)
            assume(all(n + 2 * p >= d * (k - 1) + 1 for n, k, p, d in sizes))
    function = getattr(F, f"conv{'_transpose' * transposed}{dims}d")
    layout = draw(st.sampled_from(["whole", "channels last", "the same image"]))

    def program(x, w, bias=None):
        if layout == "channels last":
            x = (x * 1).movedim(1, -1).contiguous().movedim(-1, 1)
        elif layout == "the same image":
            x = (x * 1)[:1].expand(*x.shape)
        return function(x, w, bias, **settings)

    shapes = [(draw(st.integers(1, 3)), taken, *size), weight] + [(made,)] * draw(st.integers(0, 1))
    return program, shapes


@settings(max_examples=60, deadline=None, derandomize=True)
@given(drawn=programs(), dtype=st.sampled_from(["float32", "float64"]))
def test_plans(drawn, dtype):
    function, shapes = drawn
    rng = np.random.default_rng(0)
    # Small whole numbers: their sums are exact in any order.
    arrays = [rng.integers(-4, 5, shape).astype(dtype) for shape in shapes]

    def program():
        tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
        out = function(*tensors)
        weights = torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape) % 5 - 2
        grads = torch.autograd.grad((out * weights).sum(), tensors, create_graph=True)
        again = torch.autograd.grad(sum((g * g).sum() for g in grads[:2]) / 64, tensors[:2])
        return [t.detach().numpy() for t in (out, *grads, *again)]

    before = config.compiled, config.compile_after
    try:
        run_pending()
        config.compiled = False
        expected = program()
        config.compiled, config.compile_after = True, 0
        plans.clear()
        seen = program()
    finally:
        config.compiled, config.compile_after = before
    for a, b in zip(expected[:-2], seen[:-2], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(expected[-2:], seen[-2:], strict=True):  # numbers here may grow beyond what is exact
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * np.abs(a).max(initial=0))
    assert plans.plans
    inside = [plan.nodes[step.node].op.name for plan in plans.plans.values() for step in plan.steps if not step.compiled]
    assert not [name for name in inside if "convolution" in name]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("read_before", [False, True])
def test_rectified_results(transposed, read_before, monkeypatch):
    """A convolution and its rectifier are one kernel where no one else sees what lies between them."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.integers(-3, 4, shape).astype("float32") for shape in ((2, 6, 9, 9), (6, 6, 3, 3), (6,)))
    x[0, 0, 4, 4] = np.nan

    def program():
        tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
        made = (F.conv_transpose2d if transposed else F.conv2d)(*tensors, stride=2, padding=1)
        out = F.relu(made)
        total = out + made if read_before else out
        del made
        total.nan_to_num().sum().backward()
        return [total.detach().numpy(), *(t.grad.numpy() for t in tensors)]

    run_pending()
    monkeypatch.setattr(config, "compiled", False)
    expected = program()
    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(config, "compile_after", 0)
    plans.clear()
    for a, b in zip(expected, program(), strict=True):
        np.testing.assert_array_equal(a, b)
    names = [node.op.name for plan in plans.plans.values() for node in plan.nodes if node is not None]
    assert ("relu" in names) == read_before
