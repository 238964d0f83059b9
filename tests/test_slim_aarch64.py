"""Slim models' code for aarch64, run by an emulator of that machine where there is one (``qemu-aarch64``, or its static twin).

There is no Python for it, so a model, its weights and arguments become one executable file without libraries, which writes its
results.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from flambeau.slim.planning import CODE, plan_of
from flambeau.slim.recording import Recording, Weights
from flambeau.slim.targets import TARGETS, Assembly
from tests.slim_models import flat, models

EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
pytestmark = pytest.mark.skipif(EMULATOR is None, reason="needs qemu-aarch64")

START = """
@order = global [4 x i64] zeroinitializer
@used = global i64 0
@heap = global [HEAP x i8] zeroinitializer, align 64

@system = global [3 x i32] [i32 u0xAA0303E8, i32 u0xD4000001, i32 u0xD65F03C0]  ; mov x8, x3; svc #0; ret

declare void @flambeau_run(ptr, i64)

define void @_start() {
  %place = getelementptr i64, ptr @order, i64 1
  %place2 = getelementptr i64, ptr @order, i64 2
  %place3 = getelementptr i64, ptr @order, i64 3
  %table = load ptr, ptr @order
  %count = load i64, ptr %place
  %results = load ptr, ptr %place2
  %size = load i64, ptr %place3
  call void @flambeau_run(ptr %table, i64 %count)
  call i64 @system(i64 1, ptr %results, i64 %size, i64 64)
  call i64 @system(i64 0, ptr null, i64 0, i64 93)
  unreachable
}

define ptr @malloc(i64 %size) {
  %start = load i64, ptr @used
  %end = add i64 %start, %size
  %end63 = add i64 %end, 63
  %next = and i64 %end63, -64
  store i64 %next, ptr @used
  %memory = getelementptr i8, ptr @heap, i64 %start
  ret ptr %memory
}

define void @free(ptr %memory) {
  ret void
}

define ptr @memcpy(ptr %to, ptr %from, i64 %size) {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %done = icmp eq i64 %i, %size
  br i1 %done, label %exit, label %body
body:
  %source = getelementptr i8, ptr %from, i64 %i
  %target = getelementptr i8, ptr %to, i64 %i
  %byte = load volatile i8, ptr %source
  store volatile i8 %byte, ptr %target
  %next = add i64 %i, 1
  br label %head
exit:
  ret ptr %to
}

define ptr @memset(ptr %to, i32 %value, i64 %size) {
entry:
  %byte = trunc i32 %value to i8
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %done = icmp eq i64 %i, %size
  br i1 %done, label %exit, label %body
body:
  %target = getelementptr i8, ptr %to, i64 %i
  store volatile i8 %byte, ptr %target
  %next = add i64 %i, 1
  br label %head
exit:
  ret ptr %to
}
""".replace("HEAP", str(4 << 20))
"""What a program begins with, and what it would have of the C library. ``order`` is filled in."""

BASE = 1 << 22


class Program:
    """A model and its arguments as an executable file: ``memory`` by the addresses at which it begins."""

    def __init__(self, model, args: tuple) -> None:
        recording, assembly, weights = Recording(model, args, {}), Assembly(TARGETS["aarch64"]), Weights()
        plan = plan_of(recording, assembly, weights)
        assembly.compile_ir(START, "_start")
        assembly.address("order")
        image = assembly.image()
        self.symbols, self.results = image.symbols, recording.results
        code, taken = bytearray(), 0
        for start, size, _ in image.parts:
            code.extend(bytes(start - len(code)) + image.content[taken : taken + size])
            taken += size
        for place in image.moved:
            self.put(code, place, struct.unpack_from("<Q", code, place)[0] + BASE)
        self.data, self.data_at = bytearray(), BASE + -(-len(code) // 65536) * 65536
        own = [
            self.add(bytes(plan["arena"])),
            self.add(bytes(8 * plan["faults"])),
            self.add(np.array(plan["numbers"], np.int64).tobytes()),
        ]
        inputs = [self.add(x.numpy().tobytes()) for x in args]
        outputs = [self.add(bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)) for shape, dtype in plan["outputs"]]
        held = [self.add(np.ascontiguousarray(w.value).tobytes()) for w in weights.all]
        bases = [0, BASE, *own, *inputs, *outputs, *held]
        words = [bases[s] + (self.symbols[x] if s == CODE else x) for s, x in zip(plan["sources"], plan["offsets"])]
        arguments = self.add(b"".join([struct.pack("<Q", word % (1 << 64)) for word in words]))
        table = [(BASE + self.symbols[name], arguments + 8 * start) for name, start in zip(plan["kernels"], plan["starts"])]
        self.places = [outputs[k] - self.data_at for k in plan["results"]]
        order = self.add(b"".join([struct.pack("<QQ", *pair) for pair in table])), len(table), self.data_at, len(self.data)
        for k, word in enumerate(order):
            self.put(code, self.symbols["order"] + 8 * k, word)
        self.code = bytes(code)

    @staticmethod
    def put(memory: bytearray, place: int, word: int) -> None:
        struct.pack_into("<Q", memory, place, word)

    def add(self, content: bytes) -> int:
        self.data.extend(bytes(-len(self.data) % 64))
        start = len(self.data)
        self.data.extend(content)
        return self.data_at + start

    def write(self, path: Path) -> None:
        parts = [(BASE, self.code), (self.data_at, bytes(self.data))]
        head = struct.pack(
            "<4s12B2HIQQQI6H", b"\x7fELF", 2, 1, 1, *[0] * 9, 2, 183, 1, BASE + self.symbols["_start"], 64, 0, 0, 64, 56, 2, 0, 0, 0
        )
        content = b""
        for address, memory in parts:
            head += struct.pack("<2I6Q", 1, 7, 65536 + len(content), address, address, len(memory), len(memory), 65536)
            content += memory + bytes(-len(memory) % 65536)
        path.write_bytes(head + bytes(65536 - len(head)) + content)
        path.chmod(0o755)

    def run(self, path: Path) -> list[np.ndarray]:
        self.write(path)
        found = subprocess.run([EMULATOR, str(path)], capture_output=True, check=True, timeout=300).stdout
        assert len(found) == len(self.data)
        shapes = [(place, x.dtype.np, x.shape) for place, x in zip(self.places, self.results)]
        return [np.frombuffer(found, dtype, int(np.prod(shape)), place).reshape(shape) for place, dtype, shape in shapes]


def divided() -> tuple:
    """A product that threads would share: its kernel asks the pool, which has none here."""
    torch.manual_seed(0)
    return lambda x: x @ x.T, (torch.randn(128, 256),)


@pytest.mark.parametrize("name", [*models(), "divided"])
def test_what_an_emulator_computes(name: str, tmp_path) -> None:
    model, args = divided() if name == "divided" else models()[name]
    found = Program(model, args).run(tmp_path / name)
    with torch.no_grad():
        want = [t.numpy() for t in flat(model(*args))]
    for a, b in zip(found, want, strict=True):
        tolerance = 2e-3 if b.dtype == np.float16 else 2e-5 * max(1, np.abs(b).max())
        np.testing.assert_allclose(a.astype(np.float64), b.astype(np.float64), rtol=tolerance, atol=tolerance)
