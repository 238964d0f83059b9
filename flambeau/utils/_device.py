"""``torch.utils._device``: the mode behind ``with torch.device(...)``, under the name that libraries take it by."""

from flambeau.tensor.default_device import DeviceContext

__all__ = ["DeviceContext"]
