"""Data pipes beside PyTorch's: the same elements, the same order of what is shuffled, the same shares of workers."""

from __future__ import annotations

import importlib

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def _pipes(lib, kind="iter"):
    return importlib.import_module(f"{lib.__name__}.utils.data.datapipes.{kind}")


def _plain(x):
    if isinstance(x, (torch.Tensor, flambeau.Tensor)):
        return x.tolist()
    return [_plain(v) for v in x] if isinstance(x, (list, tuple)) else x


CASES = {
    "map": lambda p: p.IterableWrapper([(1, 2, 3)] * 2).map(lambda a, b: a + b, input_col=[0, 2], output_col=-1),
    "map_into": lambda p: p.IterableWrapper([{"a": 1, "b": 2}]).map(lambda a: a + 1, input_col="a", output_col="c"),
    "map_several": lambda p: p.IterableWrapper([[1, 2, 3]]).map(lambda a, b: a * b, input_col=[0, 2]),
    "filter": lambda p: p.IterableWrapper(range(6)).filter(lambda x: x % 2 == 0),
    "batch": lambda p: p.IterableWrapper(range(5)).batch(2).batch(2),
    "drop_last": lambda p: p.IterableWrapper(range(5)).batch(2, drop_last=True),
    "unbatch": lambda p: p.IterableWrapper([[0, [1, 2]], [3]]).unbatch(unbatch_level=-1),
    "groupby": lambda p: p.IterableWrapper(range(9)).groupby(lambda x: x % 3, group_size=2, buffer_size=4, keep_key=True),
    "concat": lambda p: p.IterableWrapper("ab").concat(p.IterableWrapper("c")),
    "zip": lambda p: p.IterableWrapper("ab").zip(p.IterableWrapper(range(3))),
    "mux": lambda p: p.IterableWrapper("abc").mux(p.IterableWrapper(range(2))),
    "fork": lambda p: p.Zipper(*p.IterableWrapper(range(4)).fork(2)),
    "demux": lambda p: p.Concater(*p.IterableWrapper(range(5)).demux(2, lambda x: x % 2)),
    "collate": lambda p: p.IterableWrapper([[1, 2], [3, 4]]).collate(),
    "sharding": lambda p: p.IterableWrapper(range(5)).sharding_filter(),
    "shuffle": lambda p: p.IterableWrapper(range(20)).shuffle(buffer_size=5).set_seed(3),
}


@pytest.mark.parametrize("name", CASES)
def test_elements(name):
    results = []
    for lib in (torch, flambeau):
        pipe = CASES[name](_pipes(lib))
        try:
            length = len(pipe)
        except TypeError:
            length = None
        results.append((_plain(list(pipe)), length))
    assert results[0] == results[1]


@pytest.mark.parametrize("make", [lambda p: p.SequenceWrapper(range(5)).map(lambda x: -x).batch(2), lambda p: p.SequenceWrapper("ab").zip(p.SequenceWrapper("xyz")),
                                  lambda p: p.SequenceWrapper("ab").concat(p.SequenceWrapper("xyz")).shuffle().set_seed(1)])  # fmt: skip
def test_pipes_by_key(make):
    theirs, ours = (make(_pipes(lib, "map")) for lib in (torch, flambeau))
    read = (lambda p: [p[i] for i in range(len(p))]) if isinstance(theirs, torch.utils.data.MapDataPipe) else list
    assert _plain(read(ours)) == _plain(read(theirs))


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders(workers):
    """The seeds of pipes that draw come from the loader's generator; each worker has its share."""
    seen = []
    for lib in (torch, flambeau):
        p = _pipes(lib)
        pipe = p.IterableWrapper(range(12)).shuffle().sharding_filter().map(lambda x: x * 10)
        generator = lib.Generator()
        generator.manual_seed(5)
        loader = lib.utils.data.DataLoader(
            pipe, batch_size=3, num_workers=workers, generator=generator, multiprocessing_context="fork" if workers else None
        )
        seen.append([[batch.tolist() for batch in loader] for _ in range(2)])
    assert seen[0] == seen[1]


def test_one_iterator_at_a_time():
    for lib in (torch, flambeau):
        pipe = _pipes(lib).IterableWrapper(range(3))
        first = iter(pipe)
        next(first)
        iter(pipe)
        next(iter(pipe))
        with pytest.raises(RuntimeError, match="invalidated because another iterator"):
            next(first)


def test_a_name_is_taken_once():
    for lib in (torch, flambeau):
        _pipes(lib)
        with pytest.raises(Exception, match="as it is already taken"):

            @lib.utils.data.functional_datapipe("map")
            class Other(lib.utils.data.IterDataPipe):
                pass
