"""Layers that follow each other, made one: a convolution, the normalisation and the ReLU behind it.

Source: https://docs.pytorch.org/docs/stable/generated/torch.ao.quantization.fuse_modules.fuse_modules.html
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from flambeau.ao.nn import intrinsic as fused
from flambeau.nn import modules as nn
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

__all__ = [
    "fuse_conv_bn",
    "fuse_conv_bn_relu",
    "fuse_convtranspose_bn",
    "fuse_known_modules",
    "fuse_linear_bn",
    "fuse_modules",
    "fuse_modules_qat",
    "get_fuser_method",
]

F: Any = fused
_BY_CONV = {nn.Conv1d: "1d", nn.Conv2d: "2d", nn.Conv3d: "3d"}


def _same_mode(*modules: Module) -> None:
    if len({m.training for m in modules}) > 1:
        raise AssertionError("Conv and BN both must be in the same mode (train or eval).")


def fuse_conv_bn(is_qat: bool, conv: Any, bn: Any) -> Any:
    """A convolution and batch normalisation: for training one module of both, else a convolution that does both."""
    _same_mode(conv, bn)
    if not is_qat:
        return fuse_conv_bn_eval(conv, bn)
    if bn.num_features != conv.out_channels:
        raise AssertionError("Output channel of Conv2d must match num_features of BatchNorm2d.")
    if not bn.affine or not bn.track_running_stats:
        raise AssertionError("Only support fusing BatchNorm2d with affine and tracking_running_stats set to True")
    if type(conv) not in _BY_CONV:
        raise NotImplementedError(f"Cannot fuse train modules: {(conv, bn)}")
    return getattr(F, f"ConvBn{_BY_CONV[type(conv)]}")(conv, bn)


def fuse_conv_bn_relu(is_qat: bool, conv: Any, bn: Any, relu: Any) -> Any:
    """A convolution, batch normalisation and a ReLU as one module, as :func:`fuse_conv_bn` makes two."""
    _same_mode(conv, bn, relu)
    if type(conv) not in _BY_CONV:
        raise NotImplementedError(f"Cannot fuse {'train' if is_qat else 'eval'} modules: {(conv, bn, relu)}")
    both = fuse_conv_bn(is_qat, conv, bn)
    name = _BY_CONV[type(conv)]
    return getattr(F, f"ConvBnReLU{name}")(*both, relu) if is_qat else getattr(F, f"ConvReLU{name}")(both, relu)


def fuse_linear_bn(is_qat: bool, linear: Any, bn: Any) -> Any:
    """A linear layer and batch normalisation."""
    _same_mode(linear, bn)
    return F.LinearBn1d(linear, bn) if is_qat else fuse_linear_bn_eval(linear, bn)


def fuse_convtranspose_bn(is_qat: bool, convt: Any, bn: Any) -> Any:
    """A transposed convolution and batch normalisation, for evaluation."""
    _same_mode(convt, bn)
    if is_qat:
        raise Exception("Fusing ConvTranspose+BatchNorm not yet supported in QAT.")  # noqa: TRY002
    return fuse_conv_bn_eval(convt, bn, transpose=True)


def _sequence(name: str) -> Callable:
    return lambda is_qat, *modules: getattr(F, name)(*modules)


def _methods() -> dict[tuple, Callable]:
    found: dict[tuple, Callable] = {}
    for n in ("1d", "2d", "3d"):
        conv, bn, transposed = getattr(nn, f"Conv{n}"), getattr(nn, f"BatchNorm{n}"), getattr(nn, f"ConvTranspose{n}")
        found |= {(conv, bn): fuse_conv_bn, (conv, bn, nn.ReLU): fuse_conv_bn_relu, (conv, nn.ReLU): _sequence(f"ConvReLU{n}")}
        found[transposed, bn] = fuse_convtranspose_bn
    for n in ("2d", "3d"):
        found[getattr(nn, f"BatchNorm{n}"), nn.ReLU] = _sequence(f"BNReLU{n}")
    return found | {(nn.Linear, nn.ReLU): _sequence("LinearReLU"), (nn.Linear, nn.BatchNorm1d): fuse_linear_bn}


_METHODS = _methods()


def get_fuser_method(op_list: tuple, additional_fuser_method_mapping: dict | None = None) -> Callable:
    """The function that makes one module of modules of these classes."""
    found = {**_METHODS, **(additional_fuser_method_mapping or {})}.get(tuple(op_list))
    if found is None:
        raise AssertionError(f"did not find fuser method for: {op_list} ")
    return found


def fuse_known_modules(mod_list: list, is_qat: bool, additional_fuser_method_mapping: dict | None = None) -> list:
    """One module of several, and modules that do nothing in place of the others. Hooks move to it."""
    one = get_fuser_method(tuple(type(m) for m in mod_list), additional_fuser_method_mapping)(is_qat, *mod_list)
    for hook in list(mod_list[0]._forward_pre_hooks.values()):
        one.register_forward_pre_hook(hook)
    mod_list[0]._forward_pre_hooks.clear()
    for hook in list(mod_list[-1]._forward_hooks.values()):
        one.register_forward_hook(hook)
    mod_list[-1]._forward_hooks.clear()
    return [one, *[nn.Identity().train(mod_list[0].training) for _ in mod_list[1:]]]


def _fuse(model: Module, names: list[str], is_qat: bool, fuser_func: Callable, mapping: dict | None) -> None:
    homes = [(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names]
    for (home, short), new in zip(homes, fuser_func([getattr(home, short) for home, short in homes], is_qat, mapping), strict=True):
        setattr(home, short, new)


def _fused(model: Module, modules_to_fuse: list, is_qat: bool, inplace: bool, fuser_func: Callable, config: dict | None) -> Module:
    mapping = (config or {}).get("additional_fuser_method_mapping")
    model = model if inplace else copy.deepcopy(model)
    groups = [modules_to_fuse] if all(isinstance(name, str) for name in modules_to_fuse) else modules_to_fuse
    for names in groups:
        _fuse(model, names, is_qat, fuser_func, mapping)
    return model


def fuse_modules(
    model: Any,
    modules_to_fuse: list,
    inplace: bool = False,
    fuser_func: Callable = fuse_known_modules,
    fuse_custom_config_dict: dict | None = None,
) -> Any:
    """Makes one of layers that follow each other, in a model in evaluation: the first becomes all, the others do nothing.

    Args:
        modules_to_fuse: a list of names, or several such lists.

    >>> import flambeau as torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()).eval()
    >>> torch.ao.quantization.fuse_modules(model, ["0", "1"])
    Sequential(
      (0): LinearReLU(
        (0): Linear(in_features=2, out_features=3, bias=True)
        (1): ReLU()
      )
      (1): Identity()
    )
    """
    return _fused(model, modules_to_fuse, False, inplace, fuser_func, fuse_custom_config_dict)


def fuse_modules_qat(
    model: Any,
    modules_to_fuse: list,
    inplace: bool = False,
    fuser_func: Callable = fuse_known_modules,
    fuse_custom_config_dict: dict | None = None,
) -> Any:
    """As :func:`fuse_modules`, for a model that is to be trained."""
    return _fused(model, modules_to_fuse, True, inplace, fuser_func, fuse_custom_config_dict)
