"""``vmap`` and the derivatives in ``torch.func``: how they compose, what they refuse, and what they draw."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau
from flambeau.core import config

torch = pytest.importorskip("torch")

FUNCTIONS = """lambda x: x.sin() * x
lambda x: x @ x.outer(x)
lambda x: F.softmax(x, -1)[:2] * x[0]
lambda x: x.cumsum(0).flip(0).relu()
lambda x: torch.stack([x, x ** 2]).mean(0)
lambda x: torch.cat([x[1:], w[:1]]) * w
lambda x: m(x)
lambda x: m(x[None])[0]
lambda x: F.conv1d(x[None, None], k, padding=1)[0, 0]
lambda x: F.conv1d(k, x[None, None, :2], padding=1)[0, 0]
lambda x: F.layer_norm(x, (3,), w, x)
lambda x: F.batch_norm(x.outer(x), None, None, w, x, training=True)[0]
lambda x: F.max_pool1d(x[None], 2, 1)[0]
lambda x: (lambda y: (y.mul_(2), y)[1])(x.clone()) * x
lambda x: (lambda y: (y.__setitem__(0, x[1] * x[2]), y)[1])(x.clone()) * w
lambda x: x[torch.tensor([2, 0, 0])] * x
lambda x: torch.linalg.solve(torch.eye(3) * 3 + x.outer(x), x)
lambda x: torch.linalg.inv(torch.eye(3) * 3 + x.outer(x))[0]
lambda x: x.sort(descending=True).values * w
lambda x: torch.where(x > 0, x * 2, x ** 3)
lambda x: torch.einsum('i,j,k->ik', x, x, w).diagonal()
lambda x: x.as_strided((2,), (1,)) * 2
lambda x: torch.fft.rfft(x).abs()
lambda x: x.norm() * x / x.var()
lambda x: x.prod() * x.logsumexp(0, keepdim=True)
lambda x: F.embedding(torch.tensor([2, 1]), x.outer(x)).sum(0)
lambda x: F.cross_entropy(x[None], torch.tensor([1])).reshape(1) * x
lambda x: torch.zeros_like(x).index_add(0, torch.tensor([0, 0, 1]), x * x)
lambda x: x.new_zeros(4).scatter(0, torch.tensor([3, 1, 0]), x.exp())
lambda x: F.scaled_dot_product_attention(x.outer(x)[None], x.outer(w)[None], x.outer(x)[None])[0, 0]
lambda x: x * 2 if x.dim() == 1 else x"""

TRANSFORMS = """vmap(f)(xs)
vmap(f, in_dims=1, out_dims=-1)(xs.t())
vmap(f, chunk_size=2)(xs)
vmap(grad(s))(xs)
grad(lambda xs: vmap(f)(xs).sum())(xs)
grad(lambda xs: vmap(grad(s))(xs).pow(2).sum())(xs)
vmap(jacrev(f))(xs)
vmap(jacfwd(f))(xs)
jacrev(f)(xs[0])
jacrev(f, chunk_size=1)(xs[0])
jacfwd(f)(xs[0])
hessian(s)(xs[0])
vmap(hessian(s))(xs)
vmap(vmap(f))(torch.stack([xs, xs + 1]))
vmap(vmap(grad(s)), in_dims=1, out_dims=1)(torch.stack([xs, xs + 1]))
vmap(lambda v: jvp(f, (xs[0],), (v,))[1])(xs)
vmap(lambda x, v: jvp(f, (x,), (v,)))(xs, xs.flip(0))
vmap(lambda v: vjp(f, xs[0])[1](v * f(xs[0]))[0])(xs[:, :1])
jacrev(lambda x: grad(s)(x))(xs[1])
grad(lambda x: jacrev(f)(x).pow(2).sum())(xs[1])
(lambda x: (vmap(f)(x).sum().backward(), x.grad)[1])(xs.clone().requires_grad_())
(lambda w: (vmap(lambda x: f(x) * w[:1])(xs).sum().backward(), w.grad)[1])(w.clone().requires_grad_())
(lambda w: (vmap(grad(lambda x: (f(x) * w[:1]).sum()))(xs).sum().backward(), w.grad)[1])(w.clone().requires_grad_())
(lambda y, x: torch.autograd.grad(y, x, torch.eye(3)[:, :y.numel()].reshape(3, *y.shape), is_grads_batched=True))(*(lambda x: (f(x), x))(xs[0].clone().requires_grad_()))"""


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    monkeypatch.setattr(config, "compiled", False)  # kernels have tests of their own


def scope(library):
    linear = library.nn.Sequential(library.nn.Linear(3, 4), library.nn.Tanh(), library.nn.Linear(4, 3))
    with library.no_grad():
        for i, p in enumerate(linear.parameters()):
            p.copy_(library.linspace(-1, 1, p.numel()).reshape(p.shape) * (i + 1) / 3)
    names = {n: getattr(library.func, n) for n in ("vmap", "grad", "jacrev", "jacfwd", "hessian", "jvp", "vjp", "linearize")}
    return names | {
        "torch": library, "F": library.nn.functional, "nn": library.nn, "m": linear.requires_grad_(False),
        "xs": library.tensor([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.2, 0.9, 0.4], [2.0, 1.0, -1.0]]), "w": library.tensor([0.7, -0.4, 1.2]),
        "k": library.tensor([[[0.3, -0.5, 0.8]]]),
    }  # fmt: skip


def plain(value, library):
    if isinstance(value, library.Tensor):
        return value.detach().tolist(), str(value.dtype).rpartition(".")[2], tuple(value.shape), value.requires_grad
    if isinstance(value, (tuple, list)):
        return [plain(v, library) for v in value]
    return {k: plain(v, library) for k, v in value.items()} if isinstance(value, dict) else value


def outcome(program: str, library, setup: str = "", **names):
    library.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            given = scope(library)
            exec(setup, given)
            for name, text in names.items():
                given[name] = eval(text, given)
            return plain(eval(program, given), library)
        except Exception as error:
            return type(error).__name__, str(error).strip()[:60]


def assert_same(ours, theirs):
    if isinstance(theirs, float):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)
    elif isinstance(theirs, (tuple, list)):
        assert isinstance(ours, (tuple, list)) and len(ours) == len(theirs), (ours, theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    else:
        assert ours == theirs


@pytest.mark.parametrize("function", FUNCTIONS.split("\n"))
def test_transforms(function):
    different = []
    for transform in TRANSFORMS.split("\n"):
        ours = outcome(transform, flambeau, f=function, s="lambda x: f(x).sum()")
        if "solve" in function and "vmap(" in transform:  # PyTorch's forward mode of it does not know of batches
            transform = transform.replace("jacfwd(f)", "jacrev(f)").replace("hessian(s)", "jacrev(jacrev(s))")
        theirs = outcome(transform, torch, f=function, s="lambda x: f(x).sum()")
        try:
            assert_same(ours, theirs)
        except AssertionError:
            different.append((transform, ours, theirs))
    assert not different


PROGRAMS = """vmap(lambda x: x.sum().item())(xs)
vmap(lambda x: x.tolist())(xs)
vmap(lambda x: float(x.sum()))(xs)
vmap(lambda x: int(x.sum()))(xs)
vmap(lambda x: f'{x.sum()}')(xs)
vmap(lambda x: x if x.sum() > 0 else -x)(xs)
vmap(lambda x: x.numpy())(xs)
vmap(lambda x: x.data_ptr())(xs)
vmap(lambda x: x.data)(xs)
vmap(lambda x: x.untyped_storage())(xs)
vmap(lambda x: x.nonzero())(xs)
vmap(lambda x: x.nonzero(as_tuple=True))(xs)
vmap(lambda x: torch.where(x))(xs)
vmap(lambda x: x[x > 0])(xs)
vmap(lambda x: x.masked_select(x > 0))(xs)
vmap(lambda x: x.masked_select(torch.tensor([True, False, True])))(xs)
vmap(lambda x: x[torch.tensor([True, False, True])])(xs)
vmap(lambda x: torch.unique(x))(xs)
vmap(lambda x: torch.unique_consecutive(x))(xs)
vmap(lambda x: torch.equal(x, x))(xs)
vmap(lambda x: torch.allclose(x, x))(xs)
vmap(lambda x: torch.tensor([x[0], x[1]]))(xs)
vmap(lambda x: torch.full((2,), x[0]))(xs)
vmap(lambda x: torch.arange(x[0]))(xs)
vmap(lambda x, i: x[:i])(xs, torch.tensor([0, 1, 2, 1]))
vmap(lambda x: 3.0 in x)(xs)
vmap(lambda x: x.clone().requires_grad_())(xs)
vmap(lambda x: x.sum().backward())(xs)
vmap(lambda x: torch.add(x, 1, out=torch.empty(3)))(xs)
vmap(lambda x: F.one_hot(x.long().abs()))(xs)
vmap(lambda x: F.one_hot(x.long().abs(), 3))(xs)
vmap(lambda x: F.rrelu(x, training=True), randomness='same')(xs)
vmap(nn.BatchNorm1d(3))(xs[None])
vmap(nn.BatchNorm1d(3).eval())(xs[None])
vmap(nn.BatchNorm1d(3, track_running_stats=False))(xs[None])
vmap(lambda x: 3)(xs)
vmap(lambda x: (x, 3))(xs)
vmap(lambda x: 3, out_dims=None)(xs)
vmap(lambda x: x, out_dims=None)(xs)
vmap(lambda x: (x, x.sum()), out_dims=(1, 0))(xs)
vmap(lambda x: (x, x.sum()), out_dims=(1, 0, 0))(xs)
vmap(lambda x: {'a': x, 'b': [x * 2, w]}, out_dims={'a': 1, 'b': [0, None]})(xs)
vmap(lambda x: [x, x * 2], out_dims=[0, 1])(xs)
vmap(lambda x: x, out_dims='0')(xs)
vmap(lambda x, y: x + y)(xs, xs[:2])
vmap(lambda x: x, in_dims=None)(xs)
vmap(lambda x: x, in_dims=2)(xs)
vmap(lambda x: x, in_dims=[0])(xs)
vmap(lambda x: x, in_dims=(0, 0))(xs)
vmap(lambda x: x, in_dims=('0',))(xs)
vmap(lambda x: x)(3)
vmap(lambda x: x)()
vmap(lambda: w)()
vmap(lambda x, s: x * s, in_dims=(0, None))(xs, 2)
vmap(lambda x, s: x * s)(xs, s=w)
vmap(lambda d: d['a'] * d['b'], in_dims=({'a': 0, 'b': None},))({'a': xs, 'b': w})
vmap(lambda p: p[0] + p[1][0], in_dims=((0, [1]),))((xs, [xs.t()]))
vmap(lambda x: x, chunk_size=0)(xs)
vmap(lambda x: (x, x.sum()), chunk_size=3)(xs)
vmap(lambda x: x, randomness='often')(xs)
vmap(lambda x: x * 2)(xs[:0])
vmap(lambda x: (x.view(1, 3), x.reshape(3, 1), x.shape, x.dim(), x.stride(), len(x)) and x)(xs)
vmap(lambda x: x.view(2))(xs)
vmap(lambda x: x.t())(xs)
vmap(lambda x: x.unsqueeze(5))(xs)
vmap(lambda x: x.sum(1))(xs)
vmap(lambda x: x[3])(xs)
vmap(lambda x: x[0, 0])(xs)
vmap(lambda x: x.expand(2, -1))(xs)
vmap(lambda x: x.squeeze())(xs[:, :1])
vmap(lambda x: x.type(torch.float64) + x.to(torch.int32))(xs)
vmap(lambda x: x + torch.ones(3, dtype=torch.float64))(xs)
vmap(lambda x: x.sum() + torch.ones(3, dtype=torch.float16))(xs)
vmap(lambda x: x.sum() + torch.ones((), dtype=torch.float64))(xs)
vmap(lambda i: w[i])(torch.tensor([2, 0, 1]))
vmap(lambda i: w[i] * torch.eye(3)[:, i])(torch.tensor([2, 0, 1]))
vmap(lambda x, i: x.index_fill(0, i[None], 9.0))(xs, torch.tensor([0, 1, 2, 0]))
vmap(lambda x: x.sort(descending=True))(xs)
vmap(lambda x: x.max(0))(xs)
vmap(lambda x: repr(x) and x)(xs)
vmap(torch.func.debug_unwrap)(xs)
vmap(lambda x: x + torch.func.debug_unwrap(x).dim())(xs)
torch.func.functionalize(lambda x: x.clone().add_(1))(xs)
torch.func.functionalize(lambda x: x, remove='views')(xs)
(lambda x: (vmap(lambda x: x.mul_(2))(x), x))(xs.clone())
(lambda x: (vmap(lambda x: x[1:].zero_())(x), x))(xs.clone())
(lambda x: (vmap(lambda x: (x.t_(), x.unsqueeze_(0))[1])(x.outer(x)[None]), x))(w.clone())
grad(lambda x: x)(xs)
grad(lambda x: 3.0)(xs)
grad(lambda x: x.sum())(torch.arange(3))
grad(lambda x: x.sum(), argnums=1)(xs)
grad(lambda x: x.sum(), argnums='0')(xs)
grad(lambda x: x.sum(), argnums=())(xs)
grad(lambda x: x.sum(), argnums=(0, 0))(xs)
grad(lambda x: x.sum(), has_aux=True)(xs)
grad(lambda x: (x.sum(), {'a': x * 2, 'b': 3}), has_aux=True)(xs)
grad(lambda x: x.sum())(3.0)
vjp(lambda x: x.long(), xs)
vjp(lambda x: (), xs)
vjp(lambda x: 3, xs)
vjp(lambda x: (x, x), xs)[1](xs)
jvp(lambda x: x, xs, xs)
jvp(lambda x: x, (xs,), (xs, xs))
jvp(lambda x: x * 2, (xs,), (w,))
jacrev(lambda x: x * 2, chunk_size=0)(w)
jacrev(lambda x: x * 2)(w * 1j)
jacrev(lambda x, y: {'a': x * y.sum(), 'b': (y,)}, argnums=(0, 1))(w, w[:2])
jacfwd(lambda x, y: {'a': x * y.sum(), 'b': (y,)}, argnums=(0, 1))(w, w[:2])
jacfwd(lambda x: (x ** 2, x.sum()), has_aux=True)(w)
jacrev(lambda x: (x ** 2, x.sum()), has_aux=True)(w)
jacfwd(lambda x: x * torch.rand(3))(w)
jacrev(lambda x: x['a'] * x['b'][0])({'a': w, 'b': [w * 2]})
hessian(lambda x, y: (x ** 2 * y).sum(), argnums=(0, 1))(w, w)"""

RANDOM = """torch.rand(3)
torch.rand((2, 3))
torch.randn(2, 3) * x[0]
torch.randint(10, (5,))
torch.randint(low=2, high=9, size=(5,))
torch.randperm(5)
torch.normal(0.0, 1.0, (4,))
torch.normal(x, 1.0)
torch.rand_like(x)
torch.randn_like(w)
torch.randint_like(x, 5)
torch.bernoulli(x.sigmoid())
torch.bernoulli(w.sigmoid())
torch.poisson(x.abs())
torch.multinomial(x.abs(), 2)
torch.multinomial(w.abs(), 2)
x.clone().normal_()
x.clone().uniform_(1, 2)
x.clone().exponential_()
x.clone().bernoulli_(0.5)
torch.zeros(3).normal_()
torch.zeros_like(x).random_(4)
F.dropout(x)
F.dropout(w) * x
F.dropout(x, training=False)
F.dropout(x, 0.0)
F.alpha_dropout(x, 0.5, training=True)
F.dropout1d(x.expand(4, 3))
F.dropout2d(x.expand(2, 4, 3, 3))
F.gumbel_softmax(x)
(lambda y: (F.dropout(y, inplace=True), y)[1])(x.clone())
torch.distributions.Normal(x, 1.0).sample()
torch.distributions.Normal(x, 1.0).log_prob(w)
torch.distributions.Categorical(logits=x).sample()
torch.distributions.Bernoulli(x.sigmoid()).sample()"""


@pytest.mark.parametrize("program", PROGRAMS.split("\n"))
def test_programs(program):
    assert_same(outcome(program, flambeau), outcome(program, torch))


@pytest.mark.parametrize("draw", RANDOM.split("\n"))
def test_random_numbers(draw):
    for randomness in ("error", "same", "different"):
        for maps in ("vmap(f, randomness=r)(xs)", "vmap(vmap(f, randomness=r), randomness=r)(torch.stack([xs, xs * 2]))"):
            if "bernoulli_" in draw and maps.startswith("vmap(vmap") and randomness == "different":
                continue  # which PyTorch takes for a write to a tensor that is not batched
            ours, theirs = [outcome(maps, lib, f=f"lambda x: {draw}", r=repr(randomness)) for lib in (flambeau, torch)]
            assert_same(ours, theirs)


FUNCTION = """
class Legacy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        return a * b
    @staticmethod
    def backward(ctx, g):
        return g, g

