"""The batching rules: what an op's call for each sample is as one call.

A rule is called as ``rule(level, function, args, kwargs)``, with a batched tensor of ``level`` among the arguments, and gives
results for all samples. Elementwise ops share one rule, and most other ops are of a family: they work along dims that have
moved by one, or take leading dims anyway. Those are tables of names here; what is left is written out.
"""

from flambeau.batching.rules import creation, indexing, layers, products, random, reductions, refusals, views
