"""Machines that models are exported for, and how machine code for them is made here, whatever this machine is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import llvmlite.binding as llvm

from flambeau.engine.cpu import threads, workers
from flambeau.engine.cpu.compiler import LEVELS, RUN, Machine, Session
from flambeau.slim.linking import Image, link


class Target(NamedTuple):
    """A kind of machine: LLVM's triple, what the code generators must know of it, and how code finds what it refers to.

    On x86-64 all addresses are whole ones (the large code model), on aarch64 they are relative to the code.
    """

    triple: str
    machine: Machine
    model: str


TARGETS = {
    "x86-64-v4": Target("x86_64-unknown-linux-gnu", LEVELS["avx512"], "large"),
    "x86-64-v3": Target("x86_64-unknown-linux-gnu", LEVELS["avx2"], "large"),
    "x86-64-v2": Target("x86_64-unknown-linux-gnu", LEVELS["generic"], "large"),
    "aarch64": Target("aarch64-unknown-linux-gnu", Machine("generic", "+neon", 16, 32, True, True), "small"),
}
"""By name. The levels of x86-64 are those of its `psABI <https://gitlab.com/x86-psABIs/x86-64-ABI>`_."""


def targets_of(names: Sequence[str] | None) -> list[str]:
    """The targets with these names; if none are given, all levels of x86-64. ``ValueError`` where there is no such target."""
    found = [name for name in TARGETS if name.startswith("x86-64")] if names is None else list(dict.fromkeys(names))
    unknown = [name for name in found if name not in TARGETS]
    if unknown or not found:
        raise ValueError(f"targets: {', '.join(map(repr, unknown)) or 'none'}; there are {', '.join(TARGETS)}")
    return found


class Assembly(Session):
    """A session that makes machine code for another machine. Nothing of it runs here: its addresses only stand for functions.

    They are numbers that nothing else among a kernel's words can be: no size is so large, and as a double they are no number.
    """

    _FIRST = 0xFFF5 << 48
    _names_of_pool = frozenset([threads.ENTRY, threads.LIGHT_ENTRY])

    def __init__(self, target: Target, reloc: str = "static") -> None:  # nothing of what a session needs to run code
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        self.machine, self.memo = target.machine, {}
        self._triple = target.triple
        self._target = llvm.Target.from_triple(target.triple).create_target_machine(
            target.machine.cpu, target.machine.features, opt=2, reloc=reloc, codemodel=target.model
        )
        self._modules: list[str] = []
        self._names: list[str] = []
        self.compile_ir(RUN, "flambeau_run")

    def compile_ir(self, ir: str, name: str) -> int:
        """What stands for the address of the function ``name`` of the module ``ir``, which is compiled later."""
        self._modules.append(ir)
        return self.address(name)

    def address(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
        return self._FIRST + 16 * self._names.index(name)

    def symbol(self, name: str) -> int:
        """An entry of the pool of threads, which is only there where a kernel is told of it."""
        if not self._names_of_pool.intersection(self._names):
            self.compile_ir(workers.runtime(self._triple), name)
        return self.address(name)

    def name_of(self, word: int) -> str | None:
        """The function that a word stands for, if it is an address."""
        place, rest = divmod((word & _WORD) - self._FIRST, 16)
        return self._names[place] if 0 <= place < len(self._names) and not rest else None

    def object_code(self, public: Sequence[str] = ()) -> bytes:
        """All that has been made as one object file. Of other files only the ``public`` functions are seen, so that several such
        files may be linked; where there are none, nothing is seen from outside of what all is linked to."""
        whole = llvm.parse_assembly(self._modules[0])
        for ir in self._modules[1:]:
            whole.link_in(llvm.parse_assembly(ir))
        for function in whole.functions:  # as in a session: nothing unwinds
            function.add_function_attribute("nounwind")
        for value in (*whole.functions, *whole.global_variables):  # nobody else has a say in what they are
            if value.is_declaration or value.linkage != llvm.Linkage.external or value.name in public:
                continue
            if public:
                value.linkage = "internal"
            else:
                value.visibility = "hidden"
        code: bytes = self._target.emit_object(whole)
        return code

    def image(self) -> Image:
        """The machine code of all that has been made, with the functions that are known by name and what a loader calls."""
        image = link(self.object_code())
        known = {name: at for name, at in image.symbols.items() if name in self._names or name in _CALLED}
        return image._replace(symbols=known)


_WORD = (1 << 64) - 1
_CALLED = ("flambeau_threads_reset", "flambeau_threads_limit", "flambeau_threads_stop")
