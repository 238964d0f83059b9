import flambeau as torch
from flambeau import Tensor, nn


class Block(nn.Module):
    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.AdaptiveAvgPool2d((1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + x
        pooled: Tensor = self.pool(y)
        return pooled.flatten(1)


blocks = nn.ModuleList([Block(4) for _ in range(2)])
x = torch.ones(1, 4, 8, 8)
for block in blocks:
    out: Tensor = block(x)
    print(tuple(out.shape))

larger: Tensor = nn.functional.interpolate(x, size=(12, 12))
twice: Tensor = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")
print(tuple(larger.shape), tuple(twice.shape))
