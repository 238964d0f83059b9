"""Safetensors, in flambeau's words and in those of the package under the disguise; shards; GGUF."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as torch
import flambeau.weights as weights

pytest.importorskip("safetensors")

from flambeau.weights.safe import KINDS  # noqa: E402

DTYPES = sorted(KINDS.values(), key=str)


def made(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    values = torch.arange(int(np.prod(shape))).reshape(shape) % 5
    return values.to(torch.float32).to(dtype) if dtype.itemsize == 1 and dtype.is_floating_point else values.to(dtype)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return (
        a.dtype is b.dtype
        and a.shape == b.shape
        and (a.numel() == 0 or torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8)))
    )


STATE = {
    f"{dtype}.{i}".removeprefix("torch."): made(dtype, *shape)
    for dtype in DTYPES
    for i, shape in enumerate([(3, 4), (5,), (), (0, 2)])
}


def test_every_dtype_and_shape_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "all.safetensors"
    weights.save_file(STATE, path, metadata={"by": "test"})
    for found in (weights.load_file(path), weights.load(path.read_bytes()), weights.load(weights.save(STATE))):
        assert found.keys() == STATE.keys() and all(same(found[k], STATE[k]) for k in STATE)
    with weights.safe_open(path) as f:
        assert f.keys() == sorted(STATE) and f.metadata() == {"by": "test"}
        part = f.get_slice("float32.0")
        assert part.get_shape() == [3, 4] and part.get_dtype() == "F32"
        for index in (0, slice(1, None), (slice(None), slice(1, 3)), (..., -1)):
            assert torch.equal(part[index], STATE["float32.0"][index])
        with pytest.raises(KeyError, match="no tensor 'x'"):
            f.get_tensor("x")


def test_files_are_those_of_the_package(tmp_path: Path) -> None:
    """Under the disguise the package itself reads what flambeau wrote, and writes what flambeau reads."""
    weights.save_file(STATE, tmp_path / "ours.safetensors")
    code = """
        import sys
        import flambeau.compat; flambeau.compat.install()
        import torch
        from safetensors import safe_open
        from safetensors.torch import load_file, load_model, save, load, save_file, save_model
        from tests.test_weights import STATE, same
        ours, theirs = sys.argv[1:]
        found = load_file(ours)
        assert found.keys() == STATE.keys() and all(same(found[k], STATE[k]) for k in STATE)
        save_file(STATE, theirs, metadata={"by": "package"})
        assert all(same(t, STATE[k]) for k, t in load(save(STATE)).items())
        with safe_open(theirs, framework="pt", device="cpu") as f:
            assert f.get_tensor("bfloat16.0").dtype is torch.bfloat16
            part = f.get_slice("float32.0")
            assert torch.equal(part[1:, :2], STATE["float32.0"][1:, :2]) and part.get_shape() == [3, 4]
        net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        net[1].weight = net[0].weight
        save_model(net, theirs + ".model")
        assert load_model(net, theirs + ".model") == (set(), [])
        for wrong in ({"a": net[0].weight, "b": net[1].weight}, {"a": torch.ones(2, 3).T}):
            try:
                save_file(wrong, theirs + ".wrong")
            except (RuntimeError, ValueError):
                pass
            else:
                raise AssertionError(wrong)
    """
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(code),
        str(tmp_path / "ours.safetensors"),
        str(tmp_path / "theirs.safetensors"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert result.returncode == 0, result.stderr
    found = weights.load_file(tmp_path / "theirs.safetensors")
    assert found.keys() == STATE.keys() and all(same(found[k], STATE[k]) for k in STATE)


def test_tensors_are_mapped_and_files_do_not_change(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights.save_file({"w": torch.ones(1000)}, path)
    before = path.read_bytes()
    with weights.safe_open(path) as f:
        w = f.get_tensor("w")
    w.mul_(3)
    w[5] = 7
    assert w.sum().item() == 3004 and path.read_bytes() == before
    net = torch.nn.Linear(1000, 1, bias=False)
    net.load_state_dict({"weight": weights.load_file(path)["w"].reshape(1, -1)}, assign=True)
    net(torch.ones(1000)).sum().backward()
    torch.optim.SGD(net.parameters(), lr=1.0).step()
    assert net.weight.sum().item() == 0 and path.read_bytes() == before


def test_layouts_and_shared_memory(tmp_path: Path) -> None:
    whole = torch.arange(6.0).reshape(2, 3)
    found = weights.load(weights.save({"t": whole.T, "row": whole[1], "first": whole[0]}))
    assert torch.equal(found["t"], whole.T) and torch.equal(found["row"], whole[1])
    with pytest.raises(RuntimeError, match="'tied' and 'whole'|'whole' and 'tied'"):
        weights.save({"whole": whole, "tied": whole.view(6)})


@pytest.mark.parametrize("cut", [0, 4, 20, -1])
def test_damaged_files_are_refused(tmp_path: Path, cut: int) -> None:
    content = weights.save({"w": torch.ones(4)})
    (tmp_path / "w").write_bytes(content[:cut])
    for read in (lambda: weights.load_file(tmp_path / "w"), lambda: weights.load(content[:cut])):
        with pytest.raises(Exception, match="(?i)header|invalid|incomplete|small|deserializ"):
            read()


@pytest.mark.parametrize(("limit", "files"), [("1GB", 1), (100, 4), ("0.2KB", 2), (1, 5)])
def test_shards(tmp_path: Path, limit: Any, files: int) -> None:
    state = {f"layer.{i}": torch.full((20,), float(i)) for i in range(4)} | {"tiny": torch.ones(1)}
    names = weights.save_sharded(state, tmp_path, limit)
    assert len(names) == files and {p.name for p in tmp_path.iterdir() if p.suffix == ".safetensors"} == set(names)
    found = weights.load_sharded(tmp_path)
    assert found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)


def test_what_is_wrong_with_shards_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="5GB"):
        weights.save_sharded({"a": torch.ones(1)}, tmp_path, "much")
    with pytest.raises(FileNotFoundError):
        weights.load_sharded(tmp_path)
    weights.save_sharded({"a": torch.ones(9), "b": torch.ones(9)}, tmp_path, 40)
    index = tmp_path / "model.safetensors.index.json"
    text = index.read_text()
    index.write_text(text.replace("model-00002", "../model-00002"))
    with pytest.raises(RuntimeError, match="beside it"):
        weights.load_sharded(tmp_path)
    index.write_text(text.replace('"b"', '"c"'))
    with pytest.raises(RuntimeError, match="'c' should be in"):
        weights.load_sharded(tmp_path)


def test_gguf(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    wide = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "test")
    writer.add_tensor("plain", wide)
    writer.add_tensor("half", wide.astype(np.float16))
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.BF16):
        writer.add_tensor(kind.name, gguf.quantize(wide, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = weights.load_gguf(tmp_path / "m.gguf")
    assert torch.equal(found["plain"], torch.tensor(wide)) and torch.equal(found["half"], torch.tensor(wide).half())
    assert torch.equal(found["BF16"], torch.tensor(wide).bfloat16())
    for name, error in (("Q8_0", 0.02), ("Q4_0", 0.4)):
        assert found[name].dtype is torch.float32 and found[name].shape == (4, 64)
        np.testing.assert_allclose(found[name].numpy(), wide, atol=error)
    assert weights.load_gguf(tmp_path / "m.gguf", torch.float16)["Q8_0"].dtype is torch.float16
