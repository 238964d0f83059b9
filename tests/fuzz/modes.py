"""Runs programs in the engine's modes and compares what they observe.

Compiled kernels may add in another order and have functions of their own, and NumPy's sums and products depend on
strides, so where bits differ the program is run again by the interpreter, one operation at a time, with *noise*: every
result of such an operation is moved by a random fraction of the error that it may have. How far the observed values
move under noise bounds how far rounding can move them; what differs by more is a mismatch. Where noise changes a
comparison, an index or the course of the program, rounding decides and nothing more is compared.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import random
import sys
import warnings
from array import array
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

import flambeau as torch
from flambeau.autograd import repetition, rules
from flambeau.core import config, errors
from flambeau.engine import execution, flight, interpreter, plan, plans
from flambeau.engine.lowering import Body
from flambeau.engine.run import run_ahead, run_pending
from flambeau.engine.symbols import Unfit
from tests.fuzz.programs import Program, Repeat, namespace

config.strict = True
plans.ALLOWANCE = math.inf
repetition.OFTEN = 1
rules.AT_FIRST_SIGHT = True


class Guarded(plan.Output):
    """A kept result's memory with bytes around it that no kernel may change."""

    __slots__ = ("raw",)

    def take(self) -> np.ndarray:
        alone = interpreter.ONE_HOLDER
        if not self.array or sys.getrefcount(self.array[0]) > alone or sys.getrefcount(self.raw) > alone + 1:  # its view
            size = math.prod(self.shape) * self.dtype.itemsize
            self.raw = np.full(size + 2 * _MARGIN, _UNTOUCHED, np.uint8)
            self.array = (np.ndarray(self.shape, self.dtype.np, self.raw, _MARGIN),)
            self.address = execution.address_of(self.array[0])
        return self.array[0]

    def is_whole(self) -> bool:
        return bool((self.raw[:_MARGIN] == _UNTOUCHED).all() and (self.raw[-_MARGIN:] == _UNTOUCHED).all())


_MARGIN, _UNTOUCHED = 64, 0xA5
_run = plan.Plan.run


def _run_guarded(self, *args) -> bool:
    done = _run(self, *args)
    for i, output in self.outputs.items() if flight.aloft is None else ():
        assert output.is_whole(), f"a kernel wrote outside of the memory of node {i}, {self.nodes[i].op.name}"
    return done


if not config.guard:  # else there are pages around it that nobody may touch
    plan.Output, plan.Plan.run = Guarded, _run_guarded


@contextlib.contextmanager
def settings(**values) -> Iterator[None]:
    """Sets values of :mod:`flambeau.core.config` for a while."""
    before = {name: getattr(config, name) for name in values}
    try:
        for name, value in values.items():
            setattr(config, name, value)
        yield
    finally:
        with contextlib.suppress(Exception):
            run_pending()
        for name, value in before.items():
            setattr(config, name, value)


def immediately():
    return settings(eager=True, compiled=False)


def interpreted(pending: int = 4096):
    return settings(eager=False, compiled=False, max_pending_nodes=pending)


def compiled(after: int = 0, pending: int = 4096):
    return settings(eager=False, compiled=True, compile_after=after, max_pending_nodes=pending)


