"""Training loops that signals interrupt at random times, as pre-emption, time-outs and Ctrl-C do.

A loop is run once in peace, and its parameters, their states and gradients are noted after each step. Then handlers of SIGALRM,
SIGTERM and SIGINT raise at random times in it, again and again. Each time every tensor must have the value of the step
that was done last or of the one that was going on, a parameter the same as its optimizer's state; and from there the loop goes on.
All is in float64: a normalization of few rows may make much of what float32 rounds, and that is not to be taken for a lost write.

    python -m tests.preemption [--count N] [--seed N] [--workers N]     # N interrupts of each kind
"""

from __future__ import annotations

import argparse
import io
import random
import signal
import sys
import threading
import time

import numpy as np

import flambeau as torch
from flambeau import nn
from flambeau.core import config
from flambeau.engine import plans
from flambeau.utils.data import DataLoader, TensorDataset

STEPS = 24
SIGNALS = ("SIGALRM", "SIGTERM", "SIGINT")


class Preempted(Exception):
    """What the handlers raise: an error of the user's, as a time-out is."""


class Loop:
    """A training loop: what it trains, and one step of it."""

    def __init__(self, seed: int, workers: int) -> None:
        rng = random.Random(seed)
        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float64)
        size = rng.choice([8, 40, 200])
        self.model = rng.choice([self._dense, self._normalized, self._convolutions, self._embedding])(size)
        make = rng.choice([
            lambda p: torch.optim.SGD(p, lr=0.002), lambda p: torch.optim.SGD(p, lr=0.002, momentum=0.9),
            lambda p: torch.optim.Adam(p, lr=0.01), lambda p: torch.optim.AdamW(p, lr=0.01), lambda p: torch.optim.RMSprop(p, lr=0.01),
        ])  # fmt: skip
        self.optimizer = make(self.model.parameters())
        self.workers = workers
        self.out = io.StringIO()
        self.prints, self.clips = rng.random() < 0.6, rng.random() < 0.3
        if rng.random() < 0.5:
            self.model.register_forward_hook(lambda module, args, result: print(result.mean().item(), file=self.out))
        if rng.random() < 0.5:
            next(self.model.parameters()).register_hook(lambda g: g * 0.5)

    def _dense(self, size):
        self.data = torch.randn(4 * STEPS, 8), torch.randn(4 * STEPS, 1)
        return nn.Sequential(nn.Linear(8, size), nn.Tanh(), nn.Linear(size, 1))

    def _normalized(self, size):
        self.data = torch.randn(4 * STEPS, 8), torch.randn(4 * STEPS, 1)
        first = nn.Linear(8, size, bias=False)  # the gradient of a bias would be nothing but what rounding leaves
        return nn.Sequential(first, nn.BatchNorm1d(size), nn.ReLU(), nn.LayerNorm(size), nn.Linear(size, 1))

    def _convolutions(self, size):
        self.data = torch.randn(4 * STEPS, 1, 8, 8), torch.randn(4 * STEPS, 2)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))

    def _embedding(self, size):
        self.data = torch.randint(0, 20, (4 * STEPS, 3)), torch.randn(4 * STEPS, 1)
        return nn.Sequential(nn.Embedding(20, 6), nn.Flatten(), nn.Linear(18, size), nn.GELU(), nn.Linear(size, 1))

    def batches(self, first: int):
        loader = DataLoader(TensorDataset(*self.data), batch_size=4, num_workers=self.workers)
        for k, batch in enumerate(loader):
            if k >= first:
                yield batch

    def step(self, x, y) -> None:
        self.optimizer.zero_grad()
        loss = (self.model(x) - y).pow(2).mean()
        loss.backward()
        if self.clips:
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        if self.prints:
            print(loss.item(), next(self.model.parameters()).flatten()[:3], file=self.out)

    def state(self) -> dict[str, np.ndarray]:
        """All there is, in parts that are updated as one: a parameter with its state."""
        found = {name: b.numpy().copy() for name, b in self.model.named_buffers()}
        for name, p in self.model.named_parameters():
            state = self.optimizer.state.get(p, {})
            values = [p.detach(), *[v for k, v in sorted(state.items()) if isinstance(v, torch.Tensor) and k != "step"]]
            found[name] = np.concatenate([v.numpy().ravel() for v in values])
        return found

    def gradients(self) -> dict[str, np.ndarray]:
        return {n: p.grad.numpy().ravel().copy() for n, p in self.model.named_parameters() if p.grad is not None}

    def checkpoint(self) -> tuple:
        model = {n: v.clone() for n, v in self.model.state_dict().items()}
        return model, _copied(self.optimizer.state_dict())

    def restore(self, checkpoint: tuple) -> None:
        model, optimizer = checkpoint
        self.model.load_state_dict(model)
        self.optimizer.load_state_dict(_copied(optimizer))


