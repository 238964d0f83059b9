"""Sequences of different lengths in one batch: padded and packed.

Packed, the batch is sorted from the longest sequence to the shortest, and the values stand step by
step: all first steps, then all second steps of those that have one, and so on.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable, Sequence
from typing import Any

from flambeau import ops
from flambeau.core import dtypes
from flambeau.nn import functional as F
from flambeau.ops.joining import pad_sequence as pad_together
from flambeau.tensor import Tensor
from flambeau.tensor.exchange import as_tensor, tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]

_Fields = namedtuple("PackedSequence", ["data", "batch_sizes", "sorted_indices", "unsorted_indices"])  # type: ignore[name-match]  # as it prints


class PackedSequence(_Fields):
    """A packed batch of sequences; made by ``pack_sequence`` and ``pack_padded_sequence``.

    Fields:
        data: the values of all sequences, step by step.
        batch_sizes: how many sequences have each step.
        sorted_indices: which sequence stands at each place of the sorted batch (or None).
        unsorted_indices: at which place each sequence stands (or None).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.PackedSequence.html
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def __getnewargs__(self) -> tuple:
        return tuple(self)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The sequences with ``data.to(...)``; this one itself if that changes nothing."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._replace(data=data)

    def cpu(self) -> PackedSequence:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the GPU."""
        return self._replace(data=self.data.cuda(*args, **kwargs))

    def double(self) -> PackedSequence:
        """With float64 values."""
        return self.to(dtypes.float64)

    def float(self) -> PackedSequence:
        """With float32 values."""
        return self.to(dtypes.float32)

    def half(self) -> PackedSequence:
        """With float16 values."""
        return self.to(dtypes.float16)

    def long(self) -> PackedSequence:
        """With int64 values."""
        return self.to(dtypes.int64)

    def int(self) -> PackedSequence:
        """With int32 values."""
        return self.to(dtypes.int32)

    def short(self) -> PackedSequence:
        """With int16 values."""
        return self.to(dtypes.int16)

    def char(self) -> PackedSequence:
        """With int8 values."""
        return self.to(dtypes.int8)

    def byte(self) -> PackedSequence:
        """With uint8 values."""
        return self.to(dtypes.uint8)

    def pin_memory(self) -> PackedSequence:
        """In pinned memory."""
        return self._replace(data=self.data.pin_memory())

    def is_pinned(self) -> bool:
        """Whether the values are in pinned memory."""
        return self.data.is_pinned()

    @property
    def is_cuda(self) -> bool:
        """Whether the values are on the GPU."""
        return self.data.is_cuda


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one."""
    if permutation is None:
        return None
    n = permutation.numel()
    return ops.empty_like(permutation).scatter_(0, permutation, ops.arange(n))


def _batch_sizes(lengths: Sequence[int]) -> list[int]:
    """How many of the sequences, longest first, have each step."""
    sizes = []
    running = len(lengths)
    for time in range(lengths[0]):
        while lengths[running - 1] <= time:
            running -= 1
        sizes.append(running)
    return sizes


def _rows(batch_sizes: Sequence[int], batch: int) -> Tensor:
    """Where the packed values stand in a padded batch of (time, batch) rows."""
    rows = [time * batch + i for time, size in enumerate(batch_sizes) for i in range(size)]
    return tensor(rows, dtype=dtypes.int64)


