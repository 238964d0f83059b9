"""Recording: from a call of an op to a node, a tensor and an entry on the tape.

Fills the slots of :mod:`flambeau.dispatch`. This is the path that every operation of every program takes, so it is
written for few steps: the common cases first, one object each for node, storage and tensor.
"""

from __future__ import annotations

from math import prod

import numpy as np

from flambeau import dispatch
from flambeau.core import config, dtypes, errors
from flambeau.core.dtypes import promote_types
from flambeau.core.errors import describe
from flambeau.core.scalars import as_python, fitting, wrapped
from flambeau.core.size import Size, broadcast, contiguous_strides, size_of_ints
from flambeau.dispatch import grad_mode
from flambeau.engine import flight, graph
from flambeau.engine.graph import PROJECT, VIEW, Node, leaf
from flambeau.engine.interpreter import compute_now
from flambeau.engine.run import after_creation, after_record, run_pending
from flambeau.engine.segment import may_fail
from flambeau.engine.trace import kind_of
from flambeau.ops.arithmetic import neg
from flambeau.ops.complexes import conj_physical
from flambeau.ops.layouts import elementwise as elementwise_layout
from flambeau.tensor import meta
from flambeau.tensor.lists import MANY, joined, values_of_all
from flambeau.tensor.meta import on_meta
from flambeau.tensor.order import in_memory_order, in_order, is_strided, normal_strides, reordered
from flambeau.tensor.reading import read, values_of
from flambeau.tensor.recipes import CAST, learn, learn_view
from flambeau.tensor.storage import InferenceStorage, MetaStorage, Storage, looks, storage_of
from flambeau.tensor.tensor import Tensor, creation_of, make_tensor

_new = object.__new__
_NUMBERS = (int, float, complex, np.number, np.bool_)
_OPERANDS = frozenset([Tensor, int, float, bool, complex])  # the commonest classes of operands


def record(op, args: tuple, kwargs: dict):
    """Records a primitive: ``op.check`` gives shape, dtype, inputs and settings."""
    looked_before, warned = looks.count, errors.warned
    shape, dtype, inputs, attrs = op.run_check(args, kwargs)
    if attrs:
        _refuse_unhashable(op, attrs)
    if MetaStorage.some and (like := on_meta(*args, *kwargs.values(), *inputs)) is not None:
        return meta.record(op, shape, dtype, inputs, attrs, like)
    looked = looks.count != looked_before or errors.warned != warned  # neither is part of a recipe
    many = values_of_all(inputs) if len(inputs) >= MANY else None
    for x in inputs if many is None else ():
        if isinstance(x, Tensor) and x._dtype.is_stored:
            _refuse_stored(op, x._dtype)
    given, order = inputs, None
    if many is None and op.layout is elementwise_layout and is_strided(inputs):
        order = op.layout(inputs, shape[0] if op.outputs else shape, attrs)
        if order is not None:
            given = tuple([_permuted(x, order) if isinstance(x, Tensor) and x._shape else x for x in inputs])
            shape = tuple([reordered(s, order) for s in shape]) if op.outputs else reordered(shape, order)
    nodes = tuple([read(x) if isinstance(x, Tensor) else x for x in given]) if many is None else many
    if many is not None:
        node = joined(op, many, attrs, dtype)
    elif op.eager:
        values = _values(nodes, now=True)
        if values is None:  # of what has failed
            run_pending()
        node = _run_now(op, nodes if values is None else values, attrs, dtype)
    elif op.checked and config.values_unknown:  # it looks at them when it runs
        node = Node(op, nodes, attrs, shape, dtype)
        may_fail(node)
    elif op.verify is not None and dtype.is_floating_point and _verify(op, inputs, attrs):
        node = Node(op.verified, nodes, attrs, shape, dtype)
    elif op.checked and (values := _values(nodes, op.sure is None or not op.sure(nodes))) is not None:
        node = _run_now(op, values, attrs, dtype)  # what it refuses is refused here, at the user's line
    else:
        node = Node(op, nodes, attrs, shape, dtype)
        if op.checked:
            may_fail(node)
    if op.outputs:
        parts = [Node(PROJECT, (node,), {"index": i}, s, d) for i, (s, d) in enumerate(zip(node.shape, node.dtype, strict=True))]
    else:
        parts = [node]
    if order is not None:
        results: tuple = tuple([in_order(n, order) for n in parts])
    elif op.layout is None or not op.always_laid_out and not is_strided(inputs):
        results = tuple([make_tensor(storage_of(n), Size(n.shape), n.dtype) for n in parts])
    else:
        rules = op.layout if op.layout.__class__ is tuple else (op.layout,) * len(parts)
        results = tuple([in_memory_order(n, r and r(inputs, n.shape, attrs)) for n, r in zip(parts, rules, strict=True)])
    if not op.outputs:
        results = results[0]
    if many is None:  # which is of tensors that want no gradient, and no part of a recipe
        if grad_mode.enabled and op.grads:
            dispatch.attach(op, results, inputs, attrs)
        if not looked:
            learn(op, args, kwargs, inputs, results)
    if config.eager or len(graph.trace) >= config.max_pending_nodes:
        del nodes, node, parts  # views among them are not kept: kernels see the same strides as in a longer trace
        after_record()
    return op.named_tuple()(results) if op.outputs else results


