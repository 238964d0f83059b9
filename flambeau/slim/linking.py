"""From an object file to an image of memory that a loader has only to copy, and to tell where it lies.

LLVM leaves places in machine code open that depend on where its parts come to lie. In an image that is known, but for where it
begins and where the functions of the C library are. So a loader adds the beginning to some words, and stores some functions'
addresses.

Source: the ABIs of `ELF <https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html>`_, of
`x86-64 <https://gitlab.com/x86-psABIs/x86-64-ABI>`_ and of `aarch64 <https://github.com/ARM-software/abi-aa>`_.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

PAGE = 1 << 16
"""Parts with different rights begin with pages; no machine has larger ones."""

_HEADER = struct.Struct("<4sB11x2HIQQQI6H")
_SECTION = struct.Struct("<2I4Q2I2Q")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<2Qq")
_X86_64, _AARCH64 = 62, 183
_SYMBOLS, _RELOCATIONS, _ZEROS = 2, 4, 8  # kinds of sections
_WRITABLE, _IN_MEMORY, _EXECUTABLE = 1, 2, 4
_STUB = {_X86_64: b"\xff\x25\x02\0\0\0\x0f\x0b", _AARCH64: b"\x50\0\0\x58\0\x02\x1f\xd6"}
"""Code that jumps to the address in the 8 bytes behind it."""


class Image(NamedTuple):
    """Memory as it shall be.

    ``parts``    (offset, size, rights) of what may be executed (``"rx"``), only read (``"r"``), or written (``"rw"``)
    ``content``  what is in the parts, one behind the other; addresses inside are relative to the beginning of the memory
    ``moved``    where words are to which the beginning is to be added
    ``imports``  for each function of others' where words are that are to become its address
    ``symbols``  where functions are
    """

    parts: list[tuple[int, int, str]]
    content: bytes
    moved: list[int]
    imports: dict[str, list[int]]
    symbols: dict[str, int]


class _Section(NamedTuple):
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


def link(code: bytes) -> Image:
    """The image of an object file of LLVM's, for x86-64 or aarch64."""
    return _Linker(code).image()


def place_of(code: bytes | bytearray, name: str) -> int:
    """Where in an object file the content of a symbol is."""
    linker = _Linker(code)
    return next(linker.sections[section].offset + value for symbol, section, value in linker._symbols() if symbol == name)


