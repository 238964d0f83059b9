# needs: torchdiffeq deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import torch
from torchdiffeq import odeint, odeint_adjoint

torch.manual_seed(0)
A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
t = torch.linspace(0, 5, 20)
with torch.no_grad():
    truth = odeint(lambda t, y: (y**3) @ A, torch.tensor([[2.0, 0.0]]), t)
R("truth", *truth[-1].flatten().tolist())
for method in ("euler", "rk4", "midpoint", "dopri8", "bosh3", "adaptive_heun", "implicit_adams", "explicit_adams"):
    with torch.no_grad():
        R(method, *odeint(lambda t, y: y @ A, torch.tensor([[2.0, 0.0]]), t, method=method)[-1].flatten().tolist())


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))

    def forward(self, t, y):
        return self.net(y**3)


for solve in (odeint, odeint_adjoint):
    torch.manual_seed(1)
    field = Field()
    optimizer = torch.optim.RMSprop(field.parameters(), lr=1e-3)
    for step in range(3):
        optimizer.zero_grad()
        loss = (solve(field, truth[0], t[:6]) - truth[:6]).abs().mean()
        loss.backward()
        optimizer.step()
        R(f"{solve.__name__}{step}", loss.item())
