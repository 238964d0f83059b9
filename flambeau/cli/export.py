"""``flambeau export``: a model as a file that runs where there is NumPy and nothing else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.export.dims import Dim
from flambeau.serve.config import ModelConfig, ModelError, TensorSpec, parse_spec
from flambeau.serve.loaders import load
from flambeau.serve.protocol import DATATYPES


def main(arguments: Sequence[str]) -> int:
    """``flambeau export MODEL --factory MODULE:FUNCTION --input NAME:DATATYPE:SIZES [...] --out FILE``,
    ``flambeau export A.slim --out A.onnx``"""
    parser = argparse.ArgumentParser(
        prog="flambeau export",
        description="Write a model to a .slim file: weights and machine code, which the one-file module flambeau_slim runs with NumPy alone. "
        "With --out NAME.o a library for C, and its header NAME.h. Of a .slim file it makes one of ONNX's.",
        epilog="example: flambeau export digits.pt --factory flambeau.cli.demo:DigitNet --input images:FP32:-1x1x8x8 --out digits.slim. "
        "docs/slim.md tells the rest.",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="a file of weights, an exported program, or a .slim file")
    add("--factory", metavar="MODULE:FUNCTION", help="what makes the module that weights are for, for example shop.nets:make")
    add(
        "--input",
        action="append",
        default=[],
        metavar="NAME:DATATYPE:SIZES",
        help="an input, in the order of the model's arguments; -1 is any size, the same in all places",
    )
    add("--max-size", type=int, default=32, metavar="N", help="the largest size that -1 stands for (default: 32)")
    add(
        "--target",
        action="append",
        metavar="TARGET",
        help="x86-64-v4, x86-64-v3, x86-64-v2 or aarch64 (default: the levels of x86-64; of a library x86-64-v2)",
    )
    add("--out", type=Path, required=True, metavar="FILE", help="where the model goes")
    options = parser.parse_args(arguments)
    if options.model.suffix == ".slim":
        if options.out.suffix != ".onnx" or options.input or options.factory or options.target:
            parser.error(
                "of a .slim file one of ONNX's is made, and nothing else is to be said: flambeau export model.slim --out model.onnx"
            )
        return _to_onnx(options.model, options.out)
    if not options.input:
        parser.error("give the model's inputs: --input NAME:DATATYPE:SIZES")
    try:
        specs = [parse_spec(text) for text in options.input]
        if any(spec.datatype is None or spec.shape is None for spec in specs):
            raise ValueError("a model is exported for known inputs: give their names, datatypes and sizes")
    except ValueError as error:
        parser.error(f"--input: {error}")
    if options.out.suffix == ".o" and len(options.target or ()) > 1:
        parser.error("--target: a library is for one kind of machine")
    if options.max_size < 2:
        parser.error(f"--max-size: expected at least 2, got {options.max_size}")
    try:
        model = load(options.model, ModelConfig(factory=options.factory)).call
        size = Dim("size", min=1, max=options.max_size)
        args, free = (
            tuple(map(_example, specs)),
            tuple({d: size for d, n in enumerate(spec.shape or ()) if n == -1} for spec in specs),
        )
        shapes = free if any(free) else None
        if options.out.suffix == ".o":
            torch.export_c(model, args, options.out, dynamic_shapes=shapes, target=(options.target or ["x86-64-v2"])[0])
            told = f"a library, with the header {options.out.with_suffix('.h')}"
        else:
            told = f"digest {torch.export_slim(model, args, options.out, dynamic_shapes=shapes, targets=options.target)}"
    except (ModelError, ValueError, RuntimeError) as error:
        print(f"flambeau export: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, {told}")
    return 0


def _example(spec: TensorSpec) -> Any:
    shape = [1 if n == -1 else n for n in spec.shape or ()]
    return torch.from_numpy(np.zeros(shape, DATATYPES[spec.datatype or "FP32"]))


def _to_onnx(slim: Path, out: Path) -> int:
    """Writes the graph of a slim model as a file of ONNX's."""
    try:
        torch.onnx.export(torch.load_slim_program(slim), f=out)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        print(f"flambeau export: {error}", file=sys.stderr)
        return 1
    print(f"{out}: {out.stat().st_size:,} bytes")
    return 0
