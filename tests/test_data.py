"""``torch.utils.data``: datasets, samplers, collation and the loader."""

from __future__ import annotations

import random
import warnings
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import flambeau as torch
from flambeau.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)

X, Y = torch.arange(20.0).reshape(10, 2), torch.arange(10)
Point = namedtuple("Point", "x y")


class Count(IterableDataset):
    """0, 1, ... n - 1; its workers divide them."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        return iter(range(self.n)) if info is None else iter(range(info.id, self.n, info.num_workers))


def lists(loader) -> list:
    return [batch.tolist() for batch in loader]


# --- datasets ------------------------------------------------------------------------------------------------


def test_tensor_dataset():
    data = TensorDataset(X, Y)
    assert len(data) == 10 and data[3][0].tolist() == [6, 7] and data[3][1].item() == 3
    assert data[[1, 2]][1].tolist() == [1, 2]
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        TensorDataset(X, Y[:3])


def test_combined_datasets():
    both = ConcatDataset([[1, 2], [3], []])
    assert [both[i] for i in (0, 2, -1, -3)] == [1, 3, 3, 1] and len(both) == 3
    assert both.cumulative_sizes == [2, 3, 3]
    assert len(TensorDataset(X) + TensorDataset(X)) == 20
    assert list(ChainDataset([Count(2), Count(1)])) == list(Count(2) + Count(1)) == [0, 1, 0]
    assert StackDataset([1, 2], ["a", "b"])[1] == (2, "b")
    assert StackDataset(n=[1, 2], s=["a", "b"]).__getitems__([1, 0]) == [{"n": 2, "s": "b"}, {"n": 1, "s": "a"}]


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (ValueError, "absolute value of index should not exceed", lambda: ConcatDataset([[1]])[-2]),
        (AssertionError, "datasets should not be an empty iterable", lambda: ConcatDataset([])),
        (AssertionError, "ConcatDataset does not support IterableDataset", lambda: ConcatDataset([Count(1)])),
        (AssertionError, "ChainDataset only supports IterableDataset", lambda: list(ChainDataset([[1]]))),
        (ValueError, "At least one dataset should be passed", lambda: StackDataset()),
        (ValueError, "Supported either ``tuple``", lambda: StackDataset([1], a=[1])),
        (ValueError, "Size mismatch between datasets", lambda: StackDataset([1], [1, 2])),
        (NotImplementedError, "Subclasses of Dataset should implement __getitem__", lambda: Dataset()[0]),
        (NotImplementedError, None, lambda: iter(Sampler())),
    ],
)
def test_errors_of_datasets(error, message, make):
    with pytest.raises(error, match=message):
        make()


def test_subset():
    part = Subset(TensorDataset(X, Y), [4, 2])
    assert len(part) == 2 and part[1][1].item() == 2 and part[[0, 1]][1].tolist() == [4, 2]

    class Loud(Subset):
        def __getitem__(self, idx):
            return "!"

    with pytest.raises(NotImplementedError, match="Loud overrides __getitem__ but not __getitems__"):
        Loud([1], [0])


def test_random_split():
    parts = random_split(Y, [3, 7])
    assert sorted(i for part in parts for i in part.indices) == list(range(10))
    assert [len(part) for part in random_split(range(11), [0.5, 0.3, 0.2])] == [6, 3, 2]
    first, second = (random_split(range(10), [4, 6], torch.Generator().manual_seed(3)) for _ in range(2))
    assert first[0].indices == second[0].indices
    with pytest.warns(UserWarning, match="Length of split at index 0 is 0"):
        random_split(range(3), [0.0, 1.0])
    with pytest.raises(ValueError, match="Sum of input lengths does not equal the length of the input dataset!"):
        random_split(range(3), [1, 1])
    with pytest.raises(ValueError, match="Fraction at index 0 is not between 0 and 1"):
        random_split(range(3), [-0.5, 1.5])


# --- samplers ------------------------------------------------------------------------------------------------


def test_samplers():
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    assert sorted(RandomSampler(range(5))) == [0, 1, 2, 3, 4]
    assert len(list(RandomSampler(range(5), num_samples=12))) == 12
    assert next(iter(RandomSampler(range(5), replacement=True, num_samples=10**12))) in range(5)  # made as they are asked for
    drawn = list(RandomSampler(range(3), replacement=True, num_samples=70))
    assert len(drawn) == 70 and set(drawn) == {0, 1, 2}
    assert sorted(SubsetRandomSampler([5, 9, 5])) == [5, 5, 9]
    assert set(WeightedRandomSampler([0.0, 1.0, 1.0], 50)) == {1, 2}
    assert sorted(WeightedRandomSampler([1.0, 2.0, 3.0], 3, replacement=False)) == [0, 1, 2]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert [len(BatchSampler(range(5), 2, drop)) for drop in (True, False)] == [2, 3]


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (
            ValueError,
            "num_samples should be a positive integer value, but got num_samples=0",
            lambda: RandomSampler([]),
        ),
        (TypeError, "replacement should be a boolean value", lambda: RandomSampler([1], replacement=1)),
        (ValueError, "num_samples should be a positive", lambda: WeightedRandomSampler([1.0], True)),
        (ValueError, "weights should be a 1d sequence", lambda: WeightedRandomSampler([[1.0]], 1)),
        (ValueError, "batch_size should be a positive", lambda: BatchSampler([1], 1.5, False)),
        (ValueError, "drop_last should be a boolean", lambda: BatchSampler([1], 1, 0)),
        (ValueError, "Invalid rank 2, rank should be in the interval", lambda: DistributedSampler([1], 2, 2)),
        (ValueError, "Default process group has not been initialized", lambda: DistributedSampler([1])),
    ],
)
def test_errors_of_samplers(error, message, make):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("replicas", [1, 3, 10, 25])
def test_distributed_shares_cover_the_dataset(replicas, drop_last):
    shares = [DistributedSampler(range(10), replicas, rank, drop_last=drop_last) for rank in range(replicas)]
    seen = [list(share) for share in shares]
    assert len({len(share) for share in seen}) == 1 and len(seen[0]) == len(shares[0])
    if not drop_last:
        assert {i for share in seen for i in share} == set(range(10))
    else:
        assert len({i for share in seen for i in share}) == 10 // replicas * replicas
    shares[0].set_epoch(1)
    assert replicas > 3 or list(shares[0]) != seen[0]


# --- collation -----------------------------------------------------------------------------------------------


def test_default_collate():
    assert default_collate([1, 2]).dtype is torch.int64 and default_collate([1.0, 2.0]).dtype is torch.float64
    assert default_collate([True, False]).dtype is torch.bool
    assert default_collate([np.float32(1), np.float32(2)]).dtype is torch.float32
    assert default_collate([np.ones(2), np.zeros(2)]).tolist() == [[1, 1], [0, 0]]
    assert default_collate([X[0], X[1]]).tolist() == X[:2].tolist()
    assert default_collate(["a", "b"]) == ["a", "b"]
    assert [type(v) for v in default_collate([(1, "a"), (2, "b")])] == [torch.Tensor, tuple]
    batch = default_collate([OrderedDict(p=Point(1, 2), q=[3]), OrderedDict(p=Point(4, 5), q=[6])])
    assert type(batch) is OrderedDict and type(batch["p"]) is Point
    assert batch["p"].y.tolist() == [2, 5] and batch["q"][0].tolist() == [3, 6]


@pytest.mark.parametrize("batch", [[None], [object()], [{1}], [np.array(["a"])]], ids=["None", "object", "set", "strings"])
def test_what_cannot_be_collated(batch):
    with pytest.raises(TypeError, match="default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists"):
        default_collate(batch)


def test_unequal_samples_cannot_be_collated():
    with pytest.raises(RuntimeError, match="each element in list of batch should be of equal size"):
        default_collate([[1, 2], [1]])
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        default_collate([torch.ones(2), torch.ones(3)])


def test_default_convert():
    converted = default_convert({"a": np.ones(2), "b": [np.float64(1), "x"], "c": (1, np.int64(2)), "d": np.array(["s"])})
    assert converted["a"].tolist() == [1, 1] and converted["b"][0].item() == 1 and converted["b"][1] == "x"
    assert type(converted["c"]) is list and type(converted["d"]) is np.ndarray


# --- the loader ----------------------------------------------------------------------------------------------


def test_batches():
    loader = DataLoader(TensorDataset(X, Y), batch_size=4)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert [b[1].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches[0][0].shape == (4, 2)
    dropped = DataLoader(Y, batch_size=4, drop_last=True)
    assert lists(dropped) == [[0, 1, 2, 3], [4, 5, 6, 7]] and len(dropped) == 2


def test_shuffling_follows_the_seed():
    loader = DataLoader(Y, batch_size=3, shuffle=True)
    torch.manual_seed(0)
    first, second = lists(loader), lists(loader)
    torch.manual_seed(0)
    assert lists(loader) == first != second
    assert sorted(sum(first, [])) == list(range(10))


def test_a_generator_of_its_own_leaves_the_default_one_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(DataLoader(Y, shuffle=True, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), before)


def test_single_samples_and_own_orders():
    assert [sample.item() for sample in DataLoader(Y, batch_size=None)] == list(range(10))
    assert lists(DataLoader(Y, sampler=[3, 1, 4], batch_size=2)) == [[3, 1], [4]]
    loader = DataLoader(Y, batch_sampler=[[1], [2, 3]])
    assert lists(loader) == [[1], [2, 3]] and len(loader) == 2 and loader.batch_size is None
    assert list(DataLoader([1, 2, 3], batch_size=2, collate_fn=tuple)) == [(1, 2), (3,)]


def test_getitems_is_preferred():
    class Batched(Dataset):
        def __getitems__(self, indices):
            return [("many", i) for i in indices]

        def __len__(self):
            return 2

    assert list(DataLoader(Batched(), batch_size=2, collate_fn=list)) == [[("many", 0), ("many", 1)]]


@pytest.mark.parametrize(
    "wrap", [lambda d: d, lambda d: Subset(d, [5, 3, -1, 0, 3]), lambda d: Subset(Subset(d, range(1, 7)), [4, 0])]
)
def test_batches_of_tensors_are_what_their_samples_make(wrap):
    """Taken from each tensor in one step, unless somebody else has a say."""
    x, half = torch.randn(8, 2, 3), torch.randn(8).to(torch.bfloat16)
    whole = torch.utils.data.TensorDataset(x, torch.arange(8), half, x[:, 1:].transpose(1, 2), torch.randn(16)[::2])
    dataset = wrap(whole)
    batches = list(DataLoader(dataset, 3))
    one_by_one = list(DataLoader(dataset, 3, collate_fn=lambda samples: torch.utils.data.default_collate(samples)))
    assert [type(b) for b in batches] == [list] * len(one_by_one)
    for batch, wanted in zip(batches, one_by_one, strict=True):
        for a, b in zip(batch, wanted, strict=True):
            assert a.dtype is b.dtype and a.is_contiguous()
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    batches[0][0].zero_()
    x[0, 0, 0] = 9
    assert x.count_nonzero() == x.numel() and next(iter(DataLoader(whole, 2)))[0][0, 0, 0] == 9


def test_batches_of_tensors_where_more_matters():
    class Doubled(torch.utils.data.TensorDataset):
        def __getitem__(self, i):
            return tuple(2 * t for t in super().__getitem__(i))

    assert next(iter(DataLoader(Doubled(torch.ones(4)), 2)))[0].tolist() == [2.0, 2.0]
    w = torch.ones(4, requires_grad=True)
    next(iter(DataLoader(torch.utils.data.TensorDataset(w * 3), 2)))[0].sum().backward()
    assert w.grad.tolist() == [3.0, 3.0, 0.0, 0.0]
    with pytest.raises(IndexError, match="index 4 is out of bounds"):
        next(iter(DataLoader(torch.utils.data.TensorDataset(torch.ones(4)), sampler=[4], batch_size=2)))


def test_iterable_datasets():
    assert lists(DataLoader(Count(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert lists(DataLoader(Count(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert list(DataLoader(Count(3), batch_size=None)) == [0, 1, 2]
    with pytest.raises(TypeError, match="has no len"):
        len(DataLoader(Count(3)))


def test_a_wrong_length_is_warned_of():
    class Liar(Count):
        def __len__(self):
            return 1

    loader = DataLoader(Liar(3), batch_size=2)
    assert len(loader) == 1
    with pytest.warns(UserWarning, match="was reported to be 1.*but 2 samples have been fetched"):
        list(loader)
    honest = DataLoader(Liar(3), batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(honest)


def test_pinned_memory_is_warned_of():
    with pytest.warns(UserWarning, match="'pin_memory' argument is set as true but no accelerator is found"):
        list(DataLoader(Y, pin_memory=True))


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("num_workers option should be non-negative", {"num_workers": -1}),
        ("timeout option should be non-negative", {"timeout": -1}),
        ("prefetch_factor option could only be specified in multiprocessing", {"prefetch_factor": 2}),
        ("prefetch_factor option should be non-negative", {"prefetch_factor": -2, "num_workers": 1}),
        ("persistent_workers option needs num_workers > 0", {"persistent_workers": True}),
        ("multiprocessing_context can only be used with", {"multiprocessing_context": "fork"}),
        ("should specify a valid start method", {"multiprocessing_context": "knife", "num_workers": 1}),
        ("sampler option is mutually exclusive with shuffle", {"sampler": [1], "shuffle": True}),
        ("batch_sampler option is mutually exclusive with", {"batch_sampler": [[1]], "batch_size": 2}),
        ("batch_sampler option is mutually exclusive with", {"batch_sampler": [[1]], "drop_last": True}),
        ("batch_size=None option disables auto-batching", {"batch_size": None, "drop_last": True}),
        ("batch_size should be a positive integer value", {"batch_size": 0}),
        ("drop_last should be a boolean value", {"drop_last": "no"}),
    ],
)
def test_errors_of_the_loader(message, options):
    with pytest.raises(ValueError, match=message):
        DataLoader(Y, **options)


@pytest.mark.parametrize("options", [{"shuffle": True}, {"sampler": [1]}, {"batch_sampler": [[1]]}])
def test_iterable_datasets_have_their_own_order(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"DataLoader with IterableDataset: expected unspecified {name} option"):
        DataLoader(Count(3), **options)
    DataLoader(Count(3), shuffle=False)


def test_attributes_are_fixed():
    loader = DataLoader(Y)
    with pytest.raises(ValueError, match="batch_size attribute should not be set after DataLoader is initialized"):
        loader.batch_size = 3
    loader.collate_fn = list
    assert next(iter(loader))[0].item() == 0


# --- workers -------------------------------------------------------------------------------------------------


class Told(Dataset):
    """What a worker sees."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        info = get_worker_info()
        return i, info.id, info.num_workers, info.seed, torch.rand(()).item(), random.random(), np.random.rand()


