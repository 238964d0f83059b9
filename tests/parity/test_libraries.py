"""What libraries take from PyTorch besides its documented functions."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from tests.parity.conftest import outcome  # noqa: E402

PROGRAMS = [
    # a mixin before Tensor: its instances' dictionaries are those of other tensors
    "class Tag:\n    pass\nclass T(Tag, torch.Tensor):\n    pass\nx = torch.ones(2, 3).as_subclass(T)\nx.tag = 'x'\ny = x.sum()\ny.__dict__ = x.__dict__.copy()\n"
    "[type(y).__name__, y.shape, y.tag, float(y)]",
    # gradients that are on the tape are no views
    "w = torch.ones(2, 3, requires_grad=True)\n(torch.ones(4, 3) @ w.t()).pow(2).sum().backward(create_graph=True)\n[w.grad._is_view(), w.grad.stride()]",
    # distributions of users expand
    "D = torch.distributions\nclass N(D.Independent):\n    def __init__(self, loc):\n        super().__init__(D.Normal(loc, 1.0), 1)\n"
    "    def expand(self, shape, new=None):\n        return super().expand(shape, self._get_checked_instance(N, new))\n"
    "n = N(torch.zeros(3)).expand((4,))\n[type(n).__name__, n.batch_shape, n.event_shape, n.log_prob(torch.ones(3))]",
    "D = torch.distributions\nclass N(D.Independent):\n    def __init__(self, loc):\n        super().__init__(D.Normal(loc, 1.0), 1)\nN(torch.zeros(3)).expand((4,))",
    "D = torch.distributions\nm = D.MixtureSameFamily(D.Categorical(torch.ones(2)), D.Normal(torch.zeros(2), torch.ones(2))).expand((3,))\n[m.batch_shape, m.log_prob(torch.ones(3))]",
    # switches of backends
    "with torch.backends.cudnn.flags(enabled=False, benchmark=True):\n    inside = torch.backends.cudnn.benchmark\n[inside, torch.backends.cudnn.benchmark, torch.backends.flags_frozen()]",
    # the scaler's states
    "w = torch.nn.Parameter(torch.tensor(1.0))\no = torch.optim.SGD([w], lr=0.5)\ns = torch.amp.GradScaler('cpu', growth_interval=2)\ns.step(o)",
    "w = torch.nn.Parameter(torch.tensor(1.0))\no = torch.optim.SGD([w], lr=0.5)\ns = torch.amp.GradScaler('cpu', growth_interval=2)\nseen = []\n"
    "for k in range(5):\n    o.zero_grad()\n    s.scale(w * w if k != 2 else w * float('inf')).backward()\n    s.unscale_(o)\n    seen.append(s._per_optimizer_states[id(o)]['stage'].name)\n"
    "    s.step(o)\n    seen.append(s._per_optimizer_states[id(o)]['stage'].name)\n    s.update()\n    seen.append(s.state_dict())\nseen",
    # many tensors as one, and exceptions on their way
    "ts = [torch.arange(6.0).view(2, 3), torch.ones(2), torch.zeros(1, 2)]\nf = torch._utils._flatten_dense_tensors(ts)\n[f, torch._utils._unflatten_dense_tensors(f, ts)]",
    "ts = [torch.zeros(3), torch.zeros(2).long(), torch.zeros(4), torch.zeros(1).long()]\ngroups = list(torch._utils._take_tensors(ts, 20))\n"
    "[[tuple(t.shape) for t in g] for g in groups] + [torch._utils._reorder_tensors_as([ts[0], ts[2], ts[1], ts[3]], ts)]",
    "try:\n    {}['a']\nexcept KeyError:\n    w = torch._utils.ExceptionWrapper(where='in a thread')\ntry:\n    w.reraise()\nexcept KeyError as e:\n    text = str(e)\ntext.splitlines()[0]",
    "[torch._utils._get_device_index('cpu', allow_cpu=True), torch._utils._get_device_index(3), torch._utils._element_size(torch.complex64)]",
    "torch._utils._get_device_index('cpu')",
    "[torch._C._nn._parse_to('cpu', torch.float64), torch._C._nn._parse_to(torch.ones(1)), torch._C._nn.gelu(torch.ones(2))]",
    # decorating contexts
    "from contextlib import contextmanager\nlog = []\n@contextmanager\ndef c():\n    log.append('in')\n    yield\n    log.append('out')\n"
    "def g():\n    yield 1\n    yield 2\n[list(torch.utils._contextlib.context_decorator(c, g)()), log]",
    # graphs of operators
    "net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(16, 5)).eval()\n"
    "graph, out = torch.jit._get_trace_graph(net, (torch.ones(2, 3, 10, 10),))\n"
    "[(n.kind(), [i.type().sizes() if i.isCompleteTensor() else i.toIValue() for i in n.inputs()], n.output().type().sizes()) for n in graph.nodes() if n.kind().startswith('aten')]",
    "net = torch.nn.Sequential(torch.nn.Embedding(10, 6), torch.nn.Flatten(), torch.nn.Softmax(-1))\ngraph, _ = torch.jit._get_trace_graph(net, (torch.zeros(2, 5, dtype=torch.long),))\n"
    "[(n.kind(), [str(i.type()) for i in n.inputs()], n.output().type().str()) for n in graph.nodes() if n.kind().startswith('aten')]",
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(program):
    assert outcome(program, flambeau) == outcome(program, torch)
