"""Linear algebra: what the generated tests cannot see, because an op reads one triangle or chooses a phase."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch

linalg = torch.linalg
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])


def matrix(*shape, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def adjoint(x):
    return x.mH


def hermitian(x):
    return x + adjoint(x)


def positive(x):
    return x @ adjoint(x) + torch.eye(x.shape[-1], dtype=x.dtype)


def check(function, *inputs):
    """First and second derivatives against central differences."""
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@DTYPES
@pytest.mark.parametrize(
    "function",
    [
        lambda x: linalg.cholesky(positive(x)),
        lambda x: linalg.cholesky(positive(x), upper=True),
        lambda x: linalg.cholesky_ex(positive(x)).L,
        lambda x: torch.cholesky_inverse(x.tril()),
        lambda x: torch.cholesky_inverse(x.triu(), upper=True),
        lambda x: torch.cholesky_solve(x, x.tril()),
        lambda x: linalg.eigvalsh(hermitian(x)),
        lambda x: linalg.eigh(hermitian(x)).eigenvectors.abs(),
        lambda x: linalg.eigh(hermitian(x), "U").eigenvectors.abs(),
        lambda x: linalg.eigvals(x),
        lambda x: linalg.eig(x).eigenvectors.abs(),
        lambda x: linalg.svd(x).U.abs(),
        lambda x: linalg.svd(x).Vh.abs(),
        lambda x: linalg.svd(x).U @ linalg.svd(x).Vh,
        lambda x: linalg.svdvals(x),
        lambda x: linalg.qr(x).Q,
        lambda x: linalg.qr(x).R,
        lambda x: linalg.inv(x),
        lambda x: linalg.inv_ex(x).inverse,
        lambda x: linalg.det(x),
        lambda x: linalg.slogdet(x).sign,
        lambda x: linalg.slogdet(x).logabsdet,
        lambda x: linalg.matrix_exp(x),
        lambda x: linalg.pinv(x),
        lambda x: linalg.pinv(hermitian(x), hermitian=True),
        lambda x: linalg.lu(x).L @ linalg.lu(x).U.sin(),
        lambda x: linalg.solve(x, x[:, :2]),
        lambda x: linalg.solve_triangular(x, x, upper=True, left=False),
        lambda x: linalg.lu_solve(*linalg.lu_factor(x), x.sin(), adjoint=True),
        lambda x: linalg.matrix_norm(x, "nuc"),
    ],
)
def test_gradients(function, dtype):
    check(function, matrix(3, 3, dtype=dtype, seed=3))


@DTYPES
@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (2, 3, 2)])
def test_gradients_of_oblong_factorizations(shape, dtype):
    check(lambda x: linalg.lu(x)[1:], matrix(*shape, dtype=dtype))
    check(lambda x: linalg.qr(x), matrix(*shape, dtype=dtype))
    check(lambda x: linalg.pinv(x), matrix(*shape, dtype=dtype))
    check(lambda x: linalg.svd(x, full_matrices=False).U.abs(), matrix(*shape, dtype=dtype))
    check(lambda x: linalg.svd(x, full_matrices=False).Vh.abs(), matrix(*shape, dtype=dtype))


def test_gradient_of_a_singular_determinant_is_its_cofactors():
    a = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    torch.linalg.det(a).backward()
    x = a.detach().numpy()
    minors = [[np.linalg.det(np.delete(np.delete(x, i, 0), j, 1)) for j in range(3)] for i in range(3)]
    signs = (-1.0) ** np.add.outer(range(3), range(3))
    np.testing.assert_allclose(a.grad.numpy(), signs * minors, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 5), (3, 5), (5, 3), (2, 40, 40), (0, 3), (2, 0, 3)])
def test_lu_multiplies_back(shape):
    a = matrix(*shape).detach()
    P, L, U = linalg.lu(a)
    np.testing.assert_allclose((P @ L @ U).numpy(), a.numpy(), atol=1e-12)
    LU, pivots = linalg.lu_factor(a)
    for mine, theirs in zip(torch.lu_unpack(LU, pivots), (P, L, U), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("n", [1, 31, 33, 100])
@pytest.mark.parametrize("upper", [False, True])
def test_large_triangular_systems(n, upper):
    a, b = matrix(n, n).detach() / n + torch.eye(n, dtype=torch.float64), matrix(n, 3, seed=1).detach()
    triangle = a.triu() if upper else a.tril()
    x = linalg.solve_triangular(a, b, upper=upper)
    np.testing.assert_allclose((triangle @ x).numpy(), b.numpy(), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_matrix_exp_against_eigenvalues(scale):
    x = hermitian(matrix(4, 4).detach()) * scale
    values, vectors = np.linalg.eigh(x.numpy())
    expected = (vectors * np.exp(values)) @ vectors.T
    np.testing.assert_allclose(linalg.matrix_exp(x).numpy(), expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def test_householder_reflectors_make_q():
    a = matrix(5, 3).detach()
    reflectors, tau = torch.geqrf(a)
    Q = linalg.householder_product(reflectors, tau)
    np.testing.assert_allclose((Q @ reflectors[:3].triu()).numpy(), a.numpy(), atol=1e-12)
    b = matrix(5, 2, seed=1).detach()
    whole = torch.ormqr(reflectors, tau, torch.eye(5, dtype=torch.float64))
    np.testing.assert_allclose(torch.ormqr(reflectors, tau, b).numpy(), (whole @ b).numpy(), atol=1e-12)


def test_lstsq_of_full_and_deficient_rank():
    a, b = matrix(5, 2).detach(), matrix(5, 1, seed=1).detach()
    solution, residuals, rank, values = linalg.lstsq(a, b, driver="gelsd")
    expected, squares, _, singular = np.linalg.lstsq(a.numpy(), b.numpy(), rcond=None)
    np.testing.assert_allclose(solution.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(residuals.numpy(), squares, atol=1e-12)
    np.testing.assert_allclose(values.numpy(), singular, atol=1e-12)
    assert rank.item() == 2
    deficient = linalg.lstsq(torch.ones(3, 2), torch.ones(3, 1), driver="gelsd")
    assert deficient.rank.item() == 1 and deficient.residuals.numel() == 0


def test_singular_and_indefinite_matrices_are_refused():
    singular, indefinite = torch.zeros(2, 3, 3), -torch.eye(2)
    with pytest.raises(linalg.LinAlgError, match=r"\(Batch element 0\): The diagonal element"):
        linalg.inv(singular).tolist()
    with pytest.raises(linalg.LinAlgError, match="input matrix is singular"):
        linalg.solve(singular, torch.ones(2, 3)).tolist()
    with pytest.raises(linalg.LinAlgError, match="leading minor of order 1 is not positive-definite"):
        linalg.cholesky(indefinite).tolist()
    assert linalg.cholesky_ex(indefinite).info.item() == 1
    assert linalg.inv_ex(singular).info.tolist() != [0, 0]


def test_matrix_norms_over_chosen_dims():
    x = matrix(2, 3, 4).detach()
    for ord in ("fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf")):
        expected = [np.linalg.norm(x.numpy()[:, i, :].T, ord) for i in range(3)]
        result = linalg.matrix_norm(x, ord, dim=(2, 0))
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12)
        assert linalg.matrix_norm(x, ord, dim=(2, 0), keepdim=True).shape == (1, 3, 1)


@pytest.mark.parametrize(
    "equation, shapes",
    [
        ("ij,jk->ki", [(2, 3), (3, 4)]),
        ("ij,ij->", [(2, 3), (2, 3)]),
        ("bij,bkj->bik", [(2, 3, 4), (2, 5, 4)]),
        ("...i,i", [(2, 3, 4), (4,)]),
        ("ij...,j...->i...", [(2, 3, 4), (3, 4)]),
        ("iij->ij", [(3, 3, 2)]),
        ("i,j,k->kji", [(2,), (3,), (4,)]),
        ("ijk->k", [(2, 3, 4)]),
        ("ab,bc,cd,de->ae", [(2, 3), (3, 4), (4, 2), (2, 5)]),
        ("nhqd,nkhd->nhqk", [(2, 3, 4, 5), (2, 6, 3, 5)]),
    ],
)
def test_einsum_against_numpy(equation, shapes):
    operands = [matrix(*shape, seed=i).detach() for i, shape in enumerate(shapes)]
    expected = np.einsum(equation, *[x.numpy() for x in operands])
    np.testing.assert_allclose(torch.einsum(equation, *operands).numpy(), expected, rtol=1e-12, atol=1e-12)


def test_einsum_with_lists_of_dims_and_broadcast_sizes():
    a, b = matrix(2, 3).detach(), matrix(3, 4, seed=1).detach()
    assert torch.equal(torch.einsum(a, [0, 1], b, [1, 2], [0, 2]), torch.einsum("ij,jk->ik", a, b))
    assert torch.equal(torch.einsum("ij,ij->ij", a[:1], a), a[:1] * a)


def test_a_nan_is_ignored_where_beta_is_zero():
    bias = torch.full((2, 2), float("nan"))
    assert torch.equal(torch.addmm(bias, torch.eye(2), torch.ones(2, 2), beta=0), torch.ones(2, 2))
    assert torch.baddbmm(bias, torch.eye(2)[None], torch.ones(1, 2, 2)).isnan().all()


def test_gradients_of_products_are_products_of_transposed_views():
    a, b = torch.randn(3, 4, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    g = torch.ones(3, 5)
    grad_a, grad_b = torch.autograd.grad(a.mm(b), (a, b), g)
    np.testing.assert_array_equal(grad_a.numpy(), g.numpy() @ b.detach().numpy().T)
    np.testing.assert_array_equal(grad_b.numpy(), a.detach().numpy().T @ g.numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128], ids=str)
@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (1, 1)])
def test_one_lu_factorization_is_that_of_many(shape, dtype):
    """LAPACK has those of a few matrices, NumPy goes through many at once."""
    torch.manual_seed(0)
    matrices = torch.randn(40, *shape, dtype=dtype)
    if min(shape) > 2:
        matrices[3, :, 1] = 0
    together = torch.linalg.lu_factor_ex(matrices)
    for i, matrix in enumerate(matrices):
        alone = torch.linalg.lu_factor_ex(matrix)
        torch.testing.assert_close(alone.LU, together.LU[i])
        assert alone.pivots.tolist() == together.pivots[i].tolist() and alone.info.item() == together.info[i].item()
