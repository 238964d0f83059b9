"""Classes of tensors with a ``__torch_dispatch__``: what they are asked, what becomes of what they return, and gradients, as in
PyTorch."""

from __future__ import annotations

import copy
import importlib

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

CALLS = (
    "x + y", "x + 1", "1 - x", "x * 2", "x @ y", "x.t()", "x.T", "torch.mm(x, y)", "x.sum()", "x.sum(1)", "x.mean()", "x.relu()", "F.linear(x, y)", "F.linear(x, y, x[0])",
    "F.softmax(x, -1)", "x.log_softmax(1)", "torch.cat([x, y])", "torch.stack([x, y])", "x[0]", "x[:, 1:]", "x[torch.tensor([0])]", "x.view(4)", "x.reshape(4)", "x.clone()",
    "x.detach()", "x.double()", "x.to(torch.float64)", "x.shape, x.dtype, x.device, x.stride(), x.numel(), x.dim(), x.requires_grad, x.is_leaf", "x == y", "x > 2",
    "torch.where(x > 2, x, y)", "x.max(1)", "x.argmax()", "x.exp()", "torch.sigmoid(x)", "x ** 2", "x / y", "x.unsqueeze(0)", "x.expand(2, 2, 2)", "x.split(1)", "x.chunk(2)",
    "torch.ones_like(x)", "torch.zeros_like(x)", "x.new_zeros(2)", "x.contiguous()", "F.layer_norm(x, (2,))[0].sum()", "F.mse_loss(x, y)", "F.cross_entropy(x, torch.tensor([0, 1]))",
    "F.dropout(x, 0.5, False)", "x.sum().item()", "bool(x.sum() > 3)", "x.add_(1)", "x.mul_(y)", "x.zero_()", "torch.ones(2, 2) + x", "torch.ops.aten.add.Tensor(x, y)",
    "torch.ops.aten.mm(x, y)", "F.conv2d(x[None, None], y[None, None])", "x.unbind(0)", "len(x)", "x.norm()", "x.cumsum(0)", "x.masked_fill(x > 1, 0.0)",
    "F.embedding(torch.tensor([0, 1]), x)", "x.flatten()", "x.permute(1, 0)", "x.squeeze()", "-x", "torch.tril(x)", "x.clamp(0, 1)", "x.copy_(y)", "torch.addmm(x, x, y)",
    "torch.bmm(x[None], y[None])", "F.silu(x)", "F.max_pool2d(x[None, None], 2)", "torch.equal(x, y)", "x.index_select(0, torch.tensor([1]))", "x.topk(1)", "x.sort()", "type(x.max(1))",
)  # fmt: skip
LOSSES = (
    "(x * y).sum()", "(x * 2).sum()", "x.exp().sum()", "torch.sigmoid(x).mean()", "(x @ y).sum()", "F.linear(x, y).relu().sum()", "F.softmax(x, -1)[0].square().sum()", "x.pow(3).sum()",
    "torch.cat([x, y]).square().sum()", "x[0].sum()", "F.mse_loss(x, y)", "F.cross_entropy(x, torch.tensor([0, 1]))", "x.view(4).sum()", "x.reshape(4).tanh().sum()", "(x / y).sum()",
    "x.max()", "x.amax(1).sum()", "x.norm()", "F.gelu(x).sum()", "F.silu(x).sum()", "x.t().matmul(y).sum()", "x.std()", "(x + torch.ones(2, requires_grad=True)).sum()",
    "F.layer_norm(x, (2,), y[0]).pow(3).sum()", "F.embedding(torch.tensor([1, 0]), x).square().sum()",
)  # fmt: skip


