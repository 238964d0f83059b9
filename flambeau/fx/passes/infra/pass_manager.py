"""Running passes one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flambeau.fx.graph_module import GraphModule
from flambeau.fx.passes.infra.pass_base import PassResult

__all__ = ["PassManager", "pass_result_wrapper"]


def pass_result_wrapper(fn: Callable) -> Callable:
    """Lets a function that changes a module in place return a :class:`PassResult`."""

    def wrapped(gm: GraphModule) -> PassResult:
        result = fn(gm)
        if result is None:
            return PassResult(gm, True)
        return result if isinstance(result, PassResult) else PassResult(result, True)

    wrapped.__name__ = getattr(fn, "__name__", type(fn).__name__)
    return wrapped


class PassManager:
    """Runs passes, up to ``steps`` times while one of them changes something."""

    def __init__(
        self, passes: Sequence[Callable] | None = None, constraints: Sequence[Callable] | None = None, steps: int | None = None,
        run_checks_after_each_pass: bool = False, suppress_check_failures: bool = False,
    ) -> None:  # fmt: skip
        self.passes, self.constraints = list(passes or ()), list(constraints or ())
        self.steps = 1 if steps is None else steps

    def add_pass(self, _pass: Callable) -> None:
        self.passes.append(_pass)

    def __call__(self, module: GraphModule) -> PassResult:
        changed = False
        for _ in range(self.steps):
            now = False
            for run in self.passes:
                result = run(module)
                if not isinstance(result, PassResult):
                    raise TypeError(
                        f"The result of the pass {run} should be type PassResult. Please wrap it with pass_result_wrapper()"
                    )
                module, now = result.graph_module, now or result.modified
                module.recompile()
            changed = changed or now
            if not now:
                break
        return PassResult(module, changed)
