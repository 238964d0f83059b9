"""Operators of users: the same program on both, with ``torch.library`` and ``torch.ops``."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

BOTH = (torch, flambeau)


def both(program, *args):
    """What ``program(module, *args)`` returns, or the error it raises, under both, in plain words."""
    return [plain(lambda t=t: program(t, *args)) for t in BOTH]


def plain(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return shown(call())
        except Exception as error:
            return type(error).__name__, words(str(error))


def words(message: str) -> str:
    """A message without what only C++ knows: where it was registered, casts, lists of kernels."""
    message = re.split(
        r"Cast error details|  Previous registration|Duplicate registration|If you are a Facebook|You may have", message
    )[0]
    message = re.sub(r"<module .*?>|__main__|[\w.]*test_library", "M", message)
    return message.strip()


def shown(value):
    if isinstance(value, (tuple, list)):
        return [shown(v) for v in value]
    if hasattr(value, "detach"):
        return value.detach().tolist(), str(value.dtype), value.requires_grad
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


SCHEMAS = [
    "f(Tensor x) -> Tensor",
    "f.out(Tensor x, *, Tensor(a!) out) -> Tensor(a!)",
    "f(Tensor(a) self, int[2] size=1, float eps=1e-05, bool flag=True, str s='hi') -> (Tensor(a), Tensor)",
    "f(Tensor[] xs, Tensor?[] ys, int? n=None, float[]? w=None, ScalarType? dtype=None) -> Tensor[]",
    "f(Scalar a=1, Scalar? b=None, SymInt n=3, SymInt[] m=[1, 2], Device? device=None) -> ()",
    "f(Tensor(a!)[] xs, int[3] k=0, float p=0.1, float q=2.0, MemoryFormat? f=None) -> (Tensor out, int count)",
    "f(Tensor x, ScalarType d=long, Layout? l=None, Generator? g=None, bool[3] mask=[True, False, True]) -> Tensor",
    "f(int a=-1, float b=-2.5) -> float",
    "f(Tensor(a) x, Tensor(c -> *) y) -> Tensor(a)",
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_schemas(schema):
    def program(t):
        with t.library._scoped_library("parity_schemas", "FRAGMENT") as lib:
            lib.define(schema)
            found = getattr(t.ops.parity_schemas.f, "out" if "f.out" in schema else "default")._schema
            arguments = [
                (a.name, str(a.type), a.kwarg_only, a.has_default_value(), str(a.default_value), a.N, a.alias_info is not None)
                for a in found.arguments
            ]
            return (
                str(found),
                arguments,
                [(r.name, str(r.type)) for r in found.returns],
                found.name,
                found.overload_name,
                found.is_mutable,
            )

    expected, found = both(program)
    assert found == expected


def scale(t, define):
    """The operator ``parity::scale`` of NumPy's arithmetic."""
    lib = t.library.Library("parity_ops", "FRAGMENT")
    lib.define("scale(Tensor x, float by=2.0, int[2] add=1, *, str mode='plain') -> Tensor")
    if define:
        lib.impl("scale", lambda x, by=2.0, add=(1, 1), *, mode="plain": x * by + sum(add), define)
    return lib, t.ops.parity_ops.scale


CALLS = {
    "positional": lambda t, f: f(t.ones(2)),
    "more": lambda t, f: f(t.ones(2), 3.0, [4, 5]),
    "one for all": lambda t, f: f(t.ones(2), 3, 4),
    "keywords": lambda t, f: f(x=t.ones(2), mode="x", by=1),
    "missing": lambda t, f: f(),
    "too many": lambda t, f: f(t.ones(2), 1.0, [1, 2], "plain"),
    "unknown": lambda t, f: f(t.ones(2), nothing=1),
    "no tensor": lambda t, f: f(3),
    "no number": lambda t, f: f(t.ones(2), "x"),
    "names": lambda t, f: [
        str(f),
        repr(f),
        str(f.default),
        repr(f.default),
        f.default.name(),
        f.__name__,
        f.default.__name__,
        f.overloads(),
    ],
    "no overload": lambda t, f: f.other,
    "no operator": lambda t, f: t.ops.parity_ops.nothing,
    "gradient": lambda t, f: f(t.ones(2, requires_grad=True)),
    "without data": lambda t, f: f(t.ones(2, device="meta")),
    "again": lambda t, f: t.library.Library("parity_ops", "FRAGMENT").define("scale(Tensor x) -> Tensor"),
}