@contextlib.contextmanager
def for_all_sizes() -> Iterator[None]:
    """Every plan is lowered for all sizes, and then, or by what was lowered for others, fitted to those of its trace."""

    def find(trace):
        found = plans.plans.get(trace.key)
        if found is None:
            key, sizes = trace.form()
            family = plans.families.setdefault(key, plans.Family(sizes))
            if not family.lowered:  # all are symbols, or it is as if some had varied by now
                some = random.Random(len(sizes))
                share = some.choice((1.0, 1.0, 0.5))
                family.varied = {k for k in range(len(sizes)) if some.random() <= share}
            for lowered in list(family.lowered):
                with contextlib.suppress(Unfit):
                    found = found or plans._compile(trace, family, sizes, lowered)
            found = found or plans._compile(trace, family, sizes)
        found.runs += 1
        return found

    before, plans.find = plans.find, find
    try:
        with compiled():
            yield
    finally:
        plans.find = before


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def late_flights() -> Iterator[None]:
    """All plans fly that can, and what is launched runs when somebody waits for it: who does not sees other values."""
    from flambeau.engine.cpu.compiler import driver

    def launch(state, count: int, ready, seconds: float, written, read) -> None:
        made = array("q", state)
        address, first = made.buffer_info()[0], made[1]
        state[1] = count

        def land(over: int, enough: int) -> None:
            until = min(first + enough, count)
            while made[1] < until:
                driver()(address, until)
            ctypes.c_int64.from_address(over).value = 1

        flight.aloft = flight.Flight(land, ready, seconds, written, read)

    before = flight.launch
    flight.launch, flight.LATE = launch, math.inf
    try:
        with threads(2), settings(ahead=0.0):
            yield
            flight.land()
    finally:
        flight.launch = before


def divide_all() -> None:
    """Has this process divide small kernels among threads too. To be called before anything is compiled."""
    from flambeau.engine.cpu import bags, conv, gemm, movement, pairs, planes, recurrent, scan, schedule

    schedule.LARGE, schedule.PART = 100, 40
    for module in (bags, conv, gemm, movement, pairs, planes, recurrent, scan):
        module.WORTH_DIVIDING = 64


# --- running -------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """Something that a program could see: what it was, all of it that must be the same, and the numbers in it."""

    what: str
    facts: tuple
    numbers: np.ndarray | None = None


class Run:
    """One run of a program: what it observed, and its variables, kept alive."""

    def __init__(self, program: Program, seed: int, ahead: bool = False) -> None:
        self.ahead = ahead  # whether what is pending is started after each statement
        self.events: list[Event] = []
        self.names = namespace(seed, self._observe)
        self.own = set(self.names)
        self.versions = True  # whether the versions of tensors are facts
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for statement in program:
                times, body = statement if isinstance(statement, Repeat) else (1, (statement,))
                for _ in range(times):
                    for part in body:
                        self._run(part)
            with contextlib.suppress(Exception):  # an error that has not come yet is of no variable in particular
                run_pending()
            self.final = self.variables()

    def _run(self, statement: str) -> None:
        before = dict(self.names)
        try:
            exec(_code(statement), self.names)
            if self.ahead:
                run_ahead()
        except Exception as error:
            # A statement that fails binds nothing, also where it fails only when its values are computed.
            self.names.clear()
            self.names.update(before)
            # A write that failed as it was computed had been counted as one; it is none where it failed at once.
            self.versions = self.versions and not statement.endswith("\nsync()")
            with contextlib.suppress(Exception):  # another error of the same statement, one that only values show
                run_pending()
            self.events.append(Event(statement, (type(error).__name__, str(error))))

    def _observe(self, x: Any, what: str = "look") -> None:
        self.events.append(_event(what, x, self.versions))

    def variables(self) -> list[Event]:
        """All that the program's variables are now."""
        found = []
        for name in sorted(self.names):
            x = self.names[name]
            if name in self.own or not isinstance(x, torch.Tensor | np.ndarray):
                continue
            try:
                found.append(_event(name, x, self.versions))
                if isinstance(x, torch.Tensor) and x.is_leaf:
                    found.append(_event(name + ".grad", x.grad, self.versions))
            except Exception as error:
                found.append(Event(name, (type(error).__name__, str(error))))
        return found

    def all_events(self) -> list[Event]:
        return self.events + self.final


@lru_cache(1000)
def _code(statement: str) -> CodeType:
    return compile(statement, f"<{statement}>", "exec")


def _event(what: str, x: Any, versions: bool) -> Event:
    if isinstance(x, torch.Tensor):
        facts = (x.dtype, tuple(x.shape), x.stride(), x.storage_offset(), x.requires_grad, x.is_leaf, versions and x._version)
        return Event(what, facts, np.array(x._array()))
    if isinstance(x, np.ndarray):
        return Event(what, (x.dtype, x.shape, x.strides), x.copy())
    if isinstance(x, float):
        return Event(what, ("float",), np.array(x))
    if isinstance(x, list):
        a = np.array(x)
        return Event(what, (a.shape, a.dtype), a)
    return Event(what, (repr(x),))


