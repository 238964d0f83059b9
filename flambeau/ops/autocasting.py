"""Which ops automatic mixed precision casts the arguments of, and to what.

Source: https://docs.pytorch.org/docs/stable/amp.html#cpu-op-specific-behavior
"""

from __future__ import annotations

from collections.abc import Callable

_LOWER = """
    mm bmm addmm addbmm baddbmm matmul linalg.vecdot linalg.multi_dot chain_matmul prelu nn.functional.linear
    nn.functional.conv1d nn.functional.conv2d nn.functional.conv3d nn.functional.conv_transpose1d
    nn.functional.conv_transpose2d nn.functional.conv_transpose3d nn.functional.conv_tbc
    nn.functional.scaled_dot_product_attention
"""
_FLOAT32 = """
    prod quantile nanquantile stft trace polar view_as_complex cdist
    cholesky cholesky_inverse cholesky_solve inverse lu_solve orgqr ormqr pinverse geqrf lu qr svd triangular_solve
    linalg.cond linalg.matrix_rank linalg.solve linalg.cholesky linalg.cholesky_ex linalg.svdvals linalg.eigvals
    linalg.eigvalsh linalg.inv linalg.inv_ex linalg.householder_product linalg.tensorinv linalg.tensorsolve linalg.qr
    linalg.svd linalg.eig linalg.eigh linalg.lstsq linalg.lu_factor linalg.lu_factor_ex
    fft.fft fft.ifft fft.fft2 fft.ifft2 fft.fftn fft.ifftn fft.rfft fft.irfft fft.rfft2 fft.irfft2 fft.rfftn fft.irfftn
    fft.hfft fft.ihfft
    nn.functional.grid_sample nn.functional.avg_pool3d nn.functional.max_pool3d nn.functional.adaptive_avg_pool3d
    nn.functional.adaptive_max_pool3d nn.functional.adaptive_max_pool3d_with_indices
    nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool2d_with_indices nn.functional.fractional_max_pool3d
    nn.functional.fractional_max_pool3d_with_indices
    nn.functional.max_unpool1d nn.functional.max_unpool2d nn.functional.max_unpool3d
    nn.functional.binary_cross_entropy nn.functional.binary_cross_entropy_with_logits
    nn.functional.cosine_embedding_loss nn.functional.cross_entropy nn.functional.ctc_loss
    nn.functional.hinge_embedding_loss nn.functional.huber_loss nn.functional.kl_div nn.functional.l1_loss
    nn.functional.margin_ranking_loss nn.functional.mse_loss nn.functional.multi_margin_loss
    nn.functional.multilabel_margin_loss nn.functional.nll_loss nn.functional.poisson_nll_loss
    nn.functional.smooth_l1_loss nn.functional.soft_margin_loss nn.functional.triplet_margin_loss
"""

LOWER, FLOAT32, WIDEST = "lower", "float32", "widest"


def _of_pad(input, pad, mode: str = "constant", value=None) -> str | None:
    """Reflection of volumes, and what is no reflection or replication, stay as they are."""
    return FLOAT32 if mode == "replicate" or mode == "reflect" and len(pad) < 6 else None


def _of_response(input, *args, **kwargs) -> str | None:
    """Only images (and volumes) are averaged by a pool that needs float32."""
    return FLOAT32 if input.dim() > 3 else None


def _as_it_is(*args, **kwargs) -> None:
    """Neither the arguments nor what is computed inside: PyTorch has a kernel for it that knows no autocast."""


POLICIES: dict[str, str | Callable] = {name: LOWER for name in _LOWER.split()}
POLICIES |= {name: FLOAT32 for name in _FLOAT32.split()}
POLICIES |= {"cat": WIDEST, "stack": WIDEST, "index_copy": WIDEST}
POLICIES |= {"nn.functional.pad": _of_pad, "nn.functional.local_response_norm": _of_response}
POLICIES |= {"convolution": _as_it_is, "nn.functional.bilinear": _as_it_is}
"""What is done to the arguments of an op: cast down, cast up to float32, cast to the widest dtype among them; or what says that
for a call (``None``: nothing)."""
