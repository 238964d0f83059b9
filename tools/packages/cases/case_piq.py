# needs: piq torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import piq
import torch

torch.manual_seed(0)
x, y = torch.rand(2, 3, 192, 192, requires_grad=True), torch.rand(2, 3, 192, 192)
R("ssim", piq.ssim(x, y, data_range=1.0).item(), piq.multi_scale_ssim(x, y, data_range=1.0).item(), piq.psnr(x, y).item())
for name in ("vif_p", "fsim", "gmsd", "multi_scale_gmsd", "vsi", "haarpsi", "mdsi", "srsim", "dss"):
    R(name, getattr(piq, name)(x, y, data_range=1.0).item())
R("brisque-like", piq.total_variation(x).item())
loss = piq.SSIMLoss(data_range=1.0)(x, y)
loss.backward()
R("loss", loss.item(), x.grad.norm().item())
R("fid", piq.FID()(torch.rand(50, 16), torch.rand(50, 16)).item())