def test_workers_take_turns_with_streams_of_their_own():
    torch.manual_seed(0)
    before = random.getstate()
    samples = [row[0] for row in DataLoader(Told(), num_workers=2, collate_fn=list)]
    assert [(i, worker, n) for i, worker, n, *_ in samples] == [(i, i % 2, 2) for i in range(6)]
    assert samples[1][3] == samples[0][3] + 1
    numbers = [row[4:] for row in samples]
    assert len({n for row in numbers for n in row}) == 18
    assert random.getstate() == before and get_worker_info() is None
    torch.manual_seed(0)
    assert [row[0] for row in DataLoader(Told(), num_workers=2, collate_fn=list)] == samples


def test_workers_load_what_the_program_would():
    torch.manual_seed(1)
    alone = lists(DataLoader(Y, batch_size=3, shuffle=True))
    torch.manual_seed(1)
    assert lists(DataLoader(Y, batch_size=3, shuffle=True, num_workers=2)) == alone


def test_workers_divide_an_iterable_dataset():
    assert lists(DataLoader(Count(7), batch_size=2, num_workers=2)) == [[0, 2], [1, 3], [4, 6], [5]]


def test_worker_init_fn_may_change_its_copy_of_the_dataset():
    class Range(IterableDataset):
        start, end = 0, 6

        def __iter__(self):
            return iter(range(self.start, self.end))

    def share(worker_id):
        info = get_worker_info()
        info.dataset.start, info.dataset.end = 3 * worker_id, 3 * worker_id + 3

    data = Range()
    assert lists(DataLoader(data, batch_size=3, num_workers=2, worker_init_fn=share)) == [[0, 1, 2], [3, 4, 5]]
    assert (data.start, data.end) == (0, 6)


def test_persistent_workers_go_on_with_their_streams():
    loader = DataLoader(Told(), num_workers=2, persistent_workers=True, collate_fn=lambda batch: batch[0])
    first, second = list(loader), list(loader)
    assert [row[3] for row in first] == [row[3] for row in second]
    assert not {row[4] for row in first} & {row[4] for row in second}


def test_errors_in_a_sample_come_out_of_the_loop():
    class Broken(Told):
        def __getitem__(self, i):
            raise KeyError("sample")

    for workers in (0, 2):
        with pytest.raises(KeyError, match="sample"):
            list(DataLoader(Broken(), num_workers=workers))
        assert get_worker_info() is None
