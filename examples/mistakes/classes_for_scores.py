# Wrong: cross_entropy is given classes where scores are meant. Seen: RuntimeError, Expected floating point type for target.
# Code: FB-CLASS-02
# Fix: ".argmax(1)" => ""
import torch

scores, y = torch.randn(8, 3), torch.randint(3, (8,))
loss = torch.nn.functional.cross_entropy(scores.argmax(1), y)
