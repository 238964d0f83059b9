"""Jacobians, Hessians and products with them.

``create_graph``: results are on the tape, and depend on the inputs. ``strict``: it is an error where something does not depend on
the inputs; else its derivative is zero.

Source: https://docs.pytorch.org/docs/stable/autograd.html#functional-higher-level-api
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flambeau import ops
from flambeau.autograd import forward_ad
from flambeau.autograd.engine import grad
from flambeau.autograd.modes import enable_grad
from flambeau.tensor.tensor import Tensor

_NOT_DIFFERENTIABLE = (
    "Output {} of the user-provided function does not require gradients. The outputs must be computed in a differentiable "
    "manner from the input when running in strict mode."
)
_INDEPENDENT = "The {} of the user-provided function is independent of input {{}}. This is not allowed in strict mode"
_CONSTANT_GRADIENT = (
    "The gradient with respect to input {} is independent of the inputs of the user-provided function. This is not allowed in "
    "strict mode."
)
_CONSTANT_JACOBIAN = (
    "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} is independent "
    "of the input. This is not allowed in strict mode. You should ensure that your function is twice differentiable and that the "
    "jacobian depends on the inputs (this would be violated by a linear function for example)."
)
_NO_WAY_BACK = (
    "The gradient with respect to the input is independent of entry {} in the grad_outputs when using the double backward trick "
    "to compute forward mode gradients. This is not allowed in strict mode."
)


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


def _inputs(inputs, function: str, create_graph: bool) -> tuple[bool, tuple]:
    """The inputs as tensors of their own: the function may also use the given ones, which are then constants."""
    several, inputs = _as_tuple(inputs, "inputs", function)
    return several, tuple([x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in inputs])


def _outputs(func: Callable, inputs: tuple, function: str, strict: bool) -> tuple[bool, tuple]:
    several, outputs = _as_tuple(func(*inputs), "outputs of the user-provided function", function)
    _require(strict, outputs, _NOT_DIFFERENTIABLE)
    return several, outputs


def _number(func: Callable, inputs: tuple, function: str, strict: bool) -> Tensor:
    """The output of a function that must have one number as its result."""
    several, outputs = _outputs(func, inputs, function, strict)
    if several:
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {function} should contain a single element")
    return outputs[0]


def _vector(v, like: tuple, several: bool, function: str, create_graph: bool) -> tuple:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            single = "the user-provided function returns" if function == "vjp" else "the input to the user-provided function is"
            raise RuntimeError(f"The vector v can only be None if {single} a single Tensor with a single element.")
        return (None,)
    _, v = _as_tuple(v, "v", function)
    v = tuple([x.view_as(x) if create_graph and x.requires_grad else x.detach() for x in v])
    if len(v) != len(like):
        if not several:
            raise RuntimeError("The given v should contain a single Tensor.")
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(v)}.")
    for i, (a, b) in enumerate(zip(v, like, strict=True)):
        if a.shape != b.shape:
            which = f"Entry {i} in v" if several else "v"
            raise RuntimeError(f"{which} has invalid size: should be {b.shape} but got {a.shape}.")
    return v


def _require(strict: bool, values: Sequence[Tensor | None], message: str) -> None:
    """In strict mode, raises where one of ``values`` does not depend on the inputs."""
    for i, v in enumerate(values if strict else ()):
        if v is None:
            raise RuntimeError(
                f"The output of the user-provided function is independent of input {i}. This is not allowed in strict mode."
            )
        if not v.requires_grad:
            raise RuntimeError(message.format(i))


def _gradients(
    outputs: Sequence[Tensor | None], inputs: tuple, weights: Sequence[Tensor | None], create_graph: bool
) -> Sequence[Tensor | None]:
    """The gradients of those outputs that have any; a number needs no weight."""
    pairs = [(o, w) for o, w in zip(outputs, weights, strict=True) if o is not None and o.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    return grad(
        [o for o, _ in pairs], inputs, [w for _, w in pairs], retain_graph=True, create_graph=create_graph, allow_unused=True
    )


def _filled(found: Sequence[Tensor | None], like: tuple, strict: bool, create_graph: bool, missing: str, constant: str) -> tuple:
    """Zeros where there is no gradient, and errors in strict mode: ``missing`` there, ``constant`` where it has none itself."""
    for i, g in enumerate(found if strict else ()):
        if g is None:
            raise RuntimeError(missing.format(i))
        if create_graph and not g.requires_grad:
            raise RuntimeError(f"{_INDEPENDENT.format(constant).format(i)} when create_graph=True.")
    return tuple([ops.zeros_like(x) if g is None else g for g, x in zip(found, like, strict=True)])


def _finish(values: Sequence[Tensor], several: bool, create_graph: bool):
    values = tuple([v if create_graph else v.detach() for v in values])
    return values if several else values[0]


def vjp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """``(func(inputs), v^T J)``: the product of a vector with the Jacobian.

    >>> import flambeau as torch
    >>> torch.autograd.functional.vjp(lambda x: x ** 2, torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    with enable_grad():
        several_in, inputs = _inputs(inputs, "vjp", create_graph)
        several_out, outputs = _outputs(func, inputs, "vjp", strict)
        weights = _vector(v, outputs, several_out, "vjp", create_graph)
        found = _gradients(outputs, inputs, weights, create_graph)
        found = _filled(found, inputs, strict, create_graph, f"{_INDEPENDENT.format('output')}.", "jacobian")
    return _finish(outputs, several_out, create_graph), _finish(found, several_in, create_graph)


def jvp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """``(func(inputs), J v)``: the product of the Jacobian with a vector, by differentiating :func:`vjp` in its vector.

    >>> import flambeau as torch
    >>> torch.autograd.functional.jvp(lambda x: x.sum(), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
    (tensor(3.), tensor(2.))
    """
    with enable_grad():
        several_in, inputs = _inputs(inputs, "jvp", create_graph)
        direction = _vector(v, inputs, several_in, "jvp", create_graph)
        several_out, outputs = _outputs(func, inputs, "jvp", strict)
        weights = tuple([ops.zeros_like(o, requires_grad=True) for o in outputs])
        back = _gradients(outputs, inputs, weights, True)
        _require(strict, back, _CONSTANT_GRADIENT)
        found = _gradients(back, weights, direction, create_graph)
        found = _filled(found, outputs, strict, create_graph, _NO_WAY_BACK, "jacobian")
    return _finish(outputs, several_out, create_graph), _finish(found, several_out, create_graph)


def jacobian(
    func: Callable, inputs, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    strategy: str = "reverse-mode",
):  # fmt: skip
    """The derivative of every element of the outputs by every element of the inputs: shape ``output + input``.

    Args:
        vectorize: one backward pass for all elements of an output, whose gradients are batched as in ``torch.vmap``, rather than
            one for each of them.
        strategy: ``"reverse-mode"``, one backward pass for each element of the outputs, or ``"forward-mode"``, one call of the
            function for each element of the inputs; that needs ``vectorize=True``, as in PyTorch.

    >>> import flambeau as torch
    >>> torch.autograd.functional.jacobian(lambda x: x ** 2, torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs than inputs, '
            '"forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        _refuse_forward(create_graph, strict, vectorize)
        return _forward_jacobian(func, *_as_tuple(inputs, "inputs", "jacobian"))
    with enable_grad():
        several_in, inputs = _inputs(inputs, "jacobian", create_graph)
        several_out, outputs = _outputs(func, inputs, "jacobian", strict)
        if vectorize and strict:
            raise RuntimeError(_NOT_TOGETHER.format("strict=True", "vectorized=True", "", "strict=False", "vectorize=False"))
        blocks = []
        for i, out in enumerate(outputs):
            if vectorize:
                blocks.append(
                    [
                        rows.reshape(out.shape + x.shape)
                        for rows, x in zip(_all_rows(out, inputs, create_graph), inputs, strict=True)
                    ]
                )
                continue
            missing = f"Output {i} of the user-provided function is independent of input {{}}. This is not allowed in strict mode."
            columns: list[list[Tensor]] = [[] for _ in inputs]
            for element in out.reshape(-1).unbind(0):
                found = _gradients((element,), inputs, (None,), create_graph)
                for column, g in zip(columns, _filled(found, inputs, strict, create_graph, missing, "jacobian"), strict=True):
                    column.append(g)
            blocks.append(
                [_stacked(column, out, x).reshape(out.shape + x.shape) for column, x in zip(columns, inputs, strict=True)]
            )
        return _nested([[b if create_graph else b.detach() for b in row] for row in blocks], several_out, several_in)


def _all_rows(out: Tensor, inputs: tuple, create_graph: bool) -> list[Tensor]:
    """For each input the gradients of all elements of ``out``, stacked."""
    n = out.numel()
    found: Sequence[Tensor | None] = (None,) * len(inputs)
    if n and out.requires_grad:
        weights = ops.eye(n, dtype=out.dtype).reshape((n, *out.shape))
        found = grad((out,), inputs, (weights,), True, create_graph, allow_unused=True, is_grads_batched=True)
    return [x.new_zeros((n, *x.shape)) if g is None else g for g, x in zip(found, inputs, strict=True)]


_NOT_TOGETHER = "torch.autograd.functional.jacobian: `{}` and `{}` are not supported together{}. Please either set `{}` or `{}`."


def _refuse_forward(create_graph: bool, strict: bool, vectorize: bool) -> None:
    for given, name, error in ((create_graph, "create_graph", NotImplementedError), (strict, "strict", RuntimeError)):
        if given:
            settings = f"{name}=True", 'strategy="forward-mode"', " (yet)", f"{name}=False", 'strategy="reverse-mode"'
            raise error(_NOT_TOGETHER.format(*settings))
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian isonly implemented for `vectorize=True`."
        )


def _forward_jacobian(func: Callable, several_in: bool, inputs: tuple):
    """A column of the Jacobian for each element of the inputs: the tangents that it gives the outputs."""
    tangents: list[list[list[Tensor]]] = []  # by output, input and element
    outputs: tuple = ()
    several_out = False
    for j, x in enumerate(inputs):
        for direction in ops.eye(x.numel(), dtype=x.dtype).reshape((x.numel(), *x.shape)).unbind(0):
            with forward_ad.dual_level():
                zeros = [ops.zeros_like(y) if k != j else direction for k, y in enumerate(inputs)]
                duals = [forward_ad.make_dual(y, t) for y, t in zip(inputs, zeros, strict=True)]
                several_out, found = _as_tuple(func(*duals), "outputs of the user-provided function", "jacobian")
                pairs = [forward_ad.unpack_dual(y) for y in found]
            outputs = tuple([p.primal for p in pairs])
            tangents = tangents or [[[] for _ in inputs] for _ in outputs]
            for row, p in zip(tangents, pairs, strict=True):
                row[j].append(ops.zeros_like(p.primal) if p.tangent is None else p.tangent)
    if not tangents:  # inputs without elements: the outputs are all that is to be known
        several_out, outputs = _as_tuple(func(*inputs), "outputs of the user-provided function", "jacobian")
        tangents = [[[] for _ in inputs] for _ in outputs]
    blocks = [
        [_stacked(column, x, y).movedim(0, -1).reshape(y.shape + x.shape) for column, x in zip(row, inputs, strict=True)]
        for row, y in zip(tangents, outputs, strict=True)
    ]
    return _nested(blocks, several_out, several_in)


def _stacked(parts: list[Tensor], along: Tensor, each: Tensor) -> Tensor:
    """One part for each element of ``along``, each of the shape of ``each``."""
    return ops.stack(parts) if parts else along.new_zeros((0, *each.shape))


def _nested(blocks: list[list[Tensor]], several_out: bool, several_in: bool):
    rows = [tuple(row) if several_in else row[0] for row in blocks]
    return tuple(rows) if several_out else rows[0]


def hessian(
    func: Callable, inputs, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
):  # fmt: skip
    """The second derivatives of a function with one number as its result.

    Args:
        vectorize, outer_jacobian_strategy: as in :func:`jacobian`, for the Jacobian of the gradient.

    >>> import flambeau as torch
    >>> torch.autograd.functional.hessian(lambda x: (x ** 3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    several, inputs = _as_tuple(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def number(*xs):
        return _number(func, xs, "hessian", strict).reshape(())

    def gradient(*xs):
        if outer_jacobian_strategy == "forward-mode":
            xs = tuple([x.requires_grad_() for x in xs])
        found = jacobian(number, xs, create_graph=True)
        _require(strict, found, _CONSTANT_JACOBIAN)
        return found

    result = jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
    return result if several else result[0][0]


def vhp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """``(func(inputs), v^T H)``: the product of a vector with the Hessian.

    >>> import flambeau as torch
    >>> torch.autograd.functional.vhp(lambda x: (x ** 3).sum(), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    return _hessian_product("vhp", func, inputs, v, create_graph, strict)


def hvp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """``(func(inputs), H v)``: the Hessian is symmetric, so this is :func:`vhp`."""
    return _hessian_product("hvp", func, inputs, v, create_graph, strict)


def _hessian_product(function: str, func: Callable, inputs, v, create_graph: bool, strict: bool):
    with enable_grad():
        several, inputs = _inputs(inputs, function, create_graph)
        direction = _vector(v, inputs, several, function, create_graph)
        out = _number(func, inputs, function, strict)
        first = _gradients((out,), inputs, (None,), True)
        _require(strict, first, _CONSTANT_JACOBIAN)
        found = _gradients(first, inputs, direction, create_graph)
        found = _filled(found, inputs, strict, create_graph, f"{_INDEPENDENT.format('jacobian')}.", "hessian")
    return _finish((out,), False, create_graph), _finish(found, several, create_graph)
