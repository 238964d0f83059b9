# Wrong: spaces of a web page. Seen: SyntaxError.
# Code: FB-SYNTAX-01
# Fix: "    " => "    "
import torch
x = torch.ones(2)
for t in range(2):
    x = x + 1
