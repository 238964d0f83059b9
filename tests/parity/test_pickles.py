"""Pickles of Python's ``pickle``: what PyTorch has written is read under the disguise, and the other way round."""

from __future__ import annotations

import os
import pickletools
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

THINGS = """
import collections, pickle, sys, warnings
warnings.simplefilter("ignore")
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.LSTM(2, 2, bidirectional=True))
optimizer = torch.optim.Adam(net.parameters())
net[1](net[0](torch.ones(4, 3))).sum().backward()
optimizer.step()
named = torch.ones(2)
named.note = 3

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.steps = nn.Linear(2, 2), 3
        self.register_buffer("table", torch.arange(2))

THINGS = {
    "tensor": torch.arange(6.0).view(2, 3).t(), "integers": torch.tensor([[1, 2]]), "bools": torch.tensor([True]), "short": torch.ones(2).bfloat16(), "complex": torch.tensor([1 + 2j]),
    "conjugate": torch.tensor([1 + 2j]).conj(), "empty": torch.zeros(0, 3), "leaf": torch.ones(2, requires_grad=True), "meta": torch.ones(2, device="meta"),
    "parameter": nn.Parameter(torch.ones(2)), "attributes": named, "sparse": torch.eye(2).to_sparse(), "typed storage": torch.ones(3).storage(), "views": [torch.arange(4.0)[1:], torch.arange(4.0)[:2]],
    "state": net.state_dict(), "module": net, "own": Own(), "optimizer": optimizer, "optimizer's state": optimizer.state_dict(), "generator": torch.Generator().manual_seed(3).get_state(),
    "things": [torch.Size([1, 2]), torch.float32, torch.int8, torch.device("cpu"), torch.device("cuda", 1), torch.strided, torch.Tensor, nn.functional.relu, torch.no_grad, nn.ReLU],
    "packed": nn.utils.rnn.pack_sequence([torch.ones(2, 1), torch.ones(1, 1)]), "data": torch.utils.data.TensorDataset(torch.ones(3)), "distribution": torch.distributions.Normal(0.0, 1.0),
}

def rounded(x):
    return [rounded(v) for v in x] if isinstance(x, list) else round(x, 5) if isinstance(x, float) else x

def told(x):
    "What a thing is, in words that do not depend on the library."
    if isinstance(x, torch.Tensor):
        values = "meta" if x.is_meta else rounded(x.to_dense().detach().resolve_conj().tolist())
        return [type(x).__name__, str(x.dtype), list(x.shape), x.requires_grad, values, getattr(x, "note", None), None if x.is_sparse else x.stride()]
    if isinstance(x, nn.Module):
        return [repr(x), told(x.state_dict()), x.training]
    if isinstance(x, torch.optim.Optimizer):
        return told(x.state_dict())
    if isinstance(x, dict):
        return [[str(k), told(v)] for k, v in x.items()]
    if isinstance(x, (list, tuple)) and not isinstance(x, torch.Size):
        return [told(v) for v in x]
    if type(x).__name__ == "TypedStorage":
        return [str(x.dtype), list(x)]
    return getattr(x, "__name__", None) or (repr(x) if " at 0x" not in repr(x) else type(x).__name__)

folder, what = sys.argv[1:]
for name, thing in THINGS.items():
    for protocol in (2, 4):
        path = f"{folder}/{name} {protocol}"
        if what == "write":
            with open(path, "wb") as file:
                pickle.dump(thing, file, protocol)
        else:
            with open(path, "rb") as file:
                print(name, told(pickle.load(file)) == told(thing))
"""
LIBRARIES = {"torch": [], "flambeau": ["-m", "flambeau", "run"]}


def run(library: str, folder, what: str) -> str:
    program = folder / "program.py"
    program.write_text(THINGS)
    command = [sys.executable, *LIBRARIES[library], str(program), str(folder), what]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("writer, reader", [("torch", "flambeau"), ("flambeau", "torch"), ("flambeau", "flambeau")])
def test_pickles(writer, reader, tmp_path):
    run(writer, tmp_path, "write")
    answers = run(reader, tmp_path, "read").splitlines()
    assert len(answers) > 40
    assert [answer for answer in answers if not answer.endswith(" True")] == []


def test_pickles_name_torch(tmp_path):
    run("flambeau", tmp_path, "write")
    for file in tmp_path.iterdir():
        if file.name.endswith(" 2"):
            assert not [
                argument
                for op, argument, _ in pickletools.genops(file.read_bytes())
                if op.name == "GLOBAL" and argument.startswith("flambeau")
            ]
