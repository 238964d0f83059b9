# Wrong: an autograd Function is made and called. Seen: RuntimeError.
# Code: FB-GRAPH-11
# Fix: "relu = MyReLU()" => "relu = MyReLU.apply"
import torch
class MyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)
    @staticmethod
    def backward(ctx, grad_output):
        x, = ctx.saved_tensors
        grad_x = grad_output.clone()
        grad_x[x < 0] = 0
        return grad_x
x = torch.randn(4, requires_grad=True)
relu = MyReLU()
print(relu(x))
