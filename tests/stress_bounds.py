"""Random chains of views and indices, right and wrong ones, that are caught and repeated, under guard pages.

    python -m tests.stress_bounds --chains 200000
    FLAMBEAU_GUARD=1 python -m tests.stress_bounds --records 0/1

A chain is a base, some views of it, and some statements that read, write, look up or differentiate; many sizes, offsets and
indices are far outside of what is there. Each statement may fail. A chain is run once immediately, by NumPy, and then several
times compiled, so that plans are made of whatever did not fail: the results and the errors must be the same. Memory ends where
arrays end meanwhile (``FLAMBEAU_GUARD=1``), so that a kernel which touches anything else ends the process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import subprocess
import sys
import tempfile
import warnings
from typing import Any

import numpy as np

HOSTILE = [-(2**63), -100_000, -7, -2, -1, 0, 1, 2, 3, 4, 5, 7, 1000, 100_000, 2**40, 2**62, 2**63 - 1]
SHAPES = [(), (1,), (6,), (3, 4), (4, 4), (1, 3), (2, 3, 4), (0,), (2, 0, 3), (64,)]
DTYPES = ["float32"] * 8 + ["float64", "int64", "int32", "bfloat16", "bool", "uint8", "complex64"]

VIEWS = [
    "expand({n}, {m})", "expand({n})", "expand(-1, {n})", "expand({n}, -1, -1)", "as_strided(({n}, {m}), ({s}, {t}))",
    "as_strided(({n},), ({s},), {n})", "as_strided(({m}, {m}), ({s}, {t}), {m})", "unfold({d}, {n}, {m})", "unfold(0, {m}, {s})",
    "narrow({d}, {n}, {m})", "select({d}, {n})", "diagonal({n})", "diagonal({m}, {d}, {d})", "view({n}, {m})", "view(-1, {m})",
    "reshape({m}, -1)", "split({p})[-1]", "split(({n}, {m}))[0]", "chunk({p})[-1]", "tensor_split({p})[0]", "unflatten(0, ({n}, -1))",
    "t()", "transpose({d}, {d})", "permute({d}, {d})", "permute({d}, {d}, {d})", "unsqueeze({d})", "squeeze()", "flatten()", "mT",
    "movedim({d}, {d})", "unbind({d})[-1]", "[{n}]", "[{n}:]", "[:, {n}]", "[..., {n}:{m}]", "[::{m}]", "[{n}::{m}]", "[None]", "flip(0)",
    "detach()", "real", "view(torch.int32)", "view(torch.uint8)", "broadcast_to(({n}, {m}))", "expand_as(torch.ones(2, 3, 4))",
    "swapaxes({d}, {d})", "vsplit({p})[0]", "hsplit({p})[0]", "new_zeros(3, {p}).select(0, {n})", "resize_({p}, {p})",
    "set_(torch.ones(12), {n}, ({m}, 2), (2, 1))", "as_strided_(({m},), ({s},), {m})", "T", "data", "clone()",
]  # fmt: skip
READS = [
    "({v} * 2).sum()", "{v} + {v}.sum()", "{v}.softmax(-1)", "torch.cat([{v}, {v}])", "torch.cat([{v}.reshape(-1), {w}.reshape(-1)])",
    "torch.stack([{v}, {v}])", "{v} @ {v}.mT", "{v} @ {w}", "{v}.cumsum({d})", "{v}.contiguous()", "F.pad({v}, ({p}, {p}))", "{v}.roll({n}, {d})",
    "{v}.flip({d})", "{v}.amax({d})", "{v} - {w}", "torch.where({v} > 0, {v}, {w})", "{v}.tril({n})", "{v}.repeat({p}, 2)", "{v}.tile({p})",
    "F.conv1d({v}[None, None], torch.ones(1, 1, 3), padding=1)", "F.max_pool1d({v}[None], {m})", "F.avg_pool1d({v}[None], {m}, {m})",
    "F.layer_norm({v}, {v}.shape[-1:])", "{v}.sort().values", "{v}.unique()", "{v}.var({d})", "{v}.mean()", "{v}.argmax({d})",
    "F.unfold({v}[None, None], {m})", "F.interpolate({v}[None, None], size={p})", "torch.diag({v}, {p})", "{v}.repeat_interleave({p})",
]  # fmt: skip
WRITES = [
    "{v}.fill_(7)", "{v}.zero_()", "{v}.add_(1)", "{v}.mul_({w})", "{v}.copy_({w})", "{v}.copy_({v}.flip(0))", "{v}.add_({v}.mT)",
    "{v}.mT.sub_({w})", "{v}[{n}:].add_({v}[:{m}])", "{v}.__setitem__({n}, 3)", "{v}.__setitem__(slice({n}, {m}), {w})",
    "{v}.diagonal({n}).fill_(5)", "{v}.unfold(0, {m}, {m}).mul_(2)", "torch.add({v}, 1, out={w})", "{v}.masked_fill_({v} > 1, 0)",
]  # fmt: skip
LOOKUPS = [
    "F.embedding({i}, {v})", "F.embedding_bag({i}.reshape(1, -1), {v}, mode='sum')", "F.embedding_bag({i}, {v}, {j}, mode='max')",
    "{v}.index_select({d}, {i})", "{v}.gather({d}, {i})", "{v}.gather({d}, {i}.expand_as({v}))", "{v}.scatter({d}, {i}, 1)",
    "{v}.scatter_add({d}, {i}, {v})", "{v}.scatter_reduce({d}, {i}, {v}, 'amax')", "{v}[{i}]", "{v}[{i}, {j}]", "{v}[:, {i}]", "{v}[{i}, :, {j}]",
    "{v}.__setitem__({i}, 2)", "{v}.__setitem__(({i}, {j}), 2)", "{v}.index_put(({i},), {v}[{i}] * 0 + 1, True)", "{v}.index_add({d}, {i}, {v}[:3])",
    "{v}.index_add_({d}, {i}, {w})", "{v}.index_copy({d}, {i}, {v}[:3])", "{v}.index_fill({d}, {i}, 4)", "{v}.index_fill_({d}, {i}, 4)",
    "{v}.take({i})", "{v}.clone().put_({i}, {v}.reshape(-1)[:3], True)", "torch.take_along_dim({v}, {i}, {d})", "F.one_hot({i}, {p})", "{i}.bincount()",
    "F.cross_entropy({v}, {i})", "F.cross_entropy({v}.reshape(3, -1), {i}, reduction='sum')", "F.nll_loss({v}.reshape(3, -1), {i}, {v}.reshape(-1)[:4])",
    "F.max_unpool1d({v}.reshape(1, 1, -1)[..., :3], {i}.reshape(1, 1, 3), 2)", "{v}.reshape(-1).repeat_interleave({i})", "{v}.reshape(-1)[:3].searchsorted({v})",
    "F.grid_sample({v}.reshape(1, 1, 2, -1), {i}.reshape(1, 1, 3, 1).expand(1, 1, 3, 2).to({v}.dtype))", "torch.bucketize({v}, {v}.reshape(-1)[:3])",
    "{v}.scatter_({d}, {i}, {w})", "{v}.scatter_add_(0, {i}, {w})", "F.multi_margin_loss({v}.reshape(3, -1), {i})", "{v}.kthvalue({m}, {d}).values",
    "F.ctc_loss({v}.reshape(-1, 1, 2).log_softmax(-1), {i}.reshape(1, -1), {i}[:1], {j}[:1])", "torch.combinations({v}, {p})", "{v}.renorm(2, {d}, 1)",
    "torch.gather({v}.mT, {d}, {i}.unsqueeze(1))", "{v}.index_reduce({d}, {i}, {v}[:3], 'prod')",
]  # fmt: skip


class Chain:
    """The statements of a seed: most of them are such that nothing is wrong with them."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.wild = rng.choice([0.0, 0.05, 0.1, 0.3])
        shape, dtype = rng.choice(SHAPES), rng.choice(DTYPES)
        self.grad = dtype.startswith(("float", "complex")) and rng.random() < 0.4
        base = f"x = (torch.arange({_count(shape)}).remainder(5) - 1).reshape({shape}).to(torch.{dtype}).clone()"
        self.statements = [base + ".requires_grad_()" * self.grad]
        self.names = ["x"]
        self.seen = Run()
        self.seen.do(self.statements[0])
        for k in range(rng.randint(1, 4)):
            if self.add(lambda k=k: self.view(k)):
                self.names.append(f"v{k}")
        for k in range(rng.randint(1, 4)):
            self.add(lambda k=k: self.use(k))

    def add(self, make) -> bool:
        """Adds a statement that works, or now and then one that does not; whether it works."""
        for _ in range(5):
            statement = make()
            worked = self.seen.do(statement)
            if worked or self.rng.random() < 0.2:
                self.statements.append(statement)
                return worked
        return False

    def view(self, k: int) -> str:
        view = self.rng.choice(VIEWS)
        alias = " * 1" if self.grad and not k and self.rng.random() < 0.5 else ""
        return self.filled(f"v{k} = ({{v}}{alias}){'' if view.startswith('[') else '.'}{view}")

    def use(self, k: int) -> str:
        kind = self.rng.random()
        text = self.filled(self.rng.choice(READS if kind < 0.3 else WRITES if kind < 0.5 else LOOKUPS))
        if "__setitem__" in text or self.rng.random() < (0.5 if self.grad else 0.9):
            return text
        # What fails when it is computed is caught, and its gradient asked for all the same (only lazily there is one).
        return (
            f"r{k} = {text}\ntry:\n    look(r{k})\nexcept Exception as e:\n    note(e, True)\nr{k}.sum().backward()\nlook(x.grad)"
        )

    def number(self, usual: list[int]) -> int:
        return self.rng.choice(HOSTILE if self.rng.random() < self.wild else usual)

    def index(self) -> str:
        values = [self.number([0, 1, 2, 0]) for _ in range(3)]
        kind = self.rng.choice(["torch.int64"] * 5 + ["torch.int32"])
        if kind == "torch.int32":
            values = [max(-(2**31), min(n, 2**31 - 1)) for n in values]
        text = f"torch.tensor({values}, dtype={kind})"
        return self.rng.choice([text, f"({text} + 0)", f"({text} + 0)", f"torch.tensor({values + [0]}, dtype={kind})[:3]"])

    def filled(self, text: str) -> str:
        recent = self.names[-2:]
        values: dict[str, Any] = {name: "" for name in "vwnmpstdij"}
        while "{" in text:
            for name in values:
                values[name] = (
                    self.rng.choice(recent if name == "v" else self.names) if name in "vw" else self.index() if name in "ij"
                    else self.number([-1, 0, 1]) if name == "d" else max(-1000, min(self.number([1, 2, 3]), 1000)) if name == "p" else self.number([0, 1, 2, 3]) if name in "st" else self.number([0, 1, 2, 2, 3])
                )  # fmt: skip
            text = text.format(**values)
        return text

    def script(self) -> str:
        return "\n".join(self.statements)


