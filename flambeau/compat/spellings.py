"""Modules of PyTorch's layout, old and new, whose names live elsewhere in flambeau."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from flambeau.compat.homes import MOVED

_OF_QUANTIZATION = ("observer", "fake_quantize", "qconfig", "quantize", "quantization_mappings", "fuse_modules", "stubs")
_OF_LAYERS = (
    "quantized",
    "quantized.dynamic",
    "intrinsic",
    "intrinsic.qat",
    "intrinsic.quantized",
    "intrinsic.quantized.dynamic",
    "qat",
)
_QUANTIZATION: dict[str, tuple[str, ...]] = {
    "torch.quantization": ("flambeau.ao.quantization",),
    **{f"torch.quantization.{name}": (f"flambeau.ao.quantization.{name}",) for name in _OF_QUANTIZATION},
    **{f"torch.nn.{name}": (f"flambeau.ao.nn.{name}",) for name in _OF_LAYERS},
    **{f"torch.{ao}nn.{name}.modules": (f"flambeau.ao.nn.{name}",) for name in _OF_LAYERS for ao in ("ao.", "")},
    "torch.ao.nn.intrinsic.modules.fused": ("flambeau.ao.nn.intrinsic",),
    **{f"torch.ao.nn.quantized.modules.{name}": ("flambeau.ao.nn.quantized.weights",) for name in ("linear", "conv", "utils")},
    **{f"torch.ao.nn.quantized.modules.{name}": ("flambeau.ao.nn.quantized.layers",) for name in ("activation", "batchnorm", "normalization", "embedding_ops", "dropout")},
    "torch.ao.nn.quantized.modules.functional_modules": ("flambeau.ao.nn.quantized.functional_modules",),
    "torch.ao.nn.quantized.dynamic.modules.linear": ("flambeau.ao.nn.quantized.dynamic",),
    "torch.ao.nn.quantized.dynamic.modules.rnn": ("flambeau.ao.nn.quantized.dynamic.recurrent",),
}  # fmt: skip

_OF_SHARDING = {
    "fsdp": "_flat_param api sharded_grad_scaler wrap",
    "checkpoint": "_consolidate_hf_safetensors api default_planner filesystem format_utils hf_storage metadata optimizer planner "
    "state_dict state_dict_loader state_dict_saver stateful storage",
    "tensor": "_utils parallel placement_types",
}
_UNAVAILABLE = """
    _functional_collectives algorithms.ddp_comm_hooks.post_localSGD_hook
    algorithms.model_averaging algorithms.model_averaging.averagers launcher launcher.api pipelining"""

# PyTorch's module -> where its names are looked up, in this order: modules, or "module:object" for an object's names. Where
# flambeau has such a module itself, this is where it looks for what it does not have; :data:`~flambeau.compat.homes.MOVED` adds to
# it.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "torch._custom_ops": ("flambeau.library",),
    "torch._library": ("flambeau.library",),
    "torch._library.custom_ops": ("flambeau.library.custom",),
    "torch._library.infer_schema": ("flambeau.library.schema",),
    "torch._ops": ("flambeau.library.operators", "flambeau._higher_order_ops"),
    "torch._higher_order_ops.cond": ("flambeau._higher_order_ops",),
    "torch._higher_order_ops.while_loop": ("flambeau._higher_order_ops",),
    **{
        f"torch._higher_order_ops.{name}": ("flambeau._higher_order_ops.loops",)
        for name in ("associative_scan", "foreach_map", "map", "scan")
    },
    **{
        f"torch._functorch.{name}": ("flambeau.func",)
        for name in ("apis", "batch_norm_replacement", "eager_transforms", "functional_call")
    },
    "torch._functorch.deprecated": ("flambeau.func", "flambeau._functorch.make_functional"),
    "functorch": ("flambeau.func", "flambeau._functorch.make_functional"),
    "functorch.experimental": ("flambeau.func",),
    "functorch.experimental.control_flow": ("flambeau._higher_order_ops", "flambeau._higher_order_ops.loops"),
    "torch._tensor": ("flambeau.tensor.tensor",),
    "torch.autograd.profiler": ("flambeau.profiler",),
    "torch.backends.cpu": ("flambeau.backends:cpu",),
    "torch.backends.cusparselt": ("flambeau.backends:cusparselt",),
    "torch.backends.kleidiai": ("flambeau.backends:kleidiai",),
    "torch.backends.mha": ("flambeau.backends:mha",),
    "torch.backends.miopen": ("flambeau.backends:miopen",),
    "torch.backends.nnpack": ("flambeau.backends:nnpack",),
    "torch.backends.quantized": ("flambeau.backends:quantized",),
    "torch.backends.xnnpack": ("flambeau.backends:xnnpack",),
    "torch.backends.cuda": ("flambeau.backends:cuda",),
    "torch.backends.cudnn": ("flambeau.backends:cudnn",),
    "torch.backends.mkl": ("flambeau.backends:mkl",),
    "torch.backends.mkldnn": ("flambeau.backends:mkldnn",),
    "torch.backends.mps": ("flambeau.backends:mps",),
    "torch.backends.openmp": ("flambeau.backends:openmp",),
    "torch.backends.opt_einsum": ("flambeau.backends:opt_einsum",),
    "torch.functional": ("flambeau",),
    "torch.masked.maskedtensor": ("flambeau.masked.tensor",),
    "torch.optim._adafactor": ("flambeau.optim.adafactor",),
    "torch.optim._muon": ("flambeau.optim.muon",),
    "torch.accelerator.memory": ("flambeau.accelerator",),
    "torch.cpu.amp": ("flambeau.amp",),
    "torch.cpu.amp.autocast_mode": ("flambeau.amp",),
    "torch.cpu.amp.grad_scaler": ("flambeau.amp",),
    "torch.signal.windows.windows": ("flambeau.signal.windows",),
    "torch.cuda.memory": ("flambeau.cuda",),
    "torch.cuda.streams": ("flambeau.cuda",),
    "torch.cuda.random": ("flambeau.cuda",),
    "torch.cuda.graphs": ("flambeau.cuda",),
    "torch.xpu.memory": ("flambeau.xpu",),
    "torch.xpu.random": ("flambeau.xpu",),
    "torch.xpu.streams": ("flambeau.xpu",),
    "torch._tensor_str": ("flambeau.tensor.printing",),
    "torch.distributed.distributed_c10d": ("flambeau.distributed",),
    "torch.distributed._composable": ("flambeau.distributed.fsdp",),
    "torch.distributed._composable.fsdp": ("flambeau.distributed.fsdp",),
    "torch.distributed._tensor": ("flambeau.distributed.tensor",),
    "torch.distributed._tensor.experimental": ("flambeau.distributed.sharding",),
    "torch.distributed.tensor.experimental": ("flambeau.distributed.sharding",),
    "torch.distributed.nn.functional": ("flambeau.distributed.nn",),
    "torch.distributed.fsdp.fully_sharded_data_parallel": ("flambeau.distributed.fsdp",),
    "torch.distributed.constants": ("flambeau.distributed",),
    **{
        f"torch.distributed.{room}.{name}": (f"flambeau.distributed.{room}",)
        for room, names in _OF_SHARDING.items()
        for name in names.split()
    },
    "torch.distributed.tensor.experimental._attention": ("flambeau.distributed.sharding",),
    **{f"torch.distributed.{name}": ("flambeau.distributed.unavailable",) for name in _UNAVAILABLE.split()},
    "torch.distributed.algorithms._checkpoint": ("flambeau.distributed.algorithms",),
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper": ("flambeau.utils.checkpoint_wrapper",),
    **_QUANTIZATION,
    "torch.nested._internal": ("flambeau.nested",),
    "torch.nested._internal.nested_tensor": ("flambeau.nested.tensor",),
    "torch.types": ("flambeau.tensor.types",),
    "torch.utils.data._utils.collate": ("flambeau.utils.data.collate",),
    "torch.utils.data._utils.fetch": ("flambeau.utils.data.fetching",),
    "torch.utils.data._utils.pin_memory": ("flambeau.utils.data.pin_memory",),
    "torch.utils.data._utils.worker": ("flambeau.utils.data.info", "flambeau.utils.data.worker"),
}

# PyTorch's module -> the module of flambeau that is the same, settings and all.
SAME = {"torch.compiler.config": "flambeau._dynamo.compiler_config"}

# What is one file in flambeau and a package in PyTorch. As a package it can be asked for parts that neither has, or that others
# provide.
_PACKAGES = frozenset(
    "torch." + name
    for name in """
    _C _logging accelerator amp backends compiler cpu cuda.amp distributed.checkpoint distributed.elastic.agent distributed.elastic.multiprocessing.errors
    distributed.fsdp distributed.nn distributed.optim distributed.rpc distributed.tensor fft func futures linalg monitor mps profiler
    signal.windows special utils.data._utils utils.data.datapipes.iter utils.data.datapipes.map utils.tensorboard xpu""".split()
)


def is_package(torch_name: str) -> bool:
    """Whether PyTorch's module of that name is a package, where flambeau's need not be one."""
    return torch_name in _PACKAGES or any(name.startswith(torch_name + ".") for name in SPELLINGS)


def _add_moved() -> None:
    """PyTorch's modules in which it defines what flambeau defines elsewhere."""
    for ours, names in MOVED.items():
        for theirs in dict.fromkeys(names.values()):
            places = SPELLINGS.get(theirs, ())
            if ours not in places:
                SPELLINGS[theirs] = (*places, ours)


