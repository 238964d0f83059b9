"""What an op is: one record that everything else about it is derived from.

A record is made by decorating the function that checks the arguments. Four forms:

``@op(...)``         a primitive. The function checks its arguments and returns ``(shape, dtype, inputs, attrs)``:
                     the result's shape and dtype, the tensors (or Python numbers, or ``None``) that the kernel reads,
                     and hashable settings. ``kernel(*arrays, **attrs)`` is its meaning in NumPy; ``grad`` its
                     derivative, written in tensor operations so that every order of derivative follows.
``@view(...)``       a result that shares its input's memory. The function returns
                     ``(shape, strides, offset, attrs)``, strides and offset in elements.
``@composite(...)``  the function itself computes the result with other ops.
``@pointwise(...)``  a primitive on elements that broadcast. The function returns ``(inputs, attrs)``; promotion, casts
                     and the result's shape follow from ``inputs`` (tensors and Python numbers).

From the record come the function, the method, ``name_``, ``out=``, the gradient checks, the parity tests and the
reference page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from inspect import CO_VARARGS
from types import NoneType
from typing import Any, Final

import numpy as np

from flambeau import dispatch
from flambeau.core.dtypes import as_dtype, scalar_name
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.errors import explain_arguments, out_of_memory, raise_first
from flambeau.core.memory_format import layout
from flambeau.core.results import return_type
from flambeau.core.size import Size
from flambeau.dispatch import grad_mode
from flambeau.ops.autocasting import POLICIES
from flambeau.ops.call_cache import CallCache
from flambeau.ops.numbers import as_numbers, number_places
from flambeau.ops.spelling import in_other_words
from flambeau.ops.wrong_settings import NO_FLAGS, flags_of, wrong_setting
from flambeau.ops.wrong_tensors import wrong_tensor

registry: dict[str, Op] = {}
"""Every op by its full name: ``"add"``, ``"nn.functional.relu"``, ``"linalg.inv"``, ``"Tensor.view"``."""


class Op(CallCache):
    """The record of one op. Nothing writes to it once it is made; what is learned of its calls stands in :class:`CallCache`.

    ``name``      its full PyTorch name under ``torch.``
    ``check``     the decorated function
    ``kernel``    its meaning in NumPy; ``None`` for views and composites
    ``tensors``   the names of the tensors that the kernel reads, in order; a name with ``*`` stands for all that are left
    ``grads``     for each of ``tensors`` the function that makes its gradient; ``"*"`` names one function for all
    ``nondifferentiable``  the results, and of a joint ``grad`` the tensors, that no gradient flows to
    ``out``       whether there is an ``out=``, and of which dtypes: ``True`` (those that the result can be cast to), ``"same"``
                  (the result's), ``"any"``; ``"dtype"``: the result is made in that of ``out``; ``"row"``: also in its shape
    ``only``      of a pointwise op, the names of those of ``tensors`` that may not be Python numbers
    ``outputs``   the field names of the results, where there are several
    ``overload``  which of PyTorch's overloads a call is, as a function of inputs and settings: the number after ``Backward``,
                  or the whole name of the entry on the tape
    ``wraps``     PyTorch takes Python numbers among the tensors as tensors, so that they have a place among ``next_functions``
    ``result``    of a pointwise op, the dtype of the result: ``"promote"``, ``"float"`` (integers become the default
                  dtype) or ``"bool"``
    ``lower``     its meaning as instructions of a loop, ``lower(body, *values, **attrs)``; see :mod:`flambeau.engine.lowering`
    ``reduces``   of a lowering that reduces: the dims, as a function of the settings (``None``: all, ``()``: none)
    ``expand``    its meaning as several loops' worth of parts, ``expand(e, *inputs, **attrs)``; see
                  :mod:`flambeau.engine.expansion`
    ``static``    numbers among the inputs are part of a compiled kernel, rather than given to it at run time
    ``fits``      numbers among the inputs must fit the result's dtype, rather than wrap around; see :mod:`flambeau.core.scalars`
    ``layout``    in which order the dims of a result lie in memory, where that is not always row-major: a rule of
                  :mod:`flambeau.ops.layouts`, or one for each of several results
    ``eager``     the result's shape depends on values, so the op runs as it is called
    ``checked``   the kernel may refuse values (an index out of range); the error names the line that recorded the op
    ``verify``    of a checked op: ``verify(inputs, attrs)`` raises what the kernel would, where the values that this depends
                  on are known already, and says whether they are; ``verified`` is the same op for calls that it has passed
    ``sure``      of a checked op: ``sure(nodes)`` says whether its inputs cannot be such that it refuses them, though their values
                  may not be known; where it is not, what is pending runs as the op is called, so that the error comes there
    ``samples``   makes sample arguments for the generated tests; ``errors`` makes wrong ones
    """

    __slots__ = (
        "_first_number", "aliases", "always_laid_out", "backward_name", "check", "checked", "eager", "errors", "expand", "fits", "form", "function", "grads",
        "inplace", "kernel", "layout", "listed", "lower", "method", "name", "nondifferentiable", "number_places", "only", "out", "outputs",
        "overload", "reduces", "result", "samples", "short_name", "static", "sure", "tensors", "verified", "verify", "wraps",
    )  # fmt: skip

    def __init__(
        self,
        check: Callable,
        form: str,
        *,
        name: str | None = None,
        kernel: Callable | None = None,
        grad: Mapping[str, Callable] | None = None,
        tensors: str | None = None,
        only: str = "",
        outputs: tuple[str, ...] = (),
        nondifferentiable: tuple[str, ...] = (),
        eager: bool = False,
        checked: bool = False,
        verify: Callable | None = None,
        sure: Callable | None = None,
        method: bool | None = None,
        inplace: bool = False,
        out: bool | str = False,
        aliases: Iterable[str] = (),
        backward_name: str | None = None,
        overload: Callable | None = None,
        wraps: bool = False,
        result: str = "promote",
        lower: Callable | None = None,
        reduces: Callable | None = None,
        expand: Callable | None = None,
        static: bool = False,
        fits: bool = False,
        layout: Callable | tuple | None = None,
        samples: Callable | None = None,
        errors: Callable | None = None,
    ) -> None:
        code = check.__code__
        names = code.co_varnames[: code.co_argcount]
        self.name: Final = name or check.__name__.rstrip("_")
        self.short_name: Final = self.name.rpartition(".")[2]
        self.check: Final = check
        self.form: Final = form
        self.kernel: Final = kernel
        self.tensors: Final = tuple(tensors.split()) if tensors is not None else names[:1]
        self.only: Final = frozenset(only.split())
        self.grads: Final = dict(grad or {})
        self.outputs: Final = outputs
        self.nondifferentiable: Final = nondifferentiable
        self.eager: Final = eager
        self.checked: Final = checked
        self.method: Final = ("." not in self.name or self.name.startswith("Tensor.")) if method is None else method
        self.inplace: Final = inplace
        self.out: Final = out
        self.aliases: Final = tuple(aliases)
        space, _, short = self.name.rpartition(".")
        words = f"{space}_{short}" if space in ("linalg", "special") else short
        self.backward_name: Final = backward_name or words.title().replace("_", "") + "Backward0"
        self.overload: Final = overload
        self.wraps: Final = wraps
        self.samples: Final = samples
        self.errors: Final = errors
        self.result: Final = result
        self.lower: Final = lower
        self.reduces: Final = reduces
        self.expand: Final = expand
        self.static: Final = static
        self.fits: Final = fits
        self.layout: Final = layout
        rules = layout if layout.__class__ is tuple else (layout,)
        self.always_laid_out: Final = any([getattr(rule, "always", False) for rule in rules])
        # Arguments for which a tensor stands for its number; what one is called, and where it stands.
        self.number_places: Final = number_places(check, self.tensors)
        self._first_number: Final = min([place for place, *_ in self.number_places.values()], default=0)
        # Which argument is a list of tensors; ``None``: there is none.
        first = 0 if self.tensors and self.tensors[0].startswith("*") else None
        self.listed: Final = next((i for i, n in enumerate(names) if "*" + n in self.tensors), first)
        self.verify: Final = verify
        self.sure: Final = sure
        runs = form != "composite" and not static
        super().__init__(
            by_layout=next((n for n in (3, 2) if len(names) >= n and set(names[:n]) <= set(self.tensors)), 1 if names else 0),
            numbers=frozenset(x for i, n in enumerate(names) if n in self.tensors and runs for x in (i, n)),
        )
        self.verified: Final = self if verify is None else self._without_check()
        self.function: Final = public_function(self)
        for full in (self.name, *self.aliases):
            if full in registry:
                raise ValueError(f"two records for the op {full}")
            registry[full] = self

    def _without_check(self) -> Op:
        """This op, for calls whose values have been looked at; *its* ``verified`` is the one that checks (see
        ``tensor/record.py:look_again``)."""
        made = copy(self)
        made.checked, made.verified = False, self  # type: ignore[misc]  # nobody has seen it yet
        return made

    def run_check(self, args: tuple, kwargs: dict) -> Any:
        """What ``check`` makes of a call, with numbers for tensors that stand where it takes numbers."""
        if self.number_places and not (
            _settings.issuperset(map(type, args[self._first_number :]))
            and (not kwargs or _settings.issuperset(map(type, kwargs.values())))
        ):
            args, kwargs = as_numbers(self.short_name, self.number_places, args, kwargs)
        return self.check(*args, **kwargs)

    def named_tuple(self) -> type:
        """The class of named tuples that an op with several results returns."""
        if self.tuple_type is None:
            self.tuple_type = return_type(self.name.removeprefix("aten.").replace(".", "_"), *self.outputs)
        return self.tuple_type

    def __repr__(self) -> str:
        return f"<op {self.name}>"


_settings = frozenset([int, float, bool, str, complex, NoneType, Dtype, Size])
"""The commonest classes of arguments that are no tensors, nor have any in them."""


def by_tensor(place: int) -> Callable:
    """An ``overload``: 1 where the input at ``place`` is a tensor, 0 where it is a number."""
    return lambda inputs, attrs: int(isinstance(inputs[place], dispatch.Tensor))


def by_number(*places: int) -> Callable:
    """An ``overload``: counted from 1, the first of ``places`` where the input is a number; 0 where all are tensors."""
    return lambda inputs, attrs: next((i for i, k in enumerate(places, 1) if not isinstance(inputs[k], dispatch.Tensor)), 0)


def op(check: Callable | None = None, **settings):
    """Makes a primitive's record; see the module's docstring. Returns the public function."""
    return _decorator("op", check, settings)


def pointwise(check: Callable | None = None, **settings):
    """Makes the record of an elementwise op; see the module's docstring."""
    return _decorator("pointwise", check, settings)


def view(check: Callable | None = None, **settings):
    """Makes the record of an op whose result is a view of its first argument."""
    return _decorator("view", check, settings)


def composite(check: Callable | None = None, **settings):
    """Makes the record of an op that is computed with other ops."""
    return _decorator("composite", check, settings)


def _decorator(form: str, check: Callable | None, settings: dict):
    if check is not None:
        return Op(check, form, **settings).function
    return lambda check: Op(check, form, **settings).function


plain: set[type] = {int, float, bool, complex, str}
"""Classes of arguments that are never asked what a call is to do; see :mod:`flambeau.tensor.overriding`."""
_ARRAYS = frozenset([np.ndarray])
"""Classes that have so much of a tensor's that an op might take them for one: they are looked for before it runs."""


def public_function(record: Op, slots: Any = dispatch) -> Callable:
    """The function users call: records the op, writes ``out=``, and explains a call that does not fit."""
    check = record.check
    slot = {"op": "record", "pointwise": "record_pointwise", "view": "view", "composite": "compose"}[record.form]
    composed, makes = slot == "compose", record.out in ("dtype", "row")
    creates = composed and not record.tensors and record.layout is None  # there is nothing that a recipe could be found by
    recipes, autocast, policy = record.recipes, dispatch.autocast, POLICIES.get(record.name)
    flags = flags_of(record)
    most = math.inf if check.__code__.co_flags & CO_VARARGS else check.__code__.co_argcount

    def explained(called: Callable, error: Any, args: tuple, kwargs: dict):
        """Raises what an error means, or returns the result for other spellings of the arguments; ``NotImplemented``: it says all."""
        if isinstance(error, MemoryError):
            raise out_of_memory(error) from None
        text = str(error) if isinstance(error, TypeError) else ""
        own = text.startswith(check.__qualname__ + "() ")
        if own and "invalid combination" in text:
            return NotImplemented
        if own:  # Python refuses to bind the arguments
            meant = in_other_words(record.short_name, check, args, kwargs)
            if meant is None:
                raise explain_arguments(record.short_name, check, args, kwargs, error) from None
            return getattr(dispatch, slot)(record, *meant)
        if error.__class__ is not RuntimeError:  # which says what is wrong: that an integer is divided by 0, as in 10 // x
            raise_first([wrong_tensor(called, args, kwargs)], hides=True)
        raise_first([wrong_setting(called, args, kwargs)], hides=True)
        return NotImplemented

    def function(*args, **kwargs):
        watch = slots.watch
        if watch is not None and (not composed or getattr(watch, "whole", False)):
            return watch(function, args, kwargs)
        if policy is not None and autocast.cast is not None:
            return _autocast(policy, function, args, kwargs)
        out = None
        if kwargs:
            if record.out and (out := kwargs.pop("out", None)) is not None:
                if makes and isinstance(out, dispatch.Tensor):
                    _take_dtype(out, kwargs)
                dispatch.refuse_out(record, out, args)
            if kwargs.get("dtype") is not None:
                kwargs["dtype"] = as_dtype(kwargs["dtype"], record.short_name)
        if recipes:
            # A call like an earlier one follows its recipe (tensor/recipes.py); for the commonest the key is made here.
            follow = result = None
            n = len(args)
            if not kwargs and n <= record.by_layout:
                if n == 1:
                    key: tuple = (getattr(args[0], "_layout", None), grad_mode.enabled)
                elif n == 2:
                    a, b = args
                    key = (getattr(a, "_layout", a.__class__), getattr(b, "_layout", b.__class__), grad_mode.enabled)
                else:
                    key = (*[getattr(a, "_layout", a.__class__) for a in args], grad_mode.enabled)
                follow = recipes.get(key)
            if follow is not None:
                result = follow(args)
            elif not composed:
                result = dispatch.repeat(record, args, kwargs)
            if result is not None:
                return result if out is None else dispatch.write_out(record, result, out)
        if kwargs or not plain.issuperset(map(type, args)):
            result = dispatch.overridden(function, args, kwargs if out is None else {**kwargs, "out": out})
            if result is not NotImplemented:
                return result
            if kwargs.get("layout") is not None and _wants_sparse(record, kwargs["layout"]):
                return dispatch.sparse().of_layout(function, args, kwargs)
            if not _ARRAYS.isdisjoint(map(type, args)) or kwargs and not _ARRAYS.isdisjoint(map(type, kwargs.values())):
                raise_first([wrong_tensor(function, args, kwargs)])
        for place, flag in flags if len(args) <= most else ():
            if (args[place] if place < len(args) else kwargs.get(flag, True)).__class__ in NO_FLAGS:
                raise_first([wrong_setting(function, args, kwargs)])
        try:
            result = record.run_check(args, kwargs) if creates and watch is None else getattr(dispatch, slot)(record, args, kwargs)
        except Exception as error:
            result = explained(function, error, args, kwargs)
            if result is NotImplemented:
                raise
        return result if out is None else dispatch.write_out(record, result, out)

    function.__name__ = function.__qualname__ = record.short_name
    function.__doc__ = check.__doc__
    function.__module__ = "torch" if "." not in record.name else "torch." + record.name.rpartition(".")[0]
    public: Any = function
    public.__wrapped__, public.op = check, record
    return function


def _wants_sparse(record: Op, kind: Any) -> bool:
    """Whether a function that makes tensors was asked for a layout that only :mod:`flambeau.sparse` has."""
    if not isinstance(kind, layout):
        raise TypeError(f"{record.short_name}(): argument 'layout' must be torch.layout, not {type(kind).__name__}")
    return kind.is_sparse


def _take_dtype(out, kwargs: dict) -> None:
    """Lets the result be made in the dtype of ``out``."""
    dtype = kwargs.get("dtype")
    if dtype is not None and as_dtype(dtype, "out") is not out.dtype:
        raise RuntimeError(
            f"dtype {scalar_name(as_dtype(dtype, 'out'))} does not match dtype of out parameter ({scalar_name(out.dtype)})"
        )
    kwargs["dtype"] = out.dtype


def _autocast(policy: str | Callable, function: Callable, args: tuple, kwargs: dict):
    """``function`` on cast arguments inside automatic mixed precision, which does not reach into the op itself."""
    cast = dispatch.autocast.cast
    name = policy if policy.__class__ is str else policy(*args, **kwargs)  # type: ignore[operator]
    dispatch.autocast.cast = None
    try:
        if name is not None:
            args, kwargs = cast(name, args, kwargs)
        return function(*args, **kwargs)
    finally:
        dispatch.autocast.cast = cast


class Sample:
    """The arguments of one sample call."""

    __slots__ = ("args", "kwargs")

    def __init__(self, *args, **kwargs) -> None:
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        return f"Sample{self.args}{self.kwargs or ''}"


class ErrorSample(Sample):
    """The arguments of a wrong call, and the error that it must raise."""

    __slots__ = ("error", "match")

    def __init__(self, error: type[Exception], match: str, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.error = error
        self.match = match