def _count(shape) -> int:
    n = 1
    for extent in shape:
        n *= extent
    return n


LARGEST = 5_000
"""Elements of what is looked at; views of more are not, for they would take too long."""


MEMORY = 2 << 30
"""Bytes that a process may take for its chains (see :func:`work`)."""
ANYWHERE = 1 << 40
"""Bytes that no machine gives: an error of less depends on what else is held, and is compared with nothing."""


class Run:
    """One run of statements: what they gave, values and errors."""

    def __init__(self) -> None:
        import flambeau as torch
        from flambeau.nn import functional as F

        self.tensor = torch.Tensor
        self.events: list = []
        self.caught = False  # an error that the statement has caught: what it does then is done, but not compared
        self.names: dict[str, Any] = {"torch": torch, "F": F, "look": self.look, "note": self.note}

    def look(self, x) -> None:
        from flambeau.engine import graph
        from flambeau.engine.run import run_pending

        if x is None:
            run_pending()  # it may have written
        if isinstance(x, self.tensor):
            if x.numel() > LARGEST or any(prod_of(n.shape) > LARGEST for n in graph.trace):
                del graph.trace[:]
                raise Large
            found = tuple(x.shape), x.dtype, x.tolist()
            content = x._storage.node.value
            if content is not None and content.dtype == np.bool_ and np.any(content.reshape(-1).view(np.uint8) > 1):
                raise NoTruth
            if not self.caught:
                self.events.append(found)

    def note(self, error: Exception, goes_on: bool = False) -> None:
        if isinstance(error, Large | NoTruth):
            raise error
        if (asked := re.search(r"tried to allocate (\d+) bytes", str(error))) and int(asked[1]) < ANYWHERE:
            raise Large from error
        if not self.caught:
            self.events.append((type(error).__name__,))
        self.caught |= goes_on

    def do(self, statement: str) -> bool:
        """Runs a statement; whether nothing was wrong."""
        self.caught = False
        try:
            if " = " in statement[:6]:
                exec(statement, self.names)
                self.look(self.names[statement[:2].strip()])
            else:
                self.look(eval(statement, self.names))
        except Exception as error:
            self.note(error)
            return False
        return not self.caught

    def end(self, names: list[str]) -> list:
        """All events, with what the variables are in the end."""
        from flambeau.engine.run import run_pending

        with contextlib.suppress(Exception):
            run_pending()
        for name in names:
            self.do(name)
        return self.events


