"""Selective activation checkpointing: the calls that policies see, gradients and errors are PyTorch's."""

from __future__ import annotations

import importlib
from functools import partial

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

FUNCTIONS = {
    "products": lambda lib, x, y: lib.sigmoid(lib.matmul(lib.matmul(x, y), y)) * y,
    "elementwise": lambda lib, x, y: (x @ y).exp().sin() * y.cos(),
    "views": lambda lib, x, y: (x.t() @ y.reshape(4).view(2, 2)).relu() + x[0],
    "layers": lambda lib, x, y: lib.nn.functional.gelu(lib.nn.functional.linear(x, y, y[0])).softmax(-1) * y,
}
POLICIES = {
    "mm": lambda lib: [lib.ops.aten.mm.default],
    "several": lambda lib: [
        lib.ops.aten.mm.default,
        lib.ops.aten.sigmoid.default,
        lib.ops.aten.exp.default,
        lib.ops.aten.addmm.default,
        lib.ops.aten.t.default,
    ],
    "all": lambda lib: lambda ctx, op, *args, **kwargs: True,
    "none": lambda lib: lambda ctx, op, *args, **kwargs: module(lib).CheckpointPolicy.PREFER_RECOMPUTE,
}


def module(lib):
    return importlib.import_module(f"{lib.__name__}.utils.checkpoint")


def leaves(lib):
    return [lib.tensor(v, requires_grad=True) for v in ([[1.0, 2.0], [3.0, 4.0]], [[0.5, 0.1], [0.2, 0.3]])]


def checkpointed(lib, function, policy, **settings):
    contexts = partial(module(lib).create_selective_checkpoint_contexts, policy)
    return module(lib).checkpoint(function, *leaves(lib), use_reentrant=False, context_fn=contexts, **settings)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients(function, policy):
    def gradients(lib):
        xs = leaves(lib)
        contexts = partial(module(lib).create_selective_checkpoint_contexts, POLICIES[policy](lib))
        module(lib).checkpoint(
            partial(FUNCTIONS[function], lib), *xs, use_reentrant=False, context_fn=contexts
        ).square().sum().backward()
        return [v for x in xs for v in x.grad.flatten().tolist()]

    assert gradients(flambeau) == pytest.approx(gradients(torch), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("function", ["products", "elementwise"])
def test_what_policies_see(function):
    def seen(lib):
        found = []

        def policy(ctx, op, *args, **kwargs):
            found.append((str(op), ctx.is_recompute, tuple(ctx.op_output.shape), len(args)))
            return module(lib).CheckpointPolicy.MUST_SAVE

        checkpointed(lib, partial(FUNCTIONS[function], lib), policy).sum().backward()
        return found

    assert seen(flambeau) == seen(torch)


def test_what_is_kept_is_not_drawn_again():
    for lib in (flambeau, torch):
        noise = []

        def noisy(x, y, lib=lib, noise=noise):
            noise.append(lib.rand_like(x))
            return x * noise[-1]

        x, y = leaves(lib)
        contexts = partial(module(lib).create_selective_checkpoint_contexts, [lib.ops.aten.rand_like.default])
        module(lib).checkpoint(noisy, x, y, use_reentrant=False, context_fn=contexts, preserve_rng_state=False).sum().backward()
        assert x.grad.tolist() == noise[0].tolist()


def test_errors():
    for lib in (flambeau, torch):
        make = module(lib).create_selective_checkpoint_contexts
        with pytest.raises(ValueError, match="Expected op in `op_list` to be an OpOverload"):
            make([lib.ops.aten.mm])
        with pytest.raises(TypeError, match="must be either a function or a list of ops"):
            make(3)
        out = checkpointed(lib, partial(FUNCTIONS["products"], lib), POLICIES["mm"](lib))
        out.sum().backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="Trying to backward an extra time"):
            out.sum().backward()


@pytest.mark.parametrize("allowed", [False, True])
def test_what_is_kept_may_not_be_written_to(allowed):
    for lib in (flambeau, torch):
        seen = []

        def function(x, y, seen=seen):
            seen.append(x @ y)
            return seen[0].sin().exp()

        contexts = partial(
            module(lib).create_selective_checkpoint_contexts, [lib.ops.aten.mm.default], allow_cache_entry_mutation=allowed
        )
        out = module(lib).checkpoint(function, *leaves(lib), use_reentrant=False, context_fn=contexts)
        seen[0].detach().add_(1)
        if allowed:
            out.sum().backward()
        else:
            with pytest.raises(RuntimeError, match="has been mutated"):
                out.sum().backward()
