# needs: xitorch deps
import torch
import xitorch as xt
from xitorch.integrate import quad, solve_ivp
from xitorch.interpolate import Interp1D
from xitorch.linalg import symeig
from xitorch.optimize import rootfinder

torch.manual_seed(0)


def f(y, A):
    return torch.tanh(A @ y + 0.1) + y / 2


A = torch.tensor([[1.1, 0.4], [0.3, 0.8]]).requires_grad_()
y = rootfinder(f, torch.zeros(2, 1), params=(A,))
y.sum().backward()
print("RESULT root", y.flatten().tolist(), A.grad.norm().item())
B = torch.randn(4, 4, dtype=torch.float64)
B = B @ B.T
ev, _ = symeig(xt.LinearOperator.m(B), neig=2)
print("RESULT eig", ev.tolist())
print("RESULT quad", quad(lambda x, a: a * x**2, 0.0, 1.0, params=(torch.tensor(3.0),)).item())
print("RESULT ivp", solve_ivp(lambda t, y, a: -a * y, torch.linspace(0, 1, 5), torch.ones(1), params=(torch.tensor(1.5),), method="rk4").flatten().tolist())
print("RESULT int", Interp1D(torch.linspace(0, 1, 6), torch.linspace(0, 1, 6) ** 2, method="cspline")(torch.tensor([0.33, 0.7])).tolist())