def run(chain: Chain) -> list:
    again = Run()
    for statement in chain.statements:
        again.do(statement)
    return again.end(chain.names)


def prod_of(shape) -> int:
    if shape and isinstance(shape[0], tuple):
        return max(prod_of(s) for s in shape)
    return _count(shape)


class Large(Exception):
    """Something has too many elements to look at."""


class NoTruth(Exception):
    """There are bools whose bytes are neither 0 nor 1, written as another dtype: which of them stay what they are is nobody's rule."""


def same(a: list, b: list) -> bool:
    """Whether two runs saw the same up to the first error: where it comes late, what follows may differ."""
    for x, y in zip(a, b, strict=False):
        if len(x) == 1 or len(y) == 1:
            return len(x) == len(y)
        if x[:-1] != y[:-1]:
            return False
        wide = complex if x[1].is_complex else float
        eps = 0.05 if x[1].itemsize == 2 else 1e-4
        if x[2] != y[2] and not np.allclose(np.array(x[2], wide), np.array(y[2], wide), eps, eps, equal_nan=True):
            return False
    return len(a) == len(b)


def check(seed: int, counts: dict[str, int]) -> str | None:
    """Runs the chain of a seed in both ways; what was different, if anything was."""
    from flambeau.core import config

    before = config.eager, config.compiled, config.compile_after
    try:
        config.eager, config.compiled = True, False
        chain = Chain(seed)
        wanted = run(chain)  # again: what failed, and is no part of it, may have written before it did
        config.eager, config.compiled, config.compile_after = False, True, seed % 3 == 0 and 0 or 1
        for k in range(3):
            got = run(chain)
            if not same(wanted, got):
                return f"--- chain {seed}, compiled run {k + 1}\n{chain.script()}\nexpected {wanted}\ngot {got}"
    except (Large, NoTruth) as unlike:
        kind = "too large to look at" if isinstance(unlike, Large) else "bools that are neither"
        counts[kind] = counts.get(kind, 0) + 1
        return None
    finally:
        config.eager, config.compiled, config.compile_after = before
    kind = "with errors" if any(len(event) == 1 for event in wanted) else "without errors"
    counts[kind] = counts.get(kind, 0) + 1
    return None


