"""What all data pipes are: datasets with the other pipes as methods."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, ClassVar, TypeVar

from flambeau.utils.data.dataset import Dataset, IterableDataset
from flambeau.utils.data.sampler import draw_seed

__all__ = ["DataChunk", "IterDataPipe", "MapDataPipe", "Shuffling", "functional_datapipe"]

T = TypeVar("T")


class DataChunk(list[T]):
    """Elements of a batch that is known to be one: ``unbatch`` takes it apart.

    >>> from flambeau.utils.data import DataChunk
    >>> list(DataChunk([1, 2])), DataChunk([1, 2])
    ([1, 2], [1, 2])

    Source: https://github.com/meta-pytorch/data/tree/v0.9.0
    """

    def as_str(self, indent: str = "") -> str:
        """The elements as a text, in brackets."""
        return indent + "[" + ", ".join(map(str, self)) + "]"

    def raw_iterator(self) -> Iterator[T]:
        """The elements themselves."""
        return super().__iter__()


class _Methods:
    """Pipes as methods of each other: ``pipe.map(f)`` is ``Mapper(pipe, f)``."""

    functions: ClassVar[dict[str, Callable]]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            import_module(
                "flambeau.utils.data.datapipes.iter" if isinstance(self, IterDataPipe) else "flambeau.utils.data.datapipes.map"
            )
        function = type(self).functions.get(name)
        if function is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name)
        return functools.update_wrapper(functools.partial(function, self), function, updated=())

    @classmethod
    def register_function(cls, function_name: str, function: Callable) -> None:
        """Makes a function of a pipe a method of all of this kind."""
        cls.functions[function_name] = function

    @classmethod
    def register_datapipe_as_function(cls, function_name: str, cls_to_register: type, enable_df_api_tracing: bool = False) -> None:
        """Makes a class of pipes a method of all of this kind."""
        if function_name in cls.functions:
            raise Exception(f"Unable to add DataPipe function name {function_name} as it is already taken")
        cls.functions[function_name] = cls_to_register

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __repr__(self) -> str:
        return type(self).__qualname__

    __str__ = __repr__


class MapDataPipe(_Methods, Dataset[T]):
    """A pipe whose elements are found by key: subclasses define ``__getitem__`` and ``__len__``.

    >>> from flambeau.utils.data.datapipes.map import SequenceWrapper
    >>> pipe = SequenceWrapper(range(5)).map(lambda x: x * x)
    >>> len(pipe), pipe[3]
    (5, 9)

    Source: https://github.com/meta-pytorch/data/tree/v0.9.0
    """

    functions: ClassVar[dict[str, Callable]] = {}


class IterDataPipe(_Methods, IterableDataset[T]):
    """A pipe whose elements come one after the other: subclasses define ``__iter__``.

    A pipe has one iterator at a time: where another is made, the first raises ``RuntimeError``. ``reset()``, if there is one, is
    called whenever an iterator is made.

    >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
    >>> list(IterableWrapper(range(5)).map(lambda x: x * x).batch(2))
    [[0, 1], [4, 9], [16]]

    Source: https://github.com/meta-pytorch/data/tree/v0.9.0
    """

    functions: ClassVar[dict[str, Callable]] = {}
    _round = 0
    """How many iterators have been made."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("__iter__")
        if own is not None:

            @functools.wraps(own)
            def __iter__(self: IterDataPipe, *args: Any, **given: Any) -> Iterator[Any]:
                self._round += 1
                self.reset()
                return _only_iterator(self, own(self, *args, **given), self._round)

            cls.__iter__ = __iter__  # type: ignore[method-assign,assignment]

    def reset(self) -> None:
        """What is forgotten when the pipe is begun again."""


class Shuffling(IterDataPipe):
    """What pipes that change the order have in common: they draw by Python's generator, for each round by a seed that ``set_seed``
    gives, or by one that is drawn from the default generator."""

    _enabled = True
    _seed: int | None = None

    def __init__(self) -> None:
        self._rng = random.Random()

    def set_shuffle(self, shuffle: bool = True) -> Any:
        """Whether the order changes."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed: int) -> Any:
        """By which seed the next round draws."""
        self._seed = seed
        return self

    def reset(self) -> None:
        if self._enabled:
            self._rng.seed(draw_seed() if self._seed is None else self._seed)
            self._seed = None


def _only_iterator(pipe: IterDataPipe, elements: Iterator[Any], number: int) -> Iterator[Any]:
    """The elements, as long as no other iterator of the pipe is made."""
    while True:
        if pipe._round != number:
            raise RuntimeError(
                f"This iterator has been invalidated because another iterator has been created from the same IterDataPipe: {pipe!r}\n"
                "This may be caused multiple references to the same IterDataPipe. We recommend using `.fork()` if that is necessary."
            )
        try:
            element = next(elements)
        except StopIteration:
            return
        yield element


class functional_datapipe:
    """A decorator that makes a class of pipes a method of all others.

    Raises ``TypeError`` for a class that is no pipe.

    >>> from flambeau.utils.data import IterDataPipe, functional_datapipe
    >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
    >>> @functional_datapipe("twice_in_this_example")
    ... class Twice(IterDataPipe):
    ...     def __init__(self, source):
    ...         self.source = source
    ...     def __iter__(self):
    ...         for x in self.source:
    ...             yield from (x, x)
    >>> list(IterableWrapper("ab").twice_in_this_example())
    ['a', 'a', 'b', 'b']

    Source: https://github.com/meta-pytorch/data/tree/v0.9.0
    """

    def __init__(self, name: str, enable_df_api_tracing: bool = False) -> None:
        self.name = name

    def __call__(self, cls: type) -> type:
        if not issubclass(cls, (IterDataPipe, MapDataPipe)):
            raise TypeError("`functional_datapipe` can only decorate IterDataPipe or MapDataPipe")
        kind = IterDataPipe if issubclass(cls, IterDataPipe) else MapDataPipe
        kind.register_datapipe_as_function(self.name, cls)
        return cls
