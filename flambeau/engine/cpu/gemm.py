"""Matrix products: generated register tiles, or NumPy's own BLAS where that is as fast.

``gemm_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {A, B, C[, D][, scalars]}`` that computes

    C = alpha * A @ B + beta * D

for every matrix of a batch. Strides are free (a transpose is a pair of strides); ``D`` may be ``C`` itself, a bias (row stride 0)
or any other matrix; ``scalars`` points to those of alpha and beta, as doubles, that are known only when the kernel runs.

The inner dimension is never divided between threads, so results don't depend on their number.
"""

from __future__ import annotations

from typing import NamedTuple

from flambeau.core.dtypes import dtype as DType
from flambeau.engine.cpu import tiles
from flambeau.engine.cpu.irtext import Vectors, Writer


class GemmSpec(NamedTuple):
    """One matrix product. Strides are in elements: one for each dimension of ``batch``, then row and column."""

    dtype: DType
    m: int
    n: int
    k: int
    a: tuple[int, ...]
    b: tuple[int, ...]
    c: tuple[int, ...]
    d: tuple[int, ...] | None = None
    batch: tuple[int, ...] = ()
    alpha: float | None = 1.0  # None: given when the kernel runs
    beta: float | None = 1.0

    def transposed(self) -> GemmSpec:
        """The same product written as ``C.T = B.T @ A.T``."""
        a, b, c, d = (_swapped(s) if s else None for s in (self.a, self.b, self.c, self.d))
        return self._replace(m=self.n, n=self.m, a=b, b=a, c=c, d=d)


def _swapped(strides: tuple[int, ...]) -> tuple[int, ...]:
    return (*strides[:-2], strides[-1], strides[-2])


class Tiling(NamedTuple):
    """How a product is cut into tiles."""

    rows: int
    vectors: int
    block: int  # steps along the inner dimension that one pass over B takes
    pack: bool  # B is copied, panel by panel


def tiled_ir(name: str, spec: GemmSpec, t: Tiling, vec: Vectors) -> str:
    size = vec.size
    a, b, c, d = (tuple(s * size for s in x) if x is not None else None for x in (spec.a, spec.b, spec.c, spec.d))
    m, n, k = spec.m, spec.n, spec.k
    blocks = -(-k // t.block)
    functions: dict = {}

    def function(maker, *key) -> str:
        if (maker, key) not in functions:
            fname = f"part{len(functions)}"
            functions[maker, key] = fname, maker(fname, *key)
        return functions[maker, key][0]

    w = Writer(name, "ptr %args")
    ptrs = []
    count = 3 + (d is not None)
    for i in range(count):
        ptrs.append(w.let(f"load ptr, ptr {w.at('%args', 8 * i)}"))
    A, B, C = ptrs[:3]
    D = ptrs[3] if d is not None else "null"
    scal = []
    runtime = 0
    for x in (spec.alpha, spec.beta):
        if x is None:
            if not runtime:
                S = w.let(f"load ptr, ptr {w.at('%args', 8 * count)}")
            v = w.let(f"load double, ptr {w.at(S, 8 * runtime)}")
            if size == 4:
                v = w.let(f"fptrunc double {v} to float")
            runtime += 1
        else:
            v = vec.constant(x)
        scal.append(vec.splat(w, v))
    buffer = "null"
    if t.pack:
        buffer = w.let(f"alloca i8, i64 {min(k, t.block) * t.vectors * vec.bytes}, align 64")
    from contextlib import ExitStack
    with ExitStack() as stack:
        for i, cnt in enumerate(spec.batch):
            idx = stack.enter_context(w.each(cnt))
            A = w.at(A, w.times(idx, a[i])); B = w.at(B, w.times(idx, b[i])); C = w.at(C, w.times(idx, c[i]))
            if d is not None:
                D = w.at(D, w.times(idx, d[i]))
        width = t.vectors * vec.lanes
        full, rest = divmod(n, width)
        groups = ([(0, full, width)] if full else []) + ([(full, 1, rest)] if rest else [])
        for first, cnt, cols in groups:
            nv = -(-cols // vec.lanes)
            with w.each(cnt) as j:
                j = w.plus(w.times(j, width), first * width)
                Bj = w.at(B, w.times(j, b[-1])); Cj = w.at(C, w.times(j, c[-1])); Dj = w.at(D, w.times(j, d[-1])) if d else "null"
                with w.each(blocks) as kb:
                    ks = w.times(kb, t.block)
                    if blocks == 1:
                        kc = str(k); later = "false"
                    else:
                        left = w.let(f"sub i64 {k}, {ks}")
                        kc = w.let(f"call i64 @llvm.umin.i64(i64 {left}, i64 {t.block})")
                        later = w.let(f"icmp ne i64 {ks}, 0")
                    Ak = w.at(A, w.times(ks, a[-1])); Bk = w.at(Bj, w.times(ks, b[-2]))
                    bstep = b[-2]
                    if t.pack:
                        if b[-1] == size:
                            f = function(tiles.pack_rows_function, vec, nv, cols, b[-1], b[-2])
                        elif b[-2] == size:
                            f = function(tiles.pack_transposed_function, vec, nv, cols, b[-1])
                        else:
                            f = function(tiles.pack_rows_function, vec, nv, cols, b[-1], b[-2])
                        w.do(f"call void @{f}(ptr {buffer}, ptr {Bk}, i64 {kc})")
                        Bk = buffer
                        bstep = nv * vec.bytes
                    mfull, mrest = divmod(m, t.rows)
                    for mfirst, mcnt, rows in ([(0, mfull, t.rows)] if mfull else []) + ([(mfull, 1, mrest)] if mrest else []):
                        tile = tiles.Tile(rows, nv, cols, a[-2:], bstep, t.pack, c[-2:], d[-2:] if d else None, spec.alpha != 1.0, spec.beta != 1.0, blocks > 1)
                        f = function(tiles.tile_function, tile, vec)
                        with w.each(mcnt) as i:
                            i = w.plus(w.times(i, t.rows), mfirst * t.rows)
                            Ai = w.at(Ak, w.times(i, a[-2])); Ci = w.at(Cj, w.times(i, c[-2])); Di = w.at(Dj, w.times(i, d[-2])) if d else "null"
                            w.do(f"call void @{f}(ptr {Ai}, ptr {Bk}, ptr {Ci}, ptr {Di}, i64 {kc}, i1 {later}, {vec.type} {scal[0]}, {vec.type} {scal[1]})")
    main = w.finish()
    return vec.declarations() + "declare i64 @llvm.umin.i64(i64, i64)\n" + "".join(x[1] for x in functions.values()) + main
