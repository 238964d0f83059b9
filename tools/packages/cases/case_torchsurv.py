# needs: torchsurv torchmetrics lightning-utilities deps
import torch
from torchsurv.loss import cox, weibull
from torchsurv.metrics.auc import Auc
from torchsurv.metrics.cindex import ConcordanceIndex

torch.manual_seed(0)
h = torch.randn(64, requires_grad=True)
e = torch.randint(0, 2, (64,)).bool()
t = torch.rand(64) * 100 + 1
l = cox.neg_partial_log_likelihood(h, e, t)
l.backward()
print("RESULT cox", l.item(), h.grad.norm().item())
lp = torch.randn(64, 2, requires_grad=True)
l = weibull.neg_log_likelihood_weibull(lp, e, t)
l.backward()
print("RESULT wei", l.item(), lp.grad.norm().item())
c = ConcordanceIndex()
print("RESULT c", c(h.detach(), e, t).item(), c.confidence_interval().tolist())
a = Auc()
print("RESULT auc", a(h.detach(), e, t).mean().item())
