"""Adam for sparse gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau import ops
from flambeau.tensor import Tensor

from .checks import check_betas
from .optimizer import Optimizer, ParamsT
from .scalars import hyperparameter

if TYPE_CHECKING:
    from flambeau.sparse.tensor import SparseTensor

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam whose moments and parameters change only where the gradient has elements (torch.optim.SparseAdam).

    As :class:`~flambeau.optim.Adam`, for each row that the sparse gradient has; the others stay as they are, their moments too.

    Args:
        params: dense parameters with sparse gradients, such as those of ``Embedding(sparse=True)``.
        lr, betas, eps: as of Adam.
        maximize: go uphill.

    Raises ``ValueError`` for sparse parameters, ``RuntimeError`` for dense gradients.

    >>> import flambeau as torch
    >>> table = torch.nn.Embedding.from_pretrained(torch.ones(3, 1), freeze=False, sparse=True)
    >>> optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.5)
    >>> table(torch.tensor([1])).sum().backward()
    >>> optimizer.step()
    >>> table.weight.detach().reshape(-1)
    tensor([1.0000, 0.5000, 1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SparseAdam.html
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 < lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not 0.0 < eps:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        for i, param in enumerate(self._all_params()):
            if param.is_sparse:
                raise ValueError(f"Sparse params at indices {[i]}: SparseAdam requires dense parameter tensors")

    def _update_group(self, group: dict[str, Any]) -> None:
        if any(p.grad is not None for p in group["params"]):
            raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")

    def _update_sparse(self, param: Tensor, grad: SparseTensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = ops.zeros_like(param), ops.zeros_like(param)
        state["step"] += 1
        grad = grad.coalesce()
        if not grad._nnz():
            return
        beta1, beta2 = group["betas"]
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        values = grad._values()
        old_mean, old_square = mean.sparse_mask(grad)._values(), square.sparse_mask(grad)._values()
        more_mean, more_square = (values - old_mean) * (1 - beta1), (values.pow(2) - old_square) * (1 - beta2)
        mean.add_(grad._with(more_mean))
        square.add_(grad._with(more_square))
        step = state["step"]
        size = hyperparameter(group["lr"]) * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        param.add_(grad._with(-size * ((old_mean + more_mean) / ((old_square + more_square).sqrt() + group["eps"]))))
