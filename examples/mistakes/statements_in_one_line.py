# Wrong: two statements on one line, as web pages lose line breaks. Seen: SyntaxError.
# Code: FB-SYNTAX-05
# Fix: "x = torch.zeros(2, 3) y" => "x = torch.zeros(2, 3)\ny"
import torch

x = torch.zeros(2, 3) y = x + 1
