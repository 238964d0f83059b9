# needs: backpack-for-pytorch unfoldnd torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from backpack import backpack, extend
from backpack.extensions import KFAC, BatchGrad, BatchL2Grad, DiagGGNExact, DiagHessian, SumGradSquared, Variance

torch.manual_seed(0)
net = extend(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(2 * 16, 3)))
loss_function = extend(torch.nn.CrossEntropyLoss())
x, y = torch.randn(5, 1, 6, 6), torch.tensor([0, 1, 2, 1, 0])
with backpack(BatchGrad(), BatchL2Grad(), SumGradSquared(), Variance(), DiagGGNExact(), DiagHessian(), KFAC()):
    loss_function(net(x), y).backward()
for name, p in net.named_parameters():
    R(name, p.grad_batch.norm().item(), p.batch_l2.sum().item(), p.sum_grad_squared.sum().item(), p.variance.sum().item(), p.diag_ggn_exact.sum().item(), p.diag_h.sum().item())