def classes(lib, log: list) -> dict:
    tree_map = importlib.import_module(f"{lib.__name__}.utils._pytree").tree_map

    class Logging(lib.Tensor):
        """Another tensor, of which each operator is written down."""

        @staticmethod
        def __new__(cls, held, requires_grad=False):
            settings = {"strides": held.stride(), "dtype": held.dtype, "device": held.device, "requires_grad": requires_grad}
            made = lib.Tensor._make_wrapper_subclass(cls, held.size(), **settings)
            made.held = held
            return made

        __torch_function__ = lib._C._disabled_torch_function_impl

        def __repr__(self):
            return f"Logging({self.held.tolist()})"

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            log.append(str(func))
            args, kwargs = tree_map(lambda x: x.held if isinstance(x, cls) else x, (args, kwargs or {}))
            out = func(*args, **kwargs)
            return tree_map(lambda x: cls(x) if isinstance(x, lib.Tensor) else x, out)

    class InPlace(Logging):
        """One whose operators in place give back what they were called on."""

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            out = super().__torch_dispatch__(func, types, args, kwargs)
            return args[0] if func.__name__.partition(".")[0].endswith("_") else out

    class Quantized(lib.Tensor):
        """Integers and a scale for each row, for products alone."""

        @staticmethod
        def __new__(cls, q, scale):
            return lib.Tensor._make_wrapper_subclass(cls, q.shape, dtype=scale.dtype, device=q.device)

        def __init__(self, q, scale):
            self.q, self.scale = q, scale

        __torch_function__ = lib._C._disabled_torch_function_impl

        def __tensor_flatten__(self):
            return ["q", "scale"], None

        @classmethod
        def __tensor_unflatten__(cls, inner, meta, size, stride):
            return cls(inner["q"], inner["scale"])

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            aten = lib.ops.aten
            if func in (aten.detach.default, aten.clone.default):
                return cls(func(args[0].q), func(args[0].scale))
            if func in (aten.t.default, aten.mm.default, aten.addmm.default):
                return func(*tree_map(lambda x: x.q * x.scale if isinstance(x, cls) else x, args))
            raise NotImplementedError(f"no {func}")

    class Both(Logging):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            log.append(func.__name__)
            with lib._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))

    return {"Logging": Logging, "InPlace": InPlace, "Quantized": Quantized, "Both": Both}


def names(lib, log: list, requires_grad: bool = False) -> dict:
    made = classes(lib, log)
    x, y = (made["Logging"](lib.tensor(v), requires_grad) for v in ([[1.0, 2.0], [3.0, 4.0]], [[0.5, 0.1], [0.2, 0.3]]))
    log.clear()
    return {"torch": lib, "F": lib.nn.functional, "x": x, "y": y}


def numbers(x) -> list:
    if hasattr(x, "held"):
        return numbers(x.held)
    if isinstance(x, (tuple, list)):
        return [v for part in x for v in numbers(part)]
    return [float(v) for v in x.flatten().tolist()] if hasattr(x, "flatten") else [str(x)]


def alike(ours: list, theirs: list) -> bool:
    return len(ours) == len(theirs) and all(
        a == pytest.approx(b, rel=1e-4, abs=1e-5, nan_ok=True) if isinstance(b, float) else a == b
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("call", CALLS)
def test_operators(call):
    def seen(lib):
        log: list = []
        result = eval(call, names(lib, log))
        return [name for name in log if "detach" not in name], type(result).__name__, numbers(result)

    (ops, kind, values), (their_ops, their_kind, their_values) = seen(flambeau), seen(torch)
    assert (ops, kind) == (their_ops, their_kind)
    assert alike(values, their_values)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss):
    def gradients(lib):
        known = names(lib, [], True)
        out = eval(loss, known)
        out.backward()
        grads = [known[n].grad for n in "xy"]
        return out.grad_fn.name(), [type(g).__name__ for g in grads], [v for g in grads if g is not None for v in numbers(g)]

    (name, kinds, values), (their_name, their_kinds, their_values) = gradients(flambeau), gradients(torch)
    assert (name, kinds) == (their_name, their_kinds)
    assert alike(values, their_values)


def test_second_derivatives_and_functions():
    def found(lib):
        x = names(lib, [], True)["x"]

        class Square(lib.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, g):
                return g * 2 * ctx.saved_tensors[0]

        first = lib.autograd.grad((x**3).sum(), x, create_graph=True)[0]
        Square.apply(x).sum().backward()
        return numbers(lib.autograd.grad(first.sum(), x)), numbers(x.grad)

    assert found(flambeau) == found(torch)


