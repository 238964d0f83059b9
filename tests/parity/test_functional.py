"""Layers' functions and losses against PyTorch: values and both orders of gradient over random geometries, the order of
ties and NaN, running statistics, names on the tape, warnings, and errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

LIBRARIES = (flambeau, torch)
RTOL = {"float32": 1e-5, "float64": 1e-12}


def tensors(library, arrays):
    return [
        library.tensor(a.tolist(), dtype=getattr(library, a.dtype.name)).reshape(a.shape).requires_grad_(a.dtype.kind == "f")
        for a in arrays
    ]  # fmt: skip


def run(library, function, arrays, seed=0):
    """The results of ``function``, the gradients of a weighted sum, and the gradients of theirs."""
    inputs = tensors(library, arrays)
    out = function(library, *inputs)
    rng = np.random.default_rng(seed)

    def weighted(t):
        return (t * library.tensor(rng.standard_normal(t.shape).tolist(), dtype=t.dtype).reshape(t.shape)).sum()

    wanted = [t for t in inputs if t.requires_grad]
    first = library.autograd.grad(weighted(out), wanted, create_graph=True, allow_unused=True)
    total = sum(weighted(g) for g in first if g is not None)
    second = library.autograd.grad(total, wanted, allow_unused=True) if total.requires_grad else [None] * len(wanted)
    return [out, *first, *second]


def array(t):
    return np.array(t.detach().tolist()).reshape(tuple(t.shape))


def agree(function, *arrays, second=True):
    """``function`` gives what it gives with PyTorch: dtypes, shapes, values, gradients, gradients of gradients."""
    ours, theirs = (run(library, function, arrays) for library in LIBRARIES)
    count = 1 + (len(ours) - 1) // 2
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if i >= count and not second:
            break
        if a is None or b is None:
            for t in (a, b):
                assert t is None or not array(t).any(), i
            continue
        assert str(a.dtype) == str(b.dtype) and tuple(a.shape) == tuple(b.shape)
        b = array(b)
        rtol = RTOL[str(theirs[0].dtype).removeprefix("torch.")]
        # The operands are of size 1, and sums of them cancel: what counts is the error against them.
        atol = rtol * max(np.abs(b[np.isfinite(b)]).max(initial=0), 1)
        np.testing.assert_allclose(array(a), b, rtol=rtol, atol=atol, err_msg=f"result {i}")


def normal(rng, *shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


# --- convolution ---------------------------------------------------------------------------------------------


def geometry(rng, dims):
    """A random convolution: shapes of input and weight, and its settings."""
    groups = int(rng.choice([1, 1, 2, 3]))
    channels, outputs = (groups * int(rng.integers(1, 4)) for _ in range(2))
    if rng.random() < 0.3:
        channels = groups = int(rng.integers(2, 6))  # depthwise
        outputs = groups * int(rng.integers(1, 3))
    kernel = rng.integers(1, 4, dims)
    dilation = rng.integers(1, 3, dims)
    sizes = dilation * (kernel - 1) + 1 + rng.integers(0, 6, dims)
    settings = {
        "stride": tuple(map(int, rng.integers(1, 4, dims))),
        "padding": tuple(map(int, rng.integers(0, 3, dims))),
        "dilation": tuple(map(int, dilation)),
        "groups": groups,
    }
    return (int(rng.integers(1, 4)), channels, *sizes), (outputs, channels // groups, *kernel), settings


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_convolution(dims, seed):
    rng = np.random.default_rng([dims, seed])
    x, w, settings = geometry(rng, dims)
    dtype = np.float64 if seed % 2 else np.float32
    arrays = [normal(rng, *x, dtype=dtype), normal(rng, *w, dtype=dtype), normal(rng, w[0], dtype=dtype)]
    agree(lambda lib, *a: getattr(lib.nn.functional, f"conv{dims}d")(*a, **settings), *arrays)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_transposed_convolution(dims, seed):
    rng = np.random.default_rng([dims, seed, 1])
    y, w, settings = geometry(rng, dims)
    most = np.maximum(settings["stride"], settings["dilation"])
    settings["output_padding"] = tuple(int(rng.integers(0, n)) for n in most)
    settings["padding"] = tuple(min(p, k // 2) for p, k in zip(settings["padding"], w[2:], strict=True))
    x = (y[0], w[0], *rng.integers(3, 6, dims))
    dtype = np.float64 if seed % 2 else np.float32
    bias = w[1] * settings["groups"]
    arrays = [normal(rng, *x, dtype=dtype), normal(rng, *w, dtype=dtype), normal(rng, bias, dtype=dtype)]
    agree(lambda lib, *a: getattr(lib.nn.functional, f"conv_transpose{dims}d")(*a, **settings), *arrays)


def test_convolution_of_large_images():
    """Images whose windows do not fit one block of the kernel."""
    rng = np.random.default_rng(0)
    x, w = normal(rng, 2, 8, 90, 80, dtype=np.float64), normal(rng, 4, 8, 5, 3, dtype=np.float64)
    agree(lambda lib, *a: lib.nn.functional.conv2d(*a, stride=(2, 1), padding=2, dilation=(1, 3)), x, w, second=False)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [(2, 3), (4, 1)])
def test_padding_words(padding, kernel):
    rng = np.random.default_rng(0)
    arrays = normal(rng, 2, 3, 7, 6), normal(rng, 4, 3, *kernel)
    agree(lambda lib, *a: lib.nn.functional.conv2d(*a, padding=padding, dilation=(1, 2)), *arrays)


@pytest.mark.parametrize("seed", range(6))
def test_unfold_and_fold(seed):
    rng = np.random.default_rng(seed)
    kernel, stride, padding, dilation = (tuple(map(int, rng.integers(a, b, 2))) for a, b in ((1, 4), (1, 3), (0, 2), (1, 3)))
    x = normal(rng, 2, 3, *rng.integers(7, 10, 2))
    settings = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    agree(lambda lib, x: lib.nn.functional.unfold(x, **settings), x)
    agree(lambda lib, x: lib.nn.functional.fold(lib.nn.functional.unfold(x, **settings), x.shape[2:], **settings), x)


# --- pooling -------------------------------------------------------------------------------------------------


def pooling(rng, dims):
    kernel = rng.integers(1, 5, dims)
    settings = {
        "kernel_size": tuple(map(int, kernel)),
        "stride": tuple(map(int, rng.integers(1, 4, dims))),
        "padding": tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel),
        "ceil_mode": bool(rng.integers(2)),
    }
    return (int(rng.integers(1, 3)), 2, *(kernel + rng.integers(0, 6, dims))), settings


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_max_pool(dims, seed):
    rng = np.random.default_rng([dims, seed])
    shape, settings = pooling(rng, dims)
    if dims > 1:
        settings["dilation"] = 1 if seed % 3 else (1,) * (dims - 1) + (2,)
        shape = (*shape[:-1], shape[-1] + 3)
    few = rng.integers(0, 3, shape).astype(np.float32)  # many ties
    few[rng.random(shape) < 0.1] = np.nan
    few[rng.random(shape) < 0.3] = -np.inf

    def pool(lib, x):
        return getattr(lib.nn.functional, f"max_pool{dims}d")(x, **settings, return_indices=True)

    for x in (few, normal(rng, *shape)):
        ours, theirs = (pool(lib, *tensors(lib, [x])) for lib in LIBRARIES)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(array(a), array(b))
    agree(lambda lib, x: pool(lib, x)[0], normal(rng, *shape))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_avg_pool(dims, seed):
    rng = np.random.default_rng([dims, seed])
    shape, settings = pooling(rng, dims)
    settings["count_include_pad"] = bool(rng.integers(2))
    if dims > 1 and seed % 4 == 0:
        settings["divisor_override"] = int(rng.integers(1, 5))
    agree(lambda lib, x: getattr(lib.nn.functional, f"avg_pool{dims}d")(x, **settings), normal(rng, *shape))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_adaptive_pool(dims, seed):
    rng = np.random.default_rng([dims, seed])
    x = normal(rng, 2, 2, *rng.integers(1, 9, dims))
    size = tuple(map(int, rng.integers(1, 9, dims)))
    agree(lambda lib, x: getattr(lib.nn.functional, f"adaptive_avg_pool{dims}d")(x, size), x)
    agree(lambda lib, x: getattr(lib.nn.functional, f"adaptive_max_pool{dims}d")(x, size), x)
    few = rng.integers(0, 3, x.shape).astype(np.float32)
    few[rng.random(x.shape) < 0.1] = np.nan
    ours, theirs = (
        getattr(lib.nn.functional, f"adaptive_max_pool{dims}d")(*tensors(lib, [few]), size, return_indices=True)
        for lib in LIBRARIES
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


# --- normalisation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (2, 4, 3, 2), (2, 4, 2, 3, 2)])
def test_norms(shape, affine):
    rng = np.random.default_rng(0)
    x = normal(rng, *shape, dtype=np.float64) * 2 + 1
    c, last = shape[1], shape[-1]

    def parameters(n):
        return [normal(rng, n, dtype=np.float64) for _ in range(2)] if affine else []

    agree(lambda lib, x, *p: lib.nn.functional.batch_norm(x, None, None, *p, training=True), x, *parameters(c))
    agree(lambda lib, x, *p: lib.nn.functional.layer_norm(x, (last,), *p), x, *parameters(last))
    agree(lambda lib, x, *p: lib.nn.functional.group_norm(x, 2, *p), x, *parameters(c))
    agree(lambda lib, x, *p: lib.nn.functional.rms_norm(x, (last,), *p[:1]), x, *parameters(last))
    if len(shape) > 2:
        agree(lambda lib, x, *p: lib.nn.functional.instance_norm(x, None, None, *p), x, *parameters(c))
        agree(lambda lib, x: lib.nn.functional.local_response_norm(x, 3, 0.5), x)


@pytest.mark.parametrize("momentum", [0.1, 1.0])
@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_running_statistics(name, momentum):
    x = normal(np.random.default_rng(0), 5, 3, 7) * 3 + 5
    kept = []
    for lib in LIBRARIES:
        mean, var = lib.zeros(3), lib.ones(3)
        for _ in range(3):
            function = getattr(lib.nn.functional, name)
            mode = {"training": True} if name == "batch_norm" else {}
            function(*tensors(lib, [x]), mean, var, momentum=momentum, **mode)
        kept.append((array(mean), array(var)))
    np.testing.assert_allclose(kept[0], kept[1], rtol=1e-6)


def test_constant_batch():
    """A channel without variance: the variance is exactly 0."""
    x = np.full((4, 2), 3.3, np.float32)
    for lib in LIBRARIES:
        var = lib.ones(2)
        lib.nn.functional.batch_norm(*tensors(lib, [x]), lib.zeros(2), var, training=True, momentum=1.0)
        assert array(var).tolist() == [0, 0]


# --- losses --------------------------------------------------------------------------------------------------

PAIRS = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "binary_cross_entropy_with_logits",
         "binary_cross_entropy", "kl_div", "poisson_nll_loss"]  # fmt: skip


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", PAIRS)
def test_pair_losses(name, reduction):
    rng = np.random.default_rng(0)
    x, y = normal(rng, 4, 5), normal(rng, 4, 5)
    if name in ("binary_cross_entropy", "kl_div"):
        x, y = (rng.uniform(0.1, 0.9, (4, 5)).astype(np.float32) for _ in range(2))
    # PyTorch has no gradient for the target of some; what counts is that ours is right where both have one.
    y = y.astype(np.float64)

    def loss(lib, x):
        target = lib.tensor(y.tolist(), dtype=lib.float32)
        return getattr(lib.nn.functional, name)(x, target, reduction=reduction)

    agree(loss, x, second=name != "l1_loss")  # its second derivative is 0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3), (2, 4, 2, 3), (4,)])
def test_cross_entropy(shape, reduction, smoothing):
    rng = np.random.default_rng(0)
    scores = normal(rng, *shape) * 3
    labels = rng.integers(0, 4, (shape[0], *shape[2:]) if len(shape) > 1 else ())
    weights = rng.uniform(0.5, 2, 4).astype(np.float32)
    settings = {"reduction": reduction, "label_smoothing": smoothing}

    def loss(lib, x, ignore, weighted):
        weight = lib.tensor(weights.tolist()) if weighted else None
        return lib.nn.functional.cross_entropy(x, lib.tensor(labels.tolist()), weight, ignore_index=ignore, **settings)

    for ignore in (-100, 2):
        for weighted in (False, True):
            agree(lambda lib, x, i=ignore, w=weighted: loss(lib, x, i, w), scores)
    probabilities = rng.dirichlet(np.ones(4), shape[:1] + shape[2:] if len(shape) > 1 else ()).astype(np.float32)
    probabilities = np.moveaxis(probabilities, -1, 1 if len(shape) > 1 else 0)
    agree(lambda lib, x, y: lib.nn.functional.cross_entropy(x, y, **settings), scores, probabilities)


def test_all_targets_ignored():
    for lib in LIBRARIES:
        x = lib.zeros(2, 3)
        y = lib.tensor([-100, -100])
        assert np.isnan(lib.nn.functional.cross_entropy(x, y).item())
        assert lib.nn.functional.cross_entropy(x, y, reduction="sum").item() == 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_loss(reduction):
    rng = np.random.default_rng(0)
    scores = normal(rng, 12, 4, 5, dtype=np.float64)
    targets = rng.integers(1, 5, (4, 5)).tolist()

    def loss(lib, x):
        return lib.nn.functional.ctc_loss(
            x.log_softmax(2), lib.tensor(targets), (12, 10, 7, 2), (5, 3, 0, 4), reduction=reduction, zero_infinity=True
        )

    grads = []
    for lib in LIBRARIES:
        (x,) = tensors(lib, [scores])
        out = loss(lib, x)
        out.sum().backward()
        grads.append((array(out), array(x.grad)))
    np.testing.assert_allclose(grads[0][0], grads[1][0], rtol=1e-12)
    np.testing.assert_allclose(grads[0][1], grads[1][1], rtol=1e-10, atol=1e-13)


# --- images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("size", [(3, 5), (9, 13), (1, 1), (7, 6)])
def test_interpolate(mode, size):
    x = normal(np.random.default_rng(0), 2, 2, 7, 6)
    corners = [None] if mode[:7] == "nearest" or mode == "area" else [False, True]
    for align in corners:
        agree(lambda lib, x, a=align: lib.nn.functional.interpolate(x, size, mode=mode, align_corners=a), x)
    if mode in ("bilinear", "bicubic"):
        for align in corners:
            agree(
                lambda lib, x, a=align: lib.nn.functional.interpolate(x, size, mode=mode, align_corners=a, antialias=True),
                x,
                second=False,
            )


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_interpolate_without_matrices(mode, monkeypatch):
    """Large images, and values that are not finite, go another way."""
    x = normal(np.random.default_rng(0), 1, 2, 7, 6)
    with monkeypatch.context() as patch:
        patch.setattr("flambeau.ops.resize._DENSE", 0)
        agree(lambda lib, x: lib.nn.functional.interpolate(x, (9, 4), mode=mode), x)
    x[0, 0, 2, 3], x[0, 1, 4, 4] = np.inf, np.nan
    ours, theirs = (lib.nn.functional.interpolate(*tensors(lib, [x]), (9, 4), mode=mode) for lib in LIBRARIES)
    np.testing.assert_allclose(array(ours), array(theirs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("factor", [0.3, 1.7, (2.0, 0.6)])
@pytest.mark.parametrize("recompute", [None, True])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_interpolate_by_factor(mode, factor, recompute):
    x = normal(np.random.default_rng(0), 1, 2, 8, 7)
    agree(
        lambda lib, x: lib.nn.functional.interpolate(x, scale_factor=factor, mode=mode, recompute_scale_factor=recompute),
        x,
    )


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode, padding, align):
    rng = np.random.default_rng(0)
    x, grid = normal(rng, 2, 3, 5, 6, dtype=np.float64), rng.uniform(-1.6, 1.6, (2, 4, 3, 2))

    def sample(lib, x, grid):
        return lib.nn.functional.grid_sample(x, grid, mode, padding, align)

    agree(sample, x, grid, second=False)
    if mode != "bicubic":
        volume, grid = normal(rng, 1, 2, 3, 4, 5, dtype=np.float64), rng.uniform(-1.6, 1.6, (1, 2, 3, 2, 3))
        agree(sample, volume, grid, second=False)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("pad", [(2, 1), (1, -1), (-2, 2, 0, 3), (1, 2, -1, 1, 2, -1)])
def test_pad(mode, pad):
    shape = (2, *(4, 5, 6)[-len(pad) // 2 :])
    agree(lambda lib, x: lib.nn.functional.pad(x, pad, mode), normal(np.random.default_rng(0), *shape))


# --- attention -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, "causal", "bool", "float"])
def test_attention(mask):
    rng = np.random.default_rng(0)
    q, k, v = normal(rng, 2, 3, 5, 8), normal(rng, 2, 3, 6, 8), normal(rng, 2, 3, 6, 4)
    allowed = rng.random((5, 6)) < 0.6
    allowed[1] = False  # attends to nothing

    def attend(lib, q, k, v):
        given = {
            None: {}, "causal": {"is_causal": True}, "bool": {"attn_mask": lib.tensor(allowed.tolist())},
            "float": {"attn_mask": lib.tensor(np.where(allowed, 0.5, -1.5).tolist())},
        }  # fmt: skip
        return lib.nn.functional.scaled_dot_product_attention(q, k, v, **given[mask])

    agree(attend, q, k, v, second=False)


# --- what programs see ---------------------------------------------------------------------------------------


def names_on_the_tape(lib):
    f = lib.nn.functional
    x = lib.ones(2, 4, 6, 6, requires_grad=True)
    flat = lib.ones(3, 4, requires_grad=True)
    y = lib.zeros(3, dtype=lib.int64)
    return [
        type(t.grad_fn).__name__
        for t in (
            f.conv2d(x, lib.ones(2, 4, 3, 3)), f.conv_transpose2d(x, lib.ones(4, 2, 3, 3)), f.max_pool2d(x, 2),
            f.avg_pool2d(x, 2), f.adaptive_avg_pool2d(x, 3), f.adaptive_max_pool2d(x, 3), f.unfold(x, 2),
            f.batch_norm(x, None, None, training=True), f.batch_norm(x, lib.zeros(4), lib.ones(4)),
            f.layer_norm(flat, (4,)), f.group_norm(x, 2), f.embedding(y, flat), f.mse_loss(flat, flat.detach()),
            f.smooth_l1_loss(flat, flat.detach()), f.huber_loss(flat, flat.detach()), f.nll_loss(flat, y),
            f.cross_entropy(flat, y), f.cross_entropy(x, lib.zeros(2, 6, 6, dtype=lib.int64)),
            f.binary_cross_entropy(flat, flat.detach()), f.binary_cross_entropy_with_logits(flat, flat.detach()),
            f.l1_loss(flat, flat.detach()), f.pad(x, (1, 1)),
        )
    ]  # fmt: skip


def test_names_on_the_tape():
    assert names_on_the_tape(flambeau) == names_on_the_tape(torch)


WARNING = [
    lambda lib, f: f.mse_loss(lib.ones(3, 1), lib.ones(3)),
    lambda lib, f: f.l1_loss(lib.ones(3, 1), lib.ones(3)),
    lambda lib, f: f.mse_loss(lib.ones(3), lib.ones(3), size_average=False),
    lambda lib, f: f.mse_loss(lib.ones(3), lib.ones(3), reduce=False),
    lambda lib, f: f.kl_div(lib.ones(3), lib.ones(3)),
    lambda lib, f: f.grid_sample(lib.ones(1, 1, 2, 2), lib.ones(1, 1, 1, 2)),
    lambda lib, f: f.upsample(lib.ones(1, 1, 2), 4),
]


@pytest.mark.parametrize("call", WARNING)
def test_warnings(call):
    said = []
    for lib in LIBRARIES:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(lib, lib.nn.functional)
        said.append([(w.category, str(w.message)) for w in caught])
    assert said[0] == said[1]


def _long(lib, *values):
    return lib.tensor(values, dtype=lib.int64)


WRONG = [
    lambda lib, f: f.conv2d(lib.ones(1, 3, 5, 5), lib.ones(2, 4, 3, 3)),
    lambda lib, f: f.conv2d(lib.ones(5, 5), lib.ones(2, 4, 3, 3)),
    lambda lib, f: f.conv2d(lib.ones(1, 4, 2, 5), lib.ones(2, 4, 3, 3)),
    lambda lib, f: f.conv2d(lib.ones(1, 4, 5, 5), lib.ones(2, 4, 3, 3), lib.ones(3)),
    lambda lib, f: f.conv2d(lib.ones(1, 4, 5, 5), lib.ones(2, 4, 3, 3), stride=(1, 1, 1)),
    lambda lib, f: f.conv_transpose2d(lib.ones(1, 3, 5, 5), lib.ones(4, 2, 3, 3)),
    lambda lib, f: f.max_pool2d(lib.ones(1, 3, 5, 5), 6),
    lambda lib, f: f.max_pool2d(lib.ones(5, 5), 2),
    lambda lib, f: f.max_pool2d(lib.ones(1, 3, 5, 5), 2, padding=2),
    lambda lib, f: f.avg_pool1d(lib.ones(3, 5), 2, padding=2),
    lambda lib, f: f.adaptive_avg_pool2d(lib.ones(5, 5), 2),
    lambda lib, f: f.batch_norm(lib.ones(1, 3), None, None, training=True),
    lambda lib, f: f.batch_norm(lib.ones(2, 3), lib.ones(2), lib.ones(2)),
    lambda lib, f: f.layer_norm(lib.ones(2, 3), (4,)),
    lambda lib, f: f.group_norm(lib.ones(2, 3, 4), 2),
    lambda lib, f: f.instance_norm(lib.ones(2, 3, 1)),
    lambda lib, f: f.embedding(_long(lib, 5), lib.ones(5, 2)),
    lambda lib, f: f.embedding(lib.ones(2), lib.ones(5, 2)),
    lambda lib, f: f.one_hot(_long(lib, 0, 5), 3),
    lambda lib, f: f.cross_entropy(lib.ones(3, 4), _long(lib, 0, 1)),
    lambda lib, f: f.cross_entropy(lib.ones(3, 4), _long(lib, 0, 1, 4)),
    lambda lib, f: f.cross_entropy(lib.ones(3, 4), _long(lib, 0, 1, 2).reshape(3, 1)),
    lambda lib, f: f.cross_entropy(lib.ones(3, 4), lib.ones(3)),
    lambda lib, f: f.cross_entropy(lib.ones(3, 4), lib.ones(3, 4, dtype=lib.int64)),
    lambda lib, f: f.mse_loss(lib.ones(3, 4), lib.ones(3, 4), reduction="max"),
    lambda lib, f: f.mse_loss(lib.ones(3, dtype=lib.int64), lib.ones(3, dtype=lib.int64)),
    lambda lib, f: f.binary_cross_entropy(lib.ones(3) * 2, lib.ones(3)),
    lambda lib, f: f.binary_cross_entropy(lib.ones(3), lib.ones(3, 1)),
    lambda lib, f: f.binary_cross_entropy_with_logits(lib.ones(3), lib.ones(3, 1)),
    lambda lib, f: f.pad(lib.ones(3, 3), (1, 1, 1)),
    lambda lib, f: f.pad(lib.ones(1, 1, 3, 3), (3, 1, 1, 1), "reflect"),
    lambda lib, f: f.interpolate(lib.ones(1, 1, 3, 3), 4, mode="linear"),
    lambda lib, f: f.interpolate(lib.ones(1, 1, 3, 3)),
    lambda lib, f: f.pixel_shuffle(lib.ones(1, 3, 2, 2), 2),
    lambda lib, f: f.ctc_loss(lib.ones(4, 1, 3), _long(lib, 1).reshape(1, 1), (5,), (1,)),
]


def error_of(lib, call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as caught:  # noqa: PT011  whatever PyTorch raises
            call(lib, lib.nn.functional).tolist()
    return caught.value


@pytest.mark.parametrize("call", WRONG)
def test_errors(call):
    """The same class, and PyTorch's wording up to its first number or punctuation at the least."""
    ours, theirs = (error_of(lib, call) for lib in LIBRARIES)
    assert type(ours).__name__ == type(theirs).__name__
    start = str(theirs).splitlines()[0].rstrip(". ")[:40]
    assert str(ours).startswith(start), f"{ours}\n{theirs}"
