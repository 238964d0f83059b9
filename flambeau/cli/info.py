"""``flambeau info``: what flambeau runs on here."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import flambeau
from flambeau import version
from flambeau.cli import shim
from flambeau.cli.text import table
from flambeau.core import config

if TYPE_CHECKING:
    from flambeau.engine.cpu.cache import Cache

# Packages that flambeau can do without -> what they are for.
_OPTIONAL = {
    "llvmlite": "compiled kernels: pip install 'flambeau[compile]'",
    "matplotlib": "pictures as .png",
    "starlette": "flambeau serve",
}


def main(arguments: Sequence[str]) -> int:
    """``flambeau info``"""
    parser = argparse.ArgumentParser(prog="flambeau info", description="Say what flambeau runs on here.")
    parser.parse_args(arguments)
    rows = [
        ["flambeau", f"{version.release}, with the interface of PyTorch {version.__version__.partition('+')[0]}"],
        ["installed in", os.path.dirname(flambeau.__file__)],
        ["Python", f"{platform.python_version()} ({sys.executable})"],
        ["system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"],
        ["threads", str(config.num_threads)],
        ["NumPy", f"{np.__version__}, BLAS {_blas()}{_blas_threads()}"],
        ["ml_dtypes", importlib.metadata.version("ml_dtypes")],
        ["mode", _mode()],
        *_compiler(),
        ["CUDA", "not available"],
        ["import torch", shim.describe()],
    ]
    for package, purpose in _OPTIONAL.items():
        there = importlib.util.find_spec(package) is not None
        rows.append([package, f"{importlib.metadata.version(package) if there else 'not installed'} ({purpose})"])
    print(table(["", ""], rows).split("\n", 2)[2])
    return 0


def _compiler() -> list[list[str]]:
    """What plans are compiled for, and what earlier runs have left on disk."""
    if not config.compiled:
        return []
    from flambeau.engine.cpu import compiler  # LLVM takes its time to load
    from flambeau.engine.cpu.cache import Cache

    try:
        machine = compiler.machine(os.environ.get("FLAMBEAU_CPU", ""))
    except ValueError as error:
        return [["kernels for", str(error)]]
    vectors = f"{8 * machine.vector_bytes}-bit vectors, {machine.registers} registers"
    also = [name for name, there in [("fused multiply-add", machine.fma), ("float16 conversion", machine.half)] if there]
    return [
        ["kernels for", ", ".join([machine.cpu, vectors, *also])],
        ["kernel cache", _cache(Cache.default())],
    ]


def _cache(disk: Cache | None) -> str:
    if disk is None:
        return "none: no directory for it"
    if (refusal := disk.refusal()) is not None:
        return f"none: {refusal}"
    count, size = disk.size()
    return f"{disk.directory}: {count} kernels, {size / 2**20:.1f} MiB"


def _mode() -> str:
    if config.eager:
        return "every operation runs at once (FLAMBEAU_EAGER=1)"
    if config.compiled:
        how = "compiled when a trace is seen again"
    else:
        how = "in NumPy: " + ("llvmlite is not installed" if config.lacks_compiler else "FLAMBEAU_COMPILE=0")
    return f"operations run when a value is asked for, {how}"


def _blas() -> str:
    found = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


def _blas_threads() -> str:
    from flambeau.engine.cpu import blas

    count = blas.get_num_threads()
    return "" if count is None else f" with {count} thread{'s' * (count != 1)}"
