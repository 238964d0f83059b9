"""``torch.utils.data`` against PyTorch: the same batches from the same seed, and the same random state afterwards."""

from __future__ import annotations

import random
import warnings
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

Point = namedtuple("Point", "a b")


class MyList(list):
    pass


class MyDict(dict):
    pass


def plain(value):
    """``value`` in a form that both libraries share: types by name, tensors as dtype, shape and values."""
    if type(value).__name__ == "Tensor":
        return "Tensor", str(value.dtype), tuple(value.shape), value.tolist()
    if isinstance(value, np.ndarray):
        return "ndarray", str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return type(value).__name__, [(k, plain(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(v) for v in value]
    return value


def outcome(library, run):
    """What ``run`` gives, or raises, with ``library``; and the next random numbers."""
    library.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = plain(run(library))
        except Exception as error:
            return type(error).__name__, str(error)[:24]
    return result, library.rand(3).tolist(), random.random(), np.random.rand()


def assert_alike(run):
    assert outcome(flambeau, run) == outcome(torch, run)


def tensors(library):
    return library.utils.data.TensorDataset(library.arange(60.0).reshape(20, 3), library.arange(20))


def epochs(library, dataset, **options):
    if "generator" in options:
        options["generator"] = library.Generator().manual_seed(options["generator"])
    loader = library.utils.data.DataLoader(dataset, **options)
    return [list(loader), list(loader)]


@pytest.mark.parametrize(
    "options",
    [
        {}, {"batch_size": 7}, {"batch_size": 7, "shuffle": True}, {"batch_size": 7, "shuffle": True, "drop_last": True},
        {"batch_size": None}, {"batch_size": None, "shuffle": True}, {"batch_size": 4, "shuffle": True, "generator": 3},
        {"sampler": [1, 2, 5]}, {"batch_sampler": [[1], [2, 3]]}, {"num_workers": 2, "batch_size": 3, "shuffle": True},
        {"num_workers": 3, "batch_size": 6},
        {"num_workers": 2, "batch_size": 3, "shuffle": True, "persistent_workers": True},
        {"batch_size": 0}, {"batch_size": True}, {"num_workers": -1}, {"timeout": -1}, {"prefetch_factor": 2},
        {"persistent_workers": True}, {"shuffle": True, "sampler": [1]}, {"batch_sampler": [[1]], "batch_size": 3},
        {"batch_size": None, "drop_last": True}, {"multiprocessing_context": "fork"}, {"drop_last": 3},
    ],
    ids=str,
)  # fmt: skip
def test_loader(options):
    assert_alike(lambda library: epochs(library, tensors(library), **options))


def count(library):
    class Count(library.utils.data.IterableDataset):
        def __init__(self, n):
            self.n = n

        def __iter__(self):
            info = library.utils.data.get_worker_info()
            return iter(range(self.n)) if info is None else iter(range(info.id, self.n, info.num_workers))

        def __len__(self):
            return self.n

    return Count(10)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}, {"shuffle": True},
        {"sampler": [1]}, {"batch_sampler": [[1]]}, {"batch_size": 3, "num_workers": 2},
    ],
    ids=str,
)  # fmt: skip
def test_iterable_dataset(options):
    assert_alike(lambda library: [epochs(library, count(library), **options), list(count(library) + count(library))])


def random_samples(library):
    class RandomSamples(library.utils.data.Dataset):
        def __len__(self):
            return 11

        def __getitem__(self, i):
            info = library.utils.data.get_worker_info()
            worker = (-1, 0) if info is None else (info.id, info.seed)
            return i, library.rand(()).item(), random.random(), np.random.rand(), *worker

    return RandomSamples()


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 3}, {"batch_size": 3, "num_workers": 2}, {"batch_size": 2, "num_workers": 3, "shuffle": True},
        {"batch_size": 3, "num_workers": 2, "shuffle": True, "persistent_workers": True},
        {"batch_size": 2, "num_workers": 2, "worker_init_fn": np.random.seed},
    ],
    ids=" ".join,
)  # fmt: skip
def test_samples_that_draw_random_numbers(options):
    assert_alike(lambda library: epochs(library, random_samples(library), **options))


SAMPLERS = {
    "all": lambda lib, data: [list(data.RandomSampler(range(10))) for _ in range(3)],
    "counts": lambda lib, data: [list(data.RandomSampler(range(10), num_samples=n)) for n in (1, 10, 25)],
    "replacement": lambda lib, data: [list(data.RandomSampler(range(10), True, n)) for n in (1, 10, 25, 32, 70)],
    "generator": lambda lib, data: list(data.RandomSampler(range(10), True, 5, lib.Generator().manual_seed(2))),
    "subset": lambda lib, data: list(data.SubsetRandomSampler([5, 3, 9, 1])),
    "weights": lambda lib, data: list(data.WeightedRandomSampler([0.1, 0.9, 3.0, 0.2], 8)),
    "weights once": lambda lib, data: list(data.WeightedRandomSampler([0.1, 0.9, 3.0, 0.2], 4, False)),
    "batches": lambda lib, data: list(data.BatchSampler(data.RandomSampler(range(10)), 3, False)),
    "split": lambda lib, data: [list(s.indices) for s in data.random_split(range(10), [3, 7])],
    "fractions": lambda lib, data: [list(s.indices) for s in data.random_split(range(10), [0.33, 0.33, 0.34])],
    "split by a generator": lambda lib, data: data.random_split(range(9), [9], lib.Generator().manual_seed(1))[0].indices,
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers(name):
    assert_alike(lambda library: SAMPLERS[name](library, library.utils.data))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("replicas", "rank"), [(1, 0), (3, 2), (4, 3), (7, 6), (25, 24)])
