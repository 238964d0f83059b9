"""Random numbers by native code: the bits, and the state left behind, are those of NumPy's code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite")

from flambeau.core import config, random
from flambeau.core.random import Generator, native
from flambeau.core.random.generator import _starting
from flambeau.engine import streams
from flambeau.engine.cpu.random import KERNELS, kernel
from tests.test_engine_loops import session_of

SIZES = [1, 2, 15, 16, 17, 31, 32, 33, 100, 623, 624, 625, 1024, 1025, 1040, 5000, (3, 7, 11), (0, 4), ()]

DRAWS = {
    "words": lambda g, n: g.raw32(np.prod(n, dtype=int)),
    "longs": lambda g, n: g.raw64(np.prod(n, dtype=int)),
    "doubles": lambda g, n: g.doubles(np.prod(n, dtype=int)),
    "uniform": random.uniform,
    "uniform, up to a number": lambda g, n: random.uniform(g, n, 0, 0.1),
    "uniform, from a number": lambda g, n: random.uniform(g, n, -0.3, 1e6),
    "uniform, one number": lambda g, n: random.uniform(g, n, 0.3, 0.3),
    "uniform float64": lambda g, n: random.uniform(g, n, -1, 2, np.float64),
    "uniform bfloat16": lambda g, n: random.uniform(g, n, dtype=ml_dtypes.bfloat16),
    "uniform complex": lambda g, n: random.uniform(g, n, dtype=np.complex64),
    "normal": random.normal,
    "normal, scaled": lambda g, n: random.normal(g, n, -3, 0.1),
    "normal, without deviation": lambda g, n: random.normal(g, n, 2, 0),
    "normal float64": lambda g, n: random.normal(g, n, 1, 2, np.float64),
    "normal float16": lambda g, n: random.normal(g, n, 1, 2, np.float16),
    "normal bfloat16": lambda g, n: random.normal(g, n, dtype=ml_dtypes.bfloat16),
    "normal complex": lambda g, n: random.normal(g, n, dtype=np.complex64),
    "normal, serial": lambda g, n: random.normal(g, n, contiguous=False),
    "integers": lambda g, n: random.integers(g, n, 0, 10),
    "integers, one": lambda g, n: random.integers(g, n, 7, 8),
    "integers, negative": lambda g, n: random.integers(g, n, -(2**52), -(2**52) + 1000),
    "integers, large": lambda g, n: random.integers(g, n, 2**62 + 1, 2**62 + 1000),
    "integers, wide": lambda g, n: random.integers(g, n, 0, 2**28 - 1),
    "integers of 64 bits": lambda g, n: random.integers(g, n, -(2**40), 2**40),
    "integers uint8": lambda g, n: random.integers(g, n, 3, 256, np.uint8),
    "integers float16": lambda g, n: random.integers(g, n, -3, 30, np.float16),
    "all integers": random.random,
    "bernoulli": lambda g, n: random.bernoulli(g, n, 0.3),
    "bernoulli, never": lambda g, n: random.bernoulli(g, n, 0),
    "bernoulli, scaled": lambda g, n: random.bernoulli(g, n, 0.9, np.float32, 1 / 0.9),
    "bernoulli float64": lambda g, n: random.bernoulli(g, n, 0.3, np.float64, 3),
    "bernoulli bfloat16": lambda g, n: random.bernoulli(g, n, 0.3, ml_dtypes.bfloat16, 1.23),
    "permutation": lambda g, n: random.permutation(g, int(np.prod(n, dtype=int))),
    "permutation int16": lambda g, n: random.permutation(g, int(np.prod(n, dtype=int)), np.int16),
    "exponential": random.exponential,
    "log-normal": random.log_normal,
}


@pytest.fixture(params=["", "avx2", "generic"], ids=lambda m: m or "host")
def session(request):
    return session_of(request.param)


@pytest.fixture
def use(monkeypatch):
    """``use(session)`` has numbers drawn by its kernels, ``use(None)`` by NumPy."""

    def choose(session):
        monkeypatch.setattr(native, "provide", None)
        monkeypatch.setattr(native, "kernels", {} if session is None else {name: kernel(name, session) for name in KERNELS})

    return choose


def bits(values):
    return np.atleast_1d(values).view(np.uint8)


def state_of(g):
    return np.asarray(g.get_state())


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_are_those_of_numpy(session, use, draw):
    drawn, states = [], []
    for chosen in (session, None):
        use(chosen)
        g = Generator().manual_seed(12)
        drawn.append([draw(g, size) for size in SIZES])
        states.append(state_of(g))
    for size, ours, numpys in zip(SIZES, *drawn, strict=True):
        assert ours.dtype == numpys.dtype and ours.shape == numpys.shape
        np.testing.assert_array_equal(bits(ours), bits(numpys), str(size))
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("name", ["words", "longs", "doubles", "uniform", "normal", "integers", "bernoulli", "permutation"])
def test_many_draws(session, use, name):
    g, other = Generator().manual_seed(1), Generator().manual_seed(1)
    use(session)
    ours = DRAWS[name](g, 500_003)
    use(None)
    np.testing.assert_array_equal(bits(ours), bits(DRAWS[name](other, 500_003)))
    np.testing.assert_array_equal(state_of(g), state_of(other))


def words_to_come(g, words):
    """Has the generator draw these 624 words next."""
    y = np.array(words, np.uint32)
    y ^= y >> 18
    y ^= y << 15 & np.uint32(0xEFC60000)
    x = y.copy()
    for _ in range(5):  # seven more bits are right each time
        x = y ^ (x << 7 & np.uint32(0x9D2C5680))
    y = x.copy()
    for _ in range(3):
        x = y ^ x >> 11
    g._twister().state = {"bit_generator": "MT19937", "state": {"key": x, "pos": 0}}


def test_extreme_words(session, use):
    """Uniform numbers of 0, the largest and those around the boundaries of the formulas, each as radius and as angle."""
    eighths = [k << 21 for k in range(8)]
    ends = [0, 1, 2, 0xFFFFFF, 0xFFFFFE, 0xFFFFFFFF, 0xFF000000, 0x4AFB0D, 0x4AFB0C, 0x4AFB0E]
    values = [*ends, *(n + d & 0xFFFFFFFF for n in eighths for d in (-1, 0, 1))]
    pairs = [(u, v) for u in values for v in values]
    pairs += [(0, 0)] * (-len(pairs) % 8)
    blocks = np.array(pairs, np.uint32).reshape(-1, 8, 2).transpose(0, 2, 1).reshape(-1)
    for part in range(0, len(blocks), 624):
        words = np.zeros(624, np.uint32)
        words[: len(blocks[part:])][:624] = blocks[part : part + 624]
        g = Generator()
        words_to_come(g, words)
        use(None)
        np.testing.assert_array_equal(g.raw32(624), words)
        for draw in (random.normal, random.uniform, DRAWS["integers"], DRAWS["integers, wide"]):
            drawn = []
            for chosen in (session, None):
                use(chosen)
                words_to_come(g, words)
                drawn.append(draw(g, 624))
            assert np.isfinite(drawn[0]).all()
            np.testing.assert_array_equal(*map(bits, drawn))


@pytest.mark.parametrize("span", [1, 2, 3, 5, 1000, 2**16 - 1, 2**16 + 1, 2**27, 2**28 - 1])
def test_remainders(session, use, span):
    """By multiples of the span and their neighbours, where a rounded quotient would be off by one."""
    use(session)
    step = np.random.default_rng(0).integers(0, 2**32 // span, 208)
    words = ((step * span)[:, None] + [-1, 0, 1]).reshape(-1) & 0xFFFFFFFF
    g = Generator()
    words_to_come(g, words)
    np.testing.assert_array_equal(random.integers(g, 624, 5, 5 + span), 5 + words % span)


def test_a_draw_from_anywhere_in_the_state(session, use):
    use(session)
    for used in (0, 1, 227, 396, 397, 608, 623, 624):
        g, other = Generator(), Generator()
        words = [x for n in (used, 7, 0, 1300) for x in g.raw32(n)]
        use(None)
        assert words == other.raw32(used + 1307).tolist()
        use(session)


# --- when native code is used ------------------------------------------------------------------------------------


def run(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


LOADED = "import sys, flambeau as torch; {}; print('llvmlite' in sys.modules)"


@pytest.mark.skipif(config.guard, reason="the guard is native code: LLVM is always loaded")
def test_llvm_is_not_loaded_for_a_few_numbers():
    assert run(LOADED.format("torch.rand(10000); torch.nn.Linear(100, 100); torch.randn(1000)")) == "False"


@pytest.mark.skipif(config.guard, reason="the guard is native code: LLVM is always loaded")
def test_llvm_is_loaded_where_that_pays():
    assert run(LOADED.format("torch.randn(10_000_000)")) == "True"
    assert run(LOADED.format("[torch.randn(16) for _ in range(3000)]")) == "True"
    assert run(LOADED.format("torch.randn(10_000_000)"), FLAMBEAU_COMPILE="0") == "False"


def test_without_a_kernel_numpy_draws(monkeypatch):
    def broken(name):
        raise RuntimeError("no such machine")

    monkeypatch.setattr("flambeau.engine.cpu.random.kernel", broken)
    monkeypatch.setattr("flambeau.core.config.strict", False)
    monkeypatch.setattr(native, "kernels", {})
    monkeypatch.setattr(streams, "_refused", False)
    assert random.uniform(Generator().manual_seed(0), 1) == np.float32(0.4962566)
    assert streams._refused


def test_an_unknown_state_is_left_to_numpy(monkeypatch):
    monkeypatch.setattr(native, "kernels", {})
    monkeypatch.setattr(native, "_state_is_known", lambda: False)
    random.uniform(Generator(), 1_000)
    assert not native.kernels


def test_wrong_arguments_of_a_kernel():
    draw = kernel("words")
    with pytest.raises(TypeError):
        draw(1, 2)
    with pytest.raises(TypeError):
        draw(0, np.empty(3, np.uint32), "three", 0.0, 0.0)


# --- threads, forks ----------------------------------------------------------------------------------------------


def test_threads_share_a_stream(session, use):
    """Each draw is a stretch of the stream of its own, whoever draws at the same time."""
    use(session)
    g, size, each, team = Generator().manual_seed(4), 3001, 40, 4
    drawn = [[] for _ in range(team)]
    together = threading.Barrier(team)

    def draw(mine):
        together.wait()
        mine.extend(g.raw32(size) for _ in range(each))

    threads = [threading.Thread(target=draw, args=(mine,)) for mine in drawn]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    stream = Generator().manual_seed(4).raw32(size * each * team).reshape(-1, size)
    found = {tuple(words[:4]) for mine in drawn for words in mine}
    assert found == {tuple(words[:4]) for words in stream}
    ours = sorted((words for mine in drawn for words in mine), key=lambda w: tuple(w[:4]))
    np.testing.assert_array_equal(ours, sorted(stream, key=lambda w: tuple(w[:4])))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_during_a_draw():
    """Another thread draws without pause; children draw as well."""
    g, stop = Generator().manual_seed(2), threading.Event()

    def draw():
        while not stop.is_set():
            g.raw32(200_000)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(10)  # ends a child that waits for ever
                os._exit(0 if len(g.raw32(10)) == 10 else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
    assert not _starting.locked()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_child_goes_on_where_the_parent_was(session, use):
    use(session)
    g = Generator().manual_seed(3)
    g.raw32(1000)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, g.raw32(100).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 400) == g.raw32(100).tobytes()
    os.close(reading)
    os.close(writing)
