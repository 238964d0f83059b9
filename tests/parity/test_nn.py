"""nn against real PyTorch: repr, first weights, outputs, gradients, messages.

Values are compared in float64, so that what is compared is the mathematics and not the rounding.
"""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

LIBRARIES = (torch, flambeau)

# Constructor, shapes of the inputs (a string is an expression in `t`, the library).
LAYERS = [
    ("Identity()", [(2, 3)]),
    ("Linear(5, 7)", [(2, 3, 5)]),
    ("Linear(5, 7, bias=False)", [(5,)]),
    ("Bilinear(2, 3, 4)", [(5, 2), (5, 3)]),
    ("Flatten()", [(2, 3, 4)]),
    ("Flatten(0, 1)", [(2, 3, 4)]),
    ("Unflatten(1, (2, 3))", [(2, 6)]),
    ("Conv1d(4, 6, 3, stride=2, padding=1)", [(2, 4, 9)]),
    ("Conv1d(4, 6, 3, padding='same', dilation=2)", [(4, 9)]),
    ("Conv1d(4, 6, 4, padding='same')", [(4, 9)]),
    ("Conv2d(4, 6, 3, groups=2, bias=False)", [(2, 4, 6, 7)]),
    ("Conv2d(4, 6, (3, 2), padding=(1, 2), padding_mode='circular')", [(2, 4, 6, 7)]),
    ("Conv2d(4, 6, 3, padding='same', padding_mode='reflect')", [(2, 4, 6, 7)]),
    ("Conv3d(2, 3, 2)", [(1, 2, 3, 4, 3)]),
    ("ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1)", [(2, 4, 5)]),
    ("ConvTranspose2d(4, 6, 3, groups=2, dilation=2)", [(2, 4, 5, 4)]),
    ("ConvTranspose2d(4, 2, 3, stride=2)", [(2, 4, 5, 4), "(12, 10)"]),
    ("ConvTranspose3d(2, 3, 2)", [(1, 2, 3, 4, 3)]),
    ("MaxPool1d(2)", [(2, 3, 7)]),
    ("MaxPool2d((2, 3), stride=1, padding=1, ceil_mode=True)", [(2, 3, 7, 6)]),
    ("MaxPool2d(2, return_indices=True)", [(2, 3, 7, 6)]),
    ("MaxPool3d(2)", [(1, 2, 4, 4, 4)]),
    ("AvgPool1d(3, stride=2)", [(2, 3, 7)]),
    ("AvgPool2d(2, padding=1, count_include_pad=False)", [(2, 3, 7, 6)]),
    ("AvgPool2d(2, divisor_override=3)", [(2, 3, 7, 6)]),
    ("AvgPool3d(2)", [(1, 2, 4, 4, 4)]),
    ("AdaptiveAvgPool1d(3)", [(2, 3, 7)]),
    ("AdaptiveAvgPool2d((1, None))", [(2, 3, 7, 6)]),
    ("AdaptiveMaxPool1d(3)", [(2, 3, 7)]),
    ("AdaptiveMaxPool2d(2, return_indices=True)", [(2, 3, 7, 6)]),
    ("LPPool1d(2, 3)", [(2, 3, 7)]),
    ("LPPool2d(2, 3, stride=1)", [(2, 3, 7, 6)]),
    ("BatchNorm1d(3)", [(4, 3)]),
    ("BatchNorm1d(3, momentum=None)", [(4, 3, 5)]),
    ("BatchNorm2d(3, affine=False, track_running_stats=False)", [(4, 3, 5, 2)]),
    ("BatchNorm2d(3, bias=False)", [(4, 3, 5, 2)]),
    ("LayerNorm((3, 4))", [(2, 3, 4)]),
    ("LayerNorm(4, bias=False)", [(2, 3, 4)]),
    ("GroupNorm(2, 4)", [(2, 4, 3)]),
    ("RMSNorm(4)", [(2, 3, 4)]),
    ("InstanceNorm1d(3, affine=True, track_running_stats=True)", [(2, 3, 4)]),
    ("InstanceNorm2d(3)", [(3, 4, 5)]),
    ("LocalResponseNorm(3)", [(2, 5, 4)]),
    ("ReLU()", [(3, 4)]),
    ("ReLU6()", [(3, 4)]),
    ("Hardtanh(-0.5, 0.7)", [(3, 4)]),
    ("Sigmoid()", [(3, 4)]),
    ("Hardsigmoid()", [(3, 4)]),
    ("Tanh()", [(3, 4)]),
    ("SiLU()", [(3, 4)]),
    ("Mish()", [(3, 4)]),
    ("Hardswish()", [(3, 4)]),
    ("ELU(0.7)", [(3, 4)]),
    ("CELU(0.7)", [(3, 4)]),
    ("SELU()", [(3, 4)]),
    ("GLU()", [(3, 4)]),
    ("GELU()", [(3, 4)]),
    ("GELU('tanh')", [(3, 4)]),
    ("Hardshrink()", [(3, 4)]),
    ("LeakyReLU(0.2)", [(3, 4)]),
    ("LogSigmoid()", [(3, 4)]),
    ("Softplus(2.0)", [(3, 4)]),
    ("Softshrink()", [(3, 4)]),
    ("PReLU(4)", [(3, 4)]),
    ("Softsign()", [(3, 4)]),
    ("Tanhshrink()", [(3, 4)]),
    ("Softmin(1)", [(3, 4)]),
    ("Softmax(dim=1)", [(3, 4)]),
    ("Softmax2d()", [(2, 3, 4, 2)]),
    ("LogSoftmax(-1)", [(3, 4)]),
    ("Threshold(0.1, 20)", [(3, 4)]),
    ("Dropout(0.3)", [(5, 40)]),
    ("Dropout1d(0.3)", [(5, 6, 4)]),
    ("Dropout2d(0.3)", [(5, 6, 4, 2)]),
    ("AlphaDropout(0.3)", [(5, 40)]),
    ("Embedding(5, 6, padding_idx=-1)", ["t.tensor([[0, 4, 2], [2, 2, 1]])"]),
    ("Embedding(5, 6, max_norm=1.0)", ["t.tensor([[0, 4, 2], [2, 2, 1]])"]),
    ("EmbeddingBag(5, 6)", ["t.tensor([[0, 4, 2], [2, 2, 1]])"]),
    ("EmbeddingBag(5, 6, mode='sum')", ["t.tensor([0, 4, 2, 2, 2])", "t.tensor([0, 3])"]),
    ("ZeroPad2d(1)", [(2, 3, 4)]),
    ("ConstantPad1d((1, 2), 2.5)", [(2, 3, 4)]),
    ("ReflectionPad2d((1, 2, 0, 1))", [(2, 3, 4)]),
    ("ReplicationPad1d(2)", [(2, 3, 4)]),
    ("CircularPad2d(1)", [(2, 3, 4)]),
    ("PixelShuffle(2)", [(1, 8, 2, 3)]),
    ("PixelUnshuffle(2)", [(1, 2, 4, 6)]),
    ("ChannelShuffle(2)", [(1, 4, 3)]),
    ("Upsample(scale_factor=2)", [(1, 2, 3)]),
    ("Upsample(size=(5, 4), mode='bilinear', align_corners=True)", [(1, 2, 3, 3)]),
    ("UpsamplingNearest2d(scale_factor=2)", [(1, 2, 3, 3)]),
    ("UpsamplingBilinear2d(size=5)", [(1, 2, 3, 3)]),
    ("Unfold((2, 3))", [(2, 3, 4, 5)]),
    ("Fold((4, 5), 2)", [(1, 12, 12)]),
    ("CosineSimilarity()", [(3, 4), (3, 4)]),
    ("PairwiseDistance()", [(3, 4), (3, 4)]),
    ("RNN(3, 4, 2)", [(5, 2, 3)]),
    ("RNN(3, 4, nonlinearity='relu', bidirectional=True)", [(5, 2, 3)]),
    ("RNN(3, 4, batch_first=True)", [(2, 5, 3), (1, 2, 4)]),
    ("GRU(3, 4, 2, bias=False)", [(5, 2, 3)]),
    ("GRU(3, 4, 2, bidirectional=True, batch_first=True)", [(2, 5, 3)]),
    ("GRU(3, 4)", [(5, 3), (1, 4)]),
    ("LSTM(3, 4, 2, bidirectional=True)", [(5, 2, 3)]),
    ("LSTM(3, 4, 2, proj_size=2, batch_first=True)", [(2, 5, 3)]),
    ("LSTM(3, 4, 2, dropout=0.4)", [(5, 2, 3)]),
    ("LSTM(3, 4, bias=False)", [(5, 3)]),
    ("RNNCell(3, 4)", [(2, 3)]),
    ("RNNCell(3, 4, nonlinearity='relu')", [(2, 3), (2, 4)]),
    ("LSTMCell(3, 4)", [(2, 3)]),
    ("GRUCell(3, 4, bias=False)", [(3,), (4,)]),
    ("MultiheadAttention(4, 2)", [(5, 3, 4)] * 3),
    ("MultiheadAttention(4, 2, batch_first=True, dropout=0.2)", [(3, 5, 4)] * 3),
    ("MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True)", [(5, 4)] * 3),
    ("MultiheadAttention(4, 2, kdim=3, vdim=5, bias=False)", [(5, 2, 4), (6, 2, 3), (6, 2, 5)]),
    (
        "MultiheadAttention(4, 2)",
        [(5, 2, 4), (6, 2, 4), (6, 2, 4), "t.arange(12).reshape(2, 6) > 9", "True"],
    ),
    (
        "MultiheadAttention(4, 2)",
        [(5, 2, 4), (5, 2, 4), (5, 2, 4), "None", "False", "t.ones(5, 5).triu(1).bool()"],
    ),
    ("TransformerEncoderLayer(4, 2, 8, 0.1)", [(5, 3, 4)]),
    ("TransformerEncoderLayer(4, 2, 8, 0.0, norm_first=True, activation='gelu')", [(5, 3, 4)]),
    ("TransformerDecoderLayer(4, 2, 8, batch_first=True)", [(2, 5, 4), (2, 6, 4)]),
    ("TransformerDecoderLayer(4, 2, 8, norm_first=True, bias=False)", [(5, 4), (6, 4)]),
    (
        "TransformerEncoder(t.nn.TransformerEncoderLayer(4, 2, 8), 2, t.nn.LayerNorm(4))",
        [(5, 3, 4), "t.nn.Transformer.generate_square_subsequent_mask(5).double()"],
    ),
    ("Transformer(4, 2, 1, 1, 8)", [(5, 3, 4), (6, 3, 4)]),
    ("AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10])", [(4, 8), "t.tensor([1, 7, 15, 19])"]),
    ("L1Loss()", [(3, 4), (3, 4)]),
    ("MSELoss(reduction='sum')", [(3, 4), (3, 4)]),
    ("SmoothL1Loss(beta=0.5)", [(3, 4), (3, 4)]),
    ("HuberLoss(delta=0.5)", [(3, 4), (3, 4)]),
    ("NLLLoss(ignore_index=1)", [(3, 4), "t.tensor([0, 1, 3])"]),
    ("CrossEntropyLoss(label_smoothing=0.1)", [(3, 4), "t.tensor([0, 1, 3])"]),
    ("PoissonNLLLoss()", [(3, 4), (3, 4)]),
    ("KLDivLoss(reduction='batchmean', log_target=True)", [(3, 4), (3, 4)]),
    ("BCEWithLogitsLoss()", [(3, 4), "t.ones(3, 4).double()"]),
    ("BCELoss()", ["t.full((3, 4), 0.3).double()", "t.ones(3, 4).double()"]),
    ("HingeEmbeddingLoss()", [(3,), "t.tensor([1, -1, 1])"]),
    ("SoftMarginLoss()", [(3,), "t.tensor([1, -1, 1])"]),
    ("MultiLabelSoftMarginLoss()", [(3, 4), "t.ones(3, 4)"]),
    ("MultiLabelMarginLoss()", [(1, 4), "t.tensor([[3, 0, -1, 1]])"]),
    ("CosineEmbeddingLoss(margin=0.1)", [(3, 4), (3, 4), "t.tensor([1, -1, 1])"]),
    ("MarginRankingLoss(margin=0.1)", [(3,), (3,), "t.tensor([1, -1, 1])"]),
    ("MultiMarginLoss(p=2)", [(3, 4), "t.tensor([0, 1, 3])"]),
    ("TripletMarginLoss(swap=True)", [(3, 4), (3, 4), (3, 4)]),
    ("TripletMarginWithDistanceLoss()", [(3, 4), (3, 4), (3, 4)]),
    ("GaussianNLLLoss()", [(3, 4), (3, 4), "t.ones(3, 4).double()"]),
    ("CTCLoss()", [(6, 2, 4), "t.tensor([[1, 2], [3, 1]])", "t.tensor([6, 5])", "t.tensor([2, 1])"]),
]


