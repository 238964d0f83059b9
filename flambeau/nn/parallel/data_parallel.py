"""Data parallelism over several GPUs; on the CPU there is one device, and the module runs on it."""

from __future__ import annotations

from typing import Any

from flambeau.core.device import check
from flambeau.nn.modules.module import Module

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """Calls ``module``, as PyTorch's DataParallel does where there is no GPU.

    The names in its ``state_dict`` begin with ``module.``.

    >>> import flambeau as torch
    >>> net = torch.nn.DataParallel(torch.nn.Linear(2, 3))
    >>> net(torch.ones(4, 2)).shape, list(net.state_dict())
    (torch.Size([4, 3]), ['module.weight', 'module.bias'])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.DataParallel.html
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []
        self.dim = dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module, inputs: Any, device_ids: Any = None, output_device: Any = None, dim: int = 0, module_kwargs: dict | None = None
) -> Any:
    """``module`` of ``inputs``, on the one device that there is; GPUs are refused.

    >>> import flambeau as torch
    >>> torch.nn.parallel.data_parallel(torch.nn.Identity(), torch.ones(2)).tolist()
    [1.0, 1.0]
    """
    for d in device_ids or ():
        check(f"cuda:{d}" if isinstance(d, int) else d)
    return module(*(inputs if isinstance(inputs, tuple) else (inputs,)), **(module_kwargs or {}))
