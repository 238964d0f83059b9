"""Answers to the exercises of the book: a right one for each, and what turns it into one that is wrong as answers often are.

A slip is a part of the right answer, what stands there instead, and words of what the checker must say about it.
"""

from __future__ import annotations

from typing import NamedTuple


class Slip(NamedTuple):
    """What is replaced, by what, and what is to be said of it."""

    old: str
    new: str
    said: str


class Solution(NamedTuple):
    """A right program, and slips."""

    program: str
    slips: list[Slip]


SOLUTIONS = {
    "1-1": Solution(
        """
import numpy as np

def bias_gradients(x, y, w1, b1, w2, b2):
    h = x @ w1 + b1
    r = np.maximum(h, 0)
    grad_p = 2 * (r @ w2 + b2 - y)
    grad_h = grad_p @ w2.T * (h > 0)
    return x.T @ grad_h, grad_h.sum(0), r.T @ grad_p, grad_p.sum(0)
""",
        [
            Slip("grad_h.sum(0)", "grad_h", "sum over the rows"),
            Slip("grad_h.sum(0)", "grad_h.mean(0)", "sum over the rows"),
            Slip(" * (h > 0)", "", "multiply by (h > 0)"),
            Slip("2 * (r", "(r", "0.5 times"),
            Slip("w2 + b2 - y", "w2 - y", "should be"),
            Slip("    return x.T", "    x.T", "return"),
            Slip("x, y, w1, b1, w2, b2", "x, y, w1, w2", "its signature is"),
        ],
    ),
    "1-2": Solution(
        """
import numpy as np

def tanh_gradients(x, y, w1, w2):
    h = x @ w1
    t = np.tanh(h)
    grad_p = 2 * (t @ w2 - y)
    return x.T @ (grad_p @ w2.T * (1 - t**2)), t.T @ grad_p
""",
        [
            Slip("1 - t**2", "1 - np.tanh(t) ** 2", "taken twice"),
            Slip("1 - t**2", "h > 0", "ReLU's derivative"),
            Slip(" * (1 - t**2)", "", "derivative of tanh is missing"),
            Slip("t.T @ grad_p", "h.T @ grad_p", "what comes out of tanh"),
            Slip("1 - t**2", "1 - t", "square is missing"),
        ],
    ),
    "1-3": Solution(
        "def factor(samples, outputs):\n    return samples * outputs\n",
        [
            Slip("samples * outputs", "samples", "over samples and outputs"),
            Slip("samples * outputs", "1 / (samples * outputs)", "its inverse"),
            Slip("samples * outputs", "samples + outputs", "should be 640"),
            Slip("def factor", "def factors", "should that be factor"),
        ],
    ),
    "2-1": Solution(
        """
import torch

def train(x, y, w1, w2, steps, lr):
    losses = []
    for t in range(steps):
        loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
        losses.append(loss.item())
        w1.grad, w2.grad = None, None
        loss.backward()
        with torch.no_grad():
            w1 -= lr * w1.grad
            w2 -= lr * w2.grad
    return losses
""",
        [
            Slip("        w1.grad, w2.grad = None, None\n", "", "gradients add up"),
            Slip("losses.append(loss.item())", "losses.append(loss)", "append loss.item()"),
            Slip("-= lr", "+= lr", "go the other way"),
            Slip("torch.no_grad()", "torch.enable_grad()", "leaf"),
            Slip("    return losses", "", "return"),
        ],
    ),
    "2-2": Solution(
        "def gradient(x):\n    return x.exp()\n",
        [
            Slip("x.exp()", "x.exp().sum()", "shape of x"),
            Slip("x.exp()", "x.new_ones(x.shape)", "own derivative"),
            Slip("x.exp()", "x", "the derivative of exp(x) is exp(x)"),
            Slip("x.exp()", "x * (x - 1).exp()", "the rule for powers"),
        ],
    ),
    "2-3": Solution(
        """
def leaf(x):
    return x.float().requires_grad_()
""",
        [
            Slip("x.float().requires_grad_()", "x.float()", "requires_grad is False"),
            Slip("x.float()", "x", "floating"),
            Slip("x.float().requires_grad_()", "x", "integers have none"),
            Slip("x.float().requires_grad_()", "x.float().requires_grad_() * 1", "convert first"),
        ],
    ),
    "3-1": Solution(
        """
class Value:
    def __init__(self, data, made_of=()):
        self.data, self.grad, self.made_of = data, 0.0, made_of

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __sub__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data - other.data, [(self, 1.0), (other, -1.0)])

    def relu(self):
        return Value(max(self.data, 0.0), [(self, float(self.data > 0))])

    def backward(self):
        order, seen = [], set()

        def visit(value):
            if id(value) not in seen:
                seen.add(id(value))
                for part, _ in value.made_of:
                    visit(part)
                order.append(value)

        visit(self)
        self.grad = 1.0
        for value in reversed(order):
            for part, derivative in value.made_of:
                part.grad += derivative * value.grad
""",
        [
            Slip("(other, -1.0)", "(other, 1.0)", "d(a - b)/db is -1"),
            Slip("(self, float(self.data > 0))", "(self, 1.0)", "derivative is 0 there"),
            Slip("part.grad +=", "part.grad =", "add up"),
            Slip(" - other.data", " + other.data", "should be -2"),
            Slip("return Value(max(self.data, 0.0), [(self, float(self.data > 0))])", "return max(self.data, 0.0)", "not a Value"),
        ],
    ),
    "3-2": Solution(
        """
def graph(Value):
    a = Value(2.0)
    b = a + a
    c = b.tanh()
    return b * c, a
""",
        [
            Slip("b * c", "c + b", "used twice"),
            Slip("b * c, a", "b * c", "the result and the leaf"),
            Slip("a + a", "a * 2 + a * 3", "numbers become values"),
            Slip("b * c, a", "b * c, Value(1.0)", "gets no gradient"),
        ],
    ),
    "3-3": Solution(
        """
import torch

def second(x):
    x = x.clone().requires_grad_()
    first, = torch.autograd.grad(x.tanh().sum(), x, create_graph=True)
    return torch.autograd.grad(first.sum(), x)[0]
""",
        [
            Slip("return torch.autograd.grad(first.sum(), x)[0]", "return first", "once more"),
            Slip(", create_graph=True", "", "create_graph"),
            Slip("torch.autograd.grad(first.sum(), x)[0]", "first**2", "square of the first"),
            Slip("torch.autograd.grad(first.sum(), x)[0]", "-2 * x.tanh()", "multiply by its derivative"),
            Slip("first.sum(), x)[0]", "first.sum(), x)[0].sum()", "shape of x"),
        ],
    ),
    "4-1": Solution(
        """
import torch
from torch import nn

class Scale(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, x):
        return x * self.weight
""",
        [
            Slip("nn.Parameter(torch.ones(features))", "torch.ones(features)", "no optimizer would train"),
            Slip("torch.ones(features)", "torch.zeros(features)", "start at 1"),
            Slip("torch.ones(features)", "torch.ones(1)", "a weight for each feature"),
            Slip("x * self", "x @ self", "should have (5, 3)"),
            Slip("        super().__init__()\n", "", "super().__init__()"),
            Slip("(nn.Module)", "", "no class of modules"),
        ],
    ),
    "4-2": Solution(
        """
import torch
from torch import nn

class MyLayer(nn.Module):
    def __init__(self, in_features, out_features, bias=True):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.randn(in_features, out_features) / in_features**0.5)
        if bias:
            self.bias = nn.Parameter(torch.zeros(in_features))
        else:
            self.register_parameter("bias", None)

    def forward(self, x):
        x = x**2
        if self.bias is not None:
            x = x + self.bias
        return x @ self.weight

    def extra_repr(self):
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
""",
        [
            Slip("def extra_repr", "def repr", "def extra_repr(self)"),
            Slip("{self.bias is not None}", "{self.bias}", "whether there is one"),
            Slip(
                'return f"in_features={self.in_features}, out',
                'return f"MyLayer(in_features={self.in_features}, out',
                "without the name",
            ),
            Slip("out_features={self.out_features}, ", "", "it prints"),
            Slip('        return f"in_features', '        f"in_features', "return the text"),
        ],
    ),
    "4-3": Solution(
        "def blind():\n    return [-2.0, -0.5, 1.5, 3.0]\n",
        [
            Slip("1.5", "0.5", "between 0 and 1"),
            Slip("1.5", "0.0", "a kink"),
            Slip("1.5, 3.0", "-3.0, -1.0", "take some above 0"),
            Slip("1.5", "3.0", "it gives"),
        ],
    ),
    "5-1": Solution(
        """
from torch.nn.functional import cross_entropy

def worst(scores, target):
    return cross_entropy(scores, target, reduction="none").argmax().item()
""",
        [
            Slip("argmax", "argmin", "the best one"),
            Slip("argmax()", "max()", "the loss itself"),
            Slip(".argmax().item()", "", "all losses"),
            Slip('reduction="none").argmax()', 'reduction="mean")', "a loss for each row"),
        ],
    ),
    "5-2": Solution(
        """
import torch

def entropies(p, q):
    return -torch.xlogy(p, p).sum(1), -torch.xlogy(p, q).sum(1)
""",
        [
            Slip("-torch.xlogy(p, p)", "-(p * p.log())", "0 * log 0"),
            Slip("-torch.xlogy(p, p)", "torch.xlogy(p, p)", "the sign"),
            Slip("xlogy(p, q).sum(1)", "xlogy(q, p).sum(1)", "p * log q"),
            Slip("xlogy(p, p).sum(1)", "xlogy(p, p).mean(1)", "no mean(1)"),
            Slip("xlogy(p, p).sum(1)", "xlogy(p, p).sum()", "over dim 1"),
            Slip(
                "-torch.xlogy(p, p).sum(1), -torch.xlogy(p, q).sum(1)",
                "-torch.xlogy(p, q).sum(1), -torch.xlogy(p, p).sum(1)",
                "H(p) comes first",
            ),
        ],
    ),
    "5-3": Solution(
        """
import torch

def weights(target, classes):
    counts = torch.bincount(target, minlength=classes)
    return counts.sum() / (classes * counts)
""",
        [
            Slip("counts.sum() / (classes * counts)", "counts / counts.sum()", "frequent classes weigh more"),
            Slip("counts.sum() / (classes * counts)", "1 - counts / counts.sum()", "is not enough"),
            Slip("counts.sum() / (classes * counts)", "torch.ones(classes)", "all alike"),
            Slip("counts.sum() / (classes * counts)", "counts.sum() // counts", "weights are floats"),
            Slip("counts.sum() / (classes * counts)", "(counts.sum() / (classes * counts))[target]", "bincount"),
        ],
    ),
    "5-4": Solution(
        """
import torch

def cross_entropy(scores, target):
    log_q = scores - scores.logsumexp(1, keepdim=True)
    return -log_q[torch.arange(len(target)), target].mean()
""",
        [
            Slip(".mean()", ".sum()", "mean over its rows"),
            Slip("scores - scores.logsumexp(1, keepdim=True)", "scores.softmax(0).log()", "over dim 1"),
            Slip(
                "scores - scores.logsumexp(1, keepdim=True)", "scores - scores.exp().sum(1, keepdim=True).log()", "torch.logsumexp"
            ),
            Slip("torch.arange(len(target)), target", ":, target", "one of each"),
            Slip("return -log_q", "return log_q", "-log q is positive"),
            Slip(
                "scores - scores.logsumexp(1, keepdim=True)",
                "scores.detach() - scores.detach().logsumexp(1, keepdim=True)",
                "lost its graph",
            ),
        ],
    ),
    "6-2": Solution(
        """
def largest(learns):
    low = 1.0
    while not learns(low):
        low /= 2
    high = 2 * low
    while learns(high):
        low, high = high, 2 * high
    while high > 1.005 * low:
        middle = (low + high) / 2
        if learns(middle):
            low = middle
        else:
            high = middle
    return low
""",
        [
            Slip("return low", "return high", "the last rate that learns"),
            Slip("1.005 * low", "2 * low", "halve what is between"),
            Slip("    while not learns(low):\n        low /= 2\n", "", "nothing is learnt"),
            Slip("low, high = high, 2 * high", "low, high = high, high + 0.01", "a whole training"),
        ],
    ),
    "6-3": Solution(
        """
import torch

def dropout(x, p, training):
    if not training:
        return x
    return x * (torch.rand_like(x) >= p) / (1 - p)
""",
        [
            Slip(" / (1 - p)", "", "divide by 1 - p"),
            Slip(" / (1 - p)", " / p", "not by p"),
            Slip(">= p", "< p", "the share that is dropped"),
            Slip("    if not training:\n        return x\n", "", "should be"),
            Slip("        return x\n", "        return x * (1 - p)\n", "a test needs nothing"),
            Slip("torch.rand_like(x)", "torch.rand(x.shape[1])", "rand_like"),
            Slip("    return x * (torch", "    torch.manual_seed(0)\n    return x * (torch", "no torch.manual_seed"),
        ],
    ),
    "6-4": Solution(
        """
def momentum(w, grad, state, lr, beta):
    state["m"] = m = beta * state.get("m", 0) + grad
    return w - lr * m
""",
        [
            Slip("+ grad", "+ (1 - beta) * grad", "does not scale the gradient"),
            Slip('state["m"] = m', "m", "state is still empty"),
            Slip("w - lr", "w + lr", "against the gradient"),
            Slip("beta * state", "state", "multiplied by beta in each step"),
            Slip("return w - lr * m", "w -= lr * m", "gives None"),
        ],
    ),
    "7-1": Solution(
        """
import torch

def odd_one(pictures, labels):
    means = torch.stack([pictures[labels == c].mean(0) for c in range(int(labels.max()) + 1)])
    return ((pictures - means[labels]) ** 2).sum((1, 2, 3)).argmax()
""",
        [
            Slip("argmax", "argmin", "the most usual one"),
            Slip("pictures - means[labels]", "pictures - pictures.mean(0)", "of its own class"),
            Slip("((pictures - means[labels]) ** 2)", "(pictures - means[labels])", "cancels out"),
            Slip(".argmax()", ".max()", "the distance"),
        ],
    ),
    "7-2": Solution(
        """
import torch
from torch.nn import functional as F

def shift(picture):
    i, j = torch.randint(0, 3, (2,)).tolist()
    return F.pad(picture, (1, 1, 1, 1))[:, i : i + 8, j : j + 8]
""",
        [
            Slip("randint(0, 3, (2,))", "randint(0, 2, (2,))", "leaves out its upper end"),
            Slip("F.pad(picture, (1, 1, 1, 1))[:, i : i + 8, j : j + 8]", "picture.roll((i - 1, j - 1), (1, 2))", "on the other"),
            Slip("[:, i : i + 8, j : j + 8]", "", "(1, 10, 10)"),
            Slip("    return F.pad(picture, ", "    picture[:, 0] = 0\n    return F.pad(picture, ", "on a copy"),
            Slip("torch.randint(0, 3, (2,)).tolist()", "1, 1", "never"),
        ],
    ),
    "7-3": Solution(
        """
import torch

def split(labels, part):
    train, test = [], []
    for c in labels.unique():
        rows = (labels == c).nonzero().view(-1)
        rows = rows[torch.randperm(len(rows))]
        n = round(len(rows) * part)
        test.append(rows[:n])
        train.append(rows[n:])
    return torch.cat(train), torch.cat(test)
""",
        [
            Slip("train.append(rows[n:])", "train.append(rows)", "on both sides"),
            Slip("train.append(rows[n:])", "train.append(rows[n + 1:])", "on neither side"),
            Slip("        rows = rows[torch.randperm(len(rows))]\n", "", "whatever the seed"),
            Slip("torch.cat(train), torch.cat(test)", "torch.cat(test), torch.cat(train)", "training comes first"),
            Slip("round(len(rows) * part)", "11", "not a fifth"),
        ],
    ),
    "8-1": Solution(
        """
import torch

def read(model, pictures, labels, down, right):
    model.eval()
    with torch.no_grad():
        scores = model(torch.roll(pictures, (down, right), (2, 3)))
    return (scores.argmax(1) == labels).sum().item()
""",
        [
            Slip("    model.eval()\n", "", "model.eval()"),
            Slip("(2, 3)", "(3, 2)", "dim 2 is down"),
            Slip(".sum().item()", ".float().mean().item()", "not which share"),
            Slip("model(torch.roll(pictures, (down, right), (2, 3)))", "model(pictures)", "are not moved"),
            Slip(
                "model(torch.roll(pictures, (down, right), (2, 3)))",
                "model(pictures.copy_(torch.roll(pictures, (down, right), (2, 3))))",
                "should be",
            ),
        ],
    ),
    "8-2": Solution(
        """
import torch

def batch_norm(x, weight, bias):
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = x.var((0, 2, 3), correction=0, keepdim=True)
    y = (x - mean) / (variance + 1e-5).sqrt()
    return y * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)
""",
        [
            Slip("(0, 2, 3)", "(0,)", "over dims (0, 2, 3)"),
            Slip(", correction=0", "", "correction=0"),
            Slip(".sqrt()", "", "root of the variance"),
            Slip("x - mean", "x", "not taken off"),
            Slip("(variance + 1e-5)", "variance", "add 1e-5"),
            Slip("y * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)", "y", "not used"),
            Slip(
                "y * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)",
                "(y + bias.view(-1, 1, 1)) * weight.view(-1, 1, 1)",
                "first times weight",
            ),
        ],
    ),
    "8-3": Solution(
        """
def tiles(kernels, columns):
    k, _, h, w = kernels.shape
    return kernels.view(k // columns, columns, h, w).transpose(1, 2).reshape(k // columns * h, columns * w)
""",
        [
            Slip(".transpose(1, 2)", "", "cuts the row of numbers anew"),
            Slip(
                "view(k // columns, columns, h, w).transpose(1, 2)",
                "view(columns, k // columns, h, w).permute(1, 2, 0, 3)",
                "not below it",
            ),
            Slip("columns * w)\n", "columns * w).T\n", "exchanged"),
        ],
    ),
    "8-4": Solution(
        """
import torch

def slide(pictures, kernels):
    (N, C, H, W), (K, _, h, w) = pictures.shape, kernels.shape
    out = torch.zeros(N, K, H - h + 1, W - w + 1)
    for i in range(H - h + 1):
        for j in range(W - w + 1):
            part = pictures[:, None, :, i : i + h, j : j + w] * kernels
            out[:, :, i, j] = part.sum((2, 3, 4))
    return out
""",
        [
            Slip("* kernels", "* kernels.flip(2, 3)", "turned by 180 degrees"),
            Slip("part.sum((2, 3, 4))", "part[:, :, 0].sum((2, 3))", "only the first channel"),
            Slip("part.sum((2, 3, 4))", "part.sum((3, 4)).mean(2)", "not averaged"),
            Slip("return out", "return out[:, :, :-1, :-1]", "the last one is missing"),
            Slip("return out", "return out[0]", "the batch stays"),
        ],
    ),
    "9-1": Solution(
        """
def rnn_step(x, h, w_ih, w_hh, b_ih, b_hh):
    return (x @ w_ih.T + b_ih + h @ w_hh.T + b_hh).tanh()
""",
        [
            Slip(".tanh()", "", "tanh is missing"),
            Slip(".tanh()", ".relu()", "takes tanh"),
            Slip("w_hh.T", "w_hh", "rows of w_hh"),
            Slip(" + h @ w_hh.T + b_hh", "", "old state is not used"),
            Slip("b_ih + h @ w_hh.T + b_hh", "h @ w_hh.T", "biases are missing"),
        ],
    ),
    "9-4": Solution(
        """
import torch

def lstm_step(x, h, c, w_ih, w_hh, b_ih, b_hh):
    i, f, g, o = (x @ w_ih.T + b_ih + h @ w_hh.T + b_hh).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c
""",
        [
            Slip("i, f, g, o", "f, i, g, o", "the order input, forget"),
            Slip("g.tanh()", "g.sigmoid()", "may be negative"),
            Slip("c.tanh(), c", "c, c", "on its way out"),
            Slip("return o.sigmoid() * c.tanh(), c", "return c, o.sigmoid() * c.tanh()", "h comes first"),
            Slip("f.sigmoid() * c + i.sigmoid() * g.tanh()", "f * c + i * g.tanh()", "between 0 and 1"),
        ],
    ),
    "10-3": Solution(
        """
import torch

def may_look(steps):
    return torch.ones(steps, steps, dtype=torch.bool).tril()
""",
        [
            Slip("tril()", "triu(1)", "the other half"),
            Slip("tril()", "triu()", "rows are the steps that look"),
            Slip("tril()", "tril(-1)", "may see itself"),
            Slip(", dtype=torch.bool", "", "hide nothing"),
            Slip("torch.ones(steps, steps", "torch.ones(6, 6", "(3, 3)"),
        ],
    ),
    "10-4": Solution(
        """
def attend(q, k, v, heads):
    d = q.shape[-1] // heads
    q, k, v = (t.unflatten(-1, (heads, d)).transpose(1, 2) for t in (q, k, v))
    shares = (q @ k.transpose(2, 3) / d**0.5).softmax(-1)
    return (shares @ v).transpose(1, 2).flatten(2)
""",
        [
            Slip("t.unflatten(-1, (heads, d)).transpose(1, 2)", "t.reshape(len(t), heads, -1, d)", "divide the last dim first"),
            Slip("softmax(-1)", "softmax(-2)", "softmax(-1)"),
            Slip("d**0.5", "(heads * d) ** 0.5", "root of that"),
            Slip(" / d**0.5", "", "root of the features is missing"),
            Slip(".transpose(1, 2).flatten(2)\n", ".reshape(2, 3, 8)\n", "transpose(1, 2) back"),
        ],
    ),
    "11-1": Solution(
        """
import torch

def save(path, model, optimizer):
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)

def load(path, model, optimizer):
    saved = torch.load(path)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
""",
        [
            Slip('    optimizer.load_state_dict(saved["optimizer"])\n', "", "optimizer.state_dict() too"),
            Slip(
                'optimizer.load_state_dict(saved["optimizer"])',
                'optimizer.param_groups[0]["lr"] = saved["optimizer"]["param_groups"][0]["lr"]',
                "optimizer.state_dict() too",
            ),
            Slip('model.load_state_dict(saved["model"])', 'model = saved["model"]', "load_state_dict(...) puts"),
            Slip("torch.save(", "print(", "torch.save(..., path)"),
        ],
    ),
    "11-2": Solution(
        """
import os
import torch

def keep_best(folder, model, loss):
    torch.save(model.state_dict(), os.path.join(folder, f"{loss:.6f}.pt"))
    for name in sorted(os.listdir(folder))[3:]:
        os.remove(os.path.join(folder, name))
""",
        [
            Slip("[3:]", "[:-3]", "the best loss is the smallest"),
            Slip("[3:]", "[4:]", "remove the worst"),
            Slip("model.state_dict()", "model", "save model.state_dict()"),
            Slip('f"{loss:.6f}.pt"', '"best.pt"', "a name of its own"),
            Slip("    torch.save(model.state_dict(), ", "    print(", "the folder is empty"),
        ],
    ),
    "12-1": Solution(
        """
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 4)
y = (x.sum(1) > 0).long()
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for t in range(20):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
        [
            Slip("    optimizer.zero_grad()\n", "", "FB-LOOP-01"),
            Slip("optimizer.step()", "optimizer.step", "FB-LOOP-02"),
            Slip("nn.ReLU(), ", "", "FB-PARAM-07"),
            Slip("nn.Linear(16, 2))", "nn.Linear(16, 2), nn.Softmax(dim=1))", "FB-LOSS-03"),
            Slip("range(20)", "range(0)", "optimizer.step()"),
        ],
    ),
    "13-3": Solution(
        """
import time
import torch

def seconds(work):
    for _ in range(3):
        work()
    torch.synchronize()
    start = time.perf_counter()
    work()
    torch.synchronize()
    return time.perf_counter() - start
""",
        [
            Slip("    work()\n    torch.synchronize()\n    return", "    work()\n    return", "before the clock is read"),
            Slip("    for _ in range(3):\n        work()\n", "", "work is called 1 time(s)"),
            Slip("time.perf_counter() - start", "(time.perf_counter() - start) * 1e6", "in seconds already"),
            Slip("time.perf_counter() - start", "start - time.perf_counter()", "the later time minus the earlier"),
        ],
    ),
    "14-1": Solution(
        """
import torch

def pixel(density, colour, d):
    stopped = 1 - torch.exp(-density * d)
    passed = torch.cumprod(1 - stopped, 0)
    reaching = torch.cat([torch.ones(1), passed[:-1]])
    return ((stopped * reaching)[:, None] * colour).sum(0)
""",
        [
            Slip("torch.cat([torch.ones(1), passed[:-1]])", "passed", "does not hide itself"),
            Slip("-density * d", "-density", "length d of a piece is missing"),
            Slip(".sum(0)", ".mean(0)", "should be"),
            Slip("return (", "return 1 - stopped.sum() + (", "no background here"),
            Slip(
                "[torch.ones(1), passed[:-1]]",
                "[torch.cumprod((1 - stopped).flip(0), 0).flip(0)[1:], torch.ones(1)]",
                "the first piece hides",
            ),
        ],
    ),
}
