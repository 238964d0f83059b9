# needs: foolbox torchvision deps

import foolbox as fb
import torch
from torch import nn

torch.manual_seed(0)
m = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)).eval()
f = fb.PyTorchModel(m, bounds=(0, 1), device="cpu")
x = torch.rand(6, 3, 8, 8)
y = m(x).argmax(1)
print("RESULT acc", fb.accuracy(f, x, y))
for a in [
    fb.attacks.FGSM(),
    fb.attacks.LinfPGD(steps=5, random_start=False),
    fb.attacks.L2DeepFoolAttack(steps=5),
    fb.attacks.L2CarliniWagnerAttack(steps=5, binary_search_steps=2),
    fb.attacks.DDNAttack(steps=5),
]:
    raw, cl, ok = a(f, x, y, epsilons=[0.01, 0.1])
    print("RESULT", type(a).__name__, ok.float().mean(-1).tolist(), (cl[1] - x).abs().sum().item())
