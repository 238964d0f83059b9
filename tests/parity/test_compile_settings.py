"""Settings of torch.compile beside PyTorch's: which there are, and what is said of others."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def _error(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__, str(error).partition("[")[0]
    return None


@pytest.mark.parametrize(
    "settings",
    [
        {"backend": "no_such"}, {"mode": "no_such"}, {"options": {"no_such": 1}}, {"options": {"max_autotune": 3}},
        {"mode": "default", "options": {"max_autotune": True}}, {"backend": "eager", "mode": "no_such"},
    ],
)  # fmt: skip
def test_settings_of_compile(settings):
    assert _error(lambda: flambeau.compile(lambda x: x, **settings)) == _error(lambda: torch.compile(lambda x: x, **settings))


@pytest.mark.parametrize("module", ["_dynamo", "_inductor"])
def test_names_of_settings(module):
    import torch._dynamo.config
    import torch._inductor.config

    ours = getattr(flambeau, module).config.to_dict()
    theirs = getattr(torch, module).config
    assert len(ours) > 100
    for name in ours:
        holder = theirs
        for part in name.split("."):
            holder = getattr(holder, part)
    assert _error(lambda: setattr(getattr(flambeau, module).config, "no_such", 1)) == _error(lambda: setattr(theirs, "no_such", 1))


def test_modes():
    import torch._inductor

    assert flambeau._inductor.list_mode_options() == torch._inductor.list_mode_options()
