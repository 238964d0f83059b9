"""Where PyTorch defines what flambeau defines elsewhere: under the disguise classes and functions have PyTorch's ``__module__``.

Programs compare and print these names, and pickles contain them, so that what is pickled here can be read there.
"""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any

__all__ = ["MOVED", "home_of", "named_as_in_torch"]

# flambeau's module -> PyTorch's: the names that live there ("*": all others). What is not here has the same place in both.
_TABLE = """
_higher_order_ops -> _ops: HigherOrderOperator
_rearrange -> func: *
ao.nn.intrinsic -> ao.nn.intrinsic.modules.fused: *
ao.nn.intrinsic.qat -> ao.nn.intrinsic.qat.modules.conv_fused: *
ao.nn.intrinsic.quantized -> ao.nn.intrinsic.quantized.modules.conv_relu: *
ao.nn.quantized.dynamic -> ao.nn.quantized.dynamic.modules.conv: Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
ao.nn.quantized.dynamic -> ao.nn.quantized.dynamic.modules.linear: Linear
ao.nn.quantized.dynamic.recurrent -> ao.nn.quantized.dynamic.modules.rnn: *
ao.nn.quantized.functional_modules -> ao.nn.quantized.modules.functional_modules: *
ao.nn.quantized.layers -> ao.nn.quantized.modules: DeQuantize Quantize
ao.nn.quantized.layers -> ao.nn.quantized.modules.activation: ELU Hardswish LeakyReLU PReLU ReLU6 Sigmoid Softmax
ao.nn.quantized.layers -> ao.nn.quantized.modules.batchnorm: BatchNorm2d BatchNorm3d
ao.nn.quantized.layers -> ao.nn.quantized.modules.dropout: Dropout
ao.nn.quantized.layers -> ao.nn.quantized.modules.embedding_ops: Embedding EmbeddingBag EmbeddingPackedParams
ao.nn.quantized.layers -> ao.nn.quantized.modules.normalization: GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d LayerNorm
ao.nn.quantized.weights -> ao.nn.quantized.modules.conv: Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
ao.nn.quantized.weights -> ao.nn.quantized.modules.linear: Linear LinearPackedParams
amp -> .: get_autocast_dtype is_autocast_enabled
amp -> amp.autocast_mode: autocast custom_bwd custom_fwd is_autocast_available
amp -> amp.grad_scaler: GradScaler OptState
autograd.anomaly -> .: is_anomaly_check_nan_enabled is_anomaly_enabled
autograd.anomaly -> autograd.anomaly_mode: *
autograd.engine -> autograd: backward grad
autograd.modes -> .: is_grad_enabled is_inference_mode_enabled
autograd.modes -> autograd.grad_mode: *
autograd.saving -> autograd.graph: *
batching.vmap -> func: vmap
compiler -> .: compile
compiling.errors -> _dynamo.exc: *
compiling.module -> _dynamo.eval_frame: OptimizedModule
core.dtypes -> .: can_cast finfo get_default_dtype iinfo promote_types set_default_dtype
core.errors -> .: is_warn_always_enabled set_warn_always
core.hooks -> utils.hooks: *
core.nests -> utils._pytree: *
core.random.generator -> _C: Generator
core.size -> functional: broadcast_shapes
cuda.amp -> cuda.amp.autocast_mode: autocast
cuda.amp -> cuda.amp.grad_scaler: GradScaler
distributions.composed -> distributions.independent: Independent
distributions.composed -> distributions.mixture_same_family: MixtureSameFamily
distributions.composed -> distributions.transformed_distribution: TransformedDistribution
distributions.continuous -> distributions.cauchy: Cauchy
distributions.continuous -> distributions.exponential: Exponential
distributions.continuous -> distributions.generalized_pareto: GeneralizedPareto
distributions.continuous -> distributions.laplace: Laplace
distributions.continuous -> distributions.normal: Normal
distributions.continuous -> distributions.uniform: Uniform
distributions.continuous -> distributions.von_mises: VonMises
distributions.discrete -> distributions.bernoulli: Bernoulli
distributions.discrete -> distributions.binomial: Binomial
distributions.discrete -> distributions.continuous_bernoulli: ContinuousBernoulli
distributions.discrete -> distributions.geometric: Geometric
distributions.categorical -> distributions.multinomial: Multinomial
distributions.discrete -> distributions.negative_binomial: NegativeBinomial
distributions.categorical -> distributions.one_hot_categorical: OneHotCategorical OneHotCategoricalStraightThrough
distributions.discrete -> distributions.poisson: Poisson
distributions.distribution -> distributions.exp_family: ExponentialFamily
distributions.gamma_family -> distributions.beta: Beta
distributions.gamma_family -> distributions.chi2: Chi2
distributions.gamma_family -> distributions.dirichlet: Dirichlet
distributions.gamma_family -> distributions.fishersnedecor: FisherSnedecor
distributions.gamma_family -> distributions.gamma: Gamma
distributions.gamma_family -> distributions.studentT: StudentT
distributions.matrices -> distributions.lkj_cholesky: LKJCholesky
distributions.matrices -> distributions.wishart: Wishart
distributions.elementwise_transforms -> distributions.transforms: *
distributions.more_transforms -> distributions.transforms: *
distributions.multivariate -> distributions.lowrank_multivariate_normal: LowRankMultivariateNormal
distributions.multivariate -> distributions.multivariate_normal: MultivariateNormal _batch_mahalanobis _batch_mv _precision_to_scale_tril
distributions.relaxed -> distributions.relaxed_bernoulli: LogitRelaxedBernoulli RelaxedBernoulli
distributions.relaxed -> distributions.relaxed_categorical: ExpRelaxedCategorical RelaxedOneHotCategorical
distributions.transformed -> distributions.gumbel: Gumbel
distributions.transformed -> distributions.half_cauchy: HalfCauchy
distributions.transformed -> distributions.half_normal: HalfNormal
distributions.transformed -> distributions.inverse_gamma: InverseGamma
distributions.transformed -> distributions.kumaraswamy: Kumaraswamy
distributions.transformed -> distributions.log_normal: LogNormal
distributions.transformed -> distributions.logistic_normal: LogisticNormal
distributions.transformed -> distributions.pareto: Pareto
distributions.transformed -> distributions.weibull: Weibull
fx.codegen -> fx.graph: CodeGen PythonCode
jit -> _jit_internal: _copy_to_script_wrapper ignore is_scripting unused
jit -> jit._freeze: freeze optimize_for_inference
jit -> jit._fuser: optimized_execution
jit -> jit._script: Attribute ScriptModule script script_method
jit -> jit._trace: is_tracing trace trace_module
library.schema_types -> .: BoolType DeviceObjType DictType FloatType IntType ListType NoneType NumberType OptionalType StringType TensorType TupleType
masked.reductions -> masked._ops: *
masked.tensor -> masked.maskedtensor.core: MaskedTensor is_masked_tensor
masked.tensor -> masked.maskedtensor.creation: as_masked_tensor masked_tensor
utils.selective -> utils.checkpoint: CheckpointPolicy SelectiveCheckpointContext create_selective_checkpoint_contexts
nn.modules._hooks -> utils.hooks: BackwardHook
nn.modules._hooks -> nn.modules.module: *
nn.modules.attention -> nn.modules.activation: MultiheadAttention
nn.modules.lazy -> nn.modules.batchnorm: LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d
nn.modules.lazy -> nn.modules.conv: LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d
    LazyConvTranspose3d
nn.modules.lazy -> nn.modules.instancenorm: LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d
nn.modules.lazy -> nn.modules.linear: LazyLinear
nn.modules.linear_cross_entropy -> nn.modules.loss: *
nn.modules._losses -> nn.modules.loss: *
nn.modules.loss_margin -> nn.modules.loss: *
nn.modules.rectifiers -> nn.modules.activation: *
nn.modules.rnn_cells -> nn.modules.rnn: *
nn.modules.sync_batchnorm -> nn.modules.batchnorm: *
nn.utils.weight_norm -> .: norm_except_dim
optim.adafactor -> optim: Adafactor
optim.hooks -> optim.optimizer: *
optim.lr_scheduler.base -> optim.lr_scheduler: *
optim.lr_scheduler.combine -> optim.lr_scheduler: *
optim.lr_scheduler.cosine -> optim.lr_scheduler: *
optim.lr_scheduler.cyclic -> optim.lr_scheduler: *
optim.lr_scheduler.decay -> optim.lr_scheduler: *
optim.lr_scheduler.plateau -> optim.lr_scheduler: *
optim.muon -> optim: Muon
quantized.creation -> .: *
quantized.weight_only -> .: *
profiler -> autograd.profiler: emit_itt emit_nvtx profile record_function
profiler -> profiler.profiler: *
library.schema -> .: Argument FunctionSchema
tensor.overriding -> _C: DisableTorchFunction DisableTorchFunctionSubclass
repositories -> hub: *
serialization.locations -> serialization: *
serialization.archive -> serialization: *
serialization.pickles -> storage: _load_from_bytes
serialization.rebuilding -> serialization: _get_layout
serialization.rebuilding -> _tensor: _rebuild_from_type_v2
serialization.rebuilding -> _utils: *
serialization.vocabulary -> serialization: *
tensor.exchange -> .: as_tensor asarray from_numpy frombuffer tensor
tensor.exchange -> utils.dlpack: from_dlpack
tensor.printing -> _tensor_str: *
tensor.record -> .: result_type
tensor.sharing -> multiprocessing.reductions: *
tensor.storage -> types: Storage
testing.comparison -> testing._comparison: *
testing.creation -> testing._creation: *
threads -> .: get_num_interop_threads get_num_threads set_num_interop_threads set_num_threads
utils.data.collate -> utils.data._utils.collate: *
utils.data.info -> utils.data._utils.worker: *
utils.data.worker -> utils.data._utils.worker: *
distributed._collectives -> distributed.distributed_c10d: *
distributed._errors -> distributed: *
distributed._group -> distributed.distributed_c10d: *
distributed._messages -> distributed.distributed_c10d: *
distributed._objects -> distributed.distributed_c10d: *
distributed.placements -> distributed.tensor.placement_types: *
distributed._reduction -> distributed.distributed_c10d: *
distributed._store -> distributed: *
distributed._tcp_store -> distributed: *
distributed._work -> distributed.distributed_c10d: *
"""


