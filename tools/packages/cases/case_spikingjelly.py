# needs: spikingjelly deps
import torch
import torch.nn as nn
from spikingjelly.activation_based import encoding, functional, layer, neuron, surrogate

torch.manual_seed(0)
net = nn.Sequential(layer.Flatten(), layer.Linear(28 * 28, 10, bias=False), neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan()))
x = torch.rand(8, 1, 28, 28)
y = torch.randint(0, 10, (8,))
enc = encoding.PoissonEncoder()
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
for _ in range(3):
    out = 0
    for _t in range(10):
        out = out + net(enc(x))
    out = out / 10
    l = nn.functional.mse_loss(out, nn.functional.one_hot(y, 10).float())
    opt.zero_grad()
    l.backward()
    opt.step()
    functional.reset_net(net)
    print("RESULT loss", l.item(), out.sum().item())
ms = nn.Sequential(layer.Conv2d(1, 4, 3, padding=1), layer.BatchNorm2d(4), neuron.IFNode(), layer.MaxPool2d(2))
functional.set_step_mode(ms, "m")
o = ms(torch.rand(5, 2, 1, 8, 8))
print("RESULT ms", o.sum().item(), tuple(o.shape))