# --- noise ---------------------------------------------------------------------------------------------------

CONVOLUTIONS = frozenset(["_convolution", "_convolution_input", "_convolution_weight"])
SUMS = CONVOLUTIONS | frozenset(["sum", "mean", "mm", "bmm", "aten.matmul", "addmm", "baddbmm", "mv", "dot"])
COMPOSITES = frozenset(["linalg.vector_norm", "std", "var", "logsumexp", "nansum", "_mse_loss"])
"""Functions of whole rows, whose kernels in NumPy add in an order that depends on strides."""
FUNCTIONS = frozenset(
    ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "tanh", "sigmoid", "erf", "pow", "_silu",
     "_silu_slope", "_gelu_slope", "nn.functional.gelu", "_elu", "softmax", "log_softmax", "atan", "atan2", "erfinv", "lgamma", "digamma"]
)  # fmt: skip
TIES = frozenset(
    ["relu", "maximum", "minimum", "fmax", "fmin", "amax", "amin", "aten.max", "aten.min", "aten.max_all", "aten.min_all",
     "aminmax", "clamp", "clamp_min", "clamp_max", "_hardtanh", "scatter_reduce"]
)  # fmt: skip
"""Of -0.0 and 0.0, which are equal, any may be the larger one."""
CANCELLING = frozenset(
    ["_silu_slope", "_gelu_slope", "_mish_slope", "nn.functional.gelu", "_elu", "log_softmax", "lgamma", "digamma"]
)
"""Functions whose formula subtracts: their error is one in the size of their inputs, not of their result."""


MAXIMA = frozenset(["_max_pool1d", "_max_pool2d", "_adaptive_max_pool1d", "_adaptive_max_pool2d"])
EXACT = MAXIMA | frozenset(
    ["_embedding", "_known_embedding", "_index", "index_select", "index_copy", "gather", "_scatter", "cat", "_strided_scatter",
     "write", "flip", "roll"]
)  # fmt: skip
"""Kernels of their own that do not round."""


def _is_composite(node) -> bool:
    """Whether plans compute ``node`` in a way of their own: as several loops, or by a kernel that was written for it."""
    from flambeau.engine.lowered import FORMS

    op = node.op
    several = getattr(op, "expand", None) is not None or op.name in FORMS or op.name in COMPOSITES
    return several and op.name not in SUMS | EXACT


APPROXIMATE = frozenset(
    ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "tanh", "sigmoid", "erf", "pow", "rsqrt"]
)
"""Instructions of loops that are rounded in a way of their own."""
_approximate: dict[Any, bool] = {}


def _is_approximate(node) -> bool:
    """Whether a node's lowering has such an instruction."""
    op = node.op
    if op not in _approximate:
        _approximate[op] = False
        if getattr(op, "lower", None) is not None and op.reduces is None:
            body = Body()
            body.result, body.reducing, body.count = torch.float32, False, 1
            try:
                op.lower(
                    body,
                    *[x if x is None else body.emit("input", torch.float32, (), k) for k, x in enumerate(node.inputs)],
                    **node.attrs,
                )
            except Exception:  # of other dtypes, or refused: no function of floats
                return False
            _approximate[op] = any(i.op in APPROXIMATE for i in body.instrs)
    return _approximate[op]


