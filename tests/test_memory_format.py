"""Values do not depend on the order in memory of what they are made from."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.ops.record import registry
from flambeau.ops.samples import Make

F = torch.nn.functional
LAID_OUT = sorted({op.name for op in registry.values() if op.layout is not None and op.samples})


def tensors_of(result) -> list:
    return (
        [result]
        if isinstance(result, torch.Tensor)
        else [t for x in result for t in tensors_of(x)]
        if isinstance(result, (tuple, list))
        else []
    )


def reordered(value):
    """A copy whose dims lie in memory in reverse order."""
    if isinstance(value, torch.Tensor):
        dims = tuple(range(value.dim()))[::-1]
        return value.detach().permute(dims).contiguous().permute(dims) if dims else value.detach()
    return type(value)(reordered(v) for v in value) if type(value) in (tuple, list) else value


@pytest.mark.parametrize("name", LAID_OUT)
def test_values(name):
    op = registry[name]
    for sample in op.samples(Make(requires_grad=False)):
        expected = tensors_of(op.function(*sample.args, **sample.kwargs))
        for _ in range(3):  # in full, and by a recipe
            args, kwargs = [reordered(x) for x in sample.args], {k: reordered(v) for k, v in sample.kwargs.items()}
            for one, other in zip(tensors_of(op.function(*args, **kwargs)), expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_training_is_the_same_in_either_format():
    def losses(memory_format) -> list:
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(8, 4, 2)
        ).to(torch.float64, memory_format=memory_format)
        optimizer = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9)
        x = torch.randn(4, 3, 8, 8, dtype=torch.float64).to(memory_format=memory_format)
        found = []
        for _ in range(6):
            optimizer.zero_grad()
            y = model(x)
            assert y.is_contiguous(memory_format=memory_format)
            loss = y.square().mean()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    assert losses(torch.channels_last) == pytest.approx(losses(torch.contiguous_format), rel=1e-9)


def test_repeated_calls_follow_a_recipe():
    """Also those whose result is put into another order in memory."""
    x = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
    for name, args in {"_avg_pool2d": None, "flip": (2,), "abs": (), "sort": (1,)}.items():
        call = (lambda: F.avg_pool2d(x, 2)) if args is None else lambda name=name, args=args: registry[name].function(x, *args)  # noqa: B023
        call()
        torch.synchronize()  # what comes again does so in another trace
        call()
        known = len(registry[name].recipes)
        assert known
        call()
        assert len(registry[name].recipes) == known
