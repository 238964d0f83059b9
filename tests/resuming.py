"""A training that can be stopped anywhere: ``python -m tests.resuming FOLDER`` trains to the last step and prints its digest.

``python -m tests.resuming --kills 30`` kills such trainings at random moments until one has come to its end, and compares the
digest with that of a training that was left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import flambeau as torch
from flambeau import nn
from flambeau.checkpoint import Checkpoints, Resumable
from flambeau.utils.data import DataLoader, Dataset

STEPS = 100


class Noisy(Dataset):
    """Samples that are changed by every random stream there is."""

    def __init__(self, n: int = 90) -> None:
        generator = torch.Generator().manual_seed(7)
        self.x = torch.randn(n, 6, generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.x[i] + 0.1 * torch.rand(6) + random.random() / 10 + float(np.random.rand()) / 10
        return x, x.sum().reshape(1)


class Training:
    """A net with dropout and running statistics, an optimizer with momenta, a schedule, a scaler and a shuffled loader."""

    def __init__(self, workers: int = 0, generator: bool = False, told: bool = False) -> None:
        self.told = told
        torch.manual_seed(1)
        random.seed(2)
        np.random.seed(3)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2, amsgrad=True)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, 1e-1, total_steps=STEPS)
        self.scaler = torch.amp.GradScaler("cpu", growth_interval=7)
        own = torch.Generator().manual_seed(4) if generator else None
        self.loader = Resumable(DataLoader(Noisy(), batch_size=8, shuffle=True, num_workers=workers, generator=own, drop_last=True))

    @property
    def parts(self) -> dict:
        return {name: vars(self)[name] for name in ("model", "optimizer", "scheduler", "scaler", "loader")}

    def run(self, checkpoints: Checkpoints | None, until: int, every: int, start: int = 0) -> int:
        step = start
        while step < until:
            for x, y in self.loader:
                loss = nn.functional.mse_loss(self.model(x), y)
                self.optimizer.zero_grad()
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.scheduler.step()
                step += 1
                if self.told:
                    print(step, flush=True)
                if checkpoints is not None and (step % every == 0 or step == until):
                    checkpoints.save(step)
                if step == until:
                    break
        return step

    def digest(self) -> str:
        """Of all weights, momenta and random streams."""
        found = hashlib.sha256()
        momenta = [v for state in self.optimizer.state.values() for v in state.values()]
        for t in (*self.model.state_dict().values(), *momenta, torch.rand(3)):
            found.update(np.asarray(t.detach().numpy()).tobytes())
        found.update(
            repr(
                (random.random(), np.random.rand(), self.scaler.get_scale(), self.scheduler.get_last_lr(), self.loader.epoch)
            ).encode()
        )
        return found.hexdigest()


def train(folder: str, until: int = STEPS, every: int = 3, workers: int = 0, generator: bool = False, told: bool = False) -> str:
    """Goes on from the newest checkpoint of ``folder`` to step ``until``; ``told``: prints each step."""
    training = Training(workers, generator, told)
    with Checkpoints(folder, keep=2, **training.parts) as checkpoints:
        training.run(checkpoints, until, every, checkpoints.resume())
    return training.digest()


def killed(folder: str, kills: int, seed: int) -> tuple[str, int]:
    """The digest of a training that is killed so many times at random moments, and how often it was."""
    chance = random.Random(seed)
    done = 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.resuming", folder], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
        )
        assert process.stdout is not None
        if done < kills:
            for _ in range(chance.randint(1, max(2, STEPS // kills))):
                process.stdout.readline()
            time.sleep(chance.random() * 0.01)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                done += 1
        rest = process.stdout.read()
        process.stdout.close()
        if process.wait() == 0:
            return rest.split()[-1], done
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the training failed with status {process.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.kills is None:
        print(train(options.folder, told=True))
        return
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        want = train(one)
        digest, done = killed(other, options.kills, options.seed)
    print(f"killed {done} times: {'the same bits' if digest == want else 'OTHER BITS'}")
    sys.exit(digest != want)


if __name__ == "__main__":
    main()
