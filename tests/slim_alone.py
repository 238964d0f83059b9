"""Runs slim models in a process that has NumPy and Python's library alone: ``python -I -S slim_alone.py PACKAGES FOLDER TARGET``.

For each ``NAME.slim`` of the folder the arguments are in ``NAME.npz``, by their place; the results go to ``NAME.out.npz``.
"""

import sys
from pathlib import Path


def run(packages, folder, target):
    sys.path.insert(0, packages)
    import numpy as np

    import flambeau_slim

    def flat(x):
        """The arrays of nested results."""
        if isinstance(x, np.ndarray):
            return [x]
        parts = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ()
        return [a for part in parts for a in flat(part)]

    for path in sorted(folder.glob("*.slim")):
        model = flambeau_slim.load(path, target=target)
        with np.load(path.with_suffix(".npz")) as given:
            arguments = [given[str(k)] for k in range(len(given))]
        results = flat(model(*arguments))
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(results, flat(model(*arguments)), strict=True))
        np.savez(path.with_suffix(".out.npz"), **{str(k): a for k, a in enumerate(results)})
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert loaded.isdisjoint({"flambeau", "llvmlite", "ml_dtypes"}), loaded


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
