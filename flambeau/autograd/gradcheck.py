"""Checks of gradients against finite differences.

Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradcheck.html
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from flambeau import dispatch, ops
from flambeau.autograd import forward_ad
from flambeau.autograd.engine import grad
from flambeau.core import config, dtypes
from flambeau.core.memory_format import strided
from flambeau.tensor.tensor import Tensor


class GradcheckError(RuntimeError):
    """Analytical and numerical gradients differ."""


def gradcheck(
    func: Callable,
    inputs,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compares the gradients that the tape gives for ``func(*inputs)``, and with ``check_forward_ad`` the tangents of dual inputs,
    with central differences.

    Inputs should be float64; with ``fast_mode`` random directions are compared instead of whole Jacobians.

    Args:
        check_undefined_grad: whether each output of several has a gradient that can be asked for without the others'.
        check_grad_dtypes: whether gradients have the dtypes of their inputs.
        check_batched_grad: whether several gradients at once (under ``vmap``) are those that are computed one by one.
        check_batched_forward_grad: the same of tangents.
        masked: of sparse inputs only the elements that they have are changed; so it is in either case.
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    compiled, config.compiled = config.compiled, False  # a plan's last bits are not the interpreter's
    try:
        leaves = _leaves(inputs)
        if check_backward_ad:
            _check(func, inputs, leaves, eps, atol, rtol, nondet_tol, fast_mode)
            if check_undefined_grad:
                _check_undefined(func, inputs, leaves)
            if check_grad_dtypes:
                _check_dtypes(func, inputs, leaves)
            if check_batched_grad:
                _check_batched(func, inputs, leaves)
        if check_forward_ad:
            _check_forward(func, inputs, leaves, eps, atol, rtol, fast_mode)
            if check_batched_forward_grad:
                _check_batched_forward(func, inputs, leaves)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    finally:
        config.compiled = compiled
    return True


def _differentiable(values) -> list[Tensor]:
    found = [v for v in _listed(values) if isinstance(v, Tensor) and v.requires_grad]
    if any(v.layout is not strided for v in found):
        raise ValueError(
            "Sparse output is not supported at gradcheck yet. Please call to_dense(masked_grad=...) on the output of fn for gradcheck."
        )
    return found


def _leaves(inputs) -> list[Tensor]:
    """The inputs to differentiate by."""
    leaves = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    if not leaves:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True."
        )
    for i, x in enumerate(leaves):
        if x.dtype not in (dtypes.float64, dtypes.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check will "
                "likely fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=3,
            )
        if x.layout is strided and any(s == 0 for s, n in zip(x.stride(), x.shape, strict=True) if n > 1):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are non-overlapping"
            )
    return leaves


def _check(func, inputs, leaves, eps, atol, rtol, nondet_tol, fast_mode) -> None:
    results = func(*inputs)
    outputs = _differentiable(results)
    if not outputs:
        _check_constant(func, inputs, leaves, _listed(results), eps)
    for i, out in enumerate(outputs):
        for j, x in enumerate(leaves):
            check = _compare_directions if fast_mode else _compare_jacobians
            check(func, inputs, i, j, out, x, eps, atol, rtol)
        first = _vjp(out, leaves, np.ones(out.shape))
        second = _vjp(out, leaves, np.ones(out.shape))
        for a, b in zip(first, second, strict=True):
            if np.max(np.abs(a - b), initial=0) > nondet_tol:
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
                    "different values, although analytical gradient matches numerical gradient."
                )


def _check_constant(func, inputs, leaves, results: tuple, eps: float) -> None:
    """Outputs that are not on the tape must not change with the inputs."""
    for i, out in enumerate(results):
        for x in leaves if isinstance(out, Tensor) and (out.is_floating_point() or out.is_complex()) else ():
            n = x._on_tape.numel()
            for direction in np.eye(n).reshape(n, *x._on_tape.shape):
                up, down = (_moved(lambda *given: _listed(func(*given))[i], inputs, x, step * direction) for step in (eps, -eps))  # noqa: B023
                if not np.array_equal(up._array(), down._array(), equal_nan=True):
                    raise GradcheckError("Numerical gradient for function expected to be zero")


def _check_undefined(func, inputs, leaves) -> None:
    outputs = _differentiable(func(*inputs))
    for out in outputs if len(outputs) > 1 else ():
        try:
            grad(out, leaves, ops.zeros_like(out), retain_graph=True, allow_unused=True)
        except Exception as error:
            raise GradcheckError(
                'Expected backward function to handle undefined output grads. Please look at "Notes about undefined output gradients" '
                f'in "tools/autograd/derivatives.yaml": {error}'
            ) from error


def _check_dtypes(func, inputs, leaves) -> None:
    for i, out in enumerate(_differentiable(func(*inputs))):
        for j, (x, g) in enumerate(
            zip(leaves, grad(out, leaves, ops.ones_like(out), retain_graph=True, allow_unused=True), strict=True)
        ):
            if g is not None and g.dtype is not x.dtype:
                raise GradcheckError(
                    f"Gradient of output {i} with respect to input {j} has dtype mismatch: {g.dtype}, but {x.dtype}"
                )


_BATCH = 2


def _batch_of(t: Tensor, seed: int) -> Tensor:
    """Random values for as many tensors like ``t`` as there are in a batch."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((_BATCH, *t.shape))
    values = values + 1j * rng.standard_normal(values.shape) if t.dtype.is_complex else values
    return dispatch.wrap(np.asarray(values).astype(t.dtype.np), t.dtype)


