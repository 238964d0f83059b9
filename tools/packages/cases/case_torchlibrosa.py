# needs: torchlibrosa deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import sys
import types

import numpy as np
import torch

try:
    import librosa
except ImportError:  # only its mel filters are used, which are replaced here by numbers
    librosa = types.ModuleType("librosa")
    librosa.filters = types.SimpleNamespace(mel=lambda sr, n_fft, n_mels, fmin, fmax: np.random.default_rng(0).random((n_mels, n_fft // 2 + 1)))
    from scipy.signal import get_window

    librosa.filters.get_window = lambda window, n, fftbins=True: get_window(window, n, fftbins=fftbins)
    librosa.util = types.SimpleNamespace(pad_center=lambda data, size, **k: np.pad(data, (size - len(data)) // 2))
    sys.modules["librosa"] = librosa
from torchlibrosa.augmentation import SpecAugmentation
from torchlibrosa.stft import LogmelFilterBank, Spectrogram

torch.manual_seed(0)
x = torch.randn(2, 2048)
spectrogram = Spectrogram(n_fft=256, hop_length=128)(x)
R("spectrogram", tuple(spectrogram.shape), spectrogram.mean().item())
logmel = LogmelFilterBank(sr=8000, n_fft=256, n_mels=20)(spectrogram)
R("logmel", logmel.mean().item())
torch.manual_seed(1)
R("augmented", SpecAugmentation(4, 2, 4, 2)(logmel).sum().item())
