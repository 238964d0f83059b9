"""Matrix products and convolutions of the compiled tier against NumPy's BLAS and, where torch is installed, PyTorch.

Prints the best times, in microseconds, of interleaved runs, and the ratios to ours (above 1: ours is faster). One thread is
timed by the time that it runs, so that other processes disturb little; more are timed by the clock, for which the machine
must be idle, and the libraries' threads disturb each other even so: leave others out with --against.

    python benchmarks/products.py [--threads N] [--only TEXT] [--rounds N] [--against NAMES]
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable, Sequence

import numpy as np

try:
    import torch
except ImportError:
    torch = None

from flambeau.core import dtypes
from flambeau.engine.cpu import blas, conv, gemm, threads
from flambeau.engine.cpu.specs import ConvSpec, GemmSpec

PRODUCTS = [  # name, m, n, k, and which of A and B are transposed in memory
    ("seeds x @ w1", 64, 100, 1000, "nn"),
    ("seeds h @ w2", 64, 10, 100, "nn"),
    ("seeds x.T @ g", 1000, 100, 64, "tn"),
    ("seeds g @ w2.T", 64, 100, 10, "nt"),
    ("seeds h.T @ g", 100, 10, 64, "tn"),
    ("seeds linear 1", 64, 100, 1000, "nt"),
    ("seeds linear 2", 64, 10, 100, "nt"),
    ("seeds linear 1, weight", 100, 1000, 64, "tn"),
    ("mlp linear 1", 128, 512, 784, "nt"),
    ("mlp linear 1, weight", 512, 784, 128, "tn"),
    ("mlp linear 2, input", 128, 512, 512, "nn"),
    ("gpt qkv", 1024, 384, 128, "nt"),
    ("gpt wide", 1024, 512, 128, "nt"),
    ("gpt narrow", 1024, 128, 512, "nt"),
    ("gpt narrow, input", 1024, 512, 128, "nn"),
    ("gpt wide, weight", 512, 128, 1024, "tn"),
    ("nerf layer", 1024, 256, 256, "nt"),
    ("nerf layer, weight", 256, 256, 1024, "tn"),
    ("lstm gates", 32, 512, 128, "nt"),
    ("policy layer", 1, 64, 64, "nt"),
    ("one row", 1, 4096, 1024, "nt"),
    ("cnn linear", 64, 128, 9216, "nt"),
    ("cnn linear, weight", 128, 9216, 64, "tn"),
    ("cnn linear, input", 64, 9216, 128, "nn"),
    ("square 256", 256, 256, 256, "nn"),
    ("square 512", 512, 512, 512, "nn"),
    ("square 1024", 1024, 1024, 1024, "nn"),
]
BATCHED = [("attention scores", 64, 64, 64, 32, "nt"), ("attention values", 64, 64, 32, 64, "nn")]
CONVOLUTIONS = [  # name, images, channels, size, output channels, kernel, stride, padding
    ("mnist 1", 64, 1, 28, 32, 3, 1, 0),
    ("mnist 2", 64, 32, 26, 64, 3, 1, 0),
    ("resnet in", 32, 3, 32, 16, 3, 1, 1),
    ("resnet 16", 32, 16, 32, 16, 3, 1, 1),
    ("resnet 16-32", 32, 16, 32, 32, 3, 2, 1),
    ("resnet 32", 32, 32, 16, 32, 3, 1, 1),
    ("resnet 16-32 1x1", 32, 16, 32, 32, 1, 2, 0),
    ("resnet 32-64", 32, 32, 16, 64, 3, 2, 1),
    ("resnet 64", 32, 64, 8, 64, 3, 1, 1),
]


def kernel(address: int, *arrays: np.ndarray, words: Sequence[int] = ()) -> Callable[[], None]:
    """A call of a compiled kernel; ``words`` follow the pointers among its arguments."""
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
    block = np.array([a.ctypes.data for a in arrays] + list(words), np.int64)
    where = block.ctypes.data
    return lambda _keep=(block, arrays): function(where)


def strides(x: np.ndarray) -> tuple[int, ...]:
    return tuple(s // x.itemsize for s in x.strides)


def compare(name: str, work: int, calls: dict[str, Callable], rounds: int, clock: Callable[[], float]) -> None:
    """Prints the best times of interleaved runs."""
    repeat = max(1, 4_000_000 // work)
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for which, call in calls.items():
            start = clock()
            for _ in range(repeat):
                call()
            best[which] = min(best[which], (clock() - start) / repeat)
    ours = best["ours"]
    others = "".join(f"   {w} {t * 1e6:9.1f} us, ratio {t / ours:5.2f}" for w, t in best.items() if w != "ours")
    print(f"{name:26} ours {ours * 1e6:9.1f} us {2e-9 * work / ours:6.1f} GFLOP/s{others}", flush=True)


def operand(rows: int, columns: int, layout: str, batch: tuple[int, ...] = ()) -> np.ndarray:
    shape = (rows, columns) if layout == "n" else (columns, rows)
    x = np.random.default_rng(0).standard_normal((*batch, *shape)).astype(np.float32)
    return x if layout == "n" else x.swapaxes(-1, -2)


def products(args: argparse.Namespace, clock: Callable[[], float]) -> None:
    for name, *batch, m, n, k, layout in PRODUCTS + BATCHED:
        if args.only not in name:
            continue
        a, b = operand(m, k, layout[0], tuple(batch)), operand(k, n, layout[1], tuple(batch))
        c, d = np.empty((*batch, m, n), np.float32), np.empty((*batch, m, n), np.float32)
        spec = GemmSpec(dtypes.float32, m, n, k, strides(a), strides(b), strides(c), None, tuple(batch))
        address, words = gemm.gemm_kernel(spec)
        calls = {"ours": kernel(address, a, b, c, words=words)}
        if "NumPy" in args.against:
            calls["NumPy"] = lambda a=a, b=b, d=d: np.matmul(a, b, out=d)
        if "torch" in args.against and torch is not None:
            ta, tb, td = (torch.from_numpy(x) for x in (a, b, d))
            calls["torch"] = lambda ta=ta, tb=tb, td=td: torch.matmul(ta, tb, out=td)
        compare(name, int(np.prod(batch)) * m * n * k, calls, args.rounds, clock)


def convolutions(args: argparse.Namespace, clock: Callable[[], float]) -> None:
    for name, n, c, size, o, k, stride, padding in CONVOLUTIONS:
        if args.only not in name:
            continue
        out = (size + 2 * padding - k) // stride + 1
        x, w, dy = operand(size, size, "n", (n, c)), operand(k, k, "n", (o, c)), operand(out, out, "n", (n, o))
        geometry = (n, c, size, size, o, (k, k), (stride,) * 2, (padding,) * 2, (1, 1), 1, strides(x), strides(dy))
        for i, (part, given, result) in enumerate([("forward", (x, w), dy), ("input", (dy, w), x), ("weight", (x, dy), w)]):
            address, words = conv.conv_kernel(ConvSpec(part, dtypes.float32, *geometry))
            calls = {"ours": kernel(address, *given, np.empty_like(result), words=words)}
            if "torch" in args.against and torch is not None:
                tx, tw, tdy = (torch.from_numpy(a) for a in (x, w, dy))
                settings = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1)
                wanted = [i == 1, i == 2, False]
                if part == "forward":
                    calls["torch"] = lambda x=tx, w=tw, s=stride, p=padding: torch.conv2d(x, w, None, s, p)
                else:
                    calls["torch"] = lambda g=tdy, x=tx, w=tw, s=settings, m=wanted: torch.ops.aten.convolution_backward(
                        g, x, w, None, *s, m
                    )
            compare(f"conv {name}, {part}", n * o * out * out * c * k * k, calls, args.rounds, clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="those whose name has this text in it")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--against", default="NumPy,torch", help="those to compare with")
    args = parser.parse_args()
    threads.resize(args.threads)
    blas.set_num_threads(args.threads)
    if torch is not None:
        torch.set_num_threads(args.threads)
    clock = time.thread_time if args.threads == 1 else time.perf_counter
    products(args, clock)
    convolutions(args, clock)


if __name__ == "__main__":
    main()
