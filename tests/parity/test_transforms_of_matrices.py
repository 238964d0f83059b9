"""Transforms to matrices and of parts, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

TRANSFORMS = {
    "CorrCholeskyTransform()": (4, 6),
    "CorrCholeskyTransform(cache_size=1)": (1,),
    "PositiveDefiniteTransform()": (2, 3, 3),
    "CatTransform([ExpTransform(), AffineTransform(1, 2)], dim=-1, lengths=[2, 3])": (4, 5),
    "CatTransform([ExpTransform(), SigmoidTransform()], dim=0)": (2, 3),
    "StackTransform([ExpTransform(), AffineTransform(1, 2)], dim=1)": (3, 2),
}


def run(library, text: str, shape: tuple) -> list:
    transforms = library.distributions.transforms
    names = {name: getattr(transforms, name) for name in ("CorrCholeskyTransform", "PositiveDefiniteTransform", "CatTransform", "StackTransform",
                                                          "ExpTransform", "AffineTransform", "SigmoidTransform")}  # fmt: skip
    t = eval(text, names)
    x = library.tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True)
    y = t(x)
    found = [y, t.inv(y)]
    if "Positive" not in text:
        found.append(t.log_abs_det_jacobian(x, y))
    found.append(library.autograd.grad(sum((f * f).sum() for f in found), x)[0])
    return [f.detach().numpy() for f in found] + [np.array(t.bijective), np.array(t.codomain.check(y).numpy())]


@pytest.mark.parametrize("text", TRANSFORMS)
def test_transforms(text):
    for ours, theirs in zip(run(flambeau, text, TRANSFORMS[text]), run(torch, text, TRANSFORMS[text]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["corr_cholesky", "positive_definite", "lower_cholesky", "simplex"])
def test_registries(name):
    for registry in ("biject_to", "transform_to"):
        found = []
        for library in (flambeau, torch):
            try:
                found.append(
                    type(getattr(library.distributions, registry)(getattr(library.distributions.constraints, name))).__name__
                )
            except NotImplementedError:
                found.append("none")
        assert found[0] == found[1], registry


def test_shapes():
    t, u = (lib.distributions.transforms.CorrCholeskyTransform() for lib in (flambeau, torch))
    assert t.forward_shape((2, 6)) == tuple(u.forward_shape((2, 6))) and t.inverse_shape((2, 4, 4)) == tuple(
        u.inverse_shape((2, 4, 4))
    )
    with pytest.raises(ValueError, match="flattened lower-diagonal"):
        t.forward_shape((5,))
    for n, diag in ((3, 0), (4, -1), (4, -2), (5, -1)):
        a, b = (lib.arange(float(n * n)).view(n, n) for lib in (flambeau, torch))
        va, vb = flambeau.distributions.utils.tril_matrix_to_vec(a, diag), torch.distributions.utils.tril_matrix_to_vec(b, diag)
        assert va.tolist() == vb.tolist()
        if diag == -1:
            assert (
                flambeau.distributions.utils.vec_to_tril_matrix(va, diag).tolist()
                == torch.distributions.utils.vec_to_tril_matrix(vb, diag).tolist()
            )