def _refuse_unhashable(op, attrs: dict) -> None:
    """Raises for a setting that cannot be part of a key: nobody could tell which traces with that node are alike."""
    try:
        hash(tuple(attrs.values()))
    except TypeError:
        for name, value in attrs.items():
            try:
                hash(value)
            except TypeError:
                raise TypeError(
                    f"{op.short_name}(): setting '{name}' must be a number or a tuple of numbers, not {describe(value)}"
                ) from None


def arguments_of(node: Node) -> tuple:
    """What ``node`` reads, as its op takes it."""
    found: list = []
    for x in node.inputs:
        if x.__class__ is Node:  # make_tensor(Storage(x), ...), without the calls
            t, storage = _new(Tensor), _new(Storage)
            storage.node = x
            t._storage, t._shape, t._dtype = storage, x.shape, x.dtype
            x = t
        found.append(x)
    return tuple(found)


def look_again(node: Node) -> None:
    """Lets an op look at the values that it relies on, as it did when a like node was recorded, or else when it runs."""
    if not node.op.verify(arguments_of(node), node.attrs):
        node.op = node.op.verified
        kind_of(node)
        may_fail(node)


def _verify(op, inputs: tuple, attrs: dict) -> bool:
    """Whether an op has looked at the values that it relies on; what is pending runs if they are."""
    if op.verify(inputs, attrs):
        return True
    run_pending()
    return op.verify(inputs, attrs)


def _values(nodes: tuple, now: bool = False) -> tuple | None:
    """The inputs with the values of nodes in place of them; ``None`` where one has not run yet, unless they shall ``now``."""
    found: list = []
    for x in nodes:
        if x.__class__ is Node and x.value is None:
            base = x.inputs[0] if x.op is VIEW else x
            if now and base.value is None:
                run_pending(base)
            if x.value is None:
                if base.value.__class__ is not np.ndarray:
                    return None
                x = VIEW.kernel(base.value, **x.attrs)
        found.append(x)
    return tuple(found)


def known(t: Tensor) -> np.ndarray | None:
    """The values of ``t``, not for writing, where nothing must run to have them."""
    looks.count += 1
    storage = t._storage
    if storage.node.value is None or storage.exposed or t._bits:
        values = _values((read(t),))
        if values is None:
            return None
        value = values[0].value if values[0].__class__ is Node else values[0]
        if value.__class__ is not np.ndarray:
            return None  # that of an op that failed
        if flight.aloft is not None:
            flight.settle(value)
        return value
    return values_of(t)  # no node is made for a look


def _run_now(op, nodes: tuple, attrs: dict, dtype) -> Node:
    """Computes an op on inputs that have their values."""
    if flight.aloft is not None:
        for x in nodes:
            value = x.value if x.__class__ is Node else x
            if value.__class__ is np.ndarray:
                flight.settle(value)
    value = compute_now(op, nodes, attrs, dtype)
    shape = tuple(v.shape for v in value) if value.__class__ is tuple else value.shape
    return leaf(value, shape, dtype)


# --- elementwise ops -----------------------------------------------------------------------------------------