@pytest.mark.parametrize("key", ["CPU", "CompositeExplicitAutograd", "CompositeImplicitAutograd", ""])
@pytest.mark.parametrize("call", [c for c in CALLS if c != "without data"])
def test_calls(call, key):
    def program(t):
        lib, op = scale(t, key)
        try:
            return CALLS[call](t, op)
        finally:
            lib._destroy()

    expected, found = both(program)
    if isinstance(expected, tuple) and expected[0] == "NotImplementedError":
        expected, found = expected[0], found[0]  # the list of kernels is long there
    if call in ("no number", "no tensor"):
        expected, found = [(e[0], e[1].partition("\nPosition")[0]) for e in (expected, found)]
    assert found == expected


def custom(t, **settings):
    def numpy_cube(x: t.Tensor, k: float = 1.0, *, flag: bool = False) -> t.Tensor:
        return t.from_numpy(np.asarray(k * x.detach().numpy() ** 3, dtype=np.float32))

    numpy_cube.__annotations__ = {"x": t.Tensor, "k": float, "flag": bool, "return": t.Tensor}
    return t.library.custom_op("parity_custom::cube", numpy_cube, mutates_args=(), **settings)


def test_custom_op_and_its_gradient():
    def program(t):
        op = custom(t)
        x = t.tensor([1.0, 2.0], requires_grad=True)
        before = plain(lambda: op(x).sum().backward())

        def keep(ctx, inputs, keyword_only_inputs, output):
            ctx.save_for_backward(inputs[0])
            ctx.k = inputs[1]
            ctx.needed = ctx.needs_input_grad

        op.register_autograd(lambda ctx, g: (3 * ctx.k * ctx.saved_tensors[0] ** 2 * g, None), setup_context=keep)
        y = op(x, 2.0)
        (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
        (h,) = t.autograd.grad(g.sum(), x)
        op.register_fake(lambda x, k=1.0, *, flag=False: t.empty_like(x))
        fake = op(t.ones(3, device="meta"))
        return (
            before,
            y,
            type(y.grad_fn).__name__,
            g,
            h,
            repr(op),
            str(op._opoverload._schema),
            fake.shape,
            str(fake.device),
            op._qualname,
        )

    expected, found = both(program)
    assert found == expected


def test_lists_and_several_results():
    def program(t):
        def split(xs: list[t.Tensor], n: int) -> tuple[t.Tensor, list[t.Tensor]]:
            return xs[0] * n, [x + n for x in xs]

        split.__annotations__ = {"xs": list[t.Tensor], "n": int, "return": tuple[t.Tensor, list[t.Tensor]]}
        op = t.library.custom_op("parity_lists::split", split, mutates_args=())

        def keep(ctx, inputs, output):
            ctx.count, ctx.n = len(inputs[0]), inputs[1]

        def back(ctx, g, gs):
            return [gs[i] + (g * ctx.n if i == 0 else 0) for i in range(ctx.count)], None

        op.register_autograd(back, setup_context=keep)
        xs = [t.ones(2, requires_grad=True), t.full((2,), 3.0, requires_grad=True)]
        a, bs = op(xs, 3)
        (a.sum() + (bs[0] * 5).sum() + (bs[1] * 7).sum()).backward()
        return a, bs, [x.grad for x in xs], str(op._opoverload._schema)

    expected, found = both(program)
    assert found == expected


def test_mutation():
    def program(t):
        def add_one(x: t.Tensor, n: int) -> None:
            x.add_(n)

        add_one.__annotations__ = {"x": t.Tensor, "n": int, "return": None}
        op = t.library.custom_op("parity_mutation::add_one", add_one, mutates_args=("x",))
        x = t.zeros(2)
        return op(x, 4), x, str(op._opoverload._schema), plain(lambda: op.register_autograd(lambda ctx, g: g))

    expected, found = both(program)
    assert found == expected


def test_aliases_are_refused():
    def program(t):
        def same(x: t.Tensor) -> t.Tensor:
            return x

        same.__annotations__ = {"x": t.Tensor, "return": t.Tensor}
        return t.library.custom_op("parity_alias::same", same, mutates_args=())(t.ones(2))

    expected, found = both(program)
    assert found[0] == expected[0]
    assert found[1].partition("The output")[2] == expected[1].partition("The output")[2]


@pytest.mark.parametrize("case", range(6))
def test_inferred_schemas(case):
    def program(t):
        T = t.Tensor
        annotations = [
            {"a": T, "b": T | None, "c": list[T], "d": int, "e": float, "f": bool, "g": str, "return": T},
            {"a": t.dtype, "b": t.device, "c": int | float | bool, "d": list[int], "e": list[float] | None, "return": tuple[T, T]},
            {"a": T, "b": list[T], "return": None},
            {"a": T, "b": int | None, "return": list[T]},
            {"a": dict, "return": T},
            {"a": T, "return": dict},
        ][case]
        names = [n for n in annotations if n != "return"]
        scope: dict = {}
        exec(f"def f({', '.join(names)}): ...", scope)
        import inspect

        f = scope["f"]
        f.__annotations__ = annotations
        parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotations[n]) for n in names]
        f.__signature__ = inspect.Signature(parameters, return_annotation=annotations["return"])
        return t.library.infer_schema(f, mutates_args=()), t.library.infer_schema(f, mutates_args="unknown")

    expected, found = both(program)
    assert found[0] == expected[0] if isinstance(expected, tuple) else found == expected


