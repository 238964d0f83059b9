"""Trainings that go on where they were stopped, with the bits that they would have had:
``from flambeau.checkpoint import Checkpoints``.

>>> import tempfile
>>> import flambeau as torch
>>> from flambeau.checkpoint import Checkpoints, Resumable
>>> def train(folder, until):
...     torch.manual_seed(0)
...     model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
...     optimizer = torch.optim.Adam(model.parameters())
...     data = torch.utils.data.TensorDataset(torch.randn(20, 2), torch.randn(20, 1))
...     loader = Resumable(torch.utils.data.DataLoader(data, batch_size=4, shuffle=True))
...     with Checkpoints(folder, keep=2, model=model, optimizer=optimizer, loader=loader) as checkpoints:
...         step = checkpoints.resume()
...         while step < until:
...             for x, y in loader:
...                 optimizer.zero_grad()
...                 torch.nn.functional.mse_loss(model(x), y).backward()
...                 optimizer.step()
...                 step += 1
...                 if step % 3 == 0 or step == until:
...                     checkpoints.save(step)
...                 if step == until:
...                     break
...     return [p.tolist() for p in model.parameters()]
>>> with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
...     whole = train(one, 12)
...     half = train(other, 7)
...     whole == train(other, 12)
True

A checkpoint holds the ``state_dict`` of everything that was named, the states of the random streams (flambeau's, Python's and
NumPy's), and the step. It is written by another thread while the training goes on, appears whole or not at all, and the newest
``keep`` stay.
"""

from flambeau.checkpoint.folder import Checkpoints
from flambeau.checkpoint.position import Resumable
from flambeau.checkpoint.streams import random_state, set_random_state

__all__ = ["Checkpoints", "Resumable", "random_state", "set_random_state"]
