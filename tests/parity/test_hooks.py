"""Hooks of tensors, of entries on the tape and of modules, and retained gradients: when they run and what they get, in all
ways of asking for gradients, beside PyTorch."""

from __future__ import annotations

import itertools
import warnings

import pytest

import flambeau

torch = pytest.importorskip("torch")

GRAPHS = {
    "chain": "a = leaf(); b = a * 2; c = b.sin(); out = c.sum()",
    "written": "a = leaf(); b = a * 2; b.mul_(3); c = b * b; out = c.sum()",
    "written through a view": "a = leaf(); b = a * 2; c = b[1:]; c.mul_(3); out = b.sum() + c.sum()",
    "view of what is written": "a = leaf(); b = a * 2; c = b[1:]; b.mul_(3); out = c.sum()",
    "two outputs": "a = leaf(); b, c = torch.var_mean(a); out = b + c",
    "one of two outputs": "a = leaf(); b, c = a.split([1, 2]); out = c.sum()",
    "used twice": "a = leaf(); b = a.exp(); c = a + b; out = (b * c).sum()",
}
PLACES = ("a", "b", "c")
ASKED = {
    "backward": "out.backward()",
    "backward twice": "out.backward(retain_graph=True); out.backward()",
    "backward for a": "out.backward(inputs=[a])",
    "backward for b": "out.backward(inputs=[b])",
    "backward for all": "out.backward(inputs=[a, b, c])",
    "grad of a": "got = torch.autograd.grad(out, a)",
    "grad of c": "got = torch.autograd.grad(out, c)",
    "grad of all": "got = torch.autograd.grad(out, (a, b, c), allow_unused=True)",
}


def entry(t):
    """Its entry on the tape, that of a leaf too."""
    return t.grad_fn if t.grad_fn is not None else t.view_as(t).grad_fn.next_functions[0][0]


def events(library, graph: str, hook: str, when: str, ask: str) -> list:
    log: list = []
    scope = {"torch": library, "leaf": lambda: library.tensor([0.5, 1.0, 2.0], requires_grad=True)}

    def said(what):
        return lambda *gs: log.append((what, [numbers(g) for g in gs]))

    def numbers(g):
        if isinstance(g, (tuple, list)):
            return [numbers(x) for x in g]
        return None if g is None else [round(x, 3) for x in g.reshape(-1).tolist()]

    def register() -> None:
        for place in PLACES:
            t = scope.get(place)
            if t is None or f"{place} registered" in scope:
                continue
            scope[f"{place} registered"] = True
            if hook == "tensor":
                t.register_hook(said(place))
            elif hook == "retain":
                t.retain_grad()
            elif hook == "post":
                entry(t).register_hook(said(place))
            elif hook == "pre":
                entry(t).register_prehook(said(place))
            elif hook == "accumulated" and t.is_leaf:
                t.register_post_accumulate_grad_hook(lambda x, place=place: log.append((place, numbers(x.grad))))

    try:
        for statement in graph.split("; "):
            exec(statement, scope)
            if when == "early":
                register()
        register()
        exec(ask, scope)
    except RuntimeError as error:
        log.append(str(error)[:40])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log += [numbers(scope[p].grad) for p in PLACES if p in scope] + [numbers(scope.get("got"))]
    return log


CASES = [
    (g, h, w) for g, h, w in itertools.product(GRAPHS, ("tensor", "retain", "post", "pre", "accumulated"), ("early", "late"))
    if not (h == "accumulated" and w == "early")
]  # fmt: skip


@pytest.mark.parametrize(("graph", "hook", "when"), CASES, ids=lambda x: x)
def test_when_hooks_run(graph, hook, when):
    for name, ask in ASKED.items():
        found, expected = [events(library, GRAPHS[graph], hook, when, ask) for library in (flambeau, torch)]
        assert found == expected, name


@pytest.mark.parametrize("mode", ["all", "any"])
@pytest.mark.parametrize("wanted", list(itertools.chain.from_iterable(itertools.combinations(range(4), n) for n in (1, 2, 3))))
def test_hooks_of_several_tensors(mode, wanted):
    found = []
    for library in (flambeau, torch):
        tensors = [library.tensor([1.0, 2.0], requires_grad=True) for _ in range(4)]
        log: list = []

        def seen(g, log=log):
            log.append([None if x is None else x.tolist() for x in g] if isinstance(g, (list, tuple)) else g.tolist())

        handle = library.autograd.graph.register_multi_grad_hook(tensors, seen, mode=mode)
        out = (tensors[1] * tensors[2] + tensors[0] * 0.5).sum()
        for ask in (dict(inputs=[tensors[i] for i in wanted if i < 3] or [tensors[0]]), {}, {}):
            out.backward(retain_graph=True, **ask)
        handle.remove()
        out.backward()
        found.append(log)
    assert [sorted(map(repr, log)) if mode == "any" else log for log in found[:1]] == [
        sorted(map(repr, log)) if mode == "any" else log for log in found[1:]
    ]


GENERATORS = """
list(g()); next(c); c.send(1); c.send(2)
next(c); c.throw(ValueError("x")); c.close()
next(c); c.send(None); c.close(); is_on()
next(c); c.throw(KeyError("y"))
next(c); c.close(); is_on()
"""


