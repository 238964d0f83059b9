"""``torch.ops.aten``: what PyTorch's functions call below the tape, called again here with the same arguments.

For the samples of every record PyTorch's function runs with its operators watched, and each of them that ``torch.ops.aten`` has
here must give the same.
"""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import flambeau  # noqa: E402
from flambeau.ops.record import registry  # noqa: E402
from flambeau.ops.samples import Make  # noqa: E402
from tests.aten_schemas import FILE, IMPLICIT, implicit, schemas  # noqa: E402
from tests.parity.samples import as_torch, replaced, tensors  # noqa: E402

OPS = sorted(
    {id(op): op for op in registry.values() if op.samples and not op.name.startswith("torchvision.")}.values(),
    key=lambda op: op.name,
)


def get(root, name):
    for part in name.split("."):
        root = getattr(root, part)
    return root


class Watch(TorchDispatchMode):
    """Notes each operator with copies of its arguments, and its results."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        copies = replaced([list(args), kwargs or {}], lambda v: _copied(v))
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, copies, replaced(result, lambda v: _copied(v))))
        return result


def _copied(v):
    if isinstance(v, torch.Tensor):
        return (
            torch.empty_strided(v.shape, v.stride(), dtype=v.dtype).copy_(v)
            if not (v.is_sparse or v.is_conj() or v.is_neg())
            else v.clone()
        )
    return v


def as_flambeau(v):
    if isinstance(v, torch.Tensor):
        v = v.resolve_conj().resolve_neg()
        if v.dtype is torch.bfloat16:
            return flambeau.tensor(v.float().numpy()).bfloat16()
        t = flambeau.empty_strided(tuple(v.shape), v.stride(), dtype=getattr(flambeau, str(v.dtype)[6:]))
        return t.copy_(flambeau.from_numpy(np.array(v.detach().numpy())))
    name = str(v)
    if type(v).__module__ == "torch" and name.startswith("torch."):
        return getattr(flambeau, name[6:])
    return flambeau.device(v.type) if isinstance(v, torch.device) else v


X = torch.linspace(-2, 2, 48).sin().reshape(2, 2, 3, 2, 2)  # two volumes of two channels; X[0]: two images of three channels

# Their results are random, or whatever memory holds, or what PyTorch keeps for its gradients and is its own affair.
UNLIKE = {
    "rand", "randn", "bernoulli", "bernoulli_", "empty", "empty_like", "empty_strided", "native_dropout", "uniform_", "normal_", "exponential_",
    "geometric_", "cauchy_", "log_normal_", "random_", "multinomial", "poisson", "binomial", "rand_like", "randn_like", "randint", "randperm",
    "new_empty", "new_empty_strided", "rrelu_with_noise", "resize_", "normal", "randint_like", "_fused_dropout", "svd", "linalg_eig", "linalg_eigh",
    "_linalg_eigh", "linalg_qr", "geqrf",
}  # fmt: skip


def calls(op):
    """PyTorch's function, and the arguments of some samples."""
    try:
        function = get(torch, op.name)
    except AttributeError:
        pytest.skip("PyTorch has no such function")
    for sample in op.samples(Make(requires_grad=False))[:4]:
        known: dict = {}
        yield function, *replaced([list(sample.args), sample.kwargs], lambda v, known=known: as_torch(known, v))


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_operators(op):
    wrong = []
    for function, args, kwargs in calls(op):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with Watch() as watch:
                    function(*args, **kwargs)
            except Exception:
                continue
            wrong += differences(watch)
    assert not wrong, "\n".join(sorted(set(wrong)))


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_operators_of_backward_passes(op):
    """Those that PyTorch's tape calls. The gradient is one of some steps, since zeros and ones hide what is wrong."""
    wrong = []
    for function, args, kwargs in calls(op):
        for t in tensors([args, kwargs], torch.Tensor):
            t.requires_grad_(t.is_floating_point())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                results = [t for t in tensors([function(*args, **kwargs)], torch.Tensor) if t.grad_fn is not None]
                with Watch() as watch:
                    for t in results:
                        t.backward(torch.linspace(0.5, 1.5, t.numel(), dtype=t.dtype).reshape(t.shape), retain_graph=True)
            except Exception:
                continue
            wrong += differences(watch)
    assert not wrong, "\n".join(sorted(set(wrong)))


