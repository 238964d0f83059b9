"""torchvision's data sets, synthetic; and its pretrained models, untrained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.books.standins import pictures

COUNT = {True: 48, False: 24}  # pictures for training, for testing

_CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
_THINGS = "airplane automobile bird cat deer dog frog horse ship truck".split()
_DIGITS = "0 1 2 3 4 5 6 7 8 9".split()


def install() -> None:
    """Replaces what would be downloaded."""
    import torchvision
    from torchvision.models._api import WeightsEnum

    for name, side, channels, classes in (
        ("MNIST", 28, 1, _DIGITS),
        ("FashionMNIST", 28, 1, _CLOTHES),
        ("KMNIST", 28, 1, _DIGITS),
        ("CIFAR10", 32, 3, _THINGS),
        ("CIFAR100", 32, 3, [str(n) for n in range(100)]),
    ):
        setattr(torchvision.datasets, name, _dataset(name, side, channels, classes))
    WeightsEnum.verify = classmethod(lambda cls, weights: None)
    torchvision.io.read_image = torchvision.io.image.read_image = _read_image


def _read_image(path: Any, mode: Any = None) -> Any:
    """A picture as (C, H, W) of uint8, without torchvision's native decoder, which not every build of it has."""
    import numpy as np
    import torch
    from PIL import Image

    picture = Image.open(path)
    name = getattr(mode, "name", "UNCHANGED")
    picture = picture if name == "UNCHANGED" else picture.convert({"GRAY": "L", "RGB_ALPHA": "RGBA"}.get(name, name))
    values = np.asarray(picture)
    return torch.from_numpy(np.ascontiguousarray(values[None] if values.ndim == 2 else values.transpose(2, 0, 1)))


def _dataset(name: str, side: int, channels: int, classes: list[str]) -> type:
    import torch
    from PIL import Image
    from torchvision.datasets import VisionDataset

    def init(
        self: Any,
        root: Any = ".",
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        VisionDataset.__init__(self, str(root), transform=transform, target_transform=target_transform)
        data, targets = pictures.arrays(COUNT[train], side, channels, len(classes), seed=int(train))
        self.train, self.classes = train, classes
        self.class_to_idx = {word: number for number, word in enumerate(classes)}
        self.data = torch.from_numpy(data[..., 0]) if channels == 1 else data
        self.targets = torch.from_numpy(targets) if channels == 1 else targets.tolist()

    def item(self: Any, index: int) -> tuple[Any, Any]:
        data = self.data[index]
        picture: Any = Image.fromarray(data.numpy() if channels == 1 else data)
        target: Any = int(self.targets[index])
        picture = self.transform(picture) if self.transform else picture
        return picture, self.target_transform(target) if self.target_transform else target

    members = {"__init__": init, "__getitem__": item, "__len__": lambda self: len(self.data)}
    return type(name, (VisionDataset,), members)
