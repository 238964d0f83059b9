"""What it costs to read and write values one at a time, as the loops of a first course do.

    python benchmarks/values.py [--torch /path/to/python/with/torch]

Prints microseconds for one turn of each loop; with ``--torch`` those of PyTorch beside them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time


def programs(torch):
    """By name: a program, and how many turns its loops have."""
    torch.manual_seed(0)
    a, b, c = torch.randn(1000), torch.randn(1000), torch.zeros(1000)
    left, right, product = torch.randn(24, 24), torch.randn(24, 24), torch.zeros(24, 24)
    rows, few = torch.randn(200, 8), torch.randn(4)
    boxes, scores = torch.rand(60, 4) * 50, torch.rand(60)
    boxes[:, 2:] += boxes[:, :2] + 5

    def add_one_by_one():
        for i in range(1000):
            c[i] = a[i] + b[i]

    def product_of_dots():
        for i in range(24):
            for j in range(24):
                product[i, j] = torch.dot(left[i, :], right[:, j])

    def fill():
        for i in range(1000):
            c[i] = i

    def count_up():
        for i in range(1000):
            c[i] += 1

    def recurrence():
        for i in range(1, 1000):
            c[i] = c[i - 1] * 0.5 + a[i]

    def sum_rows():
        return sum(row.sum().item() for row in rows)

    def largest():
        best = a[0].item()
        for x in a:
            if x.item() > best:
                best = x.item()

    def compare():
        return sum(1 for i in range(1000) if a[i] > b[i])

    def small_and_read():
        for _ in range(200):
            (few * few).sum().item()

    def non_maximum_suppression():
        order, kept = scores.argsort(descending=True), []
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        while order.numel() > 0:
            i = order[0]
            kept.append(int(i))
            if order.numel() == 1:
                break
            rest = boxes[order[1:]]
            corner = torch.max(boxes[i, :2], rest[:, :2])
            size = (torch.min(boxes[i, 2:], rest[:, 2:]) - corner).clamp(min=0)
            shared = size[:, 0] * size[:, 1]
            order = order[1:][shared / (area[i] + area[order[1:]] - shared) <= 0.5]
        turns["non_maximum_suppression"] = len(kept)

    turns = {"product_of_dots": 24 * 24, "sum_rows": 200, "small_and_read": 200}
    loops = (
        add_one_by_one,
        product_of_dots,
        fill,
        count_up,
        recurrence,
        sum_rows,
        largest,
        compare,
        small_and_read,
        non_maximum_suppression,
    )
    return {f.__name__: f for f in loops}, turns


def measured(torch) -> dict[str, float]:
    loops, turns = programs(torch)
    found = {}
    for name, program in loops.items():
        times = []
        for _ in range(12):
            start = time.thread_time()  # what other programs do meanwhile does not count
            program()
            times.append(time.thread_time() - start)
        found[name] = min(times[4:]) / turns.get(name, 1000) * 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--torch")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.json:
        import torch

        print(json.dumps(measured(torch)))
        return
    import flambeau

    found, others = measured(flambeau), {}
    if options.torch:
        done = subprocess.run([options.torch, __file__, "--json"], check=True, capture_output=True, text=True)
        others = json.loads(done.stdout)
    for name, own in found.items():
        beside = f"   PyTorch {others[name]:7.2f}   ratio {others[name] / own:.2f}" if name in others else ""
        print(f"{name:26s} {own:8.2f} us{beside}")


if __name__ == "__main__":
    sys.exit(main())