def build(library, expression):
    """The module, from seed 0, and the random numbers that come after it."""
    library.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's remarks on its own fast paths
        module = eval(f"t.nn.{expression}", {"t": library})
    return module, library.rand(3).tolist()


def make_inputs(library, spec):
    rng = np.random.default_rng(0)
    inputs = []
    for item in spec:
        if isinstance(item, str):
            inputs.append(eval(item, {"t": library}))
        else:
            inputs.append(library.tensor(rng.standard_normal(item), requires_grad=True))
    return inputs


def flat(value):
    """The tensors in `value`, one after the other."""
    if value is None:
        return []
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in flat(part)]
    return [value]


def same(ours, theirs, what):
    # Some of PyTorch's kernels have float32 constants even in float64 (hardsigmoid's 1/6).
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-7, atol=1e-11, err_msg=what)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("expression", "spec"), LAYERS, ids=[f"{e}-{i}" for i, (e, _) in enumerate(LAYERS)])
def test_layer(expression, spec):
    (theirs, their_next), (ours, our_next) = (build(library, expression) for library in LIBRARIES)
    assert our_next == their_next, "the random streams are no longer in step"
    assert repr(ours) == repr(theirs)
    their_state, our_state = theirs.state_dict(), ours.state_dict()
    assert list(our_state) == list(their_state)
    for name, value in their_state.items():
        np.testing.assert_array_equal(our_state[name].numpy(), value.numpy(), err_msg=name)

    results = []
    for library, module in ((torch, theirs), (flambeau, ours)):
        module.double()
        inputs = make_inputs(library, spec)
        library.manual_seed(1)
        outputs = flat(module(*inputs))
        leaves = [x for x in [*inputs, *module.parameters()] if getattr(x, "requires_grad", False)]
        loss = sum((out * out).sum() for out in outputs if out.is_floating_point())
        if loss.requires_grad:
            loss.backward()
        results.append((outputs, leaves, module))
    (their_outputs, their_leaves, theirs), (our_outputs, our_leaves, ours) = results
    assert len(our_outputs) == len(their_outputs)
    for i, (mine, yours) in enumerate(zip(our_outputs, their_outputs)):
        assert str(mine.dtype) == str(yours.dtype)
        assert mine.requires_grad == yours.requires_grad
        same(mine, yours, f"output {i}")
    for i, (mine, yours) in enumerate(zip(our_leaves, their_leaves)):
        assert (mine.grad is None) == (yours.grad is None), f"leaf {i}"
        if yours.grad is not None:
            same(mine.grad, yours.grad, f"gradient {i}")
    for (name, mine), (_, yours) in zip(ours.named_buffers(), theirs.named_buffers()):
        same(mine, yours, name)


