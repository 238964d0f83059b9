import flambeau as torch
import flambeau.nn.functional as F
from flambeau import Tensor, nn, optim


class Net(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, 16)
        self.drop = nn.Dropout(0.1)
        self.fc2 = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.fc1(x))
        out: Tensor = self.fc2(self.drop(x))
        return out


def train(steps: int) -> float:
    torch.manual_seed(0)
    net = Net(4, 3)
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
    last = 0.0
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        last = float(loss.item())
    return last


if __name__ == "__main__":
    print(train(3) > 0)
