"""``torch.version``: which PyTorch the interface is that of, and which flambeau this is."""

from __future__ import annotations

from flambeau.torch_version import TorchVersion

release = "0.1.0"
__version__ = TorchVersion(f"2.13.0+flambeau{release}")

debug = False
git_version = None
cuda = None
hip = None
rocm = None
xpu = None
