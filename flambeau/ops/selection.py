"""Which of equal elements ``topk`` picks, and in what order: those that PyTorch's selection leaves there.

PyTorch selects with the C++ library's ``nth_element``, ``partial_sort`` and ``sort``, none of which is stable. Where elements
are equal their steps decide, so they are taken here too, on places instead of values. Without ties any method gives the same.

Sources: Musser, "Introspective sorting and selection algorithms", 1997; Williams, "Heapsort", 1964.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_SMALL = 16  # so few elements are sorted by insertion


def topk_places(row: np.ndarray, k: int, largest: bool, in_order: bool) -> list[int]:
    """The places of the ``k`` greatest (or least) elements of a row, NaN counting as the greatest."""
    ranks = np.unique(row, return_inverse=True)[1].reshape(-1)  # NaN last
    keys = (-ranks if largest else ranks).tolist()

    def before(a: int, b: int) -> bool:
        return keys[a] < keys[b]

    places = list(range(len(keys)))
    if not k:
        return []
    if k * 64 <= len(places):
        _heap_select(places, 0, k, len(places), before)
        _sort_heap(places, 0, k, before)
    else:
        _select(places, k - 1, before)
        if in_order:
            _sort(places, 0, k - 1, before)
    return places[:k]


Before = Callable[[int, int], bool]


def _select(x: list[int], nth: int, before: Before) -> None:
    """Puts the element that belongs at ``nth`` there, those before it in front of it."""
    first, last = 0, len(x)
    depth = 2 * (len(x).bit_length() - 1)
    while last - first > 3:
        if not depth:
            _heap_select(x, first, nth + 1, last, before)
            x[first], x[nth] = x[nth], x[first]
            return
        depth -= 1
        cut = _partition(x, first, last, before)
        if cut <= nth:
            first = cut
        else:
            last = cut
    _insertion_sort(x, first, last, before)


def _sort(x: list[int], first: int, last: int, before: Before) -> None:
    if last - first < 2:
        return
    _sort_roughly(x, first, last, 2 * ((last - first).bit_length() - 1), before)
    if last - first > _SMALL:
        _insertion_sort(x, first, first + _SMALL, before)
        for i in range(first + _SMALL, last):
            _insert(x, i, before)
    else:
        _insertion_sort(x, first, last, before)


def _sort_roughly(x: list[int], first: int, last: int, depth: int, before: Before) -> None:
    """Sorts but within runs of few elements."""
    while last - first > _SMALL:
        if not depth:
            _heap_select(x, first, last, last, before)
            _sort_heap(x, first, last, before)
            return
        depth -= 1
        cut = _partition(x, first, last, before)
        _sort_roughly(x, cut, last, depth, before)
        last = cut


def _partition(x: list[int], first: int, last: int, before: Before) -> int:
    """Divides a range by the median of three of its elements, which comes first; returns where the second part begins."""
    a, b, c = first + 1, first + (last - first) // 2, last - 1
    if before(x[a], x[b]):
        pivot = b if before(x[b], x[c]) else c if before(x[a], x[c]) else a
    else:
        pivot = a if before(x[a], x[c]) else c if before(x[b], x[c]) else b
    x[first], x[pivot] = x[pivot], x[first]
    low, high, median = first + 1, last, x[first]
    while True:
        while before(x[low], median):
            low += 1
        high -= 1
        while before(median, x[high]):
            high -= 1
        if low >= high:
            return low
        x[low], x[high] = x[high], x[low]
        low += 1


def _insertion_sort(x: list[int], first: int, last: int, before: Before) -> None:
    for i in range(first + 1, last):
        if before(x[i], x[first]):
            x.insert(first, x.pop(i))
        else:
            _insert(x, i, before)


def _insert(x: list[int], i: int, before: Before) -> None:
    """Moves an element back to where it belongs among sorted ones, of which the first is not behind it."""
    value = x[i]
    while before(value, x[i - 1]):
        x[i] = x[i - 1]
        i -= 1
    x[i] = value


def _heap_select(x: list[int], first: int, middle: int, last: int, before: Before) -> None:
    """A heap of the least elements in ``[first, middle)``, the greatest of them on top."""
    size = middle - first
    for parent in range((size - 2) // 2, -1, -1):
        _sift(x, first, parent, size, x[first + parent], before)
    for i in range(middle, last):
        if before(x[i], x[first]):
            value, x[i] = x[i], x[first]
            _sift(x, first, 0, size, value, before)


def _sort_heap(x: list[int], first: int, last: int, before: Before) -> None:
    while last - first > 1:
        last -= 1
        value, x[last] = x[last], x[first]
        _sift(x, first, 0, last - first, value, before)


def _sift(x: list[int], first: int, hole: int, size: int, value: int, before: Before) -> None:
    """Lets a hole sink to the bottom of a heap, and ``value`` rise from there."""
    top = child = hole
    while child < (size - 1) // 2:
        child = 2 * (child + 1)
        if before(x[first + child], x[first + child - 1]):
            child -= 1
        x[first + hole] = x[first + child]
        hole = child
    if size % 2 == 0 and child == (size - 2) // 2:
        child = 2 * child + 1
        x[first + hole] = x[first + child]
        hole = child
    while hole > top and before(x[first + (hole - 1) // 2], value):
        x[first + hole] = x[first + (hole - 1) // 2]
        hole = (hole - 1) // 2
    x[first + hole] = value