def record_pointwise(op, args: tuple, kwargs: dict) -> Tensor:
    """Records an elementwise op: promotes dtypes, broadcasts shapes, keeps the memory layout of its inputs."""
    if op.only or not _OPERANDS.issuperset(map(type, args)):
        _refuse_operands(op, args, kwargs)
    looked_before = looks.count
    inputs, attrs = op.run_check(args, kwargs)
    looked = looks.count != looked_before
    if attrs:
        _refuse_unhashable(op, attrs)
    result = elementwise(op, inputs, attrs)
    if not looked:
        learn(op, args, kwargs, inputs, result)
    return result


def elementwise(op, inputs: tuple, attrs: dict) -> Tensor:
    """The result of ``op`` on ``inputs``, which are tensors, Python numbers or ``None``."""
    if MetaStorage.some and on_meta(*inputs) is not None:
        return _general(op, inputs, attrs)
    shape = dtype = None
    numbers = False
    nodes = []
    for x in inputs:
        if isinstance(x, Tensor):
            if dtype is None:
                shape, dtype = x._shape, x._dtype
                if dtype.is_stored:
                    return _general(op, inputs, attrs)
            elif x._dtype is not dtype or (x._shape is not shape and x._shape != shape):
                return _general(op, inputs, attrs)
            if x._strides is not None:
                return _general(op, inputs, attrs)
            node = x._storage.node
            plain = node.shape == shape and node.dtype is dtype and not x._offset and not x._storage.exposed
            nodes.append(node if plain else read(x))
        else:
            if x is not None:
                if x.__class__ is not float and x.__class__ is not int or op.fits:
                    return _general(op, inputs, attrs)
                numbers = True
                as_python(x)
            nodes.append(x)
    if dtype is None or dtype.kind < dtypes.FLOATING and (numbers or op.result == "float"):
        return _general(op, inputs, attrs)
    return _finish(op, inputs, tuple(nodes), attrs, shape, dtypes.bool if op.result == "bool" else dtype)


_OF_STORED = frozenset(
    ["_to_dtype", "_clone", "_copy", "fill", "cat", "stack", "flip", "roll", "constant_pad_nd", "_where", "_index", "_index_put"]
    + ["_strided_scatter", "write", "index_select", "index_copy", "_embedding", "abs", "eq", "ne", "isnan", "any", "all"]
)
"""What can be done with numbers that are stored, but not computed with."""
_OF_COMPLEX32 = _OF_STORED - {"flip"} | frozenset(
    "add sub rsub mul addcmul neg sgn conj_physical triu tril index_add index_fill masked_fill _convolution _convolution_input "
    "_convolution_weight linalg.vector_norm std var _std_mean _var_mean isclose isinf isfinite isreal _nonzero count_nonzero".split()
)
"""What there is for complex numbers of half precision, with which PyTorch computes a little."""


def _refuse_stored(op, dtype: dtypes.dtype) -> None:
    """Raises where an op would compute with a dtype that numbers are stored in only."""
    if op.name not in (_OF_COMPLEX32 if dtype is dtypes.complex32 else _OF_STORED):
        name = "div" if op.short_name == "true_divide" else op.short_name
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{dtypes.scalar_name(dtype)}'")


def _finish(op, inputs: tuple, nodes: tuple, attrs: dict, shape, dtype, order=None) -> Tensor:
    if order is None:
        result = make_tensor(storage_of(Node(op, nodes, attrs, shape, dtype)), shape, dtype)
    else:
        result = in_order(Node(op, nodes, attrs, reordered(shape, order), dtype), order)
    if op.checked:
        node = result._storage.node
        if op.verify is not None and not config.values_unknown and op.verify(inputs, attrs):
            node.op = op.verified
        else:
            may_fail(node)
            if op.sure is not None and not op.sure(nodes) and not config.values_unknown:
                run_pending(node)
        del node
    if grad_mode.enabled and op.grads:
        dispatch.attach(op, result, inputs, attrs)
    if config.eager or len(graph.trace) >= config.max_pending_nodes:
        after_record()
    return result


