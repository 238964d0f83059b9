# needs: pytorch-ignite deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import EarlyStopping, LRScheduler
from ignite.metrics import Accuracy, ConfusionMatrix, Loss, Precision, RunningAverage
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(64, 6)
data = TensorDataset(x, (x.sum(1) > 0).long())
model = torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.ReLU(), torch.nn.Linear(12, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
trainer = create_supervised_trainer(model, optimizer, torch.nn.CrossEntropyLoss())
evaluator = create_supervised_evaluator(model, metrics={"accuracy": Accuracy(), "loss": Loss(torch.nn.CrossEntropyLoss()), "precision": Precision(), "cm": ConfusionMatrix(2)})
RunningAverage(output_transform=lambda o: o).attach(trainer, "running")
trainer.add_event_handler(Events.EPOCH_COMPLETED, LRScheduler(torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)))


@trainer.on(Events.EPOCH_COMPLETED)
def evaluate(engine):
    metrics = evaluator.run(DataLoader(data, 32)).metrics
    R(f"epoch{engine.state.epoch}", metrics["accuracy"], metrics["loss"], metrics["precision"].sum().item(), metrics["cm"].tolist(), float(engine.state.metrics["running"]))


evaluator.add_event_handler(Events.COMPLETED, EarlyStopping(3, lambda e: -e.state.metrics["loss"], trainer))
trainer.run(DataLoader(data, 16, shuffle=True), max_epochs=3)
