# needs: pytorch-forecasting lightning pytorch-lightning lightning-utilities torchmetrics deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import warnings

import lightning.pytorch as pl
import numpy as np
import pandas as pd
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
from pytorch_forecasting.data import GroupNormalizer
from pytorch_forecasting.metrics import QuantileLoss

warnings.simplefilter("ignore")
pl.seed_everything(0, verbose=False)
frame = pd.DataFrame({"t": np.tile(np.arange(40), 3), "group": np.repeat(["a", "b", "c"], 40), "y": np.sin(np.arange(120) / 5.0) + np.repeat([1.0, 2.0, 3.0], 40)})
frame["group"] = frame["group"].astype(str)
data = TimeSeriesDataSet(frame, time_idx="t", target="y", group_ids=["group"], max_encoder_length=12, max_prediction_length=4, static_categoricals=["group"],
                         time_varying_known_reals=["t"], time_varying_unknown_reals=["y"], target_normalizer=GroupNormalizer(groups=["group"]), add_relative_time_idx=True)
loader = data.to_dataloader(train=True, batch_size=16, num_workers=0)
model = TemporalFusionTransformer.from_dataset(data, hidden_size=8, attention_head_size=2, dropout=0.1, hidden_continuous_size=4, loss=QuantileLoss(), learning_rate=0.01)
R("parameters", sum(p.numel() for p in model.parameters()))
trainer = pl.Trainer(max_epochs=1, limit_train_batches=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer.fit(model, loader)
R("loss", float(trainer.callback_metrics["train_loss_epoch"]))