_add_moved()


def further_name(torch_module: str, name: str) -> Any:
    """What PyTorch defines in a module that flambeau has too, and flambeau in another; ``AttributeError`` if nothing."""
    for place in SPELLINGS.get(torch_module, ()):
        moved = MOVED.get(place, {})
        if torch_module not in moved.values() or torch_module in (moved.get(name), moved.get("*")):
            try:
                return getattr(_home(place), name)
            except AttributeError:
                continue
    raise AttributeError(name)


def give_further_names(module: ModuleType, torch_name: str, part_of: Callable[[ModuleType, str], ModuleType | None]) -> None:
    """Gives `module` a ``__getattr__`` that also finds what PyTorch has in `torch_name` and flambeau elsewhere, and its parts
    (``part_of``)."""
    own = module.__dict__.get("__getattr__")
    if getattr(own, "finds_further_names", False):
        return

    def __getattr__(name: str) -> Any:
        if own is not None:
            try:
                return own(name)
            except AttributeError:
                pass
        part = part_of(module, name)
        if part is not None:
            return part
        try:
            return further_name(torch_name, name)
        except AttributeError:
            raise AttributeError(f"module '{torch_name}' has no attribute '{name}'", name=name) from None

    __getattr__.finds_further_names = True  # type: ignore[attr-defined]
    module.__getattr__ = __getattr__  # type: ignore[method-assign]


def _home(place: str) -> Any:
    module, _, path = place.partition(":")
    return functools.reduce(getattr, path.split(".") if path else (), importlib.import_module(module))


class SpelledModule(ModuleType):
    """A module without contents of its own: its names are those of other modules or objects.

    It is an object apart, so that importing ``torch.a.b`` (which sets ``b`` on ``torch.a``) leaves those others alone.
    """

    def __init__(self, name: str, places: tuple[str, ...]) -> None:
        super().__init__(name, f"Names of {', '.join(places)} where PyTorch programs look for them.")
        self.__path__: list[str] = []
        self._homes = tuple(_home(place) for place in places)
        self.__dict__["__getattr__"] = self._find  # as modules have it

    def _find(self, name: str) -> Any:
        for home in self._homes:
            try:
                return getattr(home, name)
            except AttributeError:
                continue
        raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'", name=name)

    def __dir__(self) -> list[str]:
        return sorted({name for home in self._homes for name in dir(home) if not name.startswith("__")})
