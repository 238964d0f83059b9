"""Compiled modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.compiling.function import Captures, compiled_function
from flambeau.compiling.guards import Miss
from flambeau.nn.modules.module import Module


class OptimizedModule(Module):
    """What :func:`torch.compile` makes of a module: it computes the same, and has the same attributes.

    ``_orig_mod`` is the module itself, whose names the keys of ``state_dict`` have after ``_orig_mod.``.
    """

    _orig_mod: Module
    _compiled: Callable

    def __init__(self, module: Module, fullgraph: bool = False, kind: Callable[..., Captures] = Captures) -> None:
        super().__init__()
        self.__dict__["_fullgraph"], self.__dict__["_kind"] = fullgraph, kind
        self._modules["_orig_mod"] = module
        self._compile()

    def _compile(self) -> None:
        module = self._modules["_orig_mod"]
        self.__dict__["_compiled"] = compiled_function(
            module, self.__dict__["_fullgraph"], type(module).__name__, self.__dict__["_kind"]
        )
        self.__dict__["_replays"] = self.__dict__["_compiled"].captures.replays
        self.__dict__["training"] = module.training  # type: ignore[union-attr]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        d = self.__dict__
        if d["_forward_hooks"] or d["_forward_pre_hooks"] or d["_backward_hooks"] or d["_backward_pre_hooks"]:
            return super().__call__(*args, **kwargs)
        misses = []
        for replay in d["_replays"]:  # as the compiled function does; another call less
            result = replay(args, kwargs)
            if result.__class__ is not Miss:
                return result
            misses.append(result)
        return d["_compiled"].captures.call(args, kwargs, misses)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__["_compiled"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        module = self.__dict__["_modules"].get("_orig_mod") if "_modules" in self.__dict__ else None
        if name == "_orig_mod" and module is not None:
            return module
        if module is None:
            raise AttributeError(name)
        return getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_orig_mod":
            self._modules[name] = value
            self._compile()
        elif name in self.__dict__ or "_modules" not in self.__dict__:
            object.__setattr__(self, name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._orig_mod)})

    def __getstate__(self) -> dict:
        state = dict(self.__dict__)
        del state["_compiled"], state["_replays"]
        return state

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._compile()


class CompiledForward:
    """``module.forward`` after ``module.compile()``: the method of its class, captured."""

    def __init__(self, module: Module, fullgraph: bool = False, kind: Callable[..., Captures] = Captures) -> None:
        self.module, self.fullgraph, self.kind = module, fullgraph, kind
        self.compiled = compiled_function(type(module).forward.__get__(module), fullgraph, f"{type(module).__name__}.forward", kind)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.compiled(*args, **kwargs)

    def __deepcopy__(self, memo: dict) -> CompiledForward:
        from copy import deepcopy

        return CompiledForward(deepcopy(self.module, memo), self.fullgraph, self.kind)

    def __reduce__(self) -> tuple:
        return CompiledForward, (self.module, self.fullgraph, self.kind)
