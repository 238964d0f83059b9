# Wrong: a Chinese enumeration comma. Seen: SyntaxError.
# Code: FB-SYNTAX-01
# Fix: "、" => ", "
import torch
x = torch.zeros(2、3)
