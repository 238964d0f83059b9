"""Modules as files of ONNX's: its own reference implementation computes what they compute. Without the package ``onnx`` the export
says so."""

import io

import numpy as np
import pytest

import flambeau as torch

nn, F = torch.nn, torch.nn.functional


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match="pip install onnx"):
        torch.onnx.export(nn.Linear(1, 1), (torch.ones(1, 1),))


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


ROWS, IMAGES = (2, 4), (2, 3, 8, 8)
MODULES = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2), nn.Softmax(-1)), ROWS),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 3),
        ),
        IMAGES,
    ),
    "transposed": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=1),
            nn.GroupNorm(2, 4),
            nn.GELU(),
            nn.InstanceNorm2d(4),
            nn.AvgPool2d(2),
        ),
        IMAGES,
    ),
    "transformer": (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 5, 16)),
    "arithmetic": (lambda: Calls(lambda a: (a + a * 2 - a / 3) ** 2 + torch.maximum(a, -a) - 1), ROWS),
    "choice": (lambda: Calls(lambda a: torch.where(a > 0, a, -a).masked_fill(a < 0, -3.0).log_softmax(-1)), ROWS),
    "shapes": (
        lambda: Calls(
            lambda a: torch.cat(
                [a.view(a.size(0), 2, 2).transpose(1, 2).reshape(a.shape[0], -1), a[:, 1:3], a[:, :1].expand(-1, 3)], 1
            )
        ),
        ROWS,
    ),
    "parts": (lambda: Calls(lambda a: a.split(2, 1)[0] * a.chunk(2, 1)[1] + torch.stack([a[:, 0], a[:, 1]], 1)), ROWS),
    "reductions": (lambda: Calls(lambda a: a.mean((2, 3)).sum(1, keepdim=True) + a.amax((1, 2, 3)).unsqueeze(1)), IMAGES),
    "activations": (
        lambda: Calls(
            lambda a: (
                F.softplus(a) + F.elu(a) + F.hardtanh(a) + F.relu6(a) + F.mish(a) + F.hardswish(a) + F.gelu(a, approximate="tanh")
            )
        ),
        ROWS,
    ),
    "attention": (lambda: Calls(lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True)), (2, 2, 5, 4)),
    "padding": (lambda: Calls(lambda a: F.pad(a, (1, 2), value=0.5).cumsum(1).clamp(-1, 1)), ROWS),
}


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("name", MODULES)
def test_files_compute_what_modules_do(name, free):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    torch.manual_seed(0)
    make, shape = MODULES[name]
    module, x, file = make().eval(), torch.randn(shape), io.BytesIO()
    torch.onnx.export(
        module,
        (x,),
        file,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}} if free else None,
    )
    proto = onnx.load_from_string(file.getvalue())
    onnx.checker.check_model(proto)
    x = torch.cat([x, -x, x]) if free else x
    (found,) = ReferenceEvaluator(proto).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-4, atol=1e-5)


RECURRENT = {
    "lstm": (lambda: nn.LSTM(5, 6, 2, bidirectional=True), (4, 3, 5)),
    "gru": (lambda: nn.GRU(5, 6, batch_first=True, bias=False), (3, 4, 5)),
    "rnn": (lambda: nn.RNN(5, 6), (4, 3, 5)),
    "projected": (lambda: nn.LSTM(5, 6, proj_size=2), (4, 3, 5)),
    "cell": (lambda: nn.LSTMCell(5, 6), (4, 5)),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name):
    onnx = pytest.importorskip("onnx")
    torch.manual_seed(0)
    make, shape = RECURRENT[name]
    module, x = make().eval(), torch.randn(shape)
    program = torch.onnx.export(module, (x,))
    onnx.checker.check_model(program.model_proto)
    x = torch.randn(shape)
    wanted = torch.utils._pytree.tree_leaves(module(x))
    found = program(x)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_what_recurrent_layers_do_not_say():
    pytest.importorskip("onnx")
    layer = nn.GRU(5, 6)
    lengths = Calls(lambda x: layer(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 2])))[1])
    with pytest.raises(torch.onnx.OnnxExporterError, match="sequences of several lengths"):
        torch.onnx.export(lengths, (torch.randn(4, 2, 5),))


def test_programs_run_and_errors_say_what_is_wrong():
    pytest.importorskip("onnx")
    program = torch.onnx.export(nn.Linear(3, 2), (torch.ones(1, 3),))
    assert program(torch.ones(1, 3))[0].shape == (1, 2)
    with pytest.raises(torch.onnx.OnnxExporterError, match="no translation of aten::fft"):
        torch.onnx.export(Calls(torch.fft.fft), (torch.ones(4),))
    with pytest.raises(ValueError, match="no input or output 'z'"):
        torch.onnx.export(nn.Linear(3, 2), (torch.ones(1, 3),), dynamic_axes={"z": [0]})
    with pytest.raises(ValueError, match="opset 18 or later"):
        torch.onnx.export(nn.Linear(3, 2), (torch.ones(1, 3),), opset_version=9)