@pytest.mark.parametrize("expression", ["LSTM(3, 4, 2, bidirectional=True)", "GRU(3, 4)", "RNN(3, 4, 2)"])
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequence(expression, enforce_sorted):
    lengths = [5, 3, 2] if enforce_sorted else [2, 5, 3]
    results = []
    for library in LIBRARIES:
        rnn = library.nn.utils.rnn
        module = build(library, expression)[0].double()
        (x,) = make_inputs(library, [(5, 3, 3)])
        packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
        output, state = module(packed)
        padded, out_lengths = rnn.pad_packed_sequence(output, batch_first=True, total_length=6)
        (padded * padded).sum().backward()
        grads = [x.grad, *[p.grad for p in module.parameters()]]
        results.append(([padded, out_lengths, packed.batch_sizes, *flat(state)], grads))
    for group in zip(*results):
        for theirs, ours in zip(*group):
            same(ours, theirs, expression)


INITS = [
    ("uniform_", (1, 2), (3, 4)),
    ("normal_", (1, 2), (30, 4)),
    ("trunc_normal_", (0, 1, -2, 2), (30, 4)),
    ("trunc_normal_", (0.5, 0.2, 0, 1), (3, 4)),
    ("trunc_normal_", (0, 1, 1, 3), (30, 4)),
    ("constant_", (3,), (2, 2)),
    ("ones_", (), (2,)),
    ("zeros_", (), (2,)),
    ("eye_", (), (2, 3)),
    ("dirac_", (), (4, 3, 3)),
    ("dirac_", (2,), (4, 3, 3, 3)),
    ("xavier_uniform_", (2,), (4, 5)),
    ("xavier_normal_", (), (4, 5, 2)),
    ("kaiming_uniform_", (0.1, "fan_out"), (4, 5, 2)),
    ("kaiming_normal_", (0, "fan_in", "relu"), (4, 5)),
    ("sparse_", (0.4,), (5, 6)),
]