def limit_memory(more: int) -> None:
    """Lets this process take so many bytes more than it has; where there are no such limits, as many as there are."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:
            present = int(file.read().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (present + more, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def work(first: int, count: int, progress: str) -> int:
    """Checks so many chains in this process; returns how many were wrong."""
    import faulthandler
    import math

    from flambeau.core import config
    from flambeau.engine import plans

    faulthandler.enable()
    limit_memory(MEMORY)
    warnings.simplefilter("ignore")
    plans.ALLOWANCE, config.strict = math.inf, True
    counts: dict[str, int] = {}
    wrong = 0
    with open(progress, "w", buffering=1) as file:
        for seed in range(first, first + count):
            file.seek(0)
            file.write(f"{seed}\n")
            found = check(seed, counts)
            if found:
                wrong += 1
                print(found, flush=True)
    compiled = plans.engine_stats()["compiled"]
    print(f"{count} chains from seed {first}: {wrong} wrong, {compiled} plans; {counts}", flush=True)
    return wrong


# --- all records ---------------------------------------------------------------------------------------------

WRONG = [-1, 7, 5000, 2**62, -(2**63)]


def records(part: int = 0, parts: int = 1) -> int:
    """Each op that has integer tensors among its samples, with indices far outside in each of these; how many were wrong.

    What NumPy refuses must be refused by plans too, the gradient included; neither may touch anything.
    """
    import flambeau as torch
    from flambeau.core import config
    from flambeau.ops.record import registry
    from flambeau.ops.samples import Make
    from tests.test_ops import leaves, rebuild

    config.strict = True
    warnings.simplefilter("ignore")
    wrong = tried = 0
    ops = sorted({id(op): op for op in registry.values() if op.samples}.values(), key=lambda op: op.name)
    ops = [op for op in ops if "polynomial" not in op.name]  # whose integers are degrees, and the time that they take
    for op in ops[part::parts]:
        for k, sample in enumerate(op.samples(Make())):
            tensors = leaves([list(sample.args), sample.kwargs])
            places = [i for i, t in enumerate(tensors) if t.dtype in (torch.int64, torch.int32) and t.numel()]
            for i, value, pending in [(i, v, p) for i in places for v in WRONG for p in (False, True)]:
                value = max(-(2**31), min(value, 2**31 - 1)) if tensors[i].dtype is torch.int32 else value
                seen = []
                for compiled in (False, True, True, True):
                    config.eager, config.compiled, config.compile_after = not compiled, compiled, k % 2
                    given = [t.detach().clone().requires_grad_(t.requires_grad) for t in tensors]
                    given[i] = given[i].contiguous()
                    given[i].view(-1)[given[i].numel() // 2] = value
                    bad = given[i]
                    given[i] = bad + 0 if pending else bad
                    seen.append(_outcome(op, *rebuild([list(sample.args), sample.kwargs], iter(given))))
                tried += 1
                if len({outcome.__class__ for outcome in seen}) > 1:
                    wrong += 1
                    print(f"--- {op.name}, sample {k}, tensor {i}: {value}{' pending' if pending else ''}: {seen}", flush=True)
    print(f"{tried} wrong indices of {len(ops[part::parts])} ops: {wrong} not refused as they should be", flush=True)
    return wrong


def _outcome(op, args: list, kwargs: dict) -> int | str:
    """How many numbers a call gives, its gradients included, or the name of the error."""
    import flambeau as torch
    from flambeau.engine.run import run_pending
    from tests.test_ops import leaves

    count = 0
    try:
        results = [t for t in leaves(op.function(*args, **kwargs)) if t.numel() < LARGEST]
        for t in results:
            count += len(t.reshape(-1).tolist())
    except Exception as error:
        with contextlib.suppress(Exception):  # the gradient of what has failed, which there is only lazily
            for t in results:
                t.sum().backward()
            run_pending()
        with contextlib.suppress(Exception):
            for t in leaves([args, kwargs]):
                t.grad is not None and t.grad.tolist()
        return type(error).__name__
    for t in results:
        if t.requires_grad and t.is_floating_point():
            try:
                torch.autograd.backward(t, torch.ones_like(t), retain_graph=True)
                run_pending()
            except Exception as error:
                return f"{type(error).__name__} of the gradient"
    for t in leaves([args, kwargs]):
        if t.grad is not None:
            count += len(t.grad.reshape(-1).tolist())
    return count


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.stress_bounds", description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--chains", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first chain; the others follow")
    parser.add_argument("--batch", type=int, default=2000, help="chains in one process: its kernels live as long as it does")
    parser.add_argument("--here", metavar="FILE", help="in this process; the file says which chain it is at")
    parser.add_argument("--records", metavar="PART/PARTS", help="instead of chains: each op's samples with wrong indices")
    options = parser.parse_args()
    if options.records:
        part, parts = map(int, options.records.split("/"))
        return min(1, records(part, parts))
    if options.here:
        return min(1, work(options.seed, options.chains, options.here))
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        progress = os.path.join(directory, "progress")
        seed, end = options.seed, options.seed + options.chains
        while seed < end:
            count = min(options.batch, end - seed)
            command = [sys.executable, "-m", "tests.stress_bounds", "--here", progress, "--seed", str(seed), "--chains", str(count)]
            rc = subprocess.run(command, env=os.environ | {"FLAMBEAU_GUARD": "1"}).returncode
            failed += rc != 0
            if rc not in (0, 1):
                with open(progress) as file:
                    at = int(file.readline())
                print(f"--- the process ended with {rc} at chain {at}", flush=True)
                seed = at + 1
            else:
                seed += count
    return min(1, failed)


if __name__ == "__main__":
    sys.exit(main())
