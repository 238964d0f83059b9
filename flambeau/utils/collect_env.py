"""``torch.utils.collect_env``: what a program runs on, as text for reports: ``python -m torch.utils.collect_env``.

The same is told by ``flambeau info``.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import NamedTuple

__all__ = ["SystemEnv", "get_env_info", "get_pretty_env_info", "main", "pretty_str"]

_PACKAGES = (
    "torch",
    "numpy",
    "flambeau",
    "llvmlite",
    "lightning",
    "onnx",
    "transformers",
    "accelerate",
    "triton",
    "mypy",
    "flake8",
)


class SystemEnv(NamedTuple):
    """What PyTorch's report has; ``None`` or ``"N/A"`` where there is nothing to tell."""

    torch_version: str
    is_debug_build: str
    cuda_compiled_version: str
    gcc_version: str | None
    clang_version: str | None
    cmake_version: str | None
    os: str
    libc_version: str
    python_version: str
    python_platform: str
    is_cuda_available: str
    cuda_runtime_version: str | None
    cuda_module_loading: str
    nvidia_driver_version: str | None
    nvidia_gpu_models: str | None
    cudnn_version: str | None
    is_xpu_available: str
    pip_version: str
    pip_packages: str
    conda_packages: str
    hip_compiled_version: str
    hip_runtime_version: str
    miopen_runtime_version: str
    caching_allocator_config: str
    is_xnnpack_available: str
    cpu_info: str


def _packages() -> str:
    found = []
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if any(part in name for part in _PACKAGES):
            found.append(f"{name}=={distribution.version}")
    return "\n".join(sorted(set(found)))


def get_env_info() -> SystemEnv:
    """Looks at the machine and the environment.

    >>> from flambeau.utils.collect_env import get_env_info
    >>> get_env_info().is_cuda_available
    'False'
    """
    from flambeau import version

    libc = "-".join(platform.libc_ver()) or "N/A"
    return SystemEnv(
        torch_version=f"{version.__version__} (flambeau {version.release})", is_debug_build="False", cuda_compiled_version="None",
        gcc_version=None, clang_version=None, cmake_version=None, os=f"{platform.platform()} ({platform.machine()})", libc_version=libc,
        python_version=f"{sys.version} ({sys.maxsize.bit_length() + 1}-bit runtime)".replace("\n", " "), python_platform=platform.platform(),
        is_cuda_available="False", cuda_runtime_version=None, cuda_module_loading="N/A", nvidia_driver_version=None, nvidia_gpu_models=None,
        cudnn_version=None, is_xpu_available="False", pip_version="pip3", pip_packages=_packages(), conda_packages="",
        hip_compiled_version="N/A", hip_runtime_version="N/A", miopen_runtime_version="N/A", caching_allocator_config="N/A",
        is_xnnpack_available="False", cpu_info=f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs",
    )  # fmt: skip


_FORMAT = """\
PyTorch version: {torch_version}
Is debug build: {is_debug_build}
CUDA used to build PyTorch: {cuda_compiled_version}
ROCM used to build PyTorch: {hip_compiled_version}

OS: {os}
GCC version: {gcc_version}
Clang version: {clang_version}
CMake version: {cmake_version}
Libc version: {libc_version}

Python version: {python_version}
Python platform: {python_platform}
Is CUDA available: {is_cuda_available}
GPU models and configuration: {nvidia_gpu_models}
Is XPU available: {is_xpu_available}

CPU:
{cpu_info}

Versions of relevant libraries:
{pip_packages}"""


def pretty_str(envinfo: SystemEnv) -> str:
    """The report as text."""
    told = {name: "Could not collect" if value is None else value for name, value in envinfo._asdict().items()}
    return _FORMAT.format(**told)


def get_pretty_env_info() -> str:
    """The report of this machine as text."""
    return pretty_str(get_env_info())


def main() -> None:
    """Prints the report."""
    print("Collecting environment information...")
    print(get_pretty_env_info())


if __name__ == "__main__":
    main()
