"""Interrupts programs at every place where a signal handler of Python's can run, and looks at what is left.

Handlers run when a function begins, when a call has returned, and when a loop begins anew. A trace function that sees each
instruction of flambeau's own code knows these places; at one of them it raises, or uses tensors as a handler would. Each step
of a program must then have happened as a whole or not at all, as a call of PyTorch's has; and what comes after must be right.

    python -m tests.interruptions [--every N] [--seed N] [NAME ...]     # all places, or one in N
"""

from __future__ import annotations

import argparse
import dis
import inspect
import os
import random
import sys
from collections.abc import Callable
from functools import cache

import numpy as np

import flambeau as torch
from flambeau import dispatch
from flambeau.core import config
from flambeau.core.errors import is_own_file
from flambeau.dispatch import grad_mode
from flambeau.engine.flight import lock

_CALLS = {dis.opmap[name] for name in dis.opmap if name.startswith(("CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD"))}


class Interrupt(BaseException):
    """What the handler raises."""


class Injector:
    """Counts the places that are met in flambeau's code while it is on; at place number ``at`` it calls ``handler``."""

    def __init__(self, at: int = -1, handler: Callable[[], None] | None = None) -> None:
        self.at, self.handler, self.count = at, handler, 0
        self.where = ""
        self._last: dict[int, int] = {}

    def __enter__(self) -> Injector:
        sys.settrace(self._call)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)

    def _call(self, frame, event: str, arg):
        code = frame.f_code
        if not is_own_file(code.co_filename) and code.co_filename not in ("<recipe>", "<update>"):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if not code.co_flags & inspect.CO_GENERATOR:  # one that is closed is called in this sense, and runs no code of its own
            self._place(frame)
        return self._opcode

    def _opcode(self, frame, event: str, arg):
        if event == "opcode":
            key, code, at = id(frame), frame.f_code, frame.f_lasti
            last = self._last.get(key)
            # What a signal handler raises belongs to the call that has returned, and so to the block that this is in.
            if last is not None and code.co_code[last] in _CALLS and _block(code, last) == _block(code, at):
                self._place(frame)
            self._last[key] = at
        elif event == "return":
            self._last.pop(id(frame), None)
        return self._opcode

    def _place(self, frame) -> None:
        self.count += 1
        if self.count - 1 == self.at:
            self.where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"
            sys.settrace(None)
            self.handler()


@cache
def _blocks(code) -> list:
    return dis._parse_exception_table(code)  # type: ignore[attr-defined]  # no other function of Python gives it


def _block(code, at: int) -> int | None:
    """Where an exception that is raised at an instruction is handled in its function."""
    return next((entry.target for entry in _blocks(code) if entry.start <= at < entry.end), None)


