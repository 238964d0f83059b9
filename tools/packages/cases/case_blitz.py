# needs: blitz-bayesian-pytorch torchvision deps
import torch
import torch.nn as nn
from blitz.modules import BayesianConv2d, BayesianLinear, BayesianLSTM
from blitz.utils import variational_estimator

torch.manual_seed(0)


@variational_estimator
class Net(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.b1 = BayesianLinear(i, 16)
        self.b2 = BayesianLinear(16, o)

    def forward(self, x):
        return self.b2(torch.relu(self.b1(x)))


n = Net(5, 1)
opt = torch.optim.Adam(n.parameters(), lr=0.01)
x = torch.randn(32, 5)
y = x.sum(1, keepdim=True)
for _ in range(4):
    opt.zero_grad()
    l = n.sample_elbo(inputs=x, labels=y, criterion=nn.MSELoss(), sample_nbr=1, complexity_cost_weight=1 / 32)
    l.backward()
    opt.step()
    print("RESULT elbo", l.item())
c = BayesianConv2d(3, 4, (3, 3))
print("RESULT conv", c(torch.ones(1, 3, 6, 6)).sum().item())
ls = BayesianLSTM(3, 5)
o, h = ls(torch.ones(2, 4, 3))
print("RESULT lstm", o.sum().item())
