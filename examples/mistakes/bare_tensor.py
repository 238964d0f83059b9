# Wrong: tensor(...) without torch. in front. Seen: NameError.
# Code: FB-NAME-04
# Fix: "= tensor(" => "= torch.tensor("
import torch

a = tensor([1, 1, 1, 1, 1])
