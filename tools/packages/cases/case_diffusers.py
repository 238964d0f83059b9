# needs: diffusers transformers accelerate deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DConditionModel, UNet2DModel
from diffusers.optimization import get_cosine_schedule_with_warmup

torch.manual_seed(0)
unet = UNet2DModel(sample_size=16, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(16, 32), norm_num_groups=8,
                   down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"))
noise_scheduler = DDPMScheduler(num_train_timesteps=100)
optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3)
schedule = get_cosine_schedule_with_warmup(optimizer, 2, 10)
images = torch.rand(2, 3, 16, 16) * 2 - 1
for step in range(3):
    noise = torch.randn_like(images)
    t = torch.randint(0, 100, (2,))
    predicted = unet(noise_scheduler.add_noise(images, noise, t), t).sample
    loss = torch.nn.functional.mse_loss(predicted, noise)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    R(f"loss{step}", loss.item())
pipeline = DDPMPipeline(unet=unet.eval(), scheduler=noise_scheduler)
pipeline.set_progress_bar_config(disable=True)
out = pipeline(batch_size=1, num_inference_steps=4, generator=torch.Generator().manual_seed(3), output_type="np").images
R("ddpm", tuple(out.shape), float(out.mean()), float(out.std()))
ddim = DDIMScheduler(num_train_timesteps=100)
ddim.set_timesteps(4)
x = torch.randn(1, 3, 16, 16)
with torch.no_grad():
    for t in ddim.timesteps:
        x = ddim.step(unet(x, t).sample, t, x).prev_sample
R("ddim", x.mean().item(), x.std().item())
torch.manual_seed(1)
conditioned = UNet2DConditionModel(sample_size=8, block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=12, norm_num_groups=8, attention_head_dim=4,
                                   down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")).eval()
R("conditioned", conditioned(torch.randn(1, 4, 8, 8), 7, torch.randn(1, 5, 12)).sample.std().item())
