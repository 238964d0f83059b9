"""The graphs of slim models: read again they compute what the model computes, become files of ONNX's, and are refused when they
are damaged."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
import flambeau_slim
from flambeau import nn
from flambeau.slim.archive import write
from tests.slim_models import ResNet, flat, models

BEST = flambeau_slim.targets()[0]


def exported(model, args: tuple, folder: Path, **settings) -> Path:
    torch.export_slim(model, args, folder / "model.slim", targets=[BEST], **settings)
    return folder / "model.slim"


def same(found: list, want: list) -> None:
    assert len(found) == len(want)
    for a, b in zip(found, want):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("name", models())
def test_a_module_again(tmp_path, name: str) -> None:
    model, args = models()[name]
    program = torch.load_slim_program(exported(model, args, tmp_path))
    with torch.no_grad():
        made, want = program.module()(*args), model(*args)
        assert type(made) is type(want)
        same([t.numpy() for t in flat(made)], [t.numpy() for t in flat(want)])
    if isinstance(model, nn.Module):
        own = dict(model.named_parameters())
        assert {name: p.tolist() for name, p in program.named_parameters()}.items() <= {
            name: p.tolist() for name, p in own.items()
        }.items()


@pytest.mark.parametrize("name", ["digits", "resnet", "transformer", "lstm", "function"])
def test_files_of_onnx(tmp_path, name: str) -> None:
    pytest.importorskip("onnx")
    model, args = models()[name]
    program = torch.onnx.export(torch.load_slim_program(exported(model, args, tmp_path)))
    assert [x.name for x in program.model_proto.graph.input] == [x.name for x in torch.load_slim(tmp_path / "model.slim").inputs]
    with torch.no_grad():
        same([t.numpy() for t in program(*args)], [t.numpy() for t in flat(model(*args))])


def test_free_sizes(tmp_path) -> None:
    model, batch = ResNet().eval(), torch.export.Dim("batch", min=1, max=4)
    path = exported(model, (torch.rand(2, 3, 8, 8),), tmp_path, dynamic_shapes=({0: batch},))
    program = torch.load_slim_program(path)
    x = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        same([program.module()(x).numpy()], [model(x).numpy()])
    with pytest.raises(AssertionError, match="batch"):
        program.module()(torch.rand(5, 3, 8, 8))
    pytest.importorskip("onnx")
    proto = torch.onnx.export(program)
    assert proto.model_proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    with torch.no_grad():
        same([proto(x)[0].numpy()], [model(x).numpy()])


def test_it_can_be_trained_further(tmp_path) -> None:
    module = torch.load_slim_program(exported(nn.Linear(3, 1).eval(), (torch.ones(4, 3),), tmp_path)).module()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x, losses = torch.ones(4, 3), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = ((module(x) - 1) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]


def test_tied_and_transposed_weights(tmp_path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(7, 4)
            self.back = nn.Linear(4, 7)
            self.back.weight = self.words.weight
            self.turn = nn.Parameter(torch.rand(4, 4).T)

        def forward(self, x):
            return (
                self.back(self.words(x) @ self.turn)
                + torch.arange(7.0) * float("1e-3")
                + torch.full((7,), -float("inf")).clamp(min=0)
            )

    model, x = Tied().eval(), torch.tensor([[1, 2], [6, 0]])
    module = torch.load_slim_program(exported(model, (x,), tmp_path)).module()
    with torch.no_grad():
        same([module(x).numpy()], [model(x).numpy()])


def test_what_has_no_graph_says_why(tmp_path) -> None:
    path = exported(
        lambda x: x.sum() if x.shape[0] > 2 else x.sum() + 1,
        (torch.ones(2),),
        tmp_path,
        dynamic_shapes=({0: torch.export.Dim("n", min=1, max=3)},),
    )
    assert torch.load_slim(path)(np.ones(2, np.float32)) == 3
    with pytest.raises(flambeau_slim.SlimError, match="no graph.*does something else for other sizes"):
        torch.load_slim_program(path)


# --- graphs from anybody -----------------------------------------------------------------------------------------


def changed(path: Path, change) -> Path:
    """The file with another graph, and hashes that fit."""
    with zipfile.ZipFile(path) as archive:
        members = {name: [archive.read(name)] for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json")[0])
    graph = json.loads(members["graph.json"][0])
    members["graph.json"] = [json.dumps(change(graph) or graph).encode()]
    write(path.with_name("changed.slim"), {k: v for k, v in manifest.items() if k != "members"}, members)
    return path.with_name("changed.slim")


def put(*path, to):
    """A change of one place of a graph."""

    def change(graph):
        *way, last = path
        for key in way:
            graph = graph[key]
        graph[last] = to

    return change


HOSTILE = {
    "no operator": put("calls", 0, "op", to="python.print"),
    "code as an operator": put("calls", 0, "op", to="relu(__import__('os').system('true')) or ops.flambeau.relu"),
    "an attribute of an operator": put("calls", 0, "op", to="relu.__globals__"),
    "a hidden name": put("calls", 0, "op", to="__class__"),
    "code as a name": put("calls", 0, "result", to="x = __import__('os')\n  y"),
    "a keyword as a name": put("calls", 0, "result", to="return"),
    "code as an argument's name": put("leaves", to=["input=__import__('os').getpid()"]),
    "two names for one": put("arguments", to=["input", "more"]),
    "code as a setting": put("calls", 0, "kwargs", to={"a=1, b": 1}),
    "code as a reference": put("calls", 0, "args", 0, to={"ref": "__import__('os')"}),
    "what is made later": put("calls", 0, "args", 0, to={"ref": "later"}),
    "no such weight": put("calls", 0, "args", 1, to={"weight": "self.__class__"}),
    "a weight over a method": lambda graph: graph["weights"].update({"forward": graph["weights"]["0.weight"]}),
    "a weight among the parameters": lambda graph: graph["weights"].update({"_parameters.x": graph["weights"]["0.weight"]}),
    "a larger weight": put("weights", "0.weight", "shape", to=[10**6, 10**6]),
    "a weight of nothing": put("weights", "0.weight", "bytes", to="elsewhere"),
    "no dtype": put("weights", "0.weight", "dtype", to="object"),
    "text times a number": put("calls", 0, "args", 2, to={"mul": ["a", 10**12]}),
    "an unknown kind": put("calls", 0, "args", 2, to={"lambda": 1}),
    "two kinds": put("calls", 0, "args", 2, to={"tuple": [], "ref": "input"}),
    "another version": put("version", to=2),
    "no list of calls": put("calls", to={"0": 1}),
    "another nest of arguments": put("in_spec", to=None),
    "another nest of results": put("out_spec", to=["object", None, []]),
    "a symbol that is none": put("sizes", "input", to=[["n", 1, 0], 3]),
    "sizes below zero": put("sizes", "input", to=[-1, 3]),
    "no graph": lambda graph: [1],
    "no number": lambda graph: {"version": 1},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_graph_is_refused(tmp_path, what: str) -> None:
    path = exported(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), (torch.ones(2, 3),), tmp_path)
    with pytest.raises(flambeau_slim.SlimError):
        torch.load_slim_program(changed(path, HOSTILE[what]))


def test_deep_nests_are_refused(tmp_path) -> None:
    path = exported(nn.ReLU().eval(), (torch.ones(2, 3),), tmp_path)
    nest: list = []
    for _ in range(500):
        nest = [nest]
    with pytest.raises(flambeau_slim.SlimError):
        torch.load_slim_program(changed(path, put("calls", 0, "args", 0, to=nest)))


def test_graphs_with_parts_changed_are_refused_or_still_graphs(tmp_path) -> None:
    """Whatever stands in whichever place: an error that says so, or a program."""
    path = exported(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Flatten()).eval(), (torch.ones(2, 3),), tmp_path)
    draw = random.Random(0)

    def places(x, way=()):
        yield way
        parts = x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ()
        for key, part in parts:
            yield from places(part, (*way, key))

    with zipfile.ZipFile(path) as archive:
        ways = [way for way in places(json.loads(archive.read("graph.json"))) if way]
    refused = 0
    for _ in range(150):
        wrong = draw.choice([None, -1, 1.5, "x", "__class__", [], {}, {"ref": "input"}, {"weight": "x"}, [[0]], True, 1 << 70])
        try:
            torch.load_slim_program(changed(path, put(*draw.choice(ways), to=wrong)))
        except flambeau_slim.SlimError:
            refused += 1
    assert refused > 75
