"""Functions of libraries for other devices, and of other layouts in memory, that PyTorch has under ``torch``: calling one is
refused.

PyTorch's own layers choose them where there is such a device; programs that do so themselves find here what they are told on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

NAMES = frozenset(
    "batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats batch_norm_gather_stats_with_counts batch_norm_stats "
    "cudnn_affine_grid_generator cudnn_batch_norm cudnn_convolution cudnn_convolution_add_relu cudnn_convolution_relu cudnn_convolution_transpose "
    "cudnn_grid_sampler fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation fbgemm_linear_int8_weight "
    "fbgemm_linear_int8_weight_fp32_activation fbgemm_linear_quantize_weight fbgemm_pack_gemm_matrix_fp16 fbgemm_pack_quantized_matrix "
    "miopen_batch_norm miopen_convolution miopen_convolution_add_relu miopen_convolution_relu miopen_convolution_transpose miopen_ctc_loss "
    "miopen_depthwise_convolution miopen_rnn mkldnn_adaptive_avg_pool2d mkldnn_convolution mkldnn_linear_backward_weights mkldnn_max_pool2d "
    "mkldnn_max_pool3d mkldnn_rnn_layer native_norm".split()
)


def _refusing(name: str) -> Callable:
    def refused(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"Could not run 'aten::{name}' with arguments from the 'CPU' backend: it is a function of a library that flambeau does without. "
            "torch.nn.functional has what it computes"
        )

    refused.__name__ = refused.__qualname__ = name
    refused.__module__ = "torch"
    refused.__doc__ = f"Refuses: ``{name}`` is a function of another library; :mod:`torch.nn.functional` has what it computes."
    return refused


globals().update({name: _refusing(name) for name in NAMES})
