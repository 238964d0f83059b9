# needs: loralib deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import loralib as lora
import torch

torch.manual_seed(0)
net = torch.nn.Sequential(lora.Embedding(10, 8, r=2), torch.nn.Flatten(), lora.Linear(24, 8, r=4, lora_alpha=8), torch.nn.ReLU(), lora.MergedLinear(8, 6, r=2, enable_lora=[True, False, True]))
lora.mark_only_lora_as_trainable(net)
optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-2)
x = torch.randint(0, 10, (4, 3))
for step in range(3):
    loss = net(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    R(f"loss{step}", loss.item())
net.eval()
R("merged", net(x).sum().item(), sorted(lora.lora_state_dict(net)))
