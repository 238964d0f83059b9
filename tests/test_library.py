"""Operators of users: names, libraries that go, checks; and torchvision's and Pillow's operators."""

from __future__ import annotations

import copy
import gc
import pickle
import sys

import numpy as np
import pytest

import flambeau as torch
from flambeau import library
from flambeau.utils._python_dispatch import TorchDispatchMode


def test_a_namespace_may_have_the_name_of_a_family_of_ops():
    """``torch.ops.vision`` is the user's, and flambeau's own functions go on."""
    for name in ("vision", "attention", "conv2d"):
        lib = library.Library(name, "DEF")
        lib.define("twice(Tensor x) -> Tensor")
        lib.impl("twice", lambda x: x * 2, "CompositeImplicitAutograd")
        assert getattr(torch.ops, name).twice(torch.ones(1)).item() == 2
        lib._destroy()
    from flambeau.ops import conv2d
    from flambeau.ops.vision import affine_grid

    assert conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3)).item() == 9
    assert callable(affine_grid) and callable(torch.ops.conv2d)
    assert torch.nn.functional.conv2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).item() == 4


def test_a_library_takes_its_operators_along():
    lib = library.Library("leaving", "DEF")
    lib.define("f(Tensor x) -> Tensor")
    assert torch.ops.leaving.f.overloads() == ["default"]
    del lib
    gc.collect()
    with pytest.raises(AttributeError, match="no attribute 'f'"):
        torch.ops.leaving.f  # noqa: B018
    library.Library("leaving", "DEF")._destroy()


def test_kernels_may_come_before_definitions():
    late = library.Library("late", "IMPL")
    late.impl("f", lambda x: x + 1, "CPU")
    lib = library.Library("late", "DEF")
    lib.define("f(Tensor x) -> Tensor")
    assert torch.ops.late.f(torch.zeros(1)).item() == 1


def test_operators_are_copied_and_pickled_by_name():
    lib = library.Library("kept", "FRAGMENT")
    lib.define("f.one(Tensor x) -> Tensor")
    op = torch.ops.kept.f.one
    assert copy.deepcopy(op) is op and pickle.loads(pickle.dumps(op)) is op
    assert pickle.loads(pickle.dumps(torch.ops.kept.f)) is torch.ops.kept.f
    lib._destroy()


def test_a_cell_that_runs_again_defines_its_operator_anew():
    for n in (1, 2):

        @library.custom_op("cells::f", mutates_args=())
        def f(x: torch.Tensor, n: int = n) -> torch.Tensor:
            return x + n

        assert torch.ops.cells.f(torch.zeros(1)).item() == n


def test_rules_for_modes_and_classes_take_the_place_of_their_torch_dispatch():
    @library.custom_op("ruling::f", mutates_args=())
    def f(x: torch.Tensor) -> torch.Tensor:
        return x + 1

    class Wrapper(torch.Tensor):
        __torch_function__ = torch._C._disabled_torch_function_impl

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            raise NotImplementedError

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            raise NotImplementedError

    f.register_torch_dispatch(Wrapper, lambda cls, func, types, args, kwargs: (cls.__name__, str(func), types == (Wrapper,)))
    library.register_torch_dispatch("ruling::f", Mode, lambda mode, func, types, args, kwargs: (type(mode).__name__, str(func)))
    assert f(torch.Tensor._make_wrapper_subclass(Wrapper, (2,))) == ("Wrapper", "ruling.f.default", True)
    x = torch.ones(2)
    with Mode():
        assert f(x) == ("Mode", "ruling.f.default")


def test_what_has_no_meaning_here_is_refused():

    @library.custom_op("refusing::f", mutates_args=())
    def f(x: torch.Tensor) -> torch.Tensor:
        return x + 1

    for register in (
        lambda: torch.ops.refusing.f.default.py_impl(torch.Tensor),
        lambda: library.Library("refusing", "FRAGMENT").fallback(print, "CPU"),
        lambda: library.Library("aten", "IMPL").impl("add.Tensor", print, "CPU"),
        lambda: library.wrap_triton(print),
        lambda: torch.ops.load_all_libraries(),
    ):
        with pytest.raises(NotImplementedError):
            register()


def test_compiled_libraries_are_refused():
    with pytest.raises(OSError, match="Could not load this library.*C\\+\\+"):
        torch.ops.load_library(sys.executable)