@pytest.mark.parametrize("steps", GENERATORS.strip().split("\n"))
@pytest.mark.parametrize("mode", ["no_grad()", "enable_grad()", "set_grad_enabled(False)", "inference_mode()"])
def test_generators_under_a_mode(mode, steps):
    found = []
    for library in (flambeau, torch):
        log: list = []

        def g(library=library, log=log):
            for _ in range(3):
                try:
                    log.append((yield library.is_grad_enabled()))
                except ValueError:
                    log.append(library.is_grad_enabled())
                except GeneratorExit:
                    log.append(("closed", library.is_grad_enabled()))
                    raise
            return library.is_grad_enabled()

        decorated = eval(f"library.{mode}", {"library": library})(g)
        scope = {"g": decorated, "c": decorated(), "is_on": library.is_grad_enabled}
        for step in steps.split("; "):
            try:
                log.append(eval(step, scope))
            except (StopIteration, KeyError, ValueError) as error:
                log.append(repr(error))
            log.append(library.is_grad_enabled())
        scope["c"].close()
        found.append(log)
    assert found[0] == found[1]


@pytest.mark.parametrize("depth", [10, 60, 3000])
def test_passes_inside_of_passes(depth):
    class Deeper(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x.detach()
            return x - 1

        @staticmethod
        def backward(ctx, g):
            if ctx.x > 0:
                with flambeau.enable_grad():
                    inner = (ctx.x - 1).requires_grad_()
                    Deeper.apply(inner).backward(g)
                return inner.grad + 1
            return g

    x = flambeau.tensor(float(depth), requires_grad=True)
    Deeper.apply(x).backward()
    assert x.grad.item() == depth + 1


def test_an_error_deep_inside_comes_out():
    class Failing(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x.detach()
            return x - 1

        @staticmethod
        def backward(ctx, g):
            if ctx.x <= 0:
                raise LookupError("at the bottom")
            with flambeau.enable_grad():
                Failing.apply((ctx.x - 1).requires_grad_()).backward()
            return g

    for _ in range(2):
        with pytest.raises(LookupError, match="at the bottom"):
            Failing.apply(flambeau.tensor(100.0, requires_grad=True)).backward()
    x = flambeau.tensor(2.0, requires_grad=True)
    (x * x).backward()
    assert x.grad.item() == 4


STRIDED = ["(3, 4)", "(3, 4).t()", "(2, 3, 4).permute(2, 0, 1)", "(2, 3, 4, 5).to(memory_format=torch.channels_last)", "(4, 6)[:, ::2]",
           "(1, 4, 1).transpose(0, 1)", "(3,).expand(2, 3)", "(2, 1, 3).transpose(0, 2)"]  # fmt: skip


def strides(t):
    """Those that matter: where there is but one element, no step is taken."""
    return [s for n, s in zip(t.shape, t.stride(), strict=True) if n > 1]


@pytest.mark.parametrize("shape", STRIDED)
@pytest.mark.parametrize(
    "use", ["x.sum()", "(x * 2).sum()", "x.t().sum() if x.dim() == 2 else (x + x.mean()).sum()", "(x * x).sum()"]
)
def test_gradients_lie_in_memory_as_their_leaves(shape, use):
    found = []
    for library in (flambeau, torch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = eval(f"torch.ones{shape}", {"torch": library}).detach().requires_grad_()
            for graph in (False, True):
                x.grad = None
                eval(use, {"x": x}).backward(create_graph=graph)
                found.append((library.__name__, graph, strides(x.grad), x.grad.tolist()))
                eval(use, {"x": x}).backward()
                found.append((library.__name__, graph, strides(x.grad), x.grad.tolist()))
    assert [f[1:] for f in found[:4]] == [f[1:] for f in found[4:]]


CUSTOM = """
def forward(ctx, x): ctx.save_for_backward(x); return x * x
def backward(ctx, g): return g * 2 * ctx.saved_tensors[0]
---
@classmethod
def forward(cls, ctx, x): return x * x
@classmethod
def backward(cls, ctx, g): return g * 7
---
@staticmethod
def forward(ctx, x): return x * x
@staticmethod
def vjp(ctx, g): return g * 3
---
@staticmethod
def forward(ctx, x): return x * x
@staticmethod
def backward(ctx, g): return g
@staticmethod
def vjp(ctx, g): return g
---
@staticmethod
def forward(ctx, x): return "a", x * x, None, 2.0
@staticmethod
def backward(ctx, *g): return g[1] if [g[0], g[2], g[3]] == [None] * 3 else None
---
@staticmethod
def forward(ctx, x): return x.detach().numpy().sum().item() * x
@staticmethod
def backward(ctx, g): return g * float(np.asarray(g).sum())
"""


@pytest.mark.parametrize("methods", CUSTOM.strip().split("\n---\n"))
def test_forms_of_custom_functions(methods):
    import numpy as np

    found = []
    for library in (flambeau, torch):
        scope = {"torch": library, "np": np}
        exec("class F(torch.autograd.Function):\n" + "\n".join("    " + line for line in methods.split("\n")), scope)
        x = library.tensor([1.0, 2.0], requires_grad=True)
        for _ in range(2):
            try:
                out = scope["F"].apply(x)
                (out[1] if isinstance(out, tuple) else out).sum().backward()
                found.append((library.__name__, x.grad.tolist()))
            except RuntimeError as error:
                found.append((library.__name__, str(error)[:60]))
    assert [f[1] for f in found[:2]] == [f[1] for f in found[2:]]
