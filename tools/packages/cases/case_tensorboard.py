# needs: deps
# about: tensorboard
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import glob
import os
import tempfile

import torch
from torch.utils.tensorboard import SummaryWriter

torch.manual_seed(0)
with tempfile.TemporaryDirectory() as folder:
    writer = SummaryWriter(folder)
    for i in range(5):
        writer.add_scalar("loss", torch.tensor(1.0 / (i + 1)), i)
    writer.add_scalars("both", {"a": 1.0, "b": 2.0}, 0)
    writer.add_histogram("weights", torch.randn(100), 0)
    writer.add_image("image", torch.rand(3, 8, 8), 0)
    writer.add_text("text", "hello", 0)
    writer.add_hparams({"lr": 0.1}, {"accuracy": 0.9})
    writer.add_embedding(torch.randn(4, 3), metadata=["a", "b", "c", "d"])
    writer.add_pr_curve("pr", torch.tensor([0, 1, 1]), torch.tensor([0.1, 0.8, 0.6]), 0)
    try:
        writer.add_graph(torch.nn.Linear(2, 2), torch.randn(1, 2))
        R("graph", True)
    except Exception as error:
        R("graph", type(error).__name__, str(error)[:150])
    writer.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(folder)
    events.Reload()
    R("tags", {k: v for k, v in sorted(events.Tags().items()) if v and k != "graph"})
    R("scalars", *(e.value for e in events.Scalars("loss")))
    R("files", len(glob.glob(os.path.join(folder, "events*"))))
