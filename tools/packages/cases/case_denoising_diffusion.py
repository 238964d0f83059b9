# needs: denoising-diffusion-pytorch ema-pytorch accelerate pytorch-fid torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Unet

torch.manual_seed(0)
net = Unet(dim=16, dim_mults=(1, 2), flash_attn=False)
diffusion = GaussianDiffusion(net, image_size=16, timesteps=20, sampling_timesteps=4)
optimizer = torch.optim.Adam(diffusion.parameters(), 1e-3)
images = torch.rand(2, 3, 16, 16)
for step in range(2):
    loss = diffusion(images)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    R(f"loss{step}", loss.item())
R("sample", diffusion.sample(batch_size=1).mean().item())
