# needs: pytorch-crf deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from torchcrf import CRF

torch.manual_seed(0)
crf = CRF(5, batch_first=True)
emissions, tags = torch.randn(2, 7, 5, requires_grad=True), torch.randint(0, 5, (2, 7))
mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3], dtype=torch.bool)
loss = -crf(emissions, tags, mask=mask)
loss.backward()
R("loss", loss.item(), emissions.grad.norm().item(), crf.transitions.grad.norm().item())
R("decoded", crf.decode(emissions, mask=mask))
