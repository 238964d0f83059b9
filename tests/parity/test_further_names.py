"""Functions and methods that few programs call, and settings that they bring back, against PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

CALLS = (
    "torch.set_autocast_enabled('cpu', True)\nr = (x @ x).dtype, torch.is_autocast_enabled('cpu')\ntorch.set_autocast_enabled('cpu', False)\nr",
    "torch.get_autocast_dtype('xla'), torch.get_autocast_dtype('cuda'), torch.is_autocast_cache_enabled(), torch.autocast_increment_nesting(), torch.autocast_decrement_nesting()",
    "torch.set_deterministic_debug_mode('warn')\nr = torch.get_deterministic_debug_mode(), torch.are_deterministic_algorithms_enabled()\ntorch.set_deterministic_debug_mode(0)\nr",
    "torch.use_deterministic_algorithms(True)\nr = torch.get_deterministic_debug_mode()\ntorch.use_deterministic_algorithms(False)\nr, torch.are_deterministic_algorithms_enabled()",
    "torch.set_deterministic_debug_mode('x')", "torch.set_deterministic_debug_mode(7)",
    "torch.cond(torch.tensor(False), torch.sin, torch.cos, (x,))", "torch.cond(True, lambda a: a + 1, lambda a: a, (x,))", "torch.cond(x > 1, torch.sin, torch.cos, (x,))",
    "torch.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * 2), (torch.tensor(0), x))",
    "torch.eig(x)", "torch.symeig(x)", "x.lstsq(x)", "torch.solve(x, x)", "torch.matrix_rank(x)",
    "x.map2_(x, x, lambda a, b, c: a + b * c)", "x.resize(4)", "x.resize_as(torch.ones(4, 1))", "x[:1, :1].is_nonzero()", "x.is_distributed(), torch.get_device(x), x.grad_dtype, x.name",
    "x.module_load(torch.zeros(2, 2)), x", "x.reinforce(1)",
    "torch.as_strided_(x.clone(), (2,), (1,), 1), torch.detach_copy(x), torch.crow_indices_copy(x.to_sparse_csr())",
    "torch.spmm(x.to_sparse(), x), torch.smm(x.to_sparse(), x).to_dense(), torch.hspmm(x.to_sparse(), x), torch.sspaddmm(x.to_sparse(), x.to_sparse(), x).to_dense()",
    "torch.sym_constrain_range(3, min=1, max=5)", "torch.sym_constrain_range(3, min=5)",
    "torch.nn.CrossMapLRN2d(3, 0.1, 0.75, 2.0)(torch.arange(24.0).view(1, 6, 2, 2)), torch.nn.CrossMapLRN2d(4, 0.1)(torch.arange(24.0).view(1, 6, 2, 2)), str(torch.nn.CrossMapLRN2d(3))",
    "torch.nn.factory_kwargs({'device': 'cpu', 'factory_kwargs': {'dtype': torch.float64}})", "torch.nn.factory_kwargs({'size': 3})",
    "type(torch.max(x, 0, out=(torch.empty(2), torch.empty(2, dtype=torch.int64)))).__name__, torch.return_types.sort_out.__name__, torch.return_types.linalg_lstsq.n_fields",
    "torch.batch_norm_update_stats(x, torch.zeros(2), torch.ones(2), 0.1)", "torch.cudnn_is_acceptable(x), torch.is_vulkan_available(), torch.has_mkl",
    "torch.classes.some.thing", "torch.batch_norm_stats(x, 1e-5)",
)  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_calls(call, agree):
    agree(f"x = torch.tensor([[1.0, 2.0], [3.0, 5.0]])\n{call}")


def test_versions_compare_as_pytorchs(agree):
    for other in ("'2.0'", "(1, 8)", "'2.13.0'", "'2.13.0+cpu'", "'2.14.0.dev1'", "'2.13.0rc1'", "'parrot'", "'2.13.0+flambeau1'"):
        agree(
            f"v = torch.torch_version.TorchVersion('2.13.0+flambeau1')\n[v < {other}, v <= {other}, v == {other}, v >= {other}, v > {other}, v != {other}]"
        )


def test_models_of_repositories(tmp_path):
    """``torch.hub.load`` of a directory, and of a repository that is in the cache."""
    (tmp_path / "hubconf.py").write_text(
        "dependencies = ['numpy']\nimport torch\ndef net(n):\n    'A net.'\n    return torch.nn.Linear(n, 2)\n"
    )
    cached = tmp_path / "hub" / "me_repo_main"
    cached.mkdir(parents=True)
    (cached / "hubconf.py").write_text((tmp_path / "hubconf.py").read_text())
    program = f"""
import torch
torch.hub.set_dir({str(tmp_path / "hub")!r})
print(torch.hub.load({str(tmp_path)!r}, "net", 3, source="local"), torch.hub.load("me/repo:main", "net", 4), torch.hub.list("me/repo:main"), torch.hub.help("me/repo:main", "net"))
for repo, model, source in ((".", "net", "local"), ({str(tmp_path)!r}, "other", "local"), ("a/b", "net", "elsewhere")):
    try:
        torch.hub.load(repo, model, source=source)
    except Exception as error:
        print(type(error).__name__, str(error)[:40])
"""
    (tmp_path / "program.py").write_text(program)
    outputs = []
    for command in ([], ["-m", "flambeau", "run"]):
        ran = subprocess.run(
            [sys.executable, *command, str(tmp_path / "program.py")],
            cwd=tmp_path / "hub",
            capture_output=True,
            text=True,
            env={**os.environ},
        )
        assert ran.returncode == 0, ran.stderr
        outputs.append(ran.stdout)
    assert outputs[0] == outputs[1]


def test_memory_of_files(tmp_path):
    import flambeau

    path = str(tmp_path / "file")
    for library in (torch, flambeau):
        library.from_file(path, True, 4).fill_(2)
        assert library.from_file(path, False, 2, dtype=library.int32).tolist() == [1073741824] * 2
        with pytest.raises(RuntimeError):
            library.from_file(path, False, 9)
