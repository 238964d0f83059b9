"""Data pipes: datasets that are made of each other, step by step, as ``IterableWrapper(words).map(len).batch(2)``.

PyTorch keeps them for the programs that have them; new ones use generators.

>>> from flambeau.utils.data.datapipes.iter import IterableWrapper
>>> list(IterableWrapper(range(5)).filter(lambda i: i != 2).map(lambda i: i * i).batch(2))
[[0, 1], [9, 16]]

Source: https://docs.pytorch.org/docs/2.2/data.html
"""
