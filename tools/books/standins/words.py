"""Text that looks like language: sentences of a few hundred words, from a fixed seed."""

from __future__ import annotations

import random

COMMON = (
    "the of and to a in that it was i for on you he be with as by at have are this not but had his they from she which or we "
    "an there her were one do been all their has would will what if can when so my time traveller machine man said other "
    "into up out who little very like more two some could then them these now only its than over good great world day"
).split()
_SYLLABLES = "ba co di fu ga lo mi nu pa re si to va we xi yo za ter lan mor ken".split()


def vocabulary(size: int) -> list[str]:
    """The first ``size`` words: common ones, then made-up ones."""
    stream, words = random.Random(5), list(COMMON)
    while len(words) < size:
        word = "".join(stream.choices(_SYLLABLES, k=stream.randint(2, 3)))
        if word not in words:
            words.append(word)
    return words[:size]


def sentences(count: int, seed: int, size: int = 300, low: int = 4, high: int = 14) -> list[str]:
    """``count`` sentences without full stops, in which early words of the vocabulary are frequent."""
    stream, words = random.Random(seed), vocabulary(size)
    weights = [1 / (rank + 2) for rank in range(size)]
    return [" ".join(stream.choices(words, weights, k=stream.randint(low, high))) for _ in range(count)]
