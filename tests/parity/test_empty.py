"""Layers on tensors with empty dims and without a batch: where PyTorch refuses, so does flambeau, and shapes are the same."""

from __future__ import annotations

import warnings

import pytest

import flambeau

torch = pytest.importorskip("torch")

SPACE = (6, 5, 4)
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def programs(n: int) -> list[str]:
    """Calls with ``n`` dims of space."""
    space = SPACE[:n]
    shapes = [
        (0, 3, *space), (2, 0, *space), (0, *space), (2, 3, *space[:-1], 0), (2, 3, *[0] * n), (3, *space), (2, 3, *[1] * n),
        (3, *space[:-1], 0), (0, 0, *space),
    ]  # fmt: skip
    found = []
    for shape in shapes:
        x = f"torch.ones({shape})"
        for kind in ("avg_pool", "max_pool"):
            found += [f"F.{kind}{n}d({x}, {rest})" for rest in ("2", "1", "3", "2, 0", "2, 2, 2")]
        for kind in ("adaptive_avg_pool", "adaptive_max_pool"):
            found += [f"F.{kind}{n}d({x}, {size})" for size in (2, 0)]
        if n > 1:
            found += [f"F.fractional_max_pool{n}d({x}, 2, output_size=2)"]
        found += [f"F.lp_pool{n}d({x}, 2, 2)", f"F.max_unpool{n}d({x}, {x}.long() * 0, 2)"]
        for mode in ("nearest", LINEAR[n], "area", "bicubic"):
            found += [f"F.interpolate({x}, {rest}, mode='{mode}')" for rest in ("scale_factor=2", f"size={[2] * n}")]
        for mode in ("reflect", "replicate", "circular", "constant"):
            found += [f"F.pad({x}, {(by,) * 2 * n}, mode='{mode}')" for by in (1, 5)]
        found += [f"F.group_norm({x}, 1)", f"F.batch_norm({x}, None, None, training=True)", f"F.layer_norm({x}, {shape[-1:]})"]
        for weight in ((4, 3, *[2] * n), (4, 3, *[9] * n), (4, 3, *[0] * n)):
            found += [f"F.conv{n}d({x}, torch.ones({weight}))", f"F.conv_transpose{n}d({x}, torch.ones({(3, 4, *weight[2:])}))"]
    return found


def outcome(program: str, library):
    try:
        return tuple(eval(program, {"torch": library, "F": library.nn.functional}).shape)
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize("n", [1, 2, 3])
def test_empty(n):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        different = {}
        for program in programs(n):
            ours, theirs = outcome(program, flambeau), outcome(program, torch)
            # PyTorch looks at the first image of a batch that has none before it refuses a kernel without elements.
            if ours != theirs and {ours, theirs} != {"RuntimeError", "IndexError"}:
                different[program] = ours, theirs
    assert not different


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("index", [-1, 10, 11])
def test_rows_of_bags(mode, index):
    """The class of the error; PyTorch has two texts for it."""
    program = f"F.embedding_bag(torch.tensor([[{index}, 2]]), torch.ones(10, 3), mode='{mode}').sum()"
    assert outcome(program + ".item()", flambeau) == outcome(program, torch) == "RuntimeError"


@pytest.mark.parametrize(
    "program",
    [
        "F.mse_loss(x(0, 4), x(0, 4))",
        "F.embedding(torch.zeros(0, 3, dtype=torch.long), x(5, 0)).sum()",
        "F.embedding_bag(torch.zeros(0, 3, dtype=torch.long), x(5, 0)).sum()",
        "F.scaled_dot_product_attention(x(2, 3, 0), x(2, 5, 0), x(2, 5, 2)).sum()",
        "F.cross_entropy(x(3, 0), x(3, 0), label_smoothing=0.2, reduction='sum')",
        "x(3, 0).sort(1).values.sum()",
        "F.adaptive_avg_pool1d(x(2, 2, 0), 1).sum()",
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_nothing(program, dtype):
    """A step on a batch, or a width, of nothing: gradients of zeros, of the shapes that PyTorch's have."""

    def gradients(library):
        leaves = []

        def x(*shape):
            leaves.append(library.zeros(shape, dtype=getattr(library, dtype), requires_grad=True))
            return leaves[-1]

        eval(program, {"torch": library, "F": library.nn.functional, "x": x}).backward()
        return [(tuple(t.grad.shape), t.grad.tolist()) for t in leaves]

    assert repr(gradients(flambeau)) == repr(gradients(torch))


@pytest.mark.parametrize(
    "program",
    [
        "torch.cholesky_solve(z(3), torch.eye(3))",
        "torch.triangular_solve(z(3), torch.eye(3))",
        "torch.triangular_solve(z(3, 1), z(3))",
        "torch.cartesian_prod(z(2, 2), z(2))",
        "torch.combinations(z(2, 2))",
        "torch.combinations(z())",
        "torch.unique(z(), dim=0)",
        "torch.unique_consecutive(z(), dim=0)",
        "z().unflatten(0, (1, 1))",
        "torch.put(z(2, 3), torch.tensor([0, 1]), z(3))",
        "torch.put(z(2, 3), torch.tensor([0, 1]), z(1))",
        "torch.linalg.solve(torch.eye(3), z())",
        "torch.ormqr(z(3), z(3), z(3, 3))",
        "torch.ormqr(z(3, 3), z(2), z(3, 3))",
        "F.conv1d(z(2, 4, 3), z(4, 3), padding='same')",
        "F.soft_margin_loss(z(), z(3, 4))",
        "F.soft_margin_loss(z(3, 1), z(3, 4))",
        "torch.linalg.vander(z(1))",
        "F.avg_pool3d(z(1, 1, 2, 1), 2, 1, 1)",
    ],
)
def test_too_few_dims(program):
    """Refused in PyTorch's words."""

    def refused(library):
        with pytest.raises((RuntimeError, IndexError)) as caught:
            eval(program, {"torch": library, "F": library.nn.functional, "z": lambda *shape: library.zeros(shape)})
        return type(caught.value).__name__, str(caught.value).split("\n")[0][:24]

    assert refused(flambeau) == refused(torch)
