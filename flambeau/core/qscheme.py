"""``torch.qscheme``: by what numbers of a quantized tensor become integers."""

from __future__ import annotations


class qscheme:
    """A name for how scales and zero points belong to a tensor's elements, such as ``torch.per_tensor_affine``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple:
        return by_name, (self.name,)


qscheme.__module__ = "torch"
per_tensor_affine = qscheme("per_tensor_affine")
per_channel_affine = qscheme("per_channel_affine")
per_tensor_symmetric = qscheme("per_tensor_symmetric")
per_channel_symmetric = qscheme("per_channel_symmetric")
per_channel_affine_float_qparams = qscheme("per_channel_affine_float_qparams")

SCHEMES = {
    s.name: s
    for s in (per_tensor_affine, per_channel_affine, per_tensor_symmetric, per_channel_symmetric, per_channel_affine_float_qparams)
}


def by_name(name: str) -> qscheme:
    """The scheme called ``name``."""
    return SCHEMES[name]
