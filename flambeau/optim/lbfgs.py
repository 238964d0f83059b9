"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flambeau import ops
from flambeau.autograd import enable_grad, no_grad
from flambeau.tensor import Tensor

from .checks import check_lr
from .optimizer import Optimizer, ParamsT
from .scalars import _to_scalar

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """Quasi-Newton steps from the gradients of the last steps (torch.optim.LBFGS).

    Each inner iteration moves along d = -H g, where H approximates the inverse Hessian from the
    last ``history_size`` pairs (step, change of gradient) by the two-loop recursion; :meth:`step`
    makes up to ``max_iter`` iterations and needs a closure. All parameters form one vector: there
    is one group only.

    Args:
        params: parameters or named parameters.
        lr: length of a step along d, a float or a tensor of one element.
        max_iter: iterations in one call of :meth:`step`.
        max_eval: evaluations of the closure in one call; ``max_iter * 5 // 4`` if None.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when neither parameters nor loss change by more.
        history_size: number of pairs that are remembered.
        line_search_fn: None, or "strong_wolfe" to search for the step length.

    Raises ``ValueError`` for more than one group, ``RuntimeError`` for another ``line_search_fn`` than
    ``"strong_wolfe"``.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (w - 3).pow(2).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure)
    tensor(29., grad_fn=<SumBackward0>)
    >>> bool((w - 3).abs().max() < 1e-4)
    True

    Source: Nocedal and Wright, Numerical optimization, chapters 3 and 7; Schmidt's minFunc,
    https://www.cs.ubc.ca/~schmidtm/Software/minFunc.html;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.LBFGS.html
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError(f"LBFGS doesn't support per-parameter options (parameter groups), got {len(self.param_groups)} groups")

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Runs up to ``max_iter`` iterations.

        Args:
            closure: clears the gradients, computes the loss, calls its ``backward`` and returns
                it. It is called several times.

        Returns:
            The loss before the first iteration.
        """
        evaluate = enable_grad()(closure)
        group = self.param_groups[0]
        lr = _to_scalar(group["lr"])
        # One state for all parameters; under the first, so that loading casts it to its dtype.
        state = self.state[group["params"][0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = evaluate()
        loss, grad = float(first_loss), self._flat_grad()
        evals, iterations = 1, 0
        state["func_evals"] += 1
        if grad.abs().max() <= group["tolerance_grad"]:
            return first_loss

        previous_loss = state.get("prev_loss")
        while iterations < group["max_iter"]:
            iterations += 1
            state["n_iter"] += 1
            direction = self._direction(state, grad, group["history_size"])
            previous_loss = loss
            if state["n_iter"] == 1:
                t = min(1.0, 1.0 / grad.abs().sum()) * lr
            else:
                t = lr
            slope = grad.dot(direction)
            state["t"] = t
            if slope > -group["tolerance_change"]:
                break

            new_evals = 0
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError(f"only 'strong_wolfe' is supported, got {group['line_search_fn']!r}")
                probe = partial(self._probe, evaluate, direction)
                loss, grad, t, new_evals = _strong_wolfe(
                    probe, t, direction, loss, grad, slope, max_evals=group["max_eval"] - evals
                )
                state["t"] = t
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iterations != group["max_iter"]:  # the last step's loss would not be used
                    loss, grad = float(evaluate()), self._flat_grad()
                    new_evals = 1
            evals += new_evals
            state["func_evals"] += new_evals
            if (
                iterations == group["max_iter"]
                or evals >= group["max_eval"]
                or grad.abs().max() <= group["tolerance_grad"]
                or direction.mul(t).abs().max() <= group["tolerance_change"]
                or abs(loss - previous_loss) < group["tolerance_change"]
            ):
                break
        state["prev_loss"] = previous_loss
        return first_loss

    def _direction(self, state: dict[str, Any], grad: Tensor, history_size: int) -> Tensor:
        """-H grad; takes the last step into the history first."""
        if state["n_iter"] == 1:
            state.update(d=grad.neg(), old_dirs=[], old_stps=[], ro=[], H_diag=1)
            state["prev_flat_grad"] = grad.clone()
            return state["d"]
        changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = grad.sub(state["prev_flat_grad"]), state["d"].mul(state["t"])
        ys = y.dot(s)
        if ys > 1e-10:
            if len(changes) == history_size:
                for memory in (changes, steps, ro):
                    memory.pop(0)
            changes.append(y)
            steps.append(s)
            ro.append(1.0 / ys)
            state["H_diag"] = ys / y.dot(y)
        al = state.setdefault("al", [None] * history_size)
        q = grad.neg()
        for i in range(len(changes) - 1, -1, -1):
            al[i] = steps[i].dot(q) * ro[i]
            q = q.addcmul(changes[i], al[i], value=-1)
        r = q.mul(state["H_diag"])
        for i in range(len(changes)):
            r = r.addcmul(steps[i], al[i] - changes[i].dot(r) * ro[i])
        state["d"] = r
        state["prev_flat_grad"].copy_(grad)
        return r

    def _probe(self, evaluate: Callable[[], Any], direction: Tensor, t: float | Tensor) -> tuple:
        """Loss and gradient at ``t * direction`` from here; the parameters stay where they are."""
        params = self.param_groups[0]["params"]
        here = [p.clone() for p in params]
        self._move(t, direction)
        result = float(evaluate()), self._flat_grad()
        for p, value in zip(params, here, strict=True):
            p.copy_(value)
        return result

    def _flat_grad(self) -> Tensor:
        """All gradients as one real vector."""
        parts = []
        for p in self.param_groups[0]["params"]:
            part = ops.zeros_like(p) if p.grad is None else p.grad
            if part.is_complex():
                part = ops.view_as_real(part)
            parts.append(part.reshape(-1))
        return ops.cat(parts)

    def _move(self, t: float | Tensor, direction: Tensor) -> None:
        """Adds ``t * direction`` to the parameters."""
        offset = 0
        for p in self.param_groups[0]["params"]:
            if p.is_complex():
                p = ops.view_as_real(p)
            part = direction[offset : offset + p.numel()].view_as(p)
            p.add_(part, alpha=float(t))
            offset += p.numel()


def _cubic_minimum(x1, f1, g1, x2, f2, g2, bounds=None):
    """The minimum of the cubic through two points with their slopes, kept within bounds.

    Nocedal and Wright, equation 3.59; the middle of the bounds where there is no minimum.
    """
    low, high = bounds or ((x1, x2) if x1 <= x2 else (x2, x1))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1**2 - g1 * g2
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square.sqrt()
    if x1 > x2:
        x1, g1, x2, g2 = x2, g2, x1, g1
    x = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    return min(max(x, low), high)


def _strong_wolfe(evaluate, t, direction, f, g, slope, c1=1e-4, c2=0.9, tolerance=1e-9, max_evals=25):
    """A step length that meets the strong Wolfe conditions (Nocedal and Wright, algorithm 3.5).

    ``evaluate(t)`` gives loss and gradient at ``t * direction``. A point is a tuple
    (t, loss, gradient, slope along the direction).

    Returns:
        loss, gradient, step length, number of evaluations.
    """

    def point(t):
        loss, grad = evaluate(t)
        return t, loss, grad, grad.dot(direction)

    reach = direction.abs().max()
    start = previous = (0, f, g, slope)
    new = point(t)
    count, evals, done = 0, 1, False

    # Go out until the bracket contains a good point.
    while count < max_evals:
        if new[1] > f + c1 * new[0] * slope or (count > 1 and new[1] >= previous[1]):
            bracket = [previous, new]
            break
        if abs(new[3]) <= -c2 * slope:
            bracket, done = [new], True
            break
        if new[3] >= 0:
            bracket = [previous, new]
            break
        bounds = new[0] + 0.01 * (new[0] - previous[0]), new[0] * 10
        t = _cubic_minimum(previous[0], previous[1], previous[3], new[0], new[1], new[3], bounds)
        previous, new = new, point(t)
        evals += 1
        count += 1
    else:
        bracket = [start, new]

    # Narrow the bracket down; `low` is the index of its better end.
    stuck = False
    low = 0 if bracket[0][1] <= bracket[-1][1] else 1
    while not done and count < max_evals:
        ends = [end[0] for end in bracket]
        if abs(ends[1] - ends[0]) * reach < tolerance:
            break
        (x1, f1, _, g1), (x2, f2, _, g2) = bracket
        t = _cubic_minimum(x1, f1, g1, x2, f2, g2)
        # Near an end twice in a row, or outside: go a tenth of the bracket inside.
        margin = 0.1 * (max(ends) - min(ends))
        if min(max(ends) - t, t - min(ends)) < margin:
            if stuck or t >= max(ends) or t <= min(ends):
                near_max = abs(t - max(ends)) < abs(t - min(ends))
                t = max(ends) - margin if near_max else min(ends) + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        new = point(t)
        evals += 1
        count += 1
        if new[1] > f + c1 * new[0] * slope or new[1] >= bracket[low][1]:
            bracket[1 - low] = new
            low = 0 if bracket[0][1] <= bracket[1][1] else 1
        else:
            if abs(new[3]) <= -c2 * slope:
                done = True
            elif new[3] * (bracket[1 - low][0] - bracket[low][0]) >= 0:
                bracket[1 - low] = bracket[low]
            bracket[low] = new
    t, loss, grad, _ = bracket[low]
    return loss, grad, t, evals
