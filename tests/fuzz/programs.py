"""Random programs: lists of statements, made from a seed, printable as a script, and shrinkable.

A program is a tuple of statements. A statement is a line or block of Python; a :class:`Repeat` runs some of them several
times. The names that a program may use besides ``torch``, ``F`` and ``np`` are those of :func:`namespace`.

Statements are made one by one and run at once, so that the generator knows every shape and dtype.
"""

from __future__ import annotations

import contextlib
import random
import re
import warnings
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np

import flambeau as torch
from flambeau.core import config
from flambeau.engine import graph
from flambeau.engine.run import run_pending
from flambeau.nn import functional as F
from tests.fuzz import layers, overlaps


def _is_leaf(t) -> bool:
    """Whether the tape has no entry for ``t``, or one that must not be asked for."""
    try:
        return t.grad_fn is None
    except RuntimeError:
        return True


class Repeat(NamedTuple):
    """Statements that run ``times`` times."""

    times: int
    body: tuple[str, ...]


Statement = str | Repeat
Program = tuple[Statement, ...]


def script(program: Program, seed: int) -> str:
    """The program as Python source that runs by itself, in the repository's root."""
    lines = ["from tests.fuzz.programs import namespace", f"globals().update(namespace({seed}, print))", ""]
    for statement in program:
        if isinstance(statement, Repeat):
            lines.append(f"for _ in range({statement.times}):")
            lines += ["    " + line for part in statement.body for line in part.split("\n")]
        else:
            lines.append(statement)
    return "\n".join(lines)


