# Wrong: torch.nn.module for torch.nn.Module. Seen: AttributeError where the class is defined.
import torch


class Model(torch.nn.module):
    def forward(self, input):
        return input
