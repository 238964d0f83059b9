"""Names that programs take from PyTorch's compiler of kernels, which flambeau does without: its own is under
:mod:`flambeau.engine`.

Settings are kept and change nothing; graphs are compiled as everything else is, when they have been called; a package that
:func:`aoti_compile_and_package` writes holds the program, which is compiled for the machine that runs it (and for those without
flambeau there is :mod:`flambeau.slim`).
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau._inductor.modes import check_settings, list_mode_options, list_options

if TYPE_CHECKING:
    from flambeau.fx.graph_module import GraphModule
    from flambeau.tensor import Tensor

__all__ = [
    "aoti_compile_and_package", "aoti_load_package", "compile", "cudagraph_mark_step_begin", "list_mode_options", "list_options", "standalone_compile",
]  # fmt: skip


def compile(gm: GraphModule, example_inputs: list[Tensor], options: dict[str, Any] | None = None) -> Callable:
    """A graph as a function of its inputs, which returns a tuple; for backends that leave the rest to PyTorch's."""
    check_settings(None, options)
    return gm.forward


def standalone_compile(gm: GraphModule, example_inputs: list[Tensor], **settings: Any) -> Callable:
    """As :func:`compile`."""
    return gm.forward


def cudagraph_mark_step_begin() -> None:
    """There are no CUDA graphs."""


def aoti_compile_and_package(
    exported_program: Any, _deprecated_unused_args: Any = None, _deprecated_unused_kwargs: Any = None, *, package_path: Any = None,
    inductor_configs: dict[str, Any] | None = None,
) -> str:  # fmt: skip
    """Writes an exported program to a file that :func:`aoti_load_package` reads, and returns its path.

    Raises:
        AssertionError: the name does not end in ``.pt2``.

    >>> import flambeau as torch, tempfile, os
    >>> program = torch.export.export(torch.nn.ReLU(), (torch.ones(2),))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = torch._inductor.aoti_compile_and_package(program, package_path=os.path.join(folder, "relu.pt2"))
    ...     torch._inductor.aoti_load_package(path)(torch.tensor([-1.0, 1.0]))
    tensor([0., 1.])

    Source: https://docs.pytorch.org/docs/stable/torch.compiler_aot_inductor.html
    """
    from flambeau.export import ExportedProgram, save

    if not isinstance(exported_program, ExportedProgram):
        raise AssertionError("Expected an ExportedProgram, as torch.export.export() gives")
    check_settings(None, inductor_configs)
    if package_path is None:
        package_path = os.path.join(tempfile.mkdtemp(), "model.pt2")
    if isinstance(package_path, (str, os.PathLike)) and not os.fspath(package_path).endswith(".pt2"):
        raise AssertionError(
            f"Expect package path to be a file ending in .pt2, is None, or is a buffer. Instead got {package_path}"
        )
    save(exported_program, package_path)
    return package_path if not isinstance(package_path, os.PathLike) else os.fspath(package_path)  # type: ignore[no-any-return]


def aoti_load_package(path: Any, run_single_threaded: bool = False, device_index: int = -1) -> Any:
    """What :func:`aoti_compile_and_package` has written, as something to be called with the program's arguments; no gradients are
    recorded.

    Raises:
        RuntimeError: the file is none of flambeau's. PyTorch's hold machine code for its own library.
    """
    from flambeau.autograd import no_grad
    from flambeau.core.nests import tree_flatten, tree_unflatten
    from flambeau.export import load

    program = load(path)
    module = program.module()

    class Package:
        """A loaded package."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Calls the program; the tensors among the arguments count in their order, however they are nested."""
            leaves, spec = tree_flatten((args, kwargs))
            if spec != program.call_spec.in_spec:
                args, kwargs = tree_unflatten(leaves, program.call_spec.in_spec)
            with no_grad():
                return module(*args, **kwargs)

        def get_constant_fqns(self) -> list[str]:
            """The names of parameters, buffers and constants."""
            return [*program.state_dict, *program.constants]

        def load_constants(self, constants_map: dict[str, Tensor], *, check_full_update: bool, user_managed: bool = False) -> None:
            """Other values for parameters, buffers and constants."""
            missing = set(self.get_constant_fqns()) - set(constants_map)
            if check_full_update and missing:
                raise RuntimeError(
                    f"load_constants: {', '.join(sorted(missing))} are not given, and check_full_update asks for all"
                )
            module.load_state_dict(constants_map, strict=False)

    return Package()


def __getattr__(name: str) -> Any:
    if name in ("compile_fx", "config", "utils"):
        return importlib.import_module(f"flambeau._inductor.{name}")
    raise AttributeError(f"module 'torch._inductor' has no attribute '{name}'", name=name)
