"""Who is asked for what: subclasses, modes and the lists of ``torch.overrides`` against PyTorch's."""

from __future__ import annotations

import inspect
import warnings

import pytest

import flambeau
import flambeau.nn.functional
import flambeau.overrides

torch = pytest.importorskip("torch")

EXPRESSIONS = [
    *"x+1;x+y;1+x;x-1;1-x;x*2;x/2;2/x;x//2;x%2;x**2;2**x;x@y;-x;+x;abs(x);~b;x==y;x!=1;x<1;x>=y;x[0];x[0,1:];x[m];len(x)".split(";"),
    *"iter(x);2.0 in x;bool(x[0,0]);float(x[0,0]);int(x[0,0]);reversed(x);x.__rsub__(1);x.__iadd__(1);x.__setitem__(0,1.)".split(";"),
    *"x.shape;x.dtype;x.device;x.ndim;x.T;x.mT;x.requires_grad;x.grad;x.is_leaf;x.data;x.grad_fn;x.layout;x.is_cuda;x.real;x.H".split(";"),
    *"x.itemsize;x.nbytes;x.is_meta;x.output_nr;x._version;z.grad_fn;z.requires_grad;setattr(z,'grad',None)".split(";"),
    *"x.size();x.dim();x.numel();x.stride();x[0,0].item();x.tolist();x.numpy();x.detach();x.clone();x.contiguous()".split(";"),
    *"x.is_contiguous();x.data_ptr();x.storage_offset();x.element_size();x.type();x.to(torch.float64);x.double();x.cpu()".split(";"),
    *"x.requires_grad_();x.is_floating_point();x.get_device();x.untyped_storage();x.nelement();x.ndimension();x.is_inference()".split(";"),
    *"x.sum();x.sum(dim=1);x.mean(0);x.max();x.max(1);x.view(-1);x.reshape(4);x.permute(1,0);x.t();x.transpose(0,1)".split(";"),
    *"x.unsqueeze(0);x.expand(2,2,2);x.relu();x.add(y);x.add_(1);x.mul_(2);x.copy_(y);x.fill_(1);x.softmax(-1)".split(";"),
    *"x.new_zeros(2);x.split(1);x.chunk(2);x.unbind();x.norm();x.matmul(y);x.sort();x.std();x.masked_fill(m,0.)".split(";"),
    *"x.where(m,y);x.float();x.half();x.resize_(4,1);x.is_shared();x.as_subclass(torch.Tensor);x.unique();x.norm(p=1)".split(";"),
    *"x.cumsum(0);x.type_as(y);x.index_select(0,i);x.is_same_size(y);x.view_as(y);x.dim_order();x.type(torch.float64)".split(";"),
    *"torch.add(x,1);torch.sum(x);torch.relu(x);torch.cat([x,y]);torch.stack([x,p]);torch.matmul(x,y);torch.zeros_like(x)".split(";"),
    *"torch.where(m,x,p);torch.tensor([1.]);torch.split(x,1);torch.max(x,1);torch.einsum('ij,jk->ik',x,y);torch.is_tensor(x)".split(";"),
    *"torch.numel(x);torch.is_floating_point(x);torch.clone(x);torch.broadcast_tensors(x,y);torch.unique(x);torch.fft.fft(x)".split(";"),
    *"torch.linalg.inv(x+torch.eye(2));torch.allclose(x,y);torch.equal(x,y);torch.isnan(x);torch.dropout(x,.5,False)".split(";"),
    *"F.relu(x);F.linear(x,y);F.softmax(x,1);F.dropout(x);F.cross_entropy(x,i);F.mse_loss(x,y);F.layer_norm(x,(2,))".split(";"),
    *"F.embedding(i,x);F.interpolate(x[None,None],scale_factor=2);F.pad(x,(1,1));F.conv1d(x[None],torch.ones(1,2,1))".split(";"),
    *"F.gelu(x);F.silu(x);F.max_pool1d(x[None],2);F.avg_pool1d(x[None],2);F.log_softmax(x,1);F.cosine_similarity(x,y)".split(";"),
    *"F.scaled_dot_product_attention(x[None],x[None],x[None]);F.batch_norm(x,None,None,training=True);F.kl_div(x,y)".split(";"),
    *"F.leaky_relu(x,0.1);F.relu(x,inplace=True);torch.nn.ReLU()(x);F.glu(x);F.group_norm(x[None],1);F.nll_loss(x,i);F.hardtanh(x)".split(";"),
    "z.sum().backward()", "torch.nn.init.normal_(x)", "torch.nn.init.constant_(x, 2.0)", "torch.nn.init.uniform_(x, b=3.0)",
]  # fmt: skip