class Programs:
    """Programs: each makes a dict of tensors and a list of steps, functions of that dict."""

    @staticmethod
    def writes():
        def init():
            x = torch.arange(12.0).reshape(3, 4) * 1
            y = torch.ones(4)
            y.data_ptr()
            return {"x": x, "y": y, "z": x[1]}

        return init, [
            lambda s: s["x"].add_(1),
            lambda s: s["y"].mul_(2),
            lambda s: s["z"].add_(s["y"]),
            lambda s: s["x"][0].fill_(7),
            lambda s: s["x"].sum().item(),
            lambda s: s["y"].sub_(s["x"][2]),
            lambda s: s["x"].copy_(s["x"] * 2),
            lambda s: s["y"].tolist(),
            lambda s: s["x"].div_(3),
            lambda s: s["y"].mul_(0.5),
            lambda s: repr(s["x"]),
        ]

    @staticmethod
    def sums():
        def init():
            return {f"t{i}": torch.full((5,), float(i)) for i in range(4)}

        def step(s):
            a = (s["t0"] * 2 + s["t1"]).exp().log()
            return (a.softmax(0) + s["t2"]).sum().item()

        return init, [
            step,
            lambda s: s["t0"].add_(s["t1"]),
            lambda s: s["t1"].add_(s["t0"]),
            lambda s: s["t2"].copy_(s["t0"]),
            step,
            lambda s: s["t3"].copy_(s["t3"].cumsum(0)),
            lambda s: s["t0"].add_(s["t3"].cumsum(0)),
            step,
            lambda s: s["t3"].tolist(),
        ]

    @staticmethod
    def little():
        def init():
            x, y = torch.arange(12.0).reshape(3, 4) * 1, torch.ones(6)
            x.tolist(), y.tolist()
            return {"x": x, "y": y, "z": torch.zeros(3)}

        def made(s):
            s["z"] = s["x"][:, 1] * 2 + s["y"][3:]
            return s["z"].tolist()

        loop = [
            lambda s: (s["x"][0] * s["x"][1]).sum().item(),
            lambda s: s["y"].__setitem__(2, s["x"][0, 1] + s["y"][2]),
            lambda s: s["y"].__setitem__(3, 5.5),
            lambda s: s["x"].__setitem__((1, slice(1, 3)), s["y"][2:4]),
            lambda s: [float(row.sum()) for row in s["x"]],
            lambda s: bool(s["y"][2] > 1),
            made,
        ]
        return init, loop * 3

    @staticmethod
    def training():
        def init():
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
            s = {f"p{i}": p for i, p in enumerate(model.parameters())}
            s["_model"], s["_x"] = model, torch.randn(5, 4)
            s["_optimizer"] = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            return s

        def backward(s):
            s["_loss"].backward()

        def forward(s):
            s["_loss"] = s["_model"](s["_x"]).pow(2).mean()

        def step(s):  # a loop over parameters, as in PyTorch: each of them has been updated or not
            s["_optimizer"].step()

        def zero(s):
            s["_optimizer"].zero_grad()

        step.divisible = zero.divisible = True
        loop = [forward, zero, backward, step, lambda s: s["_loss"].item()]
        return init, loop * 3

    @staticmethod
    def accumulation():
        def init():
            torch.manual_seed(0)
            w, v = torch.randn(3, 3, requires_grad=True), torch.randn(3, requires_grad=True)
            return {"w": w, "v": v, "_x": torch.randn(3)}

        def pass_(s):
            loss = ((s["_x"] @ s["w"]) * s["v"]).sum()
            loss.backward()

        return init, [pass_, pass_, pass_, pass_, lambda s: s["w"].grad.sum().item()]

    @staticmethod
    def on_the_tape():
        def init():
            w = torch.ones(4, requires_grad=True)
            return {"w": w, "h": w * 2}

        return init, [
            lambda s: s["h"].mul_(3),
            lambda s: s["h"][:2].add_(1),
            lambda s: s["h"].tolist(),
            lambda s: s["h"][1:].mul_(2),
            lambda s: s["h"].sum().backward(),
        ]

    @staticmethod
    def modes():
        class Double(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g * 2

        def init():
            torch.manual_seed(0)
            norm = torch.nn.BatchNorm1d(2)
            w = torch.ones(3, 2, requires_grad=True)
            return {"w": w, "t": torch.zeros(3, 2), "mean": norm.running_mean, "_norm": norm}

        def without(s):
            with torch.no_grad():
                s["t"].add_(s["w"] * 2)

        def with_again(s):
            with torch.no_grad(), torch.enable_grad():
                (s["w"] * 3).sum().item()

        def in_inference(s):
            with torch.inference_mode():
                return (s["w"] + 1).sum().item()

        @torch.no_grad()
        def decorated(s):
            s["t"].mul_(0.5)

        def cast(s):
            with torch.autocast("cpu", torch.bfloat16):
                return (s["w"] @ s["w"].T).sum().item()

        def custom(s):
            Double.apply(s["w"]).sum().backward()

        def saved(s):
            with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 1, lambda t: t):
                s["w"].square().sum().backward()

        def normalised(s):
            s["_norm"](s["t"]).sum().item()

        return init, [without, with_again, in_inference, decorated, cast, custom, custom, saved, normalised, without]

    @staticmethod
    def shared_with_numpy():
        def init():
            a = np.ones(6, np.float32)
            return {"t": torch.from_numpy(a), "u": torch.zeros(6), "_a": a}

        return init, [
            lambda s: s["t"].add_(1),
            lambda s: s["u"].add_(s["t"]),
            lambda s: s["t"].mul_(3),
            lambda s: s["u"].add_(s["t"]).sum().item(),
        ]


def modes() -> tuple:
    """What is switched for a while, such as gradients by ``no_grad``."""
    return grad_mode.enabled, grad_mode.asked, grad_mode.inference, dispatch.autocast.cast, dispatch.watch


USUAL = modes()


def state_of(s: dict) -> dict[str, np.ndarray]:
    found = {}
    for name, t in s.items():
        if isinstance(t, torch.Tensor) and not name.startswith("_"):
            found[name] = t.detach().numpy().copy()
            if t.is_leaf and t.requires_grad:
                found[name + ".grad"] = np.zeros(0) if t.grad is None else t.grad.numpy().copy()
    return found


def same(a: dict, *others: dict) -> bool:
    """Whether each value is that of one of the others."""
    return all(any(v.shape == b[k].shape and np.allclose(v, b[k], rtol=1e-5, atol=1e-6) for b in others) for k, v in a.items())


