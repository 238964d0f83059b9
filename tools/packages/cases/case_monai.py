# needs: monai deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import warnings

import numpy as np
import torch

warnings.simplefilter("ignore")
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.transforms import Compose, EnsureChannelFirst, RandFlip, RandGaussianNoise, ScaleIntensity, Spacing
from monai.utils import set_determinism

set_determinism(0)
net = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(8, 16, 32), strides=(2, 2), num_res_units=1)
optimizer = torch.optim.Adam(net.parameters(), 1e-3)
x, y = torch.rand(2, 1, 32, 32), torch.randint(0, 2, (2, 1, 32, 32))
loss_function = DiceCELoss(to_onehot_y=True, softmax=True)
for step in range(3):
    loss = loss_function(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    R(f"loss{step}", loss.item())
net.eval()
with torch.no_grad():
    R("window", sliding_window_inference(torch.rand(1, 1, 48, 48), (32, 32), 2, net).std().item())
metric = DiceMetric(include_background=False)
metric(torch.nn.functional.one_hot(torch.randint(0, 2, (2, 8, 8)), 2).movedim(-1, 1), torch.nn.functional.one_hot(torch.randint(0, 2, (2, 8, 8)), 2).movedim(-1, 1))
R("dice", metric.aggregate().item())
transform = Compose([EnsureChannelFirst(channel_dim="no_channel"), ScaleIntensity(), RandGaussianNoise(prob=1.0), RandFlip(prob=1.0, spatial_axis=0)])
transform.set_random_state(1)
out = transform(np.arange(64, dtype=np.float32).reshape(8, 8))
R("transform", type(out).__name__, out.mean().item(), out.std().item())
R("spacing", Spacing(pixdim=(2.0, 2.0), mode="bilinear")(torch.arange(64.0).reshape(1, 8, 8)).sum().item())
torch.manual_seed(0)
net3 = UNet(spatial_dims=3, in_channels=1, out_channels=2, channels=(4, 8), strides=(2,))
R("3d", net3(torch.rand(1, 1, 8, 8, 8)).std().item())