def test_opcheck():
    @library.custom_op("checked::f", mutates_args=())
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.detach().numpy() * 2)

    f.register_autograd(lambda ctx, g: g * 2)
    f.register_fake(torch.empty_like)
    x = torch.ones(3, requires_grad=True)
    assert set(library.opcheck(f, (x,)).values()) == {"SUCCESS"}
    f.register_fake(lambda x: x.new_empty(2))
    with pytest.raises(Exception, match="test_faketensor failed with .*shape"):
        library.opcheck(f, (x,))

    @library.custom_op("checked::g", mutates_args=())
    def g(x: torch.Tensor) -> torch.Tensor:
        x.detach().mul_(2)
        return x + 1

    assert "mutated" in library.opcheck(g, (x,), test_utils="test_schema", raise_exception=False)["test_schema"]
    with pytest.raises(ValueError, match="test_utils"):
        library.opcheck(g, (x,), test_utils="nothing")


def test_operators_inside_of_captured_functions():
    @library.custom_op("captured::f", mutates_args=())
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.sin(x.numpy()))

    compiled = torch.compile(lambda x: f(x * 2) + 1)
    for k in range(4):
        x = torch.arange(3.0) + k
        torch.testing.assert_close(compiled(x), (x * 2).sin() + 1)


def test_images(tmp_path):
    """``torchvision.io`` reads what it wrote."""
    pytest.importorskip("PIL")
    image = torch.arange(3 * 8 * 6).reshape(3, 8, 6).to(torch.uint8)
    ops = torch.ops.image
    data = ops.encode_png(image, 6)
    path = str(tmp_path / "image.png")
    ops.write_file(path, data)
    assert torch.equal(ops.read_file(path), data)
    assert torch.equal(ops.decode_png(data, 0), image) and torch.equal(ops.decode_image(data, 3), image)
    assert ops.decode_png(data, 1).shape == (1, 8, 6) and ops.decode_png(data, 4).shape == (4, 8, 6)
    assert ops.decode_jpeg(ops.encode_jpeg(image, 90), 0).shape == (3, 8, 6)
    with pytest.raises(RuntimeError, match="not jpeg"):
        ops.decode_jpeg(data, 0)
    with pytest.raises(RuntimeError, match="No such file"):
        ops.read_file(str(tmp_path / "nothing"))
    with pytest.raises(RuntimeError, match="uint8"):
        ops.encode_png(image.float(), 6)


def test_an_operator_that_only_writes_needs_no_fake():
    @torch.library.custom_op("test_library::sine_into", mutates_args={"out"})
    def sine_into(x: torch.Tensor, out: torch.Tensor) -> None:
        out.copy_(x.sin())

    torch.library.opcheck(sine_into, (torch.randn(3), torch.empty(3)))
    with torch.device("meta"):
        assert sine_into(torch.empty(3), torch.empty(3)) is None


def test_triton_op_runs_where_it_calls_no_kernel_of_triton():
    @torch.library.triton_op("tests::triton_twice", mutates_args={})
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.is_cpu or x.is_meta else torch.library.wrap_triton(None)[(1,)](x)

    twice.register_autograd(lambda ctx, grad: grad * 2)
    x = torch.ones(3, requires_grad=True)
    twice(x).sum().backward()
    assert x.grad.tolist() == [2.0] * 3
    assert torch.ops.tests.triton_twice(torch.ones(4, device="meta")).shape == (4,)


def test_classes_with_both_protocols_detach_by_both():
    class Both(torch.Tensor):
        @staticmethod
        def __new__(cls, inner):
            return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

        def __init__(self, inner):
            self.inner = inner

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            asked.append(func.__name__)
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            asked.append(str(func))
            return cls(func(*[a.inner if isinstance(a, cls) else a for a in args], **(kwargs or {})))

    asked = []
    w = Both(torch.ones(2))
    for detach in (lambda: w.detach(), lambda: torch.detach(w)):
        asked.clear()
        assert type(detach()) is Both
        assert asked == ["detach", "aten.detach.default"]
    assert type(torch.Tensor.detach(w)) is Both
    assert type(torch.nn.Parameter(w, requires_grad=False)) is Both


def test_the_disabled_protocol_makes_calls_with_no_class_asked():
    class Recorded(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func is torch.nn.functional.linear:
                return torch.nn.Parameter.__torch_function__(func, types, args, kwargs)
            return super().__torch_function__(func, types, args, kwargs)

    x = torch.ones(2, 3).as_subclass(Recorded)
    assert type(torch.nn.functional.linear(x, torch.ones(4, 3))) is torch.Tensor
    assert type(x * 2) is Recorded