def _check_batched(func, inputs, leaves) -> None:
    for i, out in enumerate(_differentiable(func(*inputs))):
        weights = _batch_of(out, i)

        def gradients(w, batched: bool, out=out):
            return grad(out, leaves, w, retain_graph=True, allow_unused=True, is_grads_batched=batched)

        rows = [gradients(w, False) for w in weights.unbind(0)]
        _compare_batched("batched gradient", lambda: gradients(weights, True), rows, i)  # noqa: B023


def _compare_batched(what: str, batched: Callable, rows: list[tuple], place: int) -> None:
    start = f"gradcheck or gradgradcheck failed while testing {what} computation"
    try:
        together = batched()
    except Exception as error:
        raise GradcheckError(f"{start}: it raised {type(error).__name__}: {error}") from error
    for k, (values, alone) in enumerate(zip(together, zip(*rows, strict=True), strict=True)):
        if values is None or any(row is None for row in alone):
            continue
        expected = np.stack([row.detach()._array() for row in alone])
        if not np.allclose(values.detach()._array(), expected, equal_nan=True):
            raise GradcheckError(f"{start}: at place {place}, value {k} is\n{values}\nand one by one\n{ops.stack(list(alone))}")


def _vjp(out: Tensor, xs: list[Tensor], v: np.ndarray) -> list[np.ndarray]:
    g = dispatch.wrap(np.asarray(v, out.dtype.np), out.dtype)
    grads = grad([out], xs, [g], retain_graph=True, allow_unused=True)
    return [np.zeros(x._on_tape.shape, x.dtype.np) if g is None else _array_of(g, x) for g, x in zip(grads, xs, strict=True)]


def _array_of(gradient: Tensor, x: Tensor) -> np.ndarray:
    """The elements of a gradient of ``x``; of a sparse ``x``, those that it has."""
    dense = gradient.to_dense() if x.layout is strided else gradient._on_tape  # of a dense tensor the gradient may be sparse
    return np.array(dense.detach()._array())


def _moved(func, inputs, x: Tensor, step: np.ndarray) -> Tensor:
    """``func`` at ``x + step``; ``x`` is as it was afterwards."""
    data = x._on_tape.detach()
    before = np.array(data._array())
    try:
        data.copy_(dispatch.wrap((before + step).astype(before.dtype), x.dtype))
        return func(*inputs).detach().clone()
    finally:
        data.copy_(dispatch.wrap(before, x.dtype))