def _composite_noise(node, args: list, value, rng: np.random.Generator, lost: Callable[[np.ndarray], np.ndarray], loudness: float):
    """The result for inputs that are moved: kernels that are stable in the backward sense give the exact result of such.

    How far depends on how many numbers each result is made of; the result is rounded once more. Numbers whose squares
    overflow in float32 give whatever the order of operations makes of them: here ``lost``.
    """
    if any(np.abs(a[np.isfinite(a)].astype(np.float64)).max(initial=0) > 1e18 for a in args if _is_floating(a)):
        return _each(lost, value)
    inner = max((a.size for a in args if isinstance(a, np.ndarray)), default=1)
    moved = _compute(node, [_shaken(a, (4 + inner**0.5) * loudness, rng) for a in args])

    def result(v: np.ndarray, m: np.ndarray) -> np.ndarray:
        a, b = v.astype(np.float64), m.astype(np.float64)
        both = np.isfinite(a) & np.isfinite(b)
        with np.errstate(all="ignore"):
            cancels = (np.abs(a) <= np.abs(b - a)) & (rng.random(v.shape) < 0.5)  # what is within the error of zero may be zero
            wholes = (np.abs(np.rint(a) - a) <= np.abs(b - a)) & (rng.random(v.shape) < 0.3)  # and of a whole number that
        moved = np.where(wholes, np.rint(a), np.where(cancels, _zeros(v.shape, rng), _shaken(m, loudness, rng)))
        return np.where(both, moved, v).astype(v.dtype)

    return _each(result, value, moved)


def _each(function, value, *others):
    """``function`` of a result, or of each of several; what holds no floating numbers stays."""
    if isinstance(value, tuple):
        return tuple(_each(function, *parts) for parts in zip(value, *others, strict=True))
    return function(value, *others) if _is_floating(value) else value


def _is_floating(a) -> bool:
    return isinstance(a, np.ndarray) and (a.dtype.kind == "f" or a.dtype.name == "bfloat16")


