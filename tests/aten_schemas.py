"""Writes ``flambeau/library/aten.txt``: PyTorch's schemas of its operators of tensors, and ``implicit.txt``: those that it makes
of others. Needs PyTorch.

    python -m tests.aten_schemas
"""

from __future__ import annotations

import re
from pathlib import Path

FILE = Path(__file__).parent.parent / "flambeau" / "library" / "aten.txt"
IMPLICIT = FILE.parent / "implicit.txt"
_NOT_TENSORS = re.compile(r"\b(t|Dict|Future|Await|AnyClassType|NoneType|Any)\b|\.\.\.")


def schemas() -> list[str]:
    """The schemas, in PyTorch's order of overloads."""
    import torch

    found: dict[str, list[str]] = {}
    for name in sorted(
        {s.name for s in torch._C._jit_get_all_schemas() if s.name.startswith("aten::") and "::_test_" not in s.name}
    ):
        short = name.removeprefix("aten::")
        for overload in torch._C._jit_get_operation(name)[1]:
            schema = torch._C._get_schema(name, overload)
            text = str(schema).removeprefix("aten::")
            if "Tensor" in text and not _NOT_TENSORS.search(text.partition("(")[2]) or short.startswith("sym_"):
                found.setdefault(short, []).append(text)
    return [text for texts in found.values() for text in texts]


def implicit() -> list[str]:
    """The operators that PyTorch makes of others, in all of their overloads."""
    import torch

    made: dict[str, bool] = {}
    for schema in torch._C._jit_get_all_schemas():
        if schema.name.startswith("aten::"):
            full = schema.name + (f".{schema.overload_name}" if schema.overload_name else "")
            try:
                of_others = torch._C._dispatch_has_kernel_for_dispatch_key(full, "CompositeImplicitAutograd")
            except RuntimeError:  # of TorchScript alone
                continue
            made[schema.name[6:]] = made.get(schema.name[6:], True) and of_others
    return sorted(name for name, of_others in made.items() if of_others and name[0] != "_" and name[-1] != "_")


if __name__ == "__main__":
    FILE.write_text("\n".join(schemas()) + "\n", encoding="utf-8")
    IMPLICIT.write_text("\n".join(implicit()) + "\n", encoding="utf-8")
