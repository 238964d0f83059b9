"""``python -m torch.distributed.launch``: the old name of torchrun.

Source: https://docs.pytorch.org/docs/stable/distributed.html#launch-utility
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from flambeau.distributed import run as torchrun

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """:func:`flambeau.distributed.run.main`; ``--use-env`` is what it does anyway."""
    words = list(sys.argv[1:] if args is None else args)
    return torchrun.main([word for word in words if word not in ("--use-env", "--use_env")])


if __name__ == "__main__":
    sys.exit(main())
