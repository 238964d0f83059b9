"""Models made to quantized ones, layer by layer.

Source: https://docs.pytorch.org/docs/stable/quantization.html#eager-mode-quantization
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

from flambeau.ao.nn import quantized
from flambeau.ao.nn.intrinsic import _FusedModule
from flambeau.ao.quantization import qconfig as configs
from flambeau.ao.quantization.fake_quantize import FakeQuantizeBase
from flambeau.ao.quantization.observer import ObserverBase, quint8
from flambeau.ao.quantization.quantization_mappings import (
    DEFAULT_MODULE_TO_ACT_POST_PROCESS,
    get_default_dynamic_quant_module_mappings,
    get_default_qat_module_mappings,
    get_default_qconfig_propagation_list,
    get_default_static_quant_module_mappings,
)
from flambeau.ao.quantization.stubs import DeQuantStub, QuantWrapper
from flambeau.core import dtypes
from flambeau.nn import modules as nn
from flambeau.nn.modules.module import Module

__all__ = [
    "add_quant_dequant",
    "convert",
    "prepare",
    "prepare_qat",
    "propagate_qconfig_",
    "quantize",
    "quantize_dynamic",
    "quantize_qat",
    "swap_module",
]

qint8 = dtypes.qint8


def propagate_qconfig_(module: Module, qconfig_dict: dict | None = None, prepare_custom_config_dict: dict | None = None) -> None:
    """Gives each layer a ``qconfig``: its own, or by its name or class, or that of the module that it is in."""
    _propagate(module, qconfig_dict or {}, None, "")


def _propagate(module: Any, by: dict, parent: Any, prefix: str) -> None:
    config = by.get(type(module), parent)
    module.qconfig = getattr(module, "qconfig", by.get(prefix, config))
    for name, child in module.named_children():
        _propagate(child, by, module.qconfig, f"{prefix}.{name}" if prefix else name)


# --- observers ------------------------------------------------------------------------------------------------


def _observer_forward_hook(self: Any, input: Any, output: Any) -> Any:
    """Lets the observer look at what a layer gives."""
    return self.activation_post_process(output)


def _observer_forward_pre_hook(self: Any, input: Any) -> Any:
    """Lets the observer look at what a layer is given."""
    return self.activation_post_process(input[0])


def _looks_before(config: Any) -> bool:
    """Whether what is observed is the input, as where each one is quantized by itself."""
    made = config.activation()
    seen = made.activation_post_process if isinstance(made, FakeQuantizeBase) and hasattr(made, "activation_post_process") else made
    return getattr(seen, "averaging_constant", None) == 1 and getattr(seen, "is_dynamic", False)


def _observe(module: Any, special: Any = None) -> None:
    if getattr(module, "qconfig", None) is None or isinstance(module, DeQuantStub):
        return
    module.add_module("activation_post_process", (special or module.qconfig.activation)())
    if _looks_before(module.qconfig):
        module.register_forward_pre_hook(_observer_forward_pre_hook, prepend=True)
    else:
        module.register_forward_hook(_observer_forward_hook, prepend=True)


def _add_observers(module: Any, kinds: set, non_leaf: set) -> None:
    for child in [*module.children()]:
        kind = type(child)
        if kind is nn.Dropout:
            continue
        if kind in (nn.LSTM, nn.MultiheadAttention) and getattr(child, "qconfig", None) is not None:
            raise NotImplementedError(
                f"prepare: flambeau does not quantize {kind.__name__} by observers; set its qconfig to None, or use quantize_dynamic for it"
            )
        if issubclass(kind, quantized.FloatFunctional):
            if getattr(child, "qconfig", None) is not None:
                child.activation_post_process = child.qconfig.activation()
        elif isinstance(child, _FusedModule) or kind in non_leaf:
            _observe(child)
        elif child.training and kind in DEFAULT_MODULE_TO_ACT_POST_PROCESS:
            _observe(child, DEFAULT_MODULE_TO_ACT_POST_PROCESS[kind])
        else:
            _add_observers(child, kinds, non_leaf)
    if not [*module.children()] and type(module) is not nn.Sequential and type(module) in kinds:
        _observe(module)


def prepare(
    model: Any, inplace: bool = False, allow_list: set | None = None, observer_non_leaf_module_list: set | None = None,
    prepare_custom_config_dict: dict | None = None,
) -> Any:  # fmt: skip
    """Puts observers behind the layers that have a ``qconfig``. What the model is then given they look at.

    Args:
        allow_list: the classes of layers that are observed.
    """
    model = model if inplace else copy.deepcopy(model)
    propagate_qconfig_(model)
    if not any(getattr(m, "qconfig", None) for m in model.modules()):
        warnings.warn(
            "None of the submodule got qconfig applied. Make sure you passed correct configuration through `qconfig_dict` or "
            "by assigning the `.qconfig` attribute directly on submodules", stacklevel=2,
        )  # fmt: skip
    _add_observers(model, allow_list or get_default_qconfig_propagation_list(), observer_non_leaf_module_list or set())
    return model


def prepare_qat(model: Any, mapping: dict | None = None, inplace: bool = False) -> Any:
    """Makes a model one whose weights and activations are rounded while it is trained."""
    if not model.training:
        raise AssertionError("prepare_qat only works on models in training mode")
    mapping = get_default_qat_module_mappings() if mapping is None else mapping
    model = model if inplace else copy.deepcopy(model)
    propagate_qconfig_(model)
    convert(model, mapping, inplace=True, remove_qconfig=False)
    return prepare(model, observer_non_leaf_module_list=set(mapping.values()), inplace=True)


def add_quant_dequant(module: Any) -> Any:
    """Puts each layer with a ``qconfig`` between stubs."""
    if not [*module.children()] and getattr(module, "qconfig", None):
        return QuantWrapper(module)
    for name, child in module.named_children():
        module._modules[name] = add_quant_dequant(child)
    return module


# --- conversion -----------------------------------------------------------------------------------------------


def swap_module(
    mod: Any, mapping: dict, custom_module_class_mapping: dict | None = None, use_precomputed_fake_quant: bool = False
) -> Any:
    """The quantized layer for one with a ``qconfig``, or the layer itself; hooks of users move to it."""
    kind = type(mod)
    custom = custom_module_class_mapping or {}
    if getattr(mod, "qconfig", None) is None or kind not in mapping and kind not in custom:
        return mod
    new = custom[kind].from_observed(mod) if kind in custom else mapping[kind].from_float(mod)
    for hook in mod._forward_pre_hooks.values():
        if hook is not _observer_forward_pre_hook:
            new.register_forward_pre_hook(hook)
    for hook in mod._forward_hooks.values():
        if hook is not _observer_forward_hook:
            new.register_forward_hook(hook)
    return new


def _convert(module: Any, mapping: dict, custom: dict) -> None:
    for name, child in [*module.named_children()]:
        if not isinstance(child, _FusedModule) and type(child) not in custom:
            _convert(child, mapping, custom)
        module._modules[name] = swap_module(child, mapping, custom)


def _remove_qconfig(module: Any) -> None:
    for child in module.children():
        _remove_qconfig(child)
    if hasattr(module, "qconfig"):
        del module.qconfig
    if isinstance(getattr(module, "activation_post_process", None), (ObserverBase, FakeQuantizeBase)):
        del module.activation_post_process
    for hooks, ours in ((module._forward_hooks, _observer_forward_hook), (module._forward_pre_hooks, _observer_forward_pre_hook)):
        for key in [key for key, hook in hooks.items() if hook is ours]:
            del hooks[key]


def convert(
    module: Any, mapping: dict | None = None, inplace: bool = False, remove_qconfig: bool = True, is_reference: bool = False,
    convert_custom_config_dict: dict | None = None, use_precomputed_fake_quant: bool = False,
) -> Any:  # fmt: skip
    """Makes of each layer with a ``qconfig`` the one that ``mapping`` says, by its ``from_float``.

    Args:
        remove_qconfig: takes away configurations and observers in the end.
    """
    if is_reference:
        raise NotImplementedError("convert(is_reference=True): flambeau has no reference modules")
    custom = (convert_custom_config_dict or {}).get("observed_to_quantized_custom_module_class", {})
    module = module if inplace else copy.deepcopy(module)
    _convert(module, get_default_static_quant_module_mappings() if mapping is None else mapping, custom)
    if remove_qconfig:
        _remove_qconfig(module)
    return module


def quantize(model: Any, run_fn: Callable, run_args: Any, mapping: dict | None = None, inplace: bool = False) -> Any:
    """Prepares a model, lets ``run_fn(model, *run_args)`` show it numbers, and converts it."""
    model = model if inplace else copy.deepcopy(model)
    model.eval()
    prepare(model, inplace=True)
    run_fn(model, *run_args)
    return convert(model, mapping, inplace=True)


def quantize_qat(model: Any, run_fn: Callable, run_args: Any, inplace: bool = False) -> Any:
    """Prepares a model for training, lets ``run_fn(model, *run_args)`` train it, and converts it."""
    model = model if inplace else copy.deepcopy(model)
    model.train()
    prepare_qat(model, inplace=True)
    run_fn(model, *run_args)
    return convert(model, inplace=True)


def _dynamic_config(dtype: Any) -> Any:
    found = {
        qint8: configs.default_dynamic_qconfig,
        dtypes.float16: configs.float16_dynamic_qconfig,
        quint8: configs.float_qparams_weight_only_qconfig,
    }
    if dtype not in found:
        raise ValueError(f"Don't know how to quantize with default settings for {dtype}. Provide full qconfig please")
    return found[dtype]


def quantize_dynamic(
    model: Any, qconfig_spec: Any = None, dtype: Any = qint8, mapping: dict | None = None, inplace: bool = False
) -> Any:
    """A model whose linear and recurrent layers have weights of integers; numbers are quantized as they come.

    Args:
        qconfig_spec: a set of classes and names of layers, or a dictionary of them with configurations.
        dtype: ``torch.qint8``, ``torch.float16``, or ``torch.quint8`` for embeddings.

    >>> import flambeau as torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear})
    Sequential(
      (0): DynamicQuantizedLinear(in_features=4, out_features=8, dtype=torch.qint8, qscheme=torch.per_tensor_affine)
      (1): ReLU()
      (2): DynamicQuantizedLinear(in_features=8, out_features=2, dtype=torch.qint8, qscheme=torch.per_tensor_affine)
    )

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ao.quantization.quantize_dynamic.html
    """
    if qconfig_spec is None:
        config = _dynamic_config(dtype)
        kinds = (
            (nn.EmbeddingBag, nn.Embedding)
            if dtype is quint8
            else (nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.RNNCell, nn.GRUCell)
        )
        qconfig_spec = dict.fromkeys(kinds, config)
    elif isinstance(qconfig_spec, set):
        qconfig_spec = dict.fromkeys(qconfig_spec, _dynamic_config(dtype))
    model = model if inplace else copy.deepcopy(model)
    model.eval()
    propagate_qconfig_(model, qconfig_spec)
    return convert(model, get_default_dynamic_quant_module_mappings() if mapping is None else mapping, inplace=True)