def _general(op, inputs: tuple, attrs: dict) -> Tensor:
    """Records an elementwise op on operands whose dtypes, shapes or memory layouts differ."""
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    if len(tensors) != len(inputs):
        if not tensors and op.name in _OF_NUMBERS and all([isinstance(x, _NUMBERS) for x in inputs[:2]]):
            first, second = [wrap(np.array(as_python(x), number_dtype(x).np)) for x in inputs[:2]]
            return elementwise(op, (first, second, *inputs[2:]), attrs)
        _check_operands(op, inputs)
    compute = tensors[0]._dtype
    if compute.kind < dtypes.FLOATING or len(tensors) != len(inputs) or any(t._dtype is not compute for t in tensors):
        compute = result_type(*[x for x in inputs if x is not None])
        if op.result == "float" and compute.kind < dtypes.FLOATING:
            compute = dtypes.get_default_dtype()
    if compute.is_stored:
        _refuse_stored(op, compute)
    dtype = dtypes.bool if op.result == "bool" else compute
    shape = tensors[0]._shape
    strided = False
    for t in tensors:
        if t._shape != shape:
            shape = broadcast(*[t._shape for t in tensors])
        if t._strides is not None:
            strided = True
    order = (op.layout or elementwise_layout)(inputs, shape, attrs) if strided else None
    if MetaStorage.some and on_meta(*inputs) is not None:
        return _finish_on_meta(op, inputs, attrs, shape, dtype, order)
    nodes = []
    for x in inputs:
        if isinstance(x, Tensor):
            if order is not None and x._shape:
                x = _permuted(x, order)
            node = read(x)
            nodes.append(node if x._dtype is compute else cast_node(node, compute))
        else:
            nodes.append(fitting(x, compute) if op.fits else wrapped(x, compute))
    return _finish(op, inputs, tuple(nodes), attrs, shape, dtype, order)


def _finish_on_meta(op, inputs: tuple, attrs: dict, shape, dtype: dtypes.dtype, order: tuple[int, ...] | None) -> Tensor:
    meta.refuse_others(inputs)
    result = meta.in_order(shape, dtype, order, on_meta(*inputs))
    if grad_mode.enabled and op.grads:
        dispatch.attach(op, result, inputs, attrs)
    return result


def record_in_order(op, input: Tensor, attrs: dict, dtype: dtypes.dtype, order: tuple[int, ...] | None) -> Tensor:
    """Records an op on the elements of one tensor whose result lies in memory with its dims in ``order``."""
    if input._storage.is_meta:
        return _finish_on_meta(op, (input,), attrs, input._shape, dtype, order)
    node = read(input if order is None else _permuted(input, order))
    return _finish(op, (input,), (node,), attrs, input._shape, dtype, order)


_OF_NUMBERS = {"add", "sub", "mul", "true_divide", "floor_divide", "_floored_quotient", "_truncated_divide"}
"""Ops that PyTorch has for two Python numbers too."""


_TWO_FORMS = frozenset(
    [
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "floor_divide",
        "remainder",
        "fmod",
        "pow",
        "float_power",
        "copysign",
        "lerp",
        "rsub",
        "xlogy",
        "xlog1py",
    ]
    + [
        "zeta",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "bitwise_left_shift",
        "bitwise_right_shift",
        "clamp",
        "clamp_min",
        "clamp_max",
    ]
)
"""Ops that PyTorch declares once for a tensor and once for a number, and names both where it is given neither."""


def _refuse_operands(op, args: tuple, kwargs: dict) -> None:
    """Raises where an operand is neither a tensor nor a number that it may be, and not ``None`` where that is the default."""
    code, optional = op.check.__code__, len(op.check.__defaults__ or ())
    names = code.co_varnames[: code.co_argcount]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    for i, name in enumerate(names):
        if name not in given or name not in op.tensors:
            continue
        x = given[name]
        if isinstance(x, Tensor) or name not in op.only and isinstance(x, _NUMBERS) or x is None and i >= len(names) - optional:
            continue
        if op.short_name not in _TWO_FORMS and "_polynomial_" not in op.short_name:
            raise TypeError(f"{op.short_name}(): argument '{name}' (position {i + 1}) must be Tensor, not {describe(x)}")
        got = ", ".join([describe(x) for x in given.values()])
        raise TypeError(
            f"{op.short_name}() received an invalid combination of arguments - got ({got}), but expected one of:\n"
            f" * (Tensor {names[0]}, Tensor {name})\n * (Tensor {names[0]}, Number {name})"
        )