@pytest.mark.parametrize(("name", "args", "shape"), INITS)
def test_init(name, args, shape):
    values = []
    for library in LIBRARIES:
        library.manual_seed(1)
        tensor = library.empty(shape)
        assert getattr(library.nn.init, name)(tensor, *args) is tensor
        values.append((tensor.numpy(), library.rand(1).item()))
    (theirs, their_next), (ours, our_next) = values
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=0)
    assert our_next == their_next


@pytest.mark.parametrize("shape", [(4, 5), (5, 2, 2), (3, 3)])
def test_orthogonal(shape):
    values = []
    for library in LIBRARIES:
        library.manual_seed(1)
        values.append(library.nn.init.orthogonal_(library.empty(shape, dtype=library.float64)).numpy())
    np.testing.assert_allclose(values[1], values[0], rtol=1e-9, atol=1e-12)


MESSAGES = [
    "nn.Module()(3)",
    "nn.Linear(2, 3).register_buffer(3, None)",
    "nn.Linear(2, 3).register_buffer('a.b', None)",
    "nn.Linear(2, 3).register_buffer('', None)",
    "nn.Linear(2, 3).register_buffer('weight', None)",
    "nn.Linear(2, 3).register_buffer('b', 3)",
    "nn.Linear(2, 3).register_parameter(3, None)",
    "nn.Linear(2, 3).register_parameter('in_features', None)",
    "nn.Linear(2, 3).register_parameter('b', t.ones(2))",
    "nn.Linear(2, 3).add_module('a.b', None)",
    "nn.Linear(2, 3).add_module('b', 3)",
    "setattr(nn.Linear(2, 3), 'weight', t.ones(2))",
    "setattr(nn.Sequential(nn.ReLU()), '0', t.ones(2))",
    "nn.Linear(2, 3).nothing",
    "delattr(nn.Linear(2, 3), 'nothing')",
    "nn.Linear(2, 3).get_submodule('a')",
    "nn.Linear(2, 3).get_submodule('weight')",
    "nn.Linear(2, 3).get_parameter('in_features')",
    "nn.Linear(2, 3).get_buffer('weight')",
    "nn.Sequential(nn.ReLU()).set_submodule('', nn.ReLU())",
    "nn.Sequential(nn.ReLU()).set_submodule('5', nn.ReLU(), strict=True)",
    "nn.Linear(2, 3).load_state_dict({})",
    "nn.Linear(2, 3).load_state_dict({'weight': t.ones(3, 3), 'bias': 3, 'zz': 1, 'b.c': 2})",
    "nn.Linear(2, 3).load_state_dict({'weight': t.ones(3, 3)}, strict=False)",
    "nn.Linear(2, 3).load_state_dict(3)",
    "nn.Sequential(nn.Linear(2, 3)).load_state_dict({'0.weight': t.ones(1), '1.bias': t.ones(3)})",
    "nn.Linear(2, 3).train(3)",
    "nn.Linear(2, 3).to(t.int32)",
    "nn.Linear(2, 3).to('cuda')",
    "nn.Linear(2, 3).cuda()",
    "nn.Parameter(t.ones(2, dtype=t.int64))",
    "nn.Parameter([1.0])",
    "nn.Sequential(3)",
    "nn.Sequential(nn.Linear)",
    "nn.Sequential(nn.ReLU())[5]",
    "nn.Sequential(nn.ReLU())['a']",
    "nn.Sequential(nn.ReLU()) * 0",
    "nn.Sequential(nn.ReLU()).insert(3, nn.ReLU())",
    "nn.ModuleList(3)",
    "nn.ModuleList([3])",
    "nn.ModuleList([nn.ReLU()])[2]",
    "nn.ModuleList()(3)",
    "nn.ModuleDict(3)",
    "nn.ModuleDict([3])",
    "nn.ModuleDict([['a']])",
    "nn.ModuleDict({'keys': nn.ReLU()})",
    "nn.ModuleDict({'a': nn.ReLU()})['b']",
    "nn.ParameterList()(3)",
    "nn.ParameterList([t.ones(2)])[1]",
    "nn.ParameterDict()(3)",
    "nn.ParameterDict({'a': t.ones(2)})['b']",
    "nn.Conv2d(3, 4, 2, groups=2)",
    "nn.Conv2d(3, 4, 2, stride=2, padding='same')",
    "nn.Conv2d(3, 4, 2, groups=0)",
    "nn.ConvTranspose2d(3, 4, 2, padding_mode='reflect')",
    "nn.ConvTranspose2d(3, 4, 2)(t.zeros(1, 3, 4, 4), output_size=(9, 9))",
    "nn.ConvTranspose2d(3, 4, 2)(t.zeros(1, 3, 4, 4), output_size=(9,))",
    "nn.GroupNorm(2, 3)",
    "nn.BatchNorm1d(3)(t.zeros(2, 3, 4, 5))",
    "nn.BatchNorm2d(3)(t.zeros(2, 3))",
    "nn.InstanceNorm1d(3, affine=True)(t.zeros(2, 4, 5))",
    "nn.Embedding(3, 4, padding_idx=5)",
    "nn.Hardtanh(2, 1)",
    "nn.Dropout(2)",
    "nn.Softmax2d()(t.zeros(2))",
    "nn.MultiheadAttention(3, 2)",
    "nn.MultiheadAttention(0, 2)",
    "nn.TransformerEncoderLayer(4, 2, activation='x')",
    "nn.MultiMarginLoss(p=3)",
    "nn.TripletMarginLoss(margin=0)",
    "nn.FractionalMaxPool2d(2)",
    "nn.LSTM(3, 4)(t.zeros(3))",
    "nn.LSTM(3, 4)(t.zeros(5, 2, 4))",
    "nn.GRU(3, 4)(t.zeros(5, 2, 3).double())",
    "nn.LSTM(3, 4)(t.zeros(5, 2, 3), (t.zeros(1, 2, 4), t.zeros(1, 3, 4)))",
    "nn.GRU(3, 4)(t.zeros(5, 2, 3), t.zeros(1, 4))",
    "nn.GRU(3, 4)(t.zeros(5, 3), t.zeros(1, 3, 4))",
    "nn.RNN(3, 4)(t.zeros(3))",
    "nn.RNN(3, 4, nonlinearity='x')",
    "nn.GRU(3, 4, proj_size=2)",
    "nn.LSTM(3, 4, proj_size=4)",
    "nn.LSTM(3, 0)",
    "nn.LSTM(3, 4.0)",
    "nn.LSTM(3, 4, dropout=2)",
    "nn.LSTMCell(3, 4)(t.zeros(2, 4))",
    "nn.LSTMCell(3, 4)(t.zeros(2, 3), (t.zeros(3, 4), t.zeros(3, 4)))",
    "nn.GRUCell(3, 4)(t.zeros(2, 3), t.zeros(2, 5))",
    "nn.utils.rnn.pack_padded_sequence(t.zeros(5, 2, 3), [2, 5])",
    "nn.utils.rnn.pack_padded_sequence(t.zeros(5, 2, 3), [5, 0])",
    "nn.utils.rnn.pack_padded_sequence(t.zeros(5, 2, 3), [5, 2, 1])",
    "nn.utils.rnn.pack_padded_sequence(t.zeros(0, 2, 3), [5, 2])",
    "nn.utils.rnn.pad_sequence(3)",
    "nn.utils.rnn.pad_sequence([])",
    "nn.utils.vector_to_parameters(3, [])",
    "nn.utils.remove_weight_norm(nn.Linear(2, 3))",
    "nn.init.calculate_gain('x')",
    "nn.init.eye_(t.empty(2))",
    "nn.init.dirac_(t.empty(2))",
    "nn.init.dirac_(t.empty(3, 2, 1), 2)",
    "nn.init.xavier_uniform_(t.empty(2))",
    "nn.init.kaiming_uniform_(t.empty(2, 2), mode='x')",
    "nn.init.orthogonal_(t.empty(2))",
]