_UNSEEN = {  # gradients that the samples don't come to: the operator's arguments
    "nll_loss2d_backward": (torch.tensor(0.5), X[0], torch.tensor([[[0, 1], [2, 0]], [[1, 1], [2, 5]]]) % 3, None, 1, -100, torch.tensor(8.0)),
    "native_dropout_backward": (X, X > 0, 1.25),
    "upsample_bilinear2d_backward": (X[0], [2, 2], [2, 3, 3, 4], False),
    "upsample_bicubic2d_backward": (X[0], [2, 2], [2, 3, 3, 4], True),
    "upsample_nearest2d_backward": (X[0], [2, 2], [2, 3, 3, 4]),
    "upsample_nearest3d_backward": (X, [3, 2, 2], [2, 2, 3, 3, 4]),
    "upsample_trilinear3d_backward": (X, [3, 2, 2], [2, 2, 3, 3, 4], False),
    "_upsample_nearest_exact1d_backward": (X[0, 0], [2], [3, 2, 5]),
    "_upsample_nearest_exact3d_backward": (X, [3, 2, 2], [2, 2, 3, 3, 4]),
    "_upsample_bilinear2d_aa_backward": (X[0], [2, 2], [2, 3, 3, 4], False),
    "_upsample_bicubic2d_aa_backward": (X[0], [2, 2], [2, 3, 3, 4], False),
    "reflection_pad3d_backward": (torch.ones(2, 2, 5, 2, 2), X, [0, 0, 0, 0, 1, 1]),
    "replication_pad1d_backward": (torch.linspace(0, 1, 24).reshape(3, 2, 4), X[0, 0], [1, 1]),
    "replication_pad3d_backward": (torch.ones(2, 2, 5, 2, 2), X, [0, 0, 0, 0, 1, 1]),
    "grid_sampler_3d_backward": (torch.ones(2, 2, 1, 1, 2), X, torch.tensor([0.1, -0.3, 0.2, 0.4, 0.0, -0.1] * 2).reshape(2, 1, 1, 2, 3), 0, 0, False, [True, True]),
    "embedding_dense_backward": (X[0, 0, 0], torch.tensor([1, 1]), 4, -1, True),
    "trace_backward": (torch.tensor(0.5), [3, 4]),
    "index_select_backward": (X[0, 0], [5, 2, 2], 0, torch.tensor([0, 4, 0])),
    "masked_select_backward": (torch.tensor([1.0, 2.0]), X[0, 0, 0], torch.tensor([[True, False], [True, False]])),
    "gather_backward": (X[0, 0, :1], X[0, 0], 0, torch.tensor([[[0, 1], [1, 1]]]), False),
    "value_selecting_reduction_backward": (X[0, 0, 0], 0, torch.tensor([[0, 2], [1, 1]]), [3, 2, 2], False),
    "_batch_norm_with_update": (X[0], torch.ones(3), None, torch.zeros(3), torch.ones(3), 0.1, 1e-5),
    "_safe_softmax": (torch.tensor([[0.0, 1.0], [float("-inf"), float("-inf")]]), -1),
    "_upsample_bilinear2d_aa": (X[0], [2, 1], False),
}  # fmt: skip


@pytest.mark.parametrize("name", _UNSEEN)
def test_further_operators(name):
    with Watch() as watch:
        getattr(torch.ops.aten, name)(*_UNSEEN[name])
    assert watch.calls
    assert not differences(watch)


def test_operators_without_a_function_say_so():
    q = flambeau.ones(1, 2, 3, 4)
    with pytest.raises(
        NotImplementedError, match="Could not run 'aten::_flash_attention_forward' with arguments from the 'CPU' backend"
    ):
        flambeau.ops.aten._flash_attention_forward(q, q, q, None, None, 3, 3, 0.0, False, False)


def differences(watch):
    wrong = []
    for func, (given, named), expected in watch.calls:
        space, _, name = func._schema.name.partition("::")
        packet = getattr(flambeau.ops.aten, name, None) if space == "aten" else None
        if packet is None or name in UNLIKE:
            continue
        overload = getattr(packet, func._overloadname, None)
        if overload is None:
            continue
        if any(
            t.dtype not in (torch.bfloat16,) and not hasattr(flambeau, str(t.dtype)[6:])
            for t in tensors([given, named], torch.Tensor)
        ):
            continue
        problem = difference(overload, given, named, expected)
        if problem:
            wrong.append(f"{func._schema.name}.{func._overloadname}: {problem}")
    return wrong


def difference(overload, given, named, expected):
    try:
        found = overload(*replaced(given, as_flambeau), **replaced(named, as_flambeau))
    except Exception as error:
        return None if "flambeau has no function for this operator" in str(error) else f"{type(error).__name__}: {error}"[:300]
    ours, theirs = tensors([found], flambeau.Tensor), tensors([expected], torch.Tensor)
    if len(ours) != len(theirs):
        return f"{len(ours)} results, not {len(theirs)}"
    for x, y in zip(ours, theirs, strict=True):
        if tuple(x.shape) != tuple(y.shape) or str(x.dtype) != str(y.dtype):
            return f"{tuple(x.shape)} {x.dtype}, not {tuple(y.shape)} {y.dtype}"
        if y.dtype in (torch.bfloat16, torch.float16):
            x, y = x.float(), y.float()
        y = y.resolve_conj().resolve_neg().detach().numpy()
        if not np.allclose(x.detach().resolve_conj().numpy(), y, rtol=1e-5, atol=1e-6, equal_nan=True):
            return "other values"
    return None


def test_schemas_are_pytorchs():
    """The files are what ``python -m tests.aten_schemas`` writes."""
    assert IMPLICIT.read_text(encoding="utf-8").splitlines() == implicit()
    assert FILE.read_text(encoding="utf-8").splitlines() == schemas()


def test_every_schema_is_read():
    """And printed again as it was."""
    for text in FILE.read_text(encoding="utf-8").splitlines():
        name, _, overload = text.partition("(")[0].partition(".")
        assert str(getattr(getattr(flambeau.ops.aten, name), overload or "default")._schema) == "aten::" + text
