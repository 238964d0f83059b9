"""Running the same small program with PyTorch and with flambeau, and comparing what comes out."""

from __future__ import annotations

import ast
import copy
import gc
import pickle
import re
import warnings

import numpy as np
import pytest

import flambeau


def described(value, lib):
    """A result as plain data: tensors by their repr, dtype, shape, strides and flag, the rest by its repr."""
    if isinstance(value, lib.Tensor):
        return repr(value), str(value.dtype), tuple(value.shape), value.stride(), value.requires_grad
    if type(value) in (tuple, list):
        return type(value)(described(v, lib) for v in value)
    return re.sub("0x[0-9a-f]+", "0x", repr(value)).replace("flambeau", "torch")


def outcome(program: str, lib) -> tuple:
    """What the last expression of ``program`` gives with ``lib`` as torch, or the error that it ends with."""
    *statements, last = ast.parse(program).body
    if not isinstance(last, ast.Expr):
        statements, last = [*statements, last], ast.Expr(ast.Constant(None))
    names = {"torch": lib, "np": np, "copy": copy, "pickle": pickle, "gc": gc, "F": lib.nn.functional, "__name__": "program"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(ast.Module(statements, []), "program", "exec"), names)
            value = eval(compile(ast.fix_missing_locations(ast.Expression(last.value)), "program", "eval"), names)
            return "value", described(value, lib)
        except Exception as error:
            return "error", type(error).__name__, str(error)[:18]


@pytest.fixture
def agree():
    """Asserts that a program gives the same with both: the result, or the class of the error and how it starts."""
    torch = pytest.importorskip("torch")

    def check(program: str) -> None:
        assert outcome(program, flambeau) == outcome(program, torch), program

    return check
