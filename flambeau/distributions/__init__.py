"""Probability distributions: samples, log densities, gradients through samples, divergences.

Samples draw from the default generator in the order in which PyTorch draws, so the same seed gives the same samples.

Source: https://docs.pytorch.org/docs/stable/distributions.html
"""

from __future__ import annotations

from flambeau.distributions import (
    categorical,
    composed,
    constraint_registry,
    constraints,
    continuous,
    discrete,
    distribution,
    elementwise_transforms,
    gamma_family,
    kl,
    kl_families,
    matrices,
    more_transforms,
    multivariate,
    relaxed,
    transformed,
    transforms,
    utils,
)
from flambeau.distributions.categorical import *  # noqa: F403
from flambeau.distributions.composed import *  # noqa: F403
from flambeau.distributions.constraint_registry import biject_to, transform_to
from flambeau.distributions.continuous import *  # noqa: F403
from flambeau.distributions.discrete import *  # noqa: F403
from flambeau.distributions.distribution import *  # noqa: F403
from flambeau.distributions.elementwise_transforms import *  # noqa: F403
from flambeau.distributions.gamma_family import *  # noqa: F403
from flambeau.distributions.kl import *  # noqa: F403
from flambeau.distributions.matrices import *  # noqa: F403
from flambeau.distributions.more_transforms import *  # noqa: F403
from flambeau.distributions.multivariate import *  # noqa: F403
from flambeau.distributions.relaxed import *  # noqa: F403
from flambeau.distributions.transformed import *  # noqa: F403
from flambeau.distributions.transforms import *  # noqa: F403

__all__ = ["biject_to", "constraint_registry", "constraints", "kl", "kl_families", "transform_to", "transforms", "utils"]
for _part in (
    categorical,
    composed,
    continuous,
    discrete,
    distribution,
    elementwise_transforms,
    gamma_family,
    kl,
    matrices,
    more_transforms,
    multivariate,
    relaxed,
    transformed,
    transforms,
):
    __all__ += _part.__all__