@pytest.mark.parametrize("expression", MESSAGES)
def test_message(expression):
    """The class is PyTorch's, and the message begins with PyTorch's."""
    errors = []
    for library in LIBRARIES:
        with pytest.raises(Exception) as caught:
            eval(expression, {"t": library, "nn": library.nn})
        errors.append(caught.value)
    theirs, ours = errors
    assert isinstance(ours, type(theirs))
    expected = str(theirs).strip("'\"")
    # A class is named by the module it stands in.
    got = str(ours).strip("'\"").replace("flambeau.nn", "torch.nn")
    assert got.startswith(expected)


REPRS = [
    "nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential())",
    "nn.ModuleList([nn.Linear(2, 2)] * 3 + [nn.ReLU()])",
    "nn.ModuleDict({'a': nn.ReLU(), 'b': nn.Sequential(nn.Tanh())})",
    "nn.ParameterList([t.ones(2), 3, nn.Parameter(t.ones(2, 3))])",
    "nn.ParameterDict({'a': t.ones(2), 'b': 3})",
    "nn.Parameter(t.ones(2))",
    "nn.Parameter(t.ones(2), requires_grad=False)",
    "nn.Linear(2, 3).load_state_dict(nn.Linear(2, 3).state_dict())",
    "nn.Linear(2, 3).load_state_dict({}, strict=False)",
    "nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))",
    "list(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)).state_dict())",
    "list(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 3)).state_dict())",
    "list(nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2).state_dict())",
    "nn.BatchNorm2d(3).state_dict()._metadata",
    "nn.utils.rnn.pack_sequence([t.tensor([1, 2, 3]), t.tensor([4, 5])])",
    "nn.utils.rnn.pad_sequence([t.tensor([1, 2, 3]), t.tensor([4, 5])], padding_side='left')",
    "nn.utils.clip_grad_norm_([], 1.0)",
    "nn.utils.parameters_to_vector([t.ones(2, 2), t.zeros(1)])",
    "[name for name, _ in nn.Transformer(4, 2, 1, 1, 8).named_parameters()]",
    "[name for name, _ in nn.Transformer(4, 2, 1, 1, 8).named_modules()]",
]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("expression", REPRS)
def test_repr(expression):
    theirs, ours = (repr(eval(expression, {"t": lib, "nn": lib.nn})) for lib in LIBRARIES)
    assert ours == theirs


