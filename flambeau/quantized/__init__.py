"""Quantized tensors: integers that stand for numbers, by a scale and a zero point.

``tensor`` is the class, ``creation`` makes them, ``rules`` say what ops do with them, and ``products`` are linear and
convolutional layers whose weights are integers. All of it is imported with its first use.

Source: https://docs.pytorch.org/docs/stable/quantization.html
"""
