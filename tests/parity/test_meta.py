"""The device "meta" against PyTorch's: shapes, dtypes and strides of every record's samples, values that are asked for, modules."""

from __future__ import annotations

import copy
import io
import warnings

import pytest

import flambeau
from flambeau.ops.record import registry
from flambeau.ops.samples import Make

torch = pytest.importorskip("torch")
from tests.parity.samples import replaced, tensors  # noqa: E402 - it needs torch too
from tests.parity.test_elementwise import get  # noqa: E402

OPS = sorted({id(op): op for op in registry.values() if op.samples}.values(), key=lambda op: op.name)
OTHER_STRIDES = frozenset(
    "copysign fft.hfft2 fft.hfftn fft.rfft2 fft.rfftn linalg.eig linalg.matrix_norm linalg.solve linalg.solve_ex linalg.solve_triangular "
    "linalg.svd svd svd_lowrank pca_lowrank angle floor_divide nn.functional.logsigmoid nn.functional.pixel_unshuffle nn.functional.rrelu "
    "nonzero_static unravel_index".split()
)
"""Here PyTorch's rule for ``meta`` says other strides than its kernels have, which are those here (see test_memory_format.py)."""
OTHER_SHAPES = {"native_batch_norm", "nn.functional.multi_margin_loss"}
"""And here even another shape or dtype."""


def on_meta(library, value):
    """The nest with tensors on ``meta`` of ``library`` in place of flambeau's, and its dtypes."""

    def change(x):
        if isinstance(x, flambeau.Tensor):
            dtype = getattr(library, str(x.dtype).rpartition(".")[2])
            return library.empty_strided(tuple(x.shape), x.stride(), dtype=dtype, device="meta", requires_grad=x.requires_grad)
        name = str(x) if type(x).__module__.startswith("flambeau") else ""
        return getattr(library, name[len("torch.") :]) if name.startswith("torch.") else x

    return replaced(value, change)


def described(library, value):
    return [(tuple(t.shape), str(t.dtype), t.stride()) for t in tensors(value, library.Tensor)]


