# needs: auraloss deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import auraloss
import torch

torch.manual_seed(0)
a, b = torch.randn(2, 1, 4096, requires_grad=True), torch.randn(2, 1, 4096)
for loss in (auraloss.freq.STFTLoss(), auraloss.freq.MultiResolutionSTFTLoss(fft_sizes=[256, 512], hop_sizes=[64, 128], win_lengths=[256, 512]), auraloss.time.SISDRLoss(), auraloss.time.SNRLoss(), auraloss.time.ESRLoss(),
             auraloss.time.LogCoshLoss(), auraloss.time.DCLoss()):
    a.grad = None
    value = loss(a, b)
    value.backward()
    R(type(loss).__name__, value.item(), a.grad.norm().item())
