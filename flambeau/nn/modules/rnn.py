"""Recurrent layers and cells: RNN, LSTM and GRU."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

from flambeau import dispatch, ops
from flambeau.nn import _rnn, init
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.rnn_cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence
from flambeau.tensor import Tensor

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

# How many gates each kind of cell has.
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What RNN, LSTM and GRU share: the weights of all layers and directions, and the checks.

    Layer k has ``weight_ih_lk`` (gates * hidden_size, features), ``weight_hh_lk``
    (gates * hidden_size, hidden_size) and ``bias_ih_lk``, ``bias_hh_lk``; the other direction the
    same with ``_reverse``. All start from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size)).

    Raises ``ValueError`` for sizes that are not positive, ``RuntimeError`` for inputs and states that do not fit.

    >>> import flambeau as torch
    >>> net = torch.nn.RNN(3, 4)
    >>> [(name, tuple(weight.shape)) for name, weight in net.named_parameters()]
    [('weight_ih_l0', (4, 3)), ('weight_hh_l0', (4, 4)), ('bias_ih_l0', (4,)), ('bias_hh_l0', (4,))]

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNBase.html
    """

    __constants__ = [
        "mode",
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
        "proj_size",
    ]

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_arguments()

        self._all_weights: list[list[str]] = []
        for suffix, shapes in self._weight_shapes():
            names = [name + suffix for name in shapes]
            for name, shape in zip(names, shapes.values()):
                setattr(self, name, Parameter(ops.empty(shape, device=device, dtype=dtype)))
            self._all_weights.append(names)
        self.reset_parameters()

    def _check_arguments(self) -> None:
        number = isinstance(self.dropout, (int, float)) and not isinstance(self.dropout, bool)
        if not number or not 0 <= self.dropout <= 1:
            raise ValueError("dropout should be a number in range [0, 1] representing the probability of an element being zeroed")
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
                f"expects num_layers greater than 1, but got dropout={self.dropout} and "
                f"num_layers={self.num_layers}",
                stacklevel=4,
            )
        if not isinstance(self.bias, bool):
            raise TypeError(f"bias should be of type bool, got: {type(self.bias).__name__}")
        if not isinstance(self.hidden_size, int):
            raise TypeError(f"hidden_size should be of type int, got: {type(self.hidden_size).__name__}")
        if self.hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if self.num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if self.proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")

    def _weight_shapes(self) -> Iterator[tuple[str, dict[str, tuple[int, ...]]]]:
        """For each layer and direction the end of its names, and the shape of each weight."""
        gates = _GATES[self.mode] * self.hidden_size
        out = self._output_size
        for layer in range(self.num_layers):
            features = self.input_size if layer == 0 else out * self._directions
            for direction in range(self._directions):
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (gates, features),
                    "weight_hh": (gates, out),
                }
                if self.bias:
                    shapes["bias_ih"] = shapes["bias_hh"] = (gates,)
                if self.proj_size:
                    shapes["weight_hr"] = (self.proj_size, self.hidden_size)
                yield f"_l{layer}" + ("_reverse" if direction else ""), shapes

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _output_size(self) -> int:
        return self.proj_size or self.hidden_size

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [weight for weights in self.all_weights for weight in weights]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def __getstate__(self) -> dict[str, Any]:
        # With what PyTorch's class keeps beside the parameters, so that it can be made of this.
        return {
            **self.__dict__,
            "_flat_weights_names": self._flat_weights_names,
            "_flat_weights": self._flat_weights,
            "_flat_weight_refs": [],
        }

    def __setstate__(self, state: dict) -> None:
        super().__setstate__({name: value for name, value in state.items() if not name.startswith("_flat_weight")})

    def flatten_parameters(self) -> None:
        """Nothing to do here: it arranges the weights in memory for cuDNN."""

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    # ---- checks ----------------------------------------------------------------------------------

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raise if the input is not what the weights expect."""
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype != weight.dtype and dispatch.autocast.cast is None:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}")

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of the hidden state for this input."""
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.size(0 if self.batch_first else 1)
        return self.num_layers * self._directions, batch, self._output_size

    def check_hidden_size(self, hx: Tensor, expected: tuple[int, ...], msg: str = "Expected hidden size {}, got {}") -> None:
        """Raise if the state does not have the `expected` shape."""
        if tuple(hx.shape) != tuple(expected):
            raise RuntimeError(msg.format(expected, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raise if input and state do not fit the layer or each other."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The state with its batch in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    # ---- forward: the state is a tuple of tensors, one for RNN and GRU, two for LSTM ---------------

    def _as_states(self, hx: Any) -> tuple[Tensor, ...]:
        return (hx,)

    def _from_states(self, states: tuple[Tensor, ...]) -> Any:
        return states[0]

    def _state_sizes(self) -> tuple[int, ...]:
        return (self._output_size,)

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            tensor = " tensor" if self.mode.startswith("RNN") else ""
            raise ValueError(f"{self._get_name()}: Expected input to be 2D or 3D, got {input.dim()}D{tensor} instead")
        batched = input.dim() == 3
        batch_dim = 0 if self.batch_first else 1
        if hx is not None:
            self._check_state_dims(self._as_states(hx), batched)
        if not batched:
            input = input.unsqueeze(batch_dim)
            if hx is not None:
                hx = self._from_states(tuple(s.unsqueeze(1) for s in self._as_states(hx)))
        if hx is None:
            hx = self._zeros(input, input.size(batch_dim))
        self.check_forward_args(input, hx, None)

        steps = input.transpose(0, 1) if self.batch_first else input
        if steps.size(0) == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        output, states = self._run(steps, None, self._as_states(hx))
        if self.batch_first:
            output = output.transpose(0, 1)
        if not batched:
            output = output.squeeze(batch_dim)
            states = tuple(s.squeeze(1) for s in states)
        return output, self._from_states(states)

    def _forward_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        data, batch_sizes, sorted_indices, unsorted_indices = input
        sizes = batch_sizes.tolist()
        if hx is None:
            hx = self._zeros(data, sizes[0])
        else:
            hx = self.permute_hidden(hx, sorted_indices)
        self.check_forward_args(data, hx, batch_sizes)
        output, states = self._run(data, sizes, self._as_states(hx))
        packed = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
        return packed, self.permute_hidden(self._from_states(states), unsorted_indices)

    def _run(self, input: Tensor, batch_sizes: list[int] | None, states: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return _rnn.sequence(
            self.mode,
            input,
            batch_sizes,
            states,
            self.all_weights,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
        )

    def _zeros(self, input: Tensor, batch: int) -> Any:
        rows = self.num_layers * self._directions
        states = tuple(ops.zeros((rows, batch, size), dtype=input.dtype, device=input.device) for size in self._state_sizes())
        return self._from_states(states)

    def _check_state_dims(self, states: tuple[Tensor, ...], batched: bool) -> None:
        dims = [s.dim() for s in states]
        expected = 3 if batched else 2
        if all(dim == expected for dim in dims):
            return
        word = "batched" if batched else "unbatched"
        what, got = "hx", f"{dims[0]}-D tensor"
        if len(dims) == 2:
            what, got = "hx and cx", f"({dims[0]}-D, {dims[1]}-D) tensors"
        raise RuntimeError(f"For {word} {expected}-D input, {what} should also be {expected}-D but got {got}")

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size != 0:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first is not False:
            text += f", batch_first={self.batch_first}"
        if self.dropout != 0:
            text += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            text += f", bidirectional={self.bidirectional}"
        return text


def _refuse_projection(proj_size: Any) -> None:
    if proj_size is not None:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNN(RNNBase):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), in several layers.

    Called with input (L, N, input_size), or (N, L, input_size) when ``batch_first``, or without N,
    or a PackedSequence, and the first state (layers * directions, N, hidden_size) (zeros when left
    out). Returns the outputs of the last layer, (L, N, directions * hidden_size), and the last state.

    Args:
        input_size, hidden_size: features of x and of h.
        num_layers: layers, each on the outputs of the one below.
        nonlinearity: "tanh" or "relu".
        bias: whether there are b_ih and b_hh.
        dropout: of the outputs of all layers but the last.
        bidirectional: also from the end to the beginning.

    Raises ``ValueError`` for another ``nonlinearity``, ``RuntimeError`` for inputs and states that do not fit.

    >>> import flambeau as torch
    >>> output, h = torch.nn.RNN(10, 20, 2)(torch.ones(5, 3, 10))
    >>> output.shape, h.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.nonlinearity = nonlinearity
        _refuse_projection(proj_size)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)


class GRU(RNNBase):
    """Gated recurrent units, in several layers; arguments and shapes as for ``RNN``.

    r_t = sigmoid(W_ir x_t + b_ir + W_hr h_(t-1) + b_hr), z_t in the same way,
    n_t = tanh(W_in x_t + b_in + r_t (W_hn h_(t-1) + b_hn)), h_t = (1 - z_t) n_t + z_t h_(t-1).

    >>> import flambeau as torch
    >>> output, h = torch.nn.GRU(10, 20, bidirectional=True)(torch.ones(5, 3, 10))
    >>> output.shape, h.shape
    (torch.Size([5, 3, 40]), torch.Size([2, 3, 20]))

    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        _refuse_projection(proj_size)
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)


class LSTM(RNNBase):
    """Long short-term memory, in several layers; arguments and shapes as for ``RNN``.

    i_t, f_t, o_t = sigmoid(W_i x_t + b_i + W_h h_(t-1) + b_h), g_t in the same way with tanh,
    c_t = f_t c_(t-1) + i_t g_t, h_t = o_t tanh(c_t).

    The state is a pair (h, c). With ``proj_size`` h_t is projected to that many features.

    >>> import flambeau as torch
    >>> output, (h, c) = torch.nn.LSTM(10, 20, 2, batch_first=True)(torch.ones(3, 5, 10))
    >>> output.shape, h.shape, c.shape
    (torch.Size([3, 5, 20]), torch.Size([2, 3, 20]), torch.Size([2, 3, 20]))

    Hochreiter and Schmidhuber (1997), Long short-term memory.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        )

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of the cell state for this input."""
        rows, batch, _ = self.get_expected_hidden_size(input, batch_sizes)
        return rows, batch, self.hidden_size

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        self.check_input(input, batch_sizes)
        h, c = hidden
        expected = self.get_expected_hidden_size(input, batch_sizes)
        self.check_hidden_size(h, expected, "Expected hidden[0] size {}, got {}")
        expected = self.get_expected_cell_size(input, batch_sizes)
        self.check_hidden_size(c, expected, "Expected hidden[1] size {}, got {}")

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        return tuple(super(LSTM, self).permute_hidden(s, permutation) for s in hx)

    def _as_states(self, hx: Any) -> tuple[Tensor, ...]:
        return hx[0], hx[1]

    def _from_states(self, states: tuple[Tensor, ...]) -> Any:
        return states

    def _state_sizes(self) -> tuple[int, ...]:
        return self._output_size, self.hidden_size
