"""Models as C libraries: programs that a C compiler makes with them compute the bits of slim models."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
import flambeau_slim
from flambeau import nn
from flambeau.cli import export
from flambeau.cli.demo import DigitNet
from flambeau.slim import ExportError
from tests.slim_models import flat, models

COMPILER = shutil.which("cc") or shutil.which("gcc")
CROSS = shutil.which("aarch64-linux-gnu-gcc")
EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
needs_compiler = pytest.mark.skipif(
    COMPILER is None or not flambeau_slim.targets(), reason="needs a C compiler, and a machine that slim models are for"
)
needs_emulator = pytest.mark.skipif(CROSS is None or EMULATOR is None, reason="needs aarch64-linux-gnu-gcc and qemu-aarch64")
TARGET = flambeau_slim.targets()[-1] if flambeau_slim.targets() else "x86-64-v2"

MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
INCLUDES

/* Reads the arguments of a model behind each other, runs it, writes the results. */
static int run(int inputs, const size_t *in_bytes, int outputs, const size_t *out_bytes, int (*model)(const void *const *, void *const *)) {
    const void *in[16];
    void *out[16];
    int k, wrong;
    for (k = 0; k < inputs; k++) {
        void *memory = malloc(in_bytes[k]);
        if (fread(memory, 1, in_bytes[k], stdin) != in_bytes[k]) return 100;
        in[k] = memory;
    }
    for (k = 0; k < outputs; k++) out[k] = malloc(out_bytes[k]);
    wrong = model(in, out);
    for (k = 0; k < outputs && !wrong; k++) fwrite(out[k], 1, out_bytes[k], stdout);
    return wrong;
}

int main(int count, char **words) {
    (void)count;
MODELS
    return 101;
}
"""


def program(folder: Path, compiler: str, names: dict[str, tuple[list, list]], *settings: str) -> Path:
    """A program with several models, of which the first argument names one; for each the bytes of the arguments and of the results."""
    includes = "\n".join(f'#include "{name}.h"' for name in names)
    chosen = []
    for name, sizes in names.items():
        given, made = ("{" + ", ".join(map(str, row)) + "}" for row in sizes)
        chosen.append(
            f'    if (!strcmp(words[1], "{name}")) {{ static const size_t in[] = {given}, out[] = {made};\n'
            f"        return run({name.upper()}_INPUTS, in, {name.upper()}_OUTPUTS, out, {name}_run); }}"
        )
    (folder / "main.c").write_text(MAIN.replace("INCLUDES", includes).replace("MODELS", "\n".join(chosen)))
    command = [
        compiler,
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "main.c",
        *(f"{name}.o" for name in names),
        *settings,
        "-o",
        "program",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "program"


def check_models(folder: Path, compiler: str, target: str, emulator: list[str], *settings: str) -> None:
    sizes, want = {}, {}
    chosen = {name: made for name, made in models().items() if name in ("digits", "lstm", "many")}
    for name, (model, args) in chosen.items():
        torch.export_c(model, args, folder / f"{name}.o", target=target)
        with torch.no_grad():
            want[name] = [t.numpy() for t in flat(model(*args))]
        if target == TARGET and not emulator:
            torch.export_slim(model, args, folder / "model.slim", targets=[target])
            want[name] = flat_arrays(torch.load_slim(folder / "model.slim")(*[a.numpy() for a in args]))
        sizes[name] = [a.nbytes for a in args], [w.nbytes for w in want[name]]
    made = program(folder, compiler, sizes, *settings)
    for name, (_, args) in chosen.items():
        done = subprocess.run(
            [*emulator, str(made), name], input=b"".join([a.numpy().tobytes() for a in args]), capture_output=True, timeout=120
        )
        assert done.returncode == 0, name
        start = 0
        for value in want[name]:
            found = np.frombuffer(done.stdout[start : start + value.nbytes], value.dtype).reshape(value.shape)
            start += value.nbytes
            if emulator:
                np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)
            else:
                assert found.tobytes() == np.ascontiguousarray(value).tobytes(), name
        assert start == len(done.stdout), name


def flat_arrays(x) -> list[np.ndarray]:
    if isinstance(x, np.ndarray):
        return [x]
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ()
    return [a for part in parts for a in flat_arrays(part)]


@needs_compiler
def test_programs_compute_the_same_bits(tmp_path) -> None:
    check_models(tmp_path, str(COMPILER), TARGET, [])


@needs_emulator
def test_programs_for_aarch64(tmp_path) -> None:
    check_models(tmp_path, str(CROSS), "aarch64", [str(EMULATOR)], "-static")


