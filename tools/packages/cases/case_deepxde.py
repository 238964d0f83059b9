# needs: deepxde deps
import os

os.environ["DDE_BACKEND"] = "pytorch"
import deepxde as dde
import numpy as np
import torch

dde.config.set_random_seed(0)


def pde(x, y):
    return -dde.grad.hessian(y, x) - np.pi**2 * torch.sin(np.pi * x)


g = dde.geometry.Interval(-1, 1)
bc = dde.icbc.DirichletBC(g, lambda x: 0, lambda x, on: on)
data = dde.data.PDE(g, pde, bc, 16, 2, solution=lambda x: np.sin(np.pi * x), num_test=50)
net = dde.nn.FNN([1] + [20] * 2 + [1], "tanh", "Glorot uniform")
m = dde.Model(data, net)
m.compile("adam", lr=0.001, metrics=["l2 relative error"])
h, s = m.train(iterations=60, display_every=20, verbose=0)
print("RESULT loss", np.array(h.loss_train).tolist(), float(s.best_metrics[0]))
print("RESULT p", float(m.predict(np.array([[0.3]]))[0, 0]))