def test_autocast_and_autograd_keys():
    def program(t):
        seen = []
        lib = t.library.Library("parity_keys", "DEF")
        lib.define("f(Tensor x) -> Tensor")
        lib.impl("f", lambda x: (seen.append("cpu"), x * 2)[1], "CPU")
        op = t.ops.parity_keys.f

        def below(x):
            seen.append("autograd")
            with t._C._AutoDispatchBelowAutograd():
                return op(x)

        lib.impl("f", below, "Autograd")

        def cast(x):
            seen.append("autocast")
            with t._C._ExcludeDispatchKeyGuard(t._C.DispatchKeySet(t._C.DispatchKey.AutocastCPU)):
                return op(x.bfloat16())

        lib.impl("f", cast, "AutocastCPU")
        first = op(t.ones(1))
        with t.autocast("cpu"):
            second = op(t.ones(1))
        t.library.register_kernel("parity_keys::f", "cuda", lambda x: x)
        found = seen, first, second, op.default.has_kernel_for_dispatch_key(t._C.DispatchKey.CPU)
        lib._destroy()
        return found, plain(lambda: t.ops.parity_keys.f)

    expected, found = both(program)
    assert found[0] == expected[0]


def test_vmap_rule():
    def program(t):
        op = custom(t)
        xs = t.arange(6.0).reshape(2, 3)
        each = t.vmap(lambda x: op(x, 3.0), in_dims=1)(xs)  # sample by sample

        def rule(info, in_dims, x, k=1.0, *, flag=False):
            return t.from_numpy(np.asarray(k * x.detach().numpy() ** 3, dtype=np.float32)), in_dims[0]

        op.register_vmap(rule)
        return each, t.vmap(lambda x: op(x, 3.0))(xs), t.vmap(op, in_dims=1, out_dims=0)(xs)

    expected, found = both(program)
    assert found == expected


def test_classes_and_modes_are_asked():
    def program(t):
        lib, op = scale(t, "CPU")

        class Sub(t.Tensor):
            pass

        class Own:
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                return str(func), [c.__name__ for c in types], len(args), kwargs

        class Mode(t.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                return "mode", str(func)

        found = [type(op(t.ones(2).as_subclass(Sub))).__name__, op(Own(), 2.0, mode="x"), op.default(Own())]
        with Mode():
            found.append(op(t.ones(2)))
        lib._destroy()
        return found

    expected, found = both(program)
    assert found == expected


def test_wrong_libraries():
    calls = [
        lambda t: t.library.Library("x", "OTHER"),
        lambda t: t.library.Library("prim", "DEF"),
        lambda t: t.library.Library("aten", "DEF"),
        lambda t: t.library.Library("parity_wrong", "FRAGMENT").impl("other::f", lambda x: x, "CPU"),
        lambda t: t.library.Library("parity_wrong", "FRAGMENT").impl(3, lambda x: x, "CPU"),
        lambda t: t.library.define("no_namespace", "(Tensor x) -> Tensor"),
        lambda t: t.library.define("parity_wrong::f", "Tensor x"),
        lambda t: t.library.register_fake("parity_wrong::nothing", lambda x: x),
        lambda t: t.ops.load_library("/nowhere.so"),
    ]
    for call in calls:
        expected, found = both(call)
        assert found[0] == expected[0], (found, expected)
        assert found[1].split()[:4] == expected[1].split()[:4]
