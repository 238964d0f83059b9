# Wrong: loss.data[0] on a loss without dimensions (right until 2018). Seen: IndexError; today it is loss.item().
# Code: FB-OLD-01
# Fix: "loss.data[0]" => "loss.item()"
import torch

loss = torch.randn(8).pow(2).sum()
print("Loss:{:.4f}".format(loss.data[0]))
