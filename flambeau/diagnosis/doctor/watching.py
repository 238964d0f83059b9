"""What happens while the doctor watches, as events for its rules.

Calls of ops come through the observer that there is for all who watch them (``flambeau.tensor.observing``), those of modules and of
optimizers through PyTorch's global hooks; ``backward`` and a data loader's ``__next__`` are wrapped while the doctor is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau import dispatch
from flambeau.core.errors import caller_frame
from flambeau.diagnosis.doctor.finding import Finding
from flambeau.diagnosis.language import Text
from flambeau.nn import Module
from flambeau.nn.modules._hooks import register_module_forward_hook, register_module_forward_pre_hook
from flambeau.ops.record import Op
from flambeau.optim import Optimizer
from flambeau.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from flambeau.tensor import Tensor
from flambeau.tensor.observing import Observer
from flambeau.utils.data.iteration import Iter

if TYPE_CHECKING:
    from flambeau.diagnosis.doctor.rule import Rule

Site = tuple[str, int]
"""A line of the user's: file and number."""

_MOST_CALLS = 20_000
"""How many calls of one step are remembered."""


def site() -> Site:
    """The innermost line outside of flambeau."""
    frame = caller_frame()
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)


def state(tensor: Tensor) -> tuple[int, int]:
    """Another one after each write to a tensor, one through its ``.data`` too."""
    return id(tensor._storage), getattr(tensor._storage, "version", 0)


class Call(NamedTuple):
    """A call of an op by the program or by a layer; not those that ops make in turn."""

    op: str
    tensors: list[Tensor]
    args: tuple
    keywords: dict[str, Any]
    result: Any
    site: Site


class Root(NamedTuple):
    """A call of a module by the program itself, not by another module."""

    module: Module
    training: bool
    grad: bool
    inputs: tuple
    output: Any
    site: Site


