# needs: linformer deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from linformer import LinformerLM

torch.manual_seed(0)
model = LinformerLM(num_tokens=50, dim=16, seq_len=24, depth=2, heads=2, dim_head=8, k=8)
loss = model(torch.randint(0, 50, (2, 24))).pow(2).mean()
loss.backward()
R("linformer", loss.item(), sum(p.grad.norm().item() for p in model.parameters() if p.grad is not None))
torch.manual_seed(0)
