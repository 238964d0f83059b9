"""Writes ``flambeau/library/aten.txt``: PyTorch's schemas of its operators of tensors. Needs PyTorch.

    python -m tests.aten_schemas
"""

from __future__ import annotations

import re
from pathlib import Path

FILE = Path(__file__).parent.parent / "flambeau" / "library" / "aten.txt"
_NOT_TENSORS = re.compile(r"\b(t|Dict|Future|Await|AnyClassType|NoneType|Any)\b|\.\.\.")


def schemas() -> list[str]:
    """The schemas, in PyTorch's order of overloads."""
    import torch

    found: dict[str, list[str]] = {}
    for name in sorted({s.name for s in torch._C._jit_get_all_schemas() if s.name.startswith("aten::") and "::_test_" not in s.name}):
        short = name.removeprefix("aten::")
        for overload in torch._C._jit_get_operation(name)[1]:
            schema = torch._C._get_schema(name, overload)
            text = str(schema).removeprefix("aten::")
            if "Tensor" in text and not _NOT_TENSORS.search(text) or short.startswith("sym_"):
                found.setdefault(short, []).append(text)
    return [text for texts in found.values() for text in texts]


if __name__ == "__main__":
    FILE.write_text("\n".join(schemas()) + "\n", encoding="utf-8")
