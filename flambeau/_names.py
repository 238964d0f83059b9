"""Names of ``flambeau`` whose modules are imported when they are asked for, so that a program pays for what it uses."""

from __future__ import annotations

ROOMS = frozenset(
    """
    _C __config__ __future__ _dynamo _guards _inductor _logging _subclasses _utils accelerator amp ao backends compat
    compiler cpu cuda distributed distributions export fft func futures fx hub jit library linalg masked monitor mps
    multiprocessing nested nn onnx optim overrides profiler quasirandom return_types serialization signal slim sparse
    special storage testing utils xpu
    """.split()
)
"""Packages and modules that are names of ``flambeau`` themselves."""

_NAMES = {
    "_C": "DisableTorchFunction DisableTorchFunctionSubclass PyTorchFileReader PyTorchFileWriter",
    "_higher_order_ops": "cond while_loop",
    "_linalg_utils": "eig lstsq matrix_rank solve symeig",
    "_lobpcg": "lobpcg",
    "amp": "GradScaler autocast get_autocast_dtype is_autocast_enabled",
    "ao.quantization.fake_quantize": "fused_moving_avg_obs_fake_quant",
    "autocast_mode": (
        "autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache get_autocast_cpu_dtype "
        "get_autocast_gpu_dtype get_autocast_ipu_dtype get_autocast_xla_dtype is_autocast_cache_enabled is_autocast_cpu_enabled "
        "is_autocast_ipu_enabled is_autocast_xla_enabled set_autocast_cache_enabled set_autocast_cpu_dtype "
        "set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype set_autocast_ipu_dtype "
        "set_autocast_ipu_enabled set_autocast_xla_dtype set_autocast_xla_enabled"
    ),
    "checks": (
        "_assert _assert_async _check _check_index _check_is_size _check_not_implemented _check_tensor_all "
        "_check_tensor_all_with _check_type _check_value _check_with _shape_as_tensor"
    ),
    "compiler": "compile",
    "core.memory_format": "jagged",
    "core.qscheme": (
        "per_channel_affine per_channel_affine_float_qparams per_channel_symmetric per_tensor_affine per_tensor_symmetric qscheme"
    ),
    "cpu": "Event Stream synchronize",
    "diagnosis.doctor": "doctor",
    "distributions.gradients": "_sample_dirichlet",
    "engine.plans": "engine_stats",
    "func": "vmap",
    "futures": "Future",
    "jit": "ScriptFunction ScriptModule fork wait",
    "library.classes": "classes",
    "library.keys": "DispatchKey DispatchKeySet",
    "library.schema": "Argument FunctionSchema parse_schema",
    "library.schema_types": "DeviceObjType ListType OptionalType TensorType",
    "library.tags": "Tag",
    "nn.native": (
        "affine_grid_generator alpha_dropout_ batch_norm batch_norm_update_stats binary_cross_entropy_with_logits "
        "cosine_embedding_loss ctc_loss dropout_ embedding embedding_bag embedding_renorm_ feature_alpha_dropout_ "
        "feature_dropout_ frobenius_norm group_norm gru gru_cell hinge_embedding_loss instance_norm kl_div layer_norm lstm "
        "lstm_cell margin_ranking_loss native_dropout norm_except_dim nuclear_norm poisson_nll_loss rnn_relu rnn_relu_cell "
        "rnn_tanh rnn_tanh_cell triplet_margin_loss"
    ),
    "ops.quantization": "fake_quantize_per_channel_affine fake_quantize_per_tensor_affine",
    "ops.segments": "_segment_reduce",
    "pictures.explaining": "explain",
    "pictures.summary": "summary",
    "quantized.creation": (
        "_choose_qparams_per_tensor _empty_affine_quantized _make_per_channel_quantized_tensor "
        "_make_per_tensor_quantized_tensor dequantize int_repr q_per_channel_axis q_per_channel_scales "
        "q_per_channel_zero_points q_scale q_zero_point quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic"
    ),
    "quantized.functions": "quantized_batch_norm quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d",
    "quantized.weight_only": "_convert_weight_to_int4pack_for_cpu _int_mm _weight_int4pack_mm_for_cpu _weight_int8pack_mm",
    "random": "thread_safe_generator",
    "serialization": "load save",
    "settings": (
        "compiled_with_cxx11_abi cudnn_is_acceptable get_float32_matmul_precision init_num_threads is_vulkan_available "
        "set_anomaly_enabled set_float32_matmul_precision set_flush_denormal"
    ),
    "signal": "windows",
    "slim": "export_c export_slim load_slim load_slim_program",
    "sparse.creation": (
        "_convert_indices_from_coo_to_csr _convert_indices_from_csr_to_coo sparse_bsc_tensor sparse_bsr_tensor "
        "sparse_compressed_tensor sparse_coo_tensor sparse_csc_tensor sparse_csr_tensor"
    ),
    "sparse.functions": (
        "ccol_indices_copy col_indices_copy crow_indices_copy dsmm hsmm hspmm indices_copy row_indices_copy saddmm smm spmm "
        "sspaddmm values_copy"
    ),
    "symbolic": (
        "SymBool SymFloat SymInt sym_constrain_range sym_constrain_range_for_size sym_float sym_fresh_size sym_int sym_ite "
        "sym_max sym_min sym_not sym_sqrt sym_sum"
    ),
    "tensor": "types",
    "tensor.typed_storages": "from_file",
}
"""By the module, the names that it has for ``flambeau``."""

NAMES = {name: module for module, names in _NAMES.items() for name in names.split()}
"""By name, the module that has it."""
