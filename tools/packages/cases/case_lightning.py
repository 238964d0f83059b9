# needs: lightning lightning-utilities torchmetrics deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import tempfile
import warnings

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

warnings.simplefilter("ignore")


class Net(L.LightningModule):
    def __init__(self, width=16, lr=1e-2):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Linear(8, width), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(width, 3))
        self.accuracy = MulticlassAccuracy(3)

    def training_step(self, batch, index):
        x, y = batch
        loss = torch.nn.functional.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, index):
        x, y = batch
        logits = self.net(x)
        self.accuracy(logits, y)
        self.log("val_acc", self.accuracy)
        self.log("val_loss", torch.nn.functional.cross_entropy(logits, y), prog_bar=True)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)}


L.seed_everything(1, verbose=False)
x = torch.randn(96, 8)
data = TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long())
with tempfile.TemporaryDirectory() as folder:
    model = Net()
    saver = ModelCheckpoint(monitor="val_loss")
    trainer = L.Trainer(max_epochs=3, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, logger=CSVLogger(folder), default_root_dir=folder,
                        callbacks=[saver, EarlyStopping("val_loss", patience=5), LearningRateMonitor()], gradient_clip_val=1.0, log_every_n_steps=1)
    trainer.fit(model, DataLoader(data, 16, shuffle=True), DataLoader(data, 32))
    R("fit", *(float(trainer.callback_metrics[k]) for k in ("train_loss", "val_loss", "val_acc")), trainer.global_step)
    R("best", float(saver.best_model_score))
    again = Net.load_from_checkpoint(saver.best_model_path)
    R("again", again.hparams.width, sum(p.sum().item() for p in again.parameters()))
    R("validate", *trainer.validate(again, DataLoader(data, 32), verbose=False)[0].values())
fabric = L.Fabric(accelerator="cpu")
net = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
net, optimizer = fabric.setup(net, optimizer)
loss = net(torch.ones(3, 4)).pow(2).mean()
fabric.backward(loss)
optimizer.step()
R("fabric", loss.item(), net.weight.sum().item())
