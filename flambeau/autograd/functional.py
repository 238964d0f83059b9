"""Jacobians, Hessians and products with them.

Source: https://docs.pytorch.org/docs/stable/autograd.html#functional-higher-level-api
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau import ops
from flambeau.autograd.engine import grad
from flambeau.autograd.modes import enable_grad
from flambeau.tensor.tensor import Tensor


def _as_tuple(values, name: str, function: str) -> tuple[bool, tuple]:
    several = isinstance(values, tuple)
    values = values if several else (values,)
    for i, v in enumerate(values):
        if not isinstance(v, Tensor):
            what = f"value at index {i}" if several else f"given {name}"
            raise TypeError(
                f"The {name} given to {function} must be either a Tensor or a tuple of Tensors but the {what} has type {type(v)}."
            )
    return several, tuple(values)


def _leaves(inputs: tuple, create_graph: bool) -> tuple:
    if create_graph:
        return tuple(x.view_as(x) if x.requires_grad else x.clone().requires_grad_() for x in inputs)
    return tuple(x.detach().requires_grad_() for x in inputs)


def _finish(values, several: bool, create_graph: bool):
    values = tuple(v if create_graph else v.detach() for v in values)
    return values if several else values[0]


_NOT_DIFFERENTIABLE = (
    "Output {} of the user-provided function does not require gradients. The outputs must be computed in a differentiable "
    "manner from the input when running in strict mode."
)
_CONSTANT_GRADIENT = (
    "The gradient with respect to input {} is independent of the inputs of the user-provided function. This is not allowed in "
    "strict mode."
)
_CONSTANT_JACOBIAN = (
    "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} is independent "
    "of the input. This is not allowed in strict mode. You should ensure that your function is twice differentiable and that the "
    "jacobian depends on the inputs (this would be violated by a linear function for example)."
)


def _require(strict: bool, values: tuple, message: str) -> None:
    """In strict mode, raises where one of ``values`` does not depend on the inputs."""
    i = next((i for i, v in enumerate(values) if strict and not v.requires_grad), None)
    if i is not None:
        raise RuntimeError(message.format(i))


def _gradients(outputs: tuple, inputs: tuple, weights, create_graph: bool, strict: bool) -> tuple:
    pairs = [(o, w) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
    if not pairs:
        return tuple(ops.zeros_like(x) for x in inputs)
    found = grad(
        [o for o, _ in pairs], inputs, [w for _, w in pairs], retain_graph=True, create_graph=create_graph, allow_unused=True
    )
    if strict and any(g is None for g in found):
        i = next(i for i, g in enumerate(found) if g is None)
        raise RuntimeError(f"The output of the user-provided function is independent of input {i}. This is not allowed in strict mode.")
    return tuple(ops.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True))


def vjp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """``(func(inputs), v^T J)``: the product of a vector with the Jacobian."""
    with enable_grad():
        several_in, inputs = _as_tuple(inputs, "inputs", "vjp")
        inputs = _leaves(inputs, create_graph)
        several_out, outputs = _as_tuple(func(*inputs), "outputs of the user-provided function", "vjp")
        _require(strict, outputs, _NOT_DIFFERENTIABLE)
        weights = _vector(v, outputs, "vjp")
        found = _gradients(outputs, inputs, weights, create_graph, strict)
    return _finish(outputs, several_out, create_graph), _finish(found, several_in, create_graph)


def _vector(v, like: tuple, function: str) -> tuple:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            single = "the user-provided function returns" if function == "vjp" else "the input to the user-provided function is"
            raise RuntimeError(f"The vector v can only be None if {single} a single Tensor with a single element.")
        return (ops.ones_like(like[0]),)
    _, v = _as_tuple(v, "v", function)
    if len(v) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(v)}.")
    for i, (a, b) in enumerate(zip(v, like, strict=True)):
        if a.shape != b.shape:
            which = f"Entry {i} in v" if len(v) > 1 else "v"
            raise RuntimeError(f"{which} has invalid size: should be {b.shape} but got {a.shape}.")
    return v


def jvp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """``(func(inputs), J v)``: the product of the Jacobian with a vector, by differentiating :func:`vjp` in its vector."""
    with enable_grad():
        _, inputs = _as_tuple(inputs, "inputs", "jvp")
        inputs = _leaves(inputs, create_graph)
        direction = _vector(v, inputs, "jvp")
        several_out, outputs = _as_tuple(func(*inputs), "outputs of the user-provided function", "jvp")
        _require(strict, outputs, _NOT_DIFFERENTIABLE)
        weights = tuple(ops.zeros_like(o).requires_grad_() for o in outputs)
        back = _gradients(outputs, inputs, weights, True, strict)
        _require(strict, back, _CONSTANT_GRADIENT)
        found = _gradients(back, weights, direction, create_graph, False)
    return _finish(outputs, several_out, create_graph), _finish(found, several_out, create_graph)


def jacobian(
    func: Callable, inputs, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    strategy: str = "reverse-mode",
):  # fmt: skip
    """The derivative of every element of the outputs by every element of the inputs: shape ``output + input``.

    >>> import flambeau as torch
    >>> torch.autograd.functional.jacobian(lambda x: x ** 2, torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    with enable_grad():
        several_in, inputs = _as_tuple(inputs, "inputs", "jacobian")
        inputs = _leaves(inputs, create_graph)
        several_out, outputs = _as_tuple(func(*inputs), "outputs of the user-provided function", "jacobian")
        _require(strict, outputs, _NOT_DIFFERENTIABLE)
        rows = []
        for out in outputs:
            columns: list[list[Tensor]] = [[] for _ in inputs]
            for element in out.reshape(-1).unbind(0):
                found = _gradients((element,), inputs, (ops.ones_like(element),), create_graph, strict)
                for column, g in zip(columns, found, strict=True):
                    column.append(g)
            rows.append(
                tuple(
                    (ops.stack(column) if column else out.new_zeros((0,) + x.shape)).reshape(out.shape + x.shape)
                    for column, x in zip(columns, inputs, strict=True)
                )
            )
    rows = [tuple(b if create_graph else b.detach() for b in row) for row in rows]
    if several_out:
        return tuple(row if several_in else row[0] for row in rows)
    return rows[0] if several_in else rows[0][0]


def hessian(
    func: Callable, inputs, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
):  # fmt: skip
    """The second derivatives of a function with one number as its result.

    >>> import flambeau as torch
    >>> torch.autograd.functional.hessian(lambda x: (x ** 3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    several, inputs = _as_tuple(inputs, "inputs", "hessian")

    def gradient(*xs):
        out = func(*xs)
        _check_scalar(out, "hessian")
        _require(strict, (out,), _NOT_DIFFERENTIABLE)
        found = _gradients((out.reshape(()),), xs, (ops.ones_like(out.reshape(())),), True, strict)
        _require(strict, found, _CONSTANT_JACOBIAN)
        return found

    result = jacobian(gradient, inputs, create_graph, strict)
    return result if several else result[0][0]


def _check_scalar(out, function: str) -> None:
    if isinstance(out, tuple) or not isinstance(out, Tensor):
        _as_tuple(out, "outputs of the user-provided function", function)
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if out.numel() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {function} should contain a single element")


def vhp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """``(func(inputs), v^T H)``: the product of a vector with the Hessian."""
    return _hessian_product("vhp", func, inputs, v, create_graph, strict)


def _hessian_product(function: str, func: Callable, inputs, v, create_graph: bool, strict: bool):
    with enable_grad():
        several, inputs = _as_tuple(inputs, "inputs", function)
        inputs = _leaves(inputs, create_graph)
        direction = _vector(v, inputs, function)
        out = func(*inputs)
        _check_scalar(out, function)
        _require(strict, (out,), _NOT_DIFFERENTIABLE)
        first = _gradients((out.reshape(()),), inputs, (ops.ones_like(out.reshape(())),), True, strict)
        _require(strict, first, _CONSTANT_JACOBIAN)
        found = _gradients(first, inputs, direction, create_graph, False)
    return _finish((out,), False, create_graph), _finish(found, several, create_graph)


def hvp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """``(func(inputs), H v)``: the Hessian is symmetric, so this is :func:`vhp`."""
    return _hessian_product("hvp", func, inputs, v, create_graph, strict)
