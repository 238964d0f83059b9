"""A model as a C library: an object file that any linker takes, and a header.

The object has the weights, the kernels and, for each size of the arguments, tables of which kernels run on what, as a slim file
has them (see :mod:`flambeau.slim.planning`). A function walks through these tables. It keeps nothing between calls, so several
threads may call it; what memory it needs comes from ``malloc``, or from the caller. No kernel starts a thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flambeau.engine.cpu.compiler import Machine
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.frame import Function, module, parameter
from flambeau.serialization.files import replacing
from flambeau.slim.linking import place_of
from flambeau.slim.planning import CODE, FIRST
from flambeau.slim.recording import Argument, Weights
from flambeau.slim.targets import TARGETS, Assembly, targets_of
from flambeau.version import release

ALIGNED = 64
"""Where weights and intermediate values begin: at multiples of so many bytes."""
INDEX, VALUE, NO_MEMORY, NO_SIZE = 1, 2, 3, 4
"""What functions return where they have no results."""


class Library(NamedTuple):
    """What goes into a library: the prefix of its names and, for each size, the arguments, the results and the plan."""

    name: str
    inputs: list[list[Argument]]
    outputs: list[list[Argument]]
    plans: list[dict[str, Any]]


class ObjectAssembly(Assembly):
    """Makes code that a linker may put anywhere, for one thread."""

    def __init__(self, target: str) -> None:
        (self.name,) = targets_of([target])
        super().__init__(TARGETS[self.name]._replace(model="small"), reloc="pic")

    def symbol(self, name: str) -> int:
        """There is no pool of threads."""
        return 0


def name_of(path: Path) -> str:
    """The prefix of a library's names: its file's name, which must be one of C's."""
    if path.suffix != ".o" or not re.fullmatch(r"[A-Za-z_]\w*", path.stem, re.ASCII):
        raise ValueError(f"{path.name!r}: functions are named after the file, so call it by a name of C's and .o, such as digits.o")
    return path.stem


