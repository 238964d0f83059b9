"""The state of a random stream."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ..device import device as Device
from ..weak import WeakValues
from . import native

DEFAULT_SEED = 67280421310721
"""The seed of a new ``Generator()``."""

_WORDS = 624
_HIGH, _DIGITS53, _DIGITS24, _LAST24 = np.uint64(32), np.uint64((1 << 53) - 1), np.uint32(0xFF_FFFF), np.float32(2**-24)
_STATE = np.dtype(
    {
        # PyTorch's own layout, so that its checkpoints can be read here and ours there. The gaps hold fields that the
        # CPU generator no longer uses.
        "names": ["seed", "left", "seeded", "next", "words", "normal", "has_normal"],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", _WORDS), "<f8", "<i4"],
        "offsets": [0, 8, 12, 16, 24, 5024, 5040],
        "itemsize": 5056,
    }
)


class Generator:
    """A stream of pseudorandom numbers: the Mersenne twister MT19937, seeded as in PyTorch.

    ``Generator()`` starts from a fixed seed; :meth:`manual_seed` sets another, :meth:`seed` a nondeterministic one.

        >>> import flambeau as torch
        >>> g = torch.Generator().manual_seed(0)
        >>> torch.rand(2, generator=g)
        tensor([0.4963, 0.7682])

    Reference: M. Matsumoto and T. Nishimura, "Mersenne Twister", ACM TOMACS 8(1), 1998;
    https://docs.pytorch.org/docs/stable/generated/torch.Generator.html
    """

    __slots__ = ("__weakref__", "_address", "_bits", "_device", "_legacy", "_seed", "next_normal")

    present_state: Callable[[np.ndarray], Any] = staticmethod(lambda state: state)
    """How :meth:`get_state` hands out its bytes; the tensor floor makes them a tensor."""

    def __init__(self, device: Device | str = "cpu") -> None:
        self._device = Device(device)
        if not str(self._device).startswith("cpu"):
            raise RuntimeError(f"Device type {self._device} is not supported: flambeau has CPU generators, expected 'cpu'")
        self._bits: np.random.MT19937 | None = (
            None  # made at the first draw: numpy.random takes longer to import than all of flambeau's core
        )
        self._seed = DEFAULT_SEED
        self.next_normal: float | None = None
        """The second sample of the last Box-Muller pair, if it has not been handed out yet."""

    # --- seeds ---------------------------------------------------------------------------------------------------

    @property
    def device(self) -> Device:
        """The device of the numbers: the CPU."""
        return self._device

    def manual_seed(self, seed: int | np.integer) -> Generator:
        """Restarts the stream from ``seed`` (from -2**63 to 2**64 - 1; negative ones count from 2**64) and returns it."""
        if not isinstance(seed, int | np.integer):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        if not -(1 << 63) <= seed < 1 << 64:
            raise ValueError(f"Overflow when unpacking long long: the seed must be in [-2**63, 2**64), got {seed}")
        self._seed = int(seed) & 0xFFFF_FFFF_FFFF_FFFF
        self.next_normal = None
        if self._bits is not None:
            self._legacy.seed(self._seed & 0xFFFF_FFFF)
        return self

    def seed(self) -> int:
        """Restarts the stream from a nondeterministic 64-bit seed and returns that seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that the stream started from."""
        return self._seed

    draws = 0
    """How often any generator's bits were asked for."""

    def _twister(self) -> np.random.MT19937:
        Generator.draws += 1
        if self._bits is None:
            with _starting:
                if self._bits is None:
                    bits = np.random.MT19937(0)
                    self._legacy = np.random.RandomState(bits)  # seeds as PyTorch does: Knuth's recurrence, 32 bits
                    self._legacy.seed(self._seed & 0xFFFF_FFFF)
                    self._address: int = bits.ctypes.state_address
                    _started.add(id(self), self)
                    self._bits = bits
        return self._bits

    # --- state ---------------------------------------------------------------------------------------------------

    def get_state(self) -> Any:
        """The state as 5056 bytes, in PyTorch's layout."""
        return Generator.present_state(self._state())

    def _state(self) -> np.ndarray:
        twister = self._twister().state["state"]
        state = np.zeros((), _STATE)
        state["seed"] = self._seed
        state["seeded"] = 1
        state["words"] = twister["key"]
        position = int(twister["pos"])
        state["left"] = _WORDS + 1 - position
        # A twister that was only seeded says next = 0, one that has used up its words next = 624.
        fresh = position == _WORDS and int(twister["key"][0]) == self._seed & 0xFFFF_FFFF
        state["next"] = 0 if fresh else position
        if self.next_normal is not None:
            state["normal"], state["has_normal"] = self.next_normal, 1
        return np.frombuffer(state.tobytes(), np.uint8).copy()

    def set_state(self, new_state: Any) -> None:
        """Continues from a state that :meth:`get_state`, here or in PyTorch, returned."""
        data = np.asarray(new_state)
        if data.dtype != np.uint8:
            raise TypeError(f"RNG state must be a torch.ByteTensor: expected uint8, got {data.dtype}")
        if data.size != _STATE.itemsize:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {_STATE.itemsize} but found the input RNG state size to be {data.size}"
            )
        state = np.frombuffer(data.tobytes(), _STATE)[0]
        left = int(state["left"])
        if not (state["seeded"] and 0 < left <= _WORDS and state["next"] <= _WORDS):
            raise RuntimeError("Invalid mt19937 state: the bytes are not those of a CPU generator's state")
        self._seed = int(state["seed"])
        words = state["words"].astype(np.uint32)
        self._twister().state = {"bit_generator": "MT19937", "state": {"key": words, "pos": _WORDS + 1 - left}}
        self.next_normal = float(state["normal"]) if state["has_normal"] else None

    def clone_state(self) -> Generator:
        """A new generator at the same place of the same stream."""
        clone = Generator(self._device)
        clone.set_state(self._state())
        return clone

    def __reduce__(self) -> tuple:
        return (Generator, (str(self._device),), (self._seed, None, self._state()))

    def __setstate__(self, state: tuple) -> None:
        self.set_state(state[2])

    # --- draws ---------------------------------------------------------------------------------------------------

    def native(self, kernel: str, out: np.ndarray, a: float = 0.0, b: float = 0.0) -> bool:
        """Has native code fill a new array, if there is any that is to be used (see :mod:`.native`); whether it did."""
        n = out.size
        draw = native.kernels.get(kernel) or native.find(kernel, n)
        if draw is None:
            return False
        with self._twister().lock:
            draw(self._address, out, n, a, b)
        return True

    def raw32(self, n: int) -> np.ndarray:
        """The next ``n`` 32-bit words, as ``uint32``."""
        words = np.empty(n, np.uint32)
        if self.native("words", words):
            return words
        return self._twister().random_raw(n).astype(np.uint32)

    def raw64(self, n: int) -> np.ndarray:
        """The next ``n`` 64-bit words, as ``uint64``: of each pair of 32-bit words the first is the high one."""
        longs = np.empty(n, np.uint64)
        return longs if self.native("longs", longs) else self._pairs(n)

    def _pairs(self, n: int) -> np.ndarray:
        words = self._twister().random_raw(2 * n)
        pairs: np.ndarray = words[0::2] << _HIGH
        pairs |= words[1::2]
        return pairs

    def floats(self, n: int) -> np.ndarray:
        """The next ``n`` uniform numbers in [0, 1) with 24 bits, as ``float32``."""
        values = np.empty(n, np.float32)
        if self.native("floats", values, 0.0, 1.0):
            return values
        return np.multiply((self._twister().random_raw(n) & _DIGITS24).astype(np.float32), _LAST24, out=values)

    def doubles(self, n: int) -> np.ndarray:
        """The next ``n`` uniform numbers in [0, 1) with 53 bits, as ``float64``."""
        values = np.empty(n)
        if self.native("doubles", values):
            return values
        return np.multiply(self._pairs(n) & _DIGITS53, 2.0**-53, out=values)


_starting = threading.Lock()
_started: WeakValues[Generator] = WeakValues()


def _free_locks() -> None:
    """In the child of a fork: other threads of the parent, which are not here, may have been drawing."""
    _starting._at_fork_reinit()  # type: ignore[attr-defined]
    for generator in _started.values():
        if generator._bits is not None:
            generator._bits.lock._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):  # in the child only: the parent's signals may come in functions that are called at forks
    os.register_at_fork(after_in_child=_free_locks)

default_generator = Generator()
"""The stream that is used where no ``generator`` is given. As in PyTorch its first seed is different in every process."""
default_generator.seed()