def _check_operands(op, inputs: tuple) -> None:
    if not any(isinstance(x, Tensor) for x in inputs):
        raise TypeError(f"{op.short_name}(): argument '{op.tensors[0]}' (position 1) must be Tensor, not {describe(inputs[0])}")


def _permuted(t: Tensor, order: tuple[int, ...]) -> Tensor:
    lead = len(order) - len(t._shape)
    shape, strides = (1,) * lead + t._shape, (0,) * lead + t.stride()
    out = make_tensor(t._storage, Size([shape[d] for d in order]), t._dtype)
    out._strides = tuple([strides[d] for d in order])
    if t._bits:
        out._bits = t._bits
    else:
        out._strides = normal_strides(out._shape, out._strides)
    out._offset = t._offset
    return out


def result_type(*operands, **named) -> dtypes.dtype:
    """The dtype of arithmetic between tensors and numbers.

    Tensors with dimensions decide; 0-dim tensors, then Python numbers, only where they are of a higher category
    (bool < integer < floating < complex).
    Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch.dtype
    """
    dimensioned = zero_dim = number = None
    for x in (*operands, *named.values()):  # named ``tensor`` and ``other``, or by what NumPy calls them
        if isinstance(x, Tensor):
            if x._shape:
                dimensioned = x._dtype if dimensioned is None else promote_types(dimensioned, x._dtype)
            else:
                zero_dim = x._dtype if zero_dim is None else promote_types(zero_dim, x._dtype)
        else:
            d = number_dtype(x)
            if dtypes.uint64 not in (number, d) or number is None:
                number = d if number is None else promote_types(number, d)
            elif d.kind >= number.kind:
                number = dtypes.uint64 if d.kind == dtypes.INTEGRAL else d
    tensors = _combine(dimensioned, zero_dim)
    if number is dtypes.uint64 and tensors is dtypes.bool:
        return promote_types(tensors, number)  # refuses, as for tensors
    return _combine(tensors, number)  # type: ignore[return-value]


def _combine(higher: dtypes.dtype | None, lower: dtypes.dtype | None) -> dtypes.dtype | None:
    if higher is None or lower is None:
        return higher or lower
    if higher.kind >= lower.kind:
        return higher
    if lower.kind == dtypes.COMPLEX and higher.kind == dtypes.FLOATING:
        return higher.to_complex()
    return lower


def number_dtype(x) -> dtypes.dtype:
    """The dtype that a Python number counts as in promotion."""
    if isinstance(x, (bool, np.bool_)):
        return dtypes.bool
    if isinstance(x, (int, np.integer)):
        return dtypes.int64 if as_python(x) < 1 << 63 else dtypes.uint64
    if isinstance(x, (float, np.floating)):
        return dtypes.get_default_dtype()
    return dtypes.get_default_dtype().to_complex()


def cast_node(node: Node, dtype: dtypes.dtype) -> Node:
    return Node(CAST, (node,), {"dtype": dtype}, node.shape, dtype)


# --- views ---------------------------------------------------------------------------------------------------


def view(op, args: tuple, kwargs: dict):
    """A view, or a tuple of views, of the first argument: shares its storage and remembers its base."""
    looked_before = looks.count
    geometry = op.run_check(args, kwargs)
    looked = looks.count != looked_before
    input = args[0] if args else kwargs[op.tensors[0]]
    kind: list = []
    if op.outputs:
        parts, attrs = geometry
        for part in parts:
            _refuse_outside(op, input, *part)
        results = tuple([make_view(input, *part) for part in parts])
        creation = creation_of(input, True)
        for r in results:
            r._creation = creation if r._base is not None else None
    else:
        shape, strides, offset, attrs, *kind = geometry
        _refuse_outside(op, input, shape, strides, offset, *kind[:1])
        results = make_view(input, shape, strides, offset, *kind)
        if attrs is None:  # memory as another dtype: the tape knows nothing of it
            results._base = None
            return results
    if grad_mode.enabled and op.grads and not input._storage.is_inference:
        dispatch.attach(op, results, (input,), attrs)
    if not looked and not input._bits and not kind[1:]:
        learn_view(op, args, kwargs, results)
    return results