def outcome(library, op, sample):
    args, kwargs = on_meta(library, list(sample.args)), on_meta(library, sample.kwargs)
    if not tensors([args, kwargs], library.Tensor):
        kwargs["device"] = "meta"
    function = op.function if library is flambeau else get(torch, op.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return described(library, function(*args, **kwargs))


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_samples(op):
    """Shapes and dtypes are PyTorch's, and strides too but where its rule on ``meta`` is not what its kernels do."""
    if "." in op.name and op.name.split(".")[0] == "aten" or op.short_name.startswith("_"):
        pytest.skip("not public")
    try:
        get(torch, op.name)
    except AttributeError:
        pytest.skip("PyTorch has no such function")
    for sample in op.samples(Make()):
        if not tensors([list(sample.args), sample.kwargs], flambeau.Tensor) and "device" not in op.check.__code__.co_varnames:
            continue
        try:
            expected = outcome(torch, op, sample)
        except Exception as refused:
            if "Tensor.item() cannot be called" in str(refused):
                with pytest.raises(RuntimeError, match="called on meta|Meta"):
                    outcome(flambeau, op, sample)
            continue
        ours = outcome(flambeau, op, sample)
        if op.name not in OTHER_SHAPES:
            assert [o[:2] for o in ours] == [e[:2] for e in expected], sample
        if op.name not in OTHER_STRIDES | OTHER_SHAPES:
            assert ours == expected, sample


def same(program):
    """What ``program(library)`` gives in both libraries, or the class and the beginning of the error."""

    def run(library):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return program(library)
            except Exception as error:
                return type(error).__name__, str(error)[:40]

    ours, expected = run(flambeau), run(torch)
    assert ours == expected
    return ours


VALUES = """
m.sum().item()
m.tolist()
m.numpy()
bool(m.sum())
float(m.sum())
int(m.sum())
m.cpu()
m.to('cpu')
lib.ones(2, 3).copy_(m)
m.__array__()
1.0 in m
m.share_memory_()
m.untyped_storage().tolist()
range(3)[m.sum().long()]
m + lib.ones(2, 3)
lib.ones(2, 3) * m
lib.cat([m, lib.ones(2, 3)])
lib.nn.functional.one_hot(lib.zeros(2, dtype=lib.int64, device='meta'))
lib.full((2,), m.sum())
lib.empty(2, device='meta:1').device.type
lib.nn.Linear(2, 3, device='meta').to('cpu')
""".strip().splitlines()


@pytest.mark.parametrize("line", VALUES)
def test_values_are_refused(line):
    same(lambda lib: str(eval(line, {"lib": lib, "m": lib.empty(2, 3, device="meta")})))


SHOWN = """
m
repr(m.long())
m.requires_grad_()
lib.nn.Parameter(m)
(m.requires_grad_() * 2)
m.device, m.is_meta, m.is_cpu, m.get_device(), m.type(), m.data_ptr(), m.is_shared(), m.is_contiguous(), m.layout, m.nbytes
m + 1, m + lib.tensor(1.0), m > 0, m.sum(), m @ m.T, m.t().stride(), m[0, 1], m[:, None].expand(2, 4, 3).stride()
m.copy_(lib.ones(2, 3))
m.to('meta') is m, m.to(lib.float64), lib.ones(3, 2).t().to('meta').stride(), lib.ones(2).to(m), lib.ones(2).to(device='meta', dtype=lib.int64)
lib.tensor([1.0, 2.0], device='meta'), lib.as_tensor([1], device='meta'), lib.arange(5, device='meta'), lib.eye(3, device='meta')
lib.randn(3, device='meta'), lib.randperm(4, device='meta'), lib.randint(0, 4, (2, 3), device='meta'), lib.rand_like(m), lib.normal(m, m)
lib.empty(10**6, 10**6, device='meta') @ lib.ones(10**6, 10**5, device='meta')
m.new_zeros(3), m.new_tensor([1.0]), lib.zeros_like(m), lib.zeros_like(m, device='cpu'), lib.ones(2).new_zeros(3, device='meta')
m.normal_(), m.uniform_(), m.zero_(), m.fill_(3), m.bernoulli_(), m.exponential_(), m.clamp_(0, 1), m._version
m.resize_(4, 5), m.untyped_storage().nbytes(), m.unsqueeze_(0), m.squeeze_(0), m.t_()
lib.nn.functional.dropout(m), lib.multinomial(m, 2), lib.bernoulli(m), lib.poisson(m)
m.untyped_storage()
m[lib.tensor([0, 1])], m[lib.tensor([0]), 1:], lib.where(m > 0, 1.0, m), m.masked_fill(m > 0, 0)
lib.nn.functional.embedding(lib.tensor([[1]]), m), lib.nn.functional.cross_entropy(m, lib.zeros(2, dtype=lib.int64, device='meta'))
[t for t in m], m.unbind(1), m.chunk(2), m.split(1), lib.stack([m, m]), lib.cat([m, m], 1)
lib.linalg.svd(m), lib.topk(m, 2), m.max(1), m.sort()
lib.device('meta'), lib.device('meta', 0), str(lib.device('meta'))
m.data, m.detach(), m.clone(), m.view(3, 2), m.view(lib.int32), m.half(), m.contiguous(), m.is_leaf
""".strip().splitlines()


@pytest.mark.parametrize("line", SHOWN)
def test_shown(line):
    same(lambda lib: str(eval(line, {"lib": lib, "m": lib.empty(2, 3, device="meta")})))


def test_random_numbers_are_not_drawn():
    def program(lib):
        lib.manual_seed(0)
        m = lib.empty(5, device="meta")
        m.normal_(), lib.rand(3, device="meta"), lib.nn.functional.dropout(m), lib.randperm(9, device="meta")
        lib.nn.Linear(3, 4, device="meta")
        return lib.rand(2).tolist()

    same(program)


def test_copies_and_files():
    def program(lib):
        m = lib.nn.Linear(2, 3, device="meta")
        m.weight.grad = lib.ones(3, 2, device="meta")
        other = copy.deepcopy(m)
        file = io.BytesIO()
        lib.save({"state": m.state_dict(), "full": lib.ones(2, 2)}, file)
        file.seek(0)
        read = lib.load(file)
        file.seek(0)
        moved = lib.load(file, map_location="meta")
        return str([*other.named_parameters(), other.weight.grad, read, moved])

    same(program)


def test_modules():
    def program(lib):
        lib.manual_seed(0)
        m = lib.nn.Sequential(lib.nn.Conv2d(3, 4, 3, device="meta"), lib.nn.BatchNorm2d(4, device="meta"), lib.nn.Flatten())
        full = lib.nn.Sequential(lib.nn.Conv2d(3, 4, 3), lib.nn.BatchNorm2d(4), lib.nn.Flatten())
        shown = [str(m(lib.empty(2, 3, 8, 8, device="meta"))), str(m.load_state_dict(full.state_dict())), m[0].weight.is_meta]
        m.load_state_dict(full.state_dict(), assign=True)
        m.eval(), full.eval()
        x = lib.randn(2, 3, 8, 8)
        shown += [str(m[0].weight.device), type(m[0].weight).__name__, m[0].weight.requires_grad, bool((m(x) == full(x)).all())]
        empty = lib.nn.Linear(2, 3, device="meta").to_empty(device="cpu")
        back = lib.nn.Linear(2, 3).to("meta")
        return [*shown, str(empty.weight.device), str(empty.weight.shape), str(back.weight), type(back.weight).__name__]

    same(program)


def test_gradients():
    def program(lib):
        net = lib.nn.Sequential(lib.nn.Linear(4, 8), lib.nn.LayerNorm(8), lib.nn.ReLU(), lib.nn.Linear(8, 2)).to("meta")
        optimizer = lib.optim.Adam(net.parameters())
        shown = []
        for _ in range(3):
            loss = lib.nn.functional.cross_entropy(
                net(lib.empty(5, 4, device="meta")), lib.empty(5, dtype=lib.int64, device="meta")
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            shown += [str(loss), *[str(p.grad) for p in net.parameters()]]
        x = lib.ones(3, device="meta", requires_grad=True)
        y = x * 2
        y[0] = 1.0
        (g,) = lib.autograd.grad((y**2).sum(), x, create_graph=True)
        return [*shown, str(g.shape), g.requires_grad]

    same(program)


def test_ensembles():
    """Models stacked, and called through one without values."""

    def program(lib):
        lib.manual_seed(0)
        models = [lib.nn.Linear(3, 2) for _ in range(4)]
        params, buffers = lib.func.stack_module_state(models)
        base = copy.deepcopy(models[0]).to("meta")
        x = lib.randn(5, 3)
        out = lib.vmap(lambda p, b, x: lib.func.functional_call(base, (p, b), (x,)), in_dims=(0, 0, None))(params, buffers, x)
        want = lib.stack([m(x) for m in models])
        return (
            tuple(out.shape),
            bool(lib.allclose(out, want)),
            str(lib.vmap(lambda x: (x * 2).sum())(lib.ones(2, 3, device="meta"))),
        )

    same(program)


def test_fake_tensors():
    """They stand for tensors on the CPU, and are made without values."""
    import torch._subclasses.fake_tensor as theirs

    import flambeau._subclasses.fake_tensor as ours

    def program(lib):
        fake = ours if lib is flambeau else theirs
        mode = fake.FakeTensorMode()
        real = lib.ones(4, 3, 8, 8, requires_grad=True)
        x = mode.from_tensor(real)
        shown = [
            mode.from_tensor(real) is x,
            fake.is_fake(x),
            fake.is_fake(real),
            isinstance(x, fake.FakeTensor),
            x.is_meta,
            x.is_leaf,
            str(x.device),
        ]
        with mode:
            net = lib.nn.Sequential(
                lib.nn.Conv2d(3, 5, 3), lib.nn.BatchNorm2d(5), lib.nn.ReLU(), lib.nn.Flatten(), lib.nn.Linear(180, 2)
            )
            y = net(x)
            y.sum().backward()
            made = [
                lib.ones(2),
                lib.arange(3),
                lib.tensor([1.0]),
                lib.zeros_like(x),
                lib.randn(2, 2),
                lib.empty(10**6, 10**6),
                x.new_zeros(2),
            ]
        made += [
            y.detach(),
            x.grad,
            net[0].weight.grad,
            x.detach()[0],
            x.detach().view(-1),
            x.detach().double(),
            x.detach().clone().add_(1),
        ]
        shown += [str(t) for t in made] + [
            all(fake.is_fake(t) for t in made),
            isinstance(net[0].weight, lib.nn.Parameter),
            fake.is_fake(net[0].weight),
        ]
        refused = []
        for call in (lambda: y.sum().item(), lambda: y.nonzero(), lambda: bool(y.sum())):
            try:
                call()
            except Exception as error:
                refused.append(type(error).__name__)
        try:
            y.detach() + lib.ones(1, 2)
        except Exception as error:
            refused.append("Please convert all Tensors to FakeTensors first" in str(error))
        return shown, refused

    same(program)
