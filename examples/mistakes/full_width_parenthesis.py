# Wrong: a full-width parenthesis of a Chinese keyboard. Seen: SyntaxError.
# Code: FB-SYNTAX-01
# Fix: "（" => "("
import torch

x = torch.zeros（2, 3)
