"""``flambeau shim``: a package ``torch`` in the environment that is flambeau, so that plain ``import torch`` works.

It has PyTorch's name and version, so what requires PyTorch can be installed without it, and forwards to
:func:`flambeau.compat.install`. It is written as an installed distribution is, so that ``pip uninstall torch`` removes it too.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.machinery
import importlib.metadata
import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from flambeau import version

MARK = "flambeau-shim"
"""What the file INSTALLER of such a package says."""

RELEASE = version.__version__.partition("+")[0]

CONSTRAINTS = "constraints.txt"
"""For packages that ask for one release of PyTorch: their newest may ask for another than this, and bring PyTorch along."""

_FORWARD = '''\
"""flambeau under the name of PyTorch. Written by `flambeau shim --install`; `flambeau shim --uninstall` takes it away."""

import sys

sys.modules.pop("torch", None)  # this file; flambeau takes its place

import flambeau.compat  # noqa: E402

flambeau.compat.install()
'''
_METADATA = f"""\
Metadata-Version: 2.1
Name: torch
Version: {RELEASE}
Summary: flambeau under the name of PyTorch
Requires-Python: >=3.11

This is not PyTorch: `import torch` gives flambeau {version.release}, which computes on the CPU.
`flambeau shim --uninstall` takes it away.
"""
_WHEEL = "Wheel-Version: 1.0\nGenerator: flambeau\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def main(arguments: Sequence[str]) -> int:
    """``flambeau shim (--install | --uninstall)``"""
    parser = argparse.ArgumentParser(
        prog="flambeau shim",
        usage="flambeau shim [--install | --uninstall]",
        description=f"Put a package torch {RELEASE} that is flambeau into this environment: then `import torch` works in plain Python, pytest and "
        "notebooks, and packages that require PyTorch install without it. Without options, say what `import torch` gives here.",
        epilog="Packages that ask for one exact release of PyTorch (torchvision) are held to this one by the file of constraints that --install "
        "names: `pip install -c FILE PACKAGE`, or `uv pip install -c FILE PACKAGE`. The other way, without a package torch: "
        "`pip install --no-deps PACKAGE`, then what else it needs, and `flambeau run script.py`.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--install", action="store_true", help="write the package; refused where PyTorch is installed")
    what.add_argument("--uninstall", action="store_true", help="take it away; PyTorch is never touched")
    options = parser.parse_args(arguments)
    site = Path(sysconfig.get_path("purelib"))
    try:
        if options.install:
            print(install(site))
        elif options.uninstall:
            print(uninstall(site))
        else:
            print(f"import torch: {describe()}")
    except Refused as refusal:
        print(f"flambeau shim: {refusal}", file=sys.stderr)
        return 1
    return 0


class Refused(Exception):
    """Why nothing was done."""


def _is_ours(info: Path) -> bool:
    try:
        return (info / "INSTALLER").read_text().strip() == MARK
    except OSError:
        return False


def _package() -> Path | None:
    """Where plain ``import torch`` would find a package, with flambeau's disguise or without."""
    spec = importlib.machinery.PathFinder.find_spec("torch", sys.path)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _forwards(package: Path) -> bool:
    try:
        return (package / "__init__.py").read_text() == _FORWARD
    except OSError:
        return False


def _distributions() -> list[Path]:
    """The folders of metadata of all packages ``torch`` on the path."""
    return sorted({info for entry in sys.path for info in Path(entry or ".").glob("torch-*.dist-info")})


def describe() -> str:
    """What plain ``import torch`` gives in this environment."""
    package = _package()
    if package is None:
        return "not there (flambeau shim --install)"
    if _forwards(package):
        return f"flambeau, by the package in {package}"
    releases = [info.name[len("torch-") : -len(".dist-info")] for info in _distributions() if not _is_ours(info)]
    return f"PyTorch {' '.join(releases)} in {package}".replace("  ", " ")


def install(site: Path) -> str:
    """Writes the package into ``site``; says what has been done.

    Raises:
        Refused: PyTorch is there, or something else of that name.
    """
    package = _package()
    others = [info for info in _distributions() if not _is_ours(info)]
    if package is not None and not _forwards(package) or others:
        where = package if package is not None and not _forwards(package) else others[0]
        raise Refused(f"PyTorch is installed here ({where}): `pip uninstall torch` first, or use an environment of its own")
    uninstall(site)
    info = site / f"torch-{RELEASE}.dist-info"
    texts = {
        Path("torch/__init__.py"): _FORWARD,
        Path(info.name) / "METADATA": _METADATA,
        Path(info.name) / "WHEEL": _WHEEL,
        Path(info.name) / "INSTALLER": MARK + "\n",
        Path(info.name) / "top_level.txt": "torch\n",
        Path(info.name) / CONSTRAINTS: f"torch=={RELEASE}\n",
    }
    record = Path(info.name) / "RECORD"
    texts[record] = (
        "".join(f"{path.as_posix()},{_digest(text)},{len(text.encode())}\n" for path, text in texts.items())
        + f"{record.as_posix()},,\n"
    )
    # Written beside and renamed, so that an interrupted run leaves no half of a package.
    made: list[Path] = []
    try:
        for folder in ("torch", info.name):
            new = site / f".flambeau-{os.getpid()}-{folder}"
            made.append(new)
            new.mkdir(parents=True)
            for path, text in texts.items():
                if path.parts[0] == folder:
                    (new / path.name).write_text(text)
        for new, folder in zip(made, ("torch", info.name), strict=True):
            new.rename(site / folder)
    finally:
        for new in made:
            shutil.rmtree(new, ignore_errors=True)
    return (
        f"`import torch` gives flambeau {version.release} in {site}, as torch {RELEASE}; `flambeau shim --uninstall` takes it away.\n"
        f"Install what needs it with: pip install -c {info / CONSTRAINTS} PACKAGE"
    )


def _digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def uninstall(site: Path) -> str:
    """Takes the package in ``site`` away, and nothing else; says what has been done."""
    found = False
    package = site / "torch"
    if _forwards(package):
        found = True
        (package / "__init__.py").unlink()
        shutil.rmtree(package / "__pycache__", ignore_errors=True)
        if not any(package.iterdir()):
            package.rmdir()
    for info in site.glob("torch-*.dist-info"):
        if _is_ours(info):
            found = True
            shutil.rmtree(info)
    return f"taken away from {site}" if found else f"there is no package of `flambeau shim` in {site}"