def test_distributed_sampler(replicas, rank, shuffle, drop_last):
    def run(library):
        sampler = library.utils.data.DistributedSampler(range(10), replicas, rank, shuffle, seed=3, drop_last=drop_last)
        first = list(sampler)
        sampler.set_epoch(2)
        return [first, list(sampler), len(sampler)]

    assert_alike(run)


BATCHES = {
    "ints": [1, 2], "floats": [1.0, 2.0], "bools": [True, False], "text": ["a", "b"], "bytes": [b"a", b"b"],
    "tuples": [(1, 2.0), (3, 4.0)], "lists": [[1, 2], [3, 4]], "dicts": [{"a": 1, "b": [1, 2]}, {"a": 2, "b": [3, 4]}],
    "named": [Point(1, 2), Point(3, 4)], "arrays": [np.zeros(2), np.ones(2)], "0-d": [np.array(3), np.array(4)],
    "float32": [np.float32(1), np.float32(2)], "int16": [np.int16(1), np.int16(2)], "numpy bool": [np.bool_(1)] * 2,
    "float64": [np.float64(1), np.float64(3)], "none": [None, None], "object": [object()], "texts": [np.array(["a"])],
    "unequal": [[1, 2], [1]], "own list": [MyList([1, 2]), MyList([3, 4])], "own dict": [MyDict(a=1), MyDict(a=2)],
    "ordered": [OrderedDict(a=1), OrderedDict(a=3)], "default": [defaultdict(int, a=1)], "ranges": [range(2), range(2)],
    "sets": [{1, 2}], "empty tuples": [(), ()],
}  # fmt: skip


@pytest.mark.parametrize("name", BATCHES)
def test_collation(name):
    batch = BATCHES[name]
    assert_alike(lambda library: library.utils.data.default_collate(batch))
    assert_alike(lambda library: [type(v).__name__ for v in [library.utils.data.default_convert(batch[0])]])
    if name != "object":
        assert_alike(lambda library: library.utils.data.default_convert(batch))


def test_collation_of_tensors():
    assert_alike(lambda library: library.utils.data.default_collate([library.ones(2), library.zeros(2)]))
    assert_alike(lambda library: library.utils.data.default_collate([library.ones(2), library.zeros(3)]))


def failing(library, error):
    class Failing(library.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, i):
            if i == 3:
                raise error
            return i

    return Failing()


@pytest.mark.parametrize(
    "error",
    [ValueError("a"), KeyError("a"), StopIteration("a"), UnicodeDecodeError("utf8", b"a", 0, 1, "a"), AssertionError()],
    ids=repr,
)
@pytest.mark.parametrize(
    "options", [{"batch_size": 2}, {"batch_size": None}, {"batch_size": 2, "persistent_workers": True}], ids=str
)
def test_errors_of_workers(error, options):
    """A loop that goes on after errors gets the same batches, and errors of the same class and first line."""

    def loop(library):
        loader = library.utils.data.DataLoader(failing(library, error), num_workers=2, **options)
        found = []
        for _ in range(2):
            batches = iter(loader)
            for _ in range(8):
                try:
                    found.append(next(batches))
                except StopIteration as end:
                    found.append(("end", str(end).split("\n")[0]))
                except Exception as raised:
                    found.append((type(raised).__name__, str(raised).split("\n")[0]))
        return found

    assert_alike(loop)


@pytest.mark.parametrize(
    "error", [KeyError("a"), ValueError("b"), UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")], ids=lambda e: type(e).__name__
)
def test_exceptions_from_elsewhere(error):
    """``torch._utils.ExceptionWrapper``, with which programs carry exceptions from threads of their own."""

    def told(t):
        try:
            raise error
        except Exception:
            caught = t._utils.ExceptionWrapper(where="in thread 1")
        with pytest.raises(Exception) as raised:
            caught.reraise()
        return caught.exc_type, caught.where, raised.type, str(raised.value)

    import flambeau._utils

    assert told(flambeau)[:3] == told(torch)[:3]
    assert told(flambeau)[3].splitlines()[:2] == told(torch)[3].splitlines()[:2]
    assert told(flambeau)[3].splitlines()[-1] == told(torch)[3].splitlines()[-1]


def test_tensors_in_one_piece():
    def told(t):
        parts = [t.arange(3.0), t.arange(4.0).reshape(2, 2), t.tensor(7.0)]
        flat = t._utils._flatten_dense_tensors(parts)
        return flat.tolist(), [p.tolist() for p in t._utils._unflatten_dense_tensors(flat, parts)]

    import flambeau._utils

    assert told(flambeau) == told(torch)
