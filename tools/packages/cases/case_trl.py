# needs: trl transformers accelerate datasets deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from trl.trainer.utils import entropy_from_logits, selective_log_softmax

torch.manual_seed(0)
logits = torch.randn(2, 5, 11)
R("entropy", entropy_from_logits(logits).sum().item())
R("log_softmax", selective_log_softmax(logits, torch.randint(0, 11, (2, 5))).sum().item())
