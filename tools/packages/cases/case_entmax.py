# needs: entmax deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from entmax import EntmaxBisectLoss, entmax15, entmax_bisect, sparsemax, sparsemax_loss

torch.manual_seed(0)
x = torch.randn(4, 6, requires_grad=True)
for f in (sparsemax, entmax15, lambda x: entmax_bisect(x, alpha=1.3)):
    x.grad = None
    y = f(x)
    (y * torch.arange(6.0)).sum().backward()
    R(getattr(f, "__name__", "bisect").strip("<>"), (y > 0).sum().item(), (y * torch.arange(6.0)).sum().item(), x.grad.norm().item())
x.grad = None
loss = sparsemax_loss(x, torch.tensor([0, 1, 2, 3])).mean() + EntmaxBisectLoss()(x, torch.tensor([0, 1, 2, 3]))
loss.mean().backward()
R("loss", loss.mean().item(), x.grad.norm().item())
