# needs: asteroid-filterbanks deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from asteroid_filterbanks import STFTFB, Decoder, Encoder, FreeFB, ParamSincFB

torch.manual_seed(0)
x = torch.randn(1, 1, 2000)
for name, fb in (("free", FreeFB(16, 32, stride=16)), ("stft", STFTFB(64, 64, stride=32)), ("sinc", ParamSincFB(16, 33, stride=16))):
    R(name, Encoder(fb)(x).std().item())
fb = STFTFB(64, 64, stride=32)
R("decoded", Decoder(fb)(Encoder(fb)(x), length=2000).std().item())
