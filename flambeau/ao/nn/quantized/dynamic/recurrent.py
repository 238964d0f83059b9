"""Recurrent layers with weights of integers, for numbers that are quantized as they go.

All steps of a sequence are multiplied by the input's weight at once, and so have one scale; a hidden state has its own at each
step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.ao.nn.quantized.weights import qint8, quantized_weight
from flambeau.core import dtypes
from flambeau.nn import functional
from flambeau.nn.modules import rnn
from flambeau.nn.modules.container import ModuleList
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence
from flambeau.quantized import products
from flambeau.quantized.products import HalfWeight, LinearWeight
from flambeau.tensor import Tensor

F: Any = functional
__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "PackedParameter", "RNNCell"]


def _packed(mod: Any, suffix: str) -> tuple[Any, Any]:
    """The weights of the input and of the hidden state, quantized by the configuration of a layer."""
    made: list[Any] = []
    for kind in ("ih", "hh"):
        weight, bias = getattr(mod, f"weight_{kind}{suffix}"), getattr(mod, f"bias_{kind}{suffix}")
        observer = mod.qconfig.weight()
        if observer.dtype is dtypes.float16:
            made.append(HalfWeight(weight, bias))
        elif observer.dtype is qint8:
            observer(weight)
            made.append(LinearWeight(quantized_weight(weight, observer), bias))  # type: ignore[arg-type]
        else:
            raise RuntimeError(f"Unsupported dtype for dynamic RNN quantization: {observer.dtype}")
    return made[0], made[1]


def _draw(mod: Module) -> None:
    """Gives a layer that has no values yet normal ones, as PyTorch does for what is replaced when weights are loaded."""
    for name, parameter in [*mod.named_parameters()]:
        setattr(mod, name, Parameter(flambeau.randn(parameter.shape)))


# --- one step -------------------------------------------------------------------------------------------------


def _lstm_step(gates: Tensor, hidden: Tensor, from_hidden: Tensor, state: tuple) -> tuple:
    i, f, g, o = (from_hidden + gates).chunk(4, 1)
    cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _gru_step(gates: Tensor, hidden: Tensor, from_hidden: Tensor, state: tuple) -> tuple:
    reset, update, new = gates.chunk(3, 1)
    h_reset, h_update, h_new = from_hidden.chunk(3, 1)
    reset, update = (h_reset + reset).sigmoid(), (h_update + update).sigmoid()
    new = (new + h_new * reset).tanh()
    return ((hidden - new) * update + new,)


def _rnn_step(function: Callable) -> Callable:
    return lambda gates, hidden, from_hidden, state: (function(from_hidden + gates),)


_STEPS: dict[str, Callable] = {
    "LSTM": _lstm_step,
    "GRU": _gru_step,
    "RNN_TANH": _rnn_step(flambeau.tanh),
    "RNN_RELU": _rnn_step(flambeau.relu),
}


class PackedParameter(Module):
    """The weights of one layer in one direction; in the state, two pairs of tensors."""

    def __init__(self, param: tuple[Any, Any]) -> None:
        super().__init__()
        self.param = param

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "param"] = tuple(packed.unpack() for packed in self.param)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest: Any) -> None:
        pairs = state_dict.pop(prefix + "param")
        self.param = tuple((LinearWeight if w.is_quantized else HalfWeight)(w, b) for w, b in pairs)  # type: ignore[assignment]
        super()._load_from_state_dict(state_dict, prefix, *rest)


# --- whole sequences ------------------------------------------------------------------------------------------


class _Recurrent(Module):
    """Base of LSTM and GRU: layers and directions, steps of sequences, packed ones too."""

    _kind: str
    _version = 2

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, dtype: Any = qint8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.mode, self.input_size, self.hidden_size, self.num_layers, self.bias = (
            self._kind,
            input_size,
            hidden_size,
            num_layers,
            bias,
        )
        self.batch_first, self.dropout, self.bidirectional, self.dtype, self.training = (
            batch_first,
            float(dropout),
            bidirectional,
            dtype,
            False,
        )
        like = getattr(rnn, self._kind)(
            input_size, hidden_size, num_layers, True, batch_first, dropout, bidirectional, device="meta"
        )
        _draw(like)
        from flambeau.ao.quantization import qconfig  # which is made of layers, too

        like.qconfig = qconfig.float16_dynamic_qconfig if dtype is dtypes.float16 else qconfig.default_dynamic_qconfig
        self._take(like)

    def _take(self, mod: Any) -> None:
        """Quantizes the weights of a layer in floating point."""
        suffixes = [f"_l{k}{way}" for k in range(self.num_layers) for way in (("", "_reverse") if self.bidirectional else ("",))]
        self._all_weight_values = ModuleList([PackedParameter(_packed(mod, suffix)) for suffix in suffixes])

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The layer of one in floating point with a configuration."""
        if not mod.bias:
            raise AssertionError("mod.bias must be True")
        made = cls(
            mod.input_size,
            mod.hidden_size,
            mod.num_layers,
            mod.bias,
            mod.batch_first,
            mod.dropout,
            mod.bidirectional,
            mod.qconfig.weight().dtype,
        )
        made._take(mod)
        return made

    def _get_name(self) -> str:
        return f"DynamicQuantized{self._kind}"

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, usual in (("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0), ("bidirectional", False)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text

    def __repr__(self) -> str:
        return f"{self._get_name()}({self.extra_repr()})"

    def _direction(self, x: Tensor, sizes: list[int], state: tuple, param: tuple, backwards: bool) -> tuple[Tensor, tuple]:
        """One layer in one direction over steps that stand behind each other, ``sizes`` rows each; later steps may have fewer."""
        step, (of_input, of_hidden) = _STEPS[self._kind], param
        gates = products.dynamic(x, of_input, True).split(sizes)
        outputs: list[Any] = [None] * len(sizes)
        ended = []  # states of sequences that are over
        rows = sizes[-1] if backwards else sizes[0]
        now = tuple(s[:rows] for s in state)
        for t in reversed(range(len(sizes))) if backwards else range(len(sizes)):
            n = sizes[t]
            if n > len(now[0]):
                now = tuple(flambeau.cat([s, first[len(s) : n]]) for s, first in zip(now, state, strict=True))
            elif n < len(now[0]):
                ended.append(tuple(s[n:] for s in now))
                now = tuple(s[:n] for s in now)
            now = step(gates[t], now[0], products.dynamic(now[0], of_hidden, True), now)
            outputs[t] = now[0]
        parts = [now, *reversed(ended)]
        return flambeau.cat(outputs), tuple(flambeau.cat(part) for part in zip(*parts, strict=True))

    def _run(self, x: Tensor, sizes: list[int], state: tuple) -> tuple[Tensor, tuple]:
        """All layers: ``state`` and the one that is returned have one entry for each layer and direction."""
        ways = 2 if self.bidirectional else 1
        last = []
        for layer in range(self.num_layers):
            found = []
            for way in range(ways):
                at = layer * ways + way
                y, end = self._direction(x, sizes, tuple(s[at] for s in state), self._all_weight_values[at].param, bool(way))
                found.append(y)
                last.append(end)
            x = flambeau.cat(found, 1) if ways > 1 else found[0]
            if self.training and self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout)
        return x, tuple(flambeau.stack(part) for part in zip(*last, strict=True))

    def forward(self, input: Any, hx: Any = None) -> tuple:
        packed = input if isinstance(input, PackedSequence) else None
        if packed is not None:
            x, sizes = packed.data, packed.batch_sizes.tolist()
            batch = sizes[0]
        else:
            if input.dim() != 3:
                raise RuntimeError(f"input must have 3 dimensions, got {input.dim()}")
            steps = input.transpose(0, 1) if self.batch_first else input
            batch, sizes = steps.shape[1], [steps.shape[1]] * steps.shape[0]
            x = steps.reshape(-1, steps.shape[2])
        if x.shape[-1] != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}")
        count = len(self._all_weight_values)
        state = hx if isinstance(hx, tuple) else None if hx is None else (hx,)
        if state is None:
            state = (flambeau.zeros(count, batch, self.hidden_size),) * (2 if self._kind == "LSTM" else 1)
        elif packed is not None and packed.sorted_indices is not None:
            state = tuple(s.index_select(1, packed.sorted_indices) for s in state)
        for s in state:
            if tuple(s.shape) != (count, batch, self.hidden_size):
                raise RuntimeError(f"Expected hidden size {(count, batch, self.hidden_size)}, got {list(s.shape)}")
        y, last = self._run(x, sizes, state)
        if packed is not None:
            if packed.unsorted_indices is not None:
                last = tuple(s.index_select(1, packed.unsorted_indices) for s in last)
            out: Any = PackedSequence(y, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        else:
            out = y.reshape(len(sizes), batch, -1)
            out = out.transpose(0, 1) if self.batch_first else out
        return out, last if self._kind == "LSTM" else last[0]


class LSTM(_Recurrent):
    """``torch.nn.LSTM`` with weights of integers or in half precision.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ao.nn.quantized.dynamic.LSTM.html
    """

    _kind = "LSTM"


class GRU(_Recurrent):
    """``torch.nn.GRU`` with weights of integers or in half precision.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ao.nn.quantized.dynamic.GRU.html
    """

    _kind = "GRU"


class _Cell(Module):
    """Base of single steps."""

    _kind: str
    _float: Any

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = qint8, **settings: Any) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias, self.weight_dtype = input_size, hidden_size, bias, dtype
        like: Any = self._float(input_size, hidden_size, True, **settings, device="meta")
        _draw(like)
        from flambeau.ao.quantization import qconfig  # which is made of layers, too

        like.qconfig = qconfig.float16_dynamic_qconfig if dtype is dtypes.float16 else qconfig.default_dynamic_qconfig
        self.weights = PackedParameter(_packed(like, ""))

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The layer of one in floating point with a configuration."""
        settings = {"nonlinearity": mod.nonlinearity} if hasattr(mod, "nonlinearity") else {}
        made = cls(mod.input_size, mod.hidden_size, mod.bias, mod.qconfig.weight().dtype, **settings)
        made.weights = PackedParameter(_packed(mod, ""))
        return made

    def _get_name(self) -> str:
        return f"DynamicQuantized{type(self).__name__}"

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias is True else f", bias={self.bias}")

    def __repr__(self) -> str:
        return f"{self._get_name()}({self.extra_repr()})"

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        lstm = self._kind == "LSTM"
        if hx is None:
            hx = flambeau.zeros(input.shape[0], self.hidden_size)
            hx = (hx, hx) if lstm else hx
        state = hx if lstm else (hx,)
        of_input, of_hidden = self.weights.param
        found = _STEPS[self._kind](
            products.dynamic(input, of_input, True), state[0], products.dynamic(state[0], of_hidden, True), state
        )
        return found if lstm else found[0]


class LSTMCell(_Cell):
    """``torch.nn.LSTMCell`` with weights of integers."""

    _kind, _float = "LSTM", rnn.LSTMCell


class GRUCell(_Cell):
    """``torch.nn.GRUCell`` with weights of integers."""

    _kind, _float = "GRU", rnn.GRUCell


class RNNCell(_Cell):
    """``torch.nn.RNNCell`` with weights of integers."""

    _float = rnn.RNNCell

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = qint8, nonlinearity: str = "tanh"
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, nonlinearity=nonlinearity)
        self.nonlinearity, self._kind = nonlinearity, f"RNN_{nonlinearity.upper()}"