def test_quantized_weights():
    def found(lib):
        cls = classes(lib, [])["Quantized"]
        layer = lib.nn.Linear(3, 2)
        with lib.no_grad():
            layer.bias.copy_(lib.tensor([0.5, -0.5]))
        layer.weight = lib.nn.Parameter(cls(lib.tensor([[1, 2, 3], [-1, 0, 4]]), lib.tensor([[0.5], [0.25]])), requires_grad=False)
        x = lib.linspace(-1, 1, 6).reshape(2, 3).requires_grad_()
        layer(x).square().sum().backward()
        again = copy.deepcopy(layer)
        traceable = importlib.import_module(f"{lib.__name__}.utils._python_dispatch").is_traceable_wrapper_subclass
        return (
            numbers([layer(x).detach(), x.grad, layer.bias.grad, again(x).detach()]),
            (
                type(layer.weight).__name__,
                type(again.weight).__name__,
                isinstance(layer.weight, lib.nn.Parameter),
                traceable(layer.weight),
                list(layer.state_dict()),
            ),
        )

    (values, kinds), (their_values, their_kinds) = found(flambeau), found(torch)
    assert kinds == their_kinds and alike(values, their_values)
    for lib in (flambeau, torch):
        with pytest.raises(NotImplementedError, match=r"no aten.add.Tensor"):
            classes(lib, [])["Quantized"](lib.ones(2, 2), lib.ones(2, 1)) + 1


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
def test_training(optimizer):
    def losses(lib):
        wrapper = classes(lib, [])["InPlace"]
        net = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.ReLU(), lib.nn.Linear(4, 2))
        for n, p in list(net.named_parameters()):
            layer, _, kind = n.partition(".")
            value = lib.linspace(-1, 1, p.numel()).reshape(p.shape)
            setattr(net[int(layer)], kind, lib.nn.Parameter(wrapper(value)))
        settings = {"momentum": 0.9} if optimizer == "SGD" else {}
        steps = getattr(lib.optim, optimizer)(net.parameters(), lr=0.1, foreach=False, **settings)
        x, y = lib.linspace(-1, 1, 6).reshape(2, 3), lib.tensor([0, 1])
        found = []
        for _ in range(3):
            steps.zero_grad()
            loss = lib.nn.functional.cross_entropy(net(x), y)
            loss.backward()
            steps.step()
            found.append(loss.item())
        return found

    assert alike(losses(flambeau), losses(torch))


def test_functions_are_asked_first():
    def seen(lib):
        log: list = []
        x = classes(lib, log)["Both"](lib.ones(2, 2))
        log.clear()
        lib.nn.functional.linear(x, x)
        return log

    assert seen(flambeau) == seen(torch)


def test_modes_are_asked_first():
    def seen(lib):
        log: list = []
        x = classes(lib, log)["Logging"](lib.ones(2))

        class Mode(importlib.import_module(f"{lib.__name__}.utils._python_dispatch").TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                log.append("mode " + str(func))
                return func(*args, **(kwargs or {}))

        log.clear()
        with Mode():
            x + 1
        return [name for name in log if "detach" not in name][:2]

    assert seen(flambeau) == seen(torch)


def test_tensors_with_values_of_their_own():
    def found(lib):
        no_dispatch = importlib.import_module(f"{lib.__name__}.utils._mode_utils").no_dispatch
        log = []

        class Own(lib.Tensor):
            __torch_function__ = lib._C._disabled_torch_function_impl

            @staticmethod
            def __new__(cls, data):
                return lib.Tensor._make_subclass(cls, data)

            @classmethod
            def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
                log.append(str(func))
                with no_dispatch():
                    return func(*args, **(kwargs or {}))

        x = Own(lib.tensor([1.0, 2.0]))
        return (x + x).tolist(), log

    assert found(flambeau) == found(torch)


def test_refused():
    for lib in (flambeau, torch):
        with pytest.raises(TypeError, match="must define __torch_dispatch__"):
            lib.Tensor._make_wrapper_subclass(lib.Tensor, (2,))
        x = names(lib, [])["x"]
        for call in (x.tolist, x.numpy):
            with pytest.raises(RuntimeError, match="is not supported for tensor subclasses"):
                call()

        class Silent(lib.Tensor):
            __torch_function__ = lib._C._disabled_torch_function_impl

            @classmethod
            def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
                return NotImplemented

        with pytest.raises(TypeError, match="Multiple dispatch failed for 'torch._ops.aten.add.Tensor'"):
            lib.add(lib.Tensor._make_wrapper_subclass(Silent, (2,)), 1)
