"""Modules of PyTorch's layout, old and new, whose names live elsewhere in flambeau."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any

# PyTorch's module -> where its names are looked up, in this order: modules, or "module:object" for an object's names.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "torch._custom_ops": ("flambeau.library",),
    "torch._dynamo.utils": ("flambeau._dynamo",),
    "torch._library": ("flambeau.library",),
    "torch._library.custom_ops": ("flambeau.library.custom",),
    "torch._library.infer_schema": ("flambeau.library.schema",),
    "torch._ops": ("flambeau.library.operators",),
    "torch._tensor": ("flambeau.tensor.tensor",),
    "torch.autograd.grad_mode": ("flambeau.autograd",),
    "torch.autograd.profiler": ("flambeau.profiler",),
    "torch.backends.cpu": ("flambeau.backends:cpu",),
    "torch.backends.quantized": ("flambeau.backends:quantized",),
    "torch.backends.cuda": ("flambeau.backends:cuda",),
    "torch.backends.cudnn": ("flambeau.backends:cudnn",),
    "torch.backends.mkl": ("flambeau.backends:mkl",),
    "torch.backends.mkldnn": ("flambeau.backends:mkldnn",),
    "torch.backends.mps": ("flambeau.backends:mps",),
    "torch.backends.openmp": ("flambeau.backends:openmp",),
    "torch.backends.opt_einsum": ("flambeau.backends:opt_einsum",),
    "torch.amp.autocast_mode": ("flambeau.amp",),
    "torch.amp.grad_scaler": ("flambeau.amp",),
    "torch.cuda.amp.autocast_mode": ("flambeau.cuda.amp",),
    "torch.cuda.amp.grad_scaler": ("flambeau.cuda.amp",),
    "torch.functional": ("flambeau",),
    "torch.ao.nn.quantized.modules": ("flambeau.ao.nn.quantized",),
    "torch.ao.quantization.stubs": ("flambeau.ao.quantization",),
    "torch.nn.quantized": ("flambeau.ao.nn.quantized",),
    "torch.quantization": ("flambeau.ao.quantization",),
    "torch.multiprocessing.reductions": ("flambeau.tensor.sharing",),
    "torch.types": ("flambeau.tensor.types",),
    "torch.utils._pytree": ("flambeau.core.nests",),
    "torch.utils.data._utils.collate": ("flambeau.utils.data.collate",),
    "torch.utils.data._utils.worker": ("flambeau.utils.data.info",),
}

# PyTorch has a module for each distribution.
_DISTRIBUTIONS = {
    "composed": "independent mixture_same_family transformed_distribution",
    "continuous": "cauchy exponential generalized_pareto laplace normal uniform von_mises",
    "discrete": "bernoulli binomial categorical continuous_bernoulli geometric multinomial negative_binomial "
    "one_hot_categorical poisson",
    "distribution": "exp_family",
    "gamma_family": "beta chi2 dirichlet fishersnedecor gamma studentT",
    "multivariate": "lowrank_multivariate_normal multivariate_normal",
    "relaxed": "relaxed_bernoulli relaxed_categorical",
    "transformed": "gumbel half_cauchy half_normal inverse_gamma kumaraswamy log_normal logistic_normal pareto weibull",
}
for _module, _names in _DISTRIBUTIONS.items():
    for _name in _names.split():
        SPELLINGS[f"torch.distributions.{_name}"] = (f"flambeau.distributions.{_module}",)


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

    def __getattr__(self, name: str) -> Any:
        for home in self._homes:
            try:
                return getattr(home, name)
            except AttributeError:
                continue
        raise AttributeError(
            f"module '{self.__name__}' has no attribute '{name}': flambeau has no such name", name=name
        )

    def __dir__(self) -> list[str]:
        return sorted({name for home in self._homes for name in dir(home) if not name.startswith("__")})
