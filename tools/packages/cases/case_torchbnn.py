# needs: torchbnn deps
import torch
import torch.nn as nn
import torchbnn as bnn

torch.manual_seed(0)
m = nn.Sequential(
    bnn.BayesLinear(prior_mu=0, prior_sigma=0.1, in_features=4, out_features=16),
    nn.ReLU(),
    bnn.BayesLinear(prior_mu=0, prior_sigma=0.1, in_features=16, out_features=3),
)
x = torch.randn(10, 4)
y = torch.randint(0, 3, (10,))
kl = bnn.BKLLoss(reduction="mean", last_layer_only=False)
opt = torch.optim.Adam(m.parameters(), 0.01)
for _ in range(3):
    l = nn.functional.cross_entropy(m(x), y) + 0.01 * kl(m)
    opt.zero_grad()
    l.backward()
    opt.step()
    print("RESULT loss", float(l))
