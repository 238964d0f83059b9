"""Names under the disguise against PyTorch: which modules can be imported, what they have, and where it says that it is defined."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import pkgutil
import subprocess
import sys
import types
import warnings

import pytest

torch = pytest.importorskip("torch")

# What flambeau does not have, or what is no interface: each is left out with everything below it.
LEFT_OUT = (
    "torch.ao torch.contrib torch.cuda torch.distributed torch.export torch.fx torch.jit torch.masked torch.mtia torch.multiprocessing "
    "torch.nativert torch.onnx torch.package torch.quantization torch.sparse torch.testing._internal torch.utils.benchmark.examples "
    "torch.utils.benchmark.op_fuzzers torch.utils.bottleneck torch.utils.data.datapipes torch.utils.hipify torch.utils.jit "
    "torch.utils.serialization torch.utils.tensorboard torch.utils.viz torch.utils.model_dump torch.utils.mkldnn torch.utils.mobile_optimizer "
    "torch.utils.throughput_benchmark torch.utils.bundled_inputs torch.xpu torch.mps torch.nested "
    "torch.library torch.headeronly torch.backends.python_native torch.backends.xeon torch.nn.qat torch.nn.quantized torch.nn.quantizable "
    "torch.nn.intrinsic torch.nn.backends torch.utils.debug_log torch.utils.show_pickle torch.accelerator.graphs torch.torch_version "
    "torch.monitor torch.numa torch.autograd.profiler_legacy torch.autograd.profiler_util torch.nn.cpp torch.optim.sparse_adam torch.profiler.itt "
    "torch.profiler.python_tracer torch.utils.backcompat torch.utils.backend_registration torch.utils.cpp_backtrace torch.utils.file_baton "
    "torch.backends.cudnn.rnn torch.nn.attention.experimental torch.nn.attention.varlen torch.nn.modules.linear_cross_entropy_options "
    "torch.nn.parallel.comm torch.utils.data.backward_compatibility torch.utils.data.graph torch.utils.data.graph_settings torch.compiler.config "
    "torch.utils.benchmark.utils torch.utils.flop_counter"
).split()  # fmt: skip


def _is_left_out(name: str) -> bool:
    return any(name == out or name.startswith(out + ".") for out in LEFT_OUT)


def _modules() -> list[str]:
    found = ["torch"]
    for package in found:
        where = getattr(importlib.import_module(package), "__path__", None)
        for module in pkgutil.iter_modules(where) if where else []:
            name = f"{package}.{module.name}"
            if not module.name.startswith("_") and not _is_left_out(name):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    importlib.import_module(name)
                found.append(name)
    return found


def _ours(code: str, *given) -> dict:
    program = (
        "import flambeau.compat; flambeau.compat.install()\nimport sys, json, importlib\ngiven = json.loads(sys.stdin.read())\n"
        + code
    )
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    ran = subprocess.run([sys.executable, "-c", program], input=json.dumps(given), capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


IMPORTS = """
failed = {}
for name in given[0]:
    try:
        exec(f"import {name}\\nassert {name}.__name__")
        if "." in name:
            parent, _, last = name.rpartition(".")
            exec(f"from {parent} import {last}")
    except Exception as error:
        failed[name] = repr(error)
print(json.dumps(failed))
"""

DEFINED = """
found = {}
for place in given[0]:
    module, _, name = place.partition(":")
    try:
        value = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        continue
    if isinstance(value, type):
        found[place] = [value.__module__, value.__qualname__, getattr(importlib.import_module(value.__module__), value.__name__, None) is value]
print(json.dumps(found))
"""

PACKAGES = """
found = []
for name in given[0]:
    try:
        if not hasattr(importlib.import_module(name), "__path__"):
            found.append(name)
    except ImportError:
        pass
print(json.dumps(found))
"""

# Classes that are made in another way here: by the modules of C++, or for what PyTorch leaves to Python.
OTHERWISE = (
    "torch.Node torch.DeviceType torch.SymInt torch.SymFloat torch.SymBool torch.linalg.LinAlgError torch.nn.attention.SDPBackend "
    "torch.distributions.constraints.dependent_property torch.types.Storage torch.profiler.ProfilerActivity torch.autograd.profiler.ProfilerActivity "
    "torch.profiler.profile torch.profiler.profiler.profile torch.autograd.function.NestedIOFunction torch.return_types.qr "
    "torch.return_types.slogdet torch.return_types.svd torch.return_types.qr_out torch.return_types.slogdet_out torch.return_types.svd_out torch.nn.modules.module.BackwardHook torch.profiler.profiler.ProfilerActivity torch.serialization.Storage "
    "torch.backends.mkl.verbose torch.backends.mkldnn.verbose torch.cpu.amp.autocast_mode.autocast torch.cpu.amp.grad_scaler.GradScaler torch.cpu.amp.autocast "
    "torch.cpu.amp.GradScaler torch.Future torch.ScriptModule torch.ScriptFunction torch.hub.tqdm torch.utils.model_zoo.tqdm torch.Event torch.Stream torch.cpu.Event torch.cpu.Stream torch.autograd.SavedTensor"
).split()  # fmt: skip


def test_every_module_can_be_imported():
    """As ``import torch.x.y``, as ``from torch.x import y`` and as an attribute."""
    modules = _modules()
    assert len(modules) > 180
    assert _ours(IMPORTS, modules) == {}


def test_packages_are_packages():
    """So that somebody else's finder may answer for what is below them, and who asks for a part is told that there is none."""
    top = pathlib.Path(torch.__file__).parent
    packages = [".".join(("torch", *init.parent.relative_to(top).parts)) for init in top.rglob("__init__.py")]
    assert _ours(PACKAGES, [*packages, "torch._C"]) == []


def test_classes_are_defined_where_pytorch_defines_them():
    theirs = {}
    for name in _modules():
        module = importlib.import_module(name)
        for key in dir(module):
            value = vars(module).get(key)
            if (
                isinstance(value, type)
                and not key.startswith("_")
                and str(value.__module__).startswith("torch")
                and not isinstance(value, types.ModuleType)
            ):
                if f"{name}.{key}" not in OTHERWISE and not _is_left_out(value.__module__):
                    theirs[f"{name}:{key}"] = [value.__module__, value.__qualname__, True]
    ours = _ours(DEFINED, list(theirs))
    assert len(ours) > 300
    wrong = {k: v for k, v in ours.items() if v != theirs[k]}
    assert not wrong, wrong
