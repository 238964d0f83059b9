# Wrong: biases=False for bias=False. Seen: TypeError.
# Code: FB-CALL-03
# Fix: "biases=" => "bias="
import torch

layer = torch.nn.Linear(4, 2, biases=False)
