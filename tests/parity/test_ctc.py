"""The loss of alignments beside PyTorch: lengths, empty targets, targets too long, scores that are far apart."""

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


def loss_and_gradient(library, scores, *args):
    x = library.tensor(scores, requires_grad=True)
    log_probs = x.log_softmax(2)
    loss = library.nn.functional.ctc_loss(log_probs, *[library.tensor(a) if isinstance(a, np.ndarray) else a for a in args])
    loss.sum().backward()
    return loss.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0, 300.0])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_losses_and_gradients(scale, dtype, zero_infinity):
    rng = np.random.default_rng(int(scale) + len(dtype) + zero_infinity)
    for _ in range(12):
        steps, samples, classes, longest = (int(rng.integers(*r)) for r in ((1, 15), (1, 5), (2, 7), (0, 8)))
        scores = (rng.standard_normal((steps, samples, classes)) * scale).astype(dtype)
        given, wanted = rng.integers(1, steps + 1, samples), rng.integers(0, longest + 1, samples)
        blank = int(rng.integers(0, classes))
        targets = rng.choice([k for k in range(classes) if k != blank], (samples, max(longest, 1)))
        if rng.random() < 0.3:  # one after the other
            targets = np.concatenate([line[:n] for line, n in zip(targets, wanted, strict=True)])
        args = targets, given, wanted, blank, str(rng.choice(["none", "mean", "sum"])), zero_infinity
        tolerance = 2e-4 if dtype == "float32" else 1e-8
        for theirs, ours in zip(loss_and_gradient(torch, scores, *args), loss_and_gradient(flambeau, scores, *args), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(scale, 1))
