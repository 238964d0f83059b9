# Wrong: a semicolon between the layers. Seen: SyntaxError before anything runs.
# Code: FB-SYNTAX-02
# Fix: "torch.nn.ReLU();" => "torch.nn.ReLU(),"
import torch

model = torch.nn.Sequential(
    torch.nn.Linear(4, 8),
    torch.nn.ReLU();
    torch.nn.Linear(8, 2),
)
