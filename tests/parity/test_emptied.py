"""Every op on its samples with one size made 0: results, and the classes of errors, are PyTorch's."""

from __future__ import annotations

import math
import operator
import warnings

import pytest

import flambeau
from flambeau.ops.record import registry
from flambeau.ops.samples import Make
from tests.parity.samples import as_torch, replaced, tensors

torch = pytest.importorskip("torch")

APART = {
    "native_batch_norm": "PyTorch divides by 0, which ends the process",
    "pdist": "PyTorch divides by 0, which ends the process",
    "nn.functional.pdist": "PyTorch divides by 0, which ends the process",
    "segment_reduce": "PyTorch reads memory that is not there",
    "nn.functional.multi_margin_loss": "PyTorch's mean of nothing is whatever was in memory",
    "nn.functional.multilabel_margin_loss": "PyTorch's mean of nothing is whatever was in memory",
    "nn.functional.grouped_mm": "not for float64 in PyTorch",
    "nn.functional.batch_norm": "PyTorch cannot find out about memory formats of tensors without channels",
    "nn.functional.instance_norm": "PyTorch cannot find out about memory formats of tensors without channels",
    "conv_tbc": "PyTorch takes kernels without taps",
    "nn.functional.conv_tbc": "PyTorch takes kernels without taps",
    "conv1d": "PyTorch gives the wrong number of channels",
    "nn.functional.conv1d": "PyTorch gives the wrong number of channels",
    "convolution": "PyTorch takes kernels without taps",
    "conv2d": "PyTorch refuses images without a batch that padding would give elements",
    "nn.functional.conv2d": "PyTorch refuses images without a batch that padding would give elements",
    "conv3d": "PyTorch refuses images without a batch that padding would give elements",
    "nn.functional.conv3d": "PyTorch refuses images without a batch that padding would give elements",
    "addmv": "PyTorch adds up without broadcasting where there is nothing to multiply",
    "bilinear": "PyTorch refuses inputs without features",
    "nn.functional.bilinear": "PyTorch refuses inputs without features",
    "histogramdd": "PyTorch has a histogram of points without coordinates",
    "index_copy": "PyTorch names memory in its error",
    "index_fill": "PyTorch names memory in its error",
    "index_add": "PyTorch adds rows to a tensor without any",
    "index_reduce": "another class of error",
    "pixel_unshuffle": "PyTorch leaves the shape as it is",
    "nn.functional.pixel_unshuffle": "PyTorch leaves the shape as it is",
    "constant_pad_nd": "PyTorch refuses to take elements away where there are none",
    "nn.functional.pad": "PyTorch refuses to take elements away where there are none",
    "stft": "PyTorch's padding refuses a batch without signals",
    "nn.functional.scaled_dot_product_attention": "PyTorch repeats no heads as often as there are heads",
    "nn.functional.embedding_bag": "PyTorch refuses bags without elements",
    "nn.functional.max_unpool2d": "another class of error",
    "nn.functional.nll_loss": "another class of error",
    "nn.functional.linear_cross_entropy": "another class of error",
    "nn.functional.multi_head_attention_forward": "another class of error",
    "batch_norm": "PyTorch cannot find out about memory formats of tensors without channels",
    "instance_norm": "PyTorch cannot find out about memory formats of tensors without channels",
    "lstm": "other errors where weights do not fit",
    "gru": "other errors where weights do not fit",
    "rnn_tanh": "other errors where weights do not fit",
    "rnn_relu": "other errors where weights do not fit",
    "affine_grid_generator": "another class of error",
    "embedding": "another class of error where the padding is no row",
    "norm_except_dim": "PyTorch refuses to reshape",
    "broadcast_to": "PyTorch's function takes one argument less",
    "flip": "PyTorch's function takes no number",
}
"""Ops of which PyTorch's outcome is not asked for, and why."""


def torch_function(name: str):
    """PyTorch's function of that name, if there is one."""
    places = [name] if "." in name else [name, f"nn.functional.{name}", f"Tensor.{name}"]
    for place in places:
        try:
            return operator.attrgetter(place)(torch)
        except AttributeError:
            continue
    return None


def described(value, library):
    if isinstance(value, library.Tensor):
        numbers = value.detach().resolve_conj()
        numbers = (library.view_as_real(numbers) if value.dtype.is_complex else numbers.double()).reshape(-1).tolist()
        rounded = [x if math.isnan(x) else round(x, 4) + 0.0 for x in numbers[:50]]
        return tuple(value.shape), str(value.dtype), repr(rounded)
    if isinstance(value, (tuple, list)):
        return [described(part, library) for part in value]
    return repr(value)


def outcome(function, args, kwargs, library):
    try:
        return described(function(*args, **kwargs), library)
    except Exception as error:
        return type(error).__name__


def emptied(x, size: int):
    """A tensor without the elements of its dims of that size."""
    if not isinstance(x, flambeau.Tensor) or size not in x.shape:
        return x
    return flambeau.zeros([0 if n == size else n for n in x.shape], dtype=x.dtype)


OPS = [
    op
    for op in registry.values()
    if op.samples is not None and op.name not in APART and not op.name.startswith(("aten.", "fft.")) and torch_function(op.name)
]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_emptied(op):
    make = Make(requires_grad=False)
    different = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in op.samples(make):
            given = [*sample.args, *sample.kwargs.values()]
            if any(isinstance(x, flambeau.dtype) for x in given):
                continue
            for size in sorted({n for t in tensors(given, flambeau.Tensor) for n in t.shape if n > 1}):
                args, kwargs = (
                    replaced(x, lambda part, size=size: emptied(part, size)) for x in (tuple(sample.args), dict(sample.kwargs))
                )
                known: dict = {}
                theirs = [replaced(x, lambda part, known=known: as_torch(known, part)) for x in (args, kwargs)]
                flambeau.manual_seed(0)
                torch.manual_seed(0)
                expected, got = outcome(torch_function(op.name), *theirs, torch), outcome(op.function, args, kwargs, flambeau)
                if got != expected:
                    shapes = [tuple(x.shape) if isinstance(x, flambeau.Tensor) else x for x in [*args, *kwargs.values()]]
                    different[str(shapes)] = expected, got
    assert not different
