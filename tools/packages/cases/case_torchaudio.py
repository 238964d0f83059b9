# needs: torchaudio deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import torch
import torchaudio.functional as AF
import torchaudio.transforms as T

torch.manual_seed(0)
x = torch.randn(2, 8000)
R("mel", T.MelSpectrogram(8000, n_fft=256, n_mels=32)(x).mean().item())
R("mfcc", T.MFCC(8000, n_mfcc=13, melkwargs={"n_fft": 256, "n_mels": 32})(x).std().item())
R("resample", AF.resample(x, 8000, 6000).std().item())
R("griffin", T.GriffinLim(n_fft=256, n_iter=4, rand_init=False)(T.Spectrogram(256)(x)).std().item())
R("db", T.AmplitudeToDB()(T.Spectrogram(256)(x)).mean().item())
