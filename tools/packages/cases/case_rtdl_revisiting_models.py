# needs: rtdl-revisiting-models deps
import torch
from rtdl_revisiting_models import MLP, FTTransformer, ResNet

torch.manual_seed(0)
x = torch.randn(8, 5)
xc = torch.randint(0, 3, (8, 2))
print(
    "RESULT mlp",
    MLP(d_in=5, d_out=1, n_blocks=2, d_block=16, dropout=0.1)(x).sum().item(),
    ResNet(d_in=5, d_out=1, n_blocks=2, d_block=16, d_hidden=None, d_hidden_multiplier=2.0, dropout1=0.3, dropout2=0.0)(x).sum().item(),
)
m = FTTransformer(n_cont_features=5, cat_cardinalities=[3, 3], d_out=1, **FTTransformer.get_default_kwargs())
opt = m.make_default_optimizer()
for _ in range(2):
    l = (m(x, xc) ** 2).mean()
    opt.zero_grad()
    l.backward()
    opt.step()
    print("RESULT ft", l.item())
