"""Forward-mode differentiation over all records: primals and tangents are PyTorch's, or follow from its gradients."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest

import flambeau
from flambeau.autograd import forward_ad
from flambeau.ops.record import registry
from flambeau.ops.samples import Make
from tests.parity.samples import as_torch, replaced, tensors

torch = pytest.importorskip("torch")

# Where PyTorch's tangents are not the derivative along what it was given (which our rules were compared with differences for).
OTHERWISE = {
    "cholesky_inverse": "takes the tangent for triangular",
    "linalg.cholesky": "takes the tangent for symmetric",
    "linalg.cholesky_ex": "takes the tangent for symmetric",
    "triangular_solve": "counts what is on the other side of the diagonal",
    "ldexp": "has zeros at negative integer exponents",
    "native_batch_norm": "has no tangents for the statistics",
    "native_layer_norm": "has no tangents for the statistics",
    "scatter_reduce": "has zeros for products",
    **{
        f"special.{name}": "has no derivative"
        for name in ("bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1",
                     "scaled_modified_bessel_k0", "scaled_modified_bessel_k1")
    },
}  # fmt: skip

OPS = sorted(
    {id(op): op for op in registry.values() if op.samples and op.name.rpartition(".")[2][0] != "_"}.values(), key=lambda op: op.name
)


def dual(lib, module, known, x):
    """A dual tensor for each that has a gradient, with the same tangent in both libraries."""
    if not isinstance(x, lib.Tensor) or not (x.is_floating_point() or x.is_complex()):
        return x
    if id(x) not in known:
        rng = np.random.default_rng(len(known))
        t = rng.standard_normal(tuple(x.shape))
        t = t + 1j * rng.standard_normal(tuple(x.shape)) if x.is_complex() else t
        known[id(x)] = x, module.make_dual(x, lib.tensor(np.asarray(t)).to(x.dtype))
    return known[id(x)][1]


def results(lib, module, function, args, kwargs):
    lib.manual_seed(0)
    with module.dual_level():
        args, kwargs = replaced([args, kwargs], functools.partial(dual, lib, module, {}))
        found = []
        for r in tensors(function(*args, **kwargs), lib.Tensor):
            primal, tangent = module.unpack_dual(r)
            t = None if tangent is None or r.dtype not in (lib.float32, lib.float64, lib.complex64, lib.complex128) else tangent
            found.append(
                (
                    np.array(primal.detach().resolve_conj().resolve_neg().numpy()),
                    None if t is None else np.array(t.detach().resolve_conj().resolve_neg().numpy()),
                )
            )
        return found


@pytest.mark.parametrize("op", [op for op in OPS if op.name not in OTHERWISE], ids=lambda op: op.name)
def test_ops(op):
    try:
        theirs = functools.reduce(getattr, op.name.split("."), torch)
    except AttributeError:
        pytest.skip("PyTorch has no op of this name")
    module = torch.autograd.forward_ad
    for sample in op.samples(Make()):
        args, kwargs = replaced([list(sample.args), sample.kwargs], lambda x: x.detach() if isinstance(x, flambeau.Tensor) else x)
        t_args, t_kwargs = replaced([args, kwargs], functools.partial(as_torch, {}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = results(torch, module, theirs, t_args, t_kwargs)
            except (RuntimeError, TypeError, IndexError, ValueError, AttributeError):
                continue  # no derivative there, or no argument that PyTorch takes
            found = results(flambeau, forward_ad, op.function, args, kwargs)
        for (value, tangent), (their_value, their_tangent) in zip(found, expected, strict=True):
            if value.shape != their_value.shape or not np.allclose(value, their_value, 1e-4, 1e-5, equal_nan=True):
                continue  # another number drawn, or another basis chosen
            zeros = np.zeros(value.shape)
            tangent, their_tangent = (zeros if t is None else t for t in (tangent, their_tangent))
            np.testing.assert_allclose(tangent, their_tangent, 1e-3, 1e-4, err_msg=repr(sample))


@pytest.mark.parametrize("name", [name for name in OTHERWISE if "cholesky" not in name or name == "cholesky_inverse"])
def test_derivatives_that_differ(name):
    op = registry[name]
    for sample in op.samples(Make()):
        inputs = [x for x in sample.args if isinstance(x, flambeau.Tensor) and x.requires_grad]
        if len(inputs) == 0 or sample.kwargs.get("dtype") is not None:
            continue
        assert flambeau.autograd.gradcheck(
            lambda *xs, sample=sample: tensors(op.function(*xs, **sample.kwargs), flambeau.Tensor),
            [x.detach().requires_grad_() if any(x is i for i in inputs) else x for x in sample.args],
            check_forward_ad=True, check_backward_ad=False,
        )  # fmt: skip