# --- what programs are made of -------------------------------------------------------------------------------


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype) -> np.ndarray:
    """Random values of a dtype: short fractions, whose sums are exact, or any numbers, now and then special ones."""
    if dtype is torch.bool:
        return rng.random(shape) < 0.5
    if not dtype.is_floating_point:
        low = 0 if dtype is torch.uint8 else -6
        return rng.integers(low, 7, shape).astype(dtype.np)
    style = rng.integers(0, 8)
    out = rng.integers(-24, 25, shape) / 8 if style < 3 else rng.standard_normal(shape) * (1e3 if style == 7 else 1)
    out = np.asarray(out, np.float64)
    if style == 6 and out.size:
        special = [np.inf, -np.inf, np.nan, -0.0, 0.0, 1e-40, 3e38, -1.0]
        where = rng.integers(0, out.size, max(1, out.size // 6))
        out.reshape(-1)[where] = rng.choice(special, where.size)
    with np.errstate(over="ignore"):
        return out.astype(dtype.np)


def namespace(seed: int, observe: Callable[[Any], None]) -> dict[str, Any]:
    """The names that programs use; ``seed`` decides the data, ``observe`` is told what the program looks at."""

    def rng(k: int) -> np.random.Generator:
        return np.random.default_rng((seed, k))

    def data(k: int, shape=(), dtype=torch.float32):
        """The k-th tensor."""
        return torch.tensor(values(rng(k), shape, dtype), dtype=dtype)

    def array(k: int, shape=(), dtype=torch.float32) -> np.ndarray:
        """The k-th NumPy array."""
        return values(rng(k), shape, dtype)

    def weights(k: int, shape=(), dtype=torch.float32):
        """The k-th tensor, of short fractions: what convolutions multiply with their padding must be finite."""
        return torch.tensor(rng(k).integers(-12, 13, shape) / 8, dtype=dtype)

    def num(k: int) -> float:
        """The k-th Python number."""
        return float(rng(k).integers(-12, 13)) / 4

    def positive(k: int) -> float:
        return float(rng(k).integers(1, 13)) / 64

    def look(x):
        """Observes ``x`` and returns it."""
        observe(x)
        return x

    return {"torch": torch, "F": F, "np": np, "data": data, "array": array, "weights": weights, "num": num, "positive": positive,
            "look": look, "sync": run_pending}  # fmt: skip


SHAPES = [(2, 3, 6, 5), (1, 2, 5, 5), (2, 4, 7), (), (1,), (3,), (4,), (3, 4), (3, 4), (3, 4), (4, 4), (1, 4), (3, 1), (2, 3, 4), (2, 1, 4), (0,), (2, 0, 4),
          (17,), (5, 33), (130,), (2, 3, 1, 4), (40, 9),
          (70, 67), (2500,)]  # fmt: skip
DTYPES = (["torch.float32"] * 12 + ["torch.float64"] * 3 + ["torch.bfloat16"] * 2 + ["torch.float16"] + ["torch.int64"] * 3
          + ["torch.int32", "torch.uint8", "torch.int8", "torch.bool", "torch.bool"])  # fmt: skip

UNARY = """neg abs relu exp log sqrt tanh sigmoid sin cos tan exp2 expm1 log1p log2 log10 rsqrt reciprocal square sign floor ceil
    round trunc isnan isinf isfinite logical_not erf frac sgn positive clone bitwise_not sinh atan nan_to_num""".split()
FLOAT_FUNCTIONS = ["F.silu({})", "F.gelu({})", "F.gelu({}, approximate='tanh')", "F.softplus({})", "F.elu({})",
    "F.hardswish({})", "F.hardsigmoid({})", "F.hardtanh({})", "F.leaky_relu({}, 0.1)", "F.relu6({})", "F.mish({})",
    "F.logsigmoid({})", "F.selu({})"]  # fmt: skip
BINARY = """add sub mul div maximum minimum eq ne lt le gt ge pow atan2 fmod remainder logical_and logical_or logical_xor
    floor_divide fmin fmax hypot bitwise_and bitwise_or bitwise_xor true_divide rsub""".split()
INPLACE_UNARY = "neg_ abs_ relu_ exp_ sqrt_ tanh_ sigmoid_ zero_ floor_ round_ sin_ square_ reciprocal_".split()
INPLACE_BINARY = ["{}.add_({})", "{}.sub_({})", "{}.mul_({})", "{}.div_({})", "{}.copy_({})", "{} += {}", "{} -= {}",
    "{} *= {}", "{}.pow_({})", "{}.data.add_({})", "{}.detach().copy_({})", "{}.lerp_({}, 0.25)", "{}[...] = {}",
    "{}.masked_fill_({} > 0, 1)", "{}.maximum({})"]  # fmt: skip
REDUCTIONS = ["sum", "mean", "amax", "amin", "prod", "any", "all", "var", "std", "norm", "logsumexp", "argmax", "argmin",
    "cumsum", "cumprod", "max", "min", "softmax", "log_softmax", "sort", "count_nonzero", "median", "nansum"]  # fmt: skip


class TooLarge(BaseException):
    """A statement would have computed too much: the program ends before it."""


class Generator:
    """Makes one program, statement by statement, and runs it meanwhile."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.names = namespace(seed, lambda x: None)
        self.builtins = set(self.names)
        self.program: list[Statement] = []
        self.counter = 0
        self.numbers = 0
        self.makers = self.random.choice([MAKERS, MAKERS, WRITERS, LAYERS])
        self.large = self.random.random() < 0.01

    # --- choosing ----------------------------------------------------------------------------------------

    def tensors(self, where: Callable[[Any], bool] = lambda t: True) -> list[str]:
        found = []
        for name, t in self.names.items():
            if name not in self.builtins and isinstance(t, torch.Tensor) and where(t):
                found.append(name)
        return found

    def tensor(self, where: Callable[[Any], bool] = lambda t: True) -> str:
        found = self.tensors(where) or self.tensors()
        recent = found[-6:]
        return self.random.choice(recent if self.random.random() < 0.6 else found)

    def floating(self) -> str:
        return self.tensor(lambda t: t.is_floating_point())

    def like(self, name: str) -> str:
        """A tensor that may broadcast with ``name``, often of its shape."""
        shape = self.names[name].shape
        if self.random.random() < 0.15:
            return self.tensor()
        return self.tensor(lambda t: t.shape == shape or _broadcasts(t.shape, shape))

    def fresh(self, prefix: str = "t") -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def number(self) -> str:
        self.numbers += 1
        return self.random.choice(["2", "0.5", "-1.5", "3", "True", "0", "1e-3"] + [f"num({self.numbers})"] * 7)

    def dim(self, name: str) -> int:
        n = self.names[name].dim()
        return self.random.randint(-max(n, 1), max(n, 1) - 1)

    # --- running -----------------------------------------------------------------------------------------

    def run(self, statement: str) -> bool:
        """Runs a statement; says whether it raised nothing."""
        try:
            config.eager = not self.large
            exec(compile(statement, "<program>", "exec"), self.names)
            if self.large:  # shapes are known before anything is computed
                if any(node.dtype.__class__ is not tuple and prod(node.shape) > overlaps.MOST for node in graph.trace):
                    del graph.trace[:], graph.written[:]
                    raise TooLarge
                run_pending()
                return True
        except Exception:
            return False
        finally:
            config.eager = True
        return all(t.numel() <= 8192 for n, t in self.names.items() if n not in self.builtins and isinstance(t, torch.Tensor))

    def attempt(self, statement: str) -> bool:
        """Adds a statement if it runs; those that fail are added now and then, to see that they fail the same way."""
        if self.large and _ONE_BY_ONE.search(statement):
            return False
        if _REFUSING.search(statement):
            statement += "\nsync()"
        before = dict(self.names)
        good = self.run(statement)
        if good or (not self.large and self.random.random() < 0.12):
            self.program.append(statement)
        if not good:
            self.names.clear()
            self.names.update(before)
        return good

    def generate(self, length: int) -> Program:
        while len(self.program) < 3:
            self.make_tensor()
        with contextlib.suppress(TooLarge):
            while len(self.program) < length:
                self.random.choices(*zip(*self.makers, strict=True))[0](self)
        return tuple(self.program)

    # --- statements --------------------------------------------------------------------------------------

    def make_tensor(self) -> None:
        self.numbers += 1
        shapes = overlaps.LARGE if self.large and self.random.random() < 0.4 else SHAPES
        shape, dtype = self.random.choice(shapes), self.random.choice(DTYPES)
        kind = self.random.random()
        if kind < 0.72:
            grad = ".requires_grad_()" if "float" in dtype and self.random.random() < 0.35 else ""
            source = f"data({self.numbers}, {shape}, {dtype}){grad}"
        elif kind < 0.8:
            source = f"torch.{self.random.choice(['zeros', 'ones', 'empty_like', 'arange'])}"
            source = {"torch.empty_like": f"torch.zeros_like({self.tensor() if self.tensors() else 'torch.ones(3)'})",
                      "torch.arange": f"torch.arange(12, dtype={dtype if 'bool' not in dtype else 'torch.int64'}).reshape(3, 4)"}.get(
                          source, f"{source}({shape}, dtype={dtype})")  # fmt: skip
        elif kind < 0.9:
            source = f"torch.full({shape}, {self.number()})"
        else:
            source = f"torch.randn({shape})"
        self.attempt(f"{self.fresh()} = {source}")

    def make_expression(self) -> None:
        self.attempt(f"{self.fresh()} = {self.expression()}")

    def make_view(self) -> None:
        self.attempt(f"{self.fresh()} = {self.view()}")

    def expression(self) -> str:
        return self.random.choices(*zip(*EXPRESSIONS, strict=True))[0](self)

    def unary(self) -> str:
        name = self.tensor()
        return f"{name}.{self.random.choice(UNARY)}()"

    def activation(self) -> str:
        return self.random.choice(FLOAT_FUNCTIONS).format(self.floating())

    def binary(self) -> str:
        a = self.tensor()
        b = self.like(a)
        op = self.random.choice(BINARY[:10] if self.random.random() < 0.6 else BINARY)
        return self.random.choice([f"torch.{op}({a}, {b})"] * 3 + [f"torch.{op}({b}, {a})"])

    def chain(self) -> str:
        a = self.floating()
        b, c = self.like(a), self.like(a)
        return self.random.choice([
            f"({a} * {b} + {c}).relu()", f"({a} - {b}).square().mean()", f"({a} + {self.number()}) / ({b}.abs() + 1)",
            f"({a} - {a}.mean(-1, keepdim=True)) / ({a}.var(-1, keepdim=True) + 1e-5).sqrt()",
            f"torch.addcmul({a}, {b}, {c}, value={self.number()})", f"torch.addcdiv({a}, {b}, {c}, value=0.5)",
            f"torch.lerp({a}, {b}, {self.number()})", f"torch.where({a} > {b}, {b}, {c})",
            f"({a} > 0).to({b}.dtype) * {b}", f"{a} * torch.tanh(F.softplus({b}))",
            f"({a}.exp() / {a}.exp().sum(-1, keepdim=True)) * {b}", f"torch.where({a} > 0, {b}, {self.number()})",
        ])  # fmt: skip

    def scalar(self) -> str:
        a, number = self.tensor(), self.number()
        return self.random.choice([
            f"{a} + {number}", f"{number} - {a}", f"{a} * {number}", f"{a} / {number}", f"{number} / {a}", f"{a} ** 2",
            f"{a} ** {number}", f"{a} > {number}", f"{a}.clamp({number}, 2)", f"{a}.clamp(min={number})", f"{a} // {number}",
            f"{a} % {number}", f"{a} == {number}", f"torch.add({a}, {a}, alpha={number})", f"{a}.masked_fill({a} > {number}, 0)",
            f"-{a}", f"{a} * 1.0", f"{number} ** {a}",
        ])  # fmt: skip

    def reduction(self) -> str:
        name, op = self.tensor(), self.random.choice(REDUCTIONS[:9] if self.random.random() < 0.6 else REDUCTIONS)
        keep = self.random.choice(["", "", ", keepdim=True"])
        if op in ("cumsum", "cumprod", "softmax", "log_softmax", "sort"):
            keep = ""
        end = "[0]" if op in ("max", "min", "sort", "median") else ""
        way = self.random.random()
        if way < 0.3 and op not in ("cumsum", "cumprod", "softmax", "log_softmax", "logsumexp", "sort"):
            return f"{name}.{op}()"
        if way < 0.5 and op in ("sum", "mean", "amax", "amin", "var", "std", "logsumexp", "norm"):
            n = self.names[name].dim()
            dims = tuple(sorted(self.random.sample(range(n), self.random.randint(0, n))))
            return f"{name}.{op}(dim={dims}{keep})"
        return f"{name}.{op}(dim={self.dim(name)}{keep}){end}"

    def product(self) -> str:
        a = self.tensor(lambda t: t.is_floating_point() and t.dim() >= 1)
        A = self.names[a]
        if not A.dim():
            return f"{a} * {a}"
        inner, dtype = A.shape[-1], A.dtype
        b = self.tensor(lambda t: t.dtype is dtype and t.dim() >= 1 and (t.shape[-2 if t.dim() > 1 else -1] == inner))
        c = self.tensor(lambda t: t.dtype is dtype and t.dim() >= 1 and t.shape[-1] == inner)
        bias = self.tensor(lambda t: t.dtype is dtype and t.dim() <= 1)
        return self.random.choice([
            f"{a} @ {b}", f"torch.matmul({a}, {b})", f"{a} @ {c}.mT", f"{a} @ {c}.t()", f"{a}.mT @ {a}", f"{a} @ {a}.mT",
            f"F.linear({a}, {c})", f"F.linear({a}, {c}, {bias})", f"torch.addmm({bias}, {a}, {b}, beta=0.5, alpha={self.number()})",
            f"torch.bmm({a}, {b})", f"torch.mv({a}, {bias})", f"torch.outer({a}, {bias})", f"torch.einsum('...i,...i->...', {a}, {c})",
            f"torch.dot({a}, {c})", f"(({a} @ {b}) + {bias}).relu()", f"F.linear({a}, {c}).tanh()",
            f"torch.baddbmm({bias}, {a}, {b})",
        ])  # fmt: skip

    def view(self) -> str:
        name = self.tensor(lambda t: t.dim() > 0)
        t = self.names[name]
        d, e = self.dim(name), self.dim(name)
        n = t.shape[d] if t.dim() else 1
        cut = self.random.randint(0, max(n - 1, 0))
        order = list(range(t.dim()))
        self.random.shuffle(order)
        return self.random.choice([
            f"{name}.transpose({d}, {e})", f"{name}.t()", f"{name}.reshape(-1)", f"{name}.view(-1)", f"{name}.unsqueeze({d})",
            f"{name}.squeeze()", f"{name}[{cut}]", f"{name}[{cut}:]", f"{name}[..., {cut}:]", f"{name}[::2]", f"{name}[..., ::2]",
            f"{name}[..., 0]", f"{name}[None]", f"{name}.narrow({d}, {cut}, 1)", f"{name}.select({d}, {cut})",
            f"{name}.permute({tuple(order)})", f"{name}.flatten()", f"{name}.expand(2, {', '.join(['-1'] * t.dim())})",
            f"{name}.diagonal()", f"{name}.unfold({d}, 2, 1)", f"{name}.chunk(2, {d})[-1]", f"{name}.unbind({d})[0]",
            f"{name}.split(2, {d})[0]", f"{name}.detach()", f"{name}.view_as({name})", f"{name}.mT", f"{name}.movedim({d}, 0)",
            f"{name}.view({tuple(t.shape)})", f"{name}.expand_as({name})", f"{name}.contiguous()", f"{name}.swapaxes(0, -1)",
            f"{name}.as_strided((2, 2), (1, 1), 0)", f"{name}.unflatten({d}, (-1, 1))",
        ])  # fmt: skip

    def joining(self) -> str:
        a = self.tensor()
        b = self.tensor(lambda t: t.shape == self.names[a].shape)
        return self.random.choice([
            f"torch.cat([{a}, {b}], {self.dim(a)})", f"torch.stack([{a}, {b}], {self.dim(a)})", f"torch.cat([{a}, {a}, {b}])",
            f"{a}.repeat(2, {', '.join(['1'] * max(self.names[a].dim() - 1, 0)) or '1'})", f"torch.tril({a})",
            f"F.pad({a}, (1, 1))", f"{a}.flip(0)", f"{a}.roll(1, 0)", f"torch.broadcast_tensors({a}, {b})[0]",
        ])  # fmt: skip

    def indexed(self) -> str:
        name = self.tensor(lambda t: t.dim() > 0)
        t = self.names[name]
        n = t.shape[0] if t.dim() else 1
        rows = [
            self.random.randint(-n, n) if self.random.random() < 0.1 else self.random.randint(0, max(n - 1, 0)) for _ in range(3)
        ]
        mask = self.tensor(lambda m: m.dtype is torch.bool and m.shape == t.shape)
        # What may refuse its values is looked at within the statement: it fails here in every mode.
        return self.random.choice([
            f"look({name}[torch.tensor({rows})])", f"look({name}[{rows}])", f"look({name}[{name} > 0])", f"look({name}[{mask}])",
            f"look({name}.index_select(0, torch.tensor({rows})))", f"look({name}.gather(0, ({name} > 0).long()))",
            f"look(F.embedding(torch.tensor({rows}), {name}))", f"look({name}.take(torch.tensor({rows})))",
            f"{name}.masked_fill({mask}, {self.number()})", f"{name}.scatter_add(0, ({name} > 0).long(), {name})",
        ])  # fmt: skip

    def cast(self) -> str:
        name, dtype = self.tensor(), self.random.choice(DTYPES)
        if not self.names[name].is_floating_point() or "float" in dtype:
            return f"{name}.to({dtype})"
        return f"{name}.nan_to_num().clamp(0, 100).to({dtype})"  # NumPy and the CPU differ about what does not fit

    def layer(self) -> str:
        """Layers that look at neighbours, and those that normalise."""
        a = self.tensor(lambda t: t.is_floating_point() and t.dim() == 3)
        A = self.names[a]
        channels, dtype = A.shape[1] if A.dim() == 3 else 3, A.dtype
        self.numbers += 2
        w, b = f"weights({self.numbers}, (2, {channels}, 2), {dtype})", f"data({self.numbers - 1}, (2,), {dtype})"
        q = self.tensor(lambda t: t.shape == A.shape and t.dtype is dtype)
        return self.random.choice([
            f"F.conv1d({a}, {w}, {b})", f"F.conv1d({a}, {w}, padding=1, stride=2)", f"F.conv2d({a}[:, :, None], {w}[:, :, None])",
            f"F.conv_transpose1d({a}, {w}.transpose(0, 1))", f"F.max_pool1d({a}, 2)", f"F.avg_pool1d({a}, 2)",
            f"F.batch_norm({a}, None, None, training=True)", f"F.group_norm({a}, 1)", f"F.instance_norm({a})",
            f"F.scaled_dot_product_attention({a}, {q}, {a})", f"F.conv1d({a}, {w}[:1].requires_grad_()).relu()",
            f"F.interpolate({a}, scale_factor=2)", f"F.adaptive_avg_pool1d({a}, 1)",
        ])  # fmt: skip

    def loss(self) -> str:
        a = self.floating()
        shape, dtype = self.names[a].shape, self.names[a].dtype
        b = self.tensor(lambda t: t.shape == shape and t.dtype is dtype)
        classes = f"torch.zeros({shape[0] if shape else 1}, dtype=torch.int64)"
        return self.random.choice([
            f"F.mse_loss({a}, {b})", f"F.l1_loss({a}, {b})", f"F.smooth_l1_loss({a}, {b})", f"F.cross_entropy({a}, {classes})",
            f"F.layer_norm({a}, {tuple(shape[-1:])})", f"F.normalize({a}, dim=-1)", f"F.dropout({a}, 0.5)",
            f"F.binary_cross_entropy_with_logits({a}, {b})", f"F.kl_div({a}, {b}, reduction='batchmean')",
            f"F.huber_loss({a}, {b}, reduction='sum')", f"F.mse_loss({a}, {b}, reduction='none')",
        ])  # fmt: skip

    def write(self) -> None:
        name = self.tensor()
        other = self.like(name) if self.random.random() < 0.7 else self.number()
        if other not in self.names and self.random.random() < 0.3:
            statement = f"{name}.fill_({other})"
        elif self.random.random() < 0.25:
            statement = f"{name}.{self.random.choice(INPLACE_UNARY)}()"
        else:
            statement = self.random.choice(INPLACE_BINARY).format(name, other)
        if self.random.random() < 0.35:
            statement = f"with torch.no_grad():\n    {statement}"
        self.attempt(statement)

    def write_part(self) -> None:
        name = self.tensor(lambda t: t.dim() > 0)
        t = self.names[name]
        n = t.shape[0] if t.dim() else 1
        at = self.random.randint(0, max(n - 1, 0))
        part = self.random.choice([
            f"{at}", f"{at}:", f"..., {self.random.choice([0, -1])}", "::2", "...", f"{name} > 0", f"torch.tensor([0, {at}])",
            f"[{at}]", "None, 0", "..., 1:", ":, 0", f"torch.tensor({at})", f"np.array({at}), ...", "..., torch.tensor(-1)",
            f"torch.arange({n})[-1]",
        ])  # fmt: skip
        value = self.random.choice(
            [self.number(), f"{name}[{part}] * 2", f"{name}[{part}].flip(0)", self.like(name), f"{name}.sum()"]
        )
        statement = self.random.choice([
            f"{name}[{part}] = {value}", f"{name}[{part}] += {value}", f"{name}[{part}] = {value}", f"{name}[{part}].zero_()",
            f"{name}.T.mul_({self.number()})", f"{name}.view(-1)[{at}:].add_({self.number()})",
            f"torch.add({name}, {self.like(name)}, out={self.like(name)})", f"torch.mul({name}, {name}, out={name}[...])",
            f"torch.sum({name}, 0, out={self.tensor()})", f"torch.exp({name}, out={self.like(name)})",
            f"{name}.scatter_(0, ({name} > 0).long(), {self.number()})", f"{name}.index_add_(0, torch.tensor([{at}, 0]), {name}[:2])",
            f"{name}.copy_({name}.flip(0))", f"{name}[1:] = {name}[:-1]", f"{name}[:-1].add_({name}[1:])",
            f"{name}.diagonal().fill_({self.number()})", f"{name}.index_copy_(0, torch.tensor([{at}]), {name}[:1])",
        ])  # fmt: skip
        if self.random.random() < 0.35:
            statement = f"with torch.no_grad():\n    {statement}"
        self.attempt(statement)

    def write_seen(self) -> None:
        """Writes to the memory of pairs of numbers, seen as complex ones or overlapping, and reads them in another such way."""
        kinds = (torch.float32, torch.float64)
        name = self.tensor(lambda t: t.dtype in kinds and t.numel() > 1 and t.numel() % 2 == 0 and t.is_contiguous())
        self.numbers += 1
        pairs, factor = f"torch.view_as_complex({name}.view(-1, 2))", f"num({self.numbers})"
        seen = [f"{pairs}{part}" for part in ("", ".conj()", "[:1]", "[::2].conj()", ".conj()[1:]", "[torch.tensor(0)].conj()")]
        real = [f"{pairs}{part}" for part in (".real", ".imag", ".conj().imag", "[1:].real", ".imag[:1]", ".conj().imag[::2]")]
        windows = [f"{name}.view(-1).unfold(0, 2, 1)", f"{name}.expand(2, {', '.join(['-1'] * self.names[name].dim())})",
                   f"{name}.view(-1)[:1].expand(3)", f"{name}.view(-1).as_strided((2, 2), (1, 1))", f"torch.broadcast_to({name}, (2, *{name}.shape))",
                   f"torch.meshgrid({name}.view(-1), {name}.view(-1)[:2], indexing='ij')[0]"]  # fmt: skip
        early = self.fresh()
        self.attempt(f"{early} = {self.random.choice([*real, *windows])}")
        statement = self.random.choice([
            f"{self.random.choice(seen)}.mul_({self.random.choice(['1j', factor, '0.5 - 0.5j'])})",
            f"{self.random.choice(real)}.{self.random.choice(['mul_', 'add_', 'sub_', 'fill_'])}({factor})",
            f"{self.random.choice(real)}[...] = {factor}", f"{self.random.choice(seen)}.zero_()", f"{self.random.choice(real)}.neg_()",
            f"{pairs}.imag = {factor}", f"{pairs}.copy_({pairs}.conj() * 1)", f"{name}.mul_({factor})", f"{self.random.choice(real)}.relu_()",
        ])  # fmt: skip
        if self.random.random() < 0.25:
            statement = f"with torch.no_grad():\n    {statement}"
        self.attempt(statement)
        self.attempt(f"{self.fresh()} = {self.random.choice([early, *real, *windows, f'torch.view_as_real({pairs} * 1j)'])} * 1")

    def share(self) -> None:
        arrays = [n for n, a in self.names.items() if n not in self.builtins and isinstance(a, np.ndarray)]
        self.numbers += 1
        if not arrays or self.random.random() < 0.4:
            shape = self.random.choice(SHAPES)
            source = self.random.choice([
                f"{self.tensor()}.numpy()", f"{self.tensor()}.detach().numpy()", f"{self.tensor()}.detach().numpy()",
                f"np.asarray({self.tensor(lambda t: not t.requires_grad)})", f"array({self.numbers}, {shape}, {self.random.choice(DTYPES)})",
            ])  # fmt: skip
            self.attempt(f"{self.fresh('n')} = {source}")
            return
        a = self.random.choice(arrays)
        self.attempt(self.random.choice([
            f"{self.fresh()} = torch.from_numpy({a})", f"{self.fresh()} = torch.from_numpy({a}[1:])", f"{a}[...] = {self.number()}",
            f"{a} += 1", f"{a}[..., 0] = 3", f"look({a})", f"{self.fresh()} = torch.tensor({a})", f"del {a}",
            f"{self.tensor()}.copy_(torch.from_numpy({a}))", f"{self.fresh()} = torch.as_tensor({a}) * 2",
        ]))  # fmt: skip

    def look(self) -> None:
        name = self.tensor()
        scalar = self.tensor(lambda t: t.numel() == 1)
        self.attempt(self.random.choice([
            f"look({name})", f"look({name}.tolist())", f"look({name}.grad)", f"look({scalar}.item())",
            f"look({name}.stride())", f"look({name}.requires_grad)", f"look({name}._version)", f"look(torch.equal({name}, {self.tensor()}))",
            f"look({name}.is_contiguous())", f"look(bool({scalar}))", f"look(len({name}))", f"look({name}.nonzero())",
        ]))  # fmt: skip

    def branch(self) -> None:
        a, new = self.tensor(), self.fresh()
        b = self.like(a)
        self.attempt(
            f"if {a}.sum() > {self.random.choice(['0', '1'])}:\n    {new} = {a} + {b}\nelse:\n    {new} = {a} * {self.number()}"
        )

    def forget(self) -> None:
        found = self.tensors()
        if len(found) > 3:
            self.attempt(f"del {self.random.choice(found)}")

    def backward(self) -> None:
        y = self.tensor(lambda t: t.requires_grad and not _is_leaf(t))
        if not self.names[y].requires_grad:
            return
        leaf = self.tensor(lambda t: t.requires_grad and t.is_leaf)
        retain = self.random.choice(["", "retain_graph=True"])
        self.attempt(self.random.choice([
            f"{y}.sum().backward({retain})", f"({y} * {y}).sum().backward({retain})", f"{y}.backward(torch.ones_like({y}))",
            f"{y}.mean().backward({retain})", f"{leaf}.grad = None", f"{leaf}.grad.zero_()",
            f"with torch.no_grad():\n    {leaf} -= {self.number()} * {leaf}.grad",
            f"{self.fresh()}, = torch.autograd.grad(({y} ** 2).sum(), {leaf}, create_graph=True)",
            f"{self.fresh()}, = torch.autograd.grad({y}.sum(), {leaf}, retain_graph=True, allow_unused=True)",
            f"{y}.retain_grad()", f"{self.fresh()} = {leaf}.grad", f"{y}.register_hook(lambda g: g * 2)",
        ]))  # fmt: skip

    def repeat(self) -> None:
        """Some statements that have run before, repeated: their plans are used again."""
        lines = [s for s in self.program[-8:] if isinstance(s, str) and not s.startswith("del")]
        body = tuple(self.random.sample(lines, min(len(lines), self.random.randint(1, 5))))
        before = dict(self.names)
        good = all([self.run(s) for _ in range(3) for s in body])
        if good:
            self.program.append(Repeat(3, body))
        else:
            self.names.clear()
            self.names.update(before)

    def say(self, maker: Callable[[Generator], str | None]) -> None:
        """A statement of :mod:`tests.fuzz.layers`."""
        statement = maker(self)
        if statement is not None:
            self.attempt(statement)

    def update(self) -> None:
        self.say(overlaps.update)

    def caught(self) -> None:
        self.say(overlaps.caught)

    def course(self) -> None:
        self.say(layers.course)

    def second_order(self) -> None:
        if self.tensors(lambda t: t.requires_grad and t.is_leaf):
            self.say(layers.second_order)

    def make_layer(self) -> None:
        maker = self.random.choice([layers.convolution, layers.pooling, layers.norm, layers.attention, layers.loss, layers.indexed])
        expression = maker(self)
        if expression is not None:
            self.attempt(f"{self.fresh()} = {expression}")

    def network(self) -> None:
        """Some steps of training a network."""
        setup, step = layers.network(self)
        if all([self.run(s) for s in setup]) and all([self.run(s) for _ in range(4) for s in step]):
            self.program += setup
            self.program.append(Repeat(4, tuple(step)))

    def train(self) -> None:
        """A training loop of a few tensors."""
        self.numbers += 6
        k = self.numbers
        w, b, v, x, y, o = (self.fresh(p) for p in ("w", "b", "v", "x", "y", "o"))
        optimizer = self.random.choice([
            "SGD([{0}], lr=0.0625)", "SGD([{0}], lr=0.1, momentum=0.9)", "SGD([{0}], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)",
            "Adam([{0}], lr=0.01)", "AdamW([{0}], lr=0.01)", "RMSprop([{0}], lr=0.01)", "Adagrad([{0}], lr=0.01)",
        ]).format(f"{w}, {b}, {v}")  # fmt: skip
        activation = self.random.choice(["relu", "tanh", "sigmoid"])
        loss = self.random.choice([
            f"F.mse_loss(F.linear(({x} @ {w} + {b}).{activation}(), {v}), {y})",
            f"F.cross_entropy(F.linear(F.linear({x}, {w}.t(), {b}).{activation}(), {v}), ({y} > 0).long()[:, 0])",
            f"(F.linear(F.layer_norm({x} @ {w} + {b}, (4,)), {v}).softmax(-1) * {y}).sum()",
        ])  # fmt: skip
        setup = [
            f"{x} = data({k}, (5, 3))", f"{y} = data({k - 1}, (5, 2))", f"{w} = data({k - 2}, (3, 4)).requires_grad_()",
            f"{b} = data({k - 3}, (4,)).requires_grad_()", f"{v} = data({k - 4}, (2, 4)).requires_grad_()",
            f"{o} = torch.optim.{optimizer}",
        ]  # fmt: skip
        step = [
            f"{o}.zero_grad({self.random.choice(['', 'set_to_none=False'])})", f"l{k} = {loss}", f"l{k}.backward()",
            f"{o}.step()", self.random.choice([f"look(l{k})", f"look({w})", f"{o}.param_groups[0]['lr'] *= 0.75",
                                               f"with torch.no_grad():\n    {w}.clamp_(-1, 1)", f"look(l{k}.item())"]),
        ]  # fmt: skip
        if self.random.random() < 0.3:
            step.insert(3, f"torch.nn.utils.clip_grad_norm_([{w}, {b}, {v}], 1.0)")
        if all([self.run(s) for s in setup]) and all([self.run(s) for _ in range(4) for s in step]):
            self.program += setup
            self.program.append(Repeat(4, tuple(step)))


EXPRESSIONS = [
    (Generator.unary, 12), (Generator.activation, 5), (Generator.binary, 16), (Generator.chain, 10), (Generator.scalar, 12),
    (Generator.reduction, 14), (Generator.product, 9), (Generator.view, 16), (Generator.joining, 5), (Generator.indexed, 5),
    (Generator.cast, 5), (Generator.loss, 5), (Generator.layer, 4),
]  # fmt: skip
MAKERS = [
    (Generator.make_tensor, 10), (Generator.make_expression, 55), (Generator.write, 10), (Generator.write_part, 9),
    (Generator.share, 6), (Generator.look, 5), (Generator.branch, 3), (Generator.forget, 4), (Generator.backward, 9),
    (Generator.repeat, 3), (Generator.train, 1), (Generator.make_layer, 8), (Generator.course, 2), (Generator.second_order, 2),
    (Generator.network, 1), (Generator.update, 4), (Generator.caught, 3), (Generator.write_seen, 3),
]  # fmt: skip


_REFUSING = re.compile(r"//|%|\*\*|pow|floor_divide|remainder|fmod|cross_entropy|index_|scatter|gather|embedding|take|\[torch|\[\[")
"""Statements that may refuse values. They are followed by ``sync()``, so that they fail here in every mode."""

_ONE_BY_ONE = re.compile(r"split|chunk|unbind|tolist|for ")
"""Statements that take Python as long as a large tensor has rows or elements."""

WRITERS = [
    (Generator.make_tensor, 8), (Generator.make_expression, 18), (Generator.make_view, 14), (Generator.write, 16),
    (Generator.write_part, 16), (Generator.share, 10), (Generator.look, 8), (Generator.branch, 2), (Generator.forget, 6),
    (Generator.backward, 6), (Generator.repeat, 6), (Generator.make_layer, 4), (Generator.course, 2),
    (Generator.update, 8), (Generator.caught, 6), (Generator.write_seen, 12),
]  # fmt: skip


LAYERS = [
    (Generator.make_tensor, 10), (Generator.make_expression, 14), (Generator.make_layer, 40), (Generator.make_view, 5),
    (Generator.write, 5), (Generator.look, 5), (Generator.backward, 10), (Generator.second_order, 5), (Generator.repeat, 5),
    (Generator.network, 6), (Generator.course, 3), (Generator.forget, 2),
]  # fmt: skip


def _broadcasts(a, b) -> bool:
    return all(m == n or m == 1 or n == 1 for m, n in zip(reversed(a), reversed(b), strict=False))


def random_program(seed: int) -> Program:
    """The program of a seed."""
    from tests.fuzz.modes import immediately

    with immediately(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        generator = Generator(seed)
        return generator.generate(generator.random.choice([6, 12, 20, 30]))
