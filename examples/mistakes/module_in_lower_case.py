# Wrong: torch.nn.module for torch.nn.Module. Seen: AttributeError where the class is defined.
# Code: FB-NAME-05
# Fix: "torch.nn.module" => "torch.nn.Module"
import torch


class Model(torch.nn.module):
    def forward(self, input):
        return input
