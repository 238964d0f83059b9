"""Functions that PyTorch has under ``torch`` itself besides ``nn.functional``'s: ``torch.batch_norm``, ``torch.lstm``, ..."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import flambeau  # noqa: E402
from flambeau.nn import native  # noqa: E402
from flambeau.ops.record import registry  # noqa: E402
from flambeau.ops.samples import Make  # noqa: E402
from tests.parity.samples import as_torch, replaced, tensors  # noqa: E402

OPS = [op for op in registry.values() if op.check.__module__.startswith("flambeau.nn.native") and op.samples]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@pytest.mark.filterwarnings("ignore:at..(frobenius|nuclear)_norm is deprecated")
def test_samples(op):
    """Values and gradients of each function's samples."""
    for sample in op.samples(Make()):
        known: dict = {}
        args, kwargs = replaced([list(sample.args), sample.kwargs], lambda v, known=known: as_torch(known, v, leaves=True))
        theirs, ours = getattr(torch, op.name)(*args, **kwargs), getattr(flambeau, op.name)(*sample.args, **sample.kwargs)
        both = list(zip(tensors([ours], flambeau.Tensor), tensors([theirs], torch.Tensor), strict=True))
        for x, y in both:
            assert x.shape == tuple(y.shape)
            np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-5, atol=1e-6)
        if both[0][0].requires_grad:
            for x, _ in known.values():  # samples share tensors
                x.grad = None
            both[0][0].sum().backward()
            both[0][1].sum().backward()
            for x, y in known.values():
                if y.grad is not None:
                    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-5, atol=1e-6)


CALLS = (
    "torch.kl_div(x, y), torch.ops.aten.kl_div(x, y), torch.ops.aten.kl_div(x, y, 2)",
    "torch.ctc_loss(x.log_softmax(-1).unsqueeze(1), torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2]), 0, 1, True)",
    "torch.embedding_bag(x, torch.tensor([1, 0, 3, 1]), torch.tensor([0, 2]), mode=1)",
    "torch.embedding_bag(x, torch.tensor([1, 0, 3, 1]), torch.tensor([0, 2, 4]), False, 2, False, None, True)",
    "torch.embedding_renorm_(x.clone(), torch.tensor([1, 2]), 0.3, 2.0)",
    "torch.native_dropout(x, 0.3, False), torch.native_dropout(x, 0.0, True)",
    "torch.native_dropout(x, 0.3, True), torch.native_dropout(x.double(), 0.6, True)",
    "torch.dropout_(x.clone(), 0.5, False), torch.alpha_dropout_(x.clone(), 0.5, False), torch.dropout_(x.clone(), 1.0, True)",
    "torch.feature_dropout_(x.clone(), 0.4, True), torch.feature_alpha_dropout_(x.clone(), 0.4, True)",
    "torch.gru(input=x.unsqueeze(0), hx=torch.zeros(1, 1, 2), params=[y.new_ones(6, 3), y.new_ones(6, 2)], has_biases=False, num_layers=1, dropout=0.0, train=False, bidirectional=False, batch_first=True)",
    "torch.rnn_tanh(x, torch.tensor([2, 1, 1]), torch.zeros(1, 2, 2), [torch.ones(2, 3), torch.ones(2, 2)], False, 1, 0.0, False, False)",
    "torch.lstm(x.unsqueeze(0), (torch.zeros(2, 1, 1), torch.zeros(2, 1, 2)), 2 * [torch.ones(8, 3), torch.ones(8, 1), torch.ones(8), torch.ones(8), torch.ones(1, 2)], True, 1, 0.0, False, True, True)",
)  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_calls(call, agree):
    agree(f"torch.manual_seed(3)\nx = torch.rand(4, 3)\ny = torch.rand(4, 3)\n{call}")


def test_reductions():
    with pytest.raises(RuntimeError, match="3 is not a valid value for reduction"):
        native.reduction_of(3)
