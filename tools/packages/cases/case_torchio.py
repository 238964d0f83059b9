# needs: torchio deps
import torch
import torchio as tio

torch.manual_seed(0)
s = tio.Subject(t1=tio.ScalarImage(tensor=torch.rand(1, 16, 16, 16)), l=tio.LabelMap(tensor=(torch.rand(1, 16, 16, 16) > 0.5).int()))
for t in (tio.ZNormalization(), tio.RandomFlip(axes=(0, 1), p=1), tio.CropOrPad(12), tio.RandomNoise(), tio.RandomAffine(), tio.RandomBlur()):
    torch.manual_seed(1)
    o = t(s)
    print("RESULT", type(t).__name__, o.t1.data.double().sum().item(), o.l.data.double().sum().item())
