"""Docstrings of ops that are made in families, several by one function: each has its own example all the same."""

from __future__ import annotations


def docstring(text: str, page: str, *session: str) -> str:
    r"""``text``, the lines of a session with PyTorch's name for flambeau, and the address of PyTorch's ``page``.

    >>> docstring("Twice.", "mul", ">>> torch.tensor(2) * 2", "tensor(4)").splitlines()[-3:]
    ['tensor(4)', '', 'Source: https://docs.pytorch.org/docs/stable/generated/torch.mul.html']
    """
    lines = (text, "", ">>> import flambeau as torch", *session, "")
    return "\n".join((*lines, f"Source: https://docs.pytorch.org/docs/stable/generated/torch.{page}.html"))
