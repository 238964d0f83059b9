# Wrong: print without brackets. Seen: SyntaxError, print is a function.
# Code: FB-SYNTAX-05
# Fix: "print x" => "print(x)"
import torch

x = torch.zeros(2, 3)
print x