class Plain(torch.autograd.Function):
    @staticmethod
    def forward(a, b):
        return a * b, a + b
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output[0])
        ctx.factor = 3
    @staticmethod
    def backward(ctx, g, h):
        a, b, product = ctx.saved_tensors
        return ctx.factor * b * g + h * product, a * g + h

class Generated(Plain):
    generate_vmap_rule = True

class Own(Plain):
    @staticmethod
    def vmap(info, in_dims, a, b):
        a, b = [x if d is None else x.movedim(d, 0) for x, d in zip((a, b), in_dims)]
        product, total = Own.apply(a, b)
        assert info.batch_size == max(a.shape[0], b.shape[0]) and info.randomness == "error"
        return (product, total.movedim(0, -1)), (0, -1)

class Both(Own):
    generate_vmap_rule = True

class Wrong(Plain):
    @staticmethod
    def vmap(info, in_dims, a, b):
        return a

def loss(a, b):
    found = F_.apply(a, b)
    return sum(y.sum() for y in (found if isinstance(found, tuple) else (found,)))
"""

APPLIED = """vmap(F_.apply)(xs, xs + 1)
vmap(F_.apply, in_dims=(0, None))(xs, w)
vmap(F_.apply, in_dims=(None, 1))(w, xs.t())
vmap(vmap(F_.apply), in_dims=(0, None))(torch.stack([xs, xs * 2]), xs)
grad(lambda a, b: sum(y.sum() for y in vmap(F_.apply, in_dims=(0, None))(a, b)), argnums=(0, 1))(xs, w)
vmap(grad(loss, argnums=(0, 1)), in_dims=(0, None))(xs, w)
(lambda a, b: (sum(y.sum() for y in vmap(F_.apply, in_dims=(0, None))(a, b)).backward(), a.grad, b.grad)[1:])(xs.clone().requires_grad_(), w.clone().requires_grad_())
jacrev(loss, argnums=1)(xs, w)"""


@pytest.mark.parametrize("function", ["Legacy", "Plain", "Generated", "Own", "Both", "Wrong"])
def test_functions_of_users(function):
    for program in APPLIED.split("\n"):
        if function == "Legacy" and "vmap" not in program:
            continue  # there PyTorch refuses it too
        ours, theirs = [outcome(program, lib, setup=FUNCTION, F_=function) for lib in (flambeau, torch)]
        assert_same(ours, theirs)


WITHIN = """vmap(grad(lambda x: torch.autograd.grad((x ** 3).sum(), x, create_graph=True)[0].sum()))(xs)
vmap(lambda x: torch.autograd.grad((x * w).sum(), w)[0])(xs)
vmap(grad(lambda x: (x.register_hook(lambda g: g * 2), (x * x).sum())[1]))(xs)
vmap(grad(lambda x: (lambda y: (y.register_hook(lambda g: g * w), (y * x).sum())[1])(x * 3)))(xs)
vmap(grad(lambda x: (x * x).detach().sum() + x.sum()))(xs)
vmap(lambda x: grad(lambda s: (s * x).sum())(torch.ones(3)))(xs)
grad(lambda s: vmap(lambda x: grad(lambda u: (u * u * s * x).sum())(x).sum())(xs).sum())(w)
torch.inference_mode()(lambda: grad(lambda x: (x * x).sum())(xs * 2))()
torch.inference_mode()(lambda: vmap(grad(lambda x: (x * x).sum()))(xs * 2))()
torch.no_grad()(lambda: vmap(grad(lambda x: (x * x).sum()))(xs))()
vmap(grad(torch.no_grad()(lambda x: x.sum() * 2)))(xs)
vmap(torch.compile(lambda x: x * 2, backend='eager'))(xs)
torch.autograd.functional.jacobian(lambda x: x ** 2 * w, xs[0], vectorize=True)
torch.autograd.functional.jacobian(lambda x, y: (x * y.sum(), x[:1]), (xs[0], w), vectorize=True)
torch.autograd.functional.hessian(lambda x: (x ** 3).sum(), xs[0], vectorize=True)
torch.autograd.functional.jacobian(lambda x: x, xs[0], vectorize=True, strict=True)"""


@pytest.mark.parametrize("program", WITHIN.split("\n"))
def test_tape_inside(program):
    assert_same(outcome(program, flambeau), outcome(program, torch))