def kind(result):
    if isinstance(result, (tuple, list)):
        return [kind(r) for r in result][:3]
    name = type(result).__name__
    return "function" if "function" in name or "method" in name else name


def seen(lib, expression: str, subclass: bool):
    """What a class, or a mode, is asked for: names, classes and keywords; and the classes of the result."""
    log: list = []

    def note(func, types, kwargs):
        name = lib.overrides.resolve_name(func) or getattr(func, "__name__", "")
        log.append((name, [t.__name__ for t in types], kwargs and sorted((k, type(v).__name__) for k, v in kwargs.items())))

    class Logged(lib.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            note(func, types, kwargs)
            return super().__torch_function__(func, types, args, kwargs)

    class Log(lib.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            note(func, types, kwargs)
            return func(*args, **(kwargs or {}))

    cls = Logged if subclass else lib.Tensor
    m = lib.tensor([[True, False], [False, True]])
    names = {
        "torch": lib, "F": lib.nn.functional, "p": lib.ones(2, 2) / 3, "m": m, "i": lib.tensor([0, 1]), "b": m.as_subclass(cls),
        "x": (lib.ones(2, 2) * lib.tensor([1.0, 2.0]) + lib.eye(2)).as_subclass(cls), "y": (lib.ones(2, 2) / 4).as_subclass(cls),
        "z": lib.ones(2, 2, requires_grad=True).as_subclass(cls),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if subclass:
            result = eval(expression, names)
            log = list(log)
        else:
            with Log():
                result = eval(expression, names)
    return log, kind(result)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_subclass_is_asked(expression):
    assert seen(flambeau, expression, True) == seen(torch, expression, True)


@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if e not in ("torch.is_tensor(x)",)])
def test_a_mode_is_asked(expression):
    assert seen(flambeau, expression, False) == seen(torch, expression, False)


def both(program):
    ours, expected = program(flambeau), program(torch)
    assert ours == expected
    return ours


def test_order_and_refusals():
    """Subclasses first, then from left to right; who says NotImplemented is passed over."""

    def program(lib):
        log = []

        def make(base, name, answers=True):
            def asked(cls, func, types, args=(), kwargs=None):
                log.append((name, [t.__name__ for t in types]))
                return name if answers else NotImplemented

            return type(name, (base,), {"__torch_function__": classmethod(asked)})

        A, B = make(lib.Tensor, "A", False), make(lib.Tensor, "B")
        C = make(A, "C", False)
        D = make(object, "D")
        a, b, c, d, plain = lib.ones(2).as_subclass(A), lib.ones(2).as_subclass(B), lib.ones(2).as_subclass(C), D(), lib.ones(2)
        results = [
            lib.add(a, b),
            lib.add(a, c) if 0 else None,
            lib.cat([plain, a, c, b]),
            lib.mul(plain, d),
            plain + d,
            lib.stack([d, b]),
        ]
        errors = []
        for call in (lambda: lib.add(a, c), lambda: lib.add(a, 1), lambda: lib.nn.functional.relu(a)):
            try:
                call()
            except TypeError as error:
                errors.append(str(error).partition("\n")[0].replace("torch.Tensor.", "torch.")[:48])
        return results, log, len(errors)

    both(program)


def test_who_is_switched_off():
    def program(lib):
        log = []

        class A(lib.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                log.append(func.__name__)
                return super().__torch_function__(func, types, args, kwargs)

        class Mode(lib.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                log.append("mode " + func.__name__)
                return func(*args, **(kwargs or {}))

        class Quiet(lib.Tensor):
            __torch_function__ = lib._C._disabled_torch_function_impl

        a, q = lib.ones(2).as_subclass(A), lib.ones(2).as_subclass(Quiet)
        kinds = []
        with lib._C.DisableTorchFunctionSubclass():
            kinds.append(type(a + 1).__name__)
            with Mode():
                kinds.append(type(a.mul(2)).__name__)
        with Mode(), lib._C.DisableTorchFunction():
            kinds.append(type(a * 2).__name__)
        with Mode():
            kinds += [type(a.neg()).__name__, type(q + 1).__name__]
            with Mode():
                kinds.append(type(lib.sum(lib.ones(2))).__name__)
        p = lib.nn.Parameter(lib.ones(2))
        kinds += [type(q + 1).__name__, type(p + 1).__name__, type(lib.add(p, a)).__name__]
        return kinds, [line.replace("true_divide", "div") for line in log]

    both(program)


def test_results_keep_the_class():
    def program(lib):
        class A(lib.Tensor):
            pass

        class B(A):
            pass

        a, b = lib.arange(6.0).reshape(2, 3).as_subclass(A), lib.ones(2, 3).as_subclass(B)
        made = [
            a + 1, a + b, lib.cat([a, lib.ones(1, 3)]), a.sum(), a[0], a.T, a.max(1).values, a.split(1)[0], a.view(-1), lib.nn.functional.relu(a),
            a.data, a.detach(), a.clone(), a.new_zeros(2), lib.zeros_like(a), a.numpy(), a.tolist(), a.shape, a.size(0), lib.stack([a, a])[0],
            lib.nn.Linear(3, 2)(a), a.requires_grad_().exp(), next(iter(a)), a.to(lib.float64), a.add_(0) if not a.requires_grad else a,
        ]  # fmt: skip
        x = lib.ones(2, requires_grad=True)
        (x.as_subclass(A) * 2).sum().backward()
        return [type(m).__name__ for m in made], type(x.grad).__name__, repr(b[0]), isinstance(a + 1, lib.Tensor), x.grad.tolist()

    both(program)


def test_handlers_know_what_they_are_asked_for():
    """Methods, properties and functions are the objects that a program sees, before and after modes have been on."""
    handled = {torch: {}, flambeau: {}}

    def program(lib):
        T = lib.Tensor
        for f in (
            lib.add,
            T.add,
            T.shape.__get__,
            T.size,
            T.requires_grad_,
            T.__getitem__,
            lib.nn.functional.relu,
            T.add_,
            T.__rsub__,
            T.data.__set__,
        ):
            handled[lib].setdefault(f, len(handled[lib]))
        found = []

        class Mode(lib.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                found.append(handled[lib].get(func))
                return func(*args, **(kwargs or {}))

        x = lib.ones(2, 2)
        for _ in range(2):
            with Mode():
                (
                    lib.add(x, 1),
                    x.add(1),
                    x.shape,
                    x.size(),
                    x.requires_grad_(False),
                    x[0],
                    lib.nn.functional.relu(x),
                    x.add_(1),
                    1 - x,
                )
                x.data = x
        return found, len(handled[lib]), T.size is T.size, lib.overrides.is_tensor_method_or_property(T.size)

    both(program)


def test_own_functions():
    def program(lib):
        overrides = lib.overrides
        found = []

        class Duck:
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                found.append((func.__name__, [t.__name__ for t in types], len(args), sorted(kwargs or {})))
                return "answered"

        def mine(a, b, scale=1):
            if overrides.has_torch_function((a, b)):
                return overrides.handle_torch_function(mine, (a, b), a, b, scale=scale)
            return "ran"

        wrapped = overrides.wrap_torch_function(lambda a, b: (a, b))(lambda a, b: "ran")
        d, x = Duck(), lib.ones(1)
        results = [
            mine(x, x),
            mine(x, d),
            wrapped(x, x),
            wrapped(d, x),
            lib.add(d, x),
            lib.nn.functional.relu(d),
            lib.cat([x, d]),
            x + d,
            x.mul(d),
        ]
        asked = [
            overrides.has_torch_function((x, lib.nn.Parameter(x))), overrides.has_torch_function_unary(d), overrides.has_torch_function_variadic(x, d),
            overrides.is_tensor_like(x), overrides.is_tensor_like(d), overrides.is_tensor_like(3), overrides.is_tensor_like(Duck),
            overrides.is_tensor_method_or_property(lib.Tensor.shape.__get__), overrides.is_tensor_method_or_property(lib.add),
        ]  # fmt: skip
        with overrides.BaseTorchFunctionMode():
            asked.append(overrides.has_torch_function((x,)))
        return results, found, asked

    both(program)


def test_lists():
    """What is in PyTorch's lists and here is in the lists here, under the same names."""
    theirs = {
        name for fs in torch.overrides.get_overridable_functions().values() for f in fs if (name := torch.overrides.resolve_name(f))
    }
    ours = {
        name
        for fs in flambeau.overrides.get_overridable_functions().values()
        for f in fs
        if (name := flambeau.overrides.resolve_name(f))
    }
    assert len(ours & theirs) > 0.8 * len(ours)
    testing = flambeau.overrides.get_testing_overrides()
    assert testing[flambeau.add](1, 2) == -1 and testing[flambeau.Tensor.shape.__get__]() == -1
    assert list(inspect.signature(testing[flambeau.nn.functional.relu]).parameters) == ["input", "inplace"]
    assert (
        flambeau.tensor in flambeau.overrides.get_ignored_functions()
        and flambeau.add not in flambeau.overrides.get_ignored_functions()
    )
    assert flambeau.Tensor.grad.__get__ in flambeau.overrides.get_default_nowrap_functions()


def test_default_devices():
    def program(lib):
        shown = []
        x = lib.ones(2)
        with lib.device("meta"):
            net = lib.nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
            shown += [str(p.device) for p in net.parameters()][:3]
            made = [
                lib.ones(2),
                lib.tensor([1.0]),
                lib.as_tensor([1.0]),
                lib.arange(3),
                lib.randn(2),
                lib.eye(2),
                lib.full((2,), 1.0),
                lib.linspace(0, 1, 3),
            ]
            made += [
                lib.zeros(2, device="cpu"),
                lib.zeros_like(x),
                x.new_zeros(2),
                lib.empty_like(x),
                x + 1,
                lib.hann_window(3),
                lib.normal(0.0, 1.0, (2,)),
            ]
            shown += [str(t.device) for t in made] + [str(lib.get_default_device())]
            with lib.device("cpu"):
                shown += [str(lib.ones(2).device), str(lib.get_default_device())]
            shown.append(str(lib.ones(2).device))
        shown += [str(lib.ones(2).device), str(lib.get_default_device())]
        lib.set_default_device("meta")
        with lib.device("cpu"):
            shown.append(str(lib.ones(2).device))
        shown += [str(lib.ones(2).device), str(lib.get_default_device())]
        lib.set_default_device(None)
        return [*shown, str(lib.ones(2).device), str(lib.get_default_device())]

    both(program)


def test_attributes():
    """A tensor's dictionary is what a program has set, and may be handed on."""

    def program(lib):
        import copy
        import pickle

        t = lib.nn.Parameter(lib.ones(2))
        shown = [dict(t.__dict__), dict(vars(lib.nn.Parameter(lib.ones(2), **t.__dict__)))]
        t.name_, t._marked = "a", True
        t.__dict__["more"] = 3
        t.__dict__.update({"last": 4})
        other = lib.nn.Parameter(lib.zeros(3))
        other.__dict__.update(t.__dict__)
        shown += [
            dict(t.__dict__),
            dict(other.__dict__),
            other.tolist(),
            dict(vars(copy.deepcopy(t))),
            dict(vars(pickle.loads(pickle.dumps(t)))),
        ]
        t.__dict__ = {"only": 1}
        return [*shown, dict(vars(t)), t.tolist(), isinstance(t, lib._C.TensorBase), [c.__name__ for c in lib.Tensor.__mro__]]

    both(program)