def _numerical(func, inputs, x: Tensor, i: int, direction: np.ndarray, eps: float) -> np.ndarray:
    up, down = (_moved(lambda *given: _differentiable(func(*given))[i], inputs, x, step * direction) for step in (eps, -eps))
    for what in ("shape", "dtype"):
        if getattr(up, what) != getattr(down, what):
            raise AssertionError(
                f"Expected `func` to return outputs with the same {what} when inputs are perturbed by {eps}, but got: "
                f"{what}s {getattr(up, what)} and {getattr(down, what)}."
            )
    return (up._array() - down._array()) / (2 * eps)


def _compare_jacobians(func, inputs, i, j, out, x, eps, atol, rtol) -> None:
    """Column by column; for complex numbers both along the real and the imaginary axis (Wirtinger, as PyTorch)."""
    shape = x._on_tape.shape
    n, m = int(np.prod(shape)), int(np.prod(out.shape))
    units = [1.0, 1j] if x.dtype.is_complex else [1.0]
    numerical = np.zeros((len(units), n, m), np.complex128)
    for u, unit in enumerate(units):
        for k in range(n):
            direction = np.zeros(n, np.complex128 if x.dtype.is_complex else np.float64)
            direction[k] = unit
            numerical[u, k] = _numerical(func, inputs, x, i, direction.reshape(shape), eps).reshape(-1)
    parts = {
        1j: "While considering the imaginary part of complex outputs only, ",
        1.0: "While considering the real part of complex outputs only, ",
    }
    for part, start in parts.items() if out.dtype.is_complex else {1.0: ""}.items():
        analytical = np.zeros((n, m), np.complex128)
        for k in range(m):
            v = np.zeros(m, np.complex128 if out.dtype.is_complex else np.float64)
            v[k] = part
            analytical[:, k] = _vjp(out, [x], v.reshape(out.shape))[0].reshape(-1)
        # The gradient for a real loss L = Re(conj(v) out): dL/dRe(x) + i dL/dIm(x).
        expected = np.real(np.conj(part) * numerical[0]).astype(np.complex128)
        if len(units) == 2:
            expected = expected + 1j * np.real(np.conj(part) * numerical[1])
        _raise_if_different(analytical, expected, i, j, atol, rtol, f"{start}Jacobian mismatch")


def _compare_directions(func, inputs, i, j, out, x, eps, atol, rtol) -> None:
    """Along one random direction, of positive numbers. Each element of the Jacobian may be wrong by ``atol``, and they add up:
    what may differ here is ``atol`` times the sums of both directions.
    """
    rng = np.random.default_rng(0)

    def random(t: Tensor) -> np.ndarray:
        u = rng.random(t._on_tape.shape)
        u = u + 1j * rng.random(u.shape) if t.dtype.is_complex else u
        return u / (np.linalg.norm(u) or 1.0)

    u, v = random(x), random(out)
    analytical = np.real(np.vdot(_vjp(out, [x], v)[0], u))
    numerical = np.real(np.vdot(v, _numerical(func, inputs, x, i, u, eps)))
    _raise_if_different(np.asarray(analytical), np.asarray(numerical), i, j, atol * abs(u.sum() * v.sum()), rtol)


def _check_forward(func, inputs, leaves, eps, atol, rtol, fast_mode) -> None:
    """Compares tangents with differences, along each axis or along a random direction."""
    places = [k for k, o in enumerate(_listed(func(*inputs))) if isinstance(o, Tensor) and o.requires_grad]
    rng = np.random.default_rng(0)
    for j, x in enumerate(leaves):
        n, kind = int(np.prod(x.shape)), np.complex128 if x.dtype.is_complex else np.float64
        directions = np.concatenate([np.eye(n), 1j * np.eye(n)]) if x.dtype.is_complex else np.eye(n)
        if fast_mode:
            directions = rng.standard_normal((1, n)) + (1j * rng.standard_normal((1, n)) if x.dtype.is_complex else 0)
        for direction in directions.astype(kind).reshape(len(directions), *x.shape):
            found = _tangents(func, inputs, leaves, x, dispatch.wrap(np.array(direction, x.dtype.np), x.dtype))
            for i, k in enumerate(places):
                numerical, t = _numerical(func, inputs, x, i, direction, eps), found[k]
                analytical = np.zeros_like(numerical) if t is None else np.array(t.detach()._array())
                _raise_if_different(analytical, numerical, i, j, atol, rtol, "Jacobian computed with forward mode mismatch")