class Checked:
    """A program, and the states that it goes through."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.init, self.steps = getattr(Programs, name)()
        before = config.eager, config.compiled
        config.eager, config.compiled = True, False
        s = self.init()
        self.states = [state_of(s)]
        for step in self.steps:
            step(s)
            self.states.append(state_of(s))
        config.eager, config.compiled = before

    def places(self) -> int:
        for _ in range(3):
            self._run(self.init())
        s = self.init()
        with Injector() as injector:
            for step in self.steps:
                step(s)
        return injector.count

    def _run(self, s: dict) -> None:
        for step in self.steps:
            step(s)

    def raising(self, at: int) -> str | None:
        """Interrupts at a place; what is wrong afterwards."""

        def handler():
            raise Interrupt

        s = self.init()
        injector = Injector(at, handler)
        k = 0
        try:
            with injector:
                for step in self.steps:
                    step(s)
                    k += 1
        except Interrupt:
            pass
        if lock._is_owned():
            return f"{self.name}, place {at} ({injector.where}): the lock is not released"
        if (left := modes()) != USUAL:
            grad_mode.enabled, grad_mode.asked, grad_mode.inference, dispatch.autocast.cast, dispatch.watch = USUAL
            if injector.where.endswith("in __exit__"):  # before the end of a ``with`` has done anything, as PyTorch's may be, too
                return None
            return f"{self.name}, place {at} ({injector.where}): modes are left as {left}"
        found = state_of(s)
        if injector.where == "":
            return None if same(found, self.states[-1]) else "not interrupted, and wrong"
        place = f"{self.name}, place {at} ({injector.where}), step {k}"
        if same(found, self.states[min(k + 1, len(self.steps))]):
            k += 1
        elif not same(found, self.states[k]) and not (self._divisible(k) and same(found, *self.states[k : k + 2])):
            return f"{place}: neither before nor after: {self._differences(found, k)}"
        if k < len(self.steps) and "_model" in s:  # a graph that has been freed, a loss that was not made
            return self._again()
        try:
            for step in self.steps[k:]:
                step(s)
        except RuntimeError as error:  # a backward pass had begun, so a part of its graph is gone, as in PyTorch
            if "a second time" not in str(error):
                raise
            return self._again()
        return None if same(state_of(s), self.states[-1]) else f"{place}: what came after is wrong"

    def _again(self) -> str | None:
        s = self.init()
        self._run(s)
        return None if same(state_of(s), self.states[-1]) else f"{self.name}: another run is wrong"

    def _divisible(self, k: int) -> bool:
        return k < len(self.steps) and hasattr(self.steps[k], "divisible")

    def _differences(self, found: dict, k: int) -> str:
        after = self.states[min(k + 1, len(self.steps))]
        return str({n: (v.tolist(), self.states[k][n].tolist(), after[n].tolist()) for n, v in found.items()
                    if not same({n: v}, self.states[k])})  # fmt: skip

    def using(self, at: int) -> str | None:
        """Uses tensors at a place, among them all of the program's; what is wrong afterwards."""
        s = self.init()
        done = 0
        problems = []

        def handler():
            found = state_of(s)
            around = self.states[done : done + 2]
            if not (same(found, *around) if self._divisible(done) else any(same(found, state) for state in around)):
                problems.append(f"a handler finds neither before nor after: {self._differences(found, done)}")
            t = torch.ones(5) * 2
            t.add_(1)
            if t.sum().item() != 15:
                problems.append("a handler computes wrong numbers")

        injector = Injector(at, handler)
        with injector:
            for step in self.steps:
                step(s)
                done += 1
        if not same(state_of(s), self.states[-1]):
            problems.append(f"wrong in the end: {self._differences(state_of(s), len(self.steps) - 1)}")
        return f"{self.name}, place {at} ({injector.where}), step {done}: {problems[0]}" if problems else None


NAMES = [name for name in vars(Programs) if not name.startswith("_")]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--interpreted", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    config.compile_after, config.compiled, config.ahead = 0, not options.interpreted, 0.0
    config.strict = False
    random.seed(options.seed)
    wrong = 0
    for name in options.names or NAMES:
        program = Checked(name)
        count = program.places()
        first = random.randrange(options.every)
        tried = 0
        problems: dict[str, int] = {}
        for at in range(first, count, options.every):
            for check in (program.raising, program.using):
                tried += 1
                try:
                    problem = check(at)
                except Exception as error:
                    problem = f"{name}, place {at}, {check.__name__}: {type(error).__name__}: {error}"
                if problem:
                    problems[problem] = at
        for problem in list(problems)[:12]:
            print("  ", problem[:600])
        print(f"{name}: {count} places, {tried} tried, {len(problems)} wrong", flush=True)
        wrong += len(problems)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