def _read() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for line in _TABLE.replace("\n    ", " ").strip().splitlines():
        places, _, names = line.partition(": ")
        ours, _, theirs = places.partition(" -> ")
        for name in names.split():
            table.setdefault(f"flambeau.{ours}", {})[name] = "torch" if theirs == "." else f"torch.{theirs}"
    return table


MOVED = _read()
"""flambeau's module -> names (or ``"*"``) -> PyTorch's module."""


def home_of(module: str, name: str) -> str:
    """The module in which PyTorch defines what ``module`` of flambeau calls ``name``.

    >>> home_of("flambeau.optim.lr_scheduler.decay", "StepLR"), home_of("flambeau.nn.modules.linear", "Linear")
    ('torch.optim.lr_scheduler', 'torch.nn.modules.linear')
    """
    moved = MOVED.get(module, {})
    return moved.get(name) or moved.get("*") or "torch" + module[len("flambeau") :]


def named_as_in_torch(module: ModuleType, is_public: bool) -> None:
    """Gives the classes and functions that ``module`` defines PyTorch's ``__module__``.

    A module that PyTorch has in no place keeps its names, but for those that it defines for another.
    """
    spec = module.__spec__
    ours = module.__name__ if spec is None else spec.name
    moved = MOVED.get(ours)
    if not is_public and moved is None:
        return
    value: Any
    for value in list(vars(module).values()):
        if isinstance(value, (type, FunctionType)) and value.__module__ == ours:
            name = value.__qualname__
            if is_public or moved is not None and (name in moved or "*" in moved):
                value.__module__ = home_of(ours, name)
