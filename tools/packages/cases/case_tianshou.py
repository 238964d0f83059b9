# needs: tianshou deps
import numpy as np
import torch
from tianshou.data import Batch, ReplayBuffer

torch.manual_seed(0)
np.random.seed(0)
b = Batch(a=np.arange(6).reshape(3, 2), b=torch.ones(3, 2))
b2 = Batch.cat([b, b])
print("RESULT batch", b2.a.sum(), b2.b.sum().item(), b2.shape)
b.to_torch()
print("RESULT t", b.a.sum().item())
buf = ReplayBuffer(20)
for i in range(25):
    buf.add(Batch(obs=np.ones(3) * i, act=i % 2, rew=float(i), terminated=i % 7 == 0, truncated=False, done=i % 7 == 0, obs_next=np.ones(3) * (i + 1), info={}))
s, idx = buf.sample(8)
print("RESULT buf", len(buf), s.rew.sum())
from tianshou.utils.net.common import MLP

m = MLP(input_dim=4, output_dim=2, hidden_sizes=[16, 16])
o = m(torch.ones(3, 4))
print("RESULT mlp", o.sum().item())
