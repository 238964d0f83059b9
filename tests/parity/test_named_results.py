"""Results with names under copies, pickles, nests and ``torch.func``; gradients of one graph under ``vmap``."""

from __future__ import annotations

import copy
import pickle

import pytest

import flambeau
from flambeau.core.nests import tree_map
from flambeau.core.results import ReturnType
from flambeau.ops.record import registry
from flambeau.ops.samples import Make

torch = pytest.importorskip("torch")

NAMED = sorted(
    {id(op): op for op in registry.values() if op.outputs and op.outputs != ("*",) and op.samples}.values(), key=lambda op: op.name
)


@pytest.mark.parametrize("op", NAMED, ids=lambda op: op.name)
def test_every_op_with_several_results(op):
    for sample in op.samples(Make(requires_grad=False)):
        result = op.function(*sample.args, **sample.kwargs)
        if not isinstance(result, ReturnType):
            continue
        copies = [
            copy.copy(result),
            copy.deepcopy(result),
            pickle.loads(pickle.dumps(result)),
            tree_map(lambda t: t.clone(), result),
        ]
        for other in copies:
            assert type(other) is type(result)
            for name, a, b in zip(result.__match_args__, result, other, strict=True):
                assert getattr(other, name) is b and flambeau.equal(a, b)
        assert not hasattr(result, "_fields")  # which only a namedtuple has, whose class takes the entries one by one


FUNCTIONS = """
t.max(0); t.min(0); t.sort(); t.topk(2); t.median(0); t.nanmedian(0); t.mode(0); t.kthvalue(2); t.cummax(0); t.cummin(0); t.aminmax()
torch.frexp(t); torch.linalg.qr(t[None]); torch.linalg.svd(t[None]); torch.linalg.slogdet(torch.outer(t, t) + torch.eye(4))
torch.linalg.eigh(torch.outer(t, t)); (t, {"a": t.max(0)}); [t.sort(), t]
"""


@pytest.mark.parametrize("function", [f.strip() for f in FUNCTIONS.strip().replace("\n", ";").split(";")])
def test_func_over_named_results(function):
    found = []
    for library in (flambeau, torch):
        x = library.arange(12.0).reshape(3, 4).sin()
        out = library.func.vmap(eval(f"lambda t: {function}", {"torch": library}))(x)

        def names(value, library=library):
            if isinstance(value, library.Tensor):
                return list(value.shape)
            if isinstance(value, dict):
                return {k: names(v) for k, v in value.items()}
            return type(value).__name__, [names(v) for v in value]

        found.append(names(out))
    assert found[0] == found[1]


GRADIENTS = """
func.vmap(lambda v: torch.autograd.grad(y, a, v)[0])(torch.eye(3))
func.vmap(lambda v: torch.autograd.grad(y, a, v, create_graph=True)[0])(torch.eye(3)).detach()
func.vmap(func.vmap(lambda v: torch.autograd.grad(y, a, v)[0]))(torch.eye(3).expand(2, 3, 3))
torch.autograd.grad(y, a, torch.eye(3), is_grads_batched=True)[0]
torch.stack([func.vmap(lambda v: torch.autograd.grad(y, a, v)[0])(torch.eye(3)), torch.autograd.grad(y, a, torch.ones(3))[0]])
torch.autograd.grad(y, a, torch.ones(3), is_grads_batched=True)
func.grad(lambda x: hidden(x) * x)(torch.tensor(3.0))
func.jacrev(lambda x: x ** 2)(a.detach())
"""


@pytest.mark.parametrize("program", GRADIENTS.strip().split("\n"))
def test_gradients_of_one_graph(program):
    found = []
    for library in (flambeau, torch):
        a = library.tensor([1.0, 2.0, 3.0], requires_grad=True)

        def hidden(x, library=library):
            with library.no_grad():
                return library.func.grad(lambda y: y**3)(x)

        scope = {"torch": library, "func": library.func, "a": a, "y": a**2, "hidden": hidden}
        try:
            found.append(eval(program, scope).tolist())
        except RuntimeError as error:
            found.append(str(error)[:40])
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", ["x.sin() * 2", "(x ** 3).sum()", "(x.exp(), {'a': x * x})", "x[:2] * x[1:]"])
def test_linearized_functions(program):
    found = []
    for library in (flambeau, torch):
        x = library.tensor([0.5, -1.0, 2.0])

        def numbers(value, library=library):
            if isinstance(value, library.Tensor):
                return [round(v, 4) for v in value.reshape(-1).tolist()]
            return [numbers(v) for v in (value.values() if isinstance(value, dict) else value)]

        out, along = library.func.linearize(lambda x: eval(program, {"x": x}), x)  # noqa: B023
        found.append([numbers(out), *[numbers(along(library.tensor(t))) for t in ([1.0, 0.0, 0.0], [0.5, 1.0, -2.0])]])
    assert found[0] == found[1]
