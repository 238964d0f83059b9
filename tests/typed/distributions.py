import flambeau as torch
from flambeau.distributions import Categorical, Normal, kl_divergence

normal = Normal(torch.zeros(2), torch.ones(2))
sample = normal.rsample((3,))
print(sample.shape, normal.log_prob(sample).sum().item() < 0, kl_divergence(normal, Normal(0.0, 2.0)).shape)
policy = Categorical(logits=torch.zeros(4))
action = policy.sample()
print(0 <= int(action.item()) < 4, policy.entropy().item() > 1)
