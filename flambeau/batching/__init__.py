"""Batching: a function written for one sample, run on a batch of them.

Inside of :func:`vmap <flambeau.batching.vmap.vmap>` an argument is a :class:`~flambeau.batching.batched.Batched` tensor: it
looks like one sample and holds all of them. Each *primitive* op has a batching rule (:mod:`flambeau.batching.rules`) that makes
one call of all samples; composites are made of primitives and need none. So nothing is computed sample by sample but by the few
primitives that have no rule, each on its own.

Levels nest: the tensors that a rule works on may be batched tensors of an outer ``vmap``. The tape needs nothing of all this.
A rule's calls are ordinary calls on the tensors that hold the batch, and these are what is differentiated.

The idea is JAX's ``vmap``, by way of PyTorch's ``torch.func``.
Source: https://docs.jax.dev/en/latest/notebooks/How_JAX_primitives_work.html#batching
"""

from flambeau.batching import rules
from flambeau.batching.vmap import vmap