def _copied(x):
    if isinstance(x, torch.Tensor):
        return x.clone()
    if isinstance(x, dict):
        return {k: _copied(v) for k, v in x.items()}
    return [_copied(v) for v in x] if isinstance(x, list) else x


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether values are alike, as far as both go: in the first step a parameter's state is made before either is updated."""
    n = min(len(a), len(b)) if a.ndim and b.ndim else None
    return bool(np.allclose(a[:n], b[:n], rtol=1e-7, atol=1e-8)) if n is not None else bool(np.isclose(a, b))


class Interrupts:
    """Raises at random times, from the handler of one of the signals, while it is armed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.armed = rng, False
        self.before = {name: signal.signal(getattr(signal, name), self._handler) for name in SIGNALS}
        self.main = threading.main_thread().ident

    def _handler(self, number, frame) -> None:
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt if number == signal.SIGINT else Preempted

    def arm(self, name: str, longest: float) -> None:
        self.armed = True
        delay = self.rng.random() * longest + 1e-5
        if name == "SIGALRM":
            signal.setitimer(signal.ITIMER_REAL, delay)
        else:
            threading.Timer(delay, signal.pthread_kill, (self.main, getattr(signal, name))).start()

    def close(self) -> None:
        self.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        for name, handler in self.before.items():
            signal.signal(getattr(signal, name), handler)


def run(count: int, seed: int, workers: int = 0, tell=lambda text: None) -> list[str]:
    """Interrupts loops ``count`` times with each signal; what was wrong afterwards."""
    rng = random.Random(seed)
    left = [name for name in SIGNALS for _ in range(count)]
    rng.shuffle(left)
    problems: list[str] = []
    interrupts = Interrupts(rng)
    try:
        while left:
            seed += 1
            tell(f"{len(left)} left, {len(problems)} wrong")
            if rng.random() < 0.3:
                plans.clear()  # what repeats is compiled again meanwhile
            problems += _interrupt(Loop(seed, workers), left, interrupts, f"loop {seed}")
    finally:
        interrupts.close()
        torch.set_default_dtype(torch.float32)
    return problems


def _interrupt(loop: Loop, left: list[str], interrupts: Interrupts, title: str) -> list[str]:
    first = loop.checkpoint()
    for _ in range(3):  # the last time by the plans that run later, too: rounding grows from step to step
        loop.restore(first)
        states, gradients, checkpoints = [loop.state()], [{}], [first]
        for x, y in loop.batches(0):
            loop.step(x, y)
            states.append(loop.state())
            gradients.append(loop.gradients())
            checkpoints.append(loop.checkpoint())
    loop.restore(first)
    start = time.perf_counter()
    for x, y in loop.batches(0):
        loop.step(x, y)
    seconds = time.perf_counter() - start
    problems = []
    done = 0
    for _ in range(12):
        if not left:
            break
        name = left.pop()
        loop.restore(checkpoints[done])
        if not done:
            loop.optimizer.zero_grad()  # what the last step has left
        try:
            interrupts.arm(name, seconds * (STEPS - done) / STEPS)
            for x, y in loop.batches(done):
                loop.step(x, y)
                done += 1
            while interrupts.armed:
                pass
        except (Preempted, KeyboardInterrupt):
            pass
        interrupts.armed = False
        where = f"{title}, {name} in step {done}"
        last, now = states[done], states[min(done + 1, STEPS)]
        for part, value in loop.state().items():
            if not any(part in s and close(value, s[part]) for s in (last, now)):
                problems.append(f"{where}: {part} is neither before nor after")
        known = gradients[max(0, done - 1) : done + 2]
        unclipped = not loop.clips  # which scales one after the other
        for part, value in loop.gradients().items() if unclipped else ():
            if not any(part in g and close(value, g[part]) for g in known):
                problems.append(f"{where}: the gradient of {part} is that of no step")
        done = 0 if done >= STEPS else done
    return problems


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    config.ahead = 0.0
    problems = run(options.count, options.seed, options.workers, lambda text: print(text, flush=True))
    for problem in problems:
        print(problem)
    print(f"{options.count} of each of {', '.join(SIGNALS)}: {len(problems)} wrong")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
