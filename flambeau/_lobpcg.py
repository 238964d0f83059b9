r"""``torch.lobpcg``: a few of the largest or smallest eigenvalues of a symmetric matrix that need only be multiplied with.

Locally optimal block preconditioned conjugate gradients: each step looks for the best vectors in the span of those that there are,
their preconditioned residuals and their last change, by the eigenvectors of a matrix of three times as many rows.

Source: Knyazev, "Toward the optimal preconditioned eigensolver", 2001; Stathopoulos and Wu, "A block orthogonalization procedure
with constant synchronization requirements", 2002; https://docs.pytorch.org/docs/stable/generated/torch.lobpcg.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import ops
from flambeau.autograd import no_grad
from flambeau.autograd.function import Function
from flambeau.core import dtypes
from flambeau.core.memory_format import strided
from flambeau.tensor import Tensor

__all__ = ["LOBPCG", "lobpcg"]

_linalg: dict[str, Any] = ops.namespace("linalg")


class LOBPCG:
    """The state of one iteration, which a ``tracker`` is shown after each step.

    ``A``, ``B``, ``iK`` are the arguments, ``X`` the vectors, ``E`` the values, ``R`` the residuals and ``S`` the basis of the
    step; ``iparams``, ``fparams``, ``bparams`` are integer, float and boolean settings, ``ivars``, ``fvars``, ``bvars``, ``tvars``
    such variables.
    """

    def __init__(
        self, A: Tensor, B: Tensor | None, X: Tensor, iK: Tensor | None, settings: tuple[dict, dict, dict], tracker: Callable | None
    ) -> None:
        self.A, self.B, self.iK, self.tracker = A, B, iK, tracker
        self.iparams, self.fparams, self.bparams = settings
        self.ivars: dict[str, int] = {"istep": 0, "converged_count": 0, "iterations_left": self.iparams["niter"]}
        self.fvars: dict[str, float] = {}
        self.bvars: dict[str, bool] = {}
        self.tvars: dict[str, Tensor] = {}
        self._change: Tensor | None = None
        self.S = X
        self.E, self.X = self._best(self._basis(X))[:2]
        AX = A @ self.X
        self.fvars["A_norm"] = float(AX.norm()) / float(self.X.norm())
        self.fvars["B_norm"] = 1.0 if B is None else float((B @ self.X).norm()) / float(self.X.norm())
        self._look(AX)

    def _basis(self, S: Tensor) -> Tensor:
        """Vectors that span what ``S`` does, orthonormal in the product of ``B``; directions that add nothing are left out."""
        for _ in range(2):
            gram = S.mT @ (S if self.B is None else self.B @ S)
            scale = gram.diagonal().clamp(min=dtypes.finfo(S.dtype).tiny).rsqrt()
            values, vectors = _linalg["eigh"](gram * scale * scale.unsqueeze(1))
            kept = values > values[-1] * dtypes.finfo(S.dtype).eps * len(values)
            S = S @ (scale.unsqueeze(1) * vectors[:, kept] * values[kept].rsqrt())
        return S

    def _best(self, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best values and vectors in the span of a basis, and these in terms of the basis."""
        values, vectors = _linalg["eigh"](basis.mT @ (self.A @ basis))
        if self.bparams["largest"]:
            values, vectors = values.flip(0), vectors.flip(1)
        n = self.iparams["n"]
        return values[:n], basis @ vectors[:, :n], vectors[:, :n]

    def _look(self, AX: Tensor) -> None:
        """Computes the residuals, and counts the leading ones that are small enough."""
        self.R = AX - (self.X if self.B is None else self.B @ self.X) * self.E
        size = self.fvars["A_norm"] + self.E.abs() * self.fvars["B_norm"]
        self.tvars["rerr"] = error = self.R.norm(dim=0) / (self.X.norm(dim=0) * size)
        small = (error < self.fparams["tol"]).tolist()
        self.ivars["converged_count"] = small.index(False) if False in small else len(small)

    def run(self) -> None:
        """Steps until enough pairs have converged, or there are no more iterations."""
        if self.tracker is not None:
            self.tracker(self)
        while self.ivars["converged_count"] < self.iparams["k"] and self.ivars["iterations_left"] != 0:
            self._step()
            if self.tracker is not None:
                self.tracker(self)

    def _step(self) -> None:
        directions = self.R if self.iK is None else self.iK @ self.R
        new = directions if self._change is None else ops.cat([directions, self._change], 1)
        new = new - self.X @ (self.X.mT @ (new if self.B is None else self.B @ new))
        self.S = self._basis(ops.cat([self.X, self._basis(new)], 1))
        before = self.X
        self.E, self.X, _ = self._best(self.S)
        product = before.mT @ (self.X if self.B is None else self.B @ self.X)
        self._change = self.X - before @ product
        self._look(self.A @ self.X)
        self.ivars["istep"] += 1
        self.ivars["iterations_left"] -= 1


def _solve(
    A: Tensor, B: Tensor | None, X: Tensor, iK: Tensor | None, settings: tuple[dict, dict, dict], tracker: Callable | None
) -> tuple[Tensor, Tensor]:
    if tuple(X.shape) != (settings[0]["m"], settings[0]["n"]):
        raise AssertionError(f"X shape mismatch: got {X.shape}, expected {(settings[0]['m'], settings[0]['n'])}")
    worker = LOBPCG(A, B, X, iK, settings, tracker)
    worker.run()
    k = settings[0]["k"]
    return worker.E[:k], worker.X[:, :k]


