# needs: speechbrain torchaudio deps
import torch
from speechbrain.lobes.features import MFCC, Fbank
from speechbrain.lobes.models.CRDNN import CRDNN
from speechbrain.nnet.losses import ctc_loss

torch.manual_seed(0)
w = torch.randn(2, 8000)
f = Fbank()(w)
print("RESULT fb", f.mean().item(), tuple(f.shape))
print("RESULT mf", MFCC()(w).mean().item())
m = CRDNN(input_shape=f.shape, cnn_blocks=1, cnn_channels=(8,), rnn_layers=1, rnn_neurons=16, dnn_blocks=1, dnn_neurons=16)
m.eval()
print("RESULT crdnn", m(f).sum().item())
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

e = ECAPA_TDNN(80, channels=[16] * 5, lin_neurons=8, attention_channels=8)
x = torch.randn(2, 50, 80)
o = e(x, torch.ones(2))
o.sum().backward()
print("RESULT ecapa", o.sum().item(), e.fc.conv.weight.grad.norm().item())
l = ctc_loss(torch.randn(2, 20, 6).log_softmax(-1), torch.tensor([[1, 2, 3], [2, 3, 0]]), torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.67]), blank_index=0)
print("RESULT ctc", l.item())
