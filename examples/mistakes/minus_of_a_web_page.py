# Wrong: a minus of a web page. Seen: SyntaxError.
# Code: FB-SYNTAX-01
# Fix: "−" => "-"
import torch
learning_rate = 1e−6
x = torch.ones(2) * learning_rate
