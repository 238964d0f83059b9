# Wrong: no comma after the one saved tensor. Seen: TypeError.
# Code: FB-GRAPH-12
# Fix: "x = ctx.saved" => "x, = ctx.saved"
import torch
class MyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)
    @staticmethod
    def backward(ctx, grad_output):
        x = ctx.saved_tensors
        grad_x = grad_output.clone()
        grad_x[x < 0] = 0
        return grad_x
x = torch.randn(4, requires_grad=True)
MyReLU.apply(x).sum().backward()
