# needs: demucs julius torchaudio deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs

torch.manual_seed(0)
net = Demucs(["drums", "other"], audio_channels=1, channels=4, depth=2, lstm_layers=1, samplerate=8000, normalize=False).eval()
with torch.no_grad():
    R("demucs", net(torch.randn(1, 1, 2000)).std().item())
torch.manual_seed(0)
hybrid = HDemucs(["drums", "other"], audio_channels=1, channels=8, samplerate=8000).eval()
with torch.no_grad():
    R("hybrid", hybrid(torch.randn(1, 1, 16384)).std().item())
