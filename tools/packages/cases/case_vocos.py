# needs: vocos encodec torchaudio deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from vocos.feature_extractors import MelSpectrogramFeatures
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone
from vocos.pretrained import Vocos

torch.manual_seed(0)
model = Vocos(MelSpectrogramFeatures(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20), VocosBackbone(input_channels=20, dim=24, intermediate_dim=48, num_layers=2),
              ISTFTHead(dim=24, n_fft=256, hop_length=64)).eval()
with torch.no_grad():
    out = model(torch.randn(1, 2048))
R("vocos", tuple(out.shape), out.std().item())
