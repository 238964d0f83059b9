# Wrong: a function is called where it should be handed over. Seen: TypeError.
# Code: FB-CALL-02
# Fix: "apply(init_weights())" => "apply(init_weights)"
import torch
from torch import nn
def init_weights(m):
    if type(m) == nn.Linear:
        nn.init.normal_(m.weight, std=0.01)
net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
net.apply(init_weights())