def _check_batched_forward(func, inputs, leaves) -> None:
    """The tangents of several directions at once against those of each."""
    for j, x in enumerate(leaves):
        directions = _batch_of(x, j)

        def tangents(direction, x=x) -> tuple:
            return tuple(t for t in _tangents(func, inputs, leaves, x, direction) if t is not None)

        rows = [tangents(d) for d in directions.unbind(0)]
        _compare_batched("forward-mode gradient", lambda: dispatch.vmap(tangents)(directions), rows, j)  # noqa: B023


def _listed(values) -> tuple:
    return (values,) if isinstance(values, Tensor) else tuple(values)


def _tangents(func, inputs, leaves, x: Tensor, direction: Tensor) -> list[Tensor | None]:
    """The tangents of the outputs where ``x`` has the tangent ``direction``, and the other leaves zero; nothing requires grad."""

    def given(value):
        if not isinstance(value, Tensor):
            return value
        primal = value.detach()
        if not any(value is leaf for leaf in leaves):
            return primal
        return forward_ad.make_dual(primal, direction if value is x else ops.zeros_like(value))

    with forward_ad.dual_level():
        outputs = _listed(func(*map(given, inputs)))
        return [forward_ad.tangent_of(o) if isinstance(o, Tensor) else None for o in outputs]


def _raise_if_different(
    analytical: np.ndarray, numerical: np.ndarray, i: int, j: int, atol: float, rtol: float, what: str = "Jacobian mismatch"
) -> None:
    if not np.allclose(analytical, numerical, rtol, atol, equal_nan=True):
        raise GradcheckError(
            f"{what} for output {i} with respect to input {j},\n"
            f"numerical:{np.real_if_close(numerical)}\nanalytical:{np.real_if_close(analytical)}\n"
            f"largest difference: {np.max(np.abs(analytical - numerical))}\n"
        )


def gradgradcheck(
    func: Callable,
    inputs,
    grad_outputs=None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """:func:`gradcheck` of the gradient of ``func``: checks second derivatives."""
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outputs = _differentiable(func(*inputs))
    if grad_outputs is None:
        rng = np.random.default_rng(1)
        made = []
        for out in outputs:
            g = rng.standard_normal(out.shape)
            if out.dtype.is_complex:
                g = g + 1j * rng.standard_normal(out.shape)
            made.append(dispatch.wrap(np.asarray(g), out.dtype).requires_grad_())
        grad_outputs = tuple(made)
    else:
        grad_outputs = (grad_outputs,) if isinstance(grad_outputs, Tensor) else tuple(grad_outputs)
    count = len(grad_outputs)
    places = [k for k, x in enumerate(inputs + grad_outputs) if isinstance(x, Tensor) and x.requires_grad]

    def first_order(*args):
        for k in places:
            args[k].requires_grad_()  # which dual tensors do not say
        values, weights = args[:-count], args[-count:]
        leaves = [values[k] for k in places if k < len(values)]
        return tuple(
            g for g in grad(_differentiable(func(*values)), leaves, weights, create_graph=True, allow_unused=True) if g is not None
        )

    if not _differentiable(first_order(*inputs, *grad_outputs)):
        return True  # the gradient is constant
    return gradcheck(
        first_order, inputs + tuple(grad_outputs), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad and check_rev_over_rev, check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad and check_rev_over_rev, fast_mode=fast_mode, check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
    )  # fmt: skip