def pack_padded_sequence(
    input: Tensor,
    lengths: Tensor | Sequence[int],
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """Pack a padded batch: (T, N, *), or (N, T, *) when `batch_first`, and the N lengths.

    With `enforce_sorted` the sequences must come longest first; without it they are sorted here.

    >>> import flambeau as torch
    >>> from flambeau.nn.utils.rnn import pack_padded_sequence
    >>> padded = torch.tensor([[1, 4], [2, 5], [3, 0]])
    >>> pack_padded_sequence(padded, [3, 2]).data
    tensor([1, 4, 2, 5, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_padded_sequence.html
    """
    lengths = as_tensor(lengths, dtype=dtypes.int64, device="cpu")
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if lengths.dim() != 1:
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.dim()}D {lengths.device} Long tensor"
        )
    sorted_indices = None
    if not enforce_sorted:
        ordered: tuple[Tensor, Tensor] = ops.sort(lengths, descending=True)
        lengths, sorted_indices = ordered
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    if batch_first:
        input = input.transpose(0, 1)
    time, batch, *rest = input.shape
    steps = lengths.tolist()
    if len(steps) != batch:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(steps)} (batch_size={batch})")
    if min(steps) <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0")
    if steps != sorted(steps, reverse=True):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    if steps[0] > time:
        raise RuntimeError(f"Expected no length to exceed the {time} steps of the input, but got {steps[0]}")
    sizes = _batch_sizes(steps)
    data = input.reshape(time * batch, *rest).index_select(0, _rows(sizes, batch))
    return PackedSequence(data, tensor(sizes, dtype=dtypes.int64), sorted_indices)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The padded batch (T, N, *), or (N, T, *) when `batch_first`, and the N lengths.

    Args:
        padding_value: what stands after the end of a sequence.
        total_length: T; the longest sequence's length when left out.

    >>> import flambeau as torch
    >>> from flambeau.nn.utils.rnn import pack_sequence, pad_packed_sequence
    >>> packed = pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4, 5])])
    >>> pad_packed_sequence(packed, batch_first=True)
    (tensor([[1, 2, 3],
            [4, 5, 0]]), tensor([3, 2]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_packed_sequence.html
    """
    sizes = sequence.batch_sizes.tolist()
    longest, batch = len(sizes), sizes[0]
    if total_length is not None:
        if total_length < longest:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, "
                f"but got total_length={total_length} and max sequence length being {longest}"
            )
        longest = total_length
    rest = sequence.data.shape[1:]
    padded = sequence.data.new_full((longest * batch, *rest), padding_value)
    padded = padded.index_copy(0, _rows(sizes, batch), sequence.data)
    padded = padded.reshape(longest, batch, *rest)
    steps = [sum(size > i for size in sizes) for i in range(batch)]
    lengths = tensor(steps, dtype=dtypes.int64)

    order = sequence.unsorted_indices
    if order is not None:
        padded = padded.index_select(1, order)
        lengths = lengths.index_select(0, order)
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pad_sequence(
    sequences: Tensor | Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L_i, *) as one tensor (T, N, *), or (N, T, *) when `batch_first`.

    >>> import flambeau as torch
    >>> from flambeau.nn.utils.rnn import pad_sequence
    >>> pad_sequence([torch.tensor([1, 2, 3]), torch.tensor([4])], batch_first=True)
    tensor([[1, 2, 3],
            [4, 0, 0]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_sequence.html
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    first = sequences[0]
    alike = {(s.dtype, s.shape[1:]) for s in sequences} == {(first.dtype, first.shape[1:])} and first.dim() > 0
    if alike and (padding_value == 0 or first.is_floating_point()) and not first.is_complex():
        return pad_together(sequences, batch_first, float(padding_value), padding_side == "left")
    longest = max(s.size(0) for s in sequences)

    def pad(s: Tensor) -> Tensor:
        missing = longest - s.size(0)
        sides = (missing, 0) if padding_side == "left" else (0, missing)
        return F.pad(s, (0, 0) * (s.dim() - 1) + sides, value=padding_value)

    return ops.stack([pad(s) for s in sequences], dim=0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch, each as long as `lengths` says."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    steps = lengths.tolist() if isinstance(lengths, Tensor) else lengths
    return [sequence[:n] for sequence, n in zip(padded_sequences, steps)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L_i, *), longest first unless `enforce_sorted` is False.

    >>> import flambeau as torch
    >>> from flambeau.nn.utils.rnn import pack_sequence
    >>> pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4, 5])]).batch_sizes
    tensor([2, 2, 1])
    """
    lengths = [s.size(0) for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
