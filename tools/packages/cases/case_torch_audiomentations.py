# needs: torch-audiomentations torchaudio julius librosa deps
import torch
from torch_audiomentations import AddColoredNoise, Compose, Gain, LowPassFilter, PolarityInversion, Shift

torch.manual_seed(0)
import random

random.seed(0)
a = Compose(
    [
        Gain(min_gain_in_db=-15.0, max_gain_in_db=5.0, p=0.5, output_type="dict"),
        PolarityInversion(p=0.5, output_type="dict"),
        AddColoredNoise(p=1.0, output_type="dict"),
        LowPassFilter(p=1.0, output_type="dict"),
        Shift(p=1.0, output_type="dict"),
    ],
    output_type="dict",
)
x = torch.rand(4, 2, 8000) * 2 - 1
o = a(x, sample_rate=16000).samples
print("RESULT out", o.sum().item(), o.std().item())
