"""Masked tensors: what is printed of them, of what is computed with them and of their gradients, is what PyTorch prints."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

VALUES = """
mt; mi; flags; mt[0]; mt[0, 0]; mt[0, 1]; mt[:, 1:]; mt[lib.tensor([1, 0])]; mt.shape, mt.dim(), mt.numel(), mt.dtype, mt.device, mt.layout, mt.is_sparse, mt.stride(), len(mt)
mt.sum(); mt.sum(0); mt.sum(dim=1, keepdim=True); lib.sum(mt, (0, 1)); mt.mean(); mt.mean(1); mt.amax(); mt.amax(1); mt.amin(0); mt.argmax(); mt.argmax(1); mt.argmin(1)
mt.prod(); mt.prod(1); mt.var(); mt.var(1); mt.std(); mt.std(0); mi.sum(1); flags.all(); flags.all(1)
mt.abs(); lib.sin(mt); -mt; mt**2; mt.clamp(2, 3); mt.round(); mt.exp().log(); lib.sigmoid(mt); ~flags; mt.isnan(); mt.square()
mt + 1; 1 + mt; mt * mt; mt / mt; mt - d; d - mt; mt == mt; mt < 2; mt > d; lib.maximum(mt, mt); mt.floor_divide(2)
mt.t(); mt.transpose(0, 1); mt.view(6); mt.reshape(3, 2); mt.expand(2, 2, 3); mt.unsqueeze(0); mt.flatten(); mt.split(2, 1); mt.chunk(3, 1); lib.cat([mt, mt]); lib.stack([mt, mt])
lib.where(m2, mt, mt); lib.where(m2, mt, d); mt.softmax(1); lib.softmax(mt, 0); lib.nn.functional.softmax(mt, -1); lib.ones_like(mt)
mt.clone(); mt.detach(); mt.double(); mt.to(lib.float64).dtype; mt.contiguous(); mt.to_dense(); mt.type(lib.float64)
mt.to_sparse(); mt.to_sparse().to_dense(); mt.to_sparse_csr(); mt.to_sparse().abs(); mt.to_sparse() * mt.to_sparse(); mt.to_sparse().sum(); mt.to_sparse().layout
mt.to_tensor(0); mt.to_tensor(-1.0); mt.get_data(); mt.get_mask(); mt[0, 0].item(); float(mt.sum()); bool(mt.sum() > 0); mt.clone().mul_(2); mt.clone().abs_()
lib.masked.is_masked_tensor(mt), lib.masked.is_masked_tensor(d), isinstance(mt, lib.Tensor); lib.masked.sum(mt, 1); lib.masked.amax(mt, 1)
"""
GRADIENTS = """
(l * 2).sum(); (l * l).sum(1).sum(); l.prod(1).sum(); l.mean(); l.to_tensor(0).sum(); l.amax(); l.exp().sum(); l[0].sum(); lib.cat([l, l * 2]).sum(); l.view(6).sum(); l.std()
"""
THROUGH = """
as_masked(x * 2, m).sum(); as_masked(x * x, m).sum(0).to_tensor(0).sum(); as_masked(lib.exp(x), m).mean(); as_masked(x / (x - 2), m).sum(); as_masked((x - 2).sqrt(), x != 2).sum()
"""
REFUSED = """
mt + make(d, m2); make([1], [True]); make(d, [True]); make(mt, m); make(d, m.float()); make(d, m[0]); make(d, m.T); make(d.bfloat16(), m); mt.matmul(d.T); mt.cumsum(1); mt[0, 1].item()
mt.tolist(); mt.log_softmax(1)
"""


def _each(calls: str) -> list[str]:
    return [call.strip() for call in calls.replace("\n", ";").split(";") if call.strip()]


def names(lib):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        d, m = lib.tensor([[1.0, 2, 3], [4, 5, 6]]), lib.tensor([[True, False, True], [False, False, False]])
        m2 = lib.tensor([[True, True, True], [False, True, False]])
        make = lib.masked.masked_tensor
        return {
            "lib": lib, "d": d, "m": m, "m2": m2, "make": make, "as_masked": lib.masked.as_masked_tensor, "mt": make(d, m), "mi": make(lib.arange(6).reshape(2, 3), m),
            "flags": make(m, m2), "l": make(d, m, requires_grad=True), "x": lib.tensor([[1.0, 2, 3], [4, 5, 6]], requires_grad=True),
        }  # fmt: skip


@pytest.fixture(autouse=True)
def _quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("call", _each(VALUES))
def test_values(call):
    assert repr(eval(call, names(flambeau))) == repr(eval(call, names(torch)))


@pytest.mark.parametrize("call", _each(GRADIENTS))
def test_gradients_of_leaves(call):
    def gradient(lib):
        known = names(lib)
        eval(call, known).backward()
        return repr(known["l"].grad).replace("-0.0000", " 0.0000")

    assert gradient(flambeau) == gradient(torch)


@pytest.mark.parametrize("call", _each(THROUGH))
def test_gradients_of_data(call):
    """They are masked, so that what is no number under the mask is not seen."""

    def gradient(lib):
        known = names(lib)
        eval(call, known).backward()
        return repr(known["x"].grad)

    assert gradient(flambeau) == gradient(torch)


@pytest.mark.parametrize("call", _each(REFUSED))
def test_refused(call):
    errors = []
    for lib in (flambeau, torch):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            eval(call, names(lib))
        errors.append(caught.type)
    assert errors[0] is errors[1]


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
@pytest.mark.parametrize(
    "selected", [[[0, 0, 1], [0, 0, 1]], [[1, 0, 1], [1, 1, 1]], [[0, 0, 1], [1, 0, 1]], [[1, 1, 0], [0, 0, 1]]]
)
def test_sparse_data_where_the_mask_has_other_places(layout, selected):
    def made(t):
        data = getattr(t.tensor([[0.0, 0.0, 3.0], [4.0, 0.0, 5.0]]), layout)()
        mask = getattr(t.tensor(selected, dtype=t.bool), layout)()
        try:
            x = t.masked.masked_tensor(data, mask)
        except ValueError as error:
            return str(error)
        return x.get_data().to_dense().tolist(), x.get_data()._nnz(), repr(x)

    assert made(flambeau) == made(torch)
