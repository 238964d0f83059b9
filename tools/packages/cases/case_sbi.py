# needs: sbi pyro-ppl zuko nflows deps
import torch
from sbi.inference import NPE
from sbi.utils import BoxUniform

torch.manual_seed(0)
prior = BoxUniform(low=-2 * torch.ones(2), high=2 * torch.ones(2))


def sim(th):
    return 1.0 + th + torch.randn(th.shape) * 0.1


th = prior.sample((200,))
x = sim(th)
inf = NPE(prior, density_estimator="maf", show_progress_bars=False)
de = inf.append_simulations(th, x).train(max_num_epochs=3, training_batch_size=50)
post = inf.build_posterior(de)
xo = torch.tensor([[1.0, 1.2]])
print("RESULT logp", post.set_default_x(xo).log_prob(torch.tensor([[0.0, 0.2]])).item())
s = post.sample((50,), show_progress_bars=False)
print("RESULT s", s.mean(0).tolist())
