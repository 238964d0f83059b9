"""The disguise. Every program here runs in a process of its own: this one keeps the real names free."""

from __future__ import annotations

import subprocess
import sys
import textwrap

INSTALL = "import flambeau.compat; flambeau.compat.install()\n"


def python(code: str, prelude: str = INSTALL) -> str:
    """What `code` prints."""
    command = [sys.executable, "-c", prelude + textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_modules_are_the_same_objects() -> None:
    python(
        """
        import torch, torch.nn as nn, torch.nn.functional as F, torch.optim, torch.utils.data
        import flambeau.nn.functional
        assert torch is flambeau and nn is flambeau.nn and F is flambeau.nn.functional
        assert torch.utils.data is flambeau.utils.data
        from torch.nn import Linear
        from torch import Tensor
        assert Linear is flambeau.nn.Linear and Tensor is flambeau.Tensor
        assert nn.__name__ == "torch.nn" and nn.__spec__.name == "flambeau.nn" and torch.__name__ == "torch"
        """
    )


def test_functions_keep_their_names_beside_rooms_of_the_same_name() -> None:
    python(
        """
        import torch
        assert torch.tensor([1.0]).item() == 1.0
        try:
            import torch.tensor
        except ModuleNotFoundError as error:
            assert "torch.tensor" in str(error)
        else:
            raise AssertionError("torch.tensor is a function, not a module")
        assert callable(torch.tensor)
        """
    )


def test_no_module_is_loaded_twice() -> None:
    python(
        """
        import sys, torch, torch.nn.functional, torch.optim.lr_scheduler, torch.utils.data, torch.autograd
        homes = {}
        for name, module in sys.modules.items():
            if name.partition(".")[0] in ("torch", "flambeau") and getattr(module, "__file__", None):
                assert homes.setdefault(module.__file__, module) is module, name
        """
    )


def test_imports_of_old_programs() -> None:
    python(
        """
        from torch.autograd import Variable
        from torch.autograd.variable import Variable as same
        assert Variable is same
        from torch.nn.parameter import Parameter
        from torch.optim.lr_scheduler import StepLR
        from torch.utils.data import DataLoader, Dataset, TensorDataset
        """
    )


def test_every_spelling_leads_somewhere() -> None:
    python(
        """
        import importlib
        from flambeau.compat.spellings import SPELLINGS
        for name in SPELLINGS:
            module = importlib.import_module(name)
            assert module.__name__ == name and dir(module) or module.__name__ in name, (name, module.__name__)
        import torch, torch.backends.cudnn as cudnn
        cudnn.benchmark = True
        assert torch.backends.cudnn.benchmark is True and cudnn.is_available() is False
        from torch.functional import einsum
        from torch.utils.data._utils.collate import default_collate
        """
    )


def test_installing_twice_changes_nothing() -> None:
    python("import sys; n = len(sys.meta_path); flambeau.compat.install(); assert len(sys.meta_path) == n")


def test_real_torch_first_is_refused() -> None:
    printed = python(
        """
        import sys, types
        sys.modules["torch"] = types.ModuleType("torch")
        import flambeau.compat
        try:
            flambeau.compat.install()
        except RuntimeError as error:
            print(error)
        """,
        prelude="",
    )
    assert "before the first `import torch`" in printed


def test_a_missing_name_says_so() -> None:
    printed = python(
        """
        import torch
        try:
            torch.no_such_function
        except AttributeError as error:
            print(error)
        try:
            torch.nn.Linaer
        except AttributeError as error:
            print(error)
        assert not hasattr(torch, "no_such_function")
        """
    ).splitlines()
    assert printed[0].startswith("module 'torch' has no attribute 'no_such_function': flambeau has no such name; ")
    assert printed[1] == ("module 'torch.nn' has no attribute 'Linaer': flambeau has no such name; did you mean 'Linear'?")


def test_a_missing_module_says_so() -> None:
    printed = python(
        """
        try:
            import torch.no_such_module
        except ModuleNotFoundError as error:
            print(error.name, error)
        """
    )
    assert printed.startswith("torch.no_such_module No module named 'torch.no_such_module': flambeau has no such module")


def test_other_imports_are_left_alone() -> None:
    python(
        """
        import importlib.util
        assert importlib.util.find_spec("torchlike") is None
        import json.tool
        """
    )


def test_version_is_pytorchs_and_says_whose() -> None:
    version = python("import torch; print(torch.__version__)").strip()
    assert version.startswith("2.13.0+flambeau")
    assert tuple(int(part) for part in version.split("+")[0].split(".")) == (2, 13, 0)


def test_the_package_has_a_version() -> None:
    python(
        """
        import importlib.metadata, torch
        assert importlib.metadata.version("torch") == torch.__version__
        try:
            importlib.metadata.version("torch-nothing")
        except importlib.metadata.PackageNotFoundError:
            pass
        else:
            raise AssertionError
        """
    )


def test_importing_modules_replaces_no_functions() -> None:
    """Whatever is imported under its torch name, and in whichever order: names mean what they meant."""
    python(
        """
        import importlib, pkgutil, random, sys, types, warnings
        import flambeau
        from flambeau.compat.finder import is_public
        warnings.simplefilter("ignore")
        modules = [m.name for m in pkgutil.walk_packages(flambeau.__path__, "flambeau.") if is_public(m.name)]
        def names():
            found = {}
            for name, module in list(sys.modules.items()):
                if is_public(name):
                    found |= {(name, key): value for key, value in vars(module).items()
                              if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type))}
            return found
        known = names()
        random.Random(0).shuffle(modules)
        for name in modules:
            try:
                importlib.import_module(name.replace("flambeau", "torch", 1))
            except ImportError as error:  # of an optional library
                assert "torch" not in str(error), error
        now = names()
        changed = [key for key in known if now.get(key) is not known[key] and not key[1].startswith("__")]
        assert not changed, changed
        import torch, torch.autograd.gradcheck, torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm
        from torch.autograd.gradcheck import GradcheckError
        assert callable(torch.autograd.gradcheck) and callable(torch.nn.utils.weight_norm)
        assert callable(torch.nn.utils.spectral_norm) and sys.modules["torch.nn.utils.weight_norm"].remove_weight_norm
        """
    )


def test_scripted_modules_are_script_modules() -> None:
    python(
        """
        import torch
        net, function = torch.nn.Linear(1, 1), torch.jit.script(lambda x: x)
        for value in (net, torch.nn.Module(), function, len, python):
            assert not isinstance(value, (torch.jit.ScriptModule, torch.jit.ScriptFunction))
        assert isinstance(torch.jit.script(net), torch.jit.ScriptModule) and isinstance(torch.jit.script(net), torch.nn.Linear)
        assert issubclass(torch.jit.ScriptModule, torch.nn.Module)
        class Net(torch.jit.ScriptModule):
            @torch.jit.script_method
            def forward(self, x):
                return x + 1
        assert Net()(torch.ones(1)).item() == 2 and isinstance(Net(), torch.jit.ScriptModule)
        """.replace("python", "print")
    )


def test_names_and_pickles_are_pytorchs() -> None:
    printed = python(
        """
        import pickle, torch
        net = torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        print(type(net.bias), type(net), scheduler.__module__, torch.distributions.Normal.__module__, type(torch.Generator()))
        text = pickle.dumps([net, optimizer, scheduler, torch.distributions.Normal(0.0, 1.0), torch.utils.data.default_collate], 0)
        for home in (b"torch.optim.lr_scheduler", b"torch.optim.sgd", b"torch.nn.modules.linear", b"torch._utils", b"torch.distributions.normal"):
            assert b"c" + home + b"\\n" in text, home
        assert not [part for part in (b"flambeau.nn", b"flambeau.optim", b"flambeau.dist", b"flambeau.utils") if part in text]
        again = pickle.loads(text)
        assert type(again[0]) is torch.nn.Linear and again[2].state_dict() == scheduler.state_dict()
        from torch.distributions import multinomial
        import torch.utils.data
        assert multinomial.Multinomial is torch.distributions.Multinomial
        assert torch.utils.data.dataloader.DataLoader is torch.utils.data.DataLoader
        """
    ).splitlines()
    assert printed == [
        "<class 'torch.nn.parameter.Parameter'> <class 'torch.nn.modules.linear.Linear'> torch.optim.lr_scheduler torch.distributions.normal "
        "<class 'torch._C.Generator'>"
    ]


def test_a_module_of_torch_can_be_run() -> None:
    command = [sys.executable, "-m", "flambeau", "run", "-m", "torch.utils.collect_env"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Is CUDA available: False" in result.stdout, result.stderr


def test_annotations_can_be_evaluated() -> None:
    python(
        """
        import typing, torch
        assert typing.get_type_hints(torch.nn.Module) and typing.get_type_hints(torch.nn.Linear)
        """
    )


def test_quantisation_under_all_its_names() -> None:
    """Older programs import it from other places; classes say where PyTorch defines them."""
    found = python(
        """
        import torch, torch.nn.quantized.dynamic as old, torch.nn.intrinsic.qat, torch.nn.qat, torch.nn.quantized.modules, torch.quantization
        import torch.ao.nn.quantized.dynamic.modules.rnn, torch.ao.nn.intrinsic.modules.fused, torch.nested._internal.nested_tensor
        from torch.quantization import QuantStub, convert, fuse_modules, get_default_qconfig, prepare, quantize_dynamic
        from torch.quantization.observer import MinMaxObserver
        from torch.ao.nn.quantized.modules.linear import LinearPackedParams
        model = quantize_dynamic(torch.nn.Sequential(torch.nn.Linear(4, 4)), {torch.nn.Linear}, dtype=torch.qint8)
        assert isinstance(model[0], old.Linear) and MinMaxObserver is torch.ao.quantization.observer.MinMaxObserver
        print(type(model[0]), old.LSTM, torch.ao.nn.intrinsic.ConvReLU2d, torch.ao.quantization.QConfig, sep=chr(10))
        torch.backends.quantized.engine = "qnnpack"
        try:
            torch.backends.quantized.engine = "nonsense"
        except RuntimeError:
            print(torch.backends.quantized.engine)
        """
    )
    names = (
        "nn.quantized.dynamic.modules.linear.Linear",
        "nn.quantized.dynamic.modules.rnn.LSTM",
        "nn.intrinsic.modules.fused.ConvReLU2d",
        "quantization.qconfig.QConfig",
    )
    assert found.split("\n")[:-1] == [*[f"<class 'torch.ao.{name}'>" for name in names], "qnnpack"]


def test_parts_come_before_what_somebody_else_gives_for_missing_names() -> None:
    """A harness that answers for every name that modules lack must not hide a part that has not been imported yet."""
    python(
        """
        import torch.serialization, torch.nn, types
        for module, name in (torch.serialization, "pickles"), (torch.nn, "native"):
            found = vars(module)["__getattr__"].__closure__
            before = [c.cell_contents for c in found if callable(c.cell_contents)][0]  # what explaining was put around
            assert isinstance(before(name), types.ModuleType), name
            try:
                before("no_such_name")
            except AttributeError:
                pass
            else:
                raise AssertionError(name)
        """
    )


def test_functorch_is_part_of_the_disguise() -> None:
    python(
        """
        import functorch, torch
        from functorch import make_functional, vmap
        from functorch.experimental.control_flow import cond, map
        from torch._functorch.eager_transforms import jvp
        from torch._functorch.make_functional import make_functional as same
        assert vmap is torch.func.vmap and jvp is torch.func.jvp and cond is torch.cond and make_functional is same
        try:
            import functorch.dim
        except ModuleNotFoundError as error:
            assert error.name == "functorch.dim"
        """
    )
