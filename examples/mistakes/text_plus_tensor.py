# Wrong: text and a tensor are added. Seen: TypeError.
# Code: FB-TYPE-17
# Fix: "\"loss: \" + loss" => "f\"loss: {loss.item():.4f}\""
import torch
loss = torch.tensor(0.25)
print("loss: " + loss)