def _zeros(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """Zeros of either sign."""
    return np.where(rng.random(shape) < 0.5, -0.0, 0.0)


def _shaken(a, units: float, rng: np.random.Generator):
    """An array whose elements are moved by up to so many units in the last place."""
    if not _is_floating(a):
        return a
    wide = a.astype(np.float64 if a.dtype == np.float64 else np.float32)
    eps = np.finfo(wide.dtype).eps
    with np.errstate(all="ignore"):
        return (wide * (1 + rng.choice([-1, 1], a.shape) * rng.uniform(0.5, 1, a.shape) * units * eps)).astype(wide.dtype)


def _noise_size(node, args: list, value: np.ndarray) -> np.ndarray:
    """How far a kernel of ours may be from the interpreter's result.

    A sum of n terms is within (n - 1) u sum|terms| of the exact one in whatever order it is added (Higham, Accuracy and
    Stability of Numerical Algorithms, 4.2), a product of matrices likewise; functions are within 4 units in the last
    place, NumPy's included.
    """
    name = node.op.name
    info = torch.finfo(node.dtype)
    floats = [a for a in args if isinstance(a, np.ndarray) and a.dtype.kind not in "biu"]
    if name in SUMS:
        sizes = _compute(node, [np.abs(a) if isinstance(a, np.ndarray | float | int) else a for a in args])
        if name in CONVOLUTIONS:
            inner = max(a.size for a in floats)
        elif name in ("sum", "mean"):
            inner = args[0].size // max(1, value.size)
        else:
            inner = floats[-1].shape[-2 if floats[-1].ndim > 1 else -1]
        size = np.asarray(np.abs(sizes), np.float64) * (inner + 1) * info.eps
        smallest = min(
            (np.abs(a[a != 0].astype(np.float64)).min(initial=1) for a in floats if isinstance(a, np.ndarray)), default=1
        )
        # Products that underflow leave their sign where they are added in one step, and not where they are rounded before.
        return size + info.tiny * info.eps * (inner + 1) if smallest < info.tiny**0.5 else size
    size = np.abs(value.astype(np.float64)) * info.eps * 4
    finite = [np.abs(a[np.isfinite(a)].astype(np.float64)).max(initial=0) for a in floats]
    largest = 1 + max(finite, default=0)
    exact = (value == 0) & (floats[0] == 0) if floats and floats[0].shape == value.shape else False  # tanh(0) is 0
    size = size + np.where(exact, 0, info.tiny * largest)  # what underflows may become 0
    if node.op.reduces is not None:  # all terms of their sums are positive
        size = size * (1 + args[0].size // max(1, value.size) + (args[0].shape[-1] if args[0].ndim else 0) / 4)
    if name in CANCELLING:
        size = size + info.eps * largest * 4
    return size


_compute = interpreter.compute


@contextlib.contextmanager
def noise(seed: int) -> Iterator[None]:
    """The interpreter moves every result that compiled kernels may round differently by a random part of its error."""
    rng = np.random.default_rng(seed)

    def lost(value: np.ndarray) -> np.ndarray:
        """What comes of overflows: that may be anything."""
        with np.errstate(all="ignore"):
            return (
                rng.normal(size=value.shape) if seed % 4 == 3 else np.full(value.shape, (np.nan, np.inf, 0.0)[seed % 4])
            ).astype(value.dtype)

    # Bounds of errors are many times what kernels differ by, so loud noise seldom makes numbers equal that nearly are.
    loudness = 1.0 if seed < LOUD or seed % 2 else 2.0 ** -rng.integers(0, 12)

    def noisy(node, args: list):
        value = _compute(node, args)
        if node.op.name in TIES | MAXIMA:
            sign = 1 - 2 * (seed % 2) if seed < 2 else rng.choice([-1, 1])  # both signs come up, in whatever order
            return _each(lambda v: np.where(v == 0, np.copysign(v, sign), v).astype(v.dtype), value)
        if (
            node.op.name.startswith("_attention")
            and node.attrs["causal"]
            and not all(np.isfinite(a).all() for a in args if _is_floating(a))
        ):
            # What is masked for a whole block of queries is left out, else it counts times 0: where blocks end is the kernel's
            # affair.
            value = _each(lambda v: np.where(np.isnan(v), lost(v), v).astype(v.dtype), value)
        if node.op.name == "prod" and _is_floating(args[0]):  # where a part over- or underflows, the order decides
            with np.errstate(all="ignore"):
                sizes = np.abs(np.log2(np.abs(args[0].astype(np.float64))))
            if sizes[np.isfinite(sizes)].sum() > 120:
                return lost(value)
        if node.op.name not in SUMS | FUNCTIONS and _is_composite(node):
            return _composite_noise(node, args, value, rng, lost, loudness)
        if not (node.op.name in SUMS | FUNCTIONS or _is_approximate(node)) or not node.dtype.is_floating_point:
            return value
        with np.errstate(all="ignore"):
            size = _noise_size(node, args, value) * loudness
            # At least half of the error at first, so that no value stands still in all of the runs.
            part = rng.choice([-1, 1], value.shape) * rng.uniform(*((0.5, 1) if seed < LOUD else (0, 2)), value.shape)
            moved = value.astype(np.float64) + size * part
            moved = np.where(np.isfinite(moved), moved, value)
            # What is within the error of a whole number, such as the one where functions level off, may be that.
            wholes = (np.abs(value) > 0.5) & (np.abs(value - np.rint(value)) <= size)
            moved = np.where(wholes & (rng.random(value.shape) < 0.3), np.rint(value), moved)
            if node.op.name in CANCELLING | SUMS:  # what is within the error of zero may be zero, or not
                moved = np.where((np.abs(value) <= size) & (rng.random(value.shape) < 0.5), _zeros(value.shape, rng), moved)
            if node.op.name in SUMS:  # where a part of a sum overflows, its order decides between infinity, NaN and numbers
                finite = _compute(node, [np.abs(np.where(np.isfinite(a), a, 0)) if _is_floating(a) else a for a in args])
                moved = np.where(np.isinf(finite), rng.choice([np.nan, np.inf, -np.inf, 0.0], value.shape), moved)
            return moved.astype(value.dtype)

    roots = errors._ROOTS
    interpreter.compute, errors._ROOTS = noisy, (*roots, "tests")  # an error that passes through here is the kernel's all the same
    try:
        with interpreted(1):
            yield
    finally:
        interpreter.compute, errors._ROOTS = _compute, roots


# --- comparing -----------------------------------------------------------------------------------------------

NOISY_RUNS = (2, 5, 40)
"""How many runs show how far noise moves results, at first and before a mismatch is believed: what is rounded again after
the noise, such as the sign-like first step of RMSprop, stands still in most runs."""
STUBBORN, ROOM = 300, 1 << 30
"""The same where one number of many stands still: it may move for one of the values that an exponential may have, and for no
other. And how many bytes of results are kept for that."""
LOUD = 5
"""So many of these are moved by at least half of the error."""


def _bits(a: np.ndarray) -> bytes:
    if a.dtype.kind in "fcV" or a.dtype.name in ("bfloat16",):
        a = a.copy()
        a[a != a] = np.nan  # which NaN it is, nobody promises
    return a.tobytes()


def same_bits(a: Event, b: Event) -> bool:
    if a.what == b.what and _is_error(a) and _is_error(b) and a.what.endswith("\nsync()"):
        return True  # of two errors in a statement, one that only values show comes after one that they don't
    if a[:2] != b[:2] or (a.numbers is None) != (b.numbers is None):
        return False
    return a.numbers is None or _bits(np.atleast_1d(a.numbers)) == _bits(np.atleast_1d(b.numbers))


def first_difference(wanted: list[Event], got: list[Event]) -> int | None:
    """The number of the first event that is not the same bit for bit."""
    for i in range(max(len(wanted), len(got))):
        if i >= len(wanted) or i >= len(got) or not same_bits(wanted[i], got[i]):
            return i
    return None


def describe(wanted: list[Event], got: list[Event], i: int) -> str:
    def text(events: list[Event]) -> str:
        if i >= len(events):
            return "nothing"
        e = events[i]
        return f"{e.what} {e.facts}\n{e.numbers if e.numbers is not None else ''}"

    return f"event {i}: expected {text(wanted)}\ngot {text(got)}"


class Unstable(Exception):
    """Rounding decides how the program goes on."""


def beyond_rounding(program: Program, seed: int, wanted: list[Event], got: list[Event], noisy: list[list[Event]]) -> int | None:
    """The number of the first event where ``got`` is further from ``wanted`` than rounding explains."""
    size = sum([e.numbers.nbytes for e in wanted if e.numbers is not None])
    for runs in (*NOISY_RUNS, max(NOISY_RUNS[-1], min(STUBBORN, ROOM // max(1, size)))):
        for k in range(len(noisy), runs):
            with noise(k):
                noisy.append(Run(program, seed).all_events())
        found = _beyond(wanted, got, noisy)
        if found is None or len(noisy) == NOISY_RUNS[-1] and not _is_rare(wanted, got, noisy, found):
            return found
    return found


def _is_rare(wanted: list[Event], got: list[Event], noisy: list[list[Event]], i: int) -> bool:
    """Whether no more than one number of many is too far away in event ``i``."""
    if i >= min(len(wanted), len(got)) or wanted[i].numbers is None or got[i][:2] != wanted[i][:2]:
        return False
    far = _unexplained(wanted[i], got[i], [n[i] for n in noisy])
    return 100 * np.count_nonzero(far) <= far.size


def _beyond(wanted: list[Event], got: list[Event], noisy: list[list[Event]]) -> int | None:
    for i in range(max(len(wanted), len(got))):
        if i < len(wanted) and any(i >= len(n) or n[i][:2] != wanted[i][:2] for n in noisy):
            if i < len(got) and _is_error(got[i]) and all(i < len(n) and n[i][:2] == got[i][:2] for n in noisy):
                return i  # whatever the rounding: it is laziness that brings this error
            raise Unstable
        if i >= len(wanted) or i >= len(got):
            return i
        if same_bits(wanted[i], got[i]):
            continue
        if got[i][:2] != wanted[i][:2] or _unexplained(wanted[i], got[i], [n[i] for n in noisy]).any():
            return i
    return None


def _is_error(event: Event) -> bool:
    return len(event.facts) == 2 and str(event.facts[0]).endswith("Error")


def _unexplained(wanted: Event, got: Event, noisy: list[Event]) -> np.ndarray:
    """Which numbers are further from those that are ``wanted`` than noise has moved them."""
    a, b = wanted.numbers, got.numbers
    assert a is not None and b is not None
    if a.dtype.kind in "biu":
        fixed = np.all([n.numbers == a for n in noisy], axis=0)
        return (a != b) & fixed
    eps = float(torch.finfo(wanted.facts[0]).eps) if isinstance(wanted.facts[0], torch.dtype) else np.finfo(np.float32).eps
    a, b = a.astype(np.float64), b.astype(np.float64)
    others = [n.numbers.astype(np.float64) for n in noisy]  # type: ignore[union-attr]
    with np.errstate(all="ignore"):
        steady = np.all([(np.isfinite(o) & np.isfinite(a)) | (o == a) | (np.isnan(o) & np.isnan(a)) for o in others], axis=0)
        moved = np.max([np.where(np.isfinite(o), np.abs(o - a), 0) for o in others], axis=0)
        near = np.abs(a - b) <= 8 * moved + 4 * eps * np.abs(a) + 1e-300
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        signed = np.all([np.signbit(o) == np.signbit(a) for o in others], axis=0)  # where rounding leaves a zero its sign
    signs = (a != 0) | (b != 0) | (np.signbit(a) == np.signbit(b)) | (moved > 0) | ~signed
    return ~((same | near) & signs) & steady


class Mismatch(NamedTuple):
    mode: str
    seed: int
    text: str


def check(program: Program, seed: int, counts: dict[str, int] | None = None) -> Mismatch | None:
    """Runs ``program`` in all modes; returns the first mismatch."""
    counts = counts if counts is not None else {}
    with immediately():
        reference = Run(program, seed).all_events()
    noisy: list[list[Event]] = []

    def compare(mode: str, s: int, wanted: list[Event], got: list[Event], noisy: list[list[Event]]) -> Mismatch | None:
        if first_difference(wanted, got) is None:
            counts["same bits"] = counts.get("same bits", 0) + 1
            return None
        try:
            i = beyond_rounding(program, s, wanted, got, noisy)
        except Unstable:
            counts["unstable"] = counts.get("unstable", 0) + 1
            return None
        if i is None:
            counts["within rounding"] = counts.get("within rounding", 0) + 1
            return None
        return Mismatch(mode, s, describe(wanted, got, i))

    short = 3 + seed % 5
    for mode, context in [
        ("interpreted", interpreted()), ("interpreted in short traces", interpreted(short)),
        ("compiled", compiled()), ("compiled in short traces", compiled(0, short)), ("for all sizes", for_all_sizes()),
    ]:  # fmt: skip
        plans.clear()
        with context, threads(1):
            events = Run(program, seed).all_events()
            found = compare(mode, seed, reference, events, noisy)
        if found:
            return found
        if mode == "compiled":
            # The same plans: neither how many threads divide the work nor what has been learned by then changes a bit.
            for count, name in [(2, "two threads"), (1, "a third time")]:
                with compiled(), threads(count):
                    again = Run(program, seed).all_events()
                i = first_difference(events, again)
                if i is not None:
                    return Mismatch(name, seed, describe(events, again, i))
    with compiled(), late_flights():
        events = Run(program, seed, ahead=True).all_events()
    found = compare("running ahead", seed, reference, events, noisy)
    if found:
        return found
    plans.clear()
    runs = []
    for k in range(3):
        with compiled(1):
            later = Run(program, seed + k)
        runs.append((seed + k, later))
        if k:
            with interpreted():
                wanted = Run(program, seed + k).all_events()
            found = compare(f"compiled, run {k + 1}", seed + k, wanted, later.all_events(), [])
            if found:
                return found
    for s, kept in runs:  # what was kept of earlier runs is still what it was
        now = kept.variables()
        i = first_difference(kept.final, now)
        if i is not None:
            return Mismatch("kept after later runs", s, describe(kept.final, now, i))
    gc.collect(0)
    return None