def test_weight_and_spectral_norm():
    results = []
    for library in LIBRARIES:
        utils, nn = library.nn.utils, library.nn
        library.manual_seed(3)
        nets = [
            utils.parametrizations.weight_norm(nn.Linear(3, 4)),
            utils.parametrizations.spectral_norm(nn.Linear(3, 4)),
            utils.spectral_norm(nn.Conv1d(2, 3, 2)),
        ]
        with pytest.warns(FutureWarning):
            nets.append(utils.weight_norm(nn.Linear(3, 4), dim=None))
        for net in nets:
            net.double()
            (x,) = make_inputs(library, [(2, 2, 3) if isinstance(net, nn.Conv1d) else (2, 3)])
            out = net(x)
            (out * out).sum().backward()
            results.append((library, [out, x.grad, *[p.grad for p in net.parameters()]]))
    half = len(results) // 2
    for (_, theirs), (_, ours) in zip(results[:half], results[half:]):
        assert len(theirs) == len(ours)
        for yours, mine in zip(theirs, ours):
            # power iteration starts in float32
            np.testing.assert_allclose(mine.detach().numpy(), yours.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_backward_hooks():
    """The hooks see what PyTorch's see."""
    seen = []
    for library in LIBRARIES:
        nn = library.nn
        library.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        log = []

        def after(module, grad_input, grad_output, log=log):
            log.append([None if g is None else g.tolist() for g in (*grad_input, *grad_output)])
            return tuple(None if g is None else g * 2 for g in grad_input)

        def before(module, grad_output):
            return tuple(g * 3 for g in grad_output)

        net[1].register_full_backward_hook(after)
        net[2].register_full_backward_hook(after)
        net[2].register_full_backward_pre_hook(before)
        (x,) = make_inputs(library, [(2, 3)])
        net(x).sum().backward()
        log.append(x.grad.tolist())
        log += [p.grad.tolist() for p in net.parameters()]
        seen.append(log)
    theirs, ours = seen
    assert len(theirs) == len(ours)
    for yours, mine in zip(theirs, ours):
        for a, b in zip(yours, mine):
            np.testing.assert_allclose(b, a, rtol=1e-9)


def test_deepcopied_layers_start_alike():
    for library in LIBRARIES:
        library.manual_seed(0)
        layer = library.nn.Linear(2, 2)
        twin = copy.deepcopy(layer)
        assert twin.weight is not layer.weight
        assert twin.weight.tolist() == layer.weight.tolist()


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
@pytest.mark.parametrize("orthogonal_map", [None, "matrix_exp", "cayley", "householder"])
def test_orthogonal_parametrization(shape, orthogonal_map):
    results = []
    for library in LIBRARIES:
        library.manual_seed(0)
        layer = library.nn.Linear(*shape, dtype=library.float64)
        library.nn.utils.parametrizations.orthogonal(layer, orthogonal_map=orthogonal_map)
        free = layer.parametrizations.weight.original
        (x,) = make_inputs(library, [(2, shape[0])])
        with library.no_grad():
            free.add_(x[0, 0] * library.ones(free.shape, dtype=library.float64).tril(-1))
        (layer(x) ** 2).sum().backward()
        results.append([layer.weight, free.grad, x.grad])
    for theirs, ours in zip(*results):
        same(ours, theirs, str(orthogonal_map))