class Watch(Observer):
    """Tells the rules what happens, and keeps what they all ask for."""

    def __init__(self, source: str, rules: Iterable[type[Rule]]) -> None:
        super().__init__()
        self.source = source
        self.rules = [rule(self) for rule in rules]
        self.findings: list[Finding] = []
        self.failures: list[Exception] = []
        """What rules raised, which none should."""
        self.calls: list[Call] = []
        """The calls since the last backward pass."""
        self.roots: list[Root] = []
        """The calls of whole nets since then."""
        self.backwards = 0
        self.steps = 0
        self.modules: dict[int, Module] = {}
        """The nets that were called."""
        self.uses: dict[int, int] = {}
        """How often each module was called while its net was called with gradients on, by its id."""
        self.parameters: dict[int, tuple[str, Tensor, tuple[int, int]]] = {}
        """The parameters of those nets by id: name, tensor, and its state when it was first seen."""
        self.optimizers: list[Optimizer] = []
        """Those that were made or have made a step: kept, as a program's function ends before the doctor looks."""
        self.made: dict[int, Site] = {}
        """Where each of them was made, or seen first, by id."""
        self.stepped: set[int] = set()
        """Optimizers that have made a step, by id."""
        self._producers: dict[int, Call] = {}
        self._inside = 0
        self.inside: list[Module] = []
        """The modules whose calls are on their way, from the outermost to the innermost."""
        self._with_grad = False
        self._undo: list[Callable[[], None]] = []
        self._listening = {
            event: [getattr(rule, event) for rule in self.rules if event in _defined(rule)]
            for event in ("ran", "left", "before_backward", "after_backward", "before_step", "after_step", "fetched", "finished")
        }

    def report(self, code: str, where: Site, why: Text, fix: Text) -> None:
        self.findings.append(Finding(code, *where, why, fix))

    def producer(self, tensor: Any) -> Call | None:
        """The call that gave a tensor, in this step."""
        return self._producers.get(id(tensor))

    def tell(self, event: str, *what: Any) -> None:
        self._inside += 1  # what rules compute is none of the program's
        try:
            for listener in list(self._listening[event]):
                try:
                    listener(*what)
                except Exception as error:  # of a rule: the program goes on without it
                    self._listening[event].remove(listener)
                    self.failures.append(error)
        finally:
            self._inside -= 1

    # --- ops ---------------------------------------------------------------------------------------------------

    def called_from_program(self, op: Op, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        for a in args:
            if isinstance(a, (list, tuple)):
                tensors += [t for t in a if isinstance(t, Tensor)]
        call = Call(op.name, tensors, args, kwargs, result, site())
        if len(self.calls) < _MOST_CALLS:
            self.calls.append(call)
            for made in result if isinstance(result, tuple) else (result,):
                self._producers[id(made)] = call
        self.tell("ran", call)

    def called(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        if self._inside:
            return self.run(op, args, kwargs)
        self._inside += 1
        try:
            result = self.run(op, args, kwargs)
        finally:
            self._inside -= 1
        self.called_from_program(op, args, kwargs, result)
        return result

    # --- modules -----------------------------------------------------------------------------------------------

    def _entered(self, module: Module, args: tuple) -> None:
        if not self.inside:
            self._with_grad = bool(dispatch.grad_mode.enabled)
        self.inside.append(module)

    def _left(self, module: Module, args: tuple, output: Any) -> None:
        while self.inside and self.inside.pop() is not module:  # hooks of those that raised may not have come
            pass
        if self._with_grad:
            self.uses[id(module)] = self.uses.get(id(module), 0) + 1
        if self.inside:
            return
        if id(module) not in self.modules:
            self.modules[id(module)] = module
        for name, parameter in module.named_parameters():
            if id(parameter) not in self.parameters:
                self.parameters[id(parameter)] = (f"{type(module).__name__}.{name}", parameter, state(parameter))
        if not self._inside:
            root = Root(module, module.training, bool(dispatch.grad_mode.enabled), args, output, site())
            self.roots.append(root if root.grad else root._replace(inputs=()))  # a long test shall not keep its data
            self.tell("left", root)

    # --- backward passes and steps -----------------------------------------------------------------------------

    def _backward(self, before: Any) -> Callable:
        """``before`` is what stands on the class: a function, or what offers its calls to subclasses and modes first."""

        def backward(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            original = before.__get__(tensor, type(tensor))
            if self._inside:
                return original(*args, **kwargs)
            where = site()
            self.tell("before_backward", tensor, where)
            self._inside += 1
            try:
                result = original(*args, **kwargs)
            finally:
                self._inside -= 1
            self.backwards += 1
            self.tell("after_backward", tensor, where)
            self.calls.clear()
            self.roots.clear()
            self._producers.clear()
            return result

        return backward

    def _before_step(self, optimizer: Optimizer, args: tuple, kwargs: dict[str, Any]) -> None:
        self._note_optimizer(optimizer)
        self.tell("before_step", optimizer, site())
        # A closure is the program's own; what the optimizer computes is not.
        self._inside += not (args[1:] or kwargs)

    def _after_step(self, optimizer: Optimizer, args: tuple, kwargs: dict[str, Any]) -> None:
        self._inside -= not (args[1:] or kwargs)
        self.steps += 1
        self.stepped.add(id(optimizer))
        self.tell("after_step", optimizer, site())

    def _note_optimizer(self, optimizer: Optimizer) -> None:
        if all(known is not optimizer for known in self.optimizers):
            self.optimizers.append(optimizer)
            self.made[id(optimizer)] = site()

    def _fetching(self, fetch: Callable) -> Callable:
        """A data loader's way to its next batch, with a look at the clock."""

        def fetched(batches: Iter) -> Any:
            asked = time.perf_counter()
            data = fetch(batches)
            self.tell("fetched", asked, time.perf_counter(), site())
            return data

        return fetched

    # --- beginning and end -------------------------------------------------------------------------------------

    def open(self) -> None:
        super().open()
        hooks = (
            register_module_forward_pre_hook(self._entered),
            register_module_forward_hook(self._left, always_call=True),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        )
        self._undo = [hook.remove for hook in hooks]
        self._replace(Tensor, "backward", self._backward(Tensor.__dict__["backward"]))
        add_group = Optimizer.add_param_group

        def add_param_group(optimizer: Optimizer, group: dict[str, Any]) -> None:
            add_group(optimizer, group)
            self._note_optimizer(optimizer)

        self._replace(Optimizer, "add_param_group", add_param_group)
        self._replace(Iter, "__next__", self._fetching(Iter.__next__))

    def _replace(self, owner: type, name: str, new: Callable) -> None:
        before = owner.__dict__[name]
        setattr(owner, name, new)
        self._undo.append(lambda: setattr(owner, name, before))

    def close(self) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo = []
        super().close()

    def finish(self) -> list[Finding]:
        """What was found, after the rules have had their last look."""
        self.tell("finished")
        return self.findings


def _defined(rule: Rule) -> set[str]:
    """The events that a rule listens to."""
    return {name for cls in type(rule).__mro__[:-1] for name in vars(cls)}
