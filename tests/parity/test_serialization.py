"""Checkpoints in both directions: what flambeau writes PyTorch reads, and the other way round."""

from __future__ import annotations

import io
import os
import pickle
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

DTYPES = ("bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64 complex128").split()


def values(t) -> np.ndarray:
    """A tensor's values, of either library, in a type that NumPy can compare."""
    return np.array(t.detach().tolist())


def same(a, b) -> None:
    """Asserts that ``a`` and ``b`` are alike, where either may hold the tensors of either library."""
    if type(a).__name__ in ("Tensor", "Parameter"):
        assert type(a).__name__ == type(b).__name__
        assert str(a.dtype) == str(b.dtype) and tuple(a.shape) == tuple(b.shape) and a.stride() == b.stride()
        assert a.storage_offset() == b.storage_offset() and a.requires_grad == b.requires_grad
        np.testing.assert_array_equal(values(a), values(b))
    elif isinstance(a, dict):
        assert type(a) is type(b) and list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert type(a).__name__ == type(b).__name__ and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif type(a).__module__ == "torch":
        assert repr(a) == repr(b)
    else:
        assert a == b


def checkpoint(library) -> OrderedDict:
    """A checkpoint of everything that one may hold, made with ``library``."""
    base = library.arange(24.0).reshape(2, 3, 4)
    obj = OrderedDict(
        base=base, transposed=base.transpose(0, 2), row=base[1], every=base[:, ::2, 1], expanded=base[:1].expand(5, 3, 4),
        scalar=library.tensor(2.5, dtype=library.float64), empty=library.empty(0, 3), nothing=library.empty(0),
        parameter=library.nn.Parameter(library.ones(2)),
        frozen=library.nn.Parameter(library.zeros(2, 2), requires_grad=False),
        leaf=library.ones(3, requires_grad=True), result=library.ones(3, requires_grad=True) * 2,
        special=library.tensor([float("nan"), float("inf"), -0.0]),
        size=library.Size([1, 2]), dtype=library.bfloat16, device=library.device("cpu"),
        plain=[1, -1, 255, 256, 65536, 2**40, -(2**90), 1.5, None, True, "é", "", b"\xff", bytearray(b"x"), 2j, (), (1,)],
        containers={"set": {1, 2}, "counter": Counter("aab"), 3: [[]], (1, "a"): {}},
    )  # fmt: skip
    for name in DTYPES:
        obj[name] = library.tensor([[0, 1, 1], [1, 0, 1]]).to(getattr(library, name))
    obj._metadata = OrderedDict(version=2)
    return obj


@pytest.mark.parametrize(("mmap", "legacy"), [(False, False), (True, False), (False, True)])
def test_pytorch_reads_ours(tmp_path, mmap, legacy):
    path = tmp_path / "ours.pt"
    ours, theirs = checkpoint(flambeau), checkpoint(torch)
    if legacy:  # it has no names for these, and PyTorch does not read what it writes of them either
        for name in ("uint16", "uint32", "uint64"):
            del ours[name], theirs[name]
    flambeau.save(ours, path, _use_new_zipfile_serialization=not legacy)
    back = torch.load(path, weights_only=True, mmap=mmap)
    same(back, theirs)
    assert back._metadata == {"version": 2}
    back["base"][1, 0, 0] = 100
    assert back["row"][0, 0] == back["transposed"][0, 0, 1] == 100


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_we_read_pytorchs(tmp_path, mmap, legacy):
    if mmap and legacy:
        pytest.skip("the older format cannot be mapped")
    path = tmp_path / "theirs.pt"
    torch.save(checkpoint(torch), path, _use_new_zipfile_serialization=not legacy)
    back = flambeau.load(path, mmap=mmap)
    same(back, checkpoint(flambeau))
    assert back._metadata == {"version": 2}
    back["base"][1, 0, 0] = 100
    assert back["row"][0, 0] == back["transposed"][0, 0, 1] == 100


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_other_pickle_protocols(protocol):
    f = io.BytesIO()
    torch.save({"a": torch.ones(2), "b": [1, "x", {1, 2}, b"y"]}, f, pickle_protocol=protocol)
    f.seek(0)
    assert flambeau.load(f)["b"] == [1, "x", {1, 2}, b"y"]


