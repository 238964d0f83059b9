# needs: norse deps
import norse.torch as norse
import torch

torch.manual_seed(0)
m = norse.SequentialState(torch.nn.Linear(10, 20), norse.LIFCell(), torch.nn.Linear(20, 4), norse.LICell())
d = torch.randn(8, 10)
st = None
outs = []
for _t in range(12):
    o, st = m(d, st)
    outs.append(o)
o = torch.stack(outs)
print("RESULT out", o.sum().item(), o.std().item())
o.sum().backward()
print("RESULT g", *[p.grad.abs().sum().item() for p in m.parameters()])
l = norse.LIFRecurrentCell(10, 6)
s, state = l(d)
print("RESULT lsnn", s.sum().item(), state.v.sum().item())
e = norse.PoissonEncoder(20)(torch.rand(4, 4))
print("RESULT enc", e.sum().item())
li = norse.LIF()
z, s = li(torch.randn(20, 3, 5))
print("RESULT lif", z.sum().item())
