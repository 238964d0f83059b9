"""Small modules of ``torch``'s against PyTorch: futures, what helps with several devices, and devices that are not there."""

from __future__ import annotations

import warnings

import pytest

import flambeau

torch = pytest.importorskip("torch")

import torch.nn.attention.bias  # noqa: E402, F811

import flambeau.nn.attention.bias  # noqa: E402

PROGRAMS = [
    # futures
    "f = torch.futures.Future(); g = f.then(lambda f: f.wait() + 1).then(lambda f: f.wait() * 2); f.set_result(2); g.wait(), f.done(), g.value()",
    "f = torch.futures.Future(); f.set_exception(KeyError('x')); f.wait()",
    "f = torch.futures.Future(); f.value()",
    "f = torch.futures.Future(); f.set_result(1); f.set_result(2)",
    "f = torch.futures.Future(); g = f.then(lambda f: 1 / 0); f.set_result(0); g.wait()",
    "fs = [torch.futures.Future() for _ in range(3)]; c = torch.futures.collect_all(fs); [f.set_result(i) for i, f in enumerate(fs)]; "
    "[f.wait() for f in c.wait()], torch.futures.wait_all(fs)",
    "seen = []; f = torch.futures.Future(); f.add_done_callback(lambda f: seen.append(f.wait())); f.set_result(5); f.add_done_callback(lambda f: seen.append(6)); seen",
    # swaps
    "a, b = torch.zeros(2), torch.nn.Parameter(torch.ones(3)); a.x = 1; torch.utils.swap_tensors(a, b); type(a).__name__, a.tolist(), b.tolist(), b.x, hasattr(a, 'x')",
    "import weakref; a, b = torch.zeros(2), torch.ones(3); w = weakref.ref(a); torch.utils.swap_tensors(a, b)",
    "a, b = torch.nn.Parameter(torch.ones(3)), torch.zeros(3); y = (a * 2).sum(); torch.utils.swap_tensors(a, b); y.backward()",
    "m = torch.nn.Linear(2, 1); p = torch.nn.Parameter(torch.zeros(1, 2)); w = m.weight; torch.utils.swap_tensors(m.weight, p); m.weight.tolist(), w is m.weight",
    # gradients of convolutions
    "x, w, g = torch.arange(50.0).view(1, 2, 5, 5), torch.ones(3, 2, 2, 2), torch.ones(1, 3, 4, 4); torch.nn.grad.conv2d_input(x.shape, w, g), torch.nn.grad.conv2d_weight(x, w.shape, g)",
    "x, w, g = torch.arange(14.0).view(1, 2, 7), torch.ones(2, 1, 3), torch.ones(1, 2, 3); torch.nn.grad.conv1d_input(x.shape, w, g, stride=2, groups=2), torch.nn.grad.conv1d_weight(x, w.shape, g, 2, 0, 1, 2)",
    "m = torch.nn.utils.convert_conv2d_weight_memory_format(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2)), torch.channels_last); m[0].weight.stride()",
    # masks of attention
    "from torch.nn.attention.bias import causal_lower_right as c; torch.nn.functional.scaled_dot_product_attention(torch.ones(1, 1, 2, 4), torch.ones(1, 1, 3, 4), torch.arange(12.0).view(1, 1, 3, 4), attn_mask=c(2, 3)).round(decimals=3).tolist()",
    "torch.ones(1).layout, torch.ones(2, 3).t().layout is torch.strided, str(torch.strided)",
    "torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled(), torch.backends.mha.get_fastpath_enabled()",
    "torch.backends.cuda.enable_flash_sdp(False); r = torch.backends.cuda.flash_sdp_enabled(); torch.backends.cuda.enable_flash_sdp(True); r",
]  # fmt: skip

CUDA = (
    "device_count is_available is_initialized current_device get_device_name get_device_properties get_device_capability synchronize current_stream "
    "default_stream memory_stats memory_allocated max_memory_allocated memory_reserved max_memory_reserved empty_cache ipc_collect get_arch_list "
    "get_gencode_flags init seed seed_all initial_seed get_rng_state get_rng_state_all is_bf16_supported mem_get_info memory_cached host_memory_stats cudart"
)
OBJECTS = ["device(0)", "stream(None)", "manual_seed(1)", "manual_seed_all(1)", "set_rng_state_all([])", "StreamContext(None)"]


def outcome(program: str, library):
    *statements, last = program.split("; ")
    names = {"torch": library}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for statement in statements:
                if statement.startswith("from torch.nn.attention.bias"):
                    names["c"] = library.nn.attention.bias.causal_lower_right
                else:
                    exec(statement, names)
            return repr(eval(last, names))
        except Exception as error:
            return type(error).__name__


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(program):
    assert outcome(program, flambeau) == outcome(program, torch)


@pytest.mark.parametrize("call", [f"{name}()" for name in CUDA.split()] + OBJECTS)
def test_cuda_without_a_gpu(call):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    ours, theirs = [outcome(f"torch.cuda.{call}", library) for library in (flambeau, torch)]
    if call in ("device(0)", "stream(None)", "StreamContext(None)"):
        assert ours.partition(" object")[0].endswith(theirs.partition(" object")[0].rpartition(".")[2])
    else:
        assert ours == theirs


def test_cuda_objects_are_refused_when_they_are_made():
    for name in ("Stream", "Event", "CUDAGraph", "FloatTensor"):
        cls = getattr(flambeau.cuda, name)
        assert not isinstance(flambeau.ones(1), cls)
        with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
            cls()
    for library in (flambeau.xpu, flambeau.mps):
        assert not library.is_available()
        with pytest.raises(NotImplementedError, match="flambeau computes on the CPU"):
            library.synchronize()
    with flambeau.cuda.device(0), flambeau.cuda.stream(None):
        assert flambeau.ones(2).sum().item() == 2


def test_extensions_are_refused_when_they_are_built():
    from flambeau.utils import cpp_extension

    for build in (cpp_extension.load, cpp_extension.load_inline, cpp_extension.CppExtension, cpp_extension.BuildExtension):
        with pytest.raises(RuntimeError, match="extensions in C"):
            build("name", ["a.cpp"])
    assert cpp_extension.CUDA_HOME is None
