# Wrong: model.zero_grad without (). Seen: no error; gradients of all steps add up.
# Code: FB-LOOP-02
# Fix: "model.zero_grad\n" => "model.zero_grad()\n"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Linear(4, 2)
for t in range(5):
    loss = (model(x) - y).pow(2).sum()
    model.zero_grad
    loss.backward()
    with torch.no_grad():
        for param in model.parameters():
            param -= 1e-3 * param.grad
