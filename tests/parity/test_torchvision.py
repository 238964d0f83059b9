"""torchvision, where it is installed: it imports, and its operators, transforms and models are what they are beside PyTorch."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch")

PROGRAM = """
import torch, torchvision
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
from torchvision.transforms import v2
assert torchvision.extension._has_ops()
torch.manual_seed(0)
image = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8)
print(v2.Resize(20)(image).double().sum().item(), v2.functional.rotate(image, 30.0).double().sum().item())
model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64)
losses = model([torch.rand(3, 64, 64)], [{"boxes": torch.tensor([[5.0, 5, 40, 50]]), "labels": torch.tensor([1])}])
sum(losses.values()).backward()
x = torch.ones(1, 2, 8, 8, requires_grad=True)
rois = torch.tensor([[0.0, 0, 0, 4, 4]])
with torch.autocast("cpu"):
    assert torchvision.ops.roi_align(x.bfloat16(), rois.bfloat16(), 2).dtype is torch.bfloat16
torchvision.ops.roi_align(x, rois, 2).sum().backward()
assert x.grad.sum().item() == 8
shape = torch.ops.torchvision.roi_align(x.to("meta"), rois.to("meta"), 1.0, 2, 2, 2, True).shape
assert shape == (1, 2, 2, 2)
print("done")
"""


def test_program():
    """As a program of its own: torchvision must meet flambeau under PyTorch's name."""
    result = subprocess.run(
        [sys.executable, "-c", f"import flambeau.compat; flambeau.compat.install()\n{PROGRAM}"], capture_output=True, text=True
    )
    if "No module named 'torchvision'" in result.stderr or "No module named 'PIL'" in result.stderr:
        pytest.skip("torchvision is not installed")
    assert result.stdout.rstrip().endswith("done"), result.stderr
