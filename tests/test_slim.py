"""Slim models: what is exported computes the same bits without flambeau, and what is damaged is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import threading
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
import flambeau_slim
from flambeau import nn
from flambeau.cli import export
from flambeau.cli.demo import DigitNet
from flambeau.core import config
from flambeau.serve import loaders
from flambeau.serve.config import ModelConfig, ModelError, TensorSpec
from flambeau.slim import ExportError
from flambeau.slim.archive import write
from tests.slim_models import flat, models

BEST = flambeau_slim.targets()[0]
TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def compiled_at_once(monkeypatch):
    """So that flambeau itself computes by kernels, whose bits are compared."""
    monkeypatch.setattr(config, "compile_after", 0)


# --- the same bits ---------------------------------------------------------------------------------------------


def run_alone(folder: Path, target: str = BEST) -> None:
    """Runs all models of a folder in a process whose path has NumPy alone."""
    packages = folder / "packages"
    packages.mkdir()
    (packages / "flambeau_slim.py").write_bytes(Path(flambeau_slim.__file__).read_bytes())
    home = Path(np.__file__).parent
    for place in (home, home.with_name("numpy.libs")):
        if place.exists():
            (packages / place.name).symlink_to(place)
    command = [sys.executable, "-I", "-S", str(TESTS / "slim_alone.py"), str(packages), str(folder), target]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


def same(folder: Path, name: str, want: list) -> None:
    with np.load(folder / f"{name}.out.npz") as found:
        assert len(found) == len(want), name
        for k, value in enumerate(want):
            array = found[str(k)]
            assert (array.dtype, array.shape) == (value.dtype, value.shape), name
            assert array.tobytes() == np.ascontiguousarray(value).tobytes(), name


def test_same_bits_without_flambeau(tmp_path) -> None:
    want = {}
    for name, (model, args) in models().items():
        torch.export_slim(model, args, tmp_path / f"{name}.slim", targets=[BEST])
        np.savez(tmp_path / f"{name}.npz", **{str(k): a.numpy() for k, a in enumerate(args)})
        with torch.no_grad():
            want[name] = [t.numpy() for t in flat(model(*args))]
    run_alone(tmp_path)
    for name, values in want.items():
        same(tmp_path, name, values)


@pytest.mark.parametrize(("cpu", "target"), [("", BEST), ("generic", "x86-64-v2")])
def test_the_ladder(tmp_path, cpu: str, target: str) -> None:
    """Each target has the bits that flambeau has on such a machine."""
    command = [sys.executable, str(TESTS / "slim_ladder.py"), str(tmp_path), target]
    subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL, env={**os.environ, "FLAMBEAU_CPU": cpu})
    rungs = [path.stem for path in tmp_path.glob("*.slim")]
    assert len(rungs) == 12
    run_alone(tmp_path, target)
    for rung in rungs:
        want = np.load(tmp_path / f"{rung}.want.npy")
        same(tmp_path, rung, [want])
        if target == BEST:  # the calls that it was made of
            with np.load(tmp_path / f"{rung}.npz") as given, torch.no_grad():
                found = torch.load_slim_program(tmp_path / f"{rung}.slim").module()(
                    *[torch.from_numpy(given[str(k)]) for k in range(len(given))]
                )
            np.testing.assert_allclose(found.numpy(), want, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(want).max()))


def test_all_levels_are_in_one_file(tmp_path) -> None:
    model, (x,) = models()["digits"]
    torch.export_slim(model, (x,), tmp_path / "m.slim")
    for level in flambeau_slim.targets():
        slim = torch.load_slim(tmp_path / "m.slim", target=level)
        assert slim.target == level
        np.testing.assert_allclose(slim(x.numpy()), model(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_threads_change_no_bit(tmp_path) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(32 * 30 * 30, 16)
    ).eval()
    x = torch.randn(8, 3, 32, 32)
    torch.export_slim(model, (x,), tmp_path / "m.slim", targets=[BEST])
    alone, together = (torch.load_slim(tmp_path / "m.slim", threads=n) for n in (1, 3))
    want = alone(x.numpy())
    for _ in range(5):
        assert together(x.numpy()).tobytes() == want.tobytes()


def test_callers_in_several_threads_get_their_own_results(tmp_path) -> None:
    torch.export_slim(lambda x: (x * 2).cumsum(0).exp(), (torch.ones(50),), tmp_path / "m.slim", targets=[BEST])
    slim = torch.load_slim(tmp_path / "m.slim")
    wrong: list = []

    def call(k: int) -> None:
        x = np.full(50, k / 1000, np.float32)
        want = slim(x).tobytes()
        wrong.extend(k for _ in range(100) if slim(x).tobytes() != want)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_sizes(tmp_path) -> None:
    """There is a plan for each size, which has the bits that flambeau has for it."""
    batch, words = torch.export.Dim("batch", min=1, max=3), torch.export.Dim("words", min=4, max=6)
    model, _ = models()["lstm"]
    torch.export_slim(
        model,
        (torch.zeros(2, 5, dtype=torch.int64),),
        tmp_path / "m.slim",
        targets=[BEST],
        dynamic_shapes={"words": {0: batch, 1: 2 * words}},
    )
    slim = torch.load_slim(tmp_path / "m.slim")
    assert [x.shape for x in slim.inputs] == [(None, None)]
    assert [x.shape for x in slim.outputs] == [(None, None, 7), (4, None, 24), (4, None, 24)]
    assert slim.sizes == [((n, 2 * m),) for n in (1, 2, 3) for m in (4, 5, 6)]
    for ((n, m),) in slim.sizes:
        x = torch.randint(0, 100, (n, m))
        with torch.no_grad():
            want = model(x)
        found = slim(x.numpy())
        assert found["scores"].tobytes() == want["scores"].numpy().tobytes()
        assert found["last"][0].tobytes() == want["last"][0].numpy().tobytes()
    with pytest.raises(ValueError, match=r"no plan for arguments of the shapes \(4, 8\)"):
        slim(np.zeros((4, 8), np.int64))
    with pytest.raises(ExportError, match="no upper bound"):
        torch.export_slim(torch.relu, (torch.ones(2),), tmp_path / "m.slim", dynamic_shapes=({0: torch.export.Dim("n")},))
    with pytest.raises(ExportError, match="2000 combinations"):
        torch.export_slim(
            torch.relu, (torch.ones(2),), tmp_path / "m.slim", dynamic_shapes=({0: torch.export.Dim("n", min=1, max=2000)},)
        )


# --- arguments -------------------------------------------------------------------------------------------------


def test_a_model_says_what_it_takes(tmp_path) -> None:
    model, args = models()["many"]
    digest = torch.export_slim(model, args, tmp_path / "m.slim", kwargs={"scale": 3.0}, targets=[BEST])
    slim = torch.load_slim(tmp_path / "m.slim", digest=digest)
    assert [(x.name, x.dtype.name, x.shape) for x in slim.inputs] == [("x", "float32", (3, 4)), ("mask", "bool", (3, 4))]
    x, mask = (a.numpy() for a in args)
    assert slim(x, mask=mask)[0].dtype == np.float16
    assert slim(x[::-1][::-1], mask.tolist())[3].tolist() == torch.arange(12.0).reshape(3, 4).tolist()
    assert str(slim.inputs[0]) == "x: float32[3, 4]"
    for wrong in ((x,), (x, mask, x), (x[:2], mask), (x.astype(np.float64), mask), (x, x)):
        with pytest.raises((TypeError, ValueError)):
            slim(*wrong)
    with pytest.raises(TypeError, match="takes 2 arrays"):
        slim(x, mask, x=x)
    with pytest.raises(flambeau_slim.SlimError, match="not the one that is expected"):
        torch.load_slim(tmp_path / "m.slim", digest="0" * 64)


def test_values_that_ops_refuse_are_errors(tmp_path) -> None:
    model, _ = models()["lstm"]
    words = torch.randint(0, 100, (2, 3))
    for _ in range(6):  # what is remembered of its calls has looked at these words
        model(words)
    torch.export_slim(model, (words,), tmp_path / "m.slim", targets=[BEST])
    slim = torch.load_slim(tmp_path / "m.slim")
    for wrong in (100, -1):
        with pytest.raises(IndexError, match="embedding: an index is out of range"):
            slim(np.array([[1, 2, 3], [4, wrong, 6]]))
    assert slim(words.numpy())["scores"].shape == (2, 3, 7)
    torch.export_slim(lambda x: 7 // x + 1, (torch.ones(2, dtype=torch.int64),), tmp_path / "m.slim", targets=[BEST])
    slim = torch.load_slim(tmp_path / "m.slim")
    with pytest.raises(ValueError, match="floor_divide: a value that it refuses"):
        slim(np.array([1, 0]))
    assert slim(np.array([2, -2])).tolist() == [4, -3]


# --- what cannot be exported -----------------------------------------------------------------------------------


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += x.sum()
        return x + self.calls


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda x: x * x.sum().item(), "argument 'x'"),
        (lambda x: x[x > 0], "argument 'x'"),
        (lambda x: x if bool(x.sum() > 0) else -x, "argument 'x'"),
        (lambda x: nn.functional.dropout(x), "draws random numbers"),
        (Counting(), "writes to tensors"),
        (lambda x: torch.linalg.svdvals(x), "svd"),
        (lambda x: (x + 1j).abs(), "machine code compute"),
        (lambda x: x.bfloat16(), "bfloat16"),
        (lambda x: {1: x}, "dict"),
        (lambda x: {"set": {1, 2}, "x": x}, "a set"),
    ],
)
def test_refused_by_name(tmp_path, model, reason: str) -> None:
    x = torch.ones(3, 3)
    with pytest.raises(ExportError, match=reason):
        torch.export_slim(model, (x,), tmp_path / "m.slim", targets=[BEST])
    assert not list(tmp_path.iterdir())
    assert (x + 1).tolist() == [[2.0] * 3] * 3


class Known(nn.Module):
    """Looks at values that no argument has a part in, while others wait to be known."""

    def forward(self, x):
        y = x + 1
        mask = torch.full((3, 3), float("-inf")).triu(1)
        mask[0, 0] = -1.0
        if bool((mask == mask.T).all()) or mask[0, 0].item() != -1:
            return x
        top = torch.tensor([3.0, 1.0, 2.0]).topk(2)
        return (y + mask).softmax(1)[:, top.indices.tolist()] * torch.arange(3.0).sum().item()


def test_values_that_no_argument_has_a_part_in_may_be_looked_at(tmp_path) -> None:
    x = torch.linspace(-1, 1, 9).reshape(3, 3)
    torch.export_slim(Known(), (torch.zeros(3, 3),), tmp_path / "m.slim", targets=[BEST])
    assert np.allclose(torch.load_slim(tmp_path / "m.slim")(x.numpy()), Known()(x).numpy(), rtol=1e-6, atol=0)

    def careful(a, b):
        try:
            return a if b.sum() > 0 else -a
        except ExportError:
            return a

    with pytest.raises(ExportError, match="argument 'b'"):  # the one that has a part in it
        torch.export_slim(careful, (x, x), tmp_path / "m.slim", targets=[BEST])


@pytest.mark.parametrize(
    "function",
    [
        lambda x, i: torch.sin(x) + torch.cos(x * 1e9) + torch.tan(x), lambda x, i: x % 0.3, lambda x, i: torch.fmod(x, 0.3),
        lambda x, i: x.double() % 0.3, lambda x, i: torch.lgamma(x), lambda x, i: x[:, i[0]], lambda x, i: x.reshape(3, 3)[i[0], i[1]],
    ],
)  # fmt: skip
def test_functions_of_the_c_library_and_indices_that_are_arguments(tmp_path, function) -> None:
    x, i = torch.linspace(-30, 30, 9).reshape(3, 3), torch.tensor([[2, 0, 1], [1, 1, 0]])
    torch.export_slim(function, (x, i), tmp_path / "m.slim", targets=[BEST])
    found = torch.load_slim(tmp_path / "m.slim")(x.numpy() * 2, i.numpy()[::-1].copy())
    assert np.allclose(found, function(x * 2, i.flip(0)).numpy(), rtol=2e-6, atol=1e-7)


Pair = namedtuple("Pair", "first second")


def test_results_with_names_are_tuples(tmp_path) -> None:
    x = torch.tensor([[3.0, 1.0, 2.0]])
    torch.export_slim(lambda x: (x.min(1), Pair(x, {"max": x.max(1)})), (x,), tmp_path / "m.slim", targets=[BEST])
    least, (first, rest) = torch.load_slim(tmp_path / "m.slim")(x.numpy())
    assert [a.tolist() for a in (*least, first, *rest["max"])] == [[1.0], [1], [[3.0, 1.0, 2.0]], [3.0], [0]]


def test_export_is_a_call_of_the_model(tmp_path) -> None:
    """What a refused model has written is what it writes when it is called."""
    model, x = Counting(), torch.ones(2)
    with pytest.raises(ExportError):
        torch.export_slim(model, (x,), tmp_path / "m.slim", targets=[BEST])
    assert model.calls.tolist() == [2.0]
    assert model(x).tolist() == [5.0, 5.0]


def test_unknown_targets(tmp_path) -> None:
    for targets in (["arm"], []):
        with pytest.raises(ValueError, match="there are x86-64-v4"):
            torch.export_slim(lambda x: x + 1, (torch.ones(1),), tmp_path / "m.slim", targets=targets)
    torch.export_slim(lambda x: x + 1, (torch.ones(1),), tmp_path / "m.slim", targets=["aarch64"])
    with pytest.raises(flambeau_slim.SlimError, match="code for aarch64; this machine"):
        torch.load_slim(tmp_path / "m.slim")


# --- damaged and hostile files ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple:
    """A file, an argument and the result."""
    path = tmp_path_factory.mktemp("slim") / "m.slim"
    torch.export_slim(nn.Sequential(nn.Linear(6, 5), nn.Tanh()).eval(), (torch.ones(2, 6),), path, targets=[BEST])
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6)
    return path, x, torch.load_slim(path)(x).tobytes()


def refused_or_right(path: Path, x: np.ndarray, want: bytes) -> bool:
    """Whether a file is refused; if it is not, its result must be right."""
    try:
        slim = flambeau_slim.load(path)
    except flambeau_slim.SlimError:
        return True
    assert slim(x).tobytes() == want
    return False


def test_damaged_files(saved, tmp_path) -> None:
    path, x, want = saved
    whole, draw = path.read_bytes(), random.Random(7)
    refused = 0
    for k in range(500):
        data = bytearray(whole)
        place, count = draw.randrange(len(data)), draw.randrange(1, 200)
        if k % 5 == 0:
            data[place] ^= 1 << draw.randrange(8)
        elif k % 5 == 1:
            data[place : place + count] = draw.randbytes(len(data[place : place + count]))
        elif k % 5 == 2:
            del data[place : place + count]
        elif k % 5 == 3:
            data[place:place] = draw.randbytes(count)
        else:
            other = draw.randrange(len(data))
            data[place : place + count] = whole[other : other + count]
        (tmp_path / "m.slim").write_bytes(data)
        refused += refused_or_right(tmp_path / "m.slim", x, want)
    assert refused > 400


def members_of(path: Path) -> tuple[dict, dict]:
    with zipfile.ZipFile(path) as archive:
        members = {name: [archive.read(name)] for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json")[0])
    manifest.pop("members")
    return manifest, members


def places_in(x, path=()) -> list:
    """The paths to all values in a nest."""
    if isinstance(x, (dict, list)):
        return [
            path,
            *(p for key, part in (x.items() if isinstance(x, dict) else enumerate(x)) for p in places_in(part, (*path, key))),
        ]
    return [path]


def put(x, path: tuple, value) -> None:
    for key in path[:-1]:
        x = x[key]
    x[path[-1]] = value


FREE = ("model", "made_by", "nest", "offsets", "numbers", "calls")
"""What may be other text, another number or nest; of offsets it is only known that they lie in their memory."""
WRONG = (-1, 1 << 62, 10**30, 2.5, None, "x", [], {}, [[0]], "../../etc/passwd", float("nan"))


def test_hostile_offsets(saved, tmp_path) -> None:
    """No kernel is told of a place outside of the memory that it is to find there."""
    path, *_ = saved
    manifest, members = members_of(path)
    plan = json.loads(members[f"targets/{BEST}/plan-0.json"][0])
    for k in range(0, len(plan["sources"]), 5):
        for wrong in (-1, 1 << 40, "malloc") if plan["sources"][k] else ("malloc", 1.5, 1 << 64):
            other = plan | {"offsets": [*plan["offsets"][:k], wrong, *plan["offsets"][k + 1 :]]}
            write(tmp_path / "m.slim", manifest, members | {f"targets/{BEST}/plan-0.json": [json.dumps(other).encode()]})
            with pytest.raises(flambeau_slim.SlimError):
                flambeau_slim.load(tmp_path / "m.slim")


def test_hostile_manifests(saved, tmp_path) -> None:
    """With hashes that are right again: values that cannot be what they stand for are refused, whatever else is in the file."""
    path, *_ = saved
    draw = random.Random(5)
    for _ in range(150):
        manifest, members = members_of(path)
        name = draw.choice(["plan-0", "code", ""])
        changed = json.loads(members[f"targets/{BEST}/{name}.json"][0]) if name else manifest
        place, wrong = (
            draw.choice([p for p in places_in(changed) if p and p[0] not in FREE and p[-1] != "name"]),
            draw.choice(WRONG),
        )
        if wrong is None and "shape" in place:  # any size, of which there are still no plans but one
            continue
        put(changed, place, wrong)
        if name:
            members[f"targets/{BEST}/{name}.json"] = [json.dumps(changed).encode()]
        write(tmp_path / "m.slim", manifest, members)
        with pytest.raises(flambeau_slim.SlimError):
            flambeau_slim.load(tmp_path / "m.slim")


def test_hostile_archives(saved, tmp_path) -> None:
    path, x, want = saved
    manifest, members = members_of(path)
    other = tmp_path / "m.slim"
    write(other, manifest, members | {"../evil": [b"x"]})
    flambeau_slim.load(other)  # a member that is not used is only checked
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("more", b"x")
    with pytest.raises(flambeau_slim.SlimError, match="not those of the manifest"):
        flambeau_slim.load(other)
    del members["weights.safetensors"]
    write(other, manifest, members)
    with pytest.raises(flambeau_slim.SlimError):
        flambeau_slim.load(other)
    for data in (b"", b"PK", path.read_bytes()[:-1], bytes(1000)):
        other.write_bytes(data)
        with pytest.raises(flambeau_slim.SlimError):
            flambeau_slim.load(other)
    with pytest.raises(FileNotFoundError):
        flambeau_slim.load(tmp_path / "none.slim")


def test_code_is_never_writable_and_executable(saved) -> None:
    path, *_ = saved
    slim = flambeau_slim.load(path)
    address = slim._loader.code.address
    rights = {}
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights_of, *_ = line.split()
        start, end = (int(x, 16) for x in span.split("-"))
        if start < address + slim._loader.code.size and end > address:
            rights[start - address] = rights_of[:3]
    assert rights[0] == "r-x"
    assert all("w" not in r or "x" not in r for r in rights.values())


# --- the command line, and servers -----------------------------------------------------------------------------


def test_flambeau_export(tmp_path, capsys) -> None:
    torch.manual_seed(1)
    model = DigitNet().eval()
    torch.save(model.state_dict(), tmp_path / "digits.pt")
    words = [
        str(tmp_path / "digits.pt"),
        "--factory",
        "flambeau.cli.demo:DigitNet",
        "--out",
        str(tmp_path / "digits.slim"),
        "--target",
        BEST,
    ]
    assert export.main([*words, "--input", "images:FP32:-1x1x8x8", "--max-size", "4"]) == 0
    assert torch.load_slim(tmp_path / "digits.slim").digest in capsys.readouterr().out
    images = torch.rand(3, 1, 8, 8)
    loaded = loaders.load(tmp_path / "digits.slim", ModelConfig(max_batch=4))
    with torch.no_grad():
        assert loaded.call(images).tobytes() == model(images).numpy().tobytes()
    assert loaded.inputs == (TensorSpec("images", "FP32", (-1, 1, 8, 8)),)
    with pytest.raises(ModelError, match="1 to 4 rows, not for batches of up to 32"):
        loaders.load(tmp_path / "digits.slim", ModelConfig())
    if importlib.util.find_spec("onnx") is not None:
        assert export.main([str(tmp_path / "digits.slim"), "--out", str(tmp_path / "digits.onnx")]) == 0
        with torch.no_grad():
            assert torch.onnx.load(tmp_path / "digits.onnx")(images).allclose(model(images), atol=1e-5)
    assert export.main([*words, "--input", "images:FP32:1x8x8"]) == 1
    assert "expected 4D input" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        export.main([str(tmp_path / "digits.slim"), "--out", str(tmp_path / "digits.pt")])
    for wrong in ("images", "images:FP32", "images:FP33:1"):
        with pytest.raises(SystemExit):
            export.main([*words, "--input", wrong])


def test_a_model_that_has_been_called_is_exported(tmp_path):
    """What calls have left behind looks at values, which are not known while a model is exported."""
    net = nn.Embedding(7, 3)
    words = torch.tensor([[1, 2], [6, 0]])
    with torch.no_grad():
        for _ in range(6):
            net(words)
            torch.synchronize()
    torch.export_slim(net, (words,), tmp_path / "model.slim", targets=[flambeau_slim.targets()[0]])
    assert np.array_equal(flambeau_slim.load(tmp_path / "model.slim")(words.numpy()), net(words).detach().numpy())
