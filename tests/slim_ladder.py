"""Exports what each rung of the ladder trains, as unmodified PyTorch programs: ``python slim_ladder.py FOLDER TARGET``.

Beside each ``NAME.slim`` lie its argument, ``NAME.npz``, and what flambeau's own kernels compute, ``NAME.want.npy``.
"""

import os
import random
import runpy
import sys
from pathlib import Path


def export(folder, target):
    os.environ["FLAMBEAU_COMPILE_AFTER"] = "0"
    import numpy as np

    import flambeau.compat

    flambeau.compat.install()
    import torch

    sys.argv[1:] = ["3"]
    for script in sorted((Path(__file__).parent.parent / "examples" / "ladder").glob("*.py")):
        names = runpy.run_path(str(script))
        x = names.get("x")
        if not isinstance(x, torch.Tensor) or x.dim() != 2:
            continue  # NumPy alone, and a tour of tensors
        w1, w2 = names.get("w1"), names.get("w2")
        model = names.get("model") or names.get("models") or (lambda x, w1=w1, w2=w2: x.mm(w1).clamp(min=0).mm(w2))
        args = (x, w1, w2) if script.stem == "06_variable_module" else (x,)
        random.seed(0)  # one of them has as many layers as it likes
        torch.export_slim(model, args, folder / f"{script.stem}.slim", targets=[target])
        np.savez(folder / f"{script.stem}.npz", **{str(k): a.detach().numpy() for k, a in enumerate(args)})
        random.seed(0)
        with torch.no_grad():
            np.save(folder / f"{script.stem}.want.npy", model(*args).numpy())


if __name__ == "__main__":
    export(Path(sys.argv[1]), sys.argv[2])