class _Linker:
    def __init__(self, code: bytes | bytearray) -> None:
        self.code = code
        header = _HEADER.unpack_from(code)
        self.machine, start, count = header[3], header[7], header[13]
        self.sections = []
        for k in range(count):
            _, kind, flags, _, offset, size, link, info, align, _ = _SECTION.unpack_from(code, start + k * _SECTION.size)
            self.sections.append(_Section(kind, flags, offset, size, link, info, max(align, 1)))
        self.memory = bytearray()
        self.parts: list[tuple[int, int, str]] = []
        self.moved: list[int] = []
        self.imports: dict[str, list[int]] = {}
        self.stubs: dict[str, int] = {}
        self.starts: dict[int, int] = {}  # of sections, in the image

    def image(self) -> Image:
        symbols = self._symbols()
        unknown = sorted({name for name, section, _ in symbols if name and not section})
        for rights, flags in (("rx", _EXECUTABLE), ("r", 0), ("rw", _WRITABLE)):
            self.memory.extend(bytes(-len(self.memory) % PAGE))
            start = len(self.memory)
            for k, section in enumerate(self.sections):
                if section.flags & _IN_MEMORY and section.flags & (_EXECUTABLE | _WRITABLE) == flags:
                    self._place(k, section)
            for name in unknown if rights == "rx" else ():
                self._add_stub(name)
            if len(self.memory) > start:
                self.parts.append((start, len(self.memory) - start, rights))
        for section in self.sections:
            if section.kind == _RELOCATIONS and section.info in self.starts:
                for at in range(section.offset, section.offset + section.size, _RELOCATION.size):
                    place, info, addend = _RELOCATION.unpack_from(self.code, at)
                    name, where, value = symbols[info >> 32]
                    self._relocate(self.starts[section.info] + place, info & 0xFFFFFFFF, name, where, value + addend)
        defined = {name: self.starts[where] + value for name, where, value in symbols if name and where in self.starts}
        content = b"".join([self.memory[start : start + size] for start, size, _ in self.parts])
        return Image(self.parts, content, sorted(self.moved), self.imports, defined)

    def _symbols(self) -> list[tuple[str, int, int]]:
        """(name, section, value) of each symbol; the section is 0 for what is defined elsewhere."""
        table = next(s for s in self.sections if s.kind == _SYMBOLS)
        names = self.sections[table.link].offset
        found = []
        for at in range(table.offset, table.offset + table.size, _SYMBOL.size):
            name, _, _, section, value, _ = _SYMBOL.unpack_from(self.code, at)
            end = self.code.index(b"\0", names + name)
            found.append((self.code[names + name : end].decode(), section, value))
        return found

    def _place(self, k: int, section: _Section) -> None:
        self.memory.extend(bytes(-len(self.memory) % section.align))
        self.starts[k] = len(self.memory)
        content = bytes(section.size) if section.kind == _ZEROS else self.code[section.offset : section.offset + section.size]
        self.memory.extend(content)

    def _add_stub(self, name: str) -> None:
        self.memory.extend(bytes(-len(self.memory) % 8))
        self.stubs[name] = len(self.memory)
        self.memory.extend(_STUB[self.machine])
        self.imports[name] = [len(self.memory)]
        self.memory.extend(bytes(8))

    def _relocate(self, at: int, kind: int, name: str, section: int, value: int) -> None:
        """Fills in the place ``at``, which refers to ``value`` bytes behind the beginning of a section, or of a function of
        others'."""
        through_table = self.machine == _AARCH64 and kind in _THROUGH_TABLE
        if section in self.starts and not through_table:
            target = self.starts[section] + value
        elif not section and name in self.stubs and not value:
            target = self.imports[name][0] if through_table else self.stubs[name]
        else:
            raise ValueError(f"machine code refers to {name or 'something'} in a way that is not known")
        if (self.machine, kind) in _WHOLE:
            struct.pack_into("<Q", self.memory, at, target)
            self.moved.append(at)
        elif (self.machine, kind) in _RELATIVE:
            struct.pack_into("<i", self.memory, at, target - at)
        elif self.machine == _AARCH64:
            (word,) = struct.unpack_from("<I", self.memory, at)
            struct.pack_into("<I", self.memory, at, _aarch64(word, kind, target, at))
        else:
            raise ValueError(f"machine code has a relocation of the kind {kind}, which is not known")


_WHOLE = {(_X86_64, 1), (_AARCH64, 257)}
_RELATIVE = {(_X86_64, 2), (_X86_64, 4), (_AARCH64, 261)}
"""Words of 8 bytes with an address, and of 4 bytes that say how far it is from there."""
_SHIFTS = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4, 312: 3}
"""Of the place in a page, as instructions of aarch64 have it: add, and loads and stores of 1, 2, 4, 8 and 16 bytes."""
_THROUGH_TABLE = (311, 312)
"""What reads the address of a function of others' from a table: from behind its stub."""


def _aarch64(word: int, kind: int, target: int, at: int) -> int:
    """An instruction of aarch64 that refers to ``target``."""
    if kind in (282, 283):  # jumps and calls
        return word | (target - at >> 2) & 0x3FFFFFF
    if kind in (275, 311):  # pages
        pages = (target >> 12) - (at >> 12)
        return word | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    if kind in _SHIFTS:
        return word | ((target & 0xFFF) >> _SHIFTS[kind]) << 10
    raise ValueError(f"machine code has a relocation of the kind {kind}, which is not known")
