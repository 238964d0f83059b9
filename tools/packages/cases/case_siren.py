# needs: siren-pytorch deps
import torch
from siren_pytorch import SirenNet, SirenWrapper

torch.manual_seed(0)
n = SirenNet(dim_in=2, dim_hidden=16, dim_out=3, num_layers=3, w0_initial=30.0)
print("RESULT net", n(torch.rand(4, 2)).sum().item())
w = SirenWrapper(n, image_width=8, image_height=8)
l = w(torch.randn(1, 3, 8, 8))
l.backward()
print("RESULT l", l.item(), w().shape)
