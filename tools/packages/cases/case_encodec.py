# needs: encodec torchaudio deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from encodec import EncodecModel
from encodec.modules import SEANetDecoder, SEANetEncoder
from encodec.quantization import ResidualVectorQuantizer

torch.manual_seed(0)
encoder = SEANetEncoder(dimension=16, n_filters=4, ratios=[4, 2], lstm=1)
decoder = SEANetDecoder(dimension=16, n_filters=4, ratios=[4, 2], lstm=1)
quantizer = ResidualVectorQuantizer(dimension=16, n_q=4, bins=32)
model = EncodecModel(encoder, decoder, quantizer, target_bandwidths=[1.5], sample_rate=8000, channels=1, segment=None).eval()
audio = torch.randn(1, 1, 1600)
with torch.no_grad():
    frames = model.encode(audio)
    R("codes", tuple(frames[0][0].shape), frames[0][0].float().mean().item())
    R("decoded", model.decode(frames).std().item())
model.train()
out, codes, penalty = (lambda q: (q.quantized, q.codes, q.penalty))(quantizer(encoder(audio), 100))
R("train", out.std().item(), penalty.item())