@needs_compiler
def test_sizes_threads_and_errors(tmp_path) -> None:
    rows = torch.export.Dim("rows", min=1, max=3)
    table = nn.Embedding(5, 4).eval()
    torch.export_c(table, (torch.tensor([1, 2]),), tmp_path / "words.o", target=TARGET, dynamic_shapes=({0: rows},))
    torch.export_c(lambda x, y: (x // y, x, x), (torch.tensor([6]), torch.tensor([2])), tmp_path / "ratio.o", target=TARGET)
    (tmp_path / "main.c").write_text("""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "ratio.h"
#include "words.h"

static void *many(void *wrong) {
    int k;
    for (k = 0; k < 2000; k++) {
        int64_t place[3] = {k % 5, (k + 1) % 5, 4}, alone;
        float rows[12], row[4];
        const void *in[] = {place}, *one[] = {&alone};
        void *out[] = {rows}, *first[] = {row};
        int size = k % 3, j;
        alone = place[size];
        if (words_run_size(size, in, out) || words_run(one, first)) *(int *)wrong = 1;
        for (j = 0; j < 4; j++) if (rows[4 * size + j] != row[j]) *(int *)wrong = 2;
    }
    return NULL;
}

int main(void) {
    int64_t place[3] = {0, 4, 5}, x = 7, y = 0, made[3] = {0};
    float rows[12];
    const void *in[] = {place}, *pair[] = {&x, &y};
    void *out[] = {rows}, *three[] = {made, made + 1, made + 2}, *memory = malloc(WORDS_MEMORY);
    int wrong = 0, k;
    pthread_t threads[4];
    printf("%d %d %d %d ", words_run_size(1, in, out), words_run_size(2, in, out), words_run_size(3, in, out), words_run_size(-1, in, out));
    printf("%d %d ", words_run_in(1, in, out, memory), (int)words_input_elements[2][0]);
    printf("%d ", ratio_run(pair, three));
    y = 2;
    k = ratio_run(pair, three);
    printf("%d %d %d %d ", k, (int)made[0], (int)made[1], (int)made[2]);
    for (k = 0; k < 4; k++) pthread_create(&threads[k], NULL, many, &wrong);
    for (k = 0; k < 4; k++) pthread_join(threads[k], NULL);
    printf("%d", wrong);
    return 0;
}
""")
    command = [str(COMPILER), "-Wall", "-Wextra", "-Werror", "main.c", "words.o", "ratio.o", "-pthread", "-o", "program"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True, timeout=120)
    assert done.stdout == "0 1 4 4 0 3 2 0 3 7 7 0", done
    shared = subprocess.run(
        [str(COMPILER), "-shared", "-o", "libwords.so", "words.o"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert shared.returncode == 0, shared.stderr
    import ctypes

    library = ctypes.CDLL(str(tmp_path / "libwords.so"))
    place, row = np.array([3]), np.empty(4, np.float32)
    assert library.words_run((ctypes.c_void_p * 1)(place.ctypes.data), (ctypes.c_void_p * 1)(row.ctypes.data)) == 0
    assert row.tolist() == table.weight[3].tolist()


def test_what_is_written_and_what_is_refused(tmp_path) -> None:
    torch.export_c(nn.Linear(3, 2).eval(), (torch.ones(1, 3),), tmp_path / "net.o", target="aarch64")
    assert sorted(os.listdir(tmp_path)) == ["net.h", "net.o"]
    header = (tmp_path / "net.h").read_text()
    assert "[0] input: float[1][3]" in header and "[0] output_0: float[1][2]" in header and "for aarch64" in header
    for name in ("net", "my-net.o", "9.o"):
        with pytest.raises(ValueError, match="a name of C's"):
            torch.export_c(nn.Linear(3, 2).eval(), (torch.ones(1, 3),), tmp_path / name)
    with pytest.raises(ValueError, match="there are x86-64-v4"):
        torch.export_c(nn.Linear(3, 2).eval(), (torch.ones(1, 3),), tmp_path / "net.o", target="z80")
    with pytest.raises(ExportError, match="linalg_det|det"):
        torch.export_c(torch.linalg.det, (torch.eye(3),), tmp_path / "det.o")


def test_flambeau_export(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(DigitNet().state_dict(), "digits.pt")
    words = [
        "digits.pt",
        "--factory",
        "flambeau.cli.demo:DigitNet",
        "--input",
        "images:FP32:-1x1x8x8",
        "--max-size",
        "2",
        "--out",
        "digits.o",
    ]
    assert export.main([*words, "--target", "x86-64-v2"]) == 0
    assert "digits.h" in capsys.readouterr().out
    assert "[0] images: float[1..2][1][8][8]" in Path("digits.h").read_text()
    with pytest.raises(SystemExit):
        export.main([*words, "--target", "x86-64-v2", "--target", "x86-64-v3"])
