# Wrong: curly quotes, as web pages have them. Seen: SyntaxError.
# Code: FB-SYNTAX-01
# Fix: "“cpu”" => "\"cpu\""
import torch

device = torch.device(“cpu”)
