"""Ready-made parametrizations: weight and spectral normalisation, orthogonal matrices."""

from __future__ import annotations

from functools import partial
from typing import Any

from flambeau import linalg, ops
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.utils import parametrize
from flambeau.nn.utils.spectral_norm import as_matrix, output_dim, power_iteration
from flambeau.nn.utils.weight_norm import norm_except_dim
from flambeau.tensor import Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


class _WeightNorm(Module):
    """g v / |v| from the magnitude g and the direction v."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train a weight as its magnitude (``original0``) and its direction (``original1``).

    Args:
        dim: the dimension over which magnitudes differ; None for one magnitude.

    >>> import flambeau as torch
    >>> fc = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(20, 40))
    >>> fc.parametrizations.weight.original0.shape
    torch.Size([40, 1])

    Salimans and Kingma (2016), Weight normalization.
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    module._register_load_state_dict_pre_hook(partial(_rename_old_weights, name))
    return module


def _rename_old_weights(name: str, state_dict: dict, prefix: str, *args: Any) -> None:
    """The state of ``torch.nn.utils.weight_norm`` as that of the parametrization."""
    old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
    if all(key in state_dict for key in old):
        for n, key in enumerate(old):
            state_dict[f"{prefix}parametrizations.{name}.original{n}"] = state_dict.pop(key)


class _SpectralNorm(Module):
    """A weight divided by its largest singular value."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        n = weight.dim()
        if not -n <= dim < n:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{n}, {n - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
        self.dim = dim % n
        self.eps = eps
        if n > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight.detach(), self.dim)
            height, width = matrix.shape
            u = F.normalize(matrix.new_empty(height).normal_(0, 1), dim=0, eps=eps)
            v = F.normalize(matrix.new_empty(width).normal_(0, 1), dim=0, eps=eps)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)
            power_iteration(matrix, self._u, self._v, 15, eps)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        u, v = self._u.clone(), self._v.clone()
        if self.training:
            u, v = power_iteration(matrix, self._u, self._v, self.n_power_iterations, self.eps)
        return weight / ops.dot(u, ops.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value  # assigning means: normalise this one


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value, found by power iteration in training.

    >>> import flambeau as torch
    >>> fc = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(20, 40))
    >>> sorted(fc.state_dict())[1:]
    ['parametrizations.weight.0._u', 'parametrizations.weight.0._v', 'parametrizations.weight.original']

    Miyato et al. (2018), Spectral normalization for generative adversarial networks.
    """
    if not hasattr(module, name):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    dim = output_dim(module) if dim is None else dim
    step = _SpectralNorm(getattr(module, name), n_power_iterations, dim, eps)
    return parametrize.register_parametrization(module, name, step)


class _Orthogonal(Module):
    """An orthogonal matrix computed from a free one, whose lower triangle counts.

    By the exponential or the Cayley map of the skew-symmetric A = X - X^T, or as a product of
    Householder reflections. With trivialization the result is ``base`` times that, so that any
    orthogonal matrix can be where training starts.
    """

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.size(-2) < X.size(-1)
        if wide:
            X = X.mT
        rows, columns = X.shape[-2:]
        if self.orthogonal_map == "householder":
            V = X.tril(-1)
            Q = linalg.householder_product(V, 2.0 / (1.0 + (V * V).sum(-2)))
            Q = Q * X.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
        else:
            X = X.tril()
            if rows != columns:
                X = F.pad(X, (0, rows - columns))
            A = X - X.mH
            if self.orthogonal_map == "matrix_exp":
                Q = ops.matrix_exp(A)
            else:
                eye = ops.eye(rows, dtype=A.dtype, device=A.device)
                Q = linalg.solve(eye - A / 2, eye + A / 2)
            Q = Q[..., :columns]
        if self.use_trivialization:
            Q = self.base @ Q
        return Q.mT if wide else Q

    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}.")
        wide = Q.size(-2) < Q.size(-1)
        tall = Q.mT if wide else Q
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley "
                    "parametrizations when use_trivialization=False."
                )
            X, tau = ops.geqrf(tall)
            signs = X.diagonal(dim1=-2, dim2=-1)
            signs.sign_().mul_(ops.where(tau == 0, -1.0, 1.0))
            return X.mT if wide else X
        rows, columns = tall.shape[-2:]
        if rows != columns:
            more = ops.randn(*tall.shape[:-2], rows, rows - columns, dtype=Q.dtype, device=Q.device)
            tall = ops.cat([tall, more], dim=-1)
        self.base = _nearest_by_qr(tall)
        # minus the identity stands for the identity: A is then zero, and the signs are the reflections'
        start = ops.zeros_like(Q)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def _nearest_by_qr(matrix: Tensor) -> Tensor:
    """The orthogonal factor of the QR decomposition with a positive diagonal of R."""
    q, r = linalg.qr(matrix)
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a matrix orthogonal: Q^T Q = 1 if it is tall, Q Q^T = 1 if it is wide.

    Args:
        orthogonal_map: "matrix_exp" (when left out, for square matrices), "cayley" or
            "householder" (when left out, for others).
        use_trivialization: start from the weight's own orthogonal factor, so that the weight can
            be assigned to.

    >>> import flambeau as torch
    >>> fc = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(20, 40))
    >>> torch.dist(fc.weight.T @ fc.weight, torch.eye(20)).item() < 1e-4
    True

    Lezcano-Casado (2019), Trivializations for gradient-based optimization on manifolds.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}')
    step = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return parametrize.register_parametrization(module, name, step, unsafe=True)