def test_conjugate_and_negative_bits():
    z = torch.tensor([1 + 2j, 3 - 1j]).conj()
    assert z.is_conj() and z.imag.is_neg()
    for marked in (z, z.imag):
        f = io.BytesIO()
        torch.save(marked, f)
        f.seek(0)
        assert flambeau.load(f).tolist() == marked.tolist()


def test_conjugate_and_negative_bits_of_ours():
    z = flambeau.tensor([[1 + 2j, 3 - 1j]])
    for legacy in (False, True):
        for marked in (z.conj(), z.conj().t(), z.conj().imag, z.imag, flambeau.nn.Parameter(z).conj()):
            f = io.BytesIO()
            flambeau.save(marked, f, _use_new_zipfile_serialization=not legacy)
            f.seek(0)
            back = torch.load(f)
            assert back.tolist() == marked.tolist() and back.stride() == marked.stride()
            assert (back.is_conj(), back.is_neg()) == (marked.is_conj(), marked.is_neg())


def model(library):
    nn = library.nn
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),  # its gradient would be rounding noise before a BatchNorm
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
        nn.Dropout(0.0),
        nn.LogSoftmax(1),
    )


def train(library, net, optimizer, x, y) -> None:
    for _ in range(3):
        optimizer.zero_grad()
        library.nn.functional.nll_loss(net(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_training_goes_on_in_the_other_library(tmp_path, name):
    options = {"lr": 0.01} if name == "Adam" else {"lr": 0.01, "momentum": 0.9}
    inputs = np.random.default_rng(0).standard_normal((8, 1, 4, 4)).astype(np.float32)
    torch.manual_seed(0)
    torch.save(model(torch).state_dict(), tmp_path / "start.pt")

    def half(library, before, after):
        """Three steps from the checkpoint ``before``, which may be one of weights only."""
        net = model(library)
        optimizer = getattr(library.optim, name)(net.parameters(), **options)
        state = library.load(tmp_path / before)
        net.load_state_dict(state.get("net", state))
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        train(library, net, optimizer, library.tensor(inputs), library.arange(8) % 3)
        library.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / after)
        return [values(t) for t in net.state_dict().values()]

    half(torch, "start.pt", "middle.pt")
    expected = half(torch, "middle.pt", "end.pt")
    for first, second in ((torch, flambeau), (flambeau, torch)):
        half(first, "start.pt", "middle.pt")
        for ours, theirs in zip(half(second, "middle.pt", "end.pt"), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)  # float32 sums in another order


def test_whole_models(tmp_path):
    inputs = np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)
    for writer, reader in ((torch, flambeau), (flambeau, torch)):
        net = model(writer).eval()
        writer.save(net, tmp_path / "model.pt")
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            reader.load(tmp_path / "model.pt")
        twin = reader.load(tmp_path / "model.pt", weights_only=False)
        assert repr(twin) == repr(net)
        np.testing.assert_allclose(values(twin(reader.tensor(inputs))), values(net(writer.tensor(inputs))), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "obj",
    [os.system, eval, np.float64(1), np.zeros(2), defaultdict(list), frozenset([1]), slice(1), range(3), ...],
    ids=repr,
)  # fmt: skip
def test_what_pytorch_refuses_we_refuse_in_its_words(obj):
    f = io.BytesIO()
    torch.save(obj, f)
    messages = []
    for library in (torch, flambeau):
        f.seek(0)
        with pytest.raises(pickle.UnpicklingError) as caught:
            library.load(f)
        messages.append(str(caught.value))
    assert messages[1].startswith("Weights only load failed")
    said = messages[0][messages[0].index("Unsupported global" if "Unsupported" in messages[0] else "Trying to load") :]
    assert said.partition(". ")[0].partition("\n")[0] in messages[1]


def test_numpy_values_without_weights_only():
    obj = {"a": np.arange(6.0).reshape(2, 3), "b": np.float32(1.5), "c": np.array(["x", "yz"]), "d": np.int64(3)}
    f = io.BytesIO()
    torch.save(obj, f)
    f.seek(0)
    back = flambeau.load(f, weights_only=False)
    assert {k: (v.dtype, v.tolist()) for k, v in back.items()} == {k: (v.dtype, v.tolist()) for k, v in obj.items()}


def test_random_state_goes_over():
    torch.manual_seed(5)
    torch.rand(3)
    f = io.BytesIO()
    torch.save(torch.get_rng_state(), f)
    f.seek(0)
    flambeau.set_rng_state(flambeau.load(f))
    assert flambeau.rand(4).tolist() == torch.rand(4).tolist()
