"""Cells of recurrent layers: one step of RNN, LSTM and GRU."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dispatch, ops
from flambeau.nn import _rnn, init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.recurrent import recurrence
from flambeau.tensor import Tensor

__all__ = ["RNNCellBase", "RNNCell", "LSTMCell", "GRUCell"]


def _advance(mode: str, input: Tensor, states: list[Tensor], weights: tuple) -> tuple[Tensor, ...]:
    """The states after one step: a sequence of length one, as one op where precisions are not mixed."""
    dtype = input.dtype
    alike = dtype.is_floating_point and all([t is None or t.dtype is dtype for t in (*states, *weights)])
    if not alike or dispatch.autocast.cast is not None:
        return _rnn.cell(mode, input, tuple(states), *weights)
    w_ih, w_hh, b_ih, b_hh = weights
    if mode != "GRU" and b_hh is not None:  # a GRU's second bias is inside of a product
        b_ih, b_hh = b_hh if b_ih is None else b_ih + b_hh, None
    h, c = [s.contiguous() for s in states] if len(states) == 2 else (states[0].contiguous(), None)
    return recurrence(input.contiguous(), h, c, w_ih, w_hh, b_ih, b_hh, mode, (input.shape[0],), False)[: len(states)]


class RNNCellBase(Module):
    """What the cells share: one step's weights, drawn from U(-1/sqrt(hidden_size), ...).

    Raises ``ValueError`` for other than 1 or 2 dims, ``RuntimeError`` for sizes that do not fit.

    >>> import flambeau as torch
    >>> cell = torch.nn.LSTMCell(3, 4)  # 4 gates
    >>> cell.weight_ih.shape
    torch.Size([16, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html
    """

    __constants__ = ["input_size", "hidden_size", "bias"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        shapes: dict[str, Any] = {
            "weight_ih": (gates, input_size),
            "weight_hh": (gates, hidden_size),
            "bias_ih": (gates,) if bias else None,
            "bias_hh": (gates,) if bias else None,
        }
        for name, shape in shapes.items():
            weight = None
            if shape is not None:
                weight = Parameter(ops.empty(shape, device=device, dtype=dtype))
            self.register_parameter(name, weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, mode: str, input: Tensor, states: list[Tensor | None]) -> tuple[Tensor, ...]:
        """One step on (N, input_size) or (input_size); a state that is None is zeros."""
        name = self._get_name()
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for i, state in enumerate(states):
            if state is not None and state.dim() not in (1, 2):
                what = f"hx[{i}]" if len(states) == 2 else "hidden"
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {state.dim()}D instead")
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
            states = [None if s is None else s.unsqueeze(0) for s in states]
        batch, features = input.shape
        if features != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {features} expected {self.input_size}")
        full = []
        for i, state in enumerate(states):
            if state is None:
                state = ops.zeros((batch, self.hidden_size), dtype=input.dtype, device=input.device)
            elif state.shape != (batch, self.hidden_size):
                self._refuse_state(i, state, batch)
            full.append(state)
        new = _advance(mode, input, full, (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh))
        return new if batched else tuple(s.squeeze(0) for s in new)

    def _refuse_state(self, i: int, state: Tensor, batch: int) -> None:
        if state.size(0) != batch:
            raise RuntimeError(f"Input batch size {batch} doesn't match hidden{i} batch size {state.size(0)}")
        raise RuntimeError(f"hidden{i} has inconsistent hidden_size: got {state.size(1)}, expected {self.hidden_size}")

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text


class RNNCell(RNNCellBase):
    """One step of ``RNN``: input (N, input_size) and state (N, hidden_size) to the new state.

    Raises ``RuntimeError`` for another ``nonlinearity``, and for inputs and states that do not fit.

    >>> import flambeau as torch
    >>> torch.nn.RNNCell(10, 20)(torch.ones(3, 10)).shape
    torch.Size([3, 20])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html
    """

    __constants__ = [*RNNCellBase.__constants__, "nonlinearity"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, [hx])[0]


class LSTMCell(RNNCellBase):
    """One step of ``LSTM``: input (N, input_size) and state (h, c) to the new (h, c).

    >>> import flambeau as torch
    >>> h, c = torch.nn.LSTMCell(10, 20)(torch.ones(3, 10))
    >>> h.shape
    torch.Size([3, 20])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._step("LSTM", input, [None, None] if hx is None else [hx[0], hx[1]])
        return h, c


class GRUCell(RNNCellBase):
    """One step of ``GRU``: input (N, input_size) and state (N, hidden_size) to the new state.

    >>> import flambeau as torch
    >>> torch.nn.GRUCell(10, 20)(torch.ones(3, 10)).shape
    torch.Size([3, 20])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, [hx])[0]
