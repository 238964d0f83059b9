"""Recurrent layers and cells that PyTorch has under ``torch`` itself, with all weights in a list: ``torch.lstm``,
``torch.gru_cell``, ..."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau.nn import _rnn
from flambeau.ops.record import Sample, composite
from flambeau.ops.wrong_tensors import type_name
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

# --- recurrent networks --------------------------------------------------------------------------------------


def _grouped(params: list[Tensor], has_biases: bool, states: int) -> list[list[Tensor]]:
    """The weights of each layer and direction: two, their biases, and a projection where there is one."""
    each = 4 if has_biases else 2
    if len(params) != states * each:
        each += 1
    if len(params) != states * each:
        raise RuntimeError(f"got an incorrect number of RNN parameters: {len(params)} for {states} layers and directions")
    return [list(params[i : i + each]) for i in range(0, len(params), each)]


_REST = ("params", "has_biases", "num_layers", "dropout", "train", "bidirectional")
_PADDED, _PACKED = ("input", "hx", *_REST, "batch_first"), ("data", "batch_sizes", "hx", *_REST)


def _sequences(mode: str, args: tuple, kwargs: dict[str, Any]) -> tuple:
    """A recurrent network in either form, of padded sequences or of packed ones."""
    packed = "batch_sizes" in kwargs or len(args) > 3 and isinstance(args[3], (list, tuple))
    names = _PACKED if packed else _PADDED
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if given.keys() != set(names):
        raise TypeError(f"{mode.lower()}() takes ({', '.join(_PADDED)}) or ({', '.join(_PACKED)}), but got ({', '.join(given)})")
    batch_first = given.get("batch_first", False)
    tensors = [given["data" if packed else "input"], *(given["hx"] if mode == "LSTM" else [given["hx"]])]
    if not all(isinstance(x, Tensor) for x in tensors):
        got = ", ".join([type_name(x) for x in given.values()])
        raise TypeError(f"{mode.lower()}() received an invalid combination of arguments - got ({got}): data and states are tensors")
    rows = given["data"] if packed else given["input"]
    sizes = given["batch_sizes"].tolist() if packed else None
    initial = tuple(given["hx"]) if mode == "LSTM" else (given["hx"],)
    layers, bidirectional = given["num_layers"], given["bidirectional"]
    params = _grouped(given["params"], given["has_biases"], layers * (2 if bidirectional else 1))
    steps = rows.transpose(0, 1) if batch_first else rows
    output, last = _rnn.sequence(mode, steps, sizes, initial, params, layers, given["dropout"], given["train"], bidirectional)
    return (output.transpose(0, 1) if batch_first else output, *last)


def _recurrent_samples(mode: str, gates: int) -> Callable:
    def make_samples(make: Callable) -> list[Sample]:
        params = [make(2 * gates, 3), make(2 * gates, 2), make(2 * gates), make(2 * gates)]
        state = make(1, 2, 2)
        hx = [state, make(1, 2, 2)] if mode == "LSTM" else state
        return [
            Sample(make(2, 4, 3), hx, params, True, 1, 0.0, False, False, True),
            Sample(make(4, 2, 3), hx, params[:2], False, 1, 0.0, False, False, False),
        ]

    return make_samples


@composite(method=False, samples=_recurrent_samples("LSTM", 4))
def lstm(*args: Any, **kwargs: Any):
    """The layers of :class:`nn.LSTM`, with all weights in a list: its output and the last states.

    ``lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)``, or of packed sequences
    ``lstm(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)``.

    >>> import flambeau as torch
    >>> layer = torch.nn.LSTM(2, 3)
    >>> zeros = torch.zeros(1, 4, 3)
    >>> output, h, c = torch.lstm(torch.ones(5, 4, 2), (zeros, zeros), layer._flat_weights, True, 1, 0.0, False, False, False)
    >>> output.shape, h.shape
    (torch.Size([5, 4, 3]), torch.Size([1, 4, 3]))

    Source: PyTorch's operator ``aten::lstm``.
    """
    return _sequences("LSTM", args, kwargs)


@composite(method=False, samples=_recurrent_samples("GRU", 3))
def gru(*args: Any, **kwargs: Any):
    """The layers of :class:`nn.GRU`, with all weights in a list: its output and the last state; arguments as for :func:`lstm`.

    >>> import flambeau as torch
    >>> layer = torch.nn.GRU(2, 3)
    >>> output, h = torch.gru(torch.ones(5, 4, 2), torch.zeros(1, 4, 3), layer._flat_weights, True, 1, 0.0, False, False, False)
    >>> output.shape, h.shape
    (torch.Size([5, 4, 3]), torch.Size([1, 4, 3]))

    Source: PyTorch's operator ``aten::gru``.
    """
    return _sequences("GRU", args, kwargs)


@composite(method=False, samples=_recurrent_samples("RNN", 1))
def rnn_tanh(*args: Any, **kwargs: Any):
    """The layers of :class:`nn.RNN`, with all weights in a list: its output and the last state; arguments as for :func:`lstm`.

    >>> import flambeau as torch
    >>> layer = torch.nn.RNN(2, 3)
    >>> output, h = torch.rnn_tanh(torch.ones(5, 4, 2), torch.zeros(1, 4, 3), layer._flat_weights, True, 1, 0.0, False, False, False)
    >>> output.shape, h.shape
    (torch.Size([5, 4, 3]), torch.Size([1, 4, 3]))

    Source: PyTorch's operator ``aten::rnn_tanh``.
    """
    return _sequences("RNN_TANH", args, kwargs)


@composite(method=False, samples=_recurrent_samples("RNN", 1))
def rnn_relu(*args: Any, **kwargs: Any):
    """:func:`rnn_tanh` with rectifiers.

    >>> import flambeau as torch
    >>> layer = torch.nn.RNN(2, 3, nonlinearity="relu")
    >>> output, h = torch.rnn_relu(torch.ones(5, 4, 2), torch.zeros(1, 4, 3), layer._flat_weights, True, 1, 0.0, False, False, False)
    >>> output.shape, h.shape
    (torch.Size([5, 4, 3]), torch.Size([1, 4, 3]))

    Source: PyTorch's operator ``aten::rnn_relu``.
    """
    return _sequences("RNN_RELU", args, kwargs)


def _cell_samples(gates: int, states: int = 1) -> Callable:
    def make_samples(make: Callable) -> list[Sample]:
        hx = make(2, 2) if states == 1 else [make(2, 2), make(2, 2)]
        weights = make(2 * gates, 3), make(2 * gates, 2)
        return [Sample(make(2, 3), hx, *weights), Sample(make(2, 3), hx, *weights, make(2 * gates), make(2 * gates))]

    return make_samples


@composite(method=False, samples=_cell_samples(4, 2))
def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
):
    """One step of :class:`nn.LSTMCell`: both states.

    >>> import flambeau as torch
    >>> w_ih, w_hh, zeros = torch.ones(4, 1), torch.ones(4, 1), torch.zeros(1, 1)
    >>> h, c = torch.lstm_cell(torch.zeros(1, 1), (zeros, zeros), w_ih, w_hh)
    >>> h, c
    (tensor([[0.]]), tensor([[0.]]))

    Source: PyTorch's operator ``aten::lstm_cell``.
    """
    return _rnn.cell("LSTM", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)


@composite(method=False, samples=_cell_samples(3))
def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of :class:`nn.GRUCell`.

    >>> import flambeau as torch
    >>> torch.gru_cell(torch.zeros(1, 1), torch.ones(1, 1), torch.ones(3, 1), torch.zeros(3, 1))
    tensor([[0.5000]])

    Source: PyTorch's operator ``aten::gru_cell``.
    """
    return _rnn.cell("GRU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@composite(method=False, samples=_cell_samples(1))
def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of :class:`nn.RNNCell`.

    >>> import flambeau as torch
    >>> torch.rnn_tanh_cell(torch.ones(1, 1), torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1))
    tensor([[0.7616]])

    Source: PyTorch's operator ``aten::rnn_tanh_cell``.
    """
    return _rnn.cell("RNN_TANH", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@composite(method=False, samples=_cell_samples(1))
def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of :class:`nn.RNNCell` with a rectifier.

    >>> import flambeau as torch
    >>> torch.rnn_relu_cell(torch.ones(1, 1), torch.ones(1, 1), torch.ones(1, 1), torch.ones(1, 1))
    tensor([[2.]])

    Source: PyTorch's operator ``aten::rnn_relu_cell``.
    """
    return _rnn.cell("RNN_RELU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]
