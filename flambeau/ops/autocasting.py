"""Which ops automatic mixed precision casts the arguments of, and to what.

Source: https://docs.pytorch.org/docs/stable/amp.html#cpu-op-specific-behavior
"""

from __future__ import annotations

_LOWER = (
    "mm bmm addmm addbmm baddbmm matmul linalg.vecdot linalg.multi_dot chain_matmul nn.functional.linear convolution "
    "nn.functional.conv1d nn.functional.conv2d nn.functional.conv3d nn.functional.conv_transpose1d "
    "nn.functional.conv_transpose2d nn.functional.conv_transpose3d nn.functional.conv_tbc "
    "nn.functional.scaled_dot_product_attention"
)
_FLOAT32 = (
    "nn.functional.avg_pool3d nn.functional.binary_cross_entropy nn.functional.binary_cross_entropy_with_logits "
    "nn.functional.grid_sample polar prod quantile nanquantile stft cdist trace view_as_complex cholesky cholesky_inverse "
    "cholesky_solve inverse lu_solve orgqr ormqr pinverse nn.functional.mse_loss nn.functional.cosine_embedding_loss "
    "nn.functional.nll_loss nn.functional.hinge_embedding_loss nn.functional.poisson_nll_loss nn.functional.smooth_l1_loss "
    "nn.functional.cross_entropy nn.functional.l1_loss nn.functional.huber_loss nn.functional.margin_ranking_loss "
    "nn.functional.soft_margin_loss nn.functional.triplet_margin_loss nn.functional.multi_margin_loss "
    "nn.functional.ctc_loss nn.functional.kl_div nn.functional.multilabel_margin_loss"
)

LOWER, FLOAT32, WIDEST = "lower", "float32", "widest"
POLICIES = {name: LOWER for name in _LOWER.split()} | {name: FLOAT32 for name in _FLOAT32.split()}
POLICIES |= {"cat": WIDEST, "stack": WIDEST, "index_copy": WIDEST}
"""What is done to the arguments of an op: cast down, cast up to float32, cast to the widest dtype among them."""