class _Pairs(Function):
    """Eigenvalues and eigenvectors that are there already, as functions of the matrix."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, E: Tensor, X: Tensor, largest: bool) -> tuple[Tensor, Tensor]:
        E, X = E.clone(), X.clone()
        ctx.largest = largest
        ctx.save_for_backward(A, E, X)
        return E, X

    @staticmethod
    def backward(ctx: Any, of_values: Tensor, of_vectors: Tensor) -> tuple:
        A, E, X = ctx.saved_tensors
        values, vectors = _linalg["eigh"](A)
        if ctx.largest:
            values, vectors = values.flip(-1), vectors.flip(-1)
        gaps = E.unsqueeze(-2) - values.unsqueeze(-1)
        own = ops.eye(values.shape[-1], E.shape[-1], dtype=dtypes.bool)
        turned = (vectors.mT @ of_vectors / gaps.masked_fill(own, 1)).masked_fill(own, 0)
        return (X * of_values.unsqueeze(-2) + vectors @ turned) @ X.mT, None, None, None


def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Callable | None = None,
    ortho_iparams: dict[str, int] | None = None,
    ortho_fparams: dict[str, float] | None = None,
    ortho_bparams: dict[str, bool] | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The ``k`` largest eigenvalues of :math:`A x = \lambda B x`, and their vectors; the smallest where ``largest`` is false.

    Args:
        A: a symmetric matrix, dense or sparse, or a batch of dense ones: (\*, m, m).
        k: how many pairs; as many as ``X`` has columns, or 1.
        B: a positive definite matrix; the identity where it is not given.
        X: the first approximations, (\*, m, n) with ``n >= k``; random without.
        n: how many approximations, ``k`` if nothing else is said.
        iK: a preconditioner: something like the inverse of ``A``.
        niter: the most iterations; 1000, and no limit if it is -1.
        tol: how small residuals must be, relatively; the root of the dtype's precision.
        method: ``"ortho"`` or ``"basic"``. Both orthogonalize in the robust way.
        tracker: is called with a :class:`LOBPCG` after each step.
        ortho_iparams, ortho_fparams, ortho_bparams: further settings of "ortho", which a tracker can read.

    Returns:
        Eigenvalues (\*, k) and eigenvectors (\*, m, k). Gradients flow to a dense ``A`` where there is no ``B``.

    Raises:
        ValueError: ``A`` has less than three times as many rows as there are approximations.

    >>> import flambeau as torch
    >>> values, vectors = torch.lobpcg(torch.diag(torch.arange(1.0, 10.0)), k=2, X=torch.linspace(-1, 1, 18).reshape(9, 2).sin())
    >>> values
    tensor([9.0000, 8.0000])
    """
    if A.shape[-2] != A.shape[-1]:
        raise AssertionError(f"A must be square, got shape {A.shape}")
    if B is not None and A.shape != B.shape:
        raise AssertionError(f"A and B must have same shape, got {A.shape} vs {B.shape}")
    if method not in (None, "basic", "ortho"):
        raise ValueError(f"lobpcg: method must be 'basic' or 'ortho', but got {method!r}")
    dtype = A.dtype if A.dtype in (dtypes.float32, dtypes.float64) else dtypes.float32
    m = A.shape[-1]
    k = (1 if X is None else X.shape[-1]) if k is None else k
    n = (k if n is None else n) if X is None else X.shape[-1]
    if m < 3 * n:
        raise ValueError(
            f"LOBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the number of requested eigenpairs (={n})"
        )
    largest = largest is None or largest
    tol = tol if tol is not None else {dtypes.float32: 1.2e-07, dtypes.float64: 2.23e-16}[dtype] ** 0.5
    settings: tuple[dict, dict, dict] = (
        {"m": m, "n": n, "k": k, "niter": 1000 if niter is None else niter, **(ortho_iparams or {})},
        {"tol": tol, **(ortho_fparams or {})},
        {"largest": largest, **(ortho_bparams or {})},
    )
    on_tape = any(t is not None and t.requires_grad for t in (A, B))
    if on_tape and A.layout is strided:
        A = (A + A.mT) / 2
    with no_grad():
        E, V = _of_each(A.detach(), B, X, iK, settings, tracker, dtype)
    if not on_tape:
        return E, V
    if A.layout is not strided or B is not None and B.layout is not strided and B.requires_grad:
        raise ValueError("lobpcg.backward does not support sparse input yet. Note that lobpcg.forward does though.")
    if B is not None:
        raise ValueError("lobpcg.backward does not support backward with B != I yet.")
    return _Pairs.apply(A, E, V, largest)


def _of_each(
    A: Tensor, B: Tensor | None, X: Tensor | None, iK: Tensor | None, settings: tuple[dict, dict, dict], tracker: Callable | None, dtype: dtypes.dtype
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The pairs of a matrix, or of each of a batch."""
    m, n, k = (settings[0][name] for name in ("m", "n", "k"))
    if A.dim() == 2:
        return _solve(A, B, ops.randn(m, n, dtype=dtype) if X is None else X, iK, settings, tracker)
    batch = A.shape[:-2]
    As, Bs, Xs = (None if t is None else t.reshape(-1, *t.shape[-2:]) for t in (A, B, X))
    found = []
    for i, a in enumerate(As):  # type: ignore[arg-type]
        settings[0]["batch_index"] = i
        x = ops.randn(m, n, dtype=dtype) if Xs is None else Xs[i]
        found.append(_solve(a, None if Bs is None else Bs[i], x, iK, settings, tracker))
    return ops.stack([e for e, _ in found]).reshape(*batch, k), ops.stack([v for _, v in found]).reshape(*batch, m, k)