def _refuse_outside(op, input: Tensor, shape, strides, offset: int, dtype: dtypes.dtype | None = None) -> None:
    """Refuses a geometry that shows memory that is not the storage's, whatever the op's own checks let through.

    Once for each layout: what a recipe repeats has been looked at.
    """
    if min(shape, default=0) < 0:
        raise RuntimeError(
            f"numel: integer multiplication overflow: {op.short_name} to the shape {list(shape)}, where a size is negative"
        )
    if 0 in shape:
        return
    storage, count = input._storage, prod(shape)
    if strides is None and (dtype or input._dtype) is storage.dtype and offset >= 0 and offset + count <= storage.size:
        return
    if count >= 1 << 63:
        raise RuntimeError(f"numel: integer multiplication overflow: {op.short_name} to the shape {list(shape)}")
    itemsize = (dtype or input._dtype).itemsize
    reach = [(n - 1) * s for n, s in zip(shape, contiguous_strides(shape) if strides is None else strides, strict=True)]
    low, high = offset + sum([r for r in reach if r < 0]), offset + sum([r for r in reach if r > 0])
    have = storage.size * storage.dtype.itemsize
    if low < 0 or (high + 1) * itemsize > have:
        raise RuntimeError(
            f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and itemsize {itemsize} "
            f"requiring a storage size of {(high + 1) * itemsize} are out of bounds for storage of size {have}"
        )


def make_view(input: Tensor, shape, strides, offset: int, dtype: dtypes.dtype | None = None, flip: str = "") -> Tensor:
    """A tensor on ``input``'s storage with a geometry of its own; ``flip`` is a bit that it has where ``input`` has not."""
    result = make_tensor(input._storage, shape if shape.__class__ is Size else Size(shape), dtype or input._dtype)
    result._strides = normal_strides(result._shape, strides) if strides is not None else None
    result._offset = offset
    bits = input._bits ^ {flip} if flip else input._bits
    if bits:
        result._bits = bits
        result._strides = contiguous_strides(result._shape) if strides is None else strides
    if input._storage.is_inference:  # the tape will never know of it
        return result
    result._base = input if input._base is None else input._base
    result._history = input._storage.history
    if input._creation is not None or not grad_mode.enabled:
        result._creation = creation_of(input, False)
    return result


def flipped(node: Node, bits: frozenset[str]) -> Node:
    """The elements that a view with these bits has where ``node`` is what is in memory, and the other way round."""
    for name, op in (("conj", conj_physical.op), ("neg", neg.op)):
        if name in bits:
            node = Node(op, (node,), {}, node.shape, node.dtype)
    return node


# --- tensors over arrays -------------------------------------------------------------------------------------


def wrap(array: np.ndarray, dtype: dtypes.dtype | None = None) -> Tensor:
    """A tensor over an array that nobody else will write to."""
    if array.__class__ is not np.ndarray:
        array = np.asarray(array)  # NumPy's arithmetic gives scalars, which have no memory of their own, for 0-dim arrays
    if dtype is None:
        dtype = dtypes.from_numpy(array.dtype)
    elif array.dtype is not dtype.np and array.dtype != dtype.np:
        array = dtypes.cast(array, dtype)
    if not array.flags.c_contiguous:
        array = array.copy("C")
    shape = size_of_ints(array.shape)
    after_creation(array.nbytes)
    # make_tensor(storage_of(leaf(array, shape, dtype)), shape, dtype), without two of the calls; that of leaf is watched for.
    storage, result = _new(InferenceStorage if grad_mode.enabled is None else Storage), _new(Tensor)
    storage.node = leaf(array, shape, dtype)
    result._storage, result._shape, result._dtype = storage, shape, dtype
    return result


dispatch.record = record
dispatch.record_pointwise = record_pointwise
dispatch.record_in_order = record_in_order
dispatch.flipped = flipped
dispatch.view = view
dispatch.wrap = wrap
dispatch.known = known
dispatch.result_type = result_type
dispatch.Tensor = Tensor