def write(path: Path, library: Library, weights: Weights, assembly: ObjectAssembly) -> None:
    """Writes the object file and, beside it, the header."""
    starts, size = [], 0
    for weight in weights.all:
        starts.append(size)
        size += -(-weight.value.nbytes // ALIGNED) * ALIGNED
    assembly.compile_ir(_module(library, starts, size, assembly.machine), f"{library.name}_run")
    code = bytearray(assembly.object_code(public=[f"{library.name}_{what}" for what in ("run", "run_size", "run_in")]))
    at = place_of(code, f"{library.name}_weights")  # zeros until here: LLVM's text of them would be several times as long
    for start, weight in zip(starts, weights.all):
        stored = np.ascontiguousarray(weight.value).reshape(-1).view(np.uint8)
        code[at + start : at + start + len(stored)] = stored.data
    for file, content in ((path, bytes(code)), (path.with_suffix(".h"), _header(library, len(starts), assembly.name).encode())):
        with replacing(os.fspath(file)) as out:
            out.write(content)


# --- the code ----------------------------------------------------------------------------------------------------

_COUNTS = 4
_TABLES = ("sources", "offsets", "starts", "functions", "group", "numbers", "copies")
"""A plan is four counts (of arguments, kernels, groups of kernels and words for refusals) and the addresses of tables of words: of
each argument its source and its offset; of each kernel its first argument and its address; of each group of kernels how many there
are, and what is wrong if one of them refuses its values; numbers that kernels are told; of each result the place of the one that
it is a copy of, or -1, and its bytes."""

_CALLED = """
declare ptr @malloc(i64)
declare void @free(ptr)

define i32 @{name}_run_in(i64 %size, ptr %inputs, ptr %outputs, ptr %memory) {{
  %wrong = alloca i64
  call void @{name}_body(i64 %size, ptr %inputs, ptr %outputs, ptr %memory, ptr %wrong)
  %found = load i64, ptr %wrong
  %code = trunc i64 %found to i32
  ret i32 %code
}}

define i32 @{name}_run_size(i64 %size, ptr %inputs, ptr %outputs) {{
  %memory = call ptr @malloc(i64 {memory})
  %none = icmp eq ptr %memory, null
  br i1 %none, label %short, label %enough
enough:
  %code = call i32 @{name}_run_in(i64 %size, ptr %inputs, ptr %outputs, ptr %memory)
  call void @free(ptr %memory)
  ret i32 %code
short:
  ret i32 {no_memory}
}}

define i32 @{name}_run(ptr %inputs, ptr %outputs) {{
  %code = call i32 @{name}_run_size(i64 0, ptr %inputs, ptr %outputs)
  ret i32 %code
}}
"""


def _memory(library: Library, weights: int) -> int:
    """The bytes that a call needs for its tables and intermediate values."""
    words = [_sources(library, weights) + len(p["sources"]) + 2 * len(p["kernels"]) + p["faults"] for p in library.plans]
    return 8 * max(words) + ALIGNED + max(p["arena"] for p in library.plans)


def _sources(library: Library, weights: int) -> int:
    """How many sources there are."""
    return FIRST + len(library.inputs[0]) + len(library.outputs[0]) + weights


def _module(library: Library, starts: list[int], size: int, machine: Machine) -> str:
    """LLVM's text of what runs the kernels."""
    name, code = library.name, Code(machine)
    _write_body(code, library, len(starts))
    used = {f for p in library.plans for f in (*p["kernels"], *(x for x in p["offsets"] if isinstance(x, str)))}
    parts = [
        f'@{name}_weights = externally_initialized constant [{max(size, 1)} x i8] zeroinitializer, section ".rodata.{name}_weights", align {ALIGNED}',
        _table(f"{name}_weight_places", [f"add ({_address(f'{name}_weights')}, i64 {start})" for start in starts]),
        *(line for k, plan in enumerate(library.plans) for line in _tables_of(f"{name}_plan_{k}", plan, len(library.inputs[0]))),
        _table(f"{name}_plans", [_address(f"{name}_plan_{k}") for k in range(len(library.plans))]),
        *(f'declare void @"{f}"(ptr)' for f in sorted(used)),
        module(Function(f"{name}_body", "i64 %size, ptr %inputs, ptr %outputs, ptr %memory, ptr %wrong", code, "internal")),
        _CALLED.format(name=name, memory=_memory(library, len(starts)), no_memory=NO_MEMORY),
    ]  # fmt: skip
    return "\n".join(parts)


def _address(symbol: str) -> str:
    return f'i64 ptrtoint (ptr @"{symbol}" to i64)'


def _table(name: str, words: Sequence[int | str]) -> str:
    """A table of words: numbers, or addresses as LLVM spells them."""
    spelled = [f"i64 {word}" if isinstance(word, int) or word.startswith("add") else word for word in words]
    return f"@{name} = internal constant [{len(words)} x i64] [{', '.join(spelled)}], align 8"


def _tables_of(name: str, plan: dict[str, Any], given: int) -> Iterator[str]:
    """A plan's tables. Callers give memory for results in their order, of which one may be there twice."""
    outputs, results = plan["outputs"], plan["results"]
    place = {output: results.index(output) for output in results}

    def source(s: int) -> int:
        k = s - FIRST - given
        if s == CODE:
            return 0  # its offsets are whole addresses
        return s if k < 0 else s - k + place[k] if k < len(outputs) else s - len(outputs) + len(results)

    sizes = [prod(shape) * np.dtype(dtype).itemsize for shape, dtype in outputs]
    wrong = {None: 0, "index": INDEX, "value": VALUE}
    words: dict[str, list[int | str]] = {
        "sources": [source(s) for s in plan["sources"]],
        "offsets": [_address(x) if isinstance(x, str) else x for x in plan["offsets"]],
        "starts": plan["starts"],
        "functions": [_address(f) for f in plan["kernels"]],
        "group": [word for count, refusal in plan["calls"] for word in (count, wrong[refusal and refusal[0]])],
        "numbers": plan["numbers"],
        "copies": [
            word for k, output in enumerate(results) for word in ((-1, 0) if place[output] == k else (place[output], sizes[output]))
        ],
    }
    for table in _TABLES:
        yield _table(f"{name}_{table}", words[table])
    counts = [len(plan["sources"]), len(plan["kernels"]), len(plan["calls"]), plan["faults"]]
    yield _table(name, [*counts, *(_address(f"{name}_{table}") for table in _TABLES)])


def _write_body(code: Code, library: Library, weights: int) -> None:
    """Runs the plan of a size: ``wrong`` becomes 0, or says why there are no results."""
    size, (inputs, outputs, memory, wrong) = (
        parameter(code, "size", "i64"),
        [parameter(code, name) for name in ("inputs", "outputs", "memory", "wrong")],
    )
    zero, given, made = code.index(0), len(library.inputs[0]), len(library.outputs[0])
    wrong.store(code.index(NO_SIZE))

    def at(table: Value, k: Value | int) -> Value:
        return table.offset(k, "i64")

    def word(table: Value, k: Value | int) -> Value:
        return at(table, k).load("i64")

    def each(count: Value | int, do: Callable[[Value], None]) -> None:
        def step(k: Value, _: list[Value]) -> list[Value]:
            do(k)
            return []

        code.loop(zero, count if isinstance(count, Value) else code.index(count), 1, [], step)

    def where(condition: Value, do: Callable[[], None]) -> None:
        def then() -> list[Value]:
            do()
            return []

        code.when(condition, [], then)

    def run() -> None:
        wrong.store(zero)
        plan = at(Value(code, f"@{library.name}_plans", "ptr", 0), size).load("ptr")
        arguments, kernels, groups, faults = (word(plan, k) for k in range(_COUNTS))
        sources, offsets, starts, functions, group, numbers, copies = (
            at(plan, _COUNTS + k).load("ptr") for k in range(len(_TABLES))
        )
        # The memory: where each source begins; what the kernels are told; for each kernel its address and where that is; refusals;
        # the arena.
        told = at(memory, _sources(library, weights))
        calls = at(told, arguments)
        refusals = at(calls, kernels * 2)
        arena = (at(refusals, faults).convert("ptrtoint", "i64") + (ALIGNED - 1)) & -ALIGNED
        for k, start in enumerate([zero, zero, arena, refusals.convert("ptrtoint", "i64"), numbers.convert("ptrtoint", "i64")]):
            at(memory, k).store(start)
        places = Value(code, f"@{library.name}_weight_places", "ptr", 0)
        for first, count, table in (
            (FIRST, given, inputs),
            (FIRST + given, made, outputs),
            (FIRST + given + made, weights, places),
        ):
            each(count, lambda k, first=first, table=table: at(memory, k + first).store(word(table, k)))  # type: ignore[misc]
        each(faults, lambda k: at(refusals, k).store(zero))
        each(arguments, lambda k: at(told, k).store(word(memory, word(sources, k)) + word(offsets, k)))

        def call(k: Value) -> None:
            at(calls, k * 2).store(word(functions, k))
            at(calls, k * 2 + 1).store(at(told, word(starts, k)).convert("ptrtoint", "i64"))

        def look(refusal: Value) -> None:
            each(faults, lambda k: where(word(refusals, k).compare("eq", 1), lambda: wrong.store(refusal)))

        def run_group(k: Value, done: list[Value]) -> list[Value]:
            count, refusal = word(group, k * 2), word(group, k * 2 + 1)

            def compute() -> None:
                code.perform("flambeau_run", [at(calls, done[0] * 2), count])
                where(refusal.compare("ne", 0), lambda: look(refusal))

            where(wrong.load("i64").compare("eq", 0), compute)  # not after a kernel that has refused its values
            return [done[0] + count]

        def copy_bytes(to: Value, source: Value, count: Value) -> None:
            code.perform("llvm.memcpy.p0.p0.i64", [to.load("ptr"), source.load("ptr"), count, code.const(0, "i1")])

        def copy(k: Value) -> None:
            first = word(copies, k * 2)
            where(first.compare("sge", 0), lambda: copy_bytes(at(outputs, k), at(outputs, first), word(copies, k * 2 + 1)))

        each(kernels, call)
        code.loop(zero, groups, 1, [zero], run_group)
        where(wrong.load("i64").compare("eq", 0), lambda: each(made, copy))

    where(size.compare("ult", len(library.plans)), run)


# --- the header --------------------------------------------------------------------------------------------------

_TYPES = {
    "float32": "float", "float64": "double", "float16": "uint16_t", "int64": "int64_t", "int32": "int32_t", "int16": "int16_t", "int8": "int8_t", "uint8": "uint8_t",
    "bool": "uint8_t",
}  # fmt: skip

_HEADER = """/* {name}, made by flambeau {release} for {target}.

   {name}_run computes
{results}
   of
{arguments}
   Arrays are contiguous, the last dim being the innermost, and belong to the caller; results may not overlap with arguments.
*/
#ifndef FLAMBEAU_{upper}_H
#define FLAMBEAU_{upper}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

enum {{
    {upper}_INPUTS = {inputs},
    {upper}_OUTPUTS = {outputs},
    {upper}_SIZES = {sizes},  /* combinations of sizes that the arguments may have */
    {upper}_MEMORY = {memory}  /* bytes that a call needs */
}};

/* The elements of each argument and result, by the number of the size. */
static const int64_t {name}_input_elements[{upper}_SIZES][{upper}_INPUTS] = {{{input_elements}}};
static const int64_t {name}_output_elements[{upper}_SIZES][{upper}_OUTPUTS] = {{{output_elements}}};

/* What functions return: whether results are there, or why not. */
enum {{
    {upper}_OK = 0,
    {upper}_INDEX = {index},  /* an index is out of range */
    {upper}_VALUE = {value},  /* a value that an operation refuses, such as a division by 0 */
    {upper}_NO_MEMORY = {no_memory},
    {upper}_NO_SIZE = {no_size}  /* there is no such size */
}};

/* Computes for the first size. Threads may call it at once. */
int {name}_run(const void *const inputs[], void *const outputs[]);

/* The same for another one: {by_size}. */
int {name}_run_size(int64_t size, const void *const inputs[], void *const outputs[]);

/* The same in {upper}_MEMORY bytes of the caller's, at a multiple of 8; it calls malloc no more than kernels need it. */
int {name}_run_in(int64_t size, const void *const inputs[], void *const outputs[], void *memory);

#ifdef __cplusplus
}}
#endif
#endif
"""


def _header(library: Library, weights: int, target: str) -> str:
    def told(arrays: list[list[Argument]]) -> str:
        """A line for each argument or result, with the sizes of all plans."""
        lines = []
        for k, same in enumerate(zip(*arrays)):
            sizes = [str(n[0]) if len(set(n)) == 1 else f"{min(n)}..{max(n)}" for n in zip(*(x.shape for x in same))]
            kind = same[0].dtype.name
            lines.append(
                f"     [{k}] {same[0].name}: {_TYPES[kind]}{''.join(f'[{n}]' for n in sizes)}{' (float16)' * (kind == 'float16')}"
            )
        return "\n".join(lines)

    def elements(arrays: list[list[Argument]]) -> str:
        return ", ".join("{" + ", ".join(str(prod(x.shape)) for x in row) + "}" for row in arrays)

    shapes = [", ".join("x".join(map(str, x.shape)) or "a number" for x in row) for row in library.inputs]
    by_size = f"0 is {shapes[0]}" + (f", {len(shapes) - 1} is {shapes[-1]}" if len(shapes) > 1 else "")
    return _HEADER.format(
        name=library.name, upper=library.name.upper(), release=release, target=target, arguments=told(library.inputs), results=told(library.outputs),
        inputs=len(library.inputs[0]), outputs=len(library.outputs[0]), sizes=len(library.plans), memory=_memory(library, weights),
        input_elements=elements(library.inputs), output_elements=elements(library.outputs), index=INDEX, value=VALUE, no_memory=NO_MEMORY, no_size=NO_SIZE,
        by_size=by_size,
    )  # fmt: skip
