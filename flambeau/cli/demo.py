"""``flambeau demo``: a small convolutional net learns to read handwritten digits."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import flambeau as torch
from flambeau import nn
from flambeau.cli.picture import picture_path, save_confusion
from flambeau.cli.text import Progress, table
from flambeau.utils.data import DataLoader, TensorDataset

TEST_IMAGES = 360  # of 1,797: a fifth


class DigitNet(nn.Module):
    """Two convolutions with batch normalisation, one pooling, two linear layers: (N, 1, 8, 8) to (N, 10) scores."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.classifier(self.features(images))
        return scores


def main(arguments: Sequence[str]) -> int:
    """``flambeau demo [--epochs N] [--seed N] [--out FILE] [--save FILE]``"""
    parser = argparse.ArgumentParser(
        prog="flambeau demo",
        description="Train a classifier on the UCI handwritten digits (1,797 images of 8x8) that come with flambeau, "
        "test it on a fifth of them that it has not seen, and save it.",
    )
    parser.add_argument("--epochs", type=int, default=15, help="passes over the training images (default: 15)")
    parser.add_argument("--seed", type=int, default=0, help="for the split, the weights and the order (default: 0)")
    parser.add_argument("--out", metavar="FILE", type=picture_path, help="draw the confusion matrix into FILE: .html, .svg or .png")
    parser.add_argument("--save", metavar="FILE", default="digits.pt", help="where the model goes (default: digits.pt)")
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs: expected at least 1, got {options.epochs}")
    if not Path(options.save).parent.is_dir():
        parser.error(f"--save: there is no folder {Path(options.save).parent}")

    torch.manual_seed(options.seed)
    train, test = load_digits()
    model = DigitNet()
    print(f"{len(train)} images to learn from, {len(test)} to be tested on; {_count(model)} weights")
    fit(model, train, options.epochs)

    images, labels = test.tensors
    answers = predict(model, images)
    counts = confusion(labels.tolist(), answers.tolist())
    right = sum(counts[i][i] for i in range(10))
    result = f"{right} of {len(test)} test images read correctly: {right / len(test):.1%}"
    text = table(["is \\ read as", *map(str, range(10))], _rows(counts), right=range(1, 11))
    print(f"\n{text}\n\n{result}")

    torch.save(model.state_dict(), options.save)
    again = DigitNet()
    again.load_state_dict(torch.load(options.save))
    if not torch.equal(predict(again, images), answers):
        raise RuntimeError(f"the model read back from {options.save} answers differently from the one saved")
    print(f"Model: {options.save} (read back: the same answers)")

    if options.out:
        save_confusion(options.out, f"Handwritten digits: {right / len(test):.1%} right", counts, text)
        print(f"Confusion matrix: {options.out}")
    return 0


def load_digits() -> tuple[TensorDataset, TensorDataset]:
    """The digits as (N, 1, 8, 8) images in [0, 1] and int64 labels, shuffled, split into training and test sets."""
    with np.load(Path(__file__).parent / "data" / "digits.npz") as file:
        images = torch.from_numpy(file["images"].astype(np.float32)).unsqueeze(1) / 16
        labels = torch.from_numpy(file["labels"].astype(np.int64))
    order = torch.randperm(len(labels))
    images, labels = images[order], labels[order]
    return (
        TensorDataset(images[TEST_IMAGES:], labels[TEST_IMAGES:]),
        TensorDataset(images[:TEST_IMAGES], labels[:TEST_IMAGES]),
    )


def fit(model: nn.Module, data: TensorDataset, epochs: int) -> None:
    """Train with Adam on shuffled batches of 32, the learning rate falling along a cosine."""
    loader = DataLoader(data, batch_size=32, shuffle=True)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    progress = Progress()
    model.train()
    for epoch in range(epochs):
        start, total, right = time.perf_counter(), 0.0, 0
        for i, (images, labels) in enumerate(loader):
            scores = model(images)
            loss = criterion(scores, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            right += int((scores.argmax(dim=1) == labels).sum().item())
            progress.show(f"epoch {epoch + 1:2}/{epochs}  batch {i + 1}/{len(loader)}  loss {loss.item():.4f}")
        scheduler.step()
        progress.done(
            f"epoch {epoch + 1:2}/{epochs}  loss {total / len(data):.4f}  training accuracy {right / len(data):.1%}  "
            f"{time.perf_counter() - start:.1f} s"
        )


def predict(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The class with the highest score for each image."""
    model.eval()
    with torch.no_grad():
        scores: torch.Tensor = model(images)
    return scores.argmax(dim=1)


def confusion(labels: Sequence[int], answers: Sequence[int]) -> list[list[int]]:
    """How often digit i (row) was read as digit j (column)."""
    counts = [[0] * 10 for _ in range(10)]
    for label, answer in zip(labels, answers, strict=True):
        counts[label][answer] += 1
    return counts


def _rows(counts: Sequence[Sequence[int]]) -> list[list[str]]:
    return [[str(i), *(str(count) if count else "." for count in row)] for i, row in enumerate(counts)]


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
