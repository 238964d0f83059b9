# needs: snntorch deps
import snntorch as snn
import torch
import torch.nn as nn
from snntorch import functional as SF
from snntorch import spikegen, surrogate, utils

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(20, 30)
        self.lif1 = snn.Leaky(beta=0.9, spike_grad=surrogate.fast_sigmoid(slope=25))
        self.fc2 = nn.Linear(30, 5)
        self.lif2 = snn.Leaky(beta=0.9, learn_beta=True)

    def forward(self, x):
        m1 = self.lif1.init_leaky()
        m2 = self.lif2.init_leaky()
        sp = []
        mm = []
        for t in range(x.size(0)):
            s1, m1 = self.lif1(self.fc1(x[t]), m1)
            s2, m2 = self.lif2(self.fc2(s1), m2)
            sp.append(s2)
            mm.append(m2)
        return torch.stack(sp), torch.stack(mm)


net = Net()
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
lf = SF.ce_rate_loss()
d = torch.rand(16, 20)
y = torch.randint(0, 5, (16,))
x = spikegen.rate(d, num_steps=25)
print("RESULT rate", x.sum().item())
for _i in range(5):
    s, m = net(x)
    l = lf(s, y)
    opt.zero_grad()
    l.backward()
    opt.step()
    print("RESULT loss", l.item(), s.sum().item(), m.mean().item())
print("RESULT acc", SF.accuracy_rate(s, y))
print("RESULT lat", spikegen.latency(d, num_steps=10, tau=5, threshold=0.01, normalize=True, linear=True).sum().item())
syn = snn.Synaptic(alpha=0.9, beta=0.8)
a, b = syn.init_synaptic()
s, a, b = syn(d, a, b)
print("RESULT syn", b.sum().item())
seq = nn.Sequential(nn.Linear(20, 10), snn.Leaky(beta=0.5, init_hidden=True), nn.Linear(10, 5), snn.Leaky(beta=0.5, init_hidden=True, output=True))
utils.reset(seq)
o = [seq(d)[0] for _ in range(3)]
print("RESULT seq", torch.stack(o).sum().item())
rl = snn.RLeaky(beta=0.5, linear_features=20)
sp, me = rl.init_rleaky()
sp, me = rl(d, sp, me)
print("RESULT rl", me.sum().item())
