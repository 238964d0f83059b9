import flambeau as torch
from flambeau import Tensor, nn


def mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


generator, critic = mlp(2, 8, 2), mlp(2, 8, 1)
criterion = nn.BCEWithLogitsLoss(reduction="mean")
real = torch.randn(16, 2)
fake: Tensor = generator(torch.randn(16, 2))
loss: Tensor = criterion(critic(real), torch.ones(16, 1)) + criterion(critic(fake.detach()), torch.zeros(16, 1))
loss.backward()
print(loss.item() > 0, next(critic.parameters()).grad is not None)
