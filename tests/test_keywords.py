"""A misspelt keyword: the error names the function or class that the user wrote, and what may have been meant."""

from __future__ import annotations

import inspect

import pytest

import flambeau as torch
from flambeau import nn, optim
from flambeau.ops.record import registry

OPS = [
    op
    for op in dict.fromkeys(registry.values())
    if not op.short_name.startswith("_") and not op.name.startswith(("aten.", "signal."))
]
CLASSES = [
    cls
    for home in (nn, optim, optim.lr_scheduler)
    for name, cls in vars(home).items()
    if inspect.isclass(cls)
    and issubclass(cls, (nn.Module, optim.Optimizer, optim.lr_scheduler.LRScheduler))
    and cls.__name__ == name
]


def misspelt(word: str) -> str:
    return word[:-1] if len(word) > 4 else word + "z"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_classes(cls):
    parameters = inspect.signature(cls).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        pytest.skip("takes any keyword")
    for p in parameters:
        word = misspelt(p.name)
        if p.kind is p.POSITIONAL_OR_KEYWORD and len(p.name) > 2 and word not in inspect.signature(cls).parameters:
            with pytest.raises(TypeError) as caught:
                cls(**{word: 1})
            assert (
                str(caught.value)
                == f"{cls.__name__}.__init__() got an unexpected keyword argument '{word}'. Did you mean '{p.name}'?"
            )


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_ops(op):
    code = op.check.__code__
    if code.co_flags & inspect.CO_VARKEYWORDS:
        return
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    name = next((name for name in reversed(names) if len(name) > 3 and misspelt(name) not in names), None)
    if name is not None:
        with pytest.raises(TypeError, match=r"Did you mean '\w+'\?|missing|argument") as caught:
            op.function(**{misspelt(name): 1})
        assert str(caught.value).startswith(op.short_name)


def test_words_of_other_libraries():
    x = torch.ones(2)
    for call, text in [
        (
            lambda: torch.optim.SGD([x], learning_rate=0.1),
            "SGD.__init__() got an unexpected keyword argument 'learning_rate'. Did you mean 'lr'?",
        ),
        (
            lambda: nn.BatchNorm2d(3, epsilon=1e-3),
            "BatchNorm2d.__init__() got an unexpected keyword argument 'epsilon'. Did you mean 'eps'?",
        ),
        (
            lambda: nn.LSTM(2, 3, colour=1),
            "LSTM.__init__() got an unexpected keyword argument 'colour' (it takes input_size, hidden_size, ",
        ),
    ]:
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value).startswith(text)


def test_classes_of_users_are_pythons_matter():
    class Net(nn.Module):
        def __init__(self, hidden=3):
            super().__init__()

    with pytest.raises(TypeError, match=r"Net\.__init__\(\) got an unexpected keyword argument 'hiden'"):
        Net(hiden=3)

    class Mine(nn.Conv2d):
        pass

    with pytest.raises(TypeError, match=r"^Mine\.__init__\(\) .* Did you mean 'padding'\?"):
        Mine(1, 2, 3, pading=1)


def test_a_base_with_a_constructor_of_its_own():
    class Counted:
        def __new__(cls, *args, **kwargs):
            made = super().__new__(cls)
            made.given = args, kwargs
            return made

    class Net(nn.Module, Counted):
        def __init__(self, hidden):
            super().__init__()

    assert Net(hidden=3).given == ((), {"hidden": 3})
