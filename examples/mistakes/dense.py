# Wrong: Keras' name for a layer. Seen: AttributeError, nn has no Dense.
# Code: FB-NAME-05
# Fix: "torch.nn.Dense" => "torch.nn.Linear"
import torch

layer = torch.nn.Dense(4, 2)
