"""What LLVM is given for one kernel stays small, whatever the sizes: it takes some 0.6 ms for a kilobyte of text."""

import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config
from flambeau.engine.cpu.compiler import Session
from flambeau.nn import functional as F

MOST = 128 << 10


def functions(x):
    return sum((x * k).tanh().exp().sin() for k in range(1, 30))


PROGRAMS = {
    "a transposed convolution, kernel 64": (
        lambda x, w: F.conv_transpose2d(x, w, stride=32, padding=16),
        (1, 3, 3, 3),
        (3, 3, 64, 64),
    ),
    "a convolution, kernel 31": (lambda x, w: F.conv2d(x, w, padding=15), (1, 2, 16, 16), (3, 2, 31, 31)),
    "a convolution, stride 32": (lambda x, w: F.conv2d(x, w, stride=32), (1, 2, 96, 96), (3, 2, 64, 64)),
    "a dilated convolution": (lambda x, w: F.conv2d(x, w, stride=17, dilation=5), (1, 3, 70, 70), (4, 3, 9, 9)),
    "each channel alone, kernel 31": (lambda x, w: F.conv2d(x, w, padding=15, groups=8), (1, 8, 16, 16), (8, 1, 31, 31)),
    "a convolution of sequences, kernel 1024": (lambda x, w: F.conv1d(x, w, dilation=3), (1, 2, 4000), (3, 2, 1024)),
    "a convolution of volumes, kernel 9": (lambda x, w: F.conv3d(x, w, stride=4), (1, 2, 17, 17, 17), (2, 2, 9, 9, 9)),
    "maxima, kernel 32": (lambda x: F.max_pool2d(x, 32, 1), (1, 2, 40, 40)),
    "means, kernel 32": (lambda x: F.avg_pool2d(x, 32, 1), (1, 2, 40, 40)),
    "maxima, dilated": (lambda x: F.max_pool2d(x, 8, 2, dilation=3), (1, 2, 40, 40)),
    "many tensors joined": (lambda *x: torch.cat(x), *[(2, 3)] * 60),
    "many tensors added up": (lambda *x: sum(x), *[(33,)] * 100),
    "many functions": (functions, (100,)),
    "many powers": (lambda x: sum((x.abs() + 0.1) ** (k + 0.37) for k in range(1, 20)), (100,)),
    "samples on a grid": (
        lambda x, g: F.grid_sample(x, g, padding_mode="reflection", align_corners=False),
        (1, 2, 3, 4, 5),
        (1, 2, 2, 2, 3),
    ),
    "a wide recurrent layer": (lambda x: torch.nn.LSTM(200, 200)(x)[0], (3, 2, 200)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_text_of_a_kernel_is_bounded(name, monkeypatch):
    sizes: dict[str, int] = {}
    compile_ir = Session.compile_ir

    def noted(self, text: str, name: str, *others):
        sizes[name] = len(text)
        return compile_ir(self, text, name, *others)

    monkeypatch.setattr(Session, "compile_ir", noted)
    monkeypatch.setattr(config, "compile_after", 0)
    function, *shapes = PROGRAMS[name]
    inputs = [torch.rand(*shape).requires_grad_() for shape in shapes]
    function(*inputs).sum().backward()
    assert all(x.grad.sum().isfinite() for x in inputs)
    assert max(sizes.values(), default=0) < MOST, {n: size for n, size in sizes.items() if size >= MOST}
