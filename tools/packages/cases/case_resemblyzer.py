# needs: resemblyzer deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import sys
import types

import numpy as np
import torch

for name in ("librosa", "webrtcvad"):  # reads sound files and cuts silence, which is not asked for here
    sys.modules.setdefault(name, types.ModuleType(name))
from resemblyzer import voice_encoder

encoder = voice_encoder.VoiceEncoder("cpu", verbose=False)
mels = torch.from_numpy(np.abs(np.random.default_rng(0).normal(size=(2, 160, 40))).astype(np.float32))
with torch.no_grad():
    out = encoder(mels)
R("embedding", tuple(out.shape), out.sum().item(), (out[0] @ out[1]).item())
