"""``torch.ao.nn.intrinsic.quantized.dynamic``: a linear layer that quantizes as it goes, and ReLU."""

from flambeau.ao.nn.quantized import dynamic

__all__ = ["LinearReLU"]


class LinearReLU(dynamic.Linear):
    """A linear layer with a weight of integers, and ReLU."""

    _relu = True
    _name = "DynamicQuantizedLinearReLU"
