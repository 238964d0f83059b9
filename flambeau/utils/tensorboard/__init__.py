"""``torch.utils.tensorboard``: what a training run tells of itself, in files that TensorBoard shows.

They are written without TensorBoard, so that it need not be installed where programs are trained.

Source: https://docs.pytorch.org/docs/stable/tensorboard.html
"""

from __future__ import annotations

from flambeau.utils.tensorboard.events import RecordWriter
from flambeau.utils.tensorboard.writer import FileWriter, SummaryWriter

__all__ = ["FileWriter", "RecordWriter", "SummaryWriter"]
