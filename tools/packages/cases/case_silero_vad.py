# needs: silero-vad deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import importlib.util
import os

import numpy as np
import torch

folder = os.path.join(os.path.dirname(importlib.util.find_spec("silero_vad").origin), "data")
R("files", sorted(n for n in os.listdir(folder) if n.endswith((".jit", ".onnx", ".safetensors", ".pt"))))
t = torch.arange(16000) / 16000
audio = 0.4 * torch.sin(2 * np.pi * 150 * t) * (1 + torch.sin(2 * np.pi * 4 * t))
model = torch.jit.load(os.path.join(folder, "silero_vad.jit"), map_location="cpu")
model.eval()
model.reset_states()
with torch.no_grad():
    for i in range(4):
        R(f"chunk{i}", model(audio[i * 512 : (i + 1) * 512][None], 16000).item())
