# Wrong: a full-width colon of a Chinese keyboard. Seen: SyntaxError.
# Code: FB-SYNTAX-01
# Fix: "：" => ":"
import torch

for t in range(3)：
    print(torch.zeros(t))
